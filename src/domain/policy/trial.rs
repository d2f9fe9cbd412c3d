//! Runs the tests beside policies, without an engine: a service in the words of Compose, what else is
//! known of it, and what a policy finds. Owns how a test becomes a subject. Face: `try_out`, `Tried`.
//! Never reads a file: a test that needs one fails, and says so.

use std::collections::{BTreeMap, BTreeSet};

use super::file::{CODE, Compose, Expectation, Expected, Trial};
use super::set::{Finding, PolicySet, Question};
use super::{Subject, Verdict, VolumeOptions};
use crate::base::limits::{TRIAL_ROUNDS_MAX, YAML_DEPTH_MAX};
use crate::base::suggest::did_you_mean;
use crate::base::yaml::{Node, Resolved, Value};
use crate::base::{Diagnostic, Diagnostics, Location, Name, Timestamp};
use crate::domain::compose::{Answer, Files, Inputs, Loaded, Options, Project, load, lower};
use crate::facts::{ImageFacts, ProjectSpec, ServiceSpec};

/// A test that was run.
#[derive(Debug, Clone)]
pub struct Tried {
    /// The policy.
    pub policy: Name,
    /// What the test shows.
    pub name: String,
    /// Where it stands.
    pub place: Location,
    /// What is not as it expects; none when it passed.
    pub problems: Vec<Diagnostic>,
}

const FOLDER: &str = "/policy-test";
const FILE: &str = "compose.yaml";

/// Runs every test of a set, in the order of policies and files.
pub fn try_out(set: &PolicySet) -> Vec<Tried> {
    set.tests().iter().map(|trial| tried(set, trial)).collect()
}

fn tried(set: &PolicySet, trial: &Trial) -> Tried {
    let (policy, name, place) = (trial.policy, trial.name.clone(), trial.place.clone());
    let problems = match judged(set, trial) {
        Ok(problems) => problems,
        Err(problems) => problems.0,
    };
    Tried { policy, name, place, problems }
}

fn wrong(place: &Location, message: impl Into<String>) -> Diagnostics {
    Diagnostic::new(CODE, message).at(place.clone()).into()
}

/// What is not as expected.
fn judged(set: &PolicySet, trial: &Trial) -> Result<Vec<Diagnostic>, Diagnostics> {
    let Some(set) = set.only(trial.policy) else {
        return Err(wrong(&trial.place, format!("there is no policy `{}`", trial.policy)));
    };
    let (project, spec) = declared(trial)?;
    let name = service_of(trial, &spec)?;
    let Some(unit) = spec.services.get(name) else {
        return Err(wrong(&trial.place, format!("no service `{name}` is left of the file")));
    };
    let image = trial.image.as_ref().map(|node| image(node, &trial.place)).transpose()?;
    let peers: Vec<(&str, &ServiceSpec)> = spec
        .services
        .iter()
        .filter(|(other, _)| *other != name)
        .map(|(other, unit)| (other.as_str(), &unit.spec))
        .collect();
    let volumes: VolumeOptions = spec
        .volumes
        .values()
        .map(|volume| (volume.name.clone(), volume.driver_options.clone()))
        .collect();
    let subject = Subject {
        project: Some(&spec.name),
        is_built: unit.build.is_some(),
        image: image.as_ref(),
        literals: project.literals(name),
        peers: Some(&peers),
        volumes: Some(&volumes),
        now: Some(trial.now),
        ..Subject::new(name, &unit.spec)
    };
    let (stage, tenant, now) = (trial.stage, trial.tenant.as_deref(), trial.now);
    let findings = set.judge(&Question { subject: &subject, stage, tenant, now });
    Ok(trial.expects.iter().filter_map(|expected| differs(expected, &findings)).collect())
}

fn service_of<'a>(trial: &'a Trial, spec: &'a ProjectSpec) -> Result<&'a str, Diagnostics> {
    let names: Vec<&str> = spec.services.keys().map(String::as_str).collect();
    match (&trial.service, &names[..]) {
        (Some(name), _) if names.contains(&name.as_str()) => Ok(name),
        (Some(name), _) => {
            let problem = Diagnostic::new(CODE, format!("the file has no service `{name}`"));
            let problem = problem.at(trial.place.clone());
            Err(problem.help(did_you_mean(name, &names)).into())
        }
        (None, [only]) => Ok(only),
        (None, []) => Err(wrong(&trial.place, "the file has no service")),
        (None, _) => {
            let problem = Diagnostic::new(CODE, "the file has several services");
            let problem = problem.at(trial.place.clone());
            Err(problem.help("name the one that is judged: `service: web`").into())
        }
    }
}

/// The project that a test declares.
fn declared(trial: &Trial) -> Result<(Box<Project>, ProjectSpec), Diagnostics> {
    match &trial.compose {
        Compose::Text(node) => {
            let text = node.as_scalar().map(|scalar| scalar.text.clone()).unwrap_or_default();
            let located = |problems: Diagnostics| {
                Diagnostics(
                    problems.0.into_iter().map(|problem| placed(problem, node, &text)).collect(),
                )
            };
            project(text.clone(), &trial.project).map_err(located)
        }
        Compose::Tree(node) => {
            let tree = json(node)?;
            let place = node.mark.location();
            project(tree.to_string(), &trial.project).map_err(|problems| at(problems, &place))
        }
    }
}

/// Problems of something that has no places of its own.
fn at(problems: Diagnostics, place: &Location) -> Diagnostics {
    let placed = |problem: Diagnostic| Diagnostic { location: Some(place.clone()), ..problem };
    Diagnostics(problems.0.into_iter().map(placed).collect())
}

/// A problem of a file within a text, where the text stands.
fn placed(problem: Diagnostic, node: &Node, text: &str) -> Diagnostic {
    let Some(inner) = &problem.location else {
        return Diagnostic { location: Some(node.mark.location()), ..problem };
    };
    let lines = text.split_inclusive('\n').take(inner.line.saturating_sub(1));
    let before: usize = lines.map(|line| line.chars().count()).sum();
    let place = node.place_inside(before + inner.column.saturating_sub(1));
    Diagnostic { location: Some(place), ..problem }
}

/// Loads and lowers a compose file that stands for itself.
fn project(text: String, name: &str) -> Result<(Box<Project>, ProjectSpec), Diagnostics> {
    let options = Options {
        directory: FOLDER.to_owned(),
        files: vec![FILE.to_owned()],
        project_name: Some(name.to_owned()),
        profiles: vec!["*".to_owned()],
        ..Options::default()
    };
    let mut files = Files::new();
    files.insert(format!("{FOLDER}/{FILE}"), Answer::Content(text.into_bytes()));
    for _ in 0..TRIAL_ROUNDS_MAX {
        match load(&options, &BTreeMap::new(), &files)? {
            Loaded::Done(project) => {
                let inputs = Inputs { files, context_digests: BTreeMap::new() };
                let spec = lower(&project, &inputs)?;
                return Ok((project, spec));
            }
            Loaded::Needs(paths) => {
                let missing = |path: String| (path, Answer::Missing);
                files.extend(paths.into_iter().map(missing));
            }
        }
    }
    Err(Diagnostic::new(CODE, "the compose file asks for ever more files").into())
}

/// An image that brings what a service of Compose says.
fn image(node: &Node, place: &Location) -> Result<ImageFacts, Diagnostics> {
    let mut service = match json(node)? {
        serde_json::Value::Object(service) => service,
        _ => serde_json::Map::new(),
    };
    let created = service.remove("created");
    let created_at = match created.as_ref().map(|it| it.as_str().unwrap_or_default()) {
        None => None,
        Some(text) => {
            let day = format!("{text}T00:00:00Z");
            let moment = day.parse::<Timestamp>().or_else(|_| text.parse());
            Some(moment.map_err(|_| {
                wrong(&node.mark.location(), format!("`created` is `{text}`, which is no date"))
            })?)
        }
    };
    service.insert("image".to_owned(), "image:1".into());
    let file = serde_json::json!({"services": {"image": service}});
    let (_, spec) = project(file.to_string(), "image").map_err(|problems| at(problems, place))?;
    let defaults = spec.services.get("image").map(|unit| unit.spec.clone()).unwrap_or_default();
    // What no image says.
    let defaults = ServiceSpec {
        image: String::new(),
        network_mode: crate::facts::NetworkMode::default(),
        ..defaults
    };
    Ok(ImageFacts {
        last_tagged_at: None,
        id: format!("sha256:{}", "0".repeat(64)),
        tags: Vec::new(),
        digests: Vec::new(),
        defaults,
        platform: "linux/amd64".to_owned(),
        size_bytes: 1,
        created_at,
    })
}

/// A part of a file as JSON, which is YAML again.
fn json(node: &Node) -> Result<serde_json::Value, Diagnostics> {
    json_at(node, 0)
}

fn json_at(node: &Node, depth: usize) -> Result<serde_json::Value, Diagnostics> {
    if let Some(tag) = &node.tag {
        let problem = node.problem(CODE, format!("the tag `{tag}` has no meaning here"));
        return Err(problem.help("write the compose file as a text: `compose: |`").into());
    }
    if depth > YAML_DEPTH_MAX {
        return Err(node.problem(CODE, "this is nested too deep").into());
    }
    Ok(match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Scalar(scalar) => match scalar.resolve() {
            Resolved::Null => serde_json::Value::Null,
            Resolved::Bool(value) => value.into(),
            Resolved::Int(number) => match i64::try_from(number) {
                Ok(number) => number.into(),
                Err(_) => scalar.text.clone().into(),
            },
            Resolved::Float(number) => number.into(),
            Resolved::Text(text) => text.into(),
        },
        Value::Seq(items) => {
            let items: Result<Vec<_>, _> =
                items.iter().map(|item| json_at(item, depth + 1)).collect();
            serde_json::Value::Array(items?)
        }
        Value::Map(map) => {
            let mut object = serde_json::Map::new();
            for (key, node) in &map.0 {
                object.insert(key.text.clone(), json_at(node, depth + 1)?);
            }
            serde_json::Value::Object(object)
        }
    })
}

/// What a finding comes to in the words of tests.
fn came_to(finding: Option<&Finding<'_>>) -> Expected {
    let Some(finding) = finding else { return Expected::Unmatched };
    match &finding.verdict {
        Verdict::Pass => Expected::Pass,
        Verdict::Unknown { .. } => Expected::Unknown,
        Verdict::Fail { .. } if finding.exception.is_some() => Expected::Excepted,
        Verdict::Fail { .. } => Expected::Fail,
    }
}

/// What is not as one expectation says.
fn differs(expected: &Expectation, findings: &[Finding<'_>]) -> Option<Diagnostic> {
    let finding = findings.iter().find(|finding| finding.rule.id() == expected.rule);
    let found = came_to(finding);
    let (rule, told) = (&expected.rule, finding.map(told).unwrap_or_default());
    let problem = |message: String| {
        Some(Diagnostic::new("policy.test_failed", message).at(expected.place.clone()))
    };
    if found != expected.verdict {
        let (expected, found) = (expected.verdict.word(), found.word());
        return problem(format!("`{rule}` is {found}{told}, expected {expected}"));
    }
    let finding = finding?;
    if let Some(action) = expected.action.filter(|action| *action != finding.action) {
        return problem(format!("what is done about `{rule}` is {}, not {action}", finding.action));
    }
    let message = match &finding.verdict {
        Verdict::Fail { message, .. } => message.as_str(),
        _ => "",
    };
    if let Some(part) = expected.message.as_ref().filter(|part| !message.contains(part.as_str())) {
        return problem(format!("`{rule}` does not say `{part}`{told}"));
    }
    let needs: BTreeSet<&str> = match &finding.verdict {
        Verdict::Unknown { needs } => needs.iter().copied().collect(),
        _ => BTreeSet::new(),
    };
    let wanted = expected.needs.as_ref()?;
    let wanted: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
    if needs == wanted {
        return None;
    }
    problem(format!("`{rule}` does not need these facts{told}"))
}

fn told(finding: &Finding<'_>) -> String {
    match &finding.verdict {
        Verdict::Pass => String::new(),
        Verdict::Fail { message, .. } => format!(" ({message})"),
        Verdict::Unknown { needs } => format!(" (it needs {})", needs.join(", ")),
    }
}
