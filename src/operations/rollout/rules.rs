//! Asks the rules about a declared project. Owns which stage counts, what is a notice and what stops
//! a deploy. Face: `SharedRules`, `Rollout::preview_judged`, `Rollout::refusals`. Never judges: the policy
//! does.

use std::sync::{Arc, PoisonError, RwLock};

use super::{Declared, Preview, PreviewError, Rollout};
use crate::base::ids::TenantId;
use crate::domain::access::Stage;
use crate::domain::policy::{Action, Judgement, Rules, Subject, Verdict, judge_by_rules};
use crate::domain::rollout::{Notice, Observed, PlanOptions};
use crate::domain::runs::{Failure, ReasonCode};
use crate::store::{Scope, StoreError};

/// The rules that count now; a reload of the configuration changes them. Cheap to clone.
#[derive(Clone)]
pub struct SharedRules(Arc<RwLock<Rules>>);

impl SharedRules {
    /// These rules.
    pub fn new(rules: Rules) -> Self {
        Self(Arc::new(RwLock::new(rules)))
    }

    /// Other rules, for what is asked from now on.
    pub fn set(&self, rules: Rules) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// Whether anything at all stops a deploy.
    pub fn deny_anything(&self) -> bool {
        self.now().deny_anything()
    }

    fn now(&self) -> Rules {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What breaks a rule, and what is done about it.
struct Broken {
    judgement: Judgement,
    message: String,
    /// `compose.yaml:3:5`, when a file says it.
    place: Option<String>,
    is_denied: bool,
}

impl Rollout {
    /// What breaks a rule in the stage of this tenant, as far as the images that were observed tell.
    async fn broken(
        &self,
        tenant: Option<TenantId>,
        declared: &Declared,
        observed: &Observed,
    ) -> Result<Vec<Broken>, StoreError> {
        let rules = self.rules.now();
        if Stage::ALL.iter().all(|stage| rules.is_off(*stage)) {
            return Ok(Vec::new());
        }
        let stage = self.stage(tenant).await?;
        let is_wanted =
            |service: &str| declared.wanted.as_ref().is_none_or(|wanted| wanted.contains(service));
        let mut broken = Vec::new();
        for (service, unit) in declared.spec.services.iter().filter(|(name, _)| is_wanted(name)) {
            let model = declared.model.as_deref();
            let subject = Subject {
                is_built: unit.build.is_some(),
                image: observed.images.get(&unit.spec.image),
                literals: model.and_then(|model| model.literals(service)),
                ..Subject::new(service, &unit.spec)
            };
            for judgement in judge_by_rules(&subject) {
                let action = rules.action(stage, judgement.check.id);
                let Verdict::Fail { message, at } = &judgement.verdict else { continue };
                if action == Action::Off {
                    continue;
                }
                let path: Vec<&str> = at.iter().map(String::as_str).collect();
                let place = model.and_then(|model| model.place(service, &path));
                let place = place.map(|at| format!("{}:{}:{}", at.file, at.line, at.column));
                let message = message.clone();
                let is_denied = action == Action::Deny;
                broken.push(Broken { judgement, message, place, is_denied });
            }
        }
        Ok(broken)
    }

    /// What a tenant is for; what nobody says so of is what people depend on.
    async fn stage(&self, tenant: Option<TenantId>) -> Result<Stage, StoreError> {
        let id = tenant.unwrap_or(self.store.scope().tenant_id);
        let directory = self.store.access().await?;
        let found = directory.tenants.iter().find(|tenant| tenant.id == id);
        Ok(found.map_or(Stage::Production, |tenant| tenant.stage))
    }

    /// A preview whose plan says which rules the files break.
    ///
    /// # Errors
    /// When the engine or the store cannot be read, or no plan is possible.
    pub async fn preview_judged(
        &self,
        scope: &Scope,
        declared: &Declared,
        options: &PlanOptions,
    ) -> Result<Preview, PreviewError> {
        let mut preview = self.preview(scope.workspace_id, declared, options).await?;
        let broken = self.broken(Some(scope.tenant_id), declared, &preview.observed).await;
        let notice = |broken: Broken| Notice {
            code: broken.judgement.check.id.code().to_owned(),
            subject: broken.judgement.service.clone(),
            message: broken.sentence(),
        };
        let notices = broken.map_err(PreviewError::Store)?.into_iter().map(notice);
        preview.plan.notices.extend(notices);
        Ok(preview)
    }

    /// What the rules do not let be deployed.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn refusals(
        &self,
        tenant: Option<TenantId>,
        declared: &Declared,
        observed: &Observed,
    ) -> Result<Vec<Failure>, StoreError> {
        let broken = self.broken(tenant, declared, observed).await?;
        let denied = broken.into_iter().filter(|broken| broken.is_denied);
        let failure = |broken: Broken| {
            let service = broken.judgement.service.clone();
            Failure::new(ReasonCode::Refused, service, broken.sentence())
        };
        Ok(denied.map(failure).collect())
    }
}

impl Broken {
    fn sentence(&self) -> String {
        let check = self.judgement.check;
        let verb = if self.is_denied { "is refused by" } else { "breaks" };
        let place = self.place.as_ref().map(|at| format!(" ({at})")).unwrap_or_default();
        let (id, message) = (check.id.code(), &self.message);
        format!("{verb} `{id}`: {message}{place}; {}", check.remediation)
    }
}
