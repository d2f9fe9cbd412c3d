//! Lists the statements about the audit log and what is beside it. Owns their SQL in this dialect.
//! Face: `audit_statements!`, which puts them before the others. Never holds a value: values are bound.

/// Declares the statements about the audit log, and those that are given.
macro_rules! audit_statements {
    ($($others:tt)+) => {
        statements! {
            /// The end of a host's chain.
            AuditHead = "SELECT seq, hash FROM audit_events WHERE host_id = $1 ORDER BY seq DESC LIMIT 1";
            /// Adds records to it.
            InsertAudit = "INSERT INTO audit_events (host_id, seq, id, workspace_id, tenant_id, event_type,
                    outcome, actor_type, actor_label, target_type, target_id, operation_run_id, summary,
                    occurred_at, body, hash, personal)
                SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
                    $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
                    $13::text[], $14::bigint[], $15::text[], $16::text[], $17::text[])";
            /// One record.
            AuditById = "SELECT body, personal FROM audit_events WHERE id = $1";
            /// A part of the chain with everything that is verified.
            AuditChain = "SELECT seq, body, hash, personal, id, workspace_id, tenant_id, event_type,
                    outcome, actor_type, actor_label, target_type, target_id, operation_run_id, summary,
                    occurred_at
                FROM audit_events WHERE host_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";

            /// Checkpoints of it.
            AuditCheckpoints = "SELECT seq, body FROM audit_checkpoints WHERE host_id = $1 AND seq > $2
                ORDER BY seq LIMIT $3";
            /// What was purged of it.
            AuditTombstones = "SELECT to_seq, body FROM audit_tombstones WHERE host_id = $1
                ORDER BY from_seq";
            /// The last part that was purged of it.
            LastTombstone = "SELECT body FROM audit_tombstones WHERE host_id = $1
                ORDER BY from_seq DESC LIMIT 1";
            /// Up to where a place outside has its checkpoints.
            AuditAnchored = "SELECT seq FROM audit_anchors WHERE host_id = $1 AND place = $2";
            /// The end of its next segment.
            AuditUnsealed = "WITH done AS (SELECT greatest(
                    coalesce((SELECT max(seq) FROM audit_checkpoints WHERE host_id = $1), 0),
                    coalesce((SELECT max(to_seq) FROM audit_tombstones WHERE host_id = $1), 0)) AS seq)
                SELECT e.seq, e.hash, done.seq FROM audit_events e, done WHERE e.host_id = $1
                    AND e.seq > done.seq AND e.seq <= done.seq + $2::bigint ORDER BY e.seq DESC LIMIT 1";
            /// Checkpoints behind a record, that of the last record left out.
            PurgeableCheckpoints = "SELECT body FROM audit_checkpoints WHERE host_id = $1 AND seq > $2
                AND seq <= $2 + $3::bigint
                AND seq < (SELECT max(e.seq) FROM audit_events e WHERE e.host_id = $1) ORDER BY seq";
            /// Whether a tombstone still fits.
            IsPurgeable = "SELECT 1 FROM audit_checkpoints WHERE host_id = $1 AND seq = $3
                AND seq < (SELECT max(e.seq) FROM audit_events e WHERE e.host_id = $1)
                AND $2::bigint = 1 + coalesce((SELECT max(to_seq) FROM audit_tombstones
                    WHERE host_id = $1), 0)";
            /// Says what is purged.
            InsertTombstone = "INSERT INTO audit_tombstones (host_id, from_seq, to_seq, body)
                VALUES ($1, $2, $3, $4)";
            /// Purges it.
            PurgeRecords = "DELETE FROM audit_events WHERE host_id = $1 AND seq <= $2";
            /// Its checkpoints too.
            PurgeCheckpoints = "DELETE FROM audit_checkpoints WHERE host_id = $1 AND seq <= $2";
            /// Makes a key known.
            InsertAuditKey = "INSERT INTO audit_keys (host_id, key_id, public_key, since)
                VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
            /// Seals a segment.
            InsertCheckpoint = "INSERT INTO audit_checkpoints (host_id, seq, body) SELECT $1, $2, $3
                WHERE $4::bigint = greatest(
                    coalesce((SELECT max(seq) FROM audit_checkpoints WHERE host_id = $1), 0),
                    coalesce((SELECT max(to_seq) FROM audit_tombstones WHERE host_id = $1), 0))
                RETURNING seq";
            /// Notes down how far a place outside is.
            NoteAnchored = "INSERT INTO audit_anchors (host_id, place, seq, reached_at)
                VALUES ($1, $2, $3, $4) ON CONFLICT (host_id, place) DO UPDATE
                SET seq = excluded.seq, reached_at = excluded.reached_at";
            /// Begins to erase a person in the logs of all hosts.
            BeginErasure = "INSERT INTO audit_erasures (host_id, user_id, pseudonym, label, next_seq, asked_at)
                SELECT id, $1, $2, $3, 0, $4 FROM hosts ON CONFLICT (host_id, user_id) DO UPDATE
                SET label = excluded.label, next_seq = 0, asked_at = excluded.asked_at,
                    completed_at = NULL";
            /// Who is to be erased further.
            NextErasure = "SELECT user_id, pseudonym, label, next_seq FROM audit_erasures
                WHERE host_id = $1 AND completed_at IS NULL ORDER BY asked_at, user_id LIMIT 1";
            /// Records that may be about them.
            RecordsToErase = "SELECT seq, body, personal FROM audit_events
                WHERE host_id = $1 AND seq >= $2 ORDER BY seq LIMIT $3";
            /// Erases them in one.
            EraseRecord = "UPDATE audit_events SET personal = $3, summary = $4, actor_label = $5
                WHERE host_id = $1 AND seq = $2";
            /// Erases them in runs.
            ForgetInRuns = "UPDATE runs SET initiator_name = $2 WHERE user_id = $1";
            /// Erases them in runs that they started from above workspaces, which have no user.
            ForgetInPlatformRuns = "UPDATE runs SET initiator_name = $2, context = jsonb_set(
                    context::jsonb #- '{inputs,platform_initiator,email}',
                    '{inputs,platform_initiator,name}', to_jsonb($2::text))::text
                WHERE user_id IS NULL AND CASE WHEN strpos(context, $1) > 0 THEN
                    context::jsonb #>> '{inputs,platform_initiator,platform_user_id}' END = $1";
            /// Erases their name, unless a host is theirs.
            ForgetInUsers = "UPDATE users SET name = $2
                WHERE id = $1 AND id NOT IN (SELECT owner_id FROM hosts)";
            /// Where the erasure goes on.
            ErasureGoesOn = "UPDATE audit_erasures SET next_seq = $3 WHERE host_id = $1 AND user_id = $2";
            /// Nothing is left to do.
            ErasureIsDone = "UPDATE audit_erasures SET label = NULL, completed_at = $3
                WHERE host_id = $1 AND user_id = $2";

            $($others)+
        }
    };
}

pub(super) use audit_statements;
