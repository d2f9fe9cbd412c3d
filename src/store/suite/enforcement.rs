//! What every database promises about what stands of enforcement.

use std::collections::{BTreeMap, BTreeSet};

use super::Fixture;
use crate::base::ids::{RunId, WorkspaceId};
use crate::domain::enforcement::{
    Changes, Enforced, Maintenance, Place, Remembered, Rung, Switch, Treated, Treatment,
};
use crate::facts::Attachment;
use crate::store::{EnforcementWrite, Write};

fn treated(fixture: &Fixture, id: &str, state: Treatment) -> Treated {
    let attachment = Attachment {
        aliases: BTreeSet::from(["web".to_owned()]),
        ipv4_address: Some("10.9.0.7".to_owned()),
        ..Attachment::default()
    };
    Treated {
        container_id: id.to_owned(),
        name: "shop-web-1".to_owned(),
        project: Some("shop".to_owned()),
        state,
        rung: Rung::Quarantine,
        codes: vec!["rule.privileged".to_owned()],
        policies: vec!["strict".to_owned()],
        reason: "it is privileged".to_owned(),
        by: "agent".to_owned(),
        run_id: RunId::from_u128(7),
        since: fixture.now(),
        changes: Changes::default(),
        undo: Remembered {
            networks: BTreeMap::from([("shop_default".to_owned(), attachment)]),
            links: BTreeSet::from(["db:database".to_owned()]),
            ..Remembered::default()
        },
        released_until: None,
    }
}

async fn write(fixture: &Fixture, write: EnforcementWrite) {
    fixture.commit(Write::Enforcement(write)).await.unwrap();
}

async fn known(fixture: &Fixture) -> Enforced {
    let workspace = fixture.store.scope().workspace_id;
    fixture.store.enforced(workspace).await.unwrap()
}

pub(crate) async fn what_was_done_to_a_container_is_kept_until_it_is_forgotten(fixture: Fixture) {
    let workspace_id = fixture.store.scope().workspace_id;
    assert_eq!(known(&fixture).await, Enforced::default());
    for (id, state) in [("a", Treatment::Begun), ("b", Treatment::Begun), ("a", Treatment::InForce)]
    {
        let treated = Box::new(treated(&fixture, id, state));
        write(&fixture, EnforcementWrite::PutTreated { workspace_id, treated }).await;
    }
    let fixture = fixture.reopened().await;
    let found = known(&fixture).await;
    assert_eq!(found.treated["a"], treated(&fixture, "a", Treatment::InForce));
    assert_eq!(found.treated["b"].state, Treatment::Begun);
    for _ in 0..2 {
        let container_id = "a".to_owned();
        write(&fixture, EnforcementWrite::DropTreated { workspace_id, container_id }).await;
    }
    let names: Vec<String> = known(&fixture).await.treated.into_keys().collect();
    assert_eq!(names, ["b"]);
    let elsewhere = fixture.store.enforced(WorkspaceId::from_u128(9)).await.unwrap();
    assert_eq!(elsewhere, Enforced::default());
}

pub(crate) async fn the_switch_and_what_is_worked_on_are_kept(fixture: Fixture) {
    let workspace_id = fixture.store.scope().workspace_id;
    let switch = |is_off| Switch {
        is_off,
        by: "root".to_owned(),
        reason: "an incident".to_owned(),
        at: fixture.now(),
    };
    let maintenance = |place: Place, reason: &str| Maintenance {
        place,
        by: "root".to_owned(),
        reason: reason.to_owned(),
        began_at: fixture.now(),
        ends_at: fixture.now(),
    };
    for is_off in [true, false, true] {
        write(&fixture, EnforcementWrite::PutSwitch { workspace_id, switch: switch(is_off) }).await;
    }
    let shop = Place::Project("shop".to_owned());
    for (place, reason) in [(&Place::Host, "a"), (&shop, "b"), (&shop, "c")] {
        let maintenance = maintenance(place.clone(), reason);
        write(&fixture, EnforcementWrite::PutMaintenance { workspace_id, maintenance }).await;
    }
    let (off, work) =
        (switch(true), [maintenance(Place::Host, "a"), maintenance(shop.clone(), "c")]);
    let fixture = fixture.reopened().await;
    let found = known(&fixture).await;
    assert_eq!(found.switch, Some(off));
    assert_eq!(found.maintenance, work);
    write(&fixture, EnforcementWrite::DropMaintenance { workspace_id, place: shop }).await;
    assert_eq!(known(&fixture).await.maintenance, work[..1]);
}
