//! What every database promises about projects, their stored files, adoptions and exits.

use std::time::Duration;

use super::Fixture;
use crate::base::Digest;
use crate::base::ids::RevisionId;
use crate::base::limits::REVISIONS_KEPT_MAX;
use crate::domain::rollout::Exit;
use crate::domain::runs::{DeployCause, DeployChoices, DeployProject, Inputs, Layer, Wanted};
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
        wanted: Wanted::default(),
        cause: DeployCause::Apply,
        choices: DeployChoices::default(),
    }
}

fn apply(fixture: &Fixture, number: u128) -> Write {
    apply_wanted(fixture, number, Wanted::default())
}

fn apply_wanted(fixture: &Fixture, number: u128, wanted: Wanted) -> Write {
    Write::ApplyProject {
        workspace_id: fixture.store.scope().workspace_id,
        tenant_id: Some(fixture.store.scope().tenant_id),
        name: "shop".to_owned(),
        revision_id: RevisionId::from_u128(number),
        wanted,
        at: fixture.now(),
    }
}

fn keep(fixture: &Fixture, desired: Desired) -> Write {
    let (workspace_id, name) = (fixture.store.scope().workspace_id, "shop".to_owned());
    Write::KeepProject { workspace_id, name, desired, at: fixture.now() }
}

fn deployed(fixture: &Fixture, number: u128) -> Write {
    Write::NoteDeployed {
        workspace_id: fixture.store.scope().workspace_id,
        name: "shop".to_owned(),
        revision_id: RevisionId::from_u128(number),
        spec_digest: Digest::of(&number.to_be_bytes()),
        at: fixture.now(),
    }
}

/// The stored project.
async fn shop(fixture: &Fixture) -> Option<Project> {
    fixture.store.project(fixture.store.scope().workspace_id, "shop".into()).await.unwrap()
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
    fixture.commit(Write::PutRevision(revision(&fixture, 4))).await.unwrap();
    fixture.commit(Write::PutRevision(revision(&fixture, 5))).await.unwrap();
    let beneath = |number| Wanted {
        services: vec!["web".to_owned()],
        beneath: vec![Layer { revision_id: RevisionId::from_u128(number), services: Vec::new() }],
        removes_orphans: true,
    };
    let naming = |number| Inputs::DeployProject(deploy(number));
    let run = DeployProject { wanted: beneath(5), ..deploy(1) };
    let run = fixture.run_of(Inputs::DeployProject(run));
    fixture.commit(Write::InsertRun(Box::new(run))).await.unwrap();
    let write = apply_wanted(&fixture, 2, beneath(4));
    fixture.commit(write).await.unwrap();
    assert_eq!(shop(&fixture).await.unwrap().wanted, beneath(4));
    for number in 0..REVISIONS_KEPT_MAX as u128 {
        fixture.commit(Write::PutRevision(revision(&fixture, 10 + number))).await.unwrap();
    }
    let kept = async |number| {
        fixture.store.revision(RevisionId::from_u128(number)).await.unwrap().is_some()
    };
    assert!(kept(1).await, "a queued run needs it");
    assert!(kept(2).await, "the project needs it");
    assert!(kept(4).await, "services of the project that nobody asked for since need it");
    assert!(kept(5).await, "such services of a queued run need it");
    assert!(!kept(3).await, "nothing needs it");
    assert!(kept(10).await, "it is among the newest");
    assert!(fixture.store.revision_content(RevisionId::from_u128(3)).await.is_err());
    let late = fixture.commit(Write::InsertRun(Box::new(fixture.run_of(naming(3))))).await;
    let late = late.unwrap_err().to_string();
    assert!(late.starts_with("no revision "), "a run cannot name files that are gone: {late}");
}

pub(crate) async fn equal_files_are_stored_once(fixture: Fixture) {
    let first = revision(&fixture, 1);
    fixture.commit(Write::PutRevision(first.clone())).await.unwrap();
    let second = NewRevision { id: RevisionId::from_u128(2), ..first };
    let refused = fixture.commit(Write::PutRevision(second)).await.unwrap_err();
    assert!(refused.is_outrun(), "{refused}");
}

pub(crate) async fn who_changes_one_thing_of_a_project_loses_nothing_else(fixture: Fixture) {
    fixture.commit(keep(&fixture, Desired::Paused)).await.unwrap();
    assert_eq!(shop(&fixture).await, None, "a project that is gone stays gone");
    for number in [1, 2] {
        fixture.commit(Write::PutRevision(revision(&fixture, number))).await.unwrap();
    }
    let at = fixture.now();
    fixture.commit(apply(&fixture, 1)).await.unwrap();
    fixture.commit(keep(&fixture, Desired::Paused)).await.unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    fixture.commit(deployed(&fixture, 1)).await.unwrap();
    let applied = Project {
        workspace_id: fixture.store.scope().workspace_id,
        tenant_id: Some(fixture.store.scope().tenant_id),
        name: "shop".to_owned(),
        desired: Desired::Paused,
        revision_id: Some(RevisionId::from_u128(1)),
        wanted: Wanted::default(),
        deployed_revision_id: Some(RevisionId::from_u128(1)),
        spec_digest: Some(Digest::of(&1_u128.to_be_bytes())),
        created_at: at,
        updated_at: fixture.now(),
    };
    assert_eq!(shop(&fixture).await, Some(applied.clone()), "a deploy's end is no resume");
    fixture.clock.advance(Duration::from_secs(1));
    fixture.commit(apply(&fixture, 2)).await.unwrap();
    let again = Project {
        desired: Desired::Running,
        revision_id: Some(RevisionId::from_u128(2)),
        updated_at: fixture.now(),
        ..applied
    };
    assert_eq!(shop(&fixture).await, Some(again));
}

pub(crate) async fn what_was_decided_by_an_older_look_is_not_written(fixture: Fixture) {
    for number in [1, 2] {
        fixture.commit(Write::PutRevision(revision(&fixture, number))).await.unwrap();
    }
    fixture.commit(apply(&fixture, 1)).await.unwrap();
    let seen = shop(&fixture).await.unwrap();
    let pause = || vec![seen.expected(), keep(&fixture, Desired::Paused)];
    let some = Wanted { services: vec!["web".to_owned()], ..Wanted::default() };
    let changes =
        [apply(&fixture, 2), apply_wanted(&fixture, 1, some), keep(&fixture, Desired::Removed)];
    for change in changes {
        fixture.commit(change).await.unwrap();
        let before = shop(&fixture).await;
        let refused = fixture.store.commit(pause(), fixture.events()).await.unwrap_err();
        assert!(refused.is_outrun(), "{refused}");
        assert_eq!(shop(&fixture).await, before);
        fixture.commit(apply(&fixture, 1)).await.unwrap();
    }
    fixture.store.commit(pause(), fixture.events()).await.unwrap();
    assert_eq!(shop(&fixture).await.unwrap().desired, Desired::Paused);
    let (workspace_id, name) = (seen.workspace_id, seen.name);
    let first = vec![Write::ExpectNoProject { workspace_id, name }, apply(&fixture, 2)];
    let refused = fixture.store.commit(first, fixture.events()).await.unwrap_err();
    assert!(refused.is_outrun(), "{refused}");
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
    fixture.commit(Write::PutRevision(revision(&fixture, 1))).await.unwrap();
    fixture.commit(apply(&fixture, 1)).await.unwrap();
    fixture.commit(deployed(&fixture, 1)).await.unwrap();
    fixture.commit(forget.clone()).await.unwrap();
    let found = shop(&fixture).await.unwrap();
    assert_eq!((found.desired, found.deployed_revision_id), (Desired::Running, None));
    assert_eq!(fixture.store.adoptions(workspace_id, "shop".into()).await.unwrap(), [adoption]);
    fixture.commit(keep(&fixture, Desired::Removed)).await.unwrap();
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
        ended: Exit::OnItsOwn,
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
