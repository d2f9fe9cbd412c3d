//! Keeps projects, their stored files, adoptions and exits. Owns those tables. Face: one function
//! per write or reading. Never stores a file's content unsealed.

use rusqlite::{Connection, Row, params};

use super::fault::Fault;
use super::rows::{json, nanos, optional_parsed, parsed, signed, small, time, to_json, unsigned};
use crate::base::ids::{RevisionId, TenantId, WorkspaceId};
use crate::base::limits::REVISIONS_KEPT_MAX;
use crate::base::{Digest, Timestamp};
use crate::domain::runs::Wanted;
use crate::store::{Adoption, Conflict, ContainerExit, Desired, Project, Revision};

/// A revision with its content sealed: what may go to the disk.
pub(super) struct SealedRevision {
    pub(super) revision: Revision,
    pub(super) pieces: Vec<Vec<u8>>,
}

/// Runs that are not completed need the files that they name.
const NEEDED_BY_RUNS: &str = "SELECT json_extract(context, '$.inputs.revision_id') FROM runs
    WHERE status <> 'completed' AND json_extract(context, '$.inputs.revision_id') IS NOT NULL
    UNION SELECT json_extract(layer.value, '$.revision_id')
    FROM runs, json_each(runs.context, '$.inputs.wanted.beneath') AS layer
    WHERE status <> 'completed'";
const NEEDED_BY_PROJECTS: &str = "SELECT revision_id FROM projects WHERE revision_id IS NOT NULL
    UNION SELECT deployed_revision_id FROM projects WHERE deployed_revision_id IS NOT NULL
    UNION SELECT json_extract(layer.value, '$.revision_id')
    FROM projects, json_each(projects.wanted, '$.beneath') AS layer";

/// Stores a bundle, and drops old ones of the project that nothing needs.
pub(super) fn put_revision(connection: &Connection, sealed: &SealedRevision) -> Result<(), Fault> {
    let revision = &sealed.revision;
    let equal =
        revision_by_digest(connection, revision.workspace_id, &revision.project, revision.digest)?;
    if let Some(equal) = equal {
        return Err(Conflict::Changed { noun: "revision", id: equal.id.to_string() }.into());
    }
    let id = revision.id.to_string();
    let workspace = revision.workspace_id.to_string();
    connection
        .prepare_cached(
            "INSERT INTO revisions (id, workspace_id, project, digest, size_bytes, chunks,
                 created_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            id,
            workspace,
            revision.project,
            revision.digest.to_string(),
            signed(revision.size_bytes),
            signed(sealed.pieces.len() as u64),
            nanos(revision.created_at),
        ])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO revision_chunks (revision_id, number, sealed) VALUES (?, ?, ?)",
    )?;
    for (number, piece) in sealed.pieces.iter().enumerate() {
        insert.execute(params![id, signed(number as u64), piece])?;
    }
    connection
        .prepare_cached(&format!(
            "DELETE FROM revisions WHERE workspace_id = ?1 AND project = ?2 AND id <> ?3
             AND id NOT IN ({NEEDED_BY_RUNS}) AND id NOT IN ({NEEDED_BY_PROJECTS})
             AND id NOT IN (SELECT id FROM revisions WHERE workspace_id = ?1 AND project = ?2
                 ORDER BY created_at DESC, id DESC LIMIT ?4)"
        ))?
        .execute(params![workspace, revision.project, id, signed(REVISIONS_KEPT_MAX as u64)])?;
    Ok(())
}

const REVISION: &str =
    "SELECT id, workspace_id, project, digest, size_bytes, created_at FROM revisions";

fn revision(row: &Row<'_>) -> Result<Revision, Fault> {
    Ok(Revision {
        id: parsed(row, 0, "revision id")?,
        workspace_id: parsed(row, 1, "workspace id")?,
        project: row.get(2)?,
        digest: digest(&row.get::<_, String>(3)?)?,
        size_bytes: unsigned(row, 4)?,
        created_at: time(row, 5)?,
    })
}

fn digest(text: &str) -> Result<Digest, Fault> {
    Digest::from_hex(text).ok_or_else(|| Fault::unreadable("digest", "64 digits are expected"))
}

/// One stored bundle.
pub(super) fn find_revision(
    connection: &Connection,
    id: RevisionId,
) -> Result<Option<Revision>, Fault> {
    let mut statement = connection.prepare_cached(&format!("{REVISION} WHERE id = ?"))?;
    let mut rows = statement.query([id.to_string()])?;
    rows.next()?.map(revision).transpose()
}

/// The newest stored bundle with this digest.
pub(super) fn revision_by_digest(
    connection: &Connection,
    workspace: WorkspaceId,
    project: &str,
    digest: Digest,
) -> Result<Option<Revision>, Fault> {
    let mut statement = connection.prepare_cached(&format!(
        "{REVISION} WHERE workspace_id = ? AND project = ? AND digest = ?
         ORDER BY created_at DESC LIMIT 1"
    ))?;
    let mut rows = statement.query(params![workspace.to_string(), project, digest.to_string()])?;
    rows.next()?.map(revision).transpose()
}

/// The sealed content of a bundle.
pub(super) fn sealed_content(
    connection: &Connection,
    id: RevisionId,
) -> Result<Vec<Vec<u8>>, Fault> {
    let missing = || Fault::from(Conflict::Missing { noun: "revision", id: id.to_string() });
    let mut statement = connection.prepare_cached("SELECT chunks FROM revisions WHERE id = ?")?;
    let mut rows = statement.query([id.to_string()])?;
    let expected = unsigned(rows.next()?.ok_or_else(missing)?, 0)?;
    let mut statement = connection.prepare_cached(
        "SELECT sealed FROM revision_chunks WHERE revision_id = ? ORDER BY number",
    )?;
    let pieces = statement
        .query_map([id.to_string()], |row| row.get(0))?
        .collect::<Result<Vec<Vec<u8>>, _>>()?;
    if pieces.len() as u64 != expected {
        let reason = format!("{} of its {expected} pieces are there", pieces.len());
        return Err(Fault::unreadable("revision", reason));
    }
    Ok(pieces)
}

/// A condition: the project is still kept at this, with these services of these files.
pub(super) fn expect(
    connection: &Connection,
    workspace: WorkspaceId,
    name: &str,
    desired: Desired,
    (revision, wanted): (Option<RevisionId>, &Wanted),
) -> Result<(), Fault> {
    let found = find(connection, workspace, name)?;
    let is_so = |found: Project| {
        (found.desired, found.revision_id) == (desired, revision) && found.wanted == *wanted
    };
    if found.is_some_and(is_so) { Ok(()) } else { Err(changed(name)) }
}

/// A condition: there is still no such project.
pub(super) fn expect_none(
    connection: &Connection,
    workspace: WorkspaceId,
    name: &str,
) -> Result<(), Fault> {
    if find(connection, workspace, name)?.is_none() { Ok(()) } else { Err(changed(name)) }
}

fn changed(name: &str) -> Fault {
    Conflict::Changed { noun: "project", id: name.to_owned() }.into()
}

/// Keeps a project as these files declare; when it was first applied stays.
pub(super) fn apply(
    connection: &Connection,
    workspace: WorkspaceId,
    tenant: Option<TenantId>,
    name: &str,
    (revision, wanted): (RevisionId, &Wanted),
    at: Timestamp,
) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "INSERT INTO projects (workspace_id, name, tenant_id, desired, revision_id, wanted,
                 created_at, updated_at)
             VALUES (?1, ?2, ?3, 'running', ?4, ?5, ?6, ?6)
             ON CONFLICT (workspace_id, name) DO UPDATE SET
                 desired = excluded.desired, revision_id = excluded.revision_id,
                 wanted = excluded.wanted, updated_at = excluded.updated_at",
        )?
        .execute(params![
            workspace.to_string(),
            name,
            tenant.map(|id| id.to_string()),
            revision.to_string(),
            to_json(wanted, "wanted services")?,
            nanos(at),
        ])?;
    Ok(())
}

/// Changes what a project is kept at.
pub(super) fn keep(
    connection: &Connection,
    workspace: WorkspaceId,
    name: &str,
    desired: Desired,
    at: Timestamp,
) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "UPDATE projects SET desired = ?, updated_at = ? WHERE workspace_id = ? AND name = ?",
        )?
        .execute(params![desired.key(), nanos(at), workspace.to_string(), name])?;
    Ok(())
}

/// Notes down what of a project was brought up wholly.
pub(super) fn note_deployed(
    connection: &Connection,
    workspace: WorkspaceId,
    name: &str,
    (revision, digest): (RevisionId, Digest),
    at: Timestamp,
) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "UPDATE projects SET deployed_revision_id = ?, spec_digest = ?, updated_at = ?
             WHERE workspace_id = ? AND name = ?",
        )?
        .execute(params![
            revision.to_string(),
            digest.to_string(),
            nanos(at),
            workspace.to_string(),
            name,
        ])?;
    Ok(())
}

/// Forgets a project that is to be gone. One that was applied again meanwhile stays, with nothing
/// of it deployed.
pub(super) fn forget(
    connection: &Connection,
    workspace: WorkspaceId,
    name: &str,
) -> Result<(), Fault> {
    let workspace = workspace.to_string();
    let gone = connection
        .prepare_cached(
            "DELETE FROM projects WHERE workspace_id = ? AND name = ? AND desired = 'removed'",
        )?
        .execute(params![workspace, name])?;
    if gone == 0 {
        connection
            .prepare_cached(
                "UPDATE projects SET deployed_revision_id = NULL, spec_digest = NULL
                 WHERE workspace_id = ? AND name = ?",
            )?
            .execute(params![workspace, name])?;
        return Ok(());
    }
    for table in ["adoptions", "container_exits"] {
        let sql = format!("DELETE FROM {table} WHERE workspace_id = ? AND project = ?");
        connection.prepare_cached(&sql)?.execute(params![workspace, name])?;
    }
    connection
        .prepare_cached(&format!(
            "DELETE FROM revisions WHERE workspace_id = ? AND project = ?
             AND id NOT IN ({NEEDED_BY_RUNS})"
        ))?
        .execute(params![workspace, name])?;
    Ok(())
}

const PROJECT: &str = "SELECT workspace_id, tenant_id, name, desired, revision_id,
    deployed_revision_id, spec_digest, created_at, updated_at, wanted FROM projects";

fn project(row: &Row<'_>) -> Result<Project, Fault> {
    Ok(Project {
        workspace_id: parsed(row, 0, "workspace id")?,
        tenant_id: optional_parsed(row, 1, "tenant id")?,
        name: row.get(2)?,
        desired: parsed(row, 3, "desired state")?,
        revision_id: optional_parsed(row, 4, "revision id")?,
        deployed_revision_id: optional_parsed(row, 5, "revision id")?,
        spec_digest: row.get::<_, Option<String>>(6)?.as_deref().map(digest).transpose()?,
        created_at: time(row, 7)?,
        updated_at: time(row, 8)?,
        wanted: json(row, 9, "wanted services")?,
    })
}

/// All projects of a workspace, by name.
pub(super) fn list(connection: &Connection, workspace: WorkspaceId) -> Result<Vec<Project>, Fault> {
    let mut statement =
        connection.prepare_cached(&format!("{PROJECT} WHERE workspace_id = ? ORDER BY name"))?;
    let mut rows = statement.query([workspace.to_string()])?;
    let mut projects = Vec::new();
    while let Some(row) = rows.next()? {
        projects.push(project(row)?);
    }
    Ok(projects)
}

/// One project.
pub(super) fn find(
    connection: &Connection,
    workspace: WorkspaceId,
    name: &str,
) -> Result<Option<Project>, Fault> {
    let mut statement =
        connection.prepare_cached(&format!("{PROJECT} WHERE workspace_id = ? AND name = ?"))?;
    let mut rows = statement.query(params![workspace.to_string(), name])?;
    rows.next()?.map(project).transpose()
}

/// Remembers a container that was taken over.
pub(super) fn put_adoption(connection: &Connection, adoption: &Adoption) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "INSERT INTO adoptions (workspace_id, project, service, number, container_id,
                 spec_hash, adopted_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (workspace_id, project, service, number) DO UPDATE SET
                 container_id = excluded.container_id, spec_hash = excluded.spec_hash,
                 adopted_at = excluded.adopted_at",
        )?
        .execute(params![
            adoption.workspace_id.to_string(),
            adoption.project,
            adoption.service,
            adoption.number,
            adoption.container_id,
            adoption.spec_hash.to_string(),
            nanos(adoption.adopted_at),
        ])?;
    Ok(())
}

/// Forgets the containers of a project that were taken over.
pub(super) fn drop_adoptions(
    connection: &Connection,
    workspace: WorkspaceId,
    project: &str,
) -> Result<(), Fault> {
    connection
        .prepare_cached("DELETE FROM adoptions WHERE workspace_id = ? AND project = ?")?
        .execute(params![workspace.to_string(), project])?;
    Ok(())
}

/// The containers of a project that were taken over.
pub(super) fn adoptions(
    connection: &Connection,
    workspace: WorkspaceId,
    name: &str,
) -> Result<Vec<Adoption>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT service, number, container_id, spec_hash, adopted_at FROM adoptions
         WHERE workspace_id = ? AND project = ? ORDER BY service, number",
    )?;
    let mut rows = statement.query(params![workspace.to_string(), name])?;
    let mut adoptions = Vec::new();
    while let Some(row) = rows.next()? {
        adoptions.push(Adoption {
            workspace_id: workspace,
            project: name.to_owned(),
            service: row.get(0)?,
            number: small(row, 1)?,
            container_id: row.get(2)?,
            spec_hash: digest(&row.get::<_, String>(3)?)?,
            adopted_at: time(row, 4)?,
        });
    }
    Ok(adoptions)
}

/// Housekeeping: anonymous volumes that are about to be removed.
pub(super) fn doom_volumes(
    connection: &Connection,
    workspace: WorkspaceId,
    project: &str,
    names: &[String],
) -> Result<(), Fault> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO doomed_volumes (workspace_id, project, name) VALUES (?, ?, ?)
         ON CONFLICT DO NOTHING",
    )?;
    for name in names {
        insert.execute(params![workspace.to_string(), project, name])?;
    }
    Ok(())
}

/// Anonymous volumes that were to be removed.
pub(super) fn doomed_volumes(
    connection: &Connection,
    workspace: WorkspaceId,
    project: &str,
) -> Result<Vec<String>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT name FROM doomed_volumes WHERE workspace_id = ? AND project = ? ORDER BY name",
    )?;
    let names = statement.query_map(params![workspace.to_string(), project], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

/// Forgets the anonymous volumes that were to be removed.
pub(super) fn forget_volumes(
    connection: &Connection,
    workspace: WorkspaceId,
    project: &str,
) -> Result<(), Fault> {
    connection
        .prepare_cached("DELETE FROM doomed_volumes WHERE workspace_id = ? AND project = ?")?
        .execute(params![workspace.to_string(), project])?;
    Ok(())
}

/// Housekeeping: the latest exit of a container. Seen again, it is counted; a container that
/// replaced it begins at its own count.
pub(super) fn record_exit(connection: &Connection, exit: &ContainerExit) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "INSERT INTO container_exits (workspace_id, project, service, number, container_id,
                 exit_code, count, seen_at, ended)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (workspace_id, project, service, number) DO UPDATE SET
                 count = CASE WHEN container_id = excluded.container_id
                     THEN count + excluded.count ELSE excluded.count END,
                 container_id = excluded.container_id, exit_code = excluded.exit_code,
                 seen_at = excluded.seen_at, ended = excluded.ended",
        )?
        .execute(params![
            exit.workspace_id.to_string(),
            exit.project,
            exit.service,
            exit.number,
            exit.container_id,
            exit.exit_code,
            signed(exit.count),
            nanos(exit.seen_at),
            exit.ended.key(),
        ])?;
    Ok(())
}

/// Housekeeping: forgets how these containers ended, because they run.
pub(super) fn forget_exits(
    connection: &Connection,
    workspace: WorkspaceId,
    project: &str,
    container_ids: &[String],
) -> Result<(), Fault> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM container_exits WHERE workspace_id = ? AND project = ? AND container_id = ?",
    )?;
    for id in container_ids {
        delete.execute(params![workspace.to_string(), project, id])?;
    }
    Ok(())
}

/// The latest exits of a project's containers.
pub(super) fn exits(
    connection: &Connection,
    workspace: WorkspaceId,
    name: &str,
) -> Result<Vec<ContainerExit>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT service, number, container_id, exit_code, count, seen_at, ended FROM container_exits
         WHERE workspace_id = ? AND project = ? ORDER BY service, number",
    )?;
    let mut rows = statement.query(params![workspace.to_string(), name])?;
    let mut exits = Vec::new();
    while let Some(row) = rows.next()? {
        exits.push(ContainerExit {
            workspace_id: workspace,
            project: name.to_owned(),
            service: row.get(0)?,
            number: small(row, 1)?,
            container_id: row.get(2)?,
            exit_code: row.get(3)?,
            count: unsigned(row, 4)?,
            seen_at: time(row, 5)?,
            ended: parsed(row, 6, "kind of exit")?,
        });
    }
    Ok(exits)
}
