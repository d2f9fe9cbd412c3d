//! What is decided, rung by rung, and what every rung remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::base::Timestamp;
use crate::base::ids::RunId;
use crate::domain::policy::{PolicySet, Question, Source, compile};
use crate::facts::{
    Attachment, ContainerState, Instance, LiveSettings, NetworkMode, RestartPolicy, ServiceSpec,
};

fn now() -> Timestamp {
    "2026-06-15T12:00:00Z".parse().unwrap()
}

fn container(change: impl FnOnce(&mut ContainerFacts)) -> ContainerFacts {
    let attachment = Attachment {
        aliases: BTreeSet::from(["web".to_owned()]),
        ipv4_address: Some("10.0.0.9".to_owned()),
        ..Attachment::default()
    };
    let mut spec = ServiceSpec { image: "app:1".to_owned(), ..ServiceSpec::default() };
    spec.network_mode = NetworkMode::Networks(BTreeMap::from([("front".to_owned(), attachment)]));
    spec.external_links = BTreeSet::from(["db:data".to_owned()]);
    let mut facts = ContainerFacts {
        id: "c".repeat(64),
        instance: Some(Instance { project: "shop".into(), service: "web".into(), number: 1 }),
        all_labels: BTreeMap::from([
            (labels::OWNER.to_owned(), "me".to_owned()),
            (labels::PROJECT.to_owned(), "shop".to_owned()),
        ]),
        ..ContainerFacts::running("shop-web-1", spec)
    };
    change(&mut facts);
    facts
}

fn set(text: &str) -> PolicySet {
    compile(&[Source { file: "policy.yaml", text }]).unwrap_or_else(|found| panic!("{found}"))
}

fn settings() -> Settings {
    Settings {
        is_enabled: true,
        unmanaged: BTreeSet::from(["strict".to_owned()]),
        actions_max: 3,
        window: Duration::from_secs(600),
    }
}

/// Everything around a container that a test may change.
struct Around {
    policy: &'static str,
    settings: Settings,
    switch: Option<Switch>,
    maintenance: Vec<Maintenance>,
    treated: Option<Treated>,
    recent: Vec<Timestamp>,
}

fn around(change: impl FnOnce(&mut Around)) -> Around {
    let mut around = Around {
        policy: "name: strict\ntitle: t\nowner: o\naction: quarantine\nchecks: [privileged]",
        settings: settings(),
        switch: None,
        maintenance: Vec::new(),
        treated: None,
        recent: Vec::new(),
    };
    change(&mut around);
    around
}

fn decided(found: &ContainerFacts, around: &Around) -> Decision {
    let set = set(around.policy);
    let subject = Subject {
        project: Some("shop"),
        container: Some(found),
        ..Subject::new("web", &found.spec)
    };
    let stage = crate::domain::access::Stage::Production;
    let findings = set.judge(&Question { subject: &subject, stage, tenant: None, now: now() });
    let all = wrongs(&findings, &subject, None);
    let opted_in = wrongs(&findings, &subject, Some(&around.settings.unmanaged));
    decide(&Situation {
        container: found,
        keeper: &Keeper::of(found, "me", &BTreeSet::new(), Some("0123456789abcdef")),
        wrongs: &all,
        opted_in: &opted_in,
        settings: &around.settings,
        switch: around.switch.as_ref(),
        maintenance: &around.maintenance,
        treated: around.treated.as_ref(),
        recent: &around.recent,
        now: now(),
    })
}

fn bad(change: impl FnOnce(&mut ContainerFacts)) -> ContainerFacts {
    container(|found| {
        found.spec.security.privileged = true;
        change(found);
    })
}

#[track_caller]
fn check(found: &ContainerFacts, around: &Around, expect: &str) {
    let told = match decided(found, around) {
        Decision::Leave(leave) => leave.key().to_owned(),
        Decision::Act { rung, codes, .. } => format!("{rung} {}", codes.join(",")),
    };
    assert_eq!(told, expect);
}

fn treated(state: Treatment, rung: Rung) -> Treated {
    Treated {
        container_id: "c".repeat(64),
        name: "shop-web-1".to_owned(),
        project: Some("shop".to_owned()),
        state,
        rung,
        codes: vec!["rule.privileged".to_owned()],
        policies: vec!["strict".to_owned()],
        reason: "it is privileged".to_owned(),
        by: "agent".to_owned(),
        run_id: RunId::from_u128(1),
        since: now(),
        changes: Changes::default(),
        undo: Remembered::default(),
        released_until: None,
    }
}

fn label(found: &mut ContainerFacts, key: &str, value: &str) {
    found.all_labels.insert(key.to_owned(), value.to_owned());
}

const QUARANTINE: &str = "quarantine rule.privileged";

#[test]
fn what_policies_ask_for_is_done_to_what_runs_and_nothing_else() {
    let plain = || around(|_| {});
    check(&container(|_| {}), &plain(), "fulfilled");
    check(&bad(|_| {}), &plain(), QUARANTINE);
    for (action, expect) in [
        ("audit", "told"),
        ("warn", "told"),
        ("deny", "told"),
        ("off", "fulfilled"),
        ("remediate", "recreate rule.privileged"),
        ("quarantine", QUARANTINE),
    ] {
        let text =
            format!("name: strict\ntitle: t\nowner: o\naction: {action}\nchecks: [privileged]");
        let policy: &'static str = text.leak();
        check(&bad(|_| {}), &around(|it| it.policy = policy), expect);
    }
    for (state, expect) in [
        (ContainerState::Running, QUARANTINE),
        (ContainerState::Restarting, QUARANTINE),
        (ContainerState::Paused, QUARANTINE),
        (ContainerState::Created, "not_running"),
        (ContainerState::Exited, "not_running"),
        (ContainerState::Dead, "not_running"),
        (ContainerState::Removing, "not_running"),
    ] {
        check(&bad(|it| it.state = state), &plain(), expect);
    }
}

#[test]
fn exceptions_unknowns_and_what_cannot_be_judged_never_lead_to_an_act() {
    let excepted = "name: strict\ntitle: t\nowner: o\naction: quarantine\nchecks: [privileged]\nexceptions:\n\
        - {rules: privileged, match: {services: web}, owner: a, approver: b, reason: c, expires: 2027-01-01}";
    check(&bad(|_| {}), &around(|it| it.policy = excepted), "fulfilled");
    let over = "name: strict\ntitle: t\nowner: o\naction: quarantine\nchecks: [privileged]\nexceptions:\n\
        - {rules: privileged, match: {services: web}, owner: a, approver: b, reason: c, expires: 2026-01-01}";
    check(&bad(|_| {}), &around(|it| it.policy = over), QUARANTINE);
    let broken = "name: strict\ntitle: t\nowner: o\naction: quarantine\nconditions:\n\
        - {id: broken, expression: 1 / 0 == 1, message: a}";
    check(&bad(|_| {}), &around(|it| it.policy = broken), "fulfilled");
    let shared = "name: strict\ntitle: t\nowner: o\naction: quarantine\nchecks: [shared_volume]";
    check(&bad(|_| {}), &around(|it| it.policy = shared), "fulfilled");
}

#[test]
fn whose_it_is_decides_whether_it_may_be_touched() {
    let plain = || around(|_| {});
    let nobodys = |found: &mut ContainerFacts| found.all_labels.clear();
    check(&bad(nobodys), &plain(), QUARANTINE);
    check(&bad(nobodys), &around(|it| it.settings.unmanaged.clear()), "not_opted_in");
    let other = around(|it| it.settings.unmanaged = BTreeSet::from(["other".to_owned()]));
    check(&bad(nobodys), &other, "not_opted_in");
    check(&bad(|it| label(it, labels::OWNER, "another")), &plain(), "other_agent");
    check(&bad(|it| label(it, labels::PART, "proxy")), &plain(), "own_part");
    let is_itself = |found: &mut ContainerFacts| {
        found.id = format!("0123456789abcdef{}", "0".repeat(48));
    };
    check(&bad(is_itself), &plain(), "own_part");
}

#[test]
fn switches_maintenance_and_limits_stand_against_it() {
    let switch = |is_off| Switch {
        is_off,
        by: "root".to_owned(),
        reason: "an incident".to_owned(),
        at: now(),
    };
    check(&bad(|_| {}), &around(|it| it.switch = Some(switch(true))), "switched_off");
    check(&bad(|_| {}), &around(|it| it.switch = Some(switch(false))), QUARANTINE);
    check(&bad(|_| {}), &around(|it| it.settings.is_enabled = false), "disabled");
    let work = |place: Place, ends: &str| Maintenance {
        place,
        by: "root".to_owned(),
        reason: "a move".to_owned(),
        began_at: "2026-06-15T11:00:00Z".parse().unwrap(),
        ends_at: ends.parse().unwrap(),
    };
    let shop = || Place::Project("shop".to_owned());
    for (place, ends, expect) in [
        (Place::Host, "2026-06-15T12:00:01Z", "maintenance"),
        (Place::Host, "2026-06-15T12:00:00Z", QUARANTINE),
        (shop(), "2026-06-15T13:00:00Z", "maintenance"),
        (Place::Project("other".to_owned()), "2026-06-15T13:00:00Z", QUARANTINE),
    ] {
        let around = around(|it| it.maintenance = vec![work(place, ends)]);
        check(&bad(|_| {}), &around, expect);
    }
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let old = [at("2026-06-15T11:49:59Z"); 5];
    check(&bad(|_| {}), &around(|it| it.recent = old.to_vec()), QUARANTINE);
    let recent = vec![at("2026-06-15T11:50:01Z"); 3];
    check(&bad(|_| {}), &around(|it| it.recent = recent.clone()), "limit_reached");
    check(&bad(|_| {}), &around(|it| it.recent = recent[1..].to_vec()), QUARANTINE);
}

#[test]
fn what_was_done_is_not_done_again_until_somebody_undoes_it() {
    let known = |state, rung| around(|it| it.treated = Some(treated(state, rung)));
    let alone = |found: &mut ContainerFacts| {
        found.spec.network_mode = NetworkMode::Networks(BTreeMap::new());
    };
    check(&bad(alone), &known(Treatment::InForce, Rung::Quarantine), "treated");
    check(&bad(|_| {}), &known(Treatment::InForce, Rung::Quarantine), QUARANTINE);
    let frozen = |found: &mut ContainerFacts| found.state = ContainerState::Paused;
    check(&bad(frozen), &known(Treatment::InForce, Rung::Pause), "treated");
    check(&bad(|_| {}), &known(Treatment::InForce, Rung::Pause), QUARANTINE);
    check(&bad(|_| {}), &known(Treatment::Begun, Rung::Quarantine), QUARANTINE);
    check(&bad(|_| {}), &known(Treatment::GivenUp, Rung::Stop), "given_up");
    let others = around(|it| {
        let codes = vec!["rule.host_pid".to_owned()];
        it.treated = Some(Treated { codes, ..treated(Treatment::GivenUp, Rung::Stop) });
    });
    check(&bad(|_| {}), &others, QUARANTINE);
    for (until, expect) in
        [("2026-06-15T12:00:01Z", "released"), ("2026-06-15T12:00:00Z", QUARANTINE)]
    {
        let until = Some(until.parse().unwrap());
        let around = around(|it| {
            let known = treated(Treatment::Released, Rung::Quarantine);
            it.treated = Some(Treated { released_until: until, ..known });
        });
        check(&bad(|_| {}), &around, expect);
    }
}

#[test]
fn the_first_rung_is_the_mildest_that_helps() {
    let host = |found: &mut ContainerFacts| found.spec.network_mode = NetworkMode::Host;
    check(&bad(host), &around(|_| {}), "pause rule.privileged");
    let none = |found: &mut ContainerFacts| found.spec.network_mode = NetworkMode::None;
    check(&bad(none), &around(|_| {}), "pause rule.privileged");
    let live = "name: strict\ntitle: t\nowner: o\naction: remediate\nchecks: [restart_policy]";
    let forever = container(|found| found.spec.restart = RestartPolicy::Always);
    check(&forever, &around(|it| it.policy = live), "update rule.restart_policy");
    let both =
        "name: strict\ntitle: t\nowner: o\naction: remediate\nchecks: [restart_policy, privileged]";
    let found = bad(|found| found.spec.restart = RestartPolicy::Always);
    let Decision::Act { rung, changes, .. } = decided(&found, &around(|it| it.policy = both))
    else {
        panic!("nothing is done")
    };
    assert_eq!(rung, Rung::Recreate);
    assert!(!changes.spec.is_empty() && !changes.is_live_empty());
    let hopeless = "name: strict\ntitle: t\nowner: o\naction: remediate\nconditions:\n\
        - {id: never, expression: 'false', message: it never holds}";
    check(&bad(|_| {}), &around(|it| it.policy = hopeless), "no_remedy");
}

#[test]
fn the_ladder_ends_where_the_policy_stops_asking() {
    let ladder = |first: Rung, action: Action| {
        let mut rungs = vec![first];
        while let Some(next) = next_rung(*rungs.last().unwrap(), action) {
            rungs.push(next);
        }
        rungs
    };
    use Rung::{Pause, Quarantine, Recreate, Stop, Update};
    assert_eq!(ladder(Update, Action::Remediate), [Update, Recreate]);
    assert_eq!(ladder(Quarantine, Action::Quarantine), [Quarantine, Pause, Stop]);
    for action in [Action::Off, Action::Audit, Action::Warn, Action::Deny] {
        assert_eq!(ladder(Quarantine, action), [Quarantine]);
    }
}

/// The container as the steps make it.
fn after(found: &ContainerFacts, steps: &[PlannedStep], undo: &Remembered) -> ContainerFacts {
    let mut found = found.clone();
    for step in steps {
        match &step.act {
            Act::Update(settings) => settings.write_to(&mut found.spec),
            Act::Disconnect(network) => {
                if let NetworkMode::Networks(networks) = &mut found.spec.network_mode {
                    networks.remove(network).unwrap();
                }
                found.spec.external_links.clear();
            }
            Act::Connect(network) => {
                if let NetworkMode::Networks(networks) = &mut found.spec.network_mode {
                    networks.insert(network.clone(), undo.networks[network].clone());
                }
                found.spec.external_links.extend(undo.links.iter().cloned());
            }
            Act::Pause => found.state = ContainerState::Paused,
            Act::Unpause | Act::Start => found.state = ContainerState::Running,
            Act::Stop => found.state = ContainerState::Exited,
            Act::Recreate => panic!("made anew"),
        }
    }
    found
}

#[test]
fn every_rung_is_done_by_its_steps_and_undone_by_what_was_remembered() {
    let mut changes = Changes::default();
    changes.live.pids_max = Some(100);
    changes.live.restart = Some(RestartPolicy::No);
    let first = container(|found| {
        found.spec.resources.pids_max = Some(9_000);
        found.spec.restart = RestartPolicy::Always;
    });
    for rung in [Rung::Update, Rung::Quarantine, Rung::Pause, Rung::Stop] {
        assert!(!is_done(rung, &first, &changes), "{rung}");
        let undo = Remembered::default().before(rung, &first, &changes);
        let planned = steps(rung, &first, &changes);
        assert!(!planned.is_empty() && planned.iter().all(|step| step.undo.is_some()), "{rung}");
        let done = after(&first, &planned, &undo);
        assert!(is_done(rung, &done, &changes), "{rung}");
        assert!(steps(rung, &done, &changes).is_empty(), "{rung}");
        // Interrupted, the next attempt remembers what it finds, and loses nothing of before.
        let undo = undo.before(rung, &done, &changes);
        let back = release_steps(&undo, &done);
        let released = after(&done, &back, &undo);
        assert_eq!(released, first, "{rung}");
        assert!(release_steps(&undo, &released).is_empty(), "{rung}");
    }
}

#[test]
fn several_rungs_are_undone_together() {
    let first = container(|_| {});
    let changes = Changes::default();
    let mut undo = Remembered::default();
    let mut found = first.clone();
    for rung in [Rung::Quarantine, Rung::Pause] {
        undo = undo.before(rung, &found, &changes);
        found = after(&found, &steps(rung, &found, &changes), &undo);
    }
    let keys: Vec<String> = release_steps(&undo, &found).into_iter().map(|it| it.key).collect();
    let expect = ["release.unpause:shop-web-1", "release.connect:front:shop-web-1"];
    assert_eq!(keys, expect);
    assert_eq!(after(&found, &release_steps(&undo, &found), &undo), first);
    // What others did meanwhile stays.
    let started = container(|_| {});
    assert!(release_steps(&undo, &started).is_empty());
}

#[test]
fn the_network_of_those_that_name_none_is_lost_too() {
    let found = container(|found| {
        found.spec.network_mode = NetworkMode::Networks(BTreeMap::new());
        found.addresses.insert("bridge".to_owned(), crate::facts::NetworkAddress::default());
    });
    let changes = Changes::default();
    assert!(!is_done(Rung::Quarantine, &found, &changes));
    let planned = steps(Rung::Quarantine, &found, &changes);
    assert_eq!(planned[0].act, Act::Disconnect("bridge".to_owned()));
    let undo = Remembered::default().before(Rung::Quarantine, &found, &changes);
    assert!(undo.networks.contains_key("bridge"));
}

#[test]
fn limits_that_were_not_there_are_named() {
    let mut changes = Changes::default();
    changes.live.memory_bytes = Some(64 << 20);
    let found = container(|_| {});
    let undo = Remembered::default().before(Rung::Update, &found, &changes);
    assert_eq!(undo.had_none, BTreeSet::from(["memory_bytes".to_owned()]));
    assert_eq!(undo.live, LiveChange::default());
    let wanted = LiveSettings { memory_bytes: Some(64 << 20), ..LiveSettings::default() };
    let planned = steps(Rung::Update, &found, &changes);
    assert_eq!(planned[0].act, Act::Update(wanted));
}

#[test]
fn a_record_reads_back_as_it_was_written() {
    let mut known = treated(Treatment::InForce, Rung::Quarantine);
    known.undo = Remembered::default().before(Rung::Quarantine, &container(|_| {}), &known.changes);
    let text = serde_json::to_string(&known).unwrap();
    assert_eq!(serde_json::from_str::<Treated>(&text).unwrap(), known);
}
