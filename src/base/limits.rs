//! Names every bound that is not a setting. Owns the numbers; pauses and intervals, which bound
//! nothing, stand with their users. Face: the constants. Never holds a number without its unit in
//! the name or the type, and its reason beside it.

use std::time::Duration;

/// Largest YAML file that is read. Real compose files stay under 100 KB.
pub const YAML_BYTES_MAX: usize = 4 << 20;
/// Deepest nesting of a YAML document.
pub const YAML_DEPTH_MAX: usize = 64;
/// Most nodes of a YAML document after aliases are expanded: a YAML bomb stops here.
pub const YAML_NODES_MAX: usize = 200_000;
/// Most keys of one mapping: lookups walk the list, so an endless one would be slow.
pub const YAML_KEYS_MAX: usize = 4_096;
/// Problems, and warnings, that are listed for one set of files.
pub const DIAGNOSTICS_MAX: usize = 100;
/// Characters of a file's line that are kept with a problem.
pub const EXCERPT_CHARS_MAX: usize = 400;
/// Characters of such a line that are shown at a terminal.
pub const EXCERPT_SHOWN_CHARS_MAX: usize = 160;
/// How many of them follow the place at least, if there are as many.
pub const EXCERPT_AFTER_CHARS_MIN: usize = 40;
/// Most text that variables may put into one project's files: `.env` could multiply itself.
pub const SUBSTITUTED_BYTES_MAX: usize = 16 << 20;
/// Deepest nesting of one expression that is substituted.
pub const EXPRESSION_DEPTH_MAX: usize = 32;

/// Largest bundle of files that a client sends for one project, build contexts included.
pub const BUNDLE_BYTES_MAX: usize = 256 << 20;
/// Most files in a bundle.
pub const BUNDLE_FILES_MAX: usize = 20_000;
/// Largest single config, secret or env file.
pub const CONTENT_FILE_BYTES_MAX: usize = 1 << 20;
/// Largest request body of every other API call.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;
/// How long the rest of a refused request's body is read, so that its sender gets the answer.
pub const REFUSED_BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer that the command-line client reads into memory.
pub const RESPONSE_BYTES_MAX: usize = 64 << 20;

/// Items on one page of a list.
pub const PAGE_ITEMS_MAX: usize = 500;
/// Items on a page when nobody says how many.
pub const PAGE_ITEMS_DEFAULT: usize = 50;

/// One ordinary engine call: inspect, create, start.
pub const ENGINE_CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Connecting to the engine's socket.
pub const ENGINE_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One image build.
pub const ENGINE_BUILD_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Tries of a build while others remove images, which disturbs an engine that searches for earlier layers.
pub const ENGINE_BUILD_TRIES_MAX: u32 = 5;
/// One image pull.
pub const ENGINE_PULL_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Layers of one image whose progress is summed up; an image has at most 127.
pub const PULL_LAYERS_MAX: usize = 256;
/// Retries of an engine call that changes nothing.
pub const ENGINE_READ_RETRIES_MAX: u32 = 3;
/// How long a run waits for an engine that went away: an upgrade of the engine takes less.
pub const ENGINE_RETURN_TIMEOUT: Duration = Duration::from_secs(300);
/// Lines of a container's log that go into an error.
pub const ERROR_LOG_LINES_MAX: usize = 10;
/// Characters of the shortest value that is known as a secret by the name of its variable.
pub const KNOWN_SECRET_CHARS_MIN: usize = 6;
/// Longest line of a container's log; the rest of it becomes a line of its own.
pub const LOG_LINE_BYTES_MAX: usize = 64 << 10;
/// Lines of log that one `logs` request returns without `--follow`.
pub const LOG_LINES_MAX: usize = 10_000;

/// How long a container may take until it is healthy, when the project says nothing.
pub const HEALTHY_WAIT_TIMEOUT: Duration = Duration::from_secs(300);
/// Inspections of one list that are in flight at once.
pub const ENGINE_PARALLEL_READS_MAX: usize = 8;
/// Engine calls of one run that may be in flight at once.
pub const DEPLOY_PARALLEL_CALLS_MAX: usize = 8;
/// Rounds in one attempt. Each round after the first has a reason: images that were fetched, an
/// engine that went away, somebody else's change.
pub const DEPLOY_ROUNDS_MAX: usize = 12;
/// Latest runs of a project that are asked which replacements failed, before the agent makes one by
/// itself.
pub const FAILED_ATTEMPTS_RUNS_MAX: usize = 50;
/// How often the same plan may end in errors of the engine's own while it answers all the same: an
/// engine that goes down does so, and one that always refuses says the same for ever.
pub const DEPLOY_REFUSALS_MAX: u32 = 3;

/// The lock of a run that waits without a worker, for as long as it waits: nobody is there whose
/// silence could end it.
pub const WAITING_LOCK: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A run's lock, renewed while its holder lives.
pub const LEASE_DURATION: Duration = Duration::from_secs(900);
/// How often a live run renews its lease.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// Attempts of one run before it is given up.
pub const RUN_ATTEMPTS_MAX: u32 = 10;
/// Runs that execute at once.
pub const RUN_WORKERS_MAX: usize = 4;
/// Largest payload of a hosted run or of one job: what is larger belongs into a file or a table,
/// and the payload names it.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// Longest key of a job, and longest identity key of a hosted run, in bytes.
pub const JOB_KEY_BYTES_MAX: usize = 200;
/// Jobs of one bulk run: all are inserted in one transaction.
pub const JOBS_MAX: usize = 100_000;
/// Counts, and reason codes, that one hosted type registers.
pub const REGISTERED_KEYS_MAX: usize = 64;
/// Runs or jobs that one claim takes.
pub const CLAIM_MAX: usize = 256;
/// Hosted types of one workspace.
pub const HOSTED_TYPES_MAX: usize = 256;
/// Parts of a workspace's queue that are paused or limited at once: every claim looks at all.
pub const QUEUE_CONTROLS_MAX: usize = 256;
/// Runs of one call that asks for several.
pub const ENQUEUE_MAX: usize = 256;
/// Largest request body that asks for hosted runs: a bulk run comes with all its jobs.
pub const ENQUEUE_BYTES_MAX: usize = 32 << 20;
/// Types that one claim names.
pub const CLAIM_TYPES_MAX: usize = 64;
/// Longest wait of one claim for work; a client asks again.
pub const CLAIM_WAIT_MAX: Duration = Duration::from_secs(60);
/// Claimants that wait at once, each on a connection of its own: the rest of
/// `API_CONNECTIONS_MAX` stays for everything else.
pub const CLAIMANTS_WAITING_MAX: usize = 384;
/// Steps that one report of a hosted worker tells of.
pub const REPORTED_STEPS_MAX: usize = 64;
/// Steps of one attempt of a hosted run.
pub const HOSTED_STEPS_MAX: u32 = 10_000;
/// How soon waiting claimants look again for work that was due and that something held back.
pub const DUE_RETRY_FIRST: Duration = Duration::from_millis(20);
/// Longest such pause.
pub const DUE_RETRY_LONGEST: Duration = Duration::from_secs(5);
/// Longest lease of a hosted worker between two signs of life.
pub const HOSTED_LEASE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Writes that wait for the database's writer.
pub const STORE_QUEUE_MAX: usize = 4_096;
/// Memory in KiB for the pages of SQLite's database that the writer changes: what a full batch
/// changes fits, so that no page is written twice for one commit.
pub const STORE_WRITER_CACHE_KIB: i64 = 8_192;
/// Pages of SQLite's journal after which they are brought into the database: each that changed often
/// is brought once. A start after a crash reads so many at most, in a few milliseconds.
pub const STORE_CHECKPOINT_PAGES: i64 = 2_000;
/// Connections that read the database at once.
pub const STORE_READERS_MAX: usize = 4;
/// Writes that share one durable commit.
pub const STORE_BATCH_MAX: usize = 256;
/// How long a connection waits for another one's lock. Only a person with a database shell can
/// hold one: the agent has a single writer.
pub const STORE_LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest database whose pages are looked at before the agent serves: it takes some milliseconds.
/// Those of a larger one are looked at while it serves.
pub const STORE_CHECKED_BYTES_MAX: u64 = 4 << 20;
/// Connecting to the database server, and each later sign that it still answers.
pub const STORE_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One transaction on the database server. A slower one counts as lost with its connection.
pub const STORE_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a call waits for a database server that is away, before it says so.
pub const STORE_AWAY_WAIT: Duration = Duration::from_secs(5);
/// Pause after the first failure to reach the database server; each further one is twice as long.
pub const STORE_BACK_OFF_FIRST: Duration = Duration::from_millis(100);
/// Longest such pause: how long after its return the server is found at the latest.
pub const STORE_BACK_OFF_LONGEST: Duration = Duration::from_secs(5);
/// Rows that are read at once where a whole table is gone through.
pub const STORE_ROWS_AT_ONCE: usize = 2_000;
/// Bytes of the rows that a backup reads and writes at once.
pub const TRANSFER_BATCH_BYTES: usize = 1 << 20;
/// Rows of such a batch.
pub const TRANSFER_BATCH_ROWS_MAX: usize = 1_000;
/// Batches that wait between who reads and who writes: what a backup needs of memory, however large
/// the database is.
pub const TRANSFER_PARTS_MAX: usize = 4;
/// Largest batch that is read back: a full one and its last row, which may be a run with everything
/// that it remembers.
pub const TRANSFER_FRAME_BYTES_MAX: usize = 64 << 20;
/// Backups that one agent gives at once: each reads the whole database.
pub const BACKUPS_MAX: usize = 1;
/// Events that one slow follower of a run may lag behind before it is told to read again.
pub const FOLLOW_EVENTS_MAX: usize = 1_024;
/// Longest event that a follower reads.
pub const EVENT_BYTES_MAX: usize = 4 << 20;

/// Characters of a failure message or audit summary.
pub const MESSAGE_CHARS_MAX: usize = 2_000;
/// Failures listed on one run; the counts go on counting.
pub const FAILURES_MAX: usize = 100;
/// How often a request is tried again when its run changes at the same moment.
pub const DOOR_RETRIES_MAX: u32 = 8;
/// Pause before a write is tried again that the store did not take, a full disk for instance.
pub const STORE_RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// Stored bundles kept per project, besides those that something needs.
pub const REVISIONS_KEPT_MAX: usize = 10;
/// Connections to the agent's socket that may be open at once; further ones wait.
pub const API_CONNECTIONS_MAX: usize = 512;
/// Longest wait for the engine or the store when a client asks how the agent is.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the agent may take to answer an ordinary request; a plan looks at the engine.
pub const AGENT_ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a client waits for a connection to an agent on another host.
pub const AGENT_CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long an agent may be away while it is restarted, before following a run is given up.
pub const AGENT_RETURN_TIMEOUT: Duration = Duration::from_secs(30);

/// Threads for blocking reads of the database and of files.
pub const BLOCKING_THREADS_MAX: usize = 16;
/// How long tasks other than runs may take to stop.
pub const TASKS_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A firing of a schedule that comes later than this counts as missed: nobody was there for it.
pub const SCHEDULE_GRACE: Duration = Duration::from_secs(60);
/// Longest jitter of a schedule, and longest age of a missed firing that is made up for.
pub const SCHEDULE_SPAN_MAX: Duration = Duration::from_secs(31 * 24 * 3600);
/// Schedules of one workspace.
pub const SCHEDULES_MAX: usize = 1_000;
/// Firings that are shown in advance at once.
pub const SCHEDULE_FIRINGS_MAX: usize = 100;
/// How often schedules are looked at although nothing is due: the clock may have been set, and
/// another agent may have changed one.
pub const SCHEDULE_LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// Bytes of a pattern in a rule of the alerts.
pub const ALERT_PATTERN_BYTES_MAX: usize = 100;
/// Rules, and receivers, of one workspace's alerts.
pub const ALERT_RECORDS_MAX: usize = 500;
/// Headers that somebody may choose for a webhook.
pub const ALERT_HEADERS_MAX: usize = 20;
/// Bytes of a webhook's address.
pub const ALERT_URL_BYTES_MAX: usize = 2_000;
/// Longest wait for a webhook's answer.
pub const ALERT_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// How much of a webhook's answer is read: enough for the reason of a refusal.
pub const ALERT_ANSWER_BYTES_MAX: usize = 4 << 10;
/// Tries of one delivery before it is given up: with the pauses below about 13 hours.
pub const ALERT_ATTEMPTS_MAX: u32 = 20;
/// Pause after the first try; it doubles from there.
pub const ALERT_PAUSE_FIRST: Duration = Duration::from_secs(5);
/// Longest pause between two tries.
pub const ALERT_PAUSE_LONGEST: Duration = Duration::from_secs(3600);
/// How far a pause may be off, so that receivers that were away are not stormed.
pub const ALERT_PAUSE_JITTER_PERCENT: u32 = 20;
/// Deliveries that are under way at once.
pub const ALERT_PARALLEL_MAX: usize = 8;
/// How long a delivery that somebody began to send is left to them: longer than any answer takes.
pub const ALERT_LEASE: Duration = Duration::from_secs(120);
/// How often deliveries are looked for although nobody told of one: another agent may have.
pub const ALERT_LOOK_INTERVAL: Duration = Duration::from_secs(15);
/// How long a delivery is kept that has arrived or was given up.
pub const ALERT_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Findings that a backfill decides and writes at once.
pub const FINDINGS_PAGE: usize = 500;
/// How often it is looked at what time does to findings.
pub const FINDINGS_LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// Violations that one look tells of; what is more is left as it was.
pub const LOOK_VIOLATIONS_MAX: usize = 20_000;
/// How often such a page is tried again that others changed, or that the database did not take.
pub const PAGE_RETRIES_MAX: u32 = 8;

/// Breaks of the audit log that a verification lists; it counts all of them.
pub const AUDIT_BREAKS_MAX: usize = 100;
/// Newest records of the audit log that are looked at for what one can filter by.
pub const AUDIT_OPTIONS_RECORDS: usize = 20_000;
/// Records of the audit log between two checkpoints, while they come fast.
pub const AUDIT_SEGMENT_RECORDS: u64 = 1_000;
/// How long a record waits for a checkpoint, while they come slowly.
pub const AUDIT_SEAL_INTERVAL: Duration = Duration::from_secs(1);
/// Records at the end of a log that may be without a checkpoint: some seconds of the fastest writer.
pub const AUDIT_UNSEALED_MAX: u64 = 100_000;
/// Entries of the audit log that are read at once.
pub const AUDIT_PAGE_RECORDS: usize = 2_000;
/// Checkpoints that an anchor is sent at once.
pub const AUDIT_ANCHOR_BATCH: usize = 500;
/// Places outside of the host that an agent anchors its log at.
pub const AUDIT_ANCHORS_MAX: usize = 8;
/// How long an anchor may take for what it is sent.
pub const AUDIT_ANCHOR_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause before an anchor that did not take what it was sent is tried again; doubled each time.
pub const AUDIT_ANCHOR_PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest such pause.
pub const AUDIT_ANCHOR_PAUSE_LONGEST: Duration = Duration::from_secs(60);
/// How often it is looked whether segments are older than what is kept.
pub const AUDIT_RETENTION_INTERVAL: Duration = Duration::from_secs(3600);
/// Records that one transaction purges, whole segments apart.
pub const AUDIT_PURGE_RECORDS: u64 = 50_000;
/// Records that one transaction looks at for a person who is erased.
pub const AUDIT_ERASE_RECORDS: usize = 500;
/// Bytes of a line of an export of the audit log.
pub const AUDIT_LINE_BYTES_MAX: usize = 1 << 20;
/// Checkpoints of anchors that a verification takes.
pub const AUDIT_ANCHORED_MAX: usize = 4_000_000;

/// Records of access of each kind (users, tokens, …): an agent keeps all of them in memory.
pub const ACCESS_RECORDS_MAX: usize = 10_000;
/// How long a token is kept after it is worth nothing, so that a list still tells of it.
pub const TOKEN_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// How old the records of access may be that a request is judged by: how late an agent hears of what
/// another one of the same database changed.
pub const DIRECTORY_AGE_MAX: Duration = Duration::from_secs(5);
/// Callers whose requests and failures are counted at once; the longest unseen are forgotten.
pub const CALLERS_SEEN_MAX: usize = 10_000;
/// Tokens that were proved lately and need no new proof.
pub const PROOFS_KEPT_MAX: usize = 1_000;
/// Characters of the name of a client program that are kept.
pub const USER_AGENT_CHARS_MAX: usize = 200;
/// Handshakes with clients from elsewhere that may be under way at once, and those of one address.
pub const TLS_HANDSHAKES_MAX: usize = 256;
/// See `TLS_HANDSHAKES_MAX`.
pub const TLS_HANDSHAKES_PER_ADDRESS_MAX: usize = 16;
/// Longest handshake.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client from elsewhere may take for the head of a request, and how long a connection may
/// stay without one.
pub const REMOTE_HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest file with certificates or a key that is read.
pub const CERTIFICATE_FILE_BYTES_MAX: u64 = 1 << 20;
/// How often is looked whether glass that another agent broke is over. No longer than the shortest time
/// that it stays broken, so that none is seen late.
pub const GLASS_LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// Longest time that the glass stays broken.
pub const BROKEN_GLASS_MAX: Duration = Duration::from_secs(8 * 3600);
/// Largest file that holds a token.
pub const TOKEN_FILE_BYTES_MAX: u64 = 4 << 10;
/// Processes of a container that are looked at.
pub const PROCESSES_MAX: usize = 10_000;
/// One reading of what a container uses; the engine takes up to two seconds to compare two moments.
pub const ENGINE_USAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Containers whose usage is read for one answer.
pub const INSTANCE_USAGES_MAX: usize = 200;
/// Instances of which metrics tell one by one; further ones are counted together.
pub const INSTANCE_SERIES_MAX: usize = 500;
/// How long a restart of an unhealthy container counts as a try.
pub const HEAL_MEMORY: Duration = Duration::from_secs(3600);
/// Pause after the first restart of an unhealthy container; it doubles from there.
pub const HEAL_PAUSE_FIRST: Duration = Duration::from_secs(10);
/// Longest such pause.
pub const HEAL_PAUSE_LONGEST: Duration = Duration::from_secs(300);
/// Most restarts of an unhealthy container that a service may ask for.
pub const HEAL_TRIES_MAX: u32 = 20;
/// Commands that are executed in containers at once.
pub const EXEC_SESSIONS_MAX: usize = 32;
/// How long nothing may pass between a command and who executes it.
pub const EXEC_IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// How long a client may take to say what is to be executed.
pub const EXEC_SPEC_TIMEOUT: Duration = Duration::from_secs(10);
/// Parts of a command's input, and of its output, that wait for who takes them.
pub const EXEC_PARTS_MAX: usize = 16;
/// Bytes of one frame of a command's input or output.
pub const EXEC_FRAME_BYTES_MAX: usize = 256 << 10;
/// Bytes of a command with its arguments and variables; one frame holds it.
pub const EXEC_WORDS_BYTES_MAX: usize = 128 << 10;
/// Commands that a service may declare for the start of its containers, and for their stop.
pub const HOOKS_MAX: usize = 16;
/// How long a command of a hook may take.
pub const HOOK_TIMEOUT: Duration = Duration::from_secs(300);
/// Lines of a hook's output that followers of its run are told.
pub const HOOK_LINES_MAX: usize = 1000;
/// Bytes of a line of a hook's output; what is longer is told in parts.
pub const HOOK_LINE_BYTES_MAX: usize = 4 << 10;
/// Variables of a command.
pub const EXEC_ENVIRONMENT_MAX: usize = 256;
/// Bytes of the name of a registry of images: as long as a host's name and a port may be.
pub const REGISTRY_HOST_BYTES_MAX: usize = 260;
/// Bytes of the name of a registry's user.
pub const REGISTRY_USER_BYTES_MAX: usize = 256;
/// Bytes of a registry's password; tokens of clouds have some thousand.
pub const REGISTRY_PASSWORD_BYTES_MAX: usize = 16 << 10;
/// Logins of one host in one workspace.
pub const REGISTRY_LOGINS_MAX: usize = 200;
/// The newest runs of a project that are looked at for when its images were pulled.
pub const LAST_PULLS_RUNS_MAX: usize = 100;
/// Names of images that one run asks registries for; the rest is left to checks of one project.
pub const IMAGES_CHECKED_MAX: usize = 200;
/// Registries are asked for so many names at once.
pub const IMAGE_QUESTIONS_PARALLEL_MAX: usize = 4;
/// Longest wait for what a registry has under a name.
pub const REGISTRY_QUESTION_TIMEOUT: Duration = Duration::from_secs(20);
/// What a registry said counts for so long.
pub const IMAGE_ANSWER_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// The newest checks whose answers are looked at.
pub const IMAGE_CHECKS_READ_MAX: usize = 20;
/// Bytes of a runbook's file.
pub const RUNBOOK_BYTES_MAX: usize = 32 << 10;
/// Files in the folder of runbooks.
pub const RUNBOOK_FILES_MAX: usize = 200;
/// Steps of a runbook, and operations of its preflight.
pub const RUNBOOK_STEPS_MAX: usize = 50;
/// Parameters of a runbook, and words that one of them may be.
pub const RUNBOOK_PARAMETERS_MAX: usize = 20;
/// Characters of a text that a runbook is told or makes.
pub const RUNBOOK_TEXT_CHARS_MAX: usize = 500;
/// Characters of an expression in a runbook.
pub const RUNBOOK_EXPRESSION_CHARS_MAX: usize = 500;
/// Brackets within brackets in such an expression.
pub const RUNBOOK_EXPRESSION_DEPTH_MAX: usize = 16;
/// Tries of a runbook's step.
pub const RUNBOOK_TRIES_MAX: u64 = 10;
/// Longest pause between two tries, and longest time of a step.
pub const RUNBOOK_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);
/// Time of a step that says nothing of it.
pub const RUNBOOK_TIMEOUT: Duration = Duration::from_secs(3600);
/// Longest time that an approval may be waited for.
pub const RUNBOOK_APPROVAL_MAX: Duration = Duration::from_secs(31 * 24 * 3600);
/// Time that an approval is waited for when the runbook says nothing of it.
pub const RUNBOOK_APPROVAL: Duration = Duration::from_secs(24 * 3600);
/// How often a runbook looks at a run that it asked for although nobody told of its end.
pub const RUNBOOK_LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// Pause before a run is looked at again that is about to wait.
pub const RUNBOOK_WAKE_PAUSE: Duration = Duration::from_millis(50);
/// How often whoever looks after a run that a runbook waits for sees whether the agent stops.
pub const RUNBOOK_OPEN_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of a file of policies, and of a file of tests beside it.
pub const POLICY_BYTES_MAX: usize = 128 << 10;
/// Policies that are in force together.
pub const POLICIES_MAX: usize = 200;
/// Bytes of the file that keeps the last good policies.
pub const POLICIES_KEPT_BYTES_MAX: usize = 64 << 20;
/// Characters of problems with policies that one audit event tells.
pub const POLICY_PROBLEMS_CHARS_MAX: usize = 2_000;
/// Bytes of the daemon's configuration.
pub const DAEMON_FILE_BYTES_MAX: usize = 1 << 20;
/// Bytes of the words of one process.
pub const PROCESS_ARGUMENTS_BYTES_MAX: usize = 64 << 10;
/// Processes that are looked through for the daemon's.
pub const HOST_PROCESSES_MAX: usize = 100_000;
/// Links that are followed on the way to one file, as the kernel does.
pub const HOST_LINKS_MAX: usize = 40;
/// Folders in one another below one that is listed.
pub const HOST_FOLDER_DEPTH_MAX: usize = 4;
/// Files and folders below one that is listed.
pub const HOST_FOLDER_ENTRIES_MAX: usize = 2_000;
/// Checks that one policy binds, entry by entry.
pub const POLICY_CHECKS_MAX: usize = 200;
/// Conditions of one policy.
pub const POLICY_CONDITIONS_MAX: usize = 50;
/// Conditions of all policies together: each is judged for each service.
pub const POLICY_CONDITIONS_ALL_MAX: usize = 1_000;
/// Exceptions of one policy.
pub const POLICY_EXCEPTIONS_MAX: usize = 200;
/// Tests beside one policy.
pub const POLICY_TESTS_MAX: usize = 200;
/// Patterns of one selector, over all that it selects by.
pub const POLICY_PATTERNS_MAX: usize = 100;
/// Characters of such a pattern.
pub const POLICY_PATTERN_CHARS_MAX: usize = 200;
/// Characters of a text of a policy that people read.
pub const POLICY_TEXT_CHARS_MAX: usize = 1_000;
/// Bytes of a condition: the longest that we saw in public policies has about 900.
pub const CONDITION_BYTES_MAX: usize = 2_000;
/// Words of a condition: names, signs, values.
pub const CONDITION_WORDS_MAX: usize = 500;
/// Brackets within brackets in a condition, and operators of one level in a row: as many as CEL's
/// specification asks of everybody. Each needs a few kilobytes of the stack.
pub const CONDITION_DEPTH_MAX: usize = 32;
/// Loops within loops in a condition (`all`, `exists`, `map` …).
pub const CONDITION_LOOPS_MAX: usize = 3;
/// Bytes of a pattern of `matches`.
pub const CONDITION_PATTERN_BYTES_MAX: usize = 200;
/// Bytes of the program that such a pattern becomes: a repetition of repetitions is refused.
pub const CONDITION_PATTERN_PROGRAM_BYTES_MAX: usize = 32 << 10;
/// Bytes of a text that a pattern is looked for in.
pub const CONDITION_MATCHED_BYTES_MAX: usize = 8 << 10;
/// Bytes of a text that a condition makes.
pub const CONDITION_TEXT_BYTES_MAX: usize = 16 << 10;
/// Items of a list that a condition makes.
pub const CONDITION_ITEMS_MAX: usize = 10_000;
/// Steps of one condition: 3 to 17 milliseconds, by what they are spent on.
pub const CONDITION_STEPS_MAX: u64 = 100_000;
/// Steps of all conditions that one service is judged by.
pub const CONDITION_STEPS_ALL_MAX: u64 = 1_000_000;
/// What policies found in one deployment, as the run keeps it.
pub const RUN_POLICY_LINES_MAX: usize = 200;
/// Rounds in which remedies are applied to one service: one may bring another failure to light.
pub const HARDEN_ROUNDS_MAX: usize = 8;
/// Rounds in which the compose file of a policy's test may ask for files, which are not there.
pub const TRIAL_ROUNDS_MAX: usize = 8;
/// Images that are remembered for judging what runs.
pub const ENFORCEMENT_IMAGES_MAX: usize = 1_000;
/// Containers that wait to be looked at because something happened to them; more lead to a sweep.
pub const ENFORCEMENT_WAITING_MAX: usize = 1_000;
/// Containers of which is remembered that their limit was told.
pub const ENFORCEMENT_TOLD_MAX: usize = 1_000;
/// Longest maintenance.
pub const MAINTENANCE_LONGEST: Duration = Duration::from_secs(30 * 86_400);
/// Places that are worked on at once.
pub const MAINTENANCES_MAX: usize = 200;
/// Longest time for which policies leave a released container alone.
pub const RELEASE_GRACE_LONGEST: Duration = Duration::from_secs(7 * 86_400);
/// Characters of why somebody shuts a container off, or begins maintenance.
pub const REASON_CHARS_MAX: usize = 500;
/// Packages of one image that are listed.
pub const SBOM_PACKAGES_MAX: usize = 50_000;
/// What could not be read of one image, note by note.
pub const SBOM_NOTES_MAX: usize = 200;
/// Bytes of the name or the version of a package.
pub const SBOM_TEXT_BYTES_MAX: usize = 1_000;
/// Versions, events or packages of one advisory.
pub const ADVISORY_ITEMS_MAX: usize = 20_000;
/// Characters of an advisory's summary that are kept.
pub const ADVISORY_TEXT_CHARS_MAX: usize = 200;
/// Bytes of a saved image, and of all its layers unpacked.
pub const IMAGE_ARCHIVE_BYTES_MAX: u64 = 64 << 30;
/// Files, folders and links in all layers of an image.
pub const IMAGE_ARCHIVE_ENTRIES_MAX: usize = 4_000_000;
/// Parts of a saved image that wait for who unpacks them.
pub const IMAGE_ARCHIVE_PARTS_MAX: usize = 16;
/// Longest time that the engine may take to save an image.
pub const IMAGE_ARCHIVE_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Layers of an image; the engine itself takes 127.
pub const IMAGE_LAYERS_MAX: usize = 500;
/// Bytes of a path in an image, as the system has it.
pub const IMAGE_PATH_BYTES_MAX: usize = 4 << 10;
/// Bytes of a manifest or a configuration of an image.
pub const IMAGE_JSON_BYTES_MAX: u64 = 8 << 20;
/// Bytes of a file that tells of packages: dpkg's `status` of a desktop has some 5 MiB.
pub const IMAGE_FILE_BYTES_MAX: u64 = 32 << 20;
/// Bytes of all such files of an image, in all its layers.
pub const IMAGE_FILES_BYTES_MAX: u64 = 256 << 20;
/// Bytes of one advisory: the largest of public lists have some hundred kilobytes.
pub const ADVISORY_BYTES_MAX: u64 = 8 << 20;
/// Files of a folder of advisories.
pub const ADVISORY_FILES_MAX: usize = 1_000_000;
/// Folders within folders of advisories.
pub const ADVISORY_FOLDERS_DEPTH_MAX: usize = 8;
/// Files of an archive of advisories.
pub const ADVISORY_ARCHIVE_ENTRIES_MAX: usize = 2_000_000;
/// Advisories that are in force together.
pub const ADVISORIES_MAX: u64 = 1_000_000;
/// Bytes of the advisories in force, compiled.
pub const ADVISORIES_BYTES_MAX: u64 = 1 << 30;
/// Bytes that an archive of advisories may unpack to.
pub const ADVISORIES_UNPACKED_BYTES_MAX: u64 = 16 << 30;
/// Bytes of a list of advisories that is fetched.
pub const ADVISORIES_DOWNLOAD_BYTES_MAX: u64 = 2 << 30;
/// How long fetching one may take.
pub const ADVISORIES_DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(1800);
/// Bytes of an image's packages, and of its vulnerabilities, as they are stored.
pub const SCAN_PACKED_BYTES_MAX: usize = 4 << 20;
/// Bytes of the same, unpacked.
pub const SCAN_UNPACKED_BYTES_MAX: usize = 64 << 20;
/// Vulnerabilities that are kept of one image; all are counted.
pub const VULNERABILITIES_MAX: usize = 10_000;
/// Images that one run scans; the rest is left to the next one.
pub const IMAGES_SCANNED_MAX: usize = 200;
/// Names of images that one request may ask to be scanned.
pub const IMAGES_NAMED_MAX: usize = 50;
/// Scans of images that are listed of a workspace.
pub const IMAGE_SCANS_MAX: usize = 2_000;
/// Bytes of what one run that scans images keeps of them; the rest is left to the next one.
pub const SCAN_RUN_BYTES_MAX: usize = 64 << 20;
/// Advisories are old when nobody looked at their source for longer, or none of them changed, unless the
/// configuration says otherwise.
pub const ADVISORIES_AGE_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);
