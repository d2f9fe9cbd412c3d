//! What an engine changes on a container while it runs. Owns which settings these are, how they are
//! compared, and which changes of them an engine cannot make. Face: `LiveSettings`, `is_live`.
//! Never asks an engine.

use super::effective::normalise_resources;
use super::{FieldDifference, RestartPolicy, ServiceSpec};

/// The settings of a container that change without making it anew. `None` is undeclared, or not
/// limited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveSettings {
    /// Hard limit of memory.
    pub memory_bytes: Option<i64>,
    /// Soft limit of memory.
    pub memory_reservation_bytes: Option<i64>,
    /// Memory and swap together; `None` is twice the memory, as the engine fills it in.
    pub memory_swap_bytes: Option<i64>,
    /// Thousand-millionths of a CPU.
    pub nano_cpus: Option<i64>,
    /// Relative weight of CPU time.
    pub cpu_shares: Option<i64>,
    /// Microseconds of CPU time in each period.
    pub cpu_quota_micros: Option<i64>,
    /// Length of a period in microseconds.
    pub cpu_period_micros: Option<i64>,
    /// CPUs that may be used.
    pub cpuset_cpus: Option<String>,
    /// Most processes.
    pub pids_max: Option<i64>,
    /// What the engine does when the container exits.
    pub restart: RestartPolicy,
}

const MEMORY: &str = "resources.memory_bytes";
const RESERVATION: &str = "resources.memory_reservation_bytes";
const SWAP: &str = "resources.memory_swap_bytes";
const CPUS: &str = "resources.nano_cpus";
const SHARES: &str = "resources.cpu_shares";
const QUOTA: &str = "resources.cpu_quota_micros";
const PERIOD: &str = "resources.cpu_period_micros";
const CPUSET: &str = "resources.cpuset_cpus";
const PIDS: &str = "resources.pids_max";
const RESTART: &str = "restart.name";
const RETRIES: &str = "restart.retries_max";

/// Every live field, by its name in a contract.
const LIVE_FIELDS: [&str; 11] =
    [MEMORY, RESERVATION, SWAP, CPUS, SHARES, QUOTA, PERIOD, CPUSET, PIDS, RESTART, RETRIES];

/// Zero or nothing means "as it is" in the engine's call, so that these limits cannot be taken away
/// from a container, only changed.
const NEVER_TAKEN_AWAY: [&str; 7] = [MEMORY, RESERVATION, CPUS, SHARES, QUOTA, PERIOD, CPUSET];

/// Swap without a limit, which is also what an engine reports that cannot limit swap.
const UNLIMITED: i64 = -1;

/// Is this field of a contract changed in place?
pub fn is_live(field: &str) -> bool {
    LIVE_FIELDS.contains(&field)
}

/// Has the engine no way to take this limit away from a container that has it?
pub fn is_never_taken_away(difference: &FieldDifference) -> bool {
    difference.declared.is_none() && NEVER_TAKEN_AWAY.contains(&difference.field.as_str())
}

/// Did an engine that cannot enforce this setting leave it out of a container that was made with
/// it? No later call could have: none takes a limit away.
pub fn is_left_out(difference: &FieldDifference) -> bool {
    let unlimited = UNLIMITED.to_string();
    match (&difference.declared, difference.observed.as_ref()) {
        (Some(_), None) => true,
        (Some(_), Some(observed)) => difference.field == SWAP && *observed == unlimited,
        (None, _) => false,
    }
}

impl LiveSettings {
    /// Those of a contract, in the form in which equal settings are equal.
    pub fn of(spec: &ServiceSpec) -> Self {
        let (resources, restart) = (spec.resources.clone(), spec.restart);
        let mut spec = ServiceSpec { resources, restart, ..ServiceSpec::default() };
        normalise_resources(&mut spec);
        let resources = spec.resources;
        Self {
            memory_bytes: resources.memory_bytes,
            memory_reservation_bytes: resources.memory_reservation_bytes,
            memory_swap_bytes: resources.memory_swap_bytes,
            nano_cpus: resources.nano_cpus,
            cpu_shares: resources.cpu_shares,
            cpu_quota_micros: resources.cpu_quota_micros,
            cpu_period_micros: resources.cpu_period_micros,
            cpuset_cpus: resources.cpuset_cpus,
            pids_max: resources.pids_max,
            restart,
        }
    }

    /// Puts them into a contract in place of its own.
    pub fn write_to(&self, spec: &mut ServiceSpec) {
        let resources = &mut spec.resources;
        resources.memory_bytes = self.memory_bytes;
        resources.memory_reservation_bytes = self.memory_reservation_bytes;
        resources.memory_swap_bytes = self.memory_swap_bytes;
        resources.nano_cpus = self.nano_cpus;
        resources.cpu_shares = self.cpu_shares;
        resources.cpu_quota_micros = self.cpu_quota_micros;
        resources.cpu_period_micros = self.cpu_period_micros;
        resources.cpuset_cpus.clone_from(&self.cpuset_cpus);
        resources.pids_max = self.pids_max;
        spec.restart = self.restart;
    }

    /// What the engine is told of swap: it does not work the default out anew when memory changes.
    pub fn swap_in_full(&self) -> Option<i64> {
        let doubled = self.memory_bytes.and_then(|memory| memory.checked_mul(2));
        self.memory_swap_bytes.or(doubled)
    }

    /// The settings in which a container is not as declared, by name.
    pub fn differences(&self, observed: &Self) -> Vec<FieldDifference> {
        let (ours, theirs) = (self.texts(), observed.texts());
        let mut found = Vec::new();
        for (field, (declared, observed)) in LIVE_FIELDS.iter().zip(ours.into_iter().zip(theirs)) {
            if declared != observed && !(*field == SWAP && self.is_engines_swap(&observed)) {
                found.push(FieldDifference { field: (*field).to_owned(), declared, observed });
            }
        }
        found
    }

    /// Can the engine make this change while the container runs? `differences` are those between
    /// these settings and `observed`.
    pub fn can_be_reached_from(&self, observed: &Self, differences: &[FieldDifference]) -> bool {
        let is_changed = |field: &str| differences.iter().any(|found| found.field == field);
        // The engine keeps one of the two ways to say how much CPU time there is.
        let has_period =
            observed.cpu_quota_micros.is_some() || observed.cpu_period_micros.is_some();
        let is_other_way = (is_changed(CPUS) && has_period)
            || ((is_changed(QUOTA) || is_changed(PERIOD)) && observed.nano_cpus.is_some());
        !is_other_way && !differences.iter().any(is_never_taken_away)
    }

    /// Nothing is declared of swap, and the engine's own value says nothing either.
    fn is_engines_swap(&self, observed: &Option<String>) -> bool {
        let unlimited = UNLIMITED.to_string();
        let is_own = observed.as_ref().is_none_or(|observed| *observed == unlimited);
        self.memory_swap_bytes.is_none() && (self.memory_bytes.is_none() || is_own)
    }

    /// In the order of [`LIVE_FIELDS`].
    fn texts(&self) -> [Option<String>; 11] {
        let number = |value: Option<i64>| value.map(|value| value.to_string());
        let (restart, retries) = match self.restart {
            RestartPolicy::No => ("no", None),
            RestartPolicy::Always => ("always", None),
            RestartPolicy::UnlessStopped => ("unless-stopped", None),
            RestartPolicy::OnFailure { retries_max } => ("on-failure", Some(retries_max)),
        };
        [
            number(self.memory_bytes),
            number(self.memory_reservation_bytes),
            number(self.memory_swap_bytes),
            number(self.nano_cpus),
            number(self.cpu_shares),
            number(self.cpu_quota_micros),
            number(self.cpu_period_micros),
            self.cpuset_cpus.clone(),
            number(self.pids_max),
            Some(restart.to_owned()),
            retries.map(|retries| retries.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(change: impl FnOnce(&mut LiveSettings)) -> LiveSettings {
        let mut settings = LiveSettings { memory_bytes: Some(64), ..LiveSettings::default() };
        change(&mut settings);
        settings
    }

    /// What has to be changed on the one to make it the other, and whether the engine can.
    #[track_caller]
    fn check(observed: LiveSettings, declared: LiveSettings, expect: &[&str], in_place: bool) {
        let found = declared.differences(&observed);
        let fields: Vec<&str> = found.iter().map(|found| found.field.as_str()).collect();
        assert_eq!(fields, expect);
        assert_eq!(declared.can_be_reached_from(&observed, &found), in_place);
    }

    #[test]
    fn every_change_is_named_and_known_to_be_possible_or_not() {
        let plain = || settings(|_| {});
        check(plain(), plain(), &[], true);
        check(plain(), settings(|s| s.memory_bytes = Some(128)), &[MEMORY], true);
        check(plain(), settings(|s| s.memory_bytes = None), &[MEMORY], false);
        check(plain(), settings(|s| s.pids_max = Some(9)), &[PIDS], true);
        check(settings(|s| s.pids_max = Some(9)), plain(), &[PIDS], true);
        check(settings(|s| s.cpu_shares = Some(9)), plain(), &[SHARES], false);
        check(settings(|s| s.cpuset_cpus = Some("0".into())), plain(), &[CPUSET], false);
        let retried = || settings(|s| s.restart = RestartPolicy::OnFailure { retries_max: 3 });
        check(plain(), retried(), &[RESTART, RETRIES], true);
        check(
            retried(),
            settings(|s| s.restart = RestartPolicy::Always),
            &[RESTART, RETRIES],
            true,
        );
    }

    #[test]
    fn one_way_of_saying_cpu_time_does_not_follow_the_other() {
        let cpus = || settings(|s| s.nano_cpus = Some(500));
        let quota = || settings(|s| s.cpu_quota_micros = Some(500));
        check(cpus(), settings(|s| s.nano_cpus = Some(900)), &[CPUS], true);
        check(quota(), settings(|s| s.cpu_quota_micros = Some(900)), &[QUOTA], true);
        check(cpus(), quota(), &[CPUS, QUOTA], false);
        let both = settings(|s| (s.nano_cpus, s.cpu_quota_micros) = (Some(500), Some(500)));
        check(cpus(), both.clone(), &[QUOTA], false);
        check(quota(), both, &[CPUS], false);
    }

    #[test]
    fn swap_that_nobody_declared_is_twice_the_memory_or_the_engines_affair() {
        let swap = |bytes| settings(|s| s.memory_swap_bytes = bytes);
        check(swap(Some(UNLIMITED)), swap(None), &[], true);
        check(swap(Some(512)), swap(None), &[SWAP], true);
        check(swap(None), swap(Some(512)), &[SWAP], true);
        assert_eq!(swap(None).swap_in_full(), Some(128));
        assert_eq!(swap(Some(512)).swap_in_full(), Some(512));
        assert_eq!(LiveSettings::default().swap_in_full(), None);
    }

    #[test]
    fn what_an_engine_leaves_out_is_told_from_what_somebody_changed() {
        let found = |field: &str, observed: Option<&str>| FieldDifference {
            field: field.to_owned(),
            declared: Some("64".to_owned()),
            observed: observed.map(str::to_owned),
        };
        assert!(is_left_out(&found(PIDS, None)) && is_left_out(&found(SWAP, Some("-1"))));
        assert!(!is_left_out(&found(MEMORY, Some("32"))));
    }

    #[test]
    fn the_names_are_those_of_a_contract() {
        let mut spec = ServiceSpec::default();
        settings(|s| s.restart = RestartPolicy::OnFailure { retries_max: 3 }).write_to(&mut spec);
        let named = crate::facts::differences(&ServiceSpec::default(), &spec);
        assert!(named.iter().all(|found| is_live(&found.field)), "{named:?}");
        assert_eq!(named.len(), 3);
        assert_eq!(LiveSettings::of(&spec).memory_bytes, Some(64));
    }
}
