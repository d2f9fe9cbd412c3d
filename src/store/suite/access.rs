//! What every database promises about who may do what.

use std::time::Duration;

use super::Fixture;
use crate::base::ids::{CertificateId, ElevationId, TenantId, TokenId, UserId, WorkspaceId};
use crate::base::limits::TOKEN_KEPT;
use crate::base::time::after;
use crate::base::{Digest, Secret};
use crate::domain::access::{
    BuiltInRole, Capability, CapabilitySet, Certificate, Directory, Elevation, Membership, OsUser,
    Reach, Reason, ReasonKind, Role, Stage, Tenant, TenantStatus, Token, User, UserKind, Workspace,
};
use crate::domain::redaction::SafeText;
use crate::store::{AccessWrite, Conflict, StoreError, Write};

async fn write(fixture: &Fixture, write: AccessWrite) -> Result<(), StoreError> {
    fixture.commit(Write::Access(write)).await
}

fn conflict(result: Result<(), StoreError>) -> Conflict {
    result.unwrap_err().conflict().cloned().expect("a conflict")
}

async fn read(fixture: &Fixture) -> Directory {
    fixture.store.access().await.unwrap()
}

fn user(fixture: &Fixture, id: u128, name: &str) -> User {
    User {
        id: UserId::from_u128(id),
        name: name.to_owned(),
        email: Some(format!("{name}@example.org")),
        kind: UserKind::Member,
        is_break_glass: false,
        os_user: None,
        disabled_at: None,
        created_at: after(fixture.now(), Duration::from_secs(1)),
    }
}

pub(super) fn tenant(fixture: &Fixture, id: u128, name: &str) -> Tenant {
    Tenant {
        id: TenantId::from_u128(id),
        workspace_id: fixture.store.scope().workspace_id,
        external_id: Some("crm-7".to_owned()),
        name: name.to_owned(),
        status: TenantStatus::Active,
        stage: Stage::Staging,
        created_at: after(fixture.now(), Duration::from_secs(1)),
    }
}

fn member(fixture: &Fixture, user: UserId, role: &str, reach: Reach) -> AccessWrite {
    let workspace_id = fixture.store.scope().workspace_id;
    let role = role.parse().unwrap();
    AccessWrite::PutMember { membership: Membership { workspace_id, user_id: user, role }, reach }
}

fn token(fixture: &Fixture, id: u128) -> Token {
    let scope = fixture.store.scope();
    Token {
        id: TokenId::from_u128(id),
        label: SafeText::new("the pipeline"),
        user_id: scope.owner_id,
        workspace_id: Some(scope.workspace_id),
        capabilities: CapabilitySet::of(&[Capability::RunsView, Capability::RunsEnqueue]),
        reach: Reach::Some([scope.tenant_id].into()),
        hash: Secret::new("$argon2id$not-a-real-one".to_owned()),
        created_at: fixture.now(),
        expires_at: after(fixture.now(), Duration::from_secs(3600)),
        revoked_at: None,
    }
}

pub(crate) async fn the_first_start_makes_an_owner_and_a_platform_user(fixture: Fixture) {
    let (scope, found) = (fixture.store.scope(), read(&fixture).await);
    let names: Vec<_> = found.workspaces.iter().map(|it| (&*it.name, it.is_platform)).collect();
    assert!(names.contains(&("default", false)) && names.contains(&("platform", true)));
    assert_eq!(found.workspaces.len(), 2);
    let owner = found.user(scope.owner_id).unwrap();
    assert_eq!((owner.kind, &owner.name), (UserKind::Member, &scope.owner_name));
    let operators = found.users.iter().filter(|it| it.kind == UserKind::Platform);
    assert_eq!(operators.count(), 1);
    let standing = found.standing(scope.owner_id, scope.workspace_id).unwrap();
    assert_eq!(standing.capabilities, BuiltInRole::Owner.capabilities());
    assert_eq!(standing.reach, Reach::All);
    assert_eq!(found.standing(scope.owner_id, found.platform().unwrap()), None);
}

pub(crate) async fn records_of_access_read_back_as_they_were_written(fixture: Fixture) {
    let scope = fixture.store.scope();
    let workspace_id = scope.workspace_id;
    let (acme, globex) = (tenant(&fixture, 0xa1, "acme"), tenant(&fixture, 0xa2, "globex"));
    let os_user = OsUser { host_id: scope.host_id, uid: 1001 };
    let sam = User { os_user: Some(os_user), ..user(&fixture, 0xb1, "sam") };
    let abroad = Workspace {
        id: WorkspaceId::from_u128(0xc1),
        name: "abroad".to_owned(),
        is_platform: false,
        created_at: after(fixture.now(), Duration::from_secs(1)),
    };
    let name = "reader".parse().unwrap();
    let capabilities = CapabilitySet::of(&[Capability::RunsView]);
    let role = Role { workspace_id, name, capabilities };
    let certificate = Certificate {
        id: CertificateId::from_u128(0xd1),
        fingerprint: Digest::of(b"a certificate"),
        user_id: sam.id,
        created_at: fixture.now(),
    };
    let reason_text = SafeText::new("the disk is full");
    let elevation = Elevation {
        id: ElevationId::from_u128(0xe1),
        user_id: sam.id,
        reason: Reason { reason_code: ReasonKind::Incident, reason_text },
        started_at: fixture.now(),
        expires_at: after(fixture.now(), Duration::from_secs(600)),
        ended_at: None,
    };
    let reach = Reach::Some([acme.id, globex.id].into());
    for written in [
        AccessWrite::PutWorkspace(abroad.clone()),
        AccessWrite::PutTenant(acme.clone()),
        AccessWrite::PutTenant(globex.clone()),
        AccessWrite::PutUser(Box::new(sam.clone())),
        AccessWrite::PutRole(role.clone()),
        member(&fixture, sam.id, "reader", reach.clone()),
        AccessWrite::InsertToken(Box::new(token(&fixture, 0xf1))),
        AccessWrite::InsertCertificate(certificate.clone()),
        AccessWrite::InsertElevation(Box::new(elevation.clone())),
    ] {
        write(&fixture, written).await.unwrap();
    }
    let found = read(&fixture).await;
    assert!(found.workspaces.contains(&abroad));
    assert!(found.tenants.contains(&acme) && found.tenants.contains(&globex));
    assert!(found.users.contains(&sam));
    assert_eq!(found.user_of_host(UserKind::Member, os_user), Some(&sam));
    assert_eq!(found.roles, [role]);
    let standing = found.standing(sam.id, workspace_id).unwrap();
    assert_eq!((standing.capabilities, standing.reach), (capabilities, reach));
    assert_eq!(found.tokens, [token(&fixture, 0xf1)]);
    assert_eq!(found.certificates, std::slice::from_ref(&certificate));
    assert_eq!(found.elevations, [elevation]);

    // And are changed and forgotten again.
    let renamed = User { name: "samuel".to_owned(), disabled_at: Some(fixture.now()), ..sam };
    let at = fixture.now();
    for written in [
        AccessWrite::PutUser(Box::new(renamed.clone())),
        member(&fixture, renamed.id, "viewer", Reach::Some([acme.id].into())),
        AccessWrite::DropRole { workspace_id, name },
        AccessWrite::DropCertificate { id: certificate.id },
        AccessWrite::EndElevations { user_id: renamed.id, at },
    ] {
        write(&fixture, written).await.unwrap();
    }
    let found = read(&fixture).await;
    assert!(found.users.contains(&renamed) && found.user(renamed.id).is_none());
    let standing = found.standing(renamed.id, workspace_id).unwrap();
    assert_eq!(standing.reach, Reach::Some([acme.id].into()));
    assert_eq!((found.roles.len(), found.certificates.len()), (0, 0));
    assert_eq!(found.elevations[0].ended_at, Some(at));
    write(&fixture, AccessWrite::DropMember { workspace_id, user_id: renamed.id }).await.unwrap();
    let found = read(&fixture).await;
    assert_eq!(found.standing(renamed.id, workspace_id), None);
}

pub(crate) async fn names_are_unique_and_what_is_referred_to_exists(fixture: Fixture) {
    let scope = fixture.store.scope();
    let workspace_id = scope.workspace_id;
    let os_user = Some(OsUser { host_id: scope.host_id, uid: 1001 });
    let sam = User { os_user, ..user(&fixture, 0xb1, "sam") };
    write(&fixture, AccessWrite::PutUser(Box::new(sam.clone()))).await.unwrap();
    for (same, taken) in [
        (user(&fixture, 0xb2, "sam"), "sam"),
        (User { os_user, ..user(&fixture, 0xb2, "kim") }, "uid 1001"),
    ] {
        let refused = write(&fixture, AccessWrite::PutUser(Box::new(same))).await;
        let (noun, name) = ("user", taken.to_owned());
        assert_eq!(conflict(refused), Conflict::Taken { noun, name });
    }
    write(&fixture, AccessWrite::PutTenant(tenant(&fixture, 0xa1, "acme"))).await.unwrap();
    let refused = write(&fixture, AccessWrite::PutTenant(tenant(&fixture, 0xa2, "acme"))).await;
    assert!(matches!(conflict(refused), Conflict::Taken { noun: "tenant", .. }));
    // A tenant does not move, and nobody is entitled to one of another workspace.
    let platform = read(&fixture).await.platform().unwrap();
    let moved = Tenant { workspace_id: platform, ..tenant(&fixture, 0xa1, "acme") };
    let refused = write(&fixture, AccessWrite::PutTenant(moved)).await;
    assert!(matches!(conflict(refused), Conflict::Missing { noun: "tenant", .. }));
    let stranger =
        read(&fixture).await.tenants.iter().find(|it| it.workspace_id == platform).unwrap().id;
    let reach = Reach::Some([stranger].into());
    let refused = write(&fixture, member(&fixture, sam.id, "viewer", reach)).await;
    assert!(matches!(conflict(refused), Conflict::Dangling { .. }));
    let refused = write(&fixture, member(&fixture, sam.id, "dancer", Reach::All)).await;
    assert!(matches!(conflict(refused), Conflict::Missing { noun: "role", .. }));
    // A role that somebody has stays.
    let name = "reader".parse().unwrap();
    let role = Role { workspace_id, name, capabilities: CapabilitySet::NONE };
    write(&fixture, AccessWrite::PutRole(role)).await.unwrap();
    write(&fixture, member(&fixture, sam.id, "reader", Reach::All)).await.unwrap();
    let refused = write(&fixture, AccessWrite::DropRole { workspace_id, name }).await;
    assert!(matches!(conflict(refused), Conflict::Used { noun: "role", .. }));
    assert_eq!(read(&fixture).await.standing(sam.id, workspace_id).unwrap().reach, Reach::All);
}

pub(crate) async fn a_workspace_keeps_an_owner_who_reaches_everything(fixture: Fixture) {
    let scope = fixture.store.scope();
    let (workspace_id, owner) = (scope.workspace_id, scope.owner_id);
    let is_last = |refused: Result<(), StoreError>| {
        assert!(matches!(conflict(refused), Conflict::Used { noun: "membership", .. }));
    };
    let gone = AccessWrite::DropMember { workspace_id, user_id: owner };
    let owner_record = read(&fixture).await.user(owner).unwrap().clone();
    let disabled = User { disabled_at: Some(fixture.now()), ..owner_record };
    let narrow = Reach::Some([scope.tenant_id].into());
    is_last(write(&fixture, gone.clone()).await);
    is_last(write(&fixture, member(&fixture, owner, "viewer", Reach::All)).await);
    is_last(write(&fixture, member(&fixture, owner, "owner", narrow)).await);
    is_last(write(&fixture, AccessWrite::PutUser(Box::new(disabled.clone()))).await);
    assert_eq!(read(&fixture).await.standing(owner, workspace_id).unwrap().reach, Reach::All);
    let sam = user(&fixture, 0xb1, "sam");
    write(&fixture, AccessWrite::PutUser(Box::new(sam.clone()))).await.unwrap();
    write(&fixture, member(&fixture, sam.id, "owner", Reach::All)).await.unwrap();
    write(&fixture, AccessWrite::PutUser(Box::new(disabled))).await.unwrap();
    write(&fixture, gone).await.unwrap();
    is_last(write(&fixture, AccessWrite::DropMember { workspace_id, user_id: sam.id }).await);
}

pub(crate) async fn that_the_time_of_broken_glass_is_over_is_recorded_once(fixture: Fixture) {
    let id = ElevationId::from_u128(0xe1);
    let expires_at = after(fixture.now(), Duration::from_secs(600));
    let sam = user(&fixture, 0xb1, "sam");
    let elevation = Elevation {
        id,
        user_id: sam.id,
        reason: Reason {
            reason_code: ReasonKind::Incident,
            reason_text: SafeText::new("the disk is full"),
        },
        started_at: fixture.now(),
        expires_at,
        ended_at: None,
    };
    write(&fixture, AccessWrite::PutUser(Box::new(sam))).await.unwrap();
    write(&fixture, AccessWrite::InsertElevation(Box::new(elevation))).await.unwrap();
    let end = |at| write(&fixture, AccessWrite::EndElapsed { id, at });
    let is_refused = |refused: Result<(), StoreError>| {
        assert!(matches!(conflict(refused), Conflict::Missing { noun: "elevation", .. }));
    };
    is_refused(end(after(fixture.now(), Duration::from_secs(599))).await);
    assert_eq!(read(&fixture).await.elevations[0].ended_at, None);
    let late = after(expires_at, Duration::from_secs(60));
    end(late).await.unwrap();
    is_refused(end(late).await);
    assert_eq!(read(&fixture).await.elevations[0].ended_at, Some(expires_at));
}

pub(crate) async fn a_revoked_token_stays_revoked(fixture: Fixture) {
    let first = token(&fixture, 0xf1);
    write(&fixture, AccessWrite::InsertToken(Box::new(first.clone()))).await.unwrap();
    let at = after(fixture.now(), Duration::from_secs(5));
    write(&fixture, AccessWrite::RevokeToken { id: first.id, at }).await.unwrap();
    let later = after(at, Duration::from_secs(5));
    write(&fixture, AccessWrite::RevokeToken { id: first.id, at: later }).await.unwrap();
    assert_eq!(read(&fixture).await.token(first.id).unwrap().revoked_at, Some(at));
    let unknown = TokenId::from_u128(9);
    let refused = write(&fixture, AccessWrite::RevokeToken { id: unknown, at }).await;
    assert!(matches!(conflict(refused), Conflict::Missing { noun: "token", .. }));
    // It is told of for a while, and forgotten when a later one is made.
    fixture.clock.advance(TOKEN_KEPT);
    write(&fixture, AccessWrite::InsertToken(Box::new(token(&fixture, 0xf2)))).await.unwrap();
    assert!(read(&fixture).await.token(first.id).is_some());
    fixture.clock.advance(Duration::from_secs(3700));
    write(&fixture, AccessWrite::InsertToken(Box::new(token(&fixture, 0xf3)))).await.unwrap();
    let found = read(&fixture).await;
    assert_eq!(found.tokens.iter().map(|it| it.id.to_string()).collect::<Vec<_>>().len(), 2);
    assert!(found.token(first.id).is_none());
}
