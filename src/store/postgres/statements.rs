//! Lists every statement that is not made for a filter. Owns the SQL of this dialect. Face: `Sql`.
//! Never holds a value: values are bound. A test prepares each against a real server.

use super::access_statements::access_statements;
use super::audit_statements::audit_statements;
use super::columns::{
    access, access_counts, attempt, delivery, exception_columns, finding_columns, finding_shape,
    hosted_type, insert_token, job, lacking, lock, needed_by_runs, project, put_tenant, put_user,
    receiver, revision, run, schedule,
};
use super::finding_statements::finding_statements;

/// Declares the statements: each is one line of the enum and its text.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $($text:expr),+;)+) => {
        /// A statement.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Sql {
            $($(#[$doc])* $name,)+
        }

        impl Sql {
            /// Every statement, in the order of their numbers.
            pub(super) const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its text.
            pub(super) const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($text),+),)+
                }
            }
        }
    };
}

finding_statements! {
    /// Tells other agents where to look.
    Notify = "SELECT pg_notify('wharf_work', $1)";
    /// Whose database it is for a host, and where its writer stands.
    Host = "SELECT h.workspace_id, h.tenant_id, h.owner_id, u.name, h.key_fingerprint, h.batch
            FROM hosts h JOIN users u ON u.id = h.owner_id WHERE h.id = $1";
    /// Numbers a transaction of the host's writer.
    SetBatch = "UPDATE hosts SET batch = $2 WHERE id = $1";

    /// One run.
    RunById = run!(), " WHERE r.id = $1";
    /// The run with an identity that is not completed.
    ActiveRun = run!(), " WHERE r.workspace_id = $1 AND r.run_identity_hash = $2
        AND r.status <> 'completed'";
    /// The attempts of a run.
    Attempts = "SELECT ", attempt!(), " FROM run_attempts a WHERE a.run_id = $1 ORDER BY a.number";
    /// Attempts that no process ended.
    OpenAttempts = "SELECT ", attempt!(), ", (SELECT count(*) FROM run_attempts p
            WHERE p.run_id = a.run_id AND p.\"end\" = 'interrupted')
        FROM run_attempts a WHERE a.ended_at IS NULL ORDER BY a.started_at, a.run_id";
    /// Runs by their ids.
    RunsById = run!(), " WHERE r.id = ANY($1)";
    /// The steps of a run.
    Steps = "SELECT run_id, attempt, step_index, key, description, cause, undo, status, started_at,
            ended_at, detail
        FROM run_steps WHERE run_id = $1 ORDER BY attempt, step_index";
    /// When something happens next by itself.
    NextDue = "SELECT least((SELECT min(wait_until) FROM runs WHERE wait_until IS NOT NULL),
        (SELECT min(wait_until) FROM run_jobs WHERE wait_until IS NOT NULL AND ready = 0))";
    /// Waiting runs whose time has come and that somebody must wake. What only waits for its next
    /// attempt, a claim finds by itself.
    Due = run!(), " WHERE r.wait_until <= $1 AND r.status = 'running' AND r.waits_for <> 'back_off'
        ORDER BY r.wait_until, r.id";
    /// One job.
    JobByKey = job!(), " WHERE j.run_id = $1 AND j.key = $2";
    /// Jobs that somebody executes.
    RunningJobs = job!(), " WHERE j.status = 'running' ORDER BY j.run_id, j.number";

    /// The agents.
    Agents = "SELECT instance, host_id, boot_id, hostname, started_at, heartbeat_at
        FROM agents ORDER BY started_at, instance";
    /// The hosted types of a workspace.
    HostedTypes = hosted_type!(), " WHERE workspace_id = $1 ORDER BY name";
    /// One hosted type.
    HostedType = hosted_type!(), " WHERE workspace_id = $1 AND name = $2";
    /// What holds the queue of a workspace back.
    QueueControls = "SELECT workspace_id, scope, is_paused, concurrency_max FROM queue_controls
        WHERE workspace_id = $1 ORDER BY scope";
    /// How much of each type there is.
    QueueDepths = "SELECT type, count(*) FILTER (WHERE status = 'queued'),
            count(*) FILTER (WHERE status = 'running'),
            min(created_at) FILTER (WHERE status = 'queued')
        FROM runs WHERE workspace_id = $1 AND status <> 'completed' GROUP BY type ORDER BY type";

    /// The runs that are not completed, by status.
    Backlog = "SELECT status, count(*), min(created_at) FROM runs WHERE status <> 'completed'
        GROUP BY status ORDER BY status";

    /// All projects of a workspace.
    Projects = project!(), " WHERE host_id = $1 AND workspace_id = $2 ORDER BY name";
    /// One project.
    Project = project!(), " WHERE host_id = $1 AND workspace_id = $2 AND name = $3";
    /// Keeps a project as these files declare; when it was first applied stays.
    ApplyProject = "INSERT INTO projects (host_id, workspace_id, name, tenant_id, desired,
            revision_id, wanted, created_at, updated_at)
        VALUES ($1, $2, $3, $4, 'running', $5, $6, $7, $7)
        ON CONFLICT (host_id, workspace_id, name) DO UPDATE SET
            desired = excluded.desired, revision_id = excluded.revision_id,
            wanted = excluded.wanted, updated_at = excluded.updated_at";
    /// Changes what a project is kept at.
    KeepProject = "UPDATE projects SET desired = $4, updated_at = $5
        WHERE host_id = $1 AND workspace_id = $2 AND name = $3";
    /// What was brought up.
    NoteDeployed = "UPDATE projects SET deployed_revision_id = $4, spec_digest = $5, updated_at = $6
        WHERE host_id = $1 AND workspace_id = $2 AND name = $3";
    /// Forgets a project that is to be gone, with what belongs to it. One that was applied again
    /// meanwhile stays, with nothing of it deployed.
    ForgetProject = "WITH kept AS (
            UPDATE projects SET deployed_revision_id = NULL, spec_digest = NULL
            WHERE host_id = $1 AND workspace_id = $2 AND name = $3 AND desired <> 'removed'),
        gone AS (
            DELETE FROM projects
            WHERE host_id = $1 AND workspace_id = $2 AND name = $3 AND desired = 'removed'
            RETURNING host_id, workspace_id, name),
        adopted AS (DELETE FROM adoptions a USING gone g WHERE a.host_id = g.host_id
            AND a.workspace_id = g.workspace_id AND a.project = g.name),
        ended AS (DELETE FROM container_exits e USING gone g WHERE e.host_id = g.host_id
            AND e.workspace_id = g.workspace_id AND e.project = g.name)
        DELETE FROM revisions r USING gone g WHERE r.host_id = g.host_id
            AND r.workspace_id = g.workspace_id AND r.project = g.name
            AND r.id NOT IN (", needed_by_runs!(), ")";
    /// Remembers a container that was taken over.
    PutAdoption = "INSERT INTO adoptions (host_id, workspace_id, project, service, number,
            container_id, spec_hash, adopted_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (host_id, workspace_id, project, service, number) DO UPDATE SET
            container_id = excluded.container_id, spec_hash = excluded.spec_hash,
            adopted_at = excluded.adopted_at";
    /// Forgets those of a project.
    DropAdoptions = "DELETE FROM adoptions
        WHERE host_id = $1 AND workspace_id = $2 AND project = $3";
    /// Those of a project.
    Adoptions = "SELECT service, number, container_id, spec_hash, adopted_at FROM adoptions
        WHERE host_id = $1 AND workspace_id = $2 AND project = $3 ORDER BY service, number";
    /// The latest exit of a container: seen again, it is counted; a container that replaced it
    /// begins at its own count.
    RecordExit = "INSERT INTO container_exits AS e (host_id, workspace_id, project, service, number,
            container_id, exit_code, count, seen_at, ended)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (host_id, workspace_id, project, service, number) DO UPDATE SET
            count = CASE WHEN e.container_id = excluded.container_id
                THEN e.count + excluded.count ELSE excluded.count END,
            container_id = excluded.container_id, exit_code = excluded.exit_code,
            seen_at = excluded.seen_at, ended = excluded.ended";
    /// Forgets how containers ended, because they run.
    ForgetExits = "DELETE FROM container_exits WHERE host_id = $1 AND workspace_id = $2
        AND project = $3 AND container_id = ANY($4)";
    /// Remembers anonymous volumes that are about to be removed.
    DoomVolumes = "INSERT INTO doomed_volumes (host_id, workspace_id, project, name)
        SELECT $1, $2, $3, unnest($4::text[]) ON CONFLICT DO NOTHING";
    /// Those of a project.
    DoomedVolumes = "SELECT name FROM doomed_volumes
        WHERE host_id = $1 AND workspace_id = $2 AND project = $3 ORDER BY name";
    /// Forgets those of a project: they are removed.
    ForgetVolumes = "DELETE FROM doomed_volumes
        WHERE host_id = $1 AND workspace_id = $2 AND project = $3";
    /// The exits of a project.
    Exits = "SELECT service, number, container_id, exit_code, count, seen_at, ended
        FROM container_exits
        WHERE host_id = $1 AND workspace_id = $2 AND project = $3 ORDER BY service, number";

    /// Stores a bundle.
    InsertRevision = "INSERT INTO revisions (id, host_id, workspace_id, project, digest, size_bytes,
            chunks, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    /// Stores a piece of its sealed content.
    InsertChunk = "INSERT INTO revision_chunks (revision_id, number, sealed) VALUES ($1, $2, $3)";
    /// Drops old bundles of the project that nothing needs.
    DropOldRevisions = "DELETE FROM revisions WHERE host_id = $1 AND workspace_id = $2
        AND project = $3 AND id <> $4 AND id NOT IN (", needed_by_runs!(), ")
        AND id NOT IN (SELECT revision_id FROM projects WHERE revision_id IS NOT NULL
            UNION SELECT deployed_revision_id FROM projects
            WHERE deployed_revision_id IS NOT NULL
            UNION SELECT layer.value ->> 'revision_id' FROM projects,
                json_array_elements(wanted::json -> 'beneath') AS layer)
        AND id NOT IN (SELECT id FROM revisions WHERE host_id = $1 AND workspace_id = $2
            AND project = $3 ORDER BY created_at DESC, id DESC LIMIT $5)";
    /// One bundle, without its content.
    RevisionById = revision!(), " WHERE id = $1";
    /// The newest bundle with a digest.
    RevisionByDigest = revision!(), " WHERE host_id = $1 AND workspace_id = $2 AND project = $3
        AND digest = $4 ORDER BY created_at DESC LIMIT 1";
    /// The pieces of a bundle's sealed content, and how many there must be.
    Chunks = "SELECT r.chunks, c.sealed FROM revisions r
        LEFT JOIN revision_chunks c ON c.revision_id = r.id
        WHERE r.id = $1 ORDER BY c.number";

    /// Takes the host for this connection.
    TakeHost = "SELECT pg_try_advisory_lock(hashtextextended('wharf host ' || $1, 0))";

    /// Runs, for their change.
    LockRuns = run!(), " WHERE r.id = ANY($1) ORDER BY r.id FOR UPDATE OF r";
    /// Runs by identity, for the admission of others.
    LockIdentities = run!(), " JOIN unnest($1::text[], $2::text[]) AS w (workspace_id, hash)
            ON r.workspace_id = w.workspace_id AND r.run_identity_hash = w.hash
        WHERE r.status <> 'completed' ORDER BY r.id FOR UPDATE OF r";
    /// Runs that lock a subject or wait for it, for their end.
    LockRivals = run!(), " JOIN unnest($1::text[], $2::text[]) AS w (scope, subject)
            ON r.lock_scope = w.scope AND r.subject = w.subject
        WHERE r.status <> 'completed' ORDER BY r.id FOR UPDATE OF r";
    /// Locks, for their change.
    LockLocks = lock!(), " JOIN unnest($1::text[], $2::text[]) AS w (scope, subject)
            ON l.scope = w.scope AND l.subject = w.subject
        ORDER BY l.scope, l.subject FOR UPDATE OF l";
    /// The locks of the subjects of runs.
    LocksOfRuns = lock!(), " JOIN runs r ON r.lock_scope = l.scope AND r.subject = l.subject
        WHERE r.id = ANY($1) ORDER BY l.scope, l.subject FOR UPDATE OF l";
    /// The open attempts of runs.
    OpenAttemptsOf = "SELECT ", attempt!(), " FROM run_attempts a
        WHERE a.run_id = ANY($1) AND a.ended_at IS NULL ORDER BY a.run_id FOR UPDATE OF a";
    /// Jobs, for their change.
    LockJobs = job!(), " JOIN unnest($1::text[], $2::text[]) AS w (run_id, key)
            ON j.run_id = w.run_id AND j.key = w.key
        ORDER BY j.run_id, j.key FOR UPDATE OF j";
    /// The jobs of dead letters that were not done.
    UndoneJobs = "SELECT run_id, key, tenant_id, payload FROM run_jobs
        WHERE run_id = ANY($1) AND status IN ('failed', 'cancelled') ORDER BY run_id, number";
    /// Hosted types.
    Definitions = hosted_type!(), " t JOIN unnest($1::text[], $2::text[]) AS w (workspace, wanted)
            ON t.workspace_id = w.workspace AND t.name = w.wanted";
    /// Which of these revisions exist. They stay until the transaction ends.
    ExistingRevisions = "SELECT id FROM revisions WHERE id = ANY($1) ORDER BY id FOR KEY SHARE";
    /// All that holds parts of queues back. Who counts against a limit waits for whoever does too.
    LockControls = "SELECT workspace_id, scope, is_paused, concurrency_max FROM queue_controls
        ORDER BY workspace_id, scope FOR UPDATE";
    /// How many attempts and jobs of a part of the queue are being executed.
    Busy = "SELECT (SELECT count(*) FROM run_attempts a JOIN runs r ON r.id = a.run_id
                WHERE a.ended_at IS NULL AND r.workspace_id = $1
                AND ($2::text IS NULL OR r.tenant_id = $2) AND ($3::text IS NULL OR r.type = $3))
            + (SELECT count(*) FROM run_jobs j JOIN runs r ON r.id = j.run_id
                WHERE j.status = 'running' AND r.workspace_id = $1
                AND ($2::text IS NULL OR coalesce(j.tenant_id, r.tenant_id) = $2)
                AND ($3::text IS NULL OR r.type = $3)), $1, $2, $3";

    /// Makes runs ready whose time has come.
    ReadyRuns = "UPDATE runs SET ready = 1, waits_for = NULL, wait_until = NULL WHERE id IN (
            SELECT id FROM runs WHERE wait_until <= $1
            AND (status = 'queued' OR waits_for = 'back_off') FOR UPDATE SKIP LOCKED)
        RETURNING id";
    /// Makes jobs ready whose time has come.
    ReadyJobs = "UPDATE run_jobs SET ready = 1 WHERE (run_id, key) IN (
            SELECT run_id, key FROM run_jobs WHERE wait_until <= $1 AND ready = 0
            FOR UPDATE SKIP LOCKED)
        RETURNING run_id";
    /// Runs that could begin now, first first, that nobody else is about to take. Of runs with one
    /// subject, only the first: one that holds the lock comes before an older one.
    ReadyRunsFor = "SELECT c.id, c.priority, c.created_at FROM unnest($1::text[]) AS t (type)
        CROSS JOIN LATERAL (SELECT r.id, r.priority, r.created_at FROM runs r
            WHERE r.ready = 1 AND r.type = t.type
            AND (r.host_id IS NULL OR r.host_id = $2) AND ($3::text IS NULL OR r.workspace_id = $3)
            AND (r.workspace_id || '|workspace') <> ALL($4::text[])
            AND (r.workspace_id || '|type:' || r.type) <> ALL($4)
            AND (r.tenant_id IS NULL OR (r.workspace_id || '|tenant:' || r.tenant_id) <> ALL($4))
            AND ($6::text[] IS NULL OR r.tenant_id IS NULL OR r.host_id IS NOT NULL
                OR r.tenant_id = ANY($6))
            AND r.id <> ALL($7::text[])
            AND (r.subject IS NULL OR (
                NOT EXISTS (SELECT 1 FROM locks l WHERE l.scope = r.lock_scope
                    AND l.subject = r.subject AND l.run_id <> r.id AND l.expires_at > $8)
                AND (EXISTS (SELECT 1 FROM locks l WHERE l.scope = r.lock_scope
                        AND l.subject = r.subject AND l.run_id = r.id AND l.expires_at > $8)
                    OR NOT EXISTS (SELECT 1 FROM runs o WHERE o.status <> 'completed'
                        AND o.lock_scope = r.lock_scope AND o.subject = r.subject
                        AND o.ready = 1 AND o.type = r.type
                        AND (-o.priority, o.created_at, o.id)
                            < (-r.priority, r.created_at, r.id)))))
            ORDER BY r.priority DESC, r.created_at, r.id LIMIT $5
            FOR UPDATE OF r SKIP LOCKED) AS c";
    /// The same for jobs of bulk runs.
    ReadyJobsFor = "SELECT c.run_id, c.priority, c.created_at, c.key
        FROM unnest($1::text[]) AS t (type)
        CROSS JOIN LATERAL (SELECT j.run_id, j.priority, j.created_at, j.key, j.number
            FROM run_jobs j JOIN runs r ON r.id = j.run_id
            WHERE j.ready = 1 AND j.type = t.type
            AND (r.host_id IS NULL OR r.host_id = $2) AND ($3::text IS NULL OR r.workspace_id = $3)
            AND (r.workspace_id || '|workspace') <> ALL($4::text[])
            AND (r.workspace_id || '|type:' || r.type) <> ALL($4)
            AND (coalesce(j.tenant_id, r.tenant_id) IS NULL
                OR (r.workspace_id || '|tenant:' || coalesce(j.tenant_id, r.tenant_id)) <> ALL($4))
            AND ($6::text[] IS NULL OR coalesce(j.tenant_id, r.tenant_id) IS NULL
                OR r.host_id IS NOT NULL OR coalesce(j.tenant_id, r.tenant_id) = ANY($6))
            AND (j.run_id || '|' || j.key) <> ALL($7::text[])
            AND (j.subject IS NULL OR NOT EXISTS (SELECT 1 FROM locks l
                WHERE l.scope = r.lock_scope AND l.subject = j.subject AND l.run_id <> r.id
                AND l.expires_at > $8))
            ORDER BY j.priority DESC, j.created_at, j.run_id, j.number LIMIT $5
            FOR UPDATE OF j SKIP LOCKED) AS c
        ORDER BY c.priority DESC, c.created_at, c.run_id, c.number";
    /// Whether any run of a type waits for a worker.
    AnyReady = "SELECT 1 FROM runs WHERE ready = 1 AND type = $1 LIMIT 1";

    /// Changes runs.
    UpdateRuns = "UPDATE runs r SET status = u.status, outcome = u.outcome, ready = u.ready,
            waits_for = u.waits_for, wait_until = u.wait_until, attempt = u.attempt,
            failures = u.failures, is_dead_letter = u.is_dead_letter,
            cancel_requested_at = u.cancel_requested_at, started_at = u.started_at,
            completed_at = u.completed_at, jobs = u.jobs
        FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[],
            $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
            $13::text[]) AS u (id, status, outcome, ready, waits_for, wait_until, attempt, failures,
            is_dead_letter, cancel_requested_at, started_at, completed_at, jobs)
        WHERE r.id = u.id";
    /// Adds to what they did.
    UpdateProgress = "UPDATE runs r SET summary_counts = u.counts, failure_summary = u.failures,
            context = u.context
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
            AS u (id, counts, failures, context)
        WHERE r.id = u.id";
    /// Inserts runs.
    InsertRuns = "INSERT INTO runs (id, workspace_id, tenant_id, user_id, initiator_name, source,
            type, subject, lock_scope, priority, run_at, host_id, retried_from, run_identity_hash,
            created_at, status, outcome, ready, waits_for, wait_until, attempt, failures,
            is_dead_letter, cancel_requested_at, started_at, completed_at, jobs, summary_counts,
            failure_summary, context)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],
            $6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[], $11::bigint[],
            $12::text[], $13::text[], $14::text[], $15::bigint[], $16::text[], $17::text[],
            $18::bigint[], $19::text[], $20::bigint[], $21::bigint[], $22::bigint[],
            $23::bigint[], $24::bigint[], $25::bigint[], $26::bigint[], $27::text[], $28::text[],
            $29::text[], $30::text[])";
    /// Gives locks back.
    DropLocks = "DELETE FROM locks l USING unnest($1::text[], $2::text[]) AS u (scope, subject)
        WHERE l.scope = u.scope AND l.subject = u.subject";
    /// Renews locks or takes expired ones over; nobody else changes them meanwhile.
    UpdateLocks = "UPDATE locks l SET run_id = u.run_id, acquired_at = u.acquired_at,
            expires_at = u.expires_at
        FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
            AS u (scope, subject, run_id, acquired_at, expires_at)
        WHERE l.scope = u.scope AND l.subject = u.subject";
    /// Takes free locks.
    InsertLocks = "INSERT INTO locks (scope, subject, run_id, acquired_at, expires_at)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])";
    /// Ends attempts.
    EndAttempts = "UPDATE run_attempts a SET ended_at = u.at, \"end\" = u.how
        FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[])
            AS u (run_id, number, at, how)
        WHERE a.run_id = u.run_id AND a.number = u.number AND a.ended_at IS NULL";
    /// Steps without a result may have acted or not.
    ForgetSteps = "UPDATE run_steps s SET status = 'unknown'
        FROM unnest($1::text[], $2::bigint[]) AS u (run_id, attempt)
        WHERE s.run_id = u.run_id AND s.attempt = u.attempt AND s.status = 'started'";
    /// Begins attempts.
    InsertAttempts = "INSERT INTO run_attempts (run_id, number, instance, host_id, boot_id,
            is_hosted, started_at, heartbeat_at, lease_until, ended_at, \"end\")
        SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[],
            $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[])";
    /// Keeps attempts alive.
    RenewAttempts = "UPDATE run_attempts a SET heartbeat_at = u.at, lease_until = u.until
        FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
            AS u (run_id, number, at, until)
        WHERE a.run_id = u.run_id AND a.number = u.number";
    /// Makes the jobs of one run.
    InsertJobs = "INSERT INTO run_jobs (run_id, type, priority, created_at, ready, key, number,
            tenant_id, payload, subject, status, attempt, failures, interruptions)
        SELECT $1, $2, $3, $4, $5, u.*, 'queued', 0, 0, 0
        FROM unnest($6::text[], $7::bigint[], $8::text[], $9::text[], $10::text[]) AS u";
    /// Changes jobs.
    UpdateJobs = "UPDATE run_jobs j SET status = u.status, ready = u.ready,
            wait_until = u.wait_until, attempt = u.attempt, failures = u.failures,
            interruptions = u.interruptions, instance = u.instance, host_id = u.host_id,
            boot_id = u.boot_id, is_hosted = u.is_hosted, lease_until = u.lease_until,
            reached = u.reached
        FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::bigint[], $9::text[], $10::text[], $11::text[], $12::bigint[],
            $13::bigint[], $14::text[]) AS u (run_id, key, status, ready, wait_until, attempt,
            failures, interruptions, instance, host_id, boot_id, is_hosted, lease_until, reached)
        WHERE j.run_id = u.run_id AND j.key = u.key";
    /// The queued jobs of runs can be claimed.
    OpenJobs = "UPDATE run_jobs SET ready = 1 WHERE run_id = ANY($1) AND status = 'queued'";
    /// The jobs of runs that no worker has are cancelled.
    CancelJobs = "UPDATE run_jobs SET status = 'cancelled', ready = 0, wait_until = NULL
        WHERE run_id = ANY($1) AND status IN ('queued', 'waiting')";
    /// A step begins or ends.
    PutStep = "INSERT INTO run_steps (run_id, attempt, step_index, key, description, cause, undo,
            status, started_at, ended_at, detail)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (run_id, attempt, step_index) DO UPDATE SET status = excluded.status,
            ended_at = excluded.ended_at, detail = excluded.detail
        WHERE run_steps.status = 'started'";

    /// Older agents of a host have not survived a new one.
    DropAgents = "DELETE FROM agents WHERE host_id = $1";
    /// An agent has started.
    InsertAgent = "INSERT INTO agents (instance, host_id, boot_id, hostname, started_at,
            heartbeat_at)
        VALUES ($1, $2, $3, $4, $5, $6)";
    /// It is alive.
    BeatAgent = "UPDATE agents SET heartbeat_at = $2 WHERE instance = $1";
    /// And what it executes.
    BeatAttempts = "UPDATE run_attempts SET heartbeat_at = $2, lease_until = $3
        WHERE instance = $1 AND is_hosted = 0 AND ended_at IS NULL";
    /// And its jobs.
    BeatJobs = "UPDATE run_jobs SET lease_until = $2
        WHERE status = 'running' AND instance = $1 AND is_hosted = 0";
    /// And the locks of runs that nobody else executes: waiting runs keep what they locked.
    BeatLocks = "UPDATE locks l SET expires_at = $2 WHERE l.expires_at < $2
        AND NOT EXISTS (SELECT 1 FROM run_attempts a WHERE a.run_id = l.run_id
            AND a.ended_at IS NULL AND (a.instance <> $1 OR a.is_hosted = 1))";
    /// Inserts or replaces a hosted type; when it was registered first stays.
    PutHostedType = "INSERT INTO hosted_types (workspace_id, name, definition, registered_at,
            updated_at)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (workspace_id, name) DO UPDATE SET definition = excluded.definition,
            updated_at = excluded.updated_at";
    /// Whether a run of a type is not completed.
    TypeInUse = "SELECT 1 FROM runs WHERE workspace_id = $1 AND type = $2
        AND status <> 'completed' LIMIT 1";
    /// Forgets a hosted type.
    DropHostedType = "DELETE FROM hosted_types WHERE workspace_id = $1 AND name = $2
        RETURNING name";
    /// Inserts or replaces what holds a part of a queue back.
    PutQueueControl = "INSERT INTO queue_controls (workspace_id, scope, is_paused, concurrency_max)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (workspace_id, scope) DO UPDATE SET is_paused = excluded.is_paused,
            concurrency_max = excluded.concurrency_max";
    /// Nothing holds it back any more.
    DropQueueControl = "DELETE FROM queue_controls WHERE workspace_id = $1 AND scope = $2";

    /// Whether another schedule has the name.
    ScheduleTaken = "SELECT 1 FROM schedules WHERE workspace_id = $1 AND name = $2 AND id <> $3";
    /// Inserts a schedule, or replaces what somebody chose of it.
    PutSchedule = "INSERT INTO schedules AS s (id, workspace_id, tenant_id, name, expression,
            time_zone, task, jitter_max, missed, missed_age_max, overlap, is_paused, created_at,
            updated_at, done_until, held, fired_at, run_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
        ON CONFLICT (id) DO UPDATE SET name = excluded.name, expression = excluded.expression,
            time_zone = excluded.time_zone, task = excluded.task,
            jitter_max = excluded.jitter_max, missed = excluded.missed,
            missed_age_max = excluded.missed_age_max, overlap = excluded.overlap,
            is_paused = excluded.is_paused, updated_at = excluded.updated_at,
            done_until = greatest(s.done_until, excluded.done_until)";
    /// Forgets a schedule.
    DropSchedule = "DELETE FROM schedules WHERE workspace_id = $1 AND id = $2 RETURNING id";
    /// Moves its progress from where somebody saw it.
    AdvanceSchedule = "UPDATE schedules SET done_until = $1, held = $2, fired_at = $3, run_id = $4
        WHERE id = $5 AND done_until = $6 AND held IS NOT DISTINCT FROM $7 AND updated_at = $8
        RETURNING id";
    /// The schedules of a workspace.
    Schedules = schedule!(), " WHERE workspace_id = $1 ORDER BY name";
    /// One schedule.
    ScheduleByName = schedule!(), " WHERE workspace_id = $1 AND name = $2";

    /// Whether another rule has the name.
    RuleTaken = "SELECT 1 FROM alert_rules WHERE workspace_id = $1 AND name = $2 AND id <> $3";
    /// Inserts or replaces a rule, without its receivers.
    PutRule = "INSERT INTO alert_rules (id, workspace_id, name, event, run_type, tenant_id,
            severity_min, is_enabled, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (id) DO UPDATE SET name = excluded.name, event = excluded.event,
            run_type = excluded.run_type, tenant_id = excluded.tenant_id,
            severity_min = excluded.severity_min, is_enabled = excluded.is_enabled,
            updated_at = excluded.updated_at";
    /// Forgets its receivers.
    DropRuleReceivers = "DELETE FROM alert_rule_receivers WHERE rule_id = $1";
    /// Adds one.
    InsertRuleReceiver = "INSERT INTO alert_rule_receivers (rule_id, position, receiver_id)
        VALUES ($1, $2, $3)";
    /// Forgets a rule.
    DropRule = "DELETE FROM alert_rules WHERE workspace_id = $1 AND id = $2 RETURNING id";
    /// The rules of a workspace, each with its receivers.
    Rules = "SELECT r.id, r.workspace_id, r.name, r.event, r.run_type, r.tenant_id, r.severity_min,
            r.is_enabled, r.created_at, r.updated_at, ARRAY(SELECT n.receiver_id
                FROM alert_rule_receivers n WHERE n.rule_id = r.id ORDER BY n.position)
        FROM alert_rules r WHERE r.workspace_id = $1 ORDER BY r.name";
    /// Whether a receiver is the workspace's. It stays until the transaction ends.
    ReceiverIn = "SELECT id FROM alert_receivers WHERE id = $1 AND workspace_id = $2
        FOR KEY SHARE";
    /// Whether another receiver has the name.
    ReceiverTaken = "SELECT 1 FROM alert_receivers WHERE workspace_id = $1 AND name = $2
        AND id <> $3";
    /// Inserts or replaces a receiver, which this host alone can open.
    PutReceiver = "INSERT INTO alert_receivers (id, host_id, workspace_id, name, target,
            header_names, is_signed, timeout, sealed, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (id) DO UPDATE SET host_id = excluded.host_id, name = excluded.name,
            target = excluded.target, header_names = excluded.header_names,
            is_signed = excluded.is_signed, timeout = excluded.timeout, sealed = excluded.sealed,
            updated_at = excluded.updated_at";
    /// A rule that names a receiver.
    ReceiverUsed = "SELECT r.name FROM alert_rules r JOIN alert_rule_receivers n
        ON n.rule_id = r.id WHERE n.receiver_id = $1 ORDER BY r.name LIMIT 1";
    /// Forgets a receiver.
    DropReceiver = "DELETE FROM alert_receivers WHERE workspace_id = $1 AND id = $2 RETURNING id";
    /// The receivers of a workspace.
    Receivers = receiver!(), " WHERE workspace_id = $1 ORDER BY name";
    /// One receiver.
    ReceiverById = receiver!(), " WHERE id = $1";
    /// Writes down that a receiver hears of an event; twice is once.
    InsertDelivery = "INSERT INTO alert_deliveries (id, workspace_id, receiver_id, event_key, event,
            run_id, status, due_at, ended_at, attempts, last, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, $11) ON CONFLICT (id) DO NOTHING";
    /// Forgets what ended long ago.
    ForgetDeliveries = "DELETE FROM alert_deliveries
        WHERE status <> 'pending' AND ended_at < $1 RETURNING id";
    /// What is due and a host can send, that nobody else is about to take.
    DueDeliveries = delivery!(), " JOIN alert_receivers v ON v.id = d.receiver_id
        WHERE v.host_id = $1 AND d.status = 'pending' AND d.due_at <= $2
        ORDER BY d.due_at, d.id LIMIT $3 FOR UPDATE OF d SKIP LOCKED";
    /// A delivery, for its change.
    LockDelivery = delivery!(), " WHERE d.id = $1
        AND d.workspace_id = coalesce($2::text, d.workspace_id) FOR UPDATE";
    /// Changes it.
    UpdateDelivery = "UPDATE alert_deliveries SET status = $2, due_at = $3, ended_at = $4,
            attempts = $5, last = $6
        WHERE id = $1";
    /// One delivery.
    DeliveryIn = delivery!(), " WHERE d.id = $1 AND d.workspace_id = $2";
    /// When the next one is due that a host can send.
    NextDelivery = "SELECT min(d.due_at) FROM alert_deliveries d
        JOIN alert_receivers v ON v.id = d.receiver_id
        WHERE v.host_id = $1 AND d.status = 'pending'";
}
