//! Keeps the policies that are in force. Owns what counts now, with the rules of the configuration as one
//! of them, and the last good ones. Face: `SharedPolicies`, `PolicyKeeper`, `PolicySources`. Never judges: the
//! policies do; never lets go of good policies for broken ones.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::base::ids::EventId;
use crate::base::limits::{POLICIES_KEPT_BYTES_MAX, POLICY_PROBLEMS_CHARS_MAX};
use crate::base::{Ambient, Diagnostic, Diagnostics, Digest, Name, Timestamp, chain};
use crate::domain::alerts::policies_refused_event;
use crate::domain::audit::{Actor, AuditEvent, EventContext, EventType, Outcome, Target};
use crate::domain::policy::{Action, PolicySet, Rules, Source, compile_with, shipped_sources};
use crate::domain::redaction::{Known, SafeText};
use crate::store::{AlertWrite, Store, StoreError, Write};
use crate::world::policy_files::Stamp;
use crate::world::{guarded_files, policy_files};

/// The policies that count now. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct SharedPolicies(Arc<watch::Sender<InForce>>);

struct InForce {
    /// Without the rules of the configuration.
    policies: PolicySet,
    rules: Rules,
    /// Both together.
    whole: PolicySet,
}

impl InForce {
    fn new(policies: PolicySet, rules: Rules) -> Self {
        let whole = policies.clone().with_rules(&rules);
        Self { policies, rules, whole }
    }
}

impl SharedPolicies {
    /// These policies, and no rules of a configuration.
    pub fn new(policies: PolicySet) -> Self {
        Self(Arc::new(watch::Sender::new(InForce::new(policies, Rules::off()))))
    }

    /// The same, with what the configuration says of the five rules.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        self.set_rules(rules);
        self
    }

    /// What is in force, with the rules of the configuration as policy `rules`. What is asked of it
    /// later is answered by the same policies, whatever is put in force meanwhile.
    pub fn now(&self) -> PolicySet {
        self.0.borrow().whole.clone()
    }

    /// Other policies, for what is asked from now on.
    pub fn replace(&self, policies: PolicySet) {
        self.0.send_modify(|held| *held = InForce::new(policies, held.rules.clone()));
    }

    /// Other rules of the configuration, for what is asked from now on.
    pub fn set_rules(&self, rules: Rules) {
        self.0.send_modify(|held| *held = InForce::new(held.policies.clone(), rules));
    }

    /// Tells when others are put in force, from now on.
    pub fn changes(&self) -> PolicyChanges {
        PolicyChanges(self.0.subscribe())
    }
}

/// Tells when other policies are put in force.
pub struct PolicyChanges(watch::Receiver<InForce>);

impl PolicyChanges {
    /// Waits until they are; for ever, once nobody can put any in force.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Where policies come from, as the configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicySources {
    /// The folder of policies of one's own.
    pub directory: Option<PathBuf>,
    /// Policies that come with the program.
    pub shipped: Vec<Shipped>,
}

/// A policy that comes with the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipped {
    /// Its name.
    pub name: String,
    /// What all its rules do instead of what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
}

/// How the last try to put policies in force went.
#[derive(Debug, Clone, Default)]
pub struct Loading {
    /// Since when these are in force; none when there never were any.
    pub loaded_at: Option<Timestamp>,
    /// Tries that were refused since the agent started.
    pub failures: u64,
    /// Why the newest are not in force; none when they are.
    pub problems: Vec<Diagnostic>,
}

/// Hears of every try, with the number of policies that are in force after it.
pub type PolicyObserver = Arc<dyn Fn(&Loading, usize) + Send + Sync>;

/// Reads policies and puts them in force. Cheap to clone.
#[derive(Clone)]
pub struct PolicyKeeper {
    shared: SharedPolicies,
    store: Arc<dyn Store>,
    ambient: Ambient,
    /// The file that keeps the sources of the last good ones.
    kept: PathBuf,
    observer: PolicyObserver,
    held: Arc<Mutex<Held>>,
    /// One try at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Held {
    sources: PolicySources,
    /// How the folder looked when it was read.
    read: Option<Stamp>,
    /// How it looked last, when it had changed since: a file may be half written.
    changing: Option<Stamp>,
    /// What is in force.
    listed: Vec<Listed>,
    loading: Loading,
}

/// A policy in force, by what tells it from every other one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Listed {
    name: Name,
    digest: Digest,
}

/// The sources of the last good policies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// The version of this form.
    form: u32,
    files: Vec<KeptFile>,
    shipped: Vec<Shipped>,
    listed: Vec<Listed>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeptFile {
    path: String,
    text: String,
}

/// The version that this program writes.
const FORM: u32 = 1;

impl PolicyKeeper {
    /// Puts policies in force in `shared`, and keeps the last good ones below `state_dir`.
    pub fn new(
        shared: SharedPolicies,
        store: Arc<dyn Store>,
        ambient: Ambient,
        state_dir: &Path,
        observer: PolicyObserver,
    ) -> Self {
        let kept = state_dir.join("policies.json");
        let (held, turn) = (Arc::default(), Arc::default());
        Self { shared, store, ambient, kept, observer, held, turn }
    }

    /// How the last try went.
    pub fn loading(&self) -> Loading {
        self.lock().loading.clone()
    }

    /// What is in force.
    pub fn policies(&self) -> &SharedPolicies {
        &self.shared
    }

    /// Puts the policies of these sources in force; the last good ones when they are broken. The first
    /// time, these are the ones that an earlier life kept.
    pub async fn load(&self, sources: PolicySources) {
        let _turn = self.turn.lock().await;
        let is_first = {
            let mut held = self.lock();
            held.read = sources.directory.as_deref().map(policy_files::stamp);
            held.changing = None;
            held.sources.clone_from(&sources);
            held.loading.loaded_at.is_none() && held.loading.failures == 0
        };
        let before = if is_first { self.remember() } else { None };
        if let Some(kept) = &before {
            self.lock().listed.clone_from(&kept.listed);
        }
        let (sources, compiled) = match read(&sources) {
            Ok(kept) => {
                let compiled = kept.compile();
                (kept, compiled)
            }
            Err(problems) => (Kept::default(), Err(problems)),
        };
        match compiled {
            Ok(set) => self.take(sources, set).await,
            Err(problems) => self.refuse(problems, before).await,
        }
        let (loading, count) = (self.loading(), self.shared.now().policies().len());
        (self.observer)(&loading, count);
    }

    /// Reads the folder again when it changed and then stood still since the last look.
    pub async fn look(&self) {
        let sources = {
            let mut held = self.lock();
            let Some(folder) = held.sources.directory.clone() else { return };
            let stamp = policy_files::stamp(&folder);
            if held.read.as_ref() == Some(&stamp) {
                held.changing = None;
                return;
            }
            if held.changing.as_ref() != Some(&stamp) {
                held.changing = Some(stamp);
                return;
            }
            held.sources.clone()
        };
        self.load(sources).await;
    }

    /// Good policies.
    async fn take(&self, mut kept: Kept, set: PolicySet) {
        kept.listed = listed(&set);
        let now = self.ambient.now();
        let names: Vec<&str> = kept.listed.iter().map(|it| it.name.as_str()).collect();
        let (names, before) = (names.join(", "), self.lock().listed.clone());
        self.shared.replace(set);
        let is_changed = {
            let mut held = self.lock();
            held.listed.clone_from(&kept.listed);
            held.loading = Loading {
                loaded_at: Some(now),
                problems: Vec::new(),
                failures: held.loading.failures,
            };
            before != kept.listed
        };
        if !is_changed && self.kept.exists() {
            return;
        }
        if let Err(error) = self.keep(&kept) {
            let path = self.kept.display();
            tracing::error!(%error, %path, "policies are in force, and not kept for the next start");
        }
        if !is_changed {
            return;
        }
        tracing::info!(policies = names, "policies are in force");
        let summary = match kept.listed.is_empty() {
            true => "No policies are in force any more".to_owned(),
            false => format!("Policies are in force: {}", told(&kept.listed)),
        };
        let gone: Vec<Listed> = before
            .into_iter()
            .filter(|it| kept.listed.iter().all(|new| new.name != it.name))
            .collect();
        let summary = match gone.is_empty() {
            true => summary,
            false => format!("{summary}; no more: {}", told(&gone)),
        };
        let event = self.event(EventType::PolicyChanged, Outcome::Success, &summary);
        self.record(Vec::new(), event).await;
    }

    /// Broken ones: what was in force stays.
    async fn refuse(&self, problems: Diagnostics, before: Option<Kept>) {
        let problems = Known::default().in_diagnostics(problems);
        let is_told = {
            let mut held = self.lock();
            held.loading.failures += 1;
            let is_told = held.loading.problems == problems.0;
            held.loading.problems.clone_from(&problems.0);
            is_told
        };
        if let Some(before) = before {
            match before.compile() {
                Ok(set) => {
                    self.shared.replace(set);
                    self.lock().loading.loaded_at = Some(self.ambient.now());
                }
                Err(problems) => {
                    self.lock().listed.clear();
                    tracing::error!(%problems, "the last good policies are not good any more");
                }
            }
        }
        let stay: Vec<Listed> = self.lock().listed.clone();
        let stay = if stay.is_empty() { "none".to_owned() } else { told(&stay) };
        tracing::error!(%problems, in_force = stay, "policies are refused; the ones before stay");
        if is_told {
            return;
        }
        let summary = format!("Policies were refused; in force are: {stay}");
        let mut event = self.event(EventType::PolicyRefused, Outcome::Failed, &summary);
        event.context.reason = Some(SafeText::new(in_short(&problems)));
        let scope = self.store.scope();
        let alert = policies_refused_event(
            (scope.workspace_id, scope.tenant_id),
            &format!("{summary}: {}", in_short(&problems)),
            self.ambient.now(),
        );
        self.record(vec![Write::Alert(AlertWrite::Raise(Box::new(alert)))], event).await;
    }

    async fn record(&self, writes: Vec<Write>, event: AuditEvent) {
        let recorded: Result<(), StoreError> = self.store.commit(writes, event.into()).await;
        if let Err(error) = recorded {
            tracing::error!(error = %chain(&error), "what became of policies could not be recorded");
        }
    }

    /// What an earlier life kept, when it can be read.
    fn remember(&self) -> Option<Kept> {
        let text = match guarded_files::read_own(&self.kept, POLICIES_KEPT_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                let path = self.kept.display();
                tracing::error!(%error, %path, "the last good policies cannot be read");
                return None;
            }
        };
        let kept = serde_json::from_str::<Kept>(&text).ok().filter(|kept| kept.form == FORM);
        if kept.is_none() {
            let path = self.kept.display();
            tracing::error!(%path, "the last good policies are not what this version writes");
        }
        kept
    }

    fn keep(&self, kept: &Kept) -> std::io::Result<()> {
        let text = serde_json::to_vec(kept)?;
        if text.len() > POLICIES_KEPT_BYTES_MAX {
            return Err(std::io::Error::other("they are too large together"));
        }
        guarded_files::write_own(&self.kept, &text)
    }

    fn event(&self, event_type: EventType, outcome: Outcome, summary: &str) -> AuditEvent {
        let scope = self.store.scope();
        AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: scope.workspace_id,
            tenant_id: Some(scope.tenant_id),
            event_type,
            summary: SafeText::new(summary),
            outcome,
            actor: Actor::agent(),
            target: Some(Target {
                target_type: "policies".to_owned(),
                target_id: scope.tenant_id.to_string(),
                target_label: "policies".to_owned(),
                workspace_id: scope.workspace_id,
                tenant_id: Some(scope.tenant_id),
            }),
            operation_run_id: None,
            context: EventContext::default(),
            occurred_at: self.ambient.now(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Compiles what is in the files, and what is shipped under these names by now.
    fn compile(&self) -> Result<PolicySet, Diagnostics> {
        let mut actions = BTreeMap::new();
        let mut sources: Vec<Source<'_>> = Vec::new();
        for shipped in &self.shipped {
            let found = shipped_sources(&shipped.name);
            if found.is_empty() {
                let message = format!("no policy `{}` is shipped", shipped.name);
                return Err(Diagnostic::new("policy.unknown", message).into());
            }
            if let Some(action) = shipped.action {
                actions.extend(found.iter().map(|source| (source.file.to_owned(), action)));
            }
            sources.extend(found);
        }
        let files = self.files.iter();
        sources.extend(files.map(|file| Source { file: &file.path, text: &file.text }));
        compile_with(&sources, &actions)
    }
}

/// What the sources hold.
fn read(sources: &PolicySources) -> Result<Kept, Diagnostics> {
    let files = sources.directory.as_deref().map(policy_files::read).transpose()?;
    let files = files.unwrap_or_default().into_iter();
    let files = files.map(|file| KeptFile { path: file.path, text: file.text }).collect();
    Ok(Kept { form: FORM, files, shipped: sources.shipped.clone(), listed: Vec::new() })
}

fn listed(set: &PolicySet) -> Vec<Listed> {
    let policies = set.policies().iter();
    policies.map(|policy| Listed { name: policy.name, digest: policy.digest }).collect()
}

/// `shop 0190f3c2, web 2f6d1c0b`.
fn told(policies: &[Listed]) -> String {
    let one = |it: &Listed| format!("{} {}", it.name, it.digest.short());
    policies.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Problems without their lines, as many as fit.
fn in_short(problems: &Diagnostics) -> String {
    let mut text = String::new();
    for problem in &problems.0 {
        let place = problem.location.as_ref();
        let place = place.map(|at| format!("{}:{}:{}: ", at.file, at.line, at.column));
        let line = format!("{}{}", place.unwrap_or_default(), problem.message);
        if text.len() + line.len() > POLICY_PROBLEMS_CHARS_MAX {
            text.push_str("; and more");
            break;
        }
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(&line);
    }
    text
}

/// The policies of these sources, put nowhere in force.
///
/// # Errors
/// Every problem of every file.
pub fn compile_sources(sources: &PolicySources) -> Result<PolicySet, Diagnostics> {
    read(sources)?.compile()
}
