//! Finds runbooks: the agent's own and those of files. Owns the reading of the folder. Face:
//! `Found`, `Catalog`. Never lets a file take the place of another one.

use std::sync::Arc;

use crate::base::{CanonicalError, Digest};
use crate::domain::runbooks::file::{RunbookFile, read};
use crate::domain::runbooks::{Entry, RunbookKey};
use crate::world::runbook_files::Folder;

/// A runbook that was found.
#[derive(Debug, Clone)]
pub enum Found {
    /// One of the agent's own.
    BuiltIn(&'static Entry),
    /// One of a file.
    File(Arc<RunbookFile>),
}

impl Found {
    /// What the catalog says of it.
    pub fn entry(&self) -> &Entry {
        match self {
            Self::BuiltIn(entry) => entry,
            Self::File(file) => &file.entry,
        }
    }

    /// Its file.
    pub fn file(&self) -> Option<&RunbookFile> {
        match self {
            Self::BuiltIn(_) => None,
            Self::File(file) => Some(file),
        }
    }

    /// Stands for it as it is now.
    ///
    /// # Errors
    /// Never for what is in the catalog: it has a canonical form.
    pub fn definition(&self) -> Result<Digest, CanonicalError> {
        match self {
            Self::BuiltIn(entry) => entry.digest(),
            Self::File(file) => Ok(file.digest),
        }
    }
}

/// All runbooks, and what is wrong with files that are none.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// The agent's own first, then those of files by their names.
    pub runbooks: Vec<Found>,
    /// One text per file that does not count.
    pub problems: Vec<String>,
}

impl Catalog {
    /// As it is now.
    pub(super) fn read(folder: &Folder) -> Self {
        let own = RunbookKey::ALL.iter().filter_map(|key| key.built_in()).map(Found::BuiltIn);
        let mut catalog = Self { runbooks: own.collect(), problems: Vec::new() };
        let files = match folder.read() {
            Ok(files) => files,
            Err(problem) => {
                catalog.problems.push(problem);
                return catalog;
            }
        };
        for file in files {
            let text = match file.content {
                Ok(text) => text,
                Err(problem) => {
                    catalog.problems.push(format!("{}: {problem}", file.path));
                    continue;
                }
            };
            match read(&file.path, &text) {
                Ok(read) if catalog.find(read.entry.key).is_some() => {
                    let problem =
                        format!("{}: another file has the key `{}` already", file.path, read.name);
                    catalog.problems.push(problem);
                }
                Ok(read) => catalog.runbooks.push(Found::File(Arc::new(read))),
                Err(diagnostics) => catalog.problems.push(diagnostics.to_string()),
            }
        }
        catalog
    }

    /// The one of this key.
    pub fn find(&self, key: RunbookKey) -> Option<&Found> {
        self.runbooks.iter().find(|found| found.entry().key == key)
    }
}
