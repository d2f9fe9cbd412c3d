//! Keeps projects, their stored files, adoptions and exits of one host. Owns their columns. Face:
//! `write` for the writes that look at nothing else, and one function per record that is read.
//! Never stores a file's content unsealed.

use tokio_postgres::Row;

use super::fault::Fault;
use super::flush::{Calls, Owned};
use super::rows::{
    digest, json, nanos, optional_parsed, parsed, signed, small, text, time, to_json, unsigned,
};
use super::server::{Session, Value};
use super::statements::Sql;
use crate::base::ids::WorkspaceId;
use crate::base::limits::REVISIONS_KEPT_MAX;
use crate::store::{Adoption, Conflict, ContainerExit, Project, Revision, Write};

/// A revision with its content sealed: what may leave this host.
#[derive(Debug)]
pub(super) struct SealedRevision {
    pub(super) revision: Revision,
    pub(super) pieces: Vec<Vec<u8>>,
}

/// Stores a bundle.
pub(super) fn put_revision(calls: &mut Calls, host: &str, sealed: &SealedRevision) {
    let revision = &sealed.revision;
    let id = revision.id.to_string();
    let values: Vec<Owned> = vec![
        Box::new(id.clone()),
        Box::new(host.to_owned()),
        Box::new(revision.workspace_id.to_string()),
        Box::new(revision.project.clone()),
        Box::new(revision.digest.to_string()),
        Box::new(signed(revision.size_bytes)),
        Box::new(signed(sealed.pieces.len() as u64)),
        Box::new(nanos(revision.created_at)),
    ];
    calls.add(Sql::InsertRevision, values);
    for (number, piece) in sealed.pieces.iter().enumerate() {
        let values: Vec<Owned> =
            vec![Box::new(id.clone()), Box::new(signed(number as u64)), Box::new(piece.clone())];
        calls.add(Sql::InsertChunk, values);
    }
}

/// Drops bundles of the project that are older than this one and that nothing needs.
pub(super) fn drop_old_revisions(calls: &mut Calls, host: &str, sealed: &SealedRevision) {
    let revision = &sealed.revision;
    let values: Vec<Owned> = vec![
        Box::new(host.to_owned()),
        Box::new(revision.workspace_id.to_string()),
        Box::new(revision.project.clone()),
        Box::new(revision.id.to_string()),
        Box::new(signed(REVISIONS_KEPT_MAX as u64)),
    ];
    calls.add(Sql::DropOldRevisions, values);
}

/// Writes a row that no other write looks at; nothing for a write of another kind.
pub(super) fn write(calls: &mut Calls, host: &str, write: &Write) -> Result<(), Fault> {
    let mut of_host = |sql, values: Vec<Owned>| {
        let mut all: Vec<Owned> = vec![Box::new(host.to_owned())];
        all.extend(values);
        calls.add(sql, all);
    };
    match write {
        Write::ApplyProject { workspace_id, tenant_id, name, revision_id, wanted, at } => of_host(
            Sql::ApplyProject,
            vec![
                Box::new(workspace_id.to_string()),
                Box::new(name.clone()),
                Box::new(tenant_id.map(|id| id.to_string())),
                Box::new(revision_id.to_string()),
                Box::new(to_json(wanted, "wanted services")?),
                Box::new(nanos(*at)),
            ],
        ),
        Write::KeepProject { workspace_id, name, desired, at } => of_host(
            Sql::KeepProject,
            vec![
                Box::new(workspace_id.to_string()),
                Box::new(name.clone()),
                Box::new(desired.key()),
                Box::new(nanos(*at)),
            ],
        ),
        Write::ForgetVolumes { workspace_id, project } => of_host(
            Sql::ForgetVolumes,
            vec![Box::new(workspace_id.to_string()), Box::new(project.clone())],
        ),
        Write::NoteDeployed { workspace_id, name, revision_id, spec_digest, at } => of_host(
            Sql::NoteDeployed,
            vec![
                Box::new(workspace_id.to_string()),
                Box::new(name.clone()),
                Box::new(revision_id.to_string()),
                Box::new(spec_digest.to_string()),
                Box::new(nanos(*at)),
            ],
        ),
        Write::ForgetProject { workspace_id, name } => of_host(
            Sql::ForgetProject,
            vec![Box::new(workspace_id.to_string()), Box::new(name.clone())],
        ),
        Write::PutAdoption(adoption) => of_host(
            Sql::PutAdoption,
            vec![
                Box::new(adoption.workspace_id.to_string()),
                Box::new(adoption.project.clone()),
                Box::new(adoption.service.clone()),
                Box::new(i64::from(adoption.number)),
                Box::new(adoption.container_id.clone()),
                Box::new(adoption.spec_hash.to_string()),
                Box::new(nanos(adoption.adopted_at)),
            ],
        ),
        Write::DropAdoptions { workspace_id, project } => of_host(
            Sql::DropAdoptions,
            vec![Box::new(workspace_id.to_string()), Box::new(project.clone())],
        ),
        _ => {}
    }
    Ok(())
}

/// Housekeeping: the latest exit of a container.
pub(super) fn record_exit(calls: &mut Calls, host: &str, exit: &ContainerExit) {
    let values: Vec<Owned> = vec![
        Box::new(host.to_owned()),
        Box::new(exit.workspace_id.to_string()),
        Box::new(exit.project.clone()),
        Box::new(exit.service.clone()),
        Box::new(i64::from(exit.number)),
        Box::new(exit.container_id.clone()),
        Box::new(exit.exit_code),
        Box::new(signed(exit.count)),
        Box::new(nanos(exit.seen_at)),
        Box::new(exit.ended.key()),
    ];
    calls.add(Sql::RecordExit, values);
}

/// Checks the conditions among the writes of a caller that are on projects, and that no equal files
/// are stored already. The host's projects have one writer, and this transaction is the caller's
/// own.
pub(super) async fn expect(
    session: &Session,
    host: &str,
    writes: &[Write],
    revisions: &[SealedRevision],
) -> Result<(), Fault> {
    let changed = |noun, id| Fault::from(Conflict::Changed { noun, id });
    for SealedRevision { revision, .. } in revisions {
        let workspace = revision.workspace_id.to_string();
        let digest = revision.digest.to_string();
        let values: [Value<'_>; 4] = [&host, &workspace, &revision.project, &digest];
        if let Some(equal) = session.query(Sql::RevisionByDigest, &values).await?.first() {
            return Err(changed("revision", text(equal, 0)?));
        }
    }
    for write in writes {
        let (workspace, name) = match write {
            Write::ExpectProject { workspace_id, name, .. }
            | Write::ExpectNoProject { workspace_id, name } => (workspace_id.to_string(), name),
            _ => continue,
        };
        let found = session.query(Sql::Project, &[&host, &workspace, name]).await?;
        let found = found.first().map(project).transpose()?;
        let is_so = match (write, found) {
            (Write::ExpectProject { desired, revision_id, wanted, .. }, Some(found)) => {
                (found.desired, found.revision_id) == (*desired, *revision_id)
                    && found.wanted == *wanted
            }
            (_, found) => matches!(write, Write::ExpectNoProject { .. }) && found.is_none(),
        };
        if !is_so {
            return Err(changed("project", name.clone()));
        }
    }
    Ok(())
}

/// Housekeeping about containers and volumes of a project: these names, for that statement.
pub(super) fn note_names(
    calls: &mut Calls,
    sql: Sql,
    host: &str,
    (workspace, project): (WorkspaceId, &str),
    names: &[String],
) {
    let values: Vec<Owned> = vec![
        Box::new(host.to_owned()),
        Box::new(workspace.to_string()),
        Box::new(project.to_owned()),
        Box::new(names.to_vec()),
    ];
    calls.add(sql, values);
}

pub(super) fn revision(row: &Row) -> Result<Revision, Fault> {
    Ok(Revision {
        id: parsed(row, 0, "revision id")?,
        workspace_id: parsed(row, 1, "workspace id")?,
        project: text(row, 2)?,
        digest: digest(row.try_get(3)?)?,
        size_bytes: unsigned(row, 4)?,
        created_at: time(row, 5)?,
    })
}

pub(super) fn project(row: &Row) -> Result<Project, Fault> {
    Ok(Project {
        workspace_id: parsed(row, 0, "workspace id")?,
        tenant_id: optional_parsed(row, 1, "tenant id")?,
        name: text(row, 2)?,
        desired: parsed(row, 3, "desired state")?,
        revision_id: optional_parsed(row, 4, "revision id")?,
        deployed_revision_id: optional_parsed(row, 5, "revision id")?,
        spec_digest: row.try_get::<_, Option<&str>>(6)?.map(digest).transpose()?,
        created_at: time(row, 7)?,
        updated_at: time(row, 8)?,
        wanted: json(row, 9, "wanted services")?,
    })
}

/// The sealed content of a bundle, piece by piece; nothing when there is no such bundle.
pub(super) fn pieces(rows: &[Row]) -> Result<Option<Vec<Vec<u8>>>, Fault> {
    let Some(first) = rows.first() else { return Ok(None) };
    let expected = unsigned(first, 0)?;
    let mut pieces = Vec::with_capacity(rows.len());
    for row in rows {
        pieces.extend(row.try_get::<_, Option<Vec<u8>>>(1)?);
    }
    if pieces.len() as u64 != expected {
        let reason = format!("{} of its {expected} pieces are there", pieces.len());
        return Err(Fault::unreadable("revision", reason));
    }
    Ok(Some(pieces))
}

pub(super) fn adoption(
    workspace_id: WorkspaceId,
    project: &str,
    row: &Row,
) -> Result<Adoption, Fault> {
    Ok(Adoption {
        workspace_id,
        project: project.to_owned(),
        service: text(row, 0)?,
        number: small(row, 1)?,
        container_id: text(row, 2)?,
        spec_hash: digest(row.try_get(3)?)?,
        adopted_at: time(row, 4)?,
    })
}

pub(super) fn exit(
    workspace_id: WorkspaceId,
    project: &str,
    row: &Row,
) -> Result<ContainerExit, Fault> {
    Ok(ContainerExit {
        workspace_id,
        project: project.to_owned(),
        service: text(row, 0)?,
        number: small(row, 1)?,
        container_id: text(row, 2)?,
        exit_code: row.try_get(3)?,
        count: unsigned(row, 4)?,
        seen_at: time(row, 5)?,
        ended: parsed(row, 6, "kind of exit")?,
    })
}
