//! Drafts the commands that are hooked to starts and stops. Owns where they stand: a start is over
//! with its last hook, a stop waits for its own to end, well or not. Face: `insert`, `rest`. Never
//! drafts one for a service that is not declared, for a container that does not run, or where a
//! container comes back because its replacement failed: what is declared now is not what it was.

use super::drafting::{Draft, Drafted};
use super::{Action, Cause, Observed, Target};
use crate::facts::{ContainerState, HookKind, ProjectSpec, ServiceUnit};

/// Puts the hooks around every start, stop and restart of the draft, which is complete otherwise.
pub(super) fn insert(draft: &mut Draft, desired: &ProjectSpec, observed: &Observed) {
    let runs = |target: &Target| {
        let mut containers = observed.containers.iter();
        let found = containers.find(|container| target.id.as_ref() == Some(&container.id));
        found.is_some_and(|found| found.state == ContainerState::Running)
    };
    let hooked = draft.steps().filter(|(.., cause)| **cause != Cause::ReplacementFailed);
    let hooked = hooked.filter_map(|(step, action, subject, cause)| {
        let (target, stops, starts) = match action {
            Action::StartContainer { container } => (container, false, true),
            Action::StopContainer { container } => (container, true, false),
            Action::RestartContainer { container } => (container, true, true),
            _ => return None,
        };
        let unit = desired.services.get(&target.instance.service)?;
        let about = (unit, target.clone(), subject.to_owned(), cause.clone());
        Some((step, about, stops && runs(target), starts))
    });
    for (step, (unit, target, subject, cause), stops, starts) in hooked.collect::<Vec<_>>() {
        let chain =
            |kind, draft: &mut Draft| add(draft, (unit, kind, 0), &target, (&subject, &cause));
        if stops {
            let chain = chain(HookKind::PreStop, draft);
            draft.put_in_front(step, &chain);
        }
        if starts {
            let chain = chain(HookKind::PostStart, draft);
            draft.put_behind(step, &chain);
        }
    }
}

/// The hooks of a start that is over, from that one on; answers with the last.
pub(super) fn rest(
    draft: &mut Draft,
    (unit, first): (&ServiceUnit, usize),
    target: &Target,
    subject: &str,
) -> Option<Drafted> {
    let chain = add(draft, (unit, HookKind::PostStart, first), target, (subject, &Cause::HooksDue));
    for pair in chain.windows(2) {
        draft.need(pair[1], [pair[0]]);
    }
    chain.last().copied()
}

fn add(
    draft: &mut Draft,
    (unit, hook, first): (&ServiceUnit, HookKind, usize),
    target: &Target,
    (subject, cause): (&str, &Cause),
) -> Vec<Drafted> {
    let indices = first..unit.hooks(hook).len();
    let step = |index| {
        let action = Action::RunHook { container: target.clone(), hook, index };
        draft.add(action, subject, cause.clone())
    };
    indices.map(step).collect()
}
