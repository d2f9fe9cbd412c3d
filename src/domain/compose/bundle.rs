//! Holds everything of the client that one project needs, so that an agent never opens a path that
//! a caller names. Owns the shape, the limits and the loading. Face: `Bundle`, `load_bundle`.
//! Never prints content, and never holds a variable that no file asks for.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::load::{Answer, Files, Loaded, Options, load};
use super::lower::Inputs;
use super::project::Project;
use crate::base::limits::{BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX};
use crate::base::{Diagnostic, Diagnostics, Digest};

/// The client's files and variables for one project.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// What the user asked for.
    pub options: Options,
    /// Variables that the files name, as far as they are set.
    pub environment: BTreeMap<String, String>,
    /// Every path that was looked at, absolute: compose files, env files, configs, secrets.
    pub files: BTreeMap<String, BundleFile>,
    /// Build contexts; their content travels apart.
    pub build_contexts: Vec<ContextRef>,
}

/// What the client found at a path.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BundleFile {
    /// Text.
    Text(String),
    /// Bytes that are not text, in hexadecimal.
    Hex(String),
    /// Nothing is there.
    Missing,
    /// It could not be read, because of this.
    Unreadable(String),
}

/// The build context of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextRef {
    /// The service.
    pub service: String,
    /// The absolute directory on the client.
    pub path: String,
    /// The Dockerfile, relative to it: it belongs to the context whatever `.dockerignore` says.
    pub dockerfile: String,
    /// Digest over the files that `.dockerignore` leaves in.
    pub digest: Digest,
}

impl BundleFile {
    /// Packs what was found.
    pub fn of(answer: &Answer) -> Self {
        match answer {
            Answer::Content(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Self::Text(text.to_owned()),
                Err(_) => Self::Hex(hex::encode(bytes)),
            },
            Answer::Missing => Self::Missing,
            Answer::Unreadable(reason) => Self::Unreadable(reason.clone()),
        }
    }

    /// Unpacks it; a broken encoding counts as unreadable.
    pub fn answer(&self) -> Answer {
        match self {
            Self::Text(text) => Answer::Content(text.clone().into_bytes()),
            Self::Hex(digits) => match hex::decode(digits) {
                Ok(bytes) => Answer::Content(bytes),
                Err(_) => Answer::Unreadable("the bundle holds broken bytes".to_owned()),
            },
            Self::Missing => Answer::Missing,
            Self::Unreadable(reason) => Answer::Unreadable(reason.clone()),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Hex(digits) => digits.len() / 2,
            Self::Missing | Self::Unreadable(_) => 0,
        }
    }
}

impl fmt::Debug for BundleFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) | Self::Hex(_) => write!(f, "[{} bytes]", self.size()),
            Self::Missing => f.write_str("missing"),
            Self::Unreadable(reason) => write!(f, "unreadable: {reason}"),
        }
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("options", &self.options)
            .field("environment", &self.environment.keys().collect::<Vec<_>>())
            .field("files", &self.files)
            .field("build_contexts", &self.build_contexts)
            .finish()
    }
}

impl Bundle {
    /// Refuses a bundle past the limits.
    ///
    /// # Errors
    /// When it holds too many files or too many bytes.
    pub fn check_limits(&self) -> Result<(), Diagnostics> {
        let bytes: usize = self.files.values().map(BundleFile::size).sum();
        let message = if self.files.len() > BUNDLE_FILES_MAX {
            format!("the project needs more than {BUNDLE_FILES_MAX} files")
        } else if bytes > BUNDLE_BYTES_MAX {
            format!("the project's files hold more than {} MiB", BUNDLE_BYTES_MAX >> 20)
        } else {
            return Ok(());
        };
        Err(Diagnostic::new("compose.bundle_too_large", message).into())
    }

    /// The answers that the loader asks for.
    pub fn answers(&self) -> Files {
        self.files.iter().map(|(path, file)| (path.clone(), file.answer())).collect()
    }

    /// What lowering needs besides the model.
    pub fn inputs(&self) -> Inputs {
        let contexts = self.build_contexts.iter();
        let context_digests =
            contexts.map(|context| (context.service.clone(), context.digest)).collect();
        Inputs { files: self.answers(), context_digests }
    }
}

/// Loads the project that a bundle holds.
///
/// # Errors
/// Every problem in the files; or a file that is not in the bundle.
pub fn load_bundle(bundle: &Bundle) -> Result<Project, Diagnostics> {
    bundle.check_limits()?;
    match load(&bundle.options, &bundle.environment, &bundle.answers())? {
        Loaded::Done(project) => Ok(*project),
        Loaded::Needs(paths) => {
            let problems = paths.iter().map(|path| {
                let message = format!("the bundle does not hold `{path}`");
                Diagnostic::new("compose.bundle_incomplete", message)
            });
            Err(Diagnostics(problems.collect()))
        }
    }
}
