//! Reads the agent's configuration: one YAML file. Owns its keys, their defaults and what a reload
//! changes. Face: `Config`, `read`, `changes`, `KEYS`. Never starts with a value that it guessed:
//! an unknown key or a wrong value is an error, and all of them are reported at once.

mod access;
mod audit;
mod convergence;
mod enforcement;
mod findings;
mod images;
mod listen;
mod manual;
mod policies;
mod rules;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::api::tls::TcpOptions;
use crate::base::limits::{RUN_WORKERS_MAX, STORE_READERS_MAX};
use crate::base::units::format_duration;
use crate::base::yaml::{self, Fields, Node, Value};
use crate::base::{Diagnostic, Diagnostics};
use crate::domain::policy::Rules;
use crate::domain::redaction::Known;
use crate::domain::runs::Tenants;
use crate::operations::policies::PolicySources;

pub use access::Access;
pub use audit::{AnchorPlace, Audit};
pub use convergence::Convergence;
pub use enforcement::Enforcement;
pub use findings::Findings;
pub use images::Images;
pub use manual::manual;
pub use schema::{KEYS, Key, Reload};

/// The code of every problem with a configuration file.
const CODE: &str = "config.invalid";
/// Longest duration that any key takes.
const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);

/// The agent's configuration, complete and valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Folder of the database, the keys and the build contexts.
    pub state_dir: PathBuf,
    /// Where records are kept.
    pub store: StorePlace,
    /// Where clients come in.
    pub socket: Socket,
    /// How it judges who asks.
    pub access: Access,
    /// Where clients from elsewhere come in; none for nowhere.
    pub tcp: Option<TcpOptions>,
    /// Where the engine listens.
    pub engine_address: String,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Least severe lines that are written.
    pub log_level: LogLevel,
    /// Runs that execute at once.
    pub workers: usize,
    /// Whose hosted runs it hands out.
    pub tenants: Tenants,
    /// How long a stopping agent waits for its runs.
    pub shutdown_deadline: Duration,
    /// How applied projects are kept.
    pub convergence: Convergence,
    /// How policies are enforced on what runs.
    pub enforcement: Enforcement,
    /// Folders of this host that projects of users other than root may mount.
    pub host_path_roots: Vec<PathBuf>,
    /// Where a person sees the run that an alert is about.
    pub alerts_run_url: String,
    /// How the audit log is kept.
    pub audit: Audit,
    /// How findings are kept.
    pub findings: Findings,
    /// The folder of runbooks.
    pub runbooks: Option<PathBuf>,
    /// How images are scanned.
    pub images: Images,
    /// Space for build contexts, in bytes.
    pub contexts_bytes_max: u64,
    /// Where policies come from.
    pub policies: PolicySources,
    /// What is done about declarations that break a rule.
    pub rules: Rules,
}

/// Where records are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlace {
    /// In `<state_dir>/wharf.db`.
    Sqlite,
    /// In a database that several agents share.
    Postgres(Postgres),
}

/// A PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// The folder of a Unix socket when it begins with `/`, else a name or address.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The role.
    pub user: String,
    /// The file that holds its password.
    pub password_file: Option<PathBuf>,
    /// Connections that read at once.
    pub readers: usize,
}

/// The Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Its path.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// The group that may use it, by name or number; none is the agent's own.
    pub group: Option<String>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Least severe lines that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// An operator must act.
    Error,
    /// An operator should look.
    Warn,
    /// What happened.
    Info,
    /// Why it happened.
    Debug,
    /// Everything.
    Trace,
}

impl LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl LogLevel {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

/// Reads a configuration from the text of `file`. `docker_host` is the environment's
/// `DOCKER_HOST`, the default of `engine.address`.
///
/// # Errors
/// Every problem of the file, each with its place.
pub fn read(file: &str, text: &str, docker_host: Option<&str>) -> Result<Config, Diagnostics> {
    let root = yaml::parse(file, text.as_bytes());
    let root = root.map_err(|found| Known::default().in_diagnostics(found))?;
    let mut problems = Vec::new();
    let mut top = Fields::of(&root, CODE, &schema::names_in(""));
    let state_dir = match top.required("state_dir") {
        Some(node) => absolute_path(&mut top, "state_dir", node),
        None => None,
    };
    // What follows from a missing folder is never used: the problem ends the reading.
    let state_dir = state_dir.unwrap_or_default();
    let store = read_store(&root, &mut problems);
    let socket = section(&root, "socket", &mut problems, |f| read_socket(f, &state_dir));
    let access = section(&root, "access", &mut problems, Access::read);
    let tcp = listen::read_tcp(&root, &mut problems);
    let engine_address = section(&root, "engine", &mut problems, |f| read_engine(f, docker_host));
    let log = section(&root, "log", &mut problems, |f| {
        let format = f.word("format", LogFormat::WORDS).unwrap_or(LogFormat::Text);
        (format, f.word("level", LogLevel::WORDS).unwrap_or(LogLevel::Info))
    });
    let runs = section(&root, "runs", &mut problems, |f| {
        let workers = f.integer("workers", 1..=64).and_then(|n| usize::try_from(n).ok());
        let deadline = bounded(f, "shutdown_deadline", SECOND, HOUR);
        let deadline = deadline.unwrap_or(Duration::from_secs(20));
        (workers.unwrap_or(RUN_WORKERS_MAX), read_tenants(f), deadline)
    });
    let convergence = section(&root, "convergence", &mut problems, Convergence::read);
    let enforcement = section(&root, "enforcement", &mut problems, Enforcement::read);
    let host_path_roots = section(&root, "host_paths", &mut problems, read_roots);
    let alerts_run_url = section(&root, "alerts", &mut problems, read_run_url);
    let audit = section(&root, "audit", &mut problems, Audit::read);
    let findings = section(&root, "findings", &mut problems, Findings::read);
    let runbooks = section(&root, "runbooks", &mut problems, |f| match f.node("directory") {
        Some(node) => absolute_path(f, "directory", node),
        None => None,
    });
    let images = section(&root, "images", &mut problems, Images::read);
    let contexts_bytes_max = section(&root, "contexts", &mut problems, |f| {
        bounded_size(f, "size_max", 1 << 20, 1 << 40).unwrap_or(2 << 30)
    });
    let policies = section(&root, "policies", &mut problems, policies::read);
    let rules = rules::read(&root, &mut problems);
    problems.splice(0..0, top.into_problems());
    if !problems.is_empty() {
        problems.sort_by(|left, right| left.location.cmp(&right.location));
        return Err(Known::default().in_diagnostics(Diagnostics(problems)));
    }
    Ok(Config {
        state_dir,
        store,
        socket,
        access,
        tcp,
        engine_address,
        log_format: log.0,
        log_level: log.1,
        workers: runs.0,
        tenants: runs.1,
        shutdown_deadline: runs.2,
        convergence,
        enforcement,
        host_path_roots,
        alerts_run_url,
        audit,
        findings,
        runbooks,
        images,
        contexts_bytes_max,
        policies,
        rules,
    })
}

/// Where a run is found when nobody says where a person sees it: the API's own path.
const RUN_URL: &str = "/v1/runs/{run_id}";
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Reads one section; an absent one is an empty one.
fn section<T>(
    root: &Node,
    name: &str,
    problems: &mut Vec<Diagnostic>,
    read: impl FnOnce(&mut Fields<'_>) -> T,
) -> T {
    let known = schema::names_in(name);
    let absent = Node::new(Value::Null, root.mark.clone());
    let node = root.as_map().and_then(|map| map.get(name)).unwrap_or(&absent);
    let mut fields = Fields::of(node, CODE, &known);
    let value = read(&mut fields);
    problems.extend(fields.into_problems());
    value
}

/// `store: sqlite`, or `store: {postgres: {…}}`.
fn read_store(root: &Node, problems: &mut Vec<Diagnostic>) -> StorePlace {
    let given = root.as_map().and_then(|map| map.get("store")).filter(|node| !node.is_null());
    let Some(node) = given else { return StorePlace::Sqlite };
    if let Some(scalar) = node.as_scalar() {
        if scalar.text != "sqlite" {
            let message =
                format!("`store` must be `sqlite` or `postgres:`, found `{}`", scalar.text);
            let help = "write `store: {postgres: {host: /run/postgresql}}` for PostgreSQL";
            problems.push(node.problem(CODE, message).help(help));
        }
        return StorePlace::Sqlite;
    }
    let mut fields = Fields::of(node, CODE, &schema::names_in("store"));
    let place = match fields.required("postgres") {
        Some(node) => {
            let mut fields = Fields::of(node, CODE, &schema::names_in("store.postgres"));
            let place = read_postgres(&mut fields);
            problems.extend(fields.into_problems());
            StorePlace::Postgres(place)
        }
        None => StorePlace::Sqlite,
    };
    problems.extend(fields.into_problems());
    place
}

fn read_postgres(fields: &mut Fields<'_>) -> Postgres {
    let host = match fields.required("host") {
        Some(_) => fields.string("host").unwrap_or_default(),
        None => String::new(),
    };
    let password_file = match fields.node("password_file") {
        Some(node) => absolute_path(fields, "password_file", node),
        None => None,
    };
    let port = fields.integer("port", 1..=65535).and_then(|port| u16::try_from(port).ok());
    let readers = fields.integer("readers", 1..=64).and_then(|n| usize::try_from(n).ok());
    Postgres {
        host,
        port: port.unwrap_or(5432),
        database: fields.string("database").unwrap_or_else(|| "wharf".to_owned()),
        user: fields.string("user").unwrap_or_else(|| "wharf".to_owned()),
        password_file,
        readers: readers.unwrap_or(STORE_READERS_MAX),
    }
}

fn read_socket(fields: &mut Fields<'_>, state_dir: &Path) -> Socket {
    let path = match fields.node("path") {
        Some(node) => absolute_path(fields, "path", node),
        None => None,
    };
    let mode = match fields.node("mode") {
        Some(node) => octal_mode(fields, node),
        None => None,
    };
    let group = match fields.node("group") {
        Some(node) => node.as_scalar().map(|scalar| scalar.text.clone()).or_else(|| {
            let message = format!("`group` must be a group, found {}", node.kind());
            fields.report(node.problem(CODE, message));
            None
        }),
        None => None,
    };
    Socket {
        path: path.unwrap_or_else(|| state_dir.join("wharf.sock")),
        mode: mode.unwrap_or(0o660),
        group,
    }
}

fn read_engine(fields: &mut Fields<'_>, docker_host: Option<&str>) -> String {
    let given = fields.string("address");
    if let (Some(address), Some(node)) = (&given, fields.node("address"))
        && !address.starts_with("unix:///")
    {
        let message = format!("`address` must be `unix:///PATH`, found `{address}`");
        let help = "an engine on another host needs an agent on that host";
        fields.report(node.problem(CODE, message).help(help));
    }
    given
        .or_else(|| docker_host.filter(|host| !host.is_empty()).map(str::to_owned))
        .unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned())
}

fn read_tenants(fields: &mut Fields<'_>) -> Tenants {
    let items = fields.items("tenants");
    let mut tenants = BTreeSet::new();
    for node in items {
        match node.as_scalar().and_then(|scalar| scalar.text.parse().ok()) {
            Some(tenant) => drop(tenants.insert(tenant)),
            None => {
                let message = "`tenants` lists ids of tenants".to_owned();
                let help = "write each like 0190f3c2-7a1e-7c3b-9a57-2f6d1c0b4e11";
                fields.report(node.problem(CODE, message).help(help));
            }
        }
    }
    if let Some(node) = fields.node("tenants")
        && node.as_seq().is_some_and(<[_]>::is_empty)
    {
        let message = "`tenants` must name a tenant".to_owned();
        let help = "leave the key out to serve all of them";
        fields.report(node.problem(CODE, message).help(help));
    }
    match tenants.is_empty() {
        true => Tenants::All,
        false => Tenants::Only(Arc::new(tenants)),
    }
}

fn read_roots(fields: &mut Fields<'_>) -> Vec<PathBuf> {
    let items = fields.items("roots");
    items.iter().filter_map(|node| absolute_path(fields, "roots", node)).collect()
}

fn read_run_url(fields: &mut Fields<'_>) -> String {
    let Some(given) = fields.string("run_url") else { return RUN_URL.to_owned() };
    if !given.contains("{run_id}") {
        let message = format!("`run_url` must hold `{{run_id}}`, found `{given}`");
        report_at(fields, "run_url", message);
    }
    given
}

fn absolute_path(fields: &mut Fields<'_>, key: &str, node: &Node) -> Option<PathBuf> {
    let path = node.as_scalar().map(|scalar| PathBuf::from(&scalar.text));
    match path {
        Some(path) if path.is_absolute() => Some(path),
        Some(path) => {
            let message = format!("`{key}` must be an absolute path, found `{}`", path.display());
            fields.report(node.problem(CODE, message).help("begin it with `/`"));
            None
        }
        None => {
            let message = format!("`{key}` must be an absolute path, found {}", node.kind());
            fields.report(node.problem(CODE, message));
            None
        }
    }
}

/// Permission bits, always octal: `0660` and `660` mean the same, as with chmod(1).
fn octal_mode(fields: &mut Fields<'_>, node: &Node) -> Option<u32> {
    let text = node.as_scalar().map_or("", |scalar| scalar.text.as_str());
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777);
    if mode.is_none() {
        let message = "`mode` must be an octal number up to 0777, such as `0660`";
        fields.report(node.problem(CODE, message));
    }
    mode
}

/// As people write a time of whole days.
fn in_days(duration: Duration) -> String {
    const DAY: u64 = 24 * 3600;
    let days = duration.as_secs() / DAY;
    match duration == Duration::from_secs(days * DAY) && days > 0 {
        true => format!("{days}d"),
        false => format_duration(duration),
    }
}

fn bounded(
    fields: &mut Fields<'_>,
    key: &str,
    shortest: Duration,
    longest: Duration,
) -> Option<Duration> {
    let found = fields.duration(key)?;
    if (shortest..=longest).contains(&found) {
        return Some(found);
    }
    let message = format!(
        "`{key}` must be from {} to {}, found {}",
        format_duration(shortest),
        format_duration(longest),
        format_duration(found)
    );
    report_at(fields, key, message);
    None
}

fn bounded_size(fields: &mut Fields<'_>, key: &str, least: u64, most: u64) -> Option<u64> {
    let found = fields.bytes(key)?;
    if (least..=most).contains(&found) {
        return Some(found);
    }
    report_at(fields, key, format!("`{key}` must be from {least} to {most} bytes, found {found}"));
    None
}

fn report_at(fields: &mut Fields<'_>, key: &str, message: String) {
    if let Some(node) = fields.node(key) {
        fields.report(node.problem(CODE, message));
    }
}

impl Config {
    /// Every key's value in effect, as it would be written.
    pub fn values(&self) -> BTreeMap<&'static str, String> {
        let roots: Vec<_> = self.host_path_roots.iter().map(|p| p.display().to_string()).collect();
        let postgres = match &self.store {
            StorePlace::Postgres(postgres) => Some(postgres),
            StorePlace::Sqlite => None,
        };
        let of_postgres = |value: fn(&Postgres) -> String| postgres.map(value).unwrap_or_default();
        let password_file = |it: &Postgres| {
            it.password_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
        };
        let tenants =
            self.tenants.ids().map(|ids| format!("[{}]", ids.join(", "))).unwrap_or_default();
        let mut values = BTreeMap::from([
            ("state_dir", self.state_dir.display().to_string()),
            ("store", if postgres.is_some() { "postgres" } else { "sqlite" }.to_owned()),
            ("store.postgres.host", of_postgres(|it| it.host.clone())),
            ("store.postgres.port", of_postgres(|it| it.port.to_string())),
            ("store.postgres.database", of_postgres(|it| it.database.clone())),
            ("store.postgres.user", of_postgres(|it| it.user.clone())),
            ("store.postgres.password_file", of_postgres(password_file)),
            ("store.postgres.readers", of_postgres(|it| it.readers.to_string())),
            ("socket.path", self.socket.path.display().to_string()),
            ("socket.mode", format!("{:04o}", self.socket.mode)),
            ("socket.group", self.socket.group.clone().unwrap_or_default()),
            ("engine.address", self.engine_address.clone()),
            ("log.format", name_of(LogFormat::WORDS, self.log_format)),
            ("log.level", name_of(LogLevel::WORDS, self.log_level)),
            ("runs.workers", self.workers.to_string()),
            ("runs.tenants", tenants),
            ("runs.shutdown_deadline", format_duration(self.shutdown_deadline)),
            ("host_paths.roots", format!("[{}]", roots.join(", "))),
            ("alerts.run_url", self.alerts_run_url.clone()),
            ("audit.anchors", self.audit.anchors_text()),
            ("audit.retention_days", self.audit.retention_text()),
            (
                "runbooks.directory",
                self.runbooks.as_ref().map(|it| it.display().to_string()).unwrap_or_default(),
            ),
            ("contexts.size_max", self.contexts_bytes_max.to_string()),
        ]);
        values.extend(listen::values(self.tcp.as_ref()));
        values.extend(self.access.values());
        values.extend(policies::values(&self.policies));
        values.extend(self.convergence.values());
        values.extend(self.enforcement.values());
        values.extend(self.findings.values());
        values.extend(self.images.values());
        values.extend(rules::values(&self.rules));
        values
    }
}

fn name_of<T: Copy + PartialEq>(words: &[(&str, T)], value: T) -> String {
    words.iter().find(|(_, known)| *known == value).map_or("", |(name, _)| name).to_owned()
}

/// What a reload changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys whose new value takes effect now.
    pub applied: Vec<&'static str>,
    /// Keys whose new value waits for a restart.
    pub needs_restart: Vec<&'static str>,
}

/// Compares the configuration in effect with the one just read.
pub fn changes(old: &Config, new: &Config) -> Changes {
    let (before, after) = (old.values(), new.values());
    let mut found = Changes::default();
    for key in KEYS.iter().filter(|key| before.get(key.path) != after.get(key.path)) {
        match key.reload {
            Reload::Live => found.applied.push(key.path),
            Reload::Restart => found.needs_restart.push(key.path),
        }
    }
    found
}
