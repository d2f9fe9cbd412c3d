-- What a record says of persons stands beside what is chained, so that a person can be erased.
-- Records from before have it in their body, and nothing here.
ALTER TABLE audit_events ADD COLUMN personal TEXT;

-- The halves of the hosts' audit keys that everybody may have.
CREATE TABLE audit_keys (
    host_id    TEXT COLLATE "C" NOT NULL REFERENCES hosts (id),
    key_id     TEXT NOT NULL,
    public_key TEXT NOT NULL,
    since      BIGINT NOT NULL,
    PRIMARY KEY (host_id, key_id)
);

-- Signed statements that the log was so: each ends a segment.
CREATE TABLE audit_checkpoints (
    host_id TEXT COLLATE "C" NOT NULL REFERENCES hosts (id),
    seq     BIGINT NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (host_id, seq)
);

-- Signed statements that whole segments were purged.
CREATE TABLE audit_tombstones (
    host_id  TEXT COLLATE "C" NOT NULL REFERENCES hosts (id),
    from_seq BIGINT NOT NULL,
    to_seq   BIGINT NOT NULL CHECK (to_seq >= from_seq),
    body     TEXT NOT NULL,
    PRIMARY KEY (host_id, from_seq)
);

-- How far each place outside of the host has what it is to have.
CREATE TABLE audit_anchors (
    host_id    TEXT COLLATE "C" NOT NULL REFERENCES hosts (id),
    place      TEXT NOT NULL,
    seq        BIGINT NOT NULL,
    reached_at BIGINT NOT NULL,
    PRIMARY KEY (host_id, place)
);

-- Persons who are erased, and how far that is in each host's log.
CREATE TABLE audit_erasures (
    host_id      TEXT COLLATE "C" NOT NULL REFERENCES hosts (id),
    user_id      TEXT NOT NULL,
    pseudonym    TEXT NOT NULL,
    -- Gone with the rest.
    label        TEXT,
    next_seq     BIGINT NOT NULL,
    asked_at     BIGINT NOT NULL,
    completed_at BIGINT,
    PRIMARY KEY (host_id, user_id)
);

DROP TRIGGER audit_is_never_changed ON audit_events;
DROP TRIGGER audit_is_never_deleted ON audit_events;

-- A known person has a salt. A change may only make them fewer.
CREATE FUNCTION audit_is_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.personal IS NULL OR NEW.personal IS NULL
        OR (to_jsonb(NEW) - 'personal' - 'summary' - 'actor_label')
            <> (to_jsonb(OLD) - 'personal' - 'summary' - 'actor_label')
        OR length(NEW.personal) - length(replace(NEW.personal, '"salt":', ''))
            >= length(OLD.personal) - length(replace(OLD.personal, '"salt":', ''))
    THEN
        RAISE EXCEPTION 'the audit log is never changed';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION audit_is_erased();

CREATE FUNCTION audit_is_purged() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM audit_tombstones AS stone WHERE stone.host_id = OLD.host_id
        AND stone.from_seq <= OLD.seq AND OLD.seq <= stone.to_seq;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the audit log is never deleted';
    END IF;
    RETURN OLD;
END $$;

CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION audit_is_purged();
CREATE TRIGGER audit_is_never_emptied BEFORE TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_stays_whole();

CREATE TRIGGER audit_checkpoint_is_never_changed BEFORE UPDATE OR TRUNCATE ON audit_checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION audit_stays_whole();
CREATE TRIGGER audit_checkpoint_is_never_deleted BEFORE DELETE ON audit_checkpoints
    FOR EACH ROW EXECUTE FUNCTION audit_is_purged();
CREATE TRIGGER audit_tombstone_is_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE
    ON audit_tombstones FOR EACH STATEMENT EXECUTE FUNCTION audit_stays_whole();

CREATE OR REPLACE FUNCTION audit_goes_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM (SELECT host_id, min(seq) AS first, max(seq) AS last, count(*) AS records
                    FROM added GROUP BY host_id) AS part
    WHERE part.last - part.first + 1 <> part.records
       OR part.first <> 1 + greatest(
              coalesce((SELECT max(before.seq) FROM audit_events AS before
                  WHERE before.host_id = part.host_id AND before.seq < part.first), 0),
              coalesce((SELECT max(stone.to_seq) FROM audit_tombstones AS stone
                  WHERE stone.host_id = part.host_id AND stone.to_seq < part.first), 0));
    IF FOUND THEN
        RAISE EXCEPTION 'the audit log has no gaps';
    END IF;
    RETURN NULL;
END $$;
