//! What the cases go through: a compose file becomes a model, its check judges it, then the model as it
//! is printed and read again, and then what an engine would report of it; the verdicts have to be the
//! same. What a machine can repair is repaired, and has to pass.

use std::collections::BTreeMap;

use super::cases::tables;
use super::*;
use crate::domain::compose::{
    Answer, Files, Inputs, Loaded, Options, Project, canonical_yaml, load, lower,
};
use crate::facts::{
    ContainerFacts, DaemonFacts, HostFacts, Logging, ProjectSpec, RestartPolicy, effective,
    resolve_namespaces,
};

#[test]
fn every_spelling_has_its_verdict_declared_read_again_and_running() {
    let tables = tables();
    for table in &tables {
        let id = table.check.parse::<CheckId>().unwrap();
        for (body, expect, beside) in &table.cases {
            let case = Case::new(body, beside);
            let found = words(case.judged(id, &table.parameters));
            let about = &table.about;
            let told = format!("{id}: {about}: {body}{beside}\nexpected {expect}, got {found}");
            assert!(found.starts_with(expect), "{told}");
            case.is_placed(id, &table.parameters);
            case.is_the_same_read_again(id, &table.parameters);
            case.is_the_same_live(id, &table.parameters);
            case.is_repaired(id, &table.parameters);
        }
    }
    // The checks that a file says nothing of have tables of their own.
    let told: BTreeSet<&str> = tables.iter().map(|table| table.check.as_str()).collect();
    let missing = CHECKS.iter().map(|check| check.id.key()).filter(|id| !told.contains(id));
    let of_their_own = ["image_age", "image_provenance"];
    let by_rule: Vec<&str> = RULES.iter().map(|id| id.key()).collect();
    let missing: Vec<&str> =
        missing.filter(|id| !of_their_own.contains(id) && !by_rule.contains(id)).collect();
    assert_eq!(missing, [""; 0]);
}

/// A project with a service `web`.
pub(super) struct Case {
    text: String,
    project: Project,
    pub(super) spec: ProjectSpec,
    volumes: VolumeOptions,
}

impl Case {
    #[track_caller]
    pub(super) fn new(body: &str, beside: &str) -> Self {
        let (has_image, is_built) = (body.contains("image:"), body.contains("build:"));
        let image = if has_image || is_built { "" } else { "    image: web:1\n" };
        let indented: String = body.lines().map(|line| format!("    {line}\n")).collect();
        Self::of_text(&format!("services:\n  web:\n{image}{indented}{beside}"))
    }

    #[track_caller]
    fn of_text(text: &str) -> Self {
        let files = Files::from([(
            "/p/compose.yaml".to_owned(),
            Answer::Content(text.as_bytes().to_vec()),
        )]);
        let options = Options { directory: "/p".to_owned(), ..Options::default() };
        let mut known = files.clone();
        let project = loop {
            match load(&options, &BTreeMap::new(), &known) {
                Ok(Loaded::Done(project)) => break *project,
                Ok(Loaded::Needs(paths)) => {
                    for path in paths {
                        let answer = files.get(&path).cloned().unwrap_or(Answer::Missing);
                        known.insert(path, answer);
                    }
                }
                Err(problems) => panic!("{text}\n{problems}"),
            }
        };
        let inputs = Inputs { files, ..Inputs::default() };
        let spec = lower(&project, &inputs).unwrap_or_else(|found| panic!("{text}\n{found}"));
        let declared = spec.volumes.values().filter(|volume| !volume.external);
        let volumes =
            declared.map(|volume| (volume.name.clone(), volume.driver_options.clone())).collect();
        Self { text: text.to_owned(), project, spec, volumes }
    }

    pub(super) fn web(&self) -> &ServiceSpec {
        &self.spec.services["web"].spec
    }

    fn peers(&self) -> Vec<(&str, &ServiceSpec)> {
        let others = self.spec.services.iter().filter(|(name, _)| *name != "web");
        others.map(|(name, unit)| (name.as_str(), &unit.spec)).collect()
    }

    fn verdict(&self, id: CheckId, web: &ServiceSpec, parameters: &Parameters) -> Verdict {
        let peers = self.peers();
        let subject = Subject {
            is_built: self.spec.services["web"].build.is_some(),
            literals: self.project.literals("web"),
            peers: Some(&peers),
            volumes: Some(&self.volumes),
            ..Subject::new("web", web)
        };
        (check(id).unwrap().judge)(&subject, parameters)
    }

    fn judged(&self, id: CheckId, parameters: &Parameters) -> Verdict {
        self.verdict(id, self.web(), parameters)
    }

    /// The keys of a failure lead to a place in the file.
    fn is_placed(&self, id: CheckId, parameters: &Parameters) {
        let Verdict::Fail { at, .. } = self.judged(id, parameters) else { return };
        let path: Vec<&str> = at.iter().map(String::as_str).collect();
        let place = self.project.place("web", &path);
        assert!(place.is_some(), "{id}: {at:?} in\n{}", self.text);
    }

    /// What `wharf compose config` prints is a file that gets the same verdict.
    fn is_the_same_read_again(&self, id: CheckId, parameters: &Parameters) {
        let declared = self.judged(id, parameters);
        let again = Self::of_text(&canonical_yaml(&self.project));
        let found = again.judged(id, parameters);
        assert_eq!(words(found), words(declared), "{id}: read again:\n{}", self.text);
    }

    /// What an engine reports of a container that was made so gets the verdict of the file, except
    /// that more may be known.
    fn is_the_same_live(&self, id: CheckId, parameters: &Parameters) {
        let declared = self.judged(id, parameters);
        let image = image(|spec| spec.user = Some("app".to_owned()));
        let ids: BTreeMap<String, String> = self
            .peers()
            .iter()
            .map(|(name, _)| ((*name).to_owned(), format!("id-{name}")))
            .collect();
        let live = |spec: &ServiceSpec| reported(spec, &image, &ids);
        let web = live(self.web());
        let container = container(web.clone(), &image);
        let others: Vec<(String, ServiceSpec)> =
            self.peers().iter().map(|(name, spec)| ((*name).to_owned(), live(spec))).collect();
        let by_service = others.iter().map(|(name, spec)| (name.as_str(), spec));
        let by_id = others.iter().map(|(name, spec)| (ids[name].as_str(), spec));
        let peers: Vec<(&str, &ServiceSpec)> = by_service.chain(by_id).collect();
        let subject = Subject {
            is_built: self.spec.services["web"].build.is_some(),
            literals: self.project.literals("web"),
            peers: Some(&peers),
            volumes: Some(&self.volumes),
            container: Some(&container),
            ..Subject::new("web", &web)
        };
        let found = (check(id).unwrap().judge)(&subject, parameters);
        let is_same = match (&declared, &found) {
            (Verdict::Unknown { .. }, _) => true,
            (declared, found) => std::mem::discriminant(declared) == std::mem::discriminant(found),
        };
        let (declared, found) = (words(declared), words(found));
        assert!(is_same, "{id}: the file is `{declared}`, its container `{found}`:\n{}", self.text);
    }

    fn is_repaired(&self, id: CheckId, parameters: &Parameters) {
        let found = self.judged(id, parameters);
        let peers = self.peers();
        let subject = Subject {
            is_built: self.spec.services["web"].build.is_some(),
            peers: Some(&peers),
            volumes: Some(&self.volumes),
            ..Subject::new("web", self.web())
        };
        let remedy = check(id).unwrap().remedy.and_then(|remedy| remedy(&subject, parameters));
        let Some(remedy) = remedy else { return };
        if found == Verdict::Pass {
            panic!("{id}: nothing is to be repaired: {remedy:?}\n{}", self.text);
        }
        let mut web = self.web().clone();
        remedy.apply(&mut web);
        let repaired = self.verdict(id, &web, parameters);
        assert_eq!(repaired, Verdict::Pass, "{id}: {remedy:?}\n{}", self.text);
    }
}

/// The contract as an engine reports it, with what it fills in.
fn reported(spec: &ServiceSpec, image: &ImageFacts, ids: &BTreeMap<String, String>) -> ServiceSpec {
    let mut spec = spec.clone();
    let security = &mut spec.security;
    let is_host = |mode: &Option<String>| mode.as_deref() == Some("host");
    if security.privileged || is_host(&security.pid_mode) || is_host(&security.ipc_mode) {
        security.security_opt.insert("label=disable".to_owned());
    }
    security.ipc_mode.get_or_insert_with(|| "private".to_owned());
    spec.resources.shm_size_bytes.get_or_insert(64 << 20);
    spec.resources.pids_max.get_or_insert(0);
    spec.resources.cpu_shares.get_or_insert(0);
    spec.logging.get_or_insert_with(|| Logging {
        driver: Some("json-file".to_owned()),
        options: BTreeMap::new(),
    });
    let mut spec = effective(&spec, image);
    let resolved = ids.iter().map(|(name, id)| (format!("service:{name}"), id.clone())).collect();
    resolve_namespaces(&mut spec, &resolved);
    spec.volumes_from = spec
        .volumes_from
        .iter()
        .map(|from| match from.split_once(':') {
            Some((name, mode)) if ids.contains_key(name) => format!("{}:{mode}", ids[name]),
            _ => ids.get(from).unwrap_or(from).clone(),
        })
        .collect();
    spec
}

pub(super) fn container(spec: ServiceSpec, image: &ImageFacts) -> ContainerFacts {
    ContainerFacts { image_id: image.id.clone(), ..ContainerFacts::running("p-web-1", spec) }
}

/// A host whose engine says this of itself.
pub(super) fn host(change: impl FnOnce(&mut DaemonFacts)) -> HostFacts {
    let mut daemon =
        DaemonFacts { logging_driver: "json-file".to_owned(), ..DaemonFacts::default() };
    change(&mut daemon);
    HostFacts { daemon: Some(daemon), ..HostFacts::default() }
}

#[test]
fn what_a_report_does_not_say_its_image_does_not_say_either() {
    let spec = service(|_| {});
    let container = container(spec.clone(), &image(|_| {}));
    let live = Subject { container: Some(&container), ..Subject::new("web", &spec) };
    let none = "fail: neither the service nor its image has a health check at ";
    assert_eq!(told(CheckId::HealthCheck, &live), none);
    let root = "fail: its image says that it runs as root at user";
    assert_eq!(told(CheckId::NonRootUser, &live), root);
}

#[test]
fn live_settings_are_remedied_on_the_container_that_runs() {
    let mut parameters = Parameters::default();
    (parameters.memory_bytes, parameters.nano_cpus) = (Some(1 << 20), Some(500_000_000));
    let spec = service(|spec| spec.restart = RestartPolicy::Always);
    let subject = Subject::new("web", &spec);
    for id in [CheckId::MemoryLimit, CheckId::CpuLimit, CheckId::PidsLimit, CheckId::RestartPolicy]
    {
        let check = check(id).unwrap();
        let remedy = check.remedy.unwrap()(&subject, &parameters).unwrap();
        assert!(matches!(remedy, Remedy::Live(_)), "{id}: {remedy:?}");
        let mut repaired = spec.clone();
        remedy.apply(&mut repaired);
        let subject = Subject::new("web", &repaired);
        assert_eq!((check.judge)(&subject, &parameters), Verdict::Pass, "{id}");
    }
}
