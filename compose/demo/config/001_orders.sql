-- Can be run again: a second deployment finds everything in place.
CREATE TABLE IF NOT EXISTS stock (item text PRIMARY KEY);
CREATE TABLE IF NOT EXISTS orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item text NOT NULL REFERENCES stock,
    quantity int NOT NULL CHECK (quantity > 0),
    placed_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO stock VALUES ('anchor'), ('compass'), ('lantern'), ('rope') ON CONFLICT DO NOTHING;
