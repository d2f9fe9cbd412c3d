//! Says what a plan changes, container by container and field by field, as people read it. Owns
//! which values are shown, and how. Face: `Plan::changes`, `Plan::summary`, `Plan::diff`. Never shows
//! a value that may be secret: only the fields of a list show theirs.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use super::replacing::is_kept_name;
use super::{Action, Cause, Plan, Step};
use crate::facts::{
    ContainerFacts, FieldDifference, ImageFacts, Instance, PortBinding, Protocol, ServiceSpec,
    differences, effective,
};

/// One field of a container that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Its name, such as `resources.memory_bytes` or `environment.PASSWORD`.
    pub field: String,
    /// What it is; `None` is nothing, or not shown.
    pub before: Option<String>,
    /// What it becomes; `None` is nothing, or not shown.
    pub after: Option<String>,
    /// Whether the values are shown.
    pub is_shown: bool,
}

/// What becomes of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is made.
    Create,
    /// It is changed as it runs.
    Update,
    /// It is made anew.
    Replace,
    /// A replacement of it that failed is taken back.
    TakeBack,
    /// A replacement of it that was interrupted is finished.
    Finish,
    /// It is started, or goes on.
    Start,
    /// It is stopped and started.
    Restart,
    /// It is kept from now on, as it is.
    Adopt,
    /// It joins or leaves networks.
    Connect,
    /// It is removed.
    Remove,
    /// It is built or pulled.
    Fetch,
}

impl ChangeKind {
    /// The word for programs and for summaries: `2 to update`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::TakeBack => "take back",
            Self::Finish => "finish",
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Adopt => "adopt",
            Self::Connect => "connect",
            Self::Remove => "remove",
            Self::Fetch => "fetch",
        }
    }

    fn sign(self) -> char {
        match self {
            Self::Create | Self::Fetch => '+',
            Self::Remove => '-',
            Self::Replace | Self::TakeBack | Self::Finish => '±',
            _ => '~',
        }
    }
}

/// What a plan does to one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<'a> {
    /// The service that it belongs to; else `networks`, `volumes` or `images`.
    pub group: &'a str,
    /// Its name.
    pub subject: &'a str,
    /// What becomes of it.
    pub kind: ChangeKind,
    /// Why.
    pub cause: &'a Cause,
    /// How one container makes way for the other.
    pub way: Option<&'static str>,
    /// What changes of it.
    pub fields: &'a [FieldChange],
}

/// Fields whose values say nothing that could be secret. Of everything else, such as commands,
/// labels and variables, the name alone is told.
const SHOWN: [&str; 17] = [
    "image",
    "platform",
    "user",
    "group_add",
    "working_dir",
    "hostname",
    "domainname",
    "init",
    "stop_signal",
    "stop_grace_period",
    "restart.",
    "ports",
    "expose",
    "mounts.",
    "network_mode.",
    "resources.",
    "security.",
];

/// Timings of a health check: its command may hold a password.
const SHOWN_OF_HEALTH: [&str; 5] = [
    "healthcheck.interval",
    "healthcheck.timeout",
    "healthcheck.retries",
    "healthcheck.start_period",
    "healthcheck.start_interval",
];

/// May name drivers' options, which hold credentials of file servers.
const NEVER_SHOWN: &str = "driver_options";

fn is_shown(field: &str) -> bool {
    let is_listed = |known: &&str| match known.strip_suffix('.') {
        Some(section) => field == section || field.starts_with(*known),
        None => field == *known,
    };
    !field.contains(NEVER_SHOWN)
        && (SHOWN.iter().any(is_listed) || SHOWN_OF_HEALTH.contains(&field))
}

/// What a replacement of `old` for this cause changes of it.
pub(super) fn field_changes(
    cause: &Cause,
    declared: &ServiceSpec,
    image: Option<&ImageFacts>,
    old: &ContainerFacts,
) -> Vec<FieldChange> {
    let fields = match cause {
        Cause::ContractChanged { fields } | Cause::AdoptionDiffers { fields } => fields.clone(),
        Cause::ImageChanged { .. } => vec!["image".to_owned()],
        _ => return Vec::new(),
    };
    let meant = image.map_or_else(|| declared.clone(), |image| effective(declared, image));
    let found = differences(&meant, &old.spec);
    let mut changes = Vec::new();
    for field in fields {
        if field == "image" {
            let after = image.map(|image| image.id.as_str());
            changes.push(FieldChange {
                before: Some(image_text(&old.spec.image, Some(&old.image_id))),
                after: Some(image_text(&declared.image, after)),
                field,
                is_shown: true,
            });
            continue;
        }
        if field == "ports" {
            let text = |spec: &ServiceSpec| {
                let each: Vec<String> = spec.ports.iter().map(port_text).collect();
                (!each.is_empty()).then(|| each.join(", "))
            };
            let (before, after) = (text(&old.spec), text(declared));
            changes.push(FieldChange { field, before, after, is_shown: true });
            continue;
        }
        let section = format!("{field}.");
        let leaves = found.iter().filter(|it| it.field == field || it.field.starts_with(&section));
        let before = changes.len();
        changes.extend(leaves.map(field_change));
        if changes.len() == before {
            changes.push(FieldChange { field, before: None, after: None, is_shown: false });
        }
    }
    changes
}

/// One difference between a declaration and a container, as it may be shown.
pub(super) fn field_change(found: &FieldDifference) -> FieldChange {
    let is_shown = is_shown(&found.field);
    let text = |value: &Option<String>| {
        value.as_ref().filter(|_| is_shown).map(|value| value_text(&found.field, value))
    };
    FieldChange {
        field: found.field.clone(),
        before: text(&found.observed),
        after: text(&found.declared),
        is_shown,
    }
}

/// A name, and the first digits of what it stands for.
fn image_text(reference: &str, id: Option<&str>) -> String {
    let digits = id.map(|id| id.strip_prefix("sha256:").unwrap_or(id));
    match digits.and_then(|digits| digits.get(..12)) {
        Some(digits) => format!("{reference} ({digits})"),
        None => reference.to_owned(),
    }
}

fn port_text(port: &PortBinding) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "",
        Protocol::Udp => "/udp",
        Protocol::Sctp => "/sctp",
    };
    let address = port.host_ip.as_ref().map(|ip| format!("{ip}:")).unwrap_or_default();
    let host = port.host_port.as_ref().map(|port| format!("{port}:")).unwrap_or_default();
    format!("{address}{host}{}{protocol}", port.container_port)
}

/// Sizes and shares as people write them.
fn value_text(field: &str, value: &str) -> String {
    let Ok(number) = value.parse::<i64>() else { return value.to_owned() };
    if field.ends_with("_bytes") && number > 0 {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if number.trailing_zeros() >= shift {
                return format!("{} {unit}", number >> shift);
            }
        }
        return format!("{number} B");
    }
    if field.ends_with("nano_cpus") {
        let text = format!("{}.{:09}", number / 1_000_000_000, number % 1_000_000_000);
        return format!("{} CPUs", text.trim_end_matches('0').trim_end_matches('.'));
    }
    value.to_owned()
}

impl Plan {
    /// What is changed, by service and number; then networks, volumes and images.
    pub fn changes(&self) -> Vec<Change<'_>> {
        let mut containers: BTreeMap<&Instance, (u8, ChangeKind, &Step)> = BTreeMap::new();
        let mut others: BTreeMap<(&str, &str), (ChangeKind, &Step)> = BTreeMap::new();
        for step in &self.steps {
            if let Some((instance, rank, kind)) = of_container(step) {
                let known = containers.entry(instance).or_insert((rank, kind, step));
                if rank < known.0 {
                    *known = (rank, kind, step);
                }
            } else if let Some((group, kind)) = of_other(step) {
                let known = others.entry((group, step.subject.as_str())).or_insert((kind, step));
                if known.0 != kind {
                    known.0 = ChangeKind::Replace;
                }
            }
        }
        let containers = containers.into_iter().map(|(instance, (_, kind, step))| {
            let subject = match &step.action {
                Action::RenameContainer { name, .. } => name,
                _ => &step.subject,
            };
            let way = (kind == ChangeKind::Replace).then(|| self.way(instance)).flatten();
            let fields = self.fields.get(subject).map_or(&[][..], Vec::as_slice);
            Change { group: &instance.service, subject, kind, cause: &step.cause, way, fields }
        });
        let others = others.into_iter().map(|((group, subject), (kind, step))| Change {
            group,
            subject,
            kind,
            cause: &step.cause,
            way: None,
            fields: &[],
        });
        containers.chain(others).collect()
    }

    /// How many things become what.
    pub fn summary(&self) -> BTreeMap<ChangeKind, usize> {
        let mut summary = BTreeMap::new();
        for change in self.changes() {
            *summary.entry(change.kind).or_insert(0) += 1;
        }
        summary
    }

    /// The plan for people: a line that sums it up, then each service with what changes of it, then
    /// the steps.
    pub fn diff(&self) -> String {
        let mut text = String::new();
        // Writing to a text cannot fail.
        let _ = self.write_diff(&mut text);
        text
    }

    fn write_diff(&self, text: &mut String) -> fmt::Result {
        let (changes, summary) = (self.changes(), self.summary());
        let counts: Vec<String> =
            summary.iter().map(|(kind, count)| format!("{count} to {}", kind.word())).collect();
        let counts = if counts.is_empty() { "nothing to do".to_owned() } else { counts.join(", ") };
        writeln!(text, "{}: {counts}", self.project)?;
        let mut group = "";
        for change in &changes {
            if change.group != group {
                group = change.group;
                writeln!(text, "  {group}")?;
            }
            let Change { subject, kind, cause, .. } = change;
            write!(text, "    {} {subject}: {}", kind.sign(), kind.word())?;
            if let Some(way) = change.way {
                write!(text, ", {way}")?;
            }
            if change.fields.is_empty() {
                write!(text, " ({cause})")?;
            }
            writeln!(text)?;
            for field in change.fields {
                writeln!(text, "        {field}")?;
            }
        }
        if !self.steps.is_empty() {
            writeln!(text, "steps")?;
            self.write_steps(text)?;
        }
        for notice in &self.notices {
            writeln!(text, "note: {}: {}", notice.subject, notice.message)?;
        }
        Ok(())
    }

    /// How the container of an instance makes way for the one that replaces it.
    fn way(&self, instance: &Instance) -> Option<&'static str> {
        let find = |is_it: &dyn Fn(&Action) -> bool| self.steps.iter().find(|it| is_it(&it.action));
        let is_put_away = |action: &Action| match action {
            Action::RenameContainer { container, name } => {
                let final_name = name.split_once("_kept_").map_or("", |(_, rest)| rest);
                container.instance == *instance && is_kept_name(name, final_name)
            }
            _ => false,
        };
        if find(&is_put_away).is_some() {
            return Some("the old one stops first and is kept until the new one has proved itself");
        }
        let start = find(
            &|action| matches!(action, Action::StartContainer { container } if container.instance == *instance),
        )?;
        let stop = find(
            &|action| matches!(action, Action::StopContainer { container } if container.instance == *instance),
        )?;
        Some(if start.id < stop.id { "the new one runs first" } else { "the old one stops first" })
    }
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_shown {
            return write!(f, "{} (values not shown)", self.field);
        }
        let shown = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(f, "{}: {} → {}", self.field, shown(&self.before), shown(&self.after))
    }
}

/// What a step says of a container; the lowest rank has the word.
fn of_container(step: &Step) -> Option<(&Instance, u8, ChangeKind)> {
    let is_interrupted = step.cause == Cause::ReplacementInterrupted;
    Some(match &step.action {
        Action::CreateContainer { instance, replaces: Some(_) } => {
            (instance, 1, ChangeKind::Replace)
        }
        Action::CreateContainer { instance, replaces: None } => (instance, 1, ChangeKind::Create),
        Action::RemoveContainer { container }
        | Action::RenameContainer { container, .. }
        | Action::StartContainer { container }
            if step.cause == Cause::ReplacementFailed =>
        {
            (&container.instance, 0, ChangeKind::TakeBack)
        }
        Action::RenameContainer { container, .. } => (&container.instance, 2, ChangeKind::Finish),
        Action::RemoveContainer { container } if is_interrupted => {
            (&container.instance, 3, ChangeKind::Finish)
        }
        Action::RemoveContainer { container } => (&container.instance, 3, ChangeKind::Remove),
        Action::UpdateContainer { container, .. } => (&container.instance, 4, ChangeKind::Update),
        Action::AdoptContainer { container } => (&container.instance, 5, ChangeKind::Adopt),
        Action::RestartContainer { container } => (&container.instance, 6, ChangeKind::Restart),
        Action::StartContainer { container } | Action::UnpauseContainer { container } => {
            (&container.instance, 7, ChangeKind::Start)
        }
        Action::ConnectNetwork { container, .. } | Action::DisconnectNetwork { container, .. } => {
            (&container.instance, 8, ChangeKind::Connect)
        }
        Action::RunHook { container, .. } => (&container.instance, 9, ChangeKind::Start),
        _ => return None,
    })
}

fn of_other(step: &Step) -> Option<(&'static str, ChangeKind)> {
    Some(match step.action {
        Action::CreateNetwork { .. } => ("networks", ChangeKind::Create),
        Action::RemoveNetwork => ("networks", ChangeKind::Remove),
        Action::CreateVolume { .. } => ("volumes", ChangeKind::Create),
        Action::RemoveVolume => ("volumes", ChangeKind::Remove),
        Action::BuildImage { .. } | Action::PullImage { .. } => ("images", ChangeKind::Fetch),
        Action::RemoveImage => ("images", ChangeKind::Remove),
        _ => return None,
    })
}
