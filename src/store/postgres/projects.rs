//! Keeps projects, their stored files, adoptions and exits of one host. Owns their columns. Face:
//! `write` for the writes that look at nothing else, and one function per record that is read.
//! Never stores a file's content unsealed.

use tokio_postgres::Row;

use super::fault::Fault;
use super::flush::{Calls, Owned};
use super::rows::{digest, nanos, optional_parsed, parsed, signed, small, text, time, unsigned};
use super::statements::Sql;
use crate::base::ids::WorkspaceId;
use crate::base::limits::REVISIONS_KEPT_MAX;
use crate::store::{Adoption, ContainerExit, Project, Revision, Write};

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
pub(super) fn write(calls: &mut Calls, host: &str, write: &Write) {
    let mut of_host = |sql, values: Vec<Owned>| {
        let mut all: Vec<Owned> = vec![Box::new(host.to_owned())];
        all.extend(values);
        calls.add(sql, all);
    };
    match write {
        Write::PutProject(project) => of_host(Sql::PutProject, project_values(project)),
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
}

fn project_values(project: &Project) -> Vec<Owned> {
    vec![
        Box::new(project.workspace_id.to_string()),
        Box::new(project.name.clone()),
        Box::new(project.tenant_id.map(|id| id.to_string())),
        Box::new(project.desired.key()),
        Box::new(project.revision_id.map(|id| id.to_string())),
        Box::new(project.deployed_revision_id.map(|id| id.to_string())),
        Box::new(project.spec_digest.map(|digest| digest.to_string())),
        Box::new(nanos(project.created_at)),
        Box::new(nanos(project.updated_at)),
    ]
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
    ];
    calls.add(Sql::RecordExit, values);
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
    })
}
