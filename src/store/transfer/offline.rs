//! Reads and moves stores that no agent has open. Owns the order in which a move happens, so that a
//! crash at any point leaves the records in force in one place. Face: `move_to_postgres`,
//! `read_sqlite`, `read_postgres`, `adopt_host`. Never changes the database that is moved.

use std::path::Path;

use super::{Header, Landed, Parts, Progress, Reason, TransferError, moved};
use crate::base::ids::HostId;
use crate::base::{Ambient, Timestamp};
use crate::store::keys::Keys;
use crate::store::{StoreError, host, postgres, sqlite};

/// What a move did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Where the records are now.
    pub place: String,
    /// What came there; none when an earlier move, which was interrupted, had brought it.
    pub landed: Option<Landed>,
    /// Records of the audit log in the old database.
    pub audit_records: u64,
}

/// Moves the records of `<state_dir>/wharf.db` into an empty PostgreSQL database. The old database
/// stays as it is, with a mark that keeps agents away from it.
///
/// # Errors
/// When an agent works on the state directory, the audit log is not whole, or the other database
/// holds something or cannot be written. The old database is in force then; but when it is not known
/// whether the last step was made, the mark stays, and a further move finds out.
pub async fn move_to_postgres(
    opening: &postgres::Opening,
    progress: &Progress,
) -> Result<Moved, TransferError> {
    let state_dir = opening.state_dir.as_path();
    let _agent_lock = host::lock(state_dir)?;
    let place = opening.server.to_string();
    if let Some(mark) = moved::find(state_dir)?.filter(|mark| mark.place != place) {
        let moved::Mark { path, place, is_done } = mark;
        return Err(StoreError::Moved { path, place, is_done }.into());
    }
    let path = state_dir.join("wharf.db");
    let verdict = sqlite::inspect(&path, opening.host_id, opening.keys.audit().public())?;
    if !verdict.breaks.is_empty() {
        let breaks = verdict.breaks.iter().map(ToString::to_string).collect();
        return Err(TransferError::AuditBroken(breaks));
    }
    let audit_records = verdict.records;
    let crash_points = &opening.ambient.crash_points;
    if postgres::arrived(opening, (verdict.last, verdict.head)).await? {
        moved::mark(state_dir, &place, true)?;
        return Ok(Moved { place, landed: None, audit_records });
    }
    moved::mark(state_dir, &place, false)?;
    crash_points.reached("store.move.marked");
    let parts = sqlite::export(sqlite::Reading {
        path,
        host_id: opening.host_id,
        agent_version: opening.agent_version.clone(),
        taken_at: opening.ambient.now(),
    });
    let landed = match postgres::receive(opening, Reason::Move, parts, progress).await {
        Ok(landed) => landed,
        // Whether the commit was made, only the other database knows.
        Err(error @ TransferError::Store(StoreError::Away { .. })) => return Err(error),
        Err(error) => {
            moved::clear(state_dir)?;
            return Err(error);
        }
    };
    crash_points.reached("store.move.arrived");
    moved::mark(state_dir, &place, true)?;
    crash_points.reached("store.move.done");
    Ok(Moved { place, landed: Some(landed), audit_records })
}

/// All records of `<state_dir>/wharf.db`, whether an agent works on it or not.
///
/// # Errors
/// When the host has no id: then it has no database either.
pub fn read_sqlite(state_dir: &Path, ambient: &Ambient) -> Result<Parts, TransferError> {
    let path = state_dir.join("wharf.db");
    let Some(host_id) = host::find(state_dir)? else {
        return Err(TransferError::NoDatabase { path });
    };
    let agent_version = env!("CARGO_PKG_VERSION").to_owned();
    Ok(sqlite::export(sqlite::Reading { path, host_id, agent_version, taken_at: ambient.now() }))
}

/// All records of a PostgreSQL database, whether agents work on it or not.
pub fn read_postgres(server: postgres::Server, taken_at: Timestamp) -> Parts {
    postgres::export(server, taken_at)
}

/// The host of a state directory that takes over records: the one it has, or, when it has none, the
/// one that belongs to its key.
///
/// # Errors
/// When its id cannot be read or kept, or the key belongs to none of the hosts.
pub fn adopt_host(state_dir: &Path, keys: &Keys, header: &Header) -> Result<HostId, TransferError> {
    if let Some(host_id) = host::find(state_dir)? {
        return Ok(host_id);
    }
    let fingerprint = keys.fingerprint().to_string();
    let own = header.hosts.iter().find(|mark| mark.key_fingerprint == fingerprint);
    match (own, header.hosts.first()) {
        (Some(mark), _) => {
            host::keep(state_dir, mark.host_id)?;
            Ok(mark.host_id)
        }
        (None, Some(mark)) => Err(TransferError::OtherKey { host_id: mark.host_id }),
        (None, None) => Err(TransferError::ManyHosts(0)),
    }
}
