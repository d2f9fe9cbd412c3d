//! Reads a project's files from disk. Owns the reading: bounded, and only what the loader asks
//! for. Face: `read_project`, `read_bundle`, `list_context`. Never follows a
//! build context out of its directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::base::limits::{BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX, YAML_BYTES_MAX};
use crate::base::{Diagnostic, Diagnostics, Digest};
use crate::domain::compose::dockerignore::{ContextEntry, ContextKind, Ignore, context_digest};
use crate::domain::compose::{
    Answer, Bundle, BundleFile, ContextRef, Files, Loaded, LocalContext, Options, Project,
    canonical, load, survey,
};

/// The name of the compose file that is read from standard input. Its folder is the present one.
const STANDARD_INPUT: &str = "-";

/// The name of the compose file that stands for `--scale`.
const SCALE_FILE: &str = "--scale";

/// Loads a project from this machine's files and environment.
///
/// # Errors
/// Every problem in the files.
pub fn read_project(options: &Options) -> Result<(Project, Files), Diagnostics> {
    read_with(load, options, |path| read_file(Path::new(path)))
}

/// What can be read of a project, where a file that is not there and can only bring values is taken for
/// empty. Answers with the paths of these, too; the project tells what was passed over.
///
/// # Errors
/// When nothing can be read.
pub(super) fn read_project_leniently(
    options: &Options,
    brings_values: impl Fn(&str) -> bool,
) -> Result<(Project, Files, Vec<String>), Diagnostics> {
    let named = |path: &str| {
        let is_named = |file: &String| path == file || path.ends_with(&format!("/{file}"));
        options.files.iter().chain(&options.env_files).any(is_named)
    };
    let mut left_out = Vec::new();
    let (project, files) = read_with(survey, options, |path| {
        let answer = read_file(Path::new(path));
        // `.env` need not be there.
        let is_optional = path.ends_with("/.env") || named(path) || !brings_values(path);
        if matches!(answer, Answer::Content(_)) || is_optional {
            return answer;
        }
        left_out.push(path.to_owned());
        Answer::Content(Vec::new())
    })?;
    Ok((project, files, left_out))
}

/// `load` or `survey`.
type Load = fn(&Options, &BTreeMap<String, String>, &Files) -> Result<Loaded, Diagnostics>;

fn read_with(
    load: Load,
    options: &Options,
    mut read: impl FnMut(&str) -> Answer,
) -> Result<(Project, Files), Diagnostics> {
    let environment = environment();
    let mut files = Files::new();
    if options.files.iter().any(|file| file == STANDARD_INPUT) {
        let path = format!("{}/{STANDARD_INPUT}", options.directory.trim_end_matches('/'));
        files.insert(path, read_bounded(io::stdin().lock()));
    }
    loop {
        match load(options, &environment, &files)? {
            Loaded::Done(project) => return Ok((*project, files)),
            Loaded::Needs(paths) => {
                for path in paths {
                    if files.len() >= BUNDLE_FILES_MAX {
                        let message =
                            format!("the project needs more than {BUNDLE_FILES_MAX} files");
                        return Err(Diagnostic::new("compose.bundle_too_large", message).into());
                    }
                    let answer = read(&path);
                    files.insert(path, answer);
                }
            }
        }
    }
}

/// The variables of this process whose names and values are text.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Numbers of containers that the command line asks for, by service.
pub(super) type Scale = BTreeMap<String, u32>;

/// The project with other numbers of containers: as if one more file declared them, so that what
/// the agent keeps says so, too.
fn scaled(
    options: &mut Options,
    project: Project,
    files: &mut Files,
    scale: &Scale,
) -> Result<Project, Diagnostics> {
    if scale.is_empty() {
        return Ok(project);
    }
    let model = canonical(&project);
    let is_known = |service: &String| model.pointer(&format!("/services/{service}")).is_some();
    if let Some(unknown) = scale.keys().find(|service| !is_known(service)) {
        let message = format!("`{SCALE_FILE} {unknown}=…` names no service of the project");
        return Err(Diagnostic::new("compose.unknown_service", message).into());
    }
    let each = scale.iter().map(|(service, number)| {
        let declared = serde_json::json!({"scale": number, "deploy": {"replicas": number}});
        (service.clone(), declared)
    });
    let services: serde_json::Map<String, serde_json::Value> = each.collect();
    let text = serde_json::json!({ "services": services }).to_string();
    let path = format!("{}/{SCALE_FILE}", options.directory.trim_end_matches('/'));
    files.insert(path, Answer::Content(text.into_bytes()));
    options.files.push(SCALE_FILE.to_owned());
    match load(options, &environment(), files)? {
        Loaded::Done(project) => Ok(*project),
        Loaded::Needs(paths) => {
            let message = format!("numbers of containers lead to further files: {paths:?}");
            Err(Diagnostic::new("compose.bundle_incomplete", message).into())
        }
    }
}

/// Collects everything that the agent needs to deploy a project.
///
/// # Errors
/// Every problem in the files; a config, secret or build context that cannot be read; a limit.
pub(super) fn read_bundle(options: &Options, scale: &Scale) -> Result<Bundle, Diagnostics> {
    let (project, mut files) = read_project(options)?;
    let mut options = options.clone();
    let project = scaled(&mut options, project, &mut files, scale)?;
    for path in project.content_files().into_values() {
        files.entry(path.clone()).or_insert_with(|| read_file(Path::new(&path)));
    }
    let mut problems = Vec::new();
    let mut build_contexts = Vec::new();
    for (service, LocalContext { path, dockerfile }) in project.build_contexts() {
        match list_context(Path::new(&path), &dockerfile) {
            Ok(entries) => {
                let digest = context_digest(&entries);
                build_contexts.push(ContextRef { service, path, dockerfile, digest });
            }
            Err(error) => {
                let message =
                    format!("cannot read the build context `{path}` of `{service}`: {error}");
                problems.push(Diagnostic::new("compose.context_unreadable", message));
            }
        }
    }
    if !problems.is_empty() {
        return Err(Diagnostics(problems));
    }
    let environment = project
        .variables
        .iter()
        .filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)))
        .collect();
    let files = files.iter().map(|(path, answer)| (path.clone(), BundleFile::of(answer))).collect();
    let bundle = Bundle { options, environment, files, build_contexts };
    bundle.check_limits()?;
    Ok(bundle)
}

/// Reads a file up to the largest size that anything accepts. Looks before it opens: opening a pipe
/// would wait for somebody to write into it. `/dev/null` is the usual word for an empty file.
fn read_file(path: &Path) -> Answer {
    match fs::metadata(path) {
        Ok(_) if path == Path::new("/dev/null") => return Answer::Content(Vec::new()),
        Ok(metadata) if metadata.is_dir() => {
            return Answer::Unreadable("it is a directory".to_owned());
        }
        Ok(metadata) if !metadata.is_file() => {
            let message = "it is a pipe or a device; hand the files in with `-f -` to pipe them";
            return Answer::Unreadable(message.to_owned());
        }
        // Opening it says why.
        _ => {}
    }
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Answer::Missing,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Answer::Missing,
        Err(error) => return Answer::Unreadable(error.to_string()),
    };
    read_bounded(file)
}

fn read_bounded(from: impl Read) -> Answer {
    let mut bytes = Vec::new();
    // One byte more than allowed, so that the loader sees that it is too much.
    match from.take(YAML_BYTES_MAX as u64 + 1).read_to_end(&mut bytes) {
        Ok(_) => Answer::Content(bytes),
        Err(error) => Answer::Unreadable(error.to_string()),
    }
}

/// The entries of a build context that the ignore file leaves in, sorted by path; the Dockerfile
/// always stays. A `<Dockerfile>.dockerignore` counts instead of `.dockerignore`.
///
/// # Errors
/// When a file cannot be read, or the context passes a limit.
pub(super) fn list_context(root: &Path, dockerfile: &str) -> io::Result<Vec<ContextEntry>> {
    let ignore = read_ignore(root, dockerfile)?;
    let mut entries = Vec::new();
    let mut bytes = 0;
    let mut open = vec![String::new()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                return Err(io::Error::other("a file's name is not UTF-8 text"));
            };
            let path = match directory.as_str() {
                "" => name,
                directory => format!("{directory}/{name}"),
            };
            let metadata = fs::symlink_metadata(entry.path())?;
            if metadata.is_dir() && !ignore.skips_directory(&path) {
                open.push(path.clone());
            }
            if ignore.excludes(&path) {
                continue;
            }
            let kind = if metadata.is_dir() {
                ContextKind::Directory
            } else if metadata.is_symlink() {
                let target = fs::read_link(entry.path())?;
                ContextKind::Link(target.to_string_lossy().into_owned())
            } else if metadata.is_file() {
                bytes += metadata.len();
                ContextKind::File(Digest::of(&fs::read(entry.path())?))
            } else {
                continue;
            };
            entries.push(ContextEntry { path, mode: metadata.permissions().mode() & 0o777, kind });
            if entries.len() > BUNDLE_FILES_MAX || bytes > BUNDLE_BYTES_MAX as u64 {
                let message = format!(
                    "more than {BUNDLE_FILES_MAX} files or {} MiB; leave some out in .dockerignore",
                    BUNDLE_BYTES_MAX >> 20
                );
                return Err(io::Error::other(message));
            }
        }
    }
    entries.sort();
    Ok(entries)
}

fn read_ignore(root: &Path, dockerfile: &str) -> io::Result<Ignore> {
    let own = format!("{dockerfile}.dockerignore");
    for name in [own.as_str(), ".dockerignore"] {
        match fs::read_to_string(root.join(name)) {
            Ok(text) => return Ok(Ignore::parse(&text, &[dockerfile, name])),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Ignore::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_or_a_device_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("compose.yaml");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            let Answer::Unreadable(why) = read_file(path) else { panic!("{}", path.display()) };
            assert!(why.contains("`-f -`"), "{why}");
        }
        assert!(
            matches!(read_file(Path::new("/dev/null")), Answer::Content(text) if text.is_empty())
        );
        assert!(matches!(read_file(&dir.path().join("none")), Answer::Missing));
        let Answer::Unreadable(why) = read_file(dir.path()) else { panic!("a directory") };
        assert_eq!(why, "it is a directory");
    }

    #[test]
    fn numbers_of_containers_are_declared_by_one_more_file() {
        let dir = tempfile::tempdir().unwrap();
        let compose =
            "services:\n  web: {image: i, scale: 2}\n  db: {image: i, deploy: {replicas: 1}}\n";
        fs::write(dir.path().join("compose.yaml"), compose).unwrap();
        let directory = dir.path().to_string_lossy().into_owned();
        let files = vec!["compose.yaml".to_owned()];
        let options = Options { directory, files, ..Options::default() };
        let scale = |service: &str| Scale::from([(service.to_owned(), 5)]);
        for service in ["web", "db"] {
            let bundle = read_bundle(&options, &scale(service)).unwrap();
            let project = crate::domain::compose::load_bundle(&bundle).unwrap();
            let spec = crate::domain::compose::lower(&project, &bundle.inputs()).unwrap();
            assert_eq!(spec.services[service].replicas, 5);
        }
        let problems = read_bundle(&options, &scale("webb")).unwrap_err();
        assert!(problems.to_string().contains("`--scale webb=…` names no service"), "{problems}");
    }

    fn listed(root: &Path, dockerfile: &str) -> Vec<String> {
        let entries = list_context(root, dockerfile).unwrap();
        entries.into_iter().map(|entry| entry.path).collect()
    }

    #[test]
    fn a_dockerfile_may_have_an_ignore_file_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        for name in ["Dockerfile", "a", "b"] {
            write(name, "");
        }
        fs::create_dir(dir.path().join("prod")).unwrap();
        write("prod/Dockerfile", "");
        write(".dockerignore", "a\nprod\n");
        write("prod/Dockerfile.dockerignore", "*\n!a\n");
        assert_eq!(listed(dir.path(), "Dockerfile"), [".dockerignore", "Dockerfile", "b"]);
        let own = ["a", "prod/Dockerfile", "prod/Dockerfile.dockerignore"];
        assert_eq!(listed(dir.path(), "prod/Dockerfile"), own);
    }
}
