//! Promises about networks and volumes.

use std::collections::BTreeMap;
use std::time::Duration;

use wharfinger::facts::labels::RUN;
use wharfinger::facts::{Attachment, Mount, MountKind, NetworkMode, NetworkSpec, VolumeSpec};
use wharfinger::world::docker::EngineErrorKind;

use super::{Bench, assert_fails, members};

pub async fn network_lives_from_create_to_remove(bench: &Bench) {
    let engine = &bench.engine;
    let name = bench.name("front");
    let spec = NetworkSpec {
        name: name.clone(),
        internal: true,
        labels: BTreeMap::from([("tier".to_owned(), "front".to_owned())]),
        ..NetworkSpec::default()
    };
    assert_eq!(engine.network(&name).await.unwrap(), None);
    let id = engine.create_network(&spec, &bench.bookkeeping()).await.unwrap();
    let again = engine.create_network(&spec, &bench.bookkeeping()).await;
    assert_fails(again, EngineErrorKind::Conflict);

    let facts = engine.network(&name).await.unwrap().expect("the network is there");
    assert_eq!((&facts.id, &facts.name), (&id, &name));
    assert_eq!((facts.driver.as_str(), facts.internal), ("bridge", true));
    assert_eq!(facts.labels["tier"], "front");
    let listed = engine.networks(Some((RUN, &bench.prefix))).await.unwrap();
    assert_eq!(listed.iter().map(|it| &it.id).collect::<Vec<_>>(), [&id]);
    assert!(engine.networks(None).await.unwrap().iter().any(|it| it.name == "bridge"));

    engine.remove_network(&name).await.unwrap();
    assert_fails(engine.remove_network(&name).await, EngineErrorKind::NotFound);
}

pub async fn containers_join_and_leave(bench: &Bench) {
    let engine = &bench.engine;
    let image = bench.image("").await;
    let (front, back) = (bench.network("front").await, bench.network("back").await);
    let mut new = bench.container("one", &image);
    new.spec.network_mode = members(&[&front]);
    let id = bench.run(&new).await;
    let attachment = Attachment { aliases: ["db".to_owned()].into(), ..Attachment::default() };
    engine.connect_network(&back, &id, &attachment).await.unwrap();
    let again = engine.connect_network(&back, &id, &attachment).await;
    assert_fails(again, EngineErrorKind::Conflict);
    let facts = bench.look(&id).await;
    let NetworkMode::Networks(networks) = &facts.spec.network_mode else {
        panic!("{:?}", facts.spec.network_mode)
    };
    assert!(networks[&back].aliases.contains("db"), "{networks:?}");
    assert!(facts.addresses[&front].ipv4_address.contains('.'));
    assert_eq!(facts.addresses.keys().collect::<Vec<_>>(), [&back, &front]);

    assert_fails(engine.remove_network(&back).await, EngineErrorKind::Conflict);
    engine.disconnect_network(&back, &id).await.unwrap();
    let again = engine.disconnect_network(&back, &id).await;
    assert_fails(again, EngineErrorKind::Conflict);
    engine.remove_network(&back).await.unwrap();
    let plain = Attachment::default();
    let missing = EngineErrorKind::NotFound;
    assert_fails(engine.connect_network(&back, &id, &plain).await, missing);
    assert_fails(engine.disconnect_network(&back, &id).await, missing);
    let nobody = bench.name("nobody");
    assert_fails(engine.connect_network(&front, &nobody, &plain).await, missing);
    assert_fails(engine.disconnect_network(&front, &nobody).await, missing);

    engine.stop_container(&id, Some(Duration::ZERO)).await.unwrap();
    engine.remove_network(&front).await.expect("only running containers hold a network");
    assert_fails(engine.start_container(&id).await, missing);
}

pub async fn container_is_in_all_its_networks_from_the_start(bench: &Bench) {
    let engine = &bench.engine;
    let image = bench.image("").await;
    let (front, back) = (bench.network("a-front").await, bench.network("back").await);
    let mut new = bench.container("one", &image);
    new.spec.network_mode = members(&[&front, &back]);
    let id = engine.create_container(&new).await.unwrap();
    let made = bench.look(&id).await;
    assert_eq!(made.spec.network_mode, new.spec.network_mode, "before it was ever started");

    let mut lost = bench.container("two", &image);
    lost.spec.network_mode = members(&[&front, &bench.name("nowhere")]);
    let id = engine.create_container(&lost).await.expect("networks are looked for at the start");
    assert_fails(engine.start_container(&id).await, EngineErrorKind::NotFound);
}

pub async fn volume_lives_from_create_to_remove(bench: &Bench) {
    let engine = &bench.engine;
    let image = bench.image("").await;
    let name = bench.name("data");
    assert_eq!(engine.volume(&name).await.unwrap(), None);
    assert_eq!(bench.volume("data").await, name);
    let spec = VolumeSpec { name: name.clone(), ..VolumeSpec::default() };
    engine.create_volume(&spec, &bench.bookkeeping()).await.expect("a second one is no error");
    let facts = engine.volume(&name).await.unwrap().expect("the volume is there");
    assert_eq!((facts.name.as_str(), facts.driver.as_str()), (name.as_str(), "local"));
    assert!(facts.mountpoint.starts_with('/'));
    let listed = engine.volumes(Some((RUN, &bench.prefix))).await.unwrap();
    assert_eq!(listed, [facts]);
    assert!(engine.volumes(None).await.unwrap().iter().any(|volume| volume.name == name));

    let mut user = bench.container("user", &image);
    let kind = MountKind::Volume { name: name.clone(), no_copy: false, subpath: None };
    user.spec.mounts.insert("/data".to_owned(), Mount { kind, read_only: false });
    let id = engine.create_container(&user).await.unwrap();
    assert_fails(engine.remove_volume(&name).await, EngineErrorKind::Conflict);
    engine.remove_container(&id, Default::default()).await.unwrap();
    engine.remove_volume(&name).await.unwrap();
    assert_fails(engine.remove_volume(&name).await, EngineErrorKind::NotFound);
}
