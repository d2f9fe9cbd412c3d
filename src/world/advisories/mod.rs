//! Keeps the advisories that an operator supplies: a file, a folder or an address. Owns
//! `<state_dir>/advisories`: what was compiled of them, and what it came from. Face: `Advisories`. Never
//! gives up a good list for a broken one.

mod compile;
mod download;
mod records;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::limits::{ADVISORIES_BYTES_MAX, ADVISORY_BYTES_MAX};
use crate::base::{Digest, Timestamp};
use crate::domain::advisories::Entry;

/// Where advisories come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, or a folder of files.
    Path(PathBuf),
    /// An address, `https://…`.
    Url(String),
}

impl Source {
    /// For people. What an address may hold of passwords is left out.
    pub fn shown(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Url(url) => {
                let url = url.split(['?', '#']).next().unwrap_or_default();
                match url.split_once("://") {
                    Some((scheme, rest)) => {
                        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
                        format!("{scheme}://{host}/{path}")
                    }
                    None => url.to_owned(),
                }
            }
        }
    }
}

/// What is known of the list that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of the compiled form.
    pub form: u32,
    /// Where it came from, for people.
    pub source: String,
    /// When the source was last found to be so.
    pub checked_at: Timestamp,
    /// When it was compiled.
    pub compiled_at: Timestamp,
    /// When its newest advisory changed.
    pub newest: Option<Timestamp>,
    /// Advisories that count.
    pub advisories: u64,
    /// What they say of packages that are looked for.
    pub entries: u64,
    /// Advisories that were withdrawn, and count no more.
    pub withdrawn: u64,
    /// Records that are no advisories.
    pub not_read: u64,
    /// Tells this list from any other one.
    pub digest: Digest,
    /// Tells whether the source has changed.
    pub mark: String,
}

/// What an update did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Updated {
    /// The source is as it was.
    Unchanged(Head),
    /// Another list is in force.
    Replaced(Head),
}

impl Updated {
    /// What is in force.
    pub const fn head(&self) -> &Head {
        match self {
            Self::Unchanged(head) | Self::Replaced(head) => head,
        }
    }
}

/// Why there are no advisories, or no newer ones.
#[derive(Debug, thiserror::Error)]
pub enum AdvisoryError {
    /// The configuration names no source.
    #[error("no advisories are configured (`images.advisories`)")]
    NoSource,
    /// There was no update yet.
    #[error("no advisories were read yet; `wharf images advisories --update` reads them")]
    None,
    /// The source cannot be had.
    #[error("cannot get {what}: {why}")]
    Away {
        /// The source.
        what: String,
        /// Why.
        why: String,
    },
    /// The source is no list of advisories.
    #[error("{what} is no list of advisories: {why}")]
    Broken {
        /// The source, or a file of it.
        what: String,
        /// Why.
        why: String,
    },
    /// The system refuses.
    #[error("cannot {act} {}", path.display())]
    System {
        /// What was attempted.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn system(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AdvisoryError {
    let path = path.to_owned();
    move |source| AdvisoryError::System { act, path, source }
}

/// The advisories of this host.
#[derive(Debug)]
pub struct Advisories {
    dir: PathBuf,
    source: Option<Source>,
    /// One update at a time.
    updating: tokio::sync::Mutex<()>,
}

/// The version of the compiled form.
const FORM: u32 = 2;

impl Advisories {
    /// The advisories in this folder.
    pub fn below(state_dir: &Path, source: Option<Source>) -> Arc<Self> {
        let dir = state_dir.join("advisories");
        Arc::new(Self { dir, source, updating: tokio::sync::Mutex::default() })
    }

    /// Where they come from.
    pub const fn source(&self) -> Option<&Source> {
        self.source.as_ref()
    }

    fn compiled(&self) -> PathBuf {
        self.dir.join("compiled")
    }

    /// What is known of the list that is in force; none when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn head(&self) -> Result<Option<Head>, AdvisoryError> {
        let path = self.compiled();
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(system("open", &path)(error)),
        };
        let mut line = Vec::new();
        let mut reader = BufReader::new(file).take(ADVISORY_BYTES_MAX);
        reader.read_until(b'\n', &mut line).map_err(system("read", &path))?;
        // An earlier version's form is compiled again.
        let head = serde_json::from_slice::<Head>(&line).ok();
        Ok(head.filter(|head| head.form == FORM))
    }

    /// What the list in force says under these keys.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub async fn entries(
        self: &Arc<Self>,
        keys: BTreeSet<String>,
    ) -> Result<(Head, BTreeMap<String, Vec<Entry>>), AdvisoryError> {
        let this = Arc::clone(self);
        blocking(move || this.read_entries(&keys)).await
    }

    /// The same, for who may wait.
    ///
    /// # Errors
    /// As `entries`.
    pub fn read_entries(
        &self,
        keys: &BTreeSet<String>,
    ) -> Result<(Head, BTreeMap<String, Vec<Entry>>), AdvisoryError> {
        let head = self.head()?.ok_or(AdvisoryError::None)?;
        let path = self.compiled();
        let file = fs::File::open(&path).map_err(system("open", &path))?;
        let mut reader = BufReader::with_capacity(1 << 20, file).take(ADVISORIES_BYTES_MAX);
        let mut found: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        let mut line = Vec::new();
        // Both are in order, so that one walk beside each other finds everything.
        let mut wanted = keys.iter().peekable();
        reader.read_until(b'\n', &mut line).map_err(system("read", &path))?;
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).map_err(system("read", &path))? == 0 {
                break;
            }
            let Some(tab) = line.iter().position(|byte| *byte == b'\t') else { continue };
            let (key, entry) = (&line[..tab], &line[tab + 1..]);
            while wanted.next_if(|wanted| wanted.as_bytes() < key).is_some() {}
            let Some(wanted) = wanted.peek() else { break };
            if wanted.as_bytes() == key {
                let entry =
                    serde_json::from_slice(entry).map_err(|error| AdvisoryError::Broken {
                        what: path.display().to_string(),
                        why: error.to_string(),
                    })?;
                found.entry((*wanted).clone()).or_default().push(entry);
            }
        }
        Ok((head, found))
    }

    /// Looks at the source, and takes what it has now.
    ///
    /// # Errors
    /// When there is none, it cannot be had, or it is no list of advisories. The list in force stays.
    pub async fn update(self: &Arc<Self>, now: Timestamp) -> Result<Updated, AdvisoryError> {
        let source = self.source.clone().ok_or(AdvisoryError::NoSource)?;
        let _updating = self.updating.lock().await;
        let this = Arc::clone(self);
        let known = blocking(move || {
            this.prepare()?;
            this.head()
        })
        .await?;
        let mark = known.as_ref().filter(|head| head.source == source.shown());
        let mark = mark.map(|head| head.mark.clone());
        let (path, mark) = match &source {
            Source::Path(path) => {
                let looked = path.clone();
                let now_mark = blocking(move || compile::mark(&looked)).await?;
                let is_same = mark.as_ref() == Some(&now_mark);
                ((!is_same).then(|| path.clone()), now_mark)
            }
            Source::Url(url) => {
                let into = self.dir.join("download.part");
                match download::get(url, mark.as_deref(), &into, &source.shown()).await? {
                    None => (None, mark.unwrap_or_default()),
                    Some(mark) => (Some(into), mark),
                }
            }
        };
        let this = Arc::clone(self);
        blocking(move || {
            let updated = match (path, known) {
                (None, Some(head)) => {
                    let head = Head { checked_at: now, ..head };
                    this.replace_head(&head)?;
                    Updated::Unchanged(head)
                }
                (path, _) => {
                    let path = path.ok_or(AdvisoryError::None)?;
                    let head = compile::compile(&path, &this.dir, &source.shown(), &mark, now)?;
                    Updated::Replaced(head)
                }
            };
            let _ = fs::remove_file(this.dir.join("download.part"));
            Ok(updated)
        })
        .await
    }

    fn prepare(&self) -> Result<(), AdvisoryError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.dir).map_err(system("create", &self.dir))
    }

    /// Notes when the source was looked at: in place, as the line keeps its length.
    fn replace_head(&self, head: &Head) -> Result<(), AdvisoryError> {
        compile::write_head_in_place(&self.compiled(), head)
    }
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, AdvisoryError> + Send + 'static,
) -> Result<T, AdvisoryError> {
    #[expect(clippy::disallowed_methods, reason = "large files are read and sorted")]
    let done = tokio::task::spawn_blocking(act).await;
    done.unwrap_or_else(|_| {
        let (what, why) = ("the list".to_owned(), "its reader failed".to_owned());
        Err(AdvisoryError::Broken { what, why })
    })
}
