//! Which revision declares which service.

use super::*;
use std::collections::BTreeSet;

fn revision(services: &[&str], change: impl FnOnce(&mut ProjectSpec)) -> Revision {
    let mut spec = shop();
    change(&mut spec);
    Revision { spec, services: services.iter().map(|name| (*name).to_owned()).collect() }
}

fn images(spec: &mut ProjectSpec, image: &str) {
    for unit in spec.services.values_mut() {
        unit.spec.image = image.to_owned();
    }
}

/// The image of each wanted service, which tells the revision that declares it.
fn check(revisions: Vec<Revision>, expect: &str) {
    let (spec, wanted) = layered(revisions);
    let told: Vec<String> =
        wanted.keys().map(|name| format!("{name}={}", spec.services[name].spec.image)).collect();
    assert_eq!(told.join(" "), expect);
}

#[test]
fn service_is_declared_by_the_newest_revision_that_was_asked_for_it() {
    let old = |services: &[&str]| revision(services, |spec| images(spec, "old"));
    let new = |services: &[&str]| revision(services, |spec| images(spec, "new"));
    check(vec![new(&[])], "db=new migrate=new web=new");
    check(vec![new(&["db"])], "db=new");
    check(vec![new(&["migrate"])], "db=new migrate=new");
    check(vec![new(&["db"]), old(&[])], "db=new migrate=old web=old");
    check(vec![new(&["db"]), old(&["migrate"])], "db=new migrate=old");
    check(vec![new(&["web"]), old(&["db"])], "db=new migrate=new web=new");
}

#[test]
fn service_that_the_newest_files_dropped_is_kept_with_its_surroundings() {
    let newest = revision(&["db"], |spec| {
        spec.services.retain(|name, _| name == "db");
        spec.networks.remove("front");
    });
    let (spec, wanted) = layered(vec![newest, revision(&[], |_| {})]);
    assert_eq!(
        wanted,
        [("db", 0), ("migrate", 1), ("web", 1)].map(|(n, p)| (n.to_owned(), p)).into()
    );
    assert_eq!(spec, shop());
}

#[test]
fn key_that_means_another_network_by_now_is_not_taken_away() {
    let newest = revision(&["db"], |spec| {
        spec.networks.get_mut("front").unwrap().name = "elsewhere".to_owned();
    });
    let (spec, _) = layered(vec![newest, revision(&[], |_| {})]);
    let names: BTreeSet<(&str, &str)> =
        spec.networks.iter().map(|(key, network)| (key.as_str(), network.name.as_str())).collect();
    let expect = [("back", "shop_back"), ("front", "elsewhere"), ("shop_front", "shop_front")];
    assert_eq!(names, expect.into());
}
