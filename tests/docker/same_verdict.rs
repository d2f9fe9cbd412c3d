//! One rule, one verdict: what a check says of a compose file it says of the container that the engine made
//! of it, for every case there is. The containers are made and never started.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_util::stream::{self, StreamExt as _};
use wharfinger::base::yaml::{Node, parse};
use wharfinger::domain::compose::{Answer, Files, Inputs, Loaded, Options, Project, load, lower};
use wharfinger::domain::policy::{CheckId, Parameters, Subject, Verdict, VolumeOptions, check};
use wharfinger::facts::{ContainerFacts, MountKind, ProjectSpec, ServiceSpec, ServiceUnit};
use wharfinger::world::docker::{
    DockerEngine, Engine, EngineAddress, NewContainer, RemoveContainer,
};

use crate::support::engine;

#[path = "../policy/cases.rs"]
mod cases;
use cases::tables;

/// The label of everything that is made here.
const MARK: &str = "wharfverdict";
/// How many projects are made at once.
const AT_ONCE: usize = 6;

/// What no engine here makes, by a part of what it says of it, and why.
const NOT_MADE: [(&str, &str); 9] = [
    ("an image by its digest", "only a registry gives one"),
    ("plugin \"local-persist\" not found", "no plugins are here"),
    ("includes invalid characters for a local volume name", "engines that take it are broken"),
    ("bind source path does not exist", "whether there is such a path depends on the machine"),
    ("mount type unknown", "Windows only"),
    ("No such container", "the case is about a container that nobody knows"),
    ("systempaths:unconfined", "only with `=` it is an option"),
    ("invalid port specification", "people write an address there, and no engine takes it"),
    ("error looking up logging plugin None", "no engine has a driver of this name"),
];

/// A project with a service `web`, as its file declares it.
struct Declared {
    name: String,
    project: Project,
    spec: ProjectSpec,
}

fn declared(number: usize, (body, beside): (&str, &str)) -> Declared {
    let name = format!("wharfverdict{number}");
    let has_own = body.contains("image:") || body.contains("build:");
    let image = if has_own { "" } else { "    image: web:1\n" };
    let indented: String = body.lines().map(|line| format!("    {line}\n")).collect();
    let text = format!("name: {name}\nservices:\n  web:\n{image}{indented}{beside}");
    let compose = ("/p/compose.yaml".to_owned(), Answer::Content(text.into_bytes()));
    let mut files = Files::from([compose]);
    let options = Options { directory: "/p".to_owned(), ..Options::default() };
    let project = loop {
        match load(&options, &BTreeMap::new(), &files).unwrap() {
            Loaded::Done(project) => break *project,
            Loaded::Needs(paths) => {
                files.extend(paths.into_iter().map(|path| (path, Answer::Missing)));
            }
        }
    };
    let spec = lower(&project, &Inputs { files, ..Inputs::default() }).unwrap();
    Declared { name, project, spec }
}

fn judged(id: CheckId, subject: &Subject<'_>, parameters: &Parameters) -> Verdict {
    (check(id).unwrap().judge)(subject, parameters)
}

impl Declared {
    fn volumes(&self) -> VolumeOptions {
        let declared = self.spec.volumes.values().filter(|volume| !volume.external);
        declared.map(|volume| (volume.name.clone(), volume.driver_options.clone())).collect()
    }

    fn verdict(&self, id: CheckId, parameters: &Parameters) -> Verdict {
        let services = &self.spec.services;
        let others = services.iter().filter(|(name, _)| *name != "web");
        let peers: Vec<_> = others.map(|(name, unit)| (name.as_str(), &unit.spec)).collect();
        let volumes = self.volumes();
        let subject = Subject {
            is_built: services["web"].build.is_some(),
            literals: self.project.literals("web"),
            peers: Some(&peers),
            volumes: Some(&volumes),
            ..Subject::new("web", &services["web"].spec)
        };
        judged(id, &subject, parameters)
    }
}

/// What the engine made of a project.
struct Made {
    containers: BTreeMap<String, ContainerFacts>,
    volumes: VolumeOptions,
}

impl Made {
    fn verdict(&self, declared: &Declared, id: CheckId, parameters: &Parameters) -> Verdict {
        let others = self.containers.iter().filter(|(name, _)| *name != "web");
        let named = |(name, found): (&'_ String, &'_ ContainerFacts)| {
            [(name.clone(), found.spec.clone()), (found.id.clone(), found.spec.clone())]
        };
        let others: Vec<(String, ServiceSpec)> = others.flat_map(named).collect();
        let peers: Vec<_> = others.iter().map(|(name, spec)| (name.as_str(), spec)).collect();
        let web = &self.containers["web"];
        let subject = Subject {
            is_built: declared.spec.services["web"].build.is_some(),
            literals: declared.project.literals("web"),
            peers: Some(&peers),
            volumes: Some(&self.volumes),
            container: Some(web),
            ..Subject::new("web", &web.spec)
        };
        judged(id, &subject, parameters)
    }
}

/// Names that the one image goes by; they go with this.
struct ImageNames(Mutex<BTreeSet<String>>);

impl ImageNames {
    fn give(&self, name: &str) -> Result<(), String> {
        let mut names = self.0.lock().unwrap();
        if names.contains(name) {
            return Ok(());
        }
        let given = engine::docker(&["tag", &engine::busybox(), name]);
        if !given.status.success() {
            return Err(String::from_utf8_lossy(&given.stderr).trim().to_owned());
        }
        names.insert(name.to_owned());
        Ok(())
    }
}

impl Drop for ImageNames {
    fn drop(&mut self) {
        let names = std::mem::take(&mut *self.0.lock().unwrap());
        let names = names.iter().map(String::as_str);
        engine::docker(&["rmi", "--no-prune"].into_iter().chain(names).collect::<Vec<_>>());
    }
}

/// Removes what was made of a project.
async fn remove(engine: &dyn Engine, declared: &Declared, made: &Made) {
    let how = RemoveContainer { force: true, anonymous_volumes: true };
    for found in made.containers.values() {
        engine.remove_container(&found.id, how).await.unwrap();
    }
    for volume in declared.spec.volumes.values().filter(|volume| !volume.external) {
        engine.remove_volume(&volume.name).await.unwrap();
    }
    for network in declared.spec.networks.values().filter(|network| !network.external) {
        engine.remove_network(&network.name).await.unwrap();
    }
}

/// Makes the containers of a project, `web` last; what the engine refuses is what it says.
async fn make(
    engine: &dyn Engine,
    names: &ImageNames,
    declared: &Declared,
) -> Result<Made, String> {
    let mut spec = declared.spec.clone();
    let is_by_digest = |unit: &ServiceUnit| unit.spec.image.contains("sha256:");
    if spec.services.values().any(is_by_digest) {
        return Err("an image by its digest: only a registry gives one".to_owned());
    }
    for volume in spec.volumes.values().filter(|volume| !volume.external) {
        let made = engine.create_volume(volume, &declared.labels()).await;
        made.map_err(|error| format!("volume {}: {error}", volume.name))?;
    }
    for network in spec.networks.values().filter(|network| !network.external) {
        let made = engine.create_network(network, &declared.labels()).await;
        made.map_err(|error| format!("network {}: {error}", network.name))?;
    }
    let web = spec.services.remove("web").unwrap();
    let mut services: Vec<_> = spec.services.into_iter().collect();
    services.push(("web".to_owned(), web));
    let (mut resolved, mut containers) = (BTreeMap::new(), BTreeMap::new());
    for (name, unit) in services {
        names.give(&unit.spec.image)?;
        let new = NewContainer {
            name: format!("{}-{name}-1", declared.name),
            image: unit.spec.image.clone(),
            spec: unit.spec,
            bookkeeping: declared.labels(),
            resolved_namespaces: resolved.clone(),
            kept_volumes: BTreeMap::new(),
        };
        let made = engine.create_container(&new).await;
        let id = made.map_err(|error| error.to_string())?;
        let found = engine.container(&id).await.unwrap().expect("it was made");
        resolved.insert(format!("service:{name}"), id.clone());
        resolved.insert(name.clone(), id);
        containers.insert(name, found);
    }
    let mut volumes = VolumeOptions::new();
    for found in containers.values() {
        for mount in found.spec.mounts.values() {
            let MountKind::Volume { name, .. } = &mount.kind else { continue };
            if let Some(volume) = engine.volume(name).await.unwrap() {
                volumes.insert(volume.name, volume.driver_options);
            }
        }
    }
    Ok(Made { containers, volumes })
}

impl Declared {
    fn labels(&self) -> BTreeMap<String, String> {
        let labels = [(MARK, ""), ("com.docker.compose.project", &self.name)];
        labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }
}

#[tokio::test]
async fn a_container_gets_the_verdict_of_its_file() {
    let socket = EngineAddress::Unix(engine::socket());
    let engine: Arc<dyn Engine> = Arc::new(DockerEngine::at(socket));
    let engine = &*engine;
    engine::remove_marked(MARK);
    let names = ImageNames(Mutex::default());
    let tables = tables();
    let cases = tables.iter().flat_map(|table| &table.cases);
    let distinct: BTreeSet<_> =
        cases.map(|(body, _, beside)| (body.as_str(), beside.as_str())).collect();
    let making = distinct.into_iter().enumerate().map(|(number, case)| {
        let names = &names;
        async move {
            let declared = declared(number, case);
            let made = make(engine, names, &declared).await;
            match &made {
                Ok(made) => remove(engine, &declared, made).await,
                Err(_) => engine::remove_project(&declared.name),
            }
            (case, (declared, made))
        }
    });
    let made_of: BTreeMap<_, _> = stream::iter(making).buffer_unordered(AT_ONCE).collect().await;
    let (mut same, mut learned, mut differing) = (0, 0, Vec::new());
    for table in &tables {
        let id: CheckId = table.check.parse().unwrap();
        for (body, _, beside) in &table.cases {
            let (declared, made) = &made_of[&(body.as_str(), beside.as_str())];
            let Ok(made) = made else { continue };
            let expect = declared.verdict(id, &table.parameters);
            let found = made.verdict(declared, id, &table.parameters);
            match (&expect, &found) {
                (Verdict::Unknown { .. }, Verdict::Unknown { .. }) => same += 1,
                (Verdict::Unknown { .. }, _) => learned += 1,
                _ if std::mem::discriminant(&expect) == std::mem::discriminant(&found) => same += 1,
                _ => {
                    let about = &table.about;
                    let case = format!("{id}: {about}: {body}{beside}");
                    differing.push(format!("{case}: {expect:?}, but {found:?}"));
                }
            }
        }
    }
    let refused = made_of.iter().filter_map(|(case, (_, made))| Some((case, made.as_ref().err()?)));
    let not_made: Vec<_> = refused.collect();
    println!(
        "{} projects made: {same} verdicts the same, {learned} more known of a container, {} not \
         made",
        made_of.len() - not_made.len(),
        not_made.len()
    );
    let is_explained = |refusal: &str| NOT_MADE.iter().any(|(part, _)| refusal.contains(part));
    let unexplained: Vec<_> =
        not_made.iter().filter(|(_, refusal)| !is_explained(refusal)).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    assert_eq!(differing, [""; 0]);
    assert!(same > 300, "{same}");

    // A report that had lost a word would be found.
    let privileged = declared(made_of.len(), ("privileged: true", ""));
    let mut made = make(engine, &names, &privileged).await.unwrap();
    remove(engine, &privileged, &made).await;
    made.containers.get_mut("web").unwrap().spec.security.privileged = false;
    let parameters = Parameters::default();
    assert_eq!(made.verdict(&privileged, CheckId::Privileged, &parameters), Verdict::Pass);
    assert_ne!(privileged.verdict(CheckId::Privileged, &parameters), Verdict::Pass);
}
