//! What every database promises about logins to registries.

use super::Fixture;
use crate::base::Secret;
use crate::base::ids::{LoginId, WorkspaceId};
use crate::domain::registries::{Credentials, Login};
use crate::store::{Conflict, RegistryWrite, StoreError, Write};

const SECRET: &str = "a-password-that-must-not-lie-on-the-disk";

fn login(fixture: &Fixture, id: u128, registry: &str) -> Login {
    Login {
        id: LoginId::from_u128(id),
        workspace_id: fixture.store.scope().workspace_id,
        registry: registry.parse().unwrap(),
        username: "ci".to_owned(),
        created_at: fixture.now(),
        updated_at: fixture.now(),
    }
}

async fn put(fixture: &Fixture, login: Login, password: &str) -> Result<(), StoreError> {
    let password = Secret::new(password.to_owned());
    let write = RegistryWrite::PutLogin { login: Box::new(login), password };
    fixture.commit(Write::Registry(write)).await
}

async fn known(fixture: &Fixture) -> Vec<Login> {
    let workspace = fixture.store.scope().workspace_id;
    fixture.store.registry_logins(workspace).await.unwrap()
}

async fn password(fixture: &Fixture, id: u128) -> Option<String> {
    let found = fixture.store.registry_credentials(LoginId::from_u128(id)).await.unwrap();
    found.map(|found| found.password.expose().clone())
}

pub(crate) async fn logins_read_back_and_passwords_never_lie_open(fixture: Fixture) {
    let (far, near) =
        (login(&fixture, 1, "registry.example.org"), login(&fixture, 2, "127.0.0.1:5000"));
    put(&fixture, far.clone(), SECRET).await.unwrap();
    put(&fixture, near.clone(), SECRET).await.unwrap();
    assert_eq!(known(&fixture).await, [near.clone(), far.clone()]);
    let expect = Credentials {
        registry: far.registry.clone(),
        username: "ci".to_owned(),
        password: Secret::new(SECRET.to_owned()),
    };
    let found = fixture.store.registry_credentials(far.id).await.unwrap();
    assert_eq!(found, Some(expect));
    assert!(!fixture.base.holds(SECRET.as_bytes()).await);
    let reopened = fixture.reopened().await;
    assert_eq!(password(&reopened, 1).await.as_deref(), Some(SECRET), "after a restart");
    let elsewhere = WorkspaceId::from_u128(9);
    assert!(reopened.store.registry_logins(elsewhere).await.unwrap().is_empty());
}

pub(crate) async fn a_registry_has_one_login_which_can_be_changed_and_forgotten(fixture: Fixture) {
    let first = login(&fixture, 1, "registry.example.org");
    put(&fixture, first.clone(), SECRET).await.unwrap();
    let second = login(&fixture, 2, "registry.example.org");
    let refused = put(&fixture, second, SECRET).await.unwrap_err();
    assert!(matches!(refused.conflict(), Some(Conflict::Taken { .. })), "{refused}");
    let changed = Login { username: "bot".to_owned(), ..first };
    put(&fixture, changed.clone(), "another").await.unwrap();
    assert_eq!(known(&fixture).await, vec![changed.clone()]);
    assert_eq!(password(&fixture, 1).await.as_deref(), Some("another"));
    let forget =
        |workspace_id| Write::Registry(RegistryWrite::DropLogin { workspace_id, id: changed.id });
    let missed = fixture.commit(forget(WorkspaceId::from_u128(9))).await.unwrap_err();
    assert!(matches!(missed.conflict(), Some(Conflict::Missing { .. })), "{missed}");
    fixture.commit(forget(changed.workspace_id)).await.unwrap();
    assert!(known(&fixture).await.is_empty());
    assert_eq!(password(&fixture, 1).await, None);
}
