//! Says what a work is about to do, before it is done. Owns which writes have rows or statements of their
//! own. Face: `acts`, `expected`, `own_rows`, `has_own_statements`. Never reads or writes anything.

use super::batch::Work;
use crate::base::ids::RevisionId;
use crate::store::Write;
use crate::store::ledger::Act;

/// Whether a write is done at once, with statements of its own.
pub(super) fn has_own_statements(write: &Write) -> bool {
    use Write::{
        Access, Alert, Audit, DropHostedType, Enforcement, Finding, Registry, Scan, Schedule,
    };
    matches!(
        write,
        Schedule(_)
            | Alert(_)
            | Finding(_)
            | Audit(_)
            | Access(_)
            | Registry(_)
            | Enforcement(_)
            | Scan(_)
            | DropHostedType { .. }
    )
}

/// The writes that are rows of their own.
pub(super) fn own_rows(writes: &[Write]) -> Vec<&Write> {
    let is_own = |write: &&Write| {
        matches!(
            write,
            Write::PutHostedType(_)
                | Write::PutQueueControl(_)
                | Write::DropQueueControl { .. }
                | Write::ApplyProject { .. }
                | Write::KeepProject { .. }
                | Write::NoteDeployed { .. }
                | Write::ForgetProject { .. }
                | Write::ForgetVolumes { .. }
                | Write::PutAdoption(_)
                | Write::DropAdoptions { .. }
        )
    };
    writes.iter().filter(is_own).collect()
}

/// Revisions that are there as soon as the work is done.
pub(super) fn expected(work: &Work) -> Vec<RevisionId> {
    let revisions = match work {
        Work::Commit { sealed, .. } => &sealed.revisions,
        Work::Admit(admit) => &admit.sealed.revisions,
        _ => return Vec::new(),
    };
    revisions.iter().map(|sealed| sealed.revision.id).collect()
}

/// What a work is about to do to records, as far as it is known before.
pub(super) fn acts(work: &Work) -> Vec<Act<'_>> {
    match work {
        Work::Commit { writes, .. } => writes.iter().map(Act::Write).collect(),
        Work::Admit(admit) => {
            let insert = Act::Insert { run: &admit.run, supersedes: admit.supersedes };
            let writes = admit.writes.iter().map(Act::Write);
            std::iter::once(insert).chain(writes).collect()
        }
        Work::SignOfLife(sign) => vec![Act::SignOfLife(sign)],
        Work::Step { step, progress } => vec![Act::Progress { run_id: step.run_id, progress }],
        Work::Progress { run_id, progress, .. } => {
            vec![Act::Progress { run_id: *run_id, progress }]
        }
        Work::Check
        | Work::Maintain
        | Work::Claim(_)
        | Work::RegisterAgent(_)
        | Work::Heartbeat { .. }
        | Work::Exit(_)
        | Work::ForgetExits { .. }
        | Work::DoomVolumes { .. }
        | Work::TakeDeliveries(_)
        | Work::KeepAudit(_)
        | Work::ReportDelivery { .. } => Vec::new(),
    }
}
