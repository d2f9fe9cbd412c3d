//! Judges a declared project before it is planned, and hardens it. Owns what of a project is judged, and the
//! words in which policies speak to whoever deploys. Face: `Gate`, `Passage`, `Rollout::gate`,
//! `Rollout::preview_judged`. Never judges itself: the policies do; and never acts.

use std::collections::BTreeMap;

use super::{Declared, Preview, PreviewError, Rollout};
use crate::base::Timestamp;
use crate::base::ids::TenantId;
use crate::domain::access::Stage;
use crate::domain::policy::{
    Action, Finding, PolicySet, Question, Remedy, Subject, Told, VolumeOptions, harden,
};
use crate::domain::rollout::{Notice, Observed, PlanOptions, image_reference, plan};
use crate::domain::runs::{Failure, ReasonCode};
use crate::facts::{HostFacts, ServiceSpec};
use crate::store::{Scope, StoreError};

/// The name of what the configuration says; its rules are known by their ids alone.
const RULES: &str = "rules";

/// The policies that one deployment is held to: the same ones from its beginning to its end.
#[derive(Debug, Clone)]
pub struct Gate {
    policies: PolicySet,
    stage: Stage,
    tenant: Option<String>,
    now: Timestamp,
}

/// A project as policies let it be deployed.
#[derive(Debug)]
pub struct Passage {
    /// What is to be planned: declared, and hardened.
    pub declared: Declared,
    /// What was put right.
    pub hardened: Vec<Line>,
    /// What is still wrong.
    pub left: Vec<Line>,
}

/// What policies say of one service.
#[derive(Debug, Clone)]
pub struct Line {
    /// What they found.
    pub told: Told,
    /// `compose.yaml:3:5`, when a file says it.
    pub place: Option<String>,
    /// What was changed, of what was put right.
    pub remedy: Option<Remedy>,
}

impl Rollout {
    /// The policies in force for this tenant; none when nothing is done about anything.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn gate(
        &self,
        tenant: Option<TenantId>,
        now: Timestamp,
    ) -> Result<Option<Gate>, StoreError> {
        let policies = self.policies.now();
        if policies.is_idle() {
            return Ok(None);
        }
        let id = tenant.unwrap_or(self.store.scope().tenant_id);
        let directory = self.store.access().await?;
        let found = directory.tenants.iter().find(|tenant| tenant.id == id);
        // What nobody says so of is what people depend on.
        let stage = found.map_or(Stage::Production, |tenant| tenant.stage);
        let tenant = found.map(|tenant| tenant.name.clone());
        Ok(Some(Gate { policies, stage, tenant, now }))
    }

    /// A preview as policies let the project be deployed, which says what they find.
    ///
    /// # Errors
    /// When the engine or the store cannot be read, or no plan is possible.
    pub async fn preview_judged(
        &self,
        scope: &Scope,
        declared: &Declared,
        (options, now): (&PlanOptions, Timestamp),
    ) -> Result<Preview, PreviewError> {
        let gate = self.gate(Some(scope.tenant_id), now).await.map_err(PreviewError::Store)?;
        let Some(gate) = gate else {
            return self.preview(scope.workspace_id, declared, options).await;
        };
        let mut observed = self.observe(scope.workspace_id, &declared.spec).await?;
        let passage = gate.pass(declared, &mut observed);
        let inactive_services = declared.inactive.clone();
        let options = PlanOptions { inactive_services, ..options.clone() };
        let plan = plan(&passage.declared.spec, &observed, &options, &self.key);
        let mut plan = plan.map_err(PreviewError::Plan)?;
        let told = passage.left.iter().filter(|line| line.told.action > Action::Audit);
        plan.notices.extend(passage.hardened.iter().chain(told).map(Line::notice));
        let is_refused = passage.left.iter().any(|line| line.told.is_refused);
        Ok(Preview { plan, observed, is_refused })
    }
}

impl Gate {
    /// The names of the policies.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.policies.policies().iter().map(|policy| policy.name.to_string())
    }

    /// Whether a policy asks what runs inside containers.
    pub fn asks_for_processes(&self) -> bool {
        self.policies.asks_for_processes()
    }

    /// What the policies find in the host.
    pub fn judge_host(&self, host: &HostFacts) -> Vec<Finding<'_>> {
        self.policies.judge_host(host, self.stage, self.tenant.as_deref(), self.now)
    }

    /// What the policies find in a service or container.
    pub fn judge<'a>(&'a self, subject: &Subject<'_>) -> Vec<Finding<'a>> {
        let tenant = self.tenant.as_deref();
        self.policies.judge(&Question { subject, stage: self.stage, tenant, now: self.now })
    }

    /// Judges every service that is kept and hardens it, as far as what was observed tells. An image
    /// that is pinned is the one that was observed.
    pub fn pass(&self, declared: &Declared, observed: &mut Observed) -> Passage {
        let mut passage =
            Passage { declared: declared.clone(), hardened: Vec::new(), left: Vec::new() };
        let spec = &declared.spec;
        let model = declared.model.as_deref();
        let volumes = volumes(declared, observed);
        let services: Vec<(&str, &ServiceSpec)> =
            spec.services.iter().map(|(name, unit)| (name.as_str(), &unit.spec)).collect();
        let is_wanted =
            |service: &str| declared.wanted.as_ref().is_none_or(|wanted| wanted.contains(service));
        for (service, unit) in spec.services.iter().filter(|(name, _)| is_wanted(name)) {
            let reference = image_reference(spec, service, unit);
            let others = services.iter().filter(|(name, _)| name != service).copied();
            let peers: Vec<(&str, &ServiceSpec)> = others.collect();
            let subject = Subject {
                project: Some(&spec.name),
                is_built: unit.build.is_some(),
                image: observed.images.get(&reference),
                literals: model.and_then(|model| model.literals(service)),
                files: Some(&unit.files),
                peers: Some(&peers),
                volumes: Some(&volumes),
                now: Some(self.now),
                ..Subject::new(service, &unit.spec)
            };
            let tenant = self.tenant.as_deref();
            let question = Question { subject: &subject, stage: self.stage, tenant, now: self.now };
            let found = harden(&self.policies, &question);
            let line = |told: Told, remedy| {
                let path: Vec<&str> = told.at.iter().map(String::as_str).collect();
                let place = model.and_then(|model| model.place(service, &path));
                let place = place.map(|at| format!("{}:{}:{}", at.file, at.line, at.column));
                Line { told, place, remedy }
            };
            passage.left.extend(found.left.into_iter().map(|told| line(told, None)));
            let changes = found.changes.into_iter();
            passage.hardened.extend(changes.map(|(told, remedy)| line(told, Some(remedy))));
            if found.spec == unit.spec {
                continue;
            }
            if found.spec.image != unit.spec.image
                && let Some(image) = observed.images.get(&reference).cloned()
            {
                observed.images.insert(found.spec.image.clone(), image);
            }
            if let Some(unit) = passage.declared.spec.services.get_mut(service) {
                unit.spec = found.spec;
            }
        }
        passage
    }
}

/// Driver options of the project's volumes, and of those that it uses of others.
fn volumes(declared: &Declared, observed: &Observed) -> VolumeOptions {
    let known = observed.volumes.values();
    let known = known.map(|volume| (volume.name.clone(), volume.driver_options.clone()));
    let mut volumes: BTreeMap<_, _> = known.collect();
    let own = declared.spec.volumes.values().filter(|volume| !volume.external);
    volumes.extend(own.map(|volume| (volume.name.clone(), volume.driver_options.clone())));
    volumes
}

impl Passage {
    /// What does not let the project be deployed.
    pub fn refusals(&self) -> Vec<Failure> {
        let refused = self.left.iter().filter(|line| line.told.is_refused);
        let failure = |line: &Line| {
            Failure::new(ReasonCode::Refused, line.told.service.clone(), line.sentence())
        };
        refused.map(failure).collect()
    }
}

impl Line {
    /// What whoever deploys reads: lower case, no full stop.
    pub fn sentence(&self) -> String {
        let told = &self.told;
        let verb = match (&self.remedy, told.is_refused) {
            (Some(_), _) => "is put right as",
            (None, true) => "is refused by",
            (None, false) => "breaks",
        };
        let place = self.place.as_ref().map(|at| format!(" ({at})")).unwrap_or_default();
        let what = self.remedy.as_ref().map_or_else(|| told.remediation.clone(), Remedy::to_string);
        let (code, message) = (&told.code, &told.message);
        let asks = if self.remedy.is_some() { " asks" } else { "" };
        format!("{verb} `{code}`{}{asks}: {message}{place}; {what}", self.policies())
    }

    /// Which policies say so, when the rule's id alone does not tell.
    fn policies(&self) -> String {
        let is_told = |name: &&str| *name != RULES;
        let names: Vec<&str> = self.told.policies.iter().map(|name| name.as_str()).collect();
        let names: Vec<&str> = names.into_iter().filter(|name| is_told(name)).collect();
        match names[..] {
            [] => String::new(),
            [_] if self.told.code.starts_with("policy.") => String::new(),
            [name] => format!(" of policy `{name}`"),
            _ => format!(" of policies `{}`", names.join("`, `")),
        }
    }

    fn notice(&self) -> Notice {
        Notice {
            code: self.told.code.clone(),
            subject: self.told.service.clone(),
            message: self.sentence(),
        }
    }
}
