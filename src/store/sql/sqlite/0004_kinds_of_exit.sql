-- How a container ended: by itself, by somebody's hand, or with its engine. Only exits that nobody
-- asked for were recorded before.
ALTER TABLE container_exits ADD COLUMN ended TEXT NOT NULL DEFAULT 'on_its_own'
    CHECK (ended IN ('on_its_own', 'by_hand', 'with_the_engine'));
