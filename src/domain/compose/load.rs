//! Loads a project, sans I/O: asks for files until it has them all. Owns the order of the steps.
//! Face: `load`, `survey`, `Options`, `Answer`, `Loaded`. Never opens a file and never asks for one twice.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::interpolate::{Variables, substitute};
use super::keys::FILE_SHAPE;
use super::paths::{absolute, base_name, parent, shown};
use super::project::Project;
use super::read::{Findings, Reading};
use super::{dotenv, merge};
use crate::base::limits::{CONTENT_FILE_BYTES_MAX, DIAGNOSTICS_MAX};
use crate::base::yaml::{Map, Mark, Node, Value, parse_all};
use crate::base::{Diagnostic, Diagnostics};
use crate::domain::redaction::Known;

/// What the user asked for. Paths may be relative to `directory`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// The absolute directory that the user is in.
    pub directory: String,
    /// `-f`; empty looks for `compose.yaml` here and further up.
    pub files: Vec<String>,
    /// `--project-directory`; otherwise that of the first file.
    pub project_directory: Option<String>,
    /// `--env-file`; empty takes `.env` when there is one.
    pub env_files: Vec<String>,
    /// `--profile`.
    pub profiles: Vec<String>,
    /// `-p`.
    pub project_name: Option<String>,
    /// Services that are named on the command line: their profiles are active.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
}

/// What the caller found at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The bytes of a file.
    Content(Vec<u8>),
    /// Nothing is there.
    Missing,
    /// It is there and could not be read, because of this.
    Unreadable(String),
}

/// Answers by absolute path.
pub type Files = BTreeMap<String, Answer>;

/// How far loading got.
#[derive(Debug)]
pub enum Loaded {
    /// To the end.
    Done(Box<Project>),
    /// These absolute paths have to be answered first.
    Needs(BTreeSet<String>),
}

/// Loads a project out of the answers so far.
///
/// # Errors
/// Every problem that was found, each with its place.
pub fn load(
    options: &Options,
    environment: &BTreeMap<String, String>,
    files: &Files,
) -> Result<Loaded, Diagnostics> {
    load_by(options, environment, files, Strictness::Refuse)
}

/// Loads what can be read of a project, for who only judges it: a part that is wrong is passed over,
/// or taken as it is plainly meant, and told of in `Project::passed_over`. Nothing deploys a project
/// of which something was passed over.
///
/// # Errors
/// When nothing can be read: no file, no YAML, no name.
pub fn survey(
    options: &Options,
    environment: &BTreeMap<String, String>,
    files: &Files,
) -> Result<Loaded, Diagnostics> {
    load_by(options, environment, files, Strictness::PassOver)
}

/// What is done about what is wrong in the files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    /// Nothing is loaded.
    Refuse,
    /// The rest is loaded.
    PassOver,
}

fn load_by(
    options: &Options,
    environment: &BTreeMap<String, String>,
    files: &Files,
    strictness: Strictness,
) -> Result<Loaded, Diagnostics> {
    let mut loader = Loader {
        options,
        files,
        strictness,
        passed_over: Vec::new(),
        needs: RefCell::default(),
        problems: Vec::new(),
        warnings: Vec::new(),
        elsewhere: Vec::new(),
        interpolated: BTreeSet::new(),
        literals: BTreeMap::new(),
    };
    let mut variables = Variables::new(environment.clone());
    let end = loader.run(&mut variables);
    let secrets = Known::of(&variables.into_values());
    match end {
        Ok(mut project) => {
            let told = |found| secrets.in_diagnostic(found);
            project.warnings = project.warnings.into_iter().map(told).collect();
            project.passed_over = project.passed_over.into_iter().map(told).collect();
            Ok(Loaded::Done(Box::new(Project { secrets, ..project })))
        }
        Err(Halt::Needs) => Ok(Loaded::Needs(loader.needs.take())),
        Err(Halt::Refused(problems)) => Err(secrets.in_diagnostics(problems)),
    }
}

/// Why loading stops.
pub(super) enum Halt {
    /// A file is not there yet.
    Needs,
    /// The files are wrong.
    Refused(Diagnostics),
}

impl From<Diagnostic> for Halt {
    fn from(problem: Diagnostic) -> Self {
        Self::Refused(problem.into())
    }
}

/// The state of one loading.
pub(super) struct Loader<'a> {
    pub(super) options: &'a Options,
    files: &'a Files,
    pub(super) strictness: Strictness,
    /// What was wrong and did not stop the loading.
    passed_over: Vec<Diagnostic>,
    needs: RefCell<BTreeSet<String>>,
    pub(super) problems: Vec<Diagnostic>,
    pub(super) warnings: Vec<Diagnostic>,
    /// What would have to be fetched before it can be deployed.
    pub(super) elsewhere: Vec<Diagnostic>,
    /// The places of values that came from variables.
    interpolated: BTreeSet<String>,
    /// By service, the names in `environment` whose values stand in a compose file.
    pub(super) literals: BTreeMap<String, BTreeSet<String>>,
}

/// Names of compose files, in the order in which they are looked for.
const FILE_NAMES: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// Names of files that are laid over the first one when nothing else was asked for.
const OVERRIDE_NAMES: [&str; 4] = [
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

impl Loader<'_> {
    fn run(&mut self, variables: &mut Variables) -> Result<Project, Halt> {
        let here = self.options.directory.as_str();
        self.read_env_files(variables, here)?;
        let files = self.compose_files(variables)?;
        let directory = match &self.options.project_directory {
            Some(directory) => absolute(here, directory, None),
            None => files.first().map_or(here, |file| parent(file)).to_owned(),
        };
        if self.options.env_files.is_empty() && directory != here {
            self.read_env_files(variables, &directory)?;
        }
        let documents = self.documents(&files)?;
        if documents.iter().all(|document| document.tree.is_null()) {
            let names: Vec<&str> = files.iter().map(|file| self.shown(file)).collect();
            let message = format!("`{}` is empty", names.join("` and `"));
            return Err(Diagnostic::new("compose.empty", message).into());
        }
        let name = self.project_name(&documents, variables, &directory)?;
        variables.set_default("COMPOSE_PROJECT_NAME".to_owned(), name.clone());
        let model = self.model(documents, &directory, variables, &mut files.clone())?;
        self.stop_at_problems()?;
        let (model, inactive) = self.complete(model, &name, &directory, variables)?;
        self.stop_at_problems()?;
        let from_environment = self.values_of_resources(&model, variables);
        self.stop_at_problems()?;
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.truncate(DIAGNOSTICS_MAX);
        let variables = variables.asked();
        let secrets = Known::default();
        let elsewhere = std::mem::take(&mut self.elsewhere);
        let passed_over = std::mem::take(&mut self.passed_over);
        let literals = std::mem::take(&mut self.literals);
        Ok(Project {
            elsewhere,
            passed_over,
            literals,
            name,
            directory,
            warnings,
            variables,
            inactive,
            model,
            from_environment,
            secrets,
        })
    }

    /// Notes which variables of a service's containers are written in a compose file itself.
    pub(super) fn note_literals(&mut self, name: &str, service: &Map) {
        let pairs = service.get("environment").and_then(Node::as_map);
        let is_literal = |node: &Node| {
            node.as_scalar().is_some_and(|value| !value.text.is_empty())
                && !self.interpolated.contains(&format!("{:?}", node.mark))
        };
        let literals: BTreeSet<String> = pairs
            .into_iter()
            .flat_map(|map| &map.0)
            .filter(|(_, node)| is_literal(node))
            .map(|(key, _)| key.text.clone())
            .collect();
        self.literals.insert(name.to_owned(), literals);
    }

    /// Refuses when anything was wrong so far.
    pub(super) fn stop_at_problems(&mut self) -> Result<(), Halt> {
        if self.problems.is_empty() {
            return Ok(());
        }
        let mut problems = std::mem::take(&mut self.problems);
        if self.strictness == Strictness::PassOver {
            self.passed_over.append(&mut problems);
            self.passed_over.truncate(DIAGNOSTICS_MAX);
            return Ok(());
        }
        problems.truncate(DIAGNOSTICS_MAX);
        Err(Halt::Refused(Diagnostics(problems)))
    }

    /// The result, or none when it may be passed over.
    pub(super) fn or_pass_over<T>(&mut self, result: Result<T, Halt>) -> Result<Option<T>, Halt> {
        match result {
            Err(Halt::Refused(problems)) if self.strictness == Strictness::PassOver => {
                self.problems.extend(problems.0);
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// The answer for a path; asks for it when there is none.
    pub(super) fn fetch(&self, path: &str) -> Result<&Answer, Halt> {
        self.files.get(path).ok_or_else(|| {
            self.needs.borrow_mut().insert(path.to_owned());
            Halt::Needs
        })
    }

    /// Asks for several paths at once.
    fn ask_for_all(&self, paths: &[String]) -> Result<(), Halt> {
        let known = paths.iter().filter(|path| self.fetch(path).is_ok()).count();
        if known == paths.len() { Ok(()) } else { Err(Halt::Needs) }
    }

    /// A path as the user knows it.
    pub(super) fn shown<'p>(&self, path: &'p str) -> &'p str {
        shown(&self.options.directory, path)
    }

    /// The bytes of a file that has to be there; `at` names who wants it.
    pub(super) fn bytes(&self, path: &str, at: Option<&Mark>) -> Result<&[u8], Halt> {
        let name = self.shown(path);
        let (code, message) = match self.fetch(path)? {
            Answer::Content(bytes) => return Ok(bytes),
            Answer::Missing => ("compose.file_missing", format!("there is no file `{name}`")),
            Answer::Unreadable(reason) => {
                ("compose.file_unreadable", format!("cannot read `{name}`: {reason}"))
            }
        };
        let problem = Diagnostic::new(code, message);
        Err(match at {
            Some(mark) => problem.at(mark.location()).into(),
            None => problem.into(),
        })
    }

    /// The same as text, within the limit for content.
    pub(super) fn text(&self, path: &str, at: Option<&Mark>) -> Result<&str, Halt> {
        let bytes = self.bytes(path, at)?;
        let name = self.shown(path);
        if bytes.len() > CONTENT_FILE_BYTES_MAX {
            let message = format!("`{name}` is larger than {CONTENT_FILE_BYTES_MAX} bytes");
            return Err(Diagnostic::new("compose.file_too_large", message).into());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| {
            Diagnostic::new("compose.file_not_text", format!("`{name}` is not UTF-8 text"))
        })?;
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    /// Variables from `--env-file`, or from the `.env` of a directory. The environment wins over
    /// them, and a later `--env-file` over an earlier one.
    fn read_env_files(&mut self, variables: &mut Variables, directory: &str) -> Result<(), Halt> {
        let implicit = [format!("{directory}/.env")];
        let paths: Vec<String> = match self.options.env_files.as_slice() {
            [] => implicit.map(|path| absolute("/", &path, None)).to_vec(),
            given => given.iter().map(|path| absolute(directory, path, None)).collect(),
        };
        self.ask_for_all(&paths)?;
        let mut values = BTreeMap::new();
        for path in &paths {
            let is_implicit = self.options.env_files.is_empty();
            if is_implicit && !matches!(self.fetch(path)?, Answer::Content(_)) {
                continue;
            }
            let read = self.env_values(path, variables);
            values.extend(self.or_pass_over(read)?.unwrap_or_default());
        }
        for (name, value) in values {
            variables.set_default(name, value);
        }
        Ok(())
    }

    /// The values of one file of variables.
    pub(super) fn env_values(
        &self,
        path: &str,
        variables: &Variables,
    ) -> Result<BTreeMap<String, String>, Halt> {
        let text = self.text(path, None)?;
        dotenv::parse(self.shown(path), text, variables).map_err(|problem| (*problem).into())
    }

    /// The absolute paths of the compose files: those asked for, or those found.
    fn compose_files(&self, variables: &Variables) -> Result<Vec<String>, Halt> {
        let here = self.options.directory.as_str();
        let resolve = |path: &str| absolute(here, path, None);
        if !self.options.files.is_empty() {
            return Ok(self.options.files.iter().map(|path| resolve(path)).collect());
        }
        if let Some(list) = variables.get("COMPOSE_FILE").filter(|list| !list.is_empty()) {
            let separator = variables.get("COMPOSE_PATH_SEPARATOR").unwrap_or(":");
            return Ok(list.split(separator).map(resolve).collect());
        }
        let start = self.options.project_directory.as_deref().map_or(here.to_owned(), resolve);
        let mut directory = start.as_str();
        loop {
            if let Some(file) = self.first_of(directory, &FILE_NAMES)? {
                let over = self.first_of(directory, &OVERRIDE_NAMES)?;
                return Ok([Some(file), over].into_iter().flatten().collect());
            }
            if directory == "/" {
                let message = "no compose file found";
                let help = "name one with -f, or go to the directory that holds compose.yaml";
                return Err(Diagnostic::new("compose.no_file", message).help(help).into());
            }
            directory = parent(directory);
        }
    }

    fn first_of(&self, directory: &str, names: &[&str]) -> Result<Option<String>, Halt> {
        let paths: Vec<String> = names.iter().map(|name| absolute(directory, name, None)).collect();
        self.ask_for_all(&paths)?;
        for path in paths {
            if !matches!(self.fetch(&path)?, Answer::Missing) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// The documents of several files, in order.
    pub(super) fn documents(&self, files: &[String]) -> Result<Vec<Document>, Halt> {
        self.ask_for_all(files)?;
        let mut documents = Vec::new();
        for file in files {
            let bytes = self.bytes(file, None)?;
            for tree in parse_all(self.shown(file), bytes).map_err(Halt::Refused)? {
                documents.push(Document { file: file.clone(), tree });
            }
        }
        Ok(documents)
    }

    /// `-p`, else `COMPOSE_PROJECT_NAME`, else the last `name:`, else the directory's name.
    fn project_name(
        &self,
        documents: &[Document],
        variables: &Variables,
        directory: &str,
    ) -> Result<String, Halt> {
        let asked = self.options.project_name.clone();
        let set = || variables.get("COMPOSE_PROJECT_NAME").map(str::to_owned);
        if let Some(name) = asked.or_else(set).filter(|name| !name.is_empty()) {
            return checked_name(name, None);
        }
        let declared = documents.iter().rev().find_map(|document| {
            document.tree.as_map()?.get("name").filter(|node| node.as_scalar().is_some())
        });
        if let Some((node, scalar)) = declared.and_then(|node| Some((node, node.as_scalar()?))) {
            let name = substitute(&scalar.text, variables).unwrap_or_default();
            return checked_name(name, Some(node));
        }
        let lower = base_name(directory).to_lowercase();
        let kept: String = lower.chars().filter(|c| is_name_character(*c)).collect();
        checked_name(kept.trim_start_matches(['_', '-']).to_owned(), None)
    }

    /// One model out of several documents: read, extended, laid over each other, includes added.
    pub(super) fn model(
        &mut self,
        documents: Vec<Document>,
        directory: &str,
        variables: &Variables,
        open_files: &mut Vec<String>,
    ) -> Result<Map, Halt> {
        let mut model = Node::new(Value::Map(Map::default()), no_place());
        for document in documents {
            let Some(mut tree) = self.read(document.tree, directory, variables) else { continue };
            self.extend_services(&mut tree, &document.file, directory, variables)?;
            if let Some(merged) = merge::merge(model, tree, &FILE_SHAPE) {
                model = merged;
            } else {
                model = Node::new(Value::Map(Map::default()), no_place());
            }
        }
        let Value::Map(mut model) = model.value else { return Ok(Map::default()) };
        self.add_includes(&mut model, directory, variables, open_files)?;
        Ok(model)
    }

    /// Interpolates a document and reads it against the schema.
    pub(super) fn read(
        &mut self,
        mut tree: Node,
        base: &str,
        variables: &Variables,
    ) -> Option<Node> {
        if tree.is_null() {
            return None;
        }
        let (problems, warnings) = (Findings::default(), Findings::default());
        let interpolated = BTreeSet::new();
        let takes_as_meant = self.strictness == Strictness::PassOver;
        let mut reading =
            Reading { base, variables, takes_as_meant, problems, warnings, interpolated };
        reading.interpolate(&mut tree);
        let read = reading.read(tree, &FILE_SHAPE, "the file");
        self.problems.append(&mut reading.problems.0);
        self.warnings.append(&mut reading.warnings.0);
        self.interpolated.append(&mut reading.interpolated);
        read
    }
}

/// One document of one file.
pub(super) struct Document {
    /// Absolute path.
    pub(super) file: String,
    /// Its tree, as written.
    pub(super) tree: Node,
}

/// A place for what no file says.
pub(super) fn no_place() -> Mark {
    Mark::nowhere()
}

/// What a project may be called, for people.
pub const PROJECT_NAMES: &str =
    "use lower-case letters, digits, `-` and `_`, beginning with a letter or digit";

/// Whether a project may be called so.
pub fn is_project_name(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    starts && name.chars().all(is_name_character)
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_lowercase() || character.is_ascii_digit() || matches!(character, '-' | '_')
}

fn checked_name(name: String, declared: Option<&Node>) -> Result<String, Halt> {
    if is_project_name(&name) {
        return Ok(name);
    }
    let message = format!("`{name}` is not a project name");
    let problem = match declared {
        Some(node) => node.problem("compose.project_name", message),
        None => Diagnostic::new("compose.project_name", message),
    };
    let help = format!("{PROJECT_NAMES}; set it with -p or `name:`");
    Err(problem.help(help).into())
}
