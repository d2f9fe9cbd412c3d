//! Checks of limits. Owns what counts as one. Face: `CHECKS`. Never demands a number: that there is
//! a limit is what counts, except where a number is none.

use super::{Check, CheckId, Parameters, Subject, Verdict, fail, quoted};
use crate::domain::alerts::Severity;
use crate::domain::policy::{LiveChange, Remedy, SpecChange};
use crate::facts;

pub(super) const CHECKS: [Check; 5] = [
    Check {
        id: CheckId::MemoryLimit,
        title: "Memory is limited",
        severity: Severity::Medium,
        rationale: "A service without a limit takes the memory of all others, and the kernel then \
                    ends processes of its choice.",
        remediation: "declare `deploy.resources.limits.memory`",
        cis: &["5.11"],
        judge: memory_limit,
        remedy: Some(limit_memory),
    },
    Check {
        id: CheckId::CpuLimit,
        title: "CPU time is limited or weighted",
        severity: Severity::Low,
        rationale: "One busy service slows all others down.",
        remediation: "declare `deploy.resources.limits.cpus`, or `cpu_shares`",
        cis: &["5.12"],
        judge: cpu_limit,
        remedy: Some(limit_cpu),
    },
    Check {
        id: CheckId::PidsLimit,
        title: "The number of processes is limited",
        severity: Severity::Medium,
        rationale: "A service that starts processes without end takes all numbers that the kernel \
                    has for them: nothing on the host can be started any more.",
        remediation: "declare `deploy.resources.limits.pids`",
        cis: &["5.29"],
        judge: pids_limit,
        remedy: Some(limit_pids),
    },
    Check {
        id: CheckId::Ulimits,
        title: "Process limits are not raised without bound",
        severity: Severity::Low,
        rationale: "What the host's default keeps from everybody, one container then takes.",
        remediation: "lower it in `ulimits`, or allow more with `ulimits_max`",
        cis: &["5.19"],
        judge: ulimits,
        remedy: Some(remove_ulimits),
    },
    Check {
        id: CheckId::RestartPolicy,
        title: "Restarts are bounded",
        severity: Severity::Low,
        rationale: "A container that fails again and again, because it is attacked or broken, is \
                    restarted for ever and nobody looks.",
        remediation: "declare `restart: on-failure:5`, or except services that have to be kept up",
        cis: &["5.15"],
        judge: restart_policy,
        remedy: Some(bound_restarts),
    },
];

const LIMITS: [&str; 3] = ["deploy", "resources", "limits"];

fn is_set(limit: Option<i64>) -> bool {
    limit.is_some_and(|limit| limit > 0)
}

fn memory_limit(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    match is_set(subject.spec.resources.memory_bytes) {
        true => Verdict::Pass,
        false => fail("its memory is not limited", &LIMITS),
    }
}

fn limit_memory(subject: &Subject<'_>, parameters: &Parameters) -> Option<Remedy> {
    let memory_bytes = Some(parameters.memory_bytes?);
    let is_wrong = !is_set(subject.spec.resources.memory_bytes);
    is_wrong.then(|| Remedy::Live(LiveChange { memory_bytes, ..LiveChange::default() }))
}

/// The weight that everybody has.
const CPU_SHARES_DEFAULT: i64 = 1024;

fn cpu_limit(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    let resources = &subject.spec.resources;
    let is_weighted =
        resources.cpu_shares.is_some_and(|shares| shares > 0 && shares != CPU_SHARES_DEFAULT);
    let is_pinned = resources.cpuset_cpus.as_ref().is_some_and(|cpus| !cpus.is_empty());
    let is_limited = is_set(resources.nano_cpus) || is_set(resources.cpu_quota_micros);
    match is_limited || is_weighted || is_pinned {
        true => Verdict::Pass,
        false => fail("its CPU time is neither limited nor weighted", &LIMITS),
    }
}

fn limit_cpu(subject: &Subject<'_>, parameters: &Parameters) -> Option<Remedy> {
    let nano_cpus = Some(parameters.nano_cpus?);
    let is_wrong = cpu_limit(subject, parameters) != Verdict::Pass;
    is_wrong.then(|| Remedy::Live(LiveChange { nano_cpus, ..LiveChange::default() }))
}

fn pids_limit(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    match is_set(subject.spec.resources.pids_max) {
        true => Verdict::Pass,
        false => fail("the number of its processes is not limited", &LIMITS),
    }
}

fn limit_pids(subject: &Subject<'_>, parameters: &Parameters) -> Option<Remedy> {
    let is_wrong = !is_set(subject.spec.resources.pids_max);
    let pids_max = Some(parameters.pids_max);
    is_wrong.then(|| Remedy::Live(LiveChange { pids_max, ..LiveChange::default() }))
}

/// Names of process limits that are above what they may be; a negative number is no limit.
fn raised<'a>(subject: &Subject<'a>, parameters: &Parameters) -> Vec<&'a str> {
    let limits = subject.spec.resources.ulimits.iter();
    let is_raised = |(name, limit): &(&String, &facts::Ulimit)| {
        let max = parameters.ulimits_max.get(*name);
        let is_above = |value: i64, max: i64| max >= 0 && (value < 0 || value > max);
        max.is_some_and(|max| is_above(limit.soft, *max) || is_above(limit.hard, *max))
    };
    limits.filter(is_raised).map(|(name, _)| name.as_str()).collect()
}

fn ulimits(subject: &Subject<'_>, parameters: &Parameters) -> Verdict {
    let found = raised(subject, parameters);
    match found.as_slice() {
        [] => Verdict::Pass,
        [first, ..] => fail(
            format!("it raises {} without bound", quoted(found.iter().copied())),
            &["ulimits", first],
        ),
    }
}

fn remove_ulimits(subject: &Subject<'_>, parameters: &Parameters) -> Option<Remedy> {
    let names = raised(subject, parameters).into_iter();
    let changes: Vec<SpecChange> =
        names.map(|name| SpecChange::RemoveUlimit(name.to_owned())).collect();
    (!changes.is_empty()).then_some(Remedy::Recreate(changes))
}

fn restart_policy(subject: &Subject<'_>, parameters: &Parameters) -> Verdict {
    let at = &["restart"];
    let max = parameters.restart_retries_max;
    match subject.spec.restart {
        facts::RestartPolicy::No => Verdict::Pass,
        facts::RestartPolicy::OnFailure { retries_max: 0 } => {
            fail("it is restarted after failures without end", at)
        }
        facts::RestartPolicy::OnFailure { retries_max } if retries_max > max => {
            fail(format!("it is restarted after failures more than {max} times"), at)
        }
        facts::RestartPolicy::OnFailure { .. } => Verdict::Pass,
        facts::RestartPolicy::Always | facts::RestartPolicy::UnlessStopped => {
            fail("it is restarted without end", at)
        }
    }
}

fn bound_restarts(subject: &Subject<'_>, parameters: &Parameters) -> Option<Remedy> {
    let is_wrong = restart_policy(subject, parameters) != Verdict::Pass;
    // Zero would be no bound.
    let restart = match parameters.restart_retries_max {
        0 => facts::RestartPolicy::No,
        retries_max => facts::RestartPolicy::OnFailure { retries_max },
    };
    let change = LiveChange { restart: Some(restart), ..LiveChange::default() };
    is_wrong.then_some(Remedy::Live(change))
}
