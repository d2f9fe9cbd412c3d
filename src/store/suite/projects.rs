//! What every database promises about projects, their stored files, adoptions and exits.

use std::time::Duration;

use super::Fixture;
use crate::base::Digest;
use crate::base::ids::RevisionId;
use crate::base::limits::REVISIONS_KEPT_MAX;
use crate::domain::runs::{DeployCause, DeployProject, Inputs};
use crate::store::{Adoption, ContainerExit, Desired, NewRevision, Project, Write};

const SECRET: &str = "a-password-that-must-not-lie-on-the-disk";

fn revision(fixture: &Fixture, number: u128) -> NewRevision {
    fixture.clock.advance(Duration::from_secs(1));
    NewRevision {
        id: RevisionId::from_u128(number),
        workspace_id: fixture.store.scope().workspace_id,
        project: "shop".to_owned(),
        digest: Digest::of(&number.to_be_bytes()),
        content: bytes::Bytes::from(SECRET).into(),
        created_at: fixture.now(),
    }
}

fn deploy(number: u128) -> DeployProject {
    DeployProject {
        project: "shop".to_owned(),
        revision_id: RevisionId::from_u128(number),
        revision_digest: Digest::of(&number.to_be_bytes()),
        services: Vec::new(),
        cause: DeployCause::Apply,
        force_recreate: false,
        keep_orphans: false,
        rebuild: false,
        adopt: false,
        wait_timeout_seconds: None,
    }
}

fn project(fixture: &Fixture, desired: Desired, revision: Option<u128>) -> Project {
    Project {
        workspace_id: fixture.store.scope().workspace_id,
        tenant_id: Some(fixture.store.scope().tenant_id),
        name: "shop".to_owned(),
        desired,
        revision_id: revision.map(RevisionId::from_u128),
        deployed_revision_id: None,
        spec_digest: None,
        created_at: fixture.now(),
        updated_at: fixture.now(),
    }
}

pub(crate) async fn stored_files_come_back_and_their_content_never_lies_open(fixture: Fixture) {
    let new = revision(&fixture, 1);
    fixture.commit(Write::PutRevision(new.clone())).await.unwrap();
    let content = fixture.store.revision_content(new.id).await.unwrap();
    assert_eq!(content.expose(), SECRET.as_bytes());
    let found = fixture.store.revision_by_digest(new.workspace_id, "shop".into(), new.digest);
    let found = found.await.unwrap().unwrap();
    assert_eq!((found.id, found.size_bytes), (new.id, SECRET.len() as u64));
    let open = fixture.base.holds(SECRET.as_bytes()).await;
    assert!(!open, "it lies open in the database");
    assert!(fixture.base.holds(new.id.to_string().as_bytes()).await, "the search finds nothing");
}

pub(crate) async fn old_files_go_except_those_that_something_needs(fixture: Fixture) {
    fixture.commit(Write::PutRevision(revision(&fixture, 1))).await.unwrap();
    fixture.commit(Write::PutRevision(revision(&fixture, 2))).await.unwrap();
    fixture.commit(Write::PutRevision(revision(&fixture, 3))).await.unwrap();
    let naming = |number| Inputs::DeployProject(deploy(number));
    let run = fixture.run_of(naming(1));
    fixture.commit(Write::InsertRun(Box::new(run))).await.unwrap();
    fixture.commit(Write::PutProject(project(&fixture, Desired::Running, Some(2)))).await.unwrap();
    for number in 0..REVISIONS_KEPT_MAX as u128 {
        fixture.commit(Write::PutRevision(revision(&fixture, 10 + number))).await.unwrap();
    }
    let kept = async |number| {
        fixture.store.revision(RevisionId::from_u128(number)).await.unwrap().is_some()
    };
    assert!(kept(1).await, "a queued run needs it");
    assert!(kept(2).await, "the project needs it");
    assert!(!kept(3).await, "nothing needs it");
    assert!(kept(10).await, "it is among the newest");
    assert!(fixture.store.revision_content(RevisionId::from_u128(3)).await.is_err());
    let late = fixture.commit(Write::InsertRun(Box::new(fixture.run_of(naming(3))))).await;
    let late = late.unwrap_err().to_string();
    assert!(late.starts_with("no revision "), "a run cannot name files that are gone: {late}");
}

pub(crate) async fn a_removed_project_is_forgotten_unless_it_was_applied_again(fixture: Fixture) {
    let workspace_id = fixture.store.scope().workspace_id;
    let forget = Write::ForgetProject { workspace_id, name: "shop".to_owned() };
    let adoption = Adoption {
        workspace_id,
        project: "shop".to_owned(),
        service: "web".to_owned(),
        number: 1,
        container_id: "c1".to_owned(),
        spec_hash: Digest::of(b"spec"),
        adopted_at: fixture.now(),
    };
    fixture.commit(Write::PutAdoption(adoption.clone())).await.unwrap();
    fixture.commit(Write::PutProject(project(&fixture, Desired::Running, None))).await.unwrap();
    fixture.commit(forget.clone()).await.unwrap();
    let found = fixture.store.project(workspace_id, "shop".into()).await.unwrap().unwrap();
    assert_eq!(found, project(&fixture, Desired::Running, None));
    assert_eq!(fixture.store.adoptions(workspace_id, "shop".into()).await.unwrap(), [adoption]);
    fixture.commit(Write::PutProject(project(&fixture, Desired::Removed, None))).await.unwrap();
    fixture.commit(forget).await.unwrap();
    assert_eq!(fixture.store.projects(workspace_id).await.unwrap(), []);
    assert_eq!(fixture.store.adoptions(workspace_id, "shop".into()).await.unwrap(), []);
}

pub(crate) async fn exits_of_one_container_add_up_and_a_new_container_starts_over(
    fixture: Fixture,
) {
    let workspace_id = fixture.store.scope().workspace_id;
    let exit = |container_id: &str| ContainerExit {
        workspace_id,
        project: "shop".to_owned(),
        service: "web".to_owned(),
        number: 1,
        container_id: container_id.to_owned(),
        exit_code: 137,
        count: 1,
        seen_at: fixture.now(),
    };
    for (container_id, expect) in [("c1", 1), ("c1", 2), ("c2", 1)] {
        fixture.store.record_exit(exit(container_id)).await.unwrap();
        let exits = fixture.store.exits(workspace_id, "shop".into()).await.unwrap();
        assert_eq!((exits.len(), exits[0].count), (1, expect), "{container_id}");
    }
}
