//! Lists every key of the agent's configuration. Owns the one table that the reader, the manual and
//! the reload rules are made from. Face: `KEYS`, `Key`. Never holds a key that does nothing.

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its path: `section.name`, or `name` at the top.
    pub path: &'static str,
    /// What its value is, for people.
    pub kind: &'static str,
    /// What it is when absent, as it would be written; or in words, in parentheses.
    pub default: &'static str,
    /// When a change takes effect.
    pub reload: Reload,
    /// What it does.
    pub doc: &'static str,
}

/// When a changed key takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// At SIGHUP (`systemctl reload`).
    Live,
    /// At the next start.
    Restart,
}

impl Reload {
    /// The words of the manual.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Live => "reload",
            Self::Restart => "restart",
        }
    }
}

const fn key(
    path: &'static str,
    kind: &'static str,
    default: &'static str,
    reload: Reload,
    doc: &'static str,
) -> Key {
    Key { path, kind, default, reload, doc }
}

/// Every key, in the order of the manual.
pub const KEYS: &[Key] = &[
    key(
        "state_dir",
        "absolute path",
        "(required)",
        Reload::Restart,
        "Folder of the database, the keys and the build contexts. Made with mode 0700. One agent \
         per folder.",
    ),
    key(
        "store",
        "`sqlite`, or `postgres:` with the keys below",
        "(`sqlite`)",
        Reload::Restart,
        "Where runs, the audit log and projects are kept: in `<state_dir>/wharf.db`, or in a \
         PostgreSQL database that the agents of several hosts share. Keys and the content that they \
         seal stay this host's.",
    ),
    key(
        "store.postgres.host",
        "absolute path of the folder of a Unix socket, or a name or address",
        "(required there)",
        Reload::Restart,
        "Where the server listens. A connection over a network is not encrypted: use it within one \
         host or a private network, or through a tunnel.",
    ),
    key(
        "store.postgres.port",
        "1 to 65535",
        "(`5432`)",
        Reload::Restart,
        "The server's port; of a Unix socket, the number in its name.",
    ),
    key(
        "store.postgres.database",
        "name",
        "(`wharf`)",
        Reload::Restart,
        "The database. The agent keeps everything in its schema `wharf`, which it makes and brings \
         to newer forms itself.",
    ),
    key(
        "store.postgres.user",
        "name",
        "(`wharf`)",
        Reload::Restart,
        "The role. It must own the schema `wharf`, or be allowed to create it.",
    ),
    key(
        "store.postgres.password_file",
        "absolute path",
        "(none: the server asks for no password)",
        Reload::Restart,
        "A file that holds the role's password and nothing else, readable by the agent's user only.",
    ),
    key(
        "store.postgres.readers",
        "1 to 64",
        "(`4`)",
        Reload::Restart,
        "Connections that read at once, besides the one that writes.",
    ),
    key(
        "socket.path",
        "absolute path",
        "(`<state_dir>/wharf.sock`)",
        Reload::Restart,
        "The Unix socket that the agent listens on. Put it outside `state_dir` for a group to use \
         it.",
    ),
    key(
        "socket.mode",
        "octal number",
        "0660",
        Reload::Restart,
        "Permission bits of the socket. Others than root, the agent's user and the socket's group \
         are refused whatever it says.",
    ),
    key(
        "socket.group",
        "name or number of a group",
        "(the agent's own)",
        Reload::Restart,
        "The group whose members may use the agent. Who may use it can become root on this host.",
    ),
    key(
        "access.socket_group_role",
        "name of a role",
        "operator",
        Reload::Restart,
        "What members of the socket's group may do who have no record of their own (`wharf access \
         users`): the name of a role. Root and the agent's own user are owners whatever it says.",
    ),
    key(
        "access.requests_per_second",
        "1 to 1000000",
        "2000",
        Reload::Restart,
        "How many requests one user, token or certificate may make each second, over a long time. \
         Further ones are answered with status 429 and the time to wait. Root and the agent's own \
         user are not counted.",
    ),
    key(
        "access.requests_burst",
        "1 to 1000000",
        "8000",
        Reload::Restart,
        "How many of them may come at once.",
    ),
    key(
        "listen.tcp.address",
        "IP address and port, such as `0.0.0.0:8443`",
        "(none: the agent listens on its socket alone)",
        Reload::Restart,
        "Where clients from elsewhere come in, by HTTP/1.1 over TLS. They prove who they are with a \
         token (`wharf access token create`) or a client certificate (`wharf access certificate \
         add`).",
    ),
    key(
        "listen.tcp.certificate",
        "absolute path",
        "(required there)",
        Reload::Restart,
        "The agent's certificate in PEM form, followed by those between it and one that clients \
         trust. The file is read again at every reload, also when its path stays the same.",
    ),
    key(
        "listen.tcp.key",
        "absolute path",
        "(required there)",
        Reload::Restart,
        "The certificate's key in PEM form; other users must not be able to read it. Read again \
         with the certificate.",
    ),
    key(
        "listen.tcp.client_ca",
        "absolute path",
        "(none: clients prove who they are with tokens alone)",
        Reload::Restart,
        "Certificates in PEM form that the certificates of clients are signed by. A client \
         certificate of anybody else ends the handshake; who has none may still have a token.",
    ),
    key(
        "listen.tcp.plain",
        "`true` or `false`",
        "(`false`)",
        Reload::Restart,
        "Do without TLS, for a proxy on the same host. Only for addresses of the loopback \
         interface: tokens would be read on the way.",
    ),
    key(
        "engine.address",
        "`unix:///PATH`",
        "(`DOCKER_HOST`, else `unix:///var/run/docker.sock`)",
        Reload::Restart,
        "Where the Docker Engine listens.",
    ),
    key("log.format", "`text` or `json`", "text", Reload::Restart, "How log lines are written."),
    key(
        "log.level",
        "`error`, `warn`, `info`, `debug` or `trace`",
        "info",
        Reload::Live,
        "Least severe lines that are written.",
    ),
    key(
        "runs.workers",
        "1 to 64",
        "4",
        Reload::Restart,
        "Runs that execute at once. Runs of one project never do.",
    ),
    key(
        "runs.tenants",
        "list of tenant ids",
        "(all)",
        Reload::Restart,
        "Tenants whose hosted runs this agent hands to its workers, when several agents share a \
         database. Runs without a tenant, and those of this host's projects, are taken whatever \
         it says.",
    ),
    key(
        "runs.shutdown_deadline",
        "duration, 1s to 1h",
        "20s",
        Reload::Live,
        "How long a stopping agent waits for its runs to reach a safe step. What has not reached \
         one then goes on at the next start.",
    ),
    key(
        "convergence.enabled",
        "`true` or `false`",
        "true",
        Reload::Live,
        "Bring projects back to what was applied when containers stop or vanish.",
    ),
    key(
        "convergence.sweep_interval",
        "duration, 1s to 24h",
        "60s",
        Reload::Live,
        "How often every project is looked at even though the engine reported nothing.",
    ),
    key(
        "convergence.debounce",
        "duration, 0s to 10m",
        "2s",
        Reload::Live,
        "How long the agent waits after an event of the engine for further ones, before it looks.",
    ),
    key(
        "enforcement.enabled",
        "`true` or `false`",
        "true",
        Reload::Live,
        "Judge what runs by the policies in force, and do what they ask for about it: see \
         enforcement.md.",
    ),
    key(
        "enforcement.unmanaged",
        "list of names of policies",
        "[]",
        Reload::Live,
        "Policies that are enforced on containers that nobody manages, too. Without any, such a \
         container is never touched.",
    ),
    key(
        "enforcement.actions_max",
        "number, 1 to 500",
        "20",
        Reload::Live,
        "Most containers that are dealt with within `enforcement.window`; what is beyond is told.",
    ),
    key(
        "enforcement.window",
        "duration, 1s to 24h",
        "10m",
        Reload::Live,
        "How long an action counts.",
    ),
    key(
        "enforcement.sweep_interval",
        "duration, 1s to 24h",
        "5m",
        Reload::Live,
        "How often everything that runs is judged even though the engine reported nothing.",
    ),
    key(
        "host_paths.roots",
        "list of absolute paths",
        "[]",
        Reload::Live,
        "Folders of this host that projects of users other than root may mount. What root applies \
         may mount anything.",
    ),
    key(
        "alerts.run_url",
        "text with `{run_id}`",
        "(`/v1/runs/{run_id}`)",
        Reload::Restart,
        "Where a person sees the run that an alert is about, such as \
         `https://ops.example.org/runs/{run_id}`. Alerts carry it as `view_run_url`.",
    ),
    key(
        "audit.anchors",
        "list of `file: ABSOLUTE PATH` or `webhook: URL`, up to 8",
        "[]",
        Reload::Restart,
        "Places outside of this host that get every checkpoint of the audit log: a file on a share \
         that the agent can only append to, or an address that takes \
         `{\"checkpoints\": [...]}`. `wharf audit verify --anchors` finds with them what was \
         signed anew or cut off.",
    ),
    key(
        "audit.retention_days",
        "1 to 36500",
        "(none: the audit log is kept for ever)",
        Reload::Restart,
        "Whole segments of the audit log that are older are purged. A signed tombstone stays in \
         their place, and what is left verifies.",
    ),
    key(
        "findings.keep_finished",
        "duration, `1d` to `36500d`",
        "400d",
        Reload::Restart,
        "How long findings are kept that are resolved or closed. Older ones are forgotten, with one \
         event for each page of them.",
    ),
    key(
        "runbooks.directory",
        "absolute path",
        "(none)",
        Reload::Restart,
        "Folder with runbooks of your own, one per `*.yaml`: see runbooks.md. Files that others than \
         their owner may change do not count.",
    ),
    key(
        "images.advisories",
        "absolute path of a file or folder, or an `https://` address",
        "(none: images are read and matched with nothing)",
        Reload::Restart,
        "Where advisories come from that images are matched with, in the form of OSV: see \
         scanning.md.",
    ),
    key(
        "images.advisories_age_max",
        "duration, `1d` to `3650d`",
        "7d",
        Reload::Restart,
        "When advisories are called old: nobody has looked at their source for so long, or none of \
         them has changed since.",
    ),
    key(
        "images.scan_schedule",
        "cron expression in UTC, such as `30 3 * * *`, or `@daily` and its kin",
        "(none: images are scanned when somebody asks)",
        Reload::Live,
        "When the agent looks for newer advisories and scans the images that its projects run.",
    ),
    key(
        "contexts.size_max",
        "size, 1m to 1t",
        "2g",
        Reload::Live,
        "Space for build contexts that clients sent. Those that no project needs go first; a new \
         one that finds no room is refused.",
    ),
    key(
        "policies.directory",
        "absolute path",
        "(none)",
        Reload::Live,
        "Folder with policies of your own and their tests, one per `*.yaml`: see policies.md. Neither \
         it nor a file of it may be changed by others than root and the agent's user. The agent \
         reads it again at every reload, and some seconds after it changed.",
    ),
    key(
        "policies.shipped",
        "list of `NAME`, or `NAME: ACTION`",
        "[]",
        Reload::Live,
        "Policies that come with the program and are in force, such as `[baseline, {restricted: \
         warn}]`: an action stands for what all rules of the policy do.",
    ),
    rule(
        "rules.development.health_check",
        "(`off`)",
        "What is done when a service has no health check: see compose.md.",
    ),
    rule(
        "rules.development.non_root_user",
        "(`off`)",
        "What is done when a service runs as root: see compose.md.",
    ),
    rule(
        "rules.development.external_secrets",
        "(`off`)",
        "What is done when the value of a secret is written in a compose file: see compose.md.",
    ),
    rule(
        "rules.development.image_tag",
        "(`off`)",
        "What is done when an image has no specific tag: see compose.md.",
    ),
    rule(
        "rules.development.limits",
        "(`off`)",
        "What is done when a service's CPU or memory is not limited: see compose.md.",
    ),
    rule(
        "rules.staging.health_check",
        "(`warn`)",
        "What is done when a service has no health check: see compose.md.",
    ),
    rule(
        "rules.staging.non_root_user",
        "(`warn`)",
        "What is done when a service runs as root: see compose.md.",
    ),
    rule(
        "rules.staging.external_secrets",
        "(`warn`)",
        "What is done when the value of a secret is written in a compose file: see compose.md.",
    ),
    rule(
        "rules.staging.image_tag",
        "(`warn`)",
        "What is done when an image has no specific tag: see compose.md.",
    ),
    rule(
        "rules.staging.limits",
        "(`warn`)",
        "What is done when a service's CPU or memory is not limited: see compose.md.",
    ),
    rule(
        "rules.production.health_check",
        "(`warn`)",
        "What is done when a service has no health check: see compose.md.",
    ),
    rule(
        "rules.production.non_root_user",
        "(`warn`)",
        "What is done when a service runs as root: see compose.md.",
    ),
    rule(
        "rules.production.external_secrets",
        "(`warn`)",
        "What is done when the value of a secret is written in a compose file: see compose.md.",
    ),
    rule(
        "rules.production.image_tag",
        "(`warn`)",
        "What is done when an image has no specific tag: see compose.md.",
    ),
    rule(
        "rules.production.limits",
        "(`warn`)",
        "What is done when a service's CPU or memory is not limited: see compose.md.",
    ),
];

/// What is done in one stage about what one check finds.
const fn rule(path: &'static str, default: &'static str, doc: &'static str) -> Key {
    key(path, "`off`, `warn` or `deny`", default, Reload::Live, doc)
}

/// The keys directly in a section; `""` is the top, whose sections count as keys.
pub(super) fn names_in(section: &str) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for key in KEYS {
        let below = match section {
            "" => Some(key.path),
            section => key.path.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')),
        };
        let Some(below) = below else { continue };
        let name = below.split_once('.').map_or(below, |(first, _)| first);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
