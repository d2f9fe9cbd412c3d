//! Keeps the policies that are in force. Owns what counts now, with the rules of the configuration as one
//! of them. Face: `SharedPolicies`. Never judges: the policies do.

use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::policy::{PolicySet, Rules};

/// The policies that count now. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct SharedPolicies(Arc<RwLock<InForce>>);

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
        Self(Arc::new(RwLock::new(InForce::new(policies, Rules::off()))))
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
        self.0.read().unwrap_or_else(PoisonError::into_inner).whole.clone()
    }

    /// Other policies, for what is asked from now on.
    pub fn replace(&self, policies: PolicySet) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *held = InForce::new(policies, held.rules.clone());
    }

    /// Other rules of the configuration, for what is asked from now on.
    pub fn set_rules(&self, rules: Rules) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *held = InForce::new(held.policies.clone(), rules);
    }
}
