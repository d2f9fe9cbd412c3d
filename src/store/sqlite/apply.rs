//! Applies the writes of one caller: those that the ledger decides, and rows that it knows nothing
//! of. Owns their order. Face: `apply`, `Prepared`. Never commits.

use super::alerts::{self, SealedReceiver};
use super::audit_keeping;
use super::fault::Fault;
use super::load::Session;
use super::projects::{self, SealedRevision};
use super::registries::{self, SealedLogin};
use super::{access, enforcement, findings, queue, scans, schedules};
use crate::store::Write;
use crate::store::ledger::{Act, Ledger};

/// A write whose content is sealed.
pub(super) enum Prepared {
    Plain(Write),
    Revision(SealedRevision),
    Receiver(SealedReceiver),
    Login(SealedLogin),
}

/// Applies the writes of one caller in their order, and writes out what came of them.
pub(super) fn apply(
    session: &mut Session<'_>,
    ledger: &mut Ledger,
    writes: &[Prepared],
) -> Result<(), Fault> {
    for prepared in writes {
        let write = match prepared {
            Prepared::Revision(sealed) => {
                session.flush(ledger)?;
                projects::put_revision(session.connection, sealed)?;
                continue;
            }
            Prepared::Receiver(sealed) => {
                alerts::put_receiver(session.connection, sealed)?;
                continue;
            }
            Prepared::Login(sealed) => {
                registries::put_login(session.connection, sealed)?;
                continue;
            }
            Prepared::Plain(write) => write,
        };
        session.load(ledger, Act::Write(write))?;
        ledger.apply(write)?;
        if apply_rows(session, ledger, write)? {
            session.cache.invalidate();
        }
    }
    session.flush(ledger)
}

/// Writes rows that the ledger knows nothing of; they may look at its runs. True when something
/// changed that is kept in memory.
fn apply_rows(
    session: &mut Session<'_>,
    ledger: &mut Ledger,
    write: &Write,
) -> Result<bool, Fault> {
    let connection = session.connection;
    match write {
        Write::PutHostedType(hosted) => {
            queue::put_hosted_type(connection, hosted)?;
            return Ok(true);
        }
        Write::DropHostedType { workspace_id, name } => {
            queue::drop_hosted_type(connection, *workspace_id, *name)?;
            return Ok(true);
        }
        Write::PutQueueControl(control) => {
            queue::put_control(connection, control)?;
            return Ok(true);
        }
        Write::DropQueueControl { workspace_id, scope } => {
            queue::drop_control(connection, *workspace_id, *scope)?;
            return Ok(true);
        }
        Write::Schedule(write) => schedules::write(connection, write)?,
        Write::Alert(write) => alerts::write(connection, write)?,
        Write::Finding(write) => findings::write(connection, write)?,
        Write::Audit(write) => audit_keeping::write(connection, write)?,
        Write::Access(write) => access::write(connection, write)?,
        Write::Registry(write) => registries::write(connection, write)?,
        Write::Enforcement(write) => enforcement::write(connection, write)?,
        Write::Scan(write) => scans::write(connection, write)?,
        Write::ExpectProject { workspace_id, name, desired, revision_id, wanted } => {
            let files = (*revision_id, wanted);
            projects::expect(connection, *workspace_id, name, *desired, files)?;
        }
        Write::ExpectNoProject { workspace_id, name } => {
            projects::expect_none(connection, *workspace_id, name)?;
        }
        Write::ApplyProject { workspace_id, tenant_id, name, revision_id, wanted, at } => {
            let files = (*revision_id, wanted);
            projects::apply(connection, *workspace_id, *tenant_id, name, files, *at)?;
        }
        Write::KeepProject { workspace_id, name, desired, at } => {
            projects::keep(connection, *workspace_id, name, *desired, *at)?;
        }
        Write::NoteDeployed { workspace_id, name, revision_id, spec_digest, at } => {
            let deployed = (*revision_id, *spec_digest);
            projects::note_deployed(connection, *workspace_id, name, deployed, *at)?;
        }
        Write::ForgetProject { workspace_id, name } => {
            session.flush(ledger)?;
            projects::forget(connection, *workspace_id, name)?;
        }
        Write::ForgetVolumes { workspace_id, project } => {
            projects::forget_volumes(connection, *workspace_id, project)?;
        }
        Write::PutAdoption(adoption) => projects::put_adoption(connection, adoption)?,
        Write::DropAdoptions { workspace_id, project } => {
            projects::drop_adoptions(connection, *workspace_id, project)?;
        }
        Write::PutRevision(_) => {
            return Err(Fault::unreadable("revision", "its content is not sealed"));
        }
        _ => {}
    }
    Ok(false)
}
