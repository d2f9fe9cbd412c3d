//! Judges compose files, or what runs, by policies: `policy check`. Owns what of a file or a container is
//! judged. Face: `check`. Never asks an agent, and never changes anything.

use std::collections::BTreeMap;

use super::exit::{CliError, Exit};
use super::grammar::PolicyCheck;
use super::output::Output;
use super::policies::{is_yaml, problem, read_set, unjudged};
use super::policy_report::{Report, Row, Threshold, rows};
use super::project_files::read_project_leniently;
use crate::base::{Clock as _, Diagnostic, Timestamp};
use crate::domain::access::Stage;
use crate::domain::compose::{Answer, Files, Inputs, Project, lower_as_far_as_possible};
use crate::domain::policy::{PolicySet, Question, Subject, VolumeOptions};
use crate::facts::{ContainerFacts, HostFacts, ImageFacts, ProjectSpec, ServiceSpec, labels};
use crate::operations::enforcement::processes;
use crate::operations::host_look::look_at_host;
use crate::world::clock::SystemClock;
use crate::world::docker::{ContainerFilter, DockerEngine, Engine, EngineAddress, EngineError};

/// What a key is that says nothing to this agent.
const NOT_HONOURED: &str = "compose.not_honoured";

/// What is asked of the policies.
struct Asked<'a> {
    set: &'a PolicySet,
    stage: Stage,
    tenant: Option<&'a str>,
    now: Timestamp,
}

/// `wharf policy check`.
pub(super) fn check(
    words: &PolicyCheck,
    tenant: Option<&str>,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let threshold = Threshold::parse(&words.fail_on)?;
    let set = read_set(&words.set)?;
    let now = SystemClock.now();
    let asked = Asked { set: &set, stage: words.stage.stage(), tenant, now };
    let report = match words.engine {
        true => super::block_on(check_engine(words, &asked))?,
        false => check_files(words, &asked, output)?,
    };
    report.print(threshold, output)
}

fn check_files<'a>(
    words: &PolicyCheck,
    asked: &Asked<'a>,
    output: &mut Output,
) -> Result<Report<'a>, CliError> {
    let mut options = words.files.options()?;
    if options.profiles.is_empty() {
        options.profiles.push("*".to_owned());
    }
    let wrong = |problems| unjudged("the project's files cannot be judged", problems);
    let (project, mut files, left_out) =
        read_project_leniently(&options, |path| !is_yaml(path)).map_err(wrong)?;
    for path in left_out {
        output.note(format!("note: {path} is not there, and is taken for empty"));
    }
    stand_in(&project, &mut files);
    let inputs = Inputs { files, context_digests: BTreeMap::new() };
    let (spec, problems) = lower_as_far_as_possible(&project, &inputs);
    // What the agent does not deploy can be judged all the same.
    let is_known = |problem: &Diagnostic| problem.code == NOT_HONOURED;
    let (ignored, refused): (Vec<_>, Vec<_>) = problems.0.into_iter().partition(is_known);
    let warnings = project.warnings.iter().cloned().chain(ignored).collect();
    let mut found = Vec::new();
    for service in spec.services.keys() {
        found.extend(judge_declared(&project, &spec, service, asked));
    }
    Ok(Report {
        name: spec.name.clone(),
        stage: asked.stage,
        set: asked.set,
        subjects: spec.services.len(),
        rows: found,
        refused,
        warnings,
    })
}

/// What is in configs and secrets decides nothing here: one that cannot be read is as good as any.
fn stand_in(project: &Project, files: &mut Files) {
    for path in project.content_files().into_values() {
        files.insert(path, Answer::Content(Vec::new()));
    }
}

fn judge_declared(
    project: &Project,
    spec: &ProjectSpec,
    service: &str,
    asked: &Asked<'_>,
) -> Vec<Row> {
    let Some(unit) = spec.services.get(service) else { return Vec::new() };
    let others = spec.services.iter().filter(|(other, _)| *other != service);
    let peers: Vec<(&str, &ServiceSpec)> =
        others.map(|(other, unit)| (other.as_str(), &unit.spec)).collect();
    let declared = spec.volumes.values().filter(|volume| !volume.external);
    let volumes: VolumeOptions =
        declared.map(|volume| (volume.name.clone(), volume.driver_options.clone())).collect();
    let subject = Subject {
        project: Some(&spec.name),
        is_built: unit.build.is_some(),
        literals: project.literals(service),
        files: Some(&unit.files),
        peers: Some(&peers),
        volumes: Some(&volumes),
        now: Some(asked.now),
        ..Subject::new(service, &unit.spec)
    };
    let findings = asked.set.judge(&asked.question(&subject));
    rows(&findings, (None, service), |at| {
        let path: Vec<&str> = at.iter().map(String::as_str).collect();
        project.place(service, &path)
    })
}

/// Everything that the engine has, as one look.
struct Live {
    containers: Vec<ContainerFacts>,
    /// By the id that containers name.
    images: BTreeMap<String, ImageFacts>,
    volumes: VolumeOptions,
    host: HostFacts,
    /// The commands inside containers, by id, where a policy asks for them.
    processes: BTreeMap<String, Vec<String>>,
}

async fn check_engine<'a>(words: &PolicyCheck, asked: &Asked<'a>) -> Result<Report<'a>, CliError> {
    let address = std::env::var("DOCKER_HOST").ok().filter(|address| !address.is_empty());
    let address = address.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
    let address = EngineAddress::parse(&address)
        .map_err(|error| CliError::new(Exit::Usage, error.to_string()))?;
    let engine = DockerEngine::at(address);
    let project = words.files.project_name.as_deref();
    let live = Live::look(&engine, words.with_host, asked.set.asks_for_processes()).await.map_err(
        |error| {
            let hint = error.hint().to_owned();
            let failed = unjudged("the engine cannot be judged", problem(error.to_string()));
            if hint.is_empty() { failed } else { failed.hint(hint) }
        },
    )?;
    let is_meant = |found: &&ContainerFacts| {
        project.is_none_or(|name| {
            found.all_labels.get(labels::COMPOSE_PROJECT).is_some_and(|own| own == name)
        })
    };
    let mut found = Vec::new();
    let mut subjects = 0;
    for container in live.containers.iter().filter(is_meant) {
        subjects += 1;
        found.extend(live.judge(container, asked));
    }
    if words.with_host {
        let findings = asked.set.judge_host(&live.host, asked.stage, asked.tenant, asked.now);
        subjects += 1;
        found.extend(rows(&findings, (None, "host"), |_| None));
    }
    Ok(Report {
        name: project.unwrap_or("engine").to_owned(),
        stage: asked.stage,
        set: asked.set,
        subjects,
        rows: found,
        refused: Vec::new(),
        warnings: Vec::new(),
    })
}

impl Live {
    async fn look(
        engine: &dyn Engine,
        with_files: bool,
        with_processes: bool,
    ) -> Result<Self, EngineError> {
        let containers = engine.containers(&ContainerFilter::default()).await?;
        let mut images = BTreeMap::new();
        for container in &containers {
            if images.contains_key(&container.image_id) {
                continue;
            }
            if let Some(image) = engine.image(&container.image_id).await? {
                images.insert(container.image_id.clone(), image);
            }
        }
        let volumes = engine.volumes(None).await?.into_iter();
        let volumes = volumes.map(|volume| (volume.name, volume.driver_options)).collect();
        let host = look_at_host(engine, with_files).await?;
        let mut inside = BTreeMap::new();
        for container in containers.iter().filter(|_| with_processes) {
            if let Some(found) = processes(engine, container).await {
                inside.insert(container.id.clone(), found);
            }
        }
        Ok(Self { containers, images, volumes, host, processes: inside })
    }

    fn judge(&self, container: &ContainerFacts, asked: &Asked<'_>) -> Vec<Row> {
        let project = container.all_labels.get(labels::COMPOSE_PROJECT).map(String::as_str);
        let instance = container.instance.as_ref();
        let service = instance.map_or(container.name.as_str(), |it| it.service.as_str());
        let others = self.containers.iter().filter(|other| other.id != container.id);
        // One may be named by its service, its name or its id.
        let peers: Vec<(&str, &ServiceSpec)> = others
            .flat_map(|other| {
                let own = other.all_labels.get(labels::COMPOSE_PROJECT).map(String::as_str);
                let service = other.instance.as_ref().filter(|_| own == project);
                let names = [Some(other.name.as_str()), Some(other.id.as_str())];
                let names = names.into_iter().chain([service.map(|it| it.service.as_str())]);
                names.flatten().map(|name| (name, &other.spec))
            })
            .collect();
        let image = self.images.get(&container.image_id);
        let subject = Subject {
            project,
            // What no registry knows was built here.
            is_built: image.is_some_and(|image| image.digests.is_empty()),
            image,
            container: Some(container),
            host: Some(&self.host),
            peers: Some(&peers),
            volumes: Some(&self.volumes),
            processes: self.processes.get(&container.id).map(Vec::as_slice),
            now: Some(asked.now),
            ..Subject::new(service, &container.spec)
        };
        let findings = asked.set.judge(&asked.question(&subject));
        rows(&findings, (project, &container.name), |_| None)
    }
}

impl<'a> Asked<'a> {
    fn question<'b>(&'b self, subject: &'b Subject<'b>) -> Question<'b> {
        Question { subject, stage: self.stage, tenant: self.tenant, now: self.now }
    }
}
