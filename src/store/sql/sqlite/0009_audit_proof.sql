-- What a record says of persons stands beside what is chained, so that a person can be erased.
-- Records from before have it in their body, and nothing here.
ALTER TABLE audit_events ADD COLUMN personal TEXT;

-- The halves of the host's audit keys that everybody may have.
CREATE TABLE audit_keys (
    key_id     TEXT PRIMARY KEY,
    public_key TEXT NOT NULL,
    since      INTEGER NOT NULL
) STRICT;

-- Signed statements that the log was so: each ends a segment.
CREATE TABLE audit_checkpoints (
    seq  INTEGER PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

-- Signed statements that whole segments were purged.
CREATE TABLE audit_tombstones (
    from_seq INTEGER PRIMARY KEY,
    to_seq   INTEGER NOT NULL CHECK (to_seq >= from_seq),
    body     TEXT NOT NULL
) STRICT;

-- How far each place outside of the host has what it is to have.
CREATE TABLE audit_anchors (
    place      TEXT PRIMARY KEY,
    seq        INTEGER NOT NULL,
    reached_at INTEGER NOT NULL
) STRICT;

-- Persons who are erased, and how far that is.
CREATE TABLE audit_erasures (
    user_id      TEXT PRIMARY KEY,
    pseudonym    TEXT NOT NULL,
    -- Gone with the rest.
    label        TEXT,
    next_seq     INTEGER NOT NULL,
    asked_at     INTEGER NOT NULL,
    completed_at INTEGER
) STRICT;

DROP TRIGGER audit_is_gapless;
DROP TRIGGER audit_is_never_changed;
DROP TRIGGER audit_is_never_deleted;

CREATE TRIGGER audit_is_gapless BEFORE INSERT ON audit_events
WHEN NEW.seq <> 1 + max(coalesce((SELECT max(seq) FROM audit_events), 0),
                        coalesce((SELECT max(to_seq) FROM audit_tombstones), 0))
BEGIN
    SELECT raise(ABORT, 'the audit log has no gaps');
END;

-- A known person has a salt. A change may only make them fewer.
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit_events
WHEN NEW.seq IS NOT OLD.seq
  OR NEW.id IS NOT OLD.id
  OR NEW.workspace_id IS NOT OLD.workspace_id
  OR NEW.tenant_id IS NOT OLD.tenant_id
  OR NEW.event_type IS NOT OLD.event_type
  OR NEW.outcome IS NOT OLD.outcome
  OR NEW.actor_type IS NOT OLD.actor_type
  OR NEW.target_type IS NOT OLD.target_type
  OR NEW.target_id IS NOT OLD.target_id
  OR NEW.operation_run_id IS NOT OLD.operation_run_id
  OR NEW.occurred_at IS NOT OLD.occurred_at
  OR NEW.body IS NOT OLD.body
  OR NEW.hash IS NOT OLD.hash
  OR OLD.personal IS NULL
  OR NEW.personal IS NULL
  OR length(NEW.personal) - length(replace(NEW.personal, '"salt":', ''))
     >= length(OLD.personal) - length(replace(OLD.personal, '"salt":', ''))
BEGIN
    SELECT raise(ABORT, 'the audit log is never changed');
END;

CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit_events
WHEN NOT EXISTS (SELECT 1 FROM audit_tombstones
                 WHERE from_seq <= OLD.seq AND OLD.seq <= to_seq)
BEGIN
    SELECT raise(ABORT, 'the audit log is never deleted');
END;

CREATE TRIGGER audit_checkpoint_is_never_changed BEFORE UPDATE ON audit_checkpoints
BEGIN
    SELECT raise(ABORT, 'a checkpoint of the audit log is never changed');
END;

CREATE TRIGGER audit_checkpoint_is_never_deleted BEFORE DELETE ON audit_checkpoints
WHEN NOT EXISTS (SELECT 1 FROM audit_tombstones
                 WHERE from_seq <= OLD.seq AND OLD.seq <= to_seq)
BEGIN
    SELECT raise(ABORT, 'a checkpoint of the audit log is never deleted');
END;

CREATE TRIGGER audit_tombstone_is_never_changed BEFORE UPDATE ON audit_tombstones
BEGIN
    SELECT raise(ABORT, 'a tombstone of the audit log is never changed');
END;

CREATE TRIGGER audit_tombstone_is_never_deleted BEFORE DELETE ON audit_tombstones
BEGIN
    SELECT raise(ABORT, 'a tombstone of the audit log is never deleted');
END;
