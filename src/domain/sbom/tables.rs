//! Reads lock files that are lists of `[[package]]` tables: of Cargo, Poetry and uv. Owns the few lines of
//! TOML that these programs write there. Face: `lock`. Never guesses a value that is spelled otherwise.

use super::python::normal_name;
use super::{Ecosystem, Told};

/// Reads the file.
pub(super) fn lock(ecosystem: Ecosystem, text: &str) -> Told {
    let mut told = Told::default();
    let mut open: Option<Entry> = None;
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with('[') {
            // A table below the package, such as `[package.dependencies]`, ends what is said of itself.
            if let Some(entry) = open.take() {
                entry.close(ecosystem, &mut told);
            }
            if line == "[[package]]" {
                open = Some(Entry::default());
            }
            continue;
        }
        let Some(entry) = &mut open else { continue };
        let Some((key, value)) = line.split_once('=') else { continue };
        match key.trim() {
            "name" => entry.name = basic_string(value),
            "version" => entry.version = basic_string(value),
            // What is built from the tree itself comes from no registry.
            "source" => {
                let is_here = ["editable", "virtual"].iter().any(|kind| value.contains(kind));
                entry.is_own |= is_here && value.trim().starts_with('{');
                entry.has_source = true;
            }
            _ => {}
        }
    }
    if let Some(entry) = open.take() {
        entry.close(ecosystem, &mut told);
    }
    if told.packages.is_empty() && !text.trim().is_empty() {
        told.note("it lists no package");
    }
    told
}

#[derive(Default)]
struct Entry {
    name: Option<String>,
    version: Option<String>,
    is_own: bool,
    has_source: bool,
}

impl Entry {
    fn close(self, ecosystem: Ecosystem, told: &mut Told) {
        // Cargo names no source for the members of a workspace.
        if self.is_own || (ecosystem == Ecosystem::CratesIo && !self.has_source) {
            return;
        }
        let name = match ecosystem {
            Ecosystem::PyPi => self.name.as_deref().map(normal_name),
            _ => self.name,
        };
        told.add(ecosystem, name.as_deref(), self.version.as_deref());
    }
}

/// `"text"` without escapes: neither names nor versions have any.
fn basic_string(value: &str) -> Option<String> {
    let value = value.trim().strip_prefix('"')?;
    let (text, _) = value.split_once('"')?;
    (!text.contains('\\')).then(|| text.to_owned())
}
