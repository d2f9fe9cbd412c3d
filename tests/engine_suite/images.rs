//! Promises about images.

use std::sync::Mutex;

use wharfinger::facts::{BuildSpec, HealthProbe, MountKind};
use wharfinger::world::docker::{EngineErrorKind, PullImage, RemoveContainer};

use super::{Bench, assert_fails};

pub async fn image_is_built_inspected_and_removed(bench: &Bench) {
    let engine = &bench.engine;
    let lines = "ENV FLAVOUR=plain\nLABEL tier=back\nENTRYPOINT [\"/bin/busybox\"]\n\
                 CMD [\"sleep\", \"9\"]\nUSER 7:8\nWORKDIR /srv\nSTOPSIGNAL SIGQUIT\nEXPOSE 8080\n\
                 VOLUME [\"/data\"]\nHEALTHCHECK CMD [\"/bin/busybox\", \"true\"]";
    let name = bench.image(lines).await;
    let facts = engine.image(&name).await.unwrap().expect("the image is there");
    assert!(facts.id.starts_with("sha256:"), "{}", facts.id);
    assert_eq!(facts.tags, [format!("{name}:latest")]);
    assert!(facts.platform.starts_with("linux/"), "{}", facts.platform);
    assert!(facts.size_bytes > 0 && facts.created_at.is_some());
    let defaults = &facts.defaults;
    let words = |words: &[&str]| Some(words.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
    assert_eq!(defaults.entrypoint, words(&["/bin/busybox"]));
    assert_eq!(defaults.command, words(&["sleep", "9"]));
    assert_eq!(defaults.environment["FLAVOUR"].expose(), "plain");
    assert_eq!(defaults.labels["tier"], "back");
    assert_eq!(defaults.user.as_deref(), Some("7:8"));
    assert_eq!(defaults.working_dir.as_deref(), Some("/srv"));
    assert_eq!(defaults.stop_signal.as_deref(), Some("SIGQUIT"));
    assert!(defaults.expose.contains("8080/tcp"));
    assert_eq!(defaults.mounts["/data"].kind, MountKind::Anonymous);
    let probe = defaults.healthcheck.as_ref().map(|check| &check.probe);
    assert_eq!(probe, Some(&HealthProbe::Exec(vec!["/bin/busybox".into(), "true".into()])));

    let by_id = engine.image(&facts.id).await.unwrap();
    assert_eq!(by_id.map(|facts| facts.id), Some(facts.id));
    let user = engine.create_container(&bench.container("user", &name)).await.unwrap();
    assert_fails(engine.remove_image(&name).await, EngineErrorKind::Conflict);
    let how = RemoveContainer { force: false, anonymous_volumes: true };
    engine.remove_container(&user, how).await.unwrap();
    engine.remove_image(&name).await.unwrap();
    assert_eq!(engine.image(&name).await.unwrap(), None);
    assert_fails(engine.remove_image(&name).await, EngineErrorKind::NotFound);
}

pub async fn failed_builds_are_told_apart(bench: &Bench) {
    let engine = &bench.engine;
    let parent = bench.image("").await;
    let name = bench.name("failed");
    let step = format!("FROM {parent}\nRUN [\"/bin/busybox\", \"false\"]\n");
    assert_fails(bench.build(&step, &name).await, EngineErrorKind::BuildFailed);
    let base = format!("FROM {}\n", bench.name("no-base"));
    assert_fails(bench.build(&base, &name).await, EngineErrorKind::ImageUnavailable);
    let empty = tar::Builder::new(Vec::new()).into_inner().unwrap().into();
    let built = engine.build_image(&BuildSpec::default(), &[name], empty, &[], &|_| {}).await;
    assert_fails(built, EngineErrorKind::BuildFailed);

    let lines = Mutex::new(Vec::new());
    let inline = BuildSpec {
        dockerfile_inline: Some("FROM scratch\nLABEL a=b\nCMD [\"/x\"]\n".to_owned()),
        extra_hosts: vec!["a=10.0.0.1".to_owned(), "b=10.0.0.2".to_owned()],
        tags: vec![bench.name("second")],
        no_cache: true,
        ..BuildSpec::default()
    };
    let empty = tar::Builder::new(Vec::new()).into_inner().unwrap().into();
    let note = |line| lines.lock().unwrap().push(line);
    let id = engine.build_image(&inline, &[bench.name("first")], empty, &[], &note).await.unwrap();
    assert!(!lines.lock().unwrap().is_empty(), "progress was reported");
    for tag in ["first", "second"] {
        let found = engine.image(&bench.name(tag)).await.unwrap().expect("each name is given");
        assert_eq!(found.id, id);
        engine.remove_image(&bench.name(tag)).await.unwrap();
    }
}

pub async fn image_that_no_registry_holds_is_unavailable(bench: &Bench) {
    let name = format!("localhost:9/{}", bench.name("nowhere"));
    let pulled = bench.engine.pull_image(&PullImage::plain(&name), &|_| {}).await;
    assert_fails(pulled, EngineErrorKind::ImageUnavailable);
    assert_eq!(bench.engine.image(&name).await.unwrap(), None);
}

pub async fn image_is_saved_with_what_its_layers_leave(bench: &Bench) {
    let engine = &bench.engine;
    let name = bench.name("saved");
    let mut context = tar::Builder::new(Vec::new());
    let dockerfile = "FROM scratch\nCOPY one /etc/os-release\nCOPY two /var/lib/dpkg/status\n\
                      COPY two /etc/os-release\nCOPY one /app/nothing\nCMD [\"/x\"]\n";
    for (path, content) in [("Dockerfile", dockerfile), ("one", "ID=one\n"), ("two", "ID=two\n")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        context.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    let context = context.into_inner().unwrap().into();
    let names = [name.clone()];
    engine.build_image(&BuildSpec::default(), &names, context, &[], &|_| {}).await.unwrap();
    let contents = wharfinger::world::image_archive::read(engine.save_image(&name)).await.unwrap();
    let files: Vec<_> =
        contents.files.iter().map(|(path, content)| (path.as_str(), &content[..])).collect();
    let two = &b"ID=two\n"[..];
    assert_eq!(files, [("etc/os-release", two), ("var/lib/dpkg/status", two)]);
    engine.remove_image(&name).await.unwrap();
    let gone = wharfinger::world::image_archive::read(engine.save_image(&name)).await;
    assert!(matches!(gone, Err(wharfinger::world::image_archive::ArchiveError::Engine(_))));
}
