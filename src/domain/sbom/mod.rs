//! Says which packages an image holds. Owns the readers of package databases and lock files, package
//! URLs and the form in which an inventory leaves. Face: `is_wanted`, `Reading`, `Inventory`, `cyclonedx`.
//! Never leaves something out silently: what could not be read is a note of the inventory.

mod cyclonedx;
mod lines;
mod lock_files;
mod node;
mod os;
mod purl;
mod python;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::keyed::keyed;
use crate::base::limits::{SBOM_NOTES_MAX, SBOM_PACKAGES_MAX, SBOM_TEXT_BYTES_MAX};

pub use cyclonedx::{Described, SPEC_VERSION, cyclonedx};
pub use os::Os;
pub use purl::purl;
pub use python::normal_name;

keyed! {
    /// Whose package it is: who gives the name, and how versions are ordered.
    pub enum Ecosystem: "ecosystem" {
        /// Debian and what is made of it (`dpkg`).
        Debian = "deb",
        /// Alpine and its relatives (`apk`).
        Alpine = "apk",
        /// Python.
        PyPi = "pypi",
        /// JavaScript.
        Npm = "npm",
        /// Rust.
        CratesIo = "cargo",
        /// Go.
        Go = "golang",
        /// Ruby.
        RubyGems = "gem",
        /// PHP.
        Packagist = "composer",
    }
}

/// A package of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Whose it is.
    pub ecosystem: Ecosystem,
    /// Its name, as its ecosystem spells it.
    pub name: String,
    /// What is installed or locked.
    pub version: String,
    /// What a distribution built it from, where that has another name or version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// For which processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Its licenses, as it states them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// The files that tell of it.
    pub found_in: Vec<String>,
}

/// The source package of a distribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Package {
    /// A package of which only this is known.
    pub(crate) fn new(ecosystem: Ecosystem, name: &str, version: &str) -> Self {
        Self {
            ecosystem,
            name: name.to_owned(),
            version: version.to_owned(),
            source: None,
            architecture: None,
            license: None,
            found_in: Vec::new(),
        }
    }
}

/// What an image holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<Os>,
    /// The packages, in the order of ecosystem, name and version.
    pub packages: Vec<Package>,
    /// What could not be read, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What kind of file tells of packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    OsRelease,
    DpkgStatus,
    ApkInstalled,
    /// A database in a form that is not read.
    Rpm,
    PythonMetadata,
    Requirements,
    TomlLock(Ecosystem),
    PipfileLock,
    NodePackage,
    PackageLock,
    YarnLock,
    PnpmLock,
    GoMod,
    GoSum,
    GemfileLock,
    ComposerLock,
}

/// Whether the file at this path of an image, without a leading `/`, tells of packages.
pub fn is_wanted(path: &str) -> bool {
    kind(path).is_some()
}

fn kind(path: &str) -> Option<Kind> {
    match path {
        "etc/os-release" | "usr/lib/os-release" => return Some(Kind::OsRelease),
        "var/lib/dpkg/status" => return Some(Kind::DpkgStatus),
        "lib/apk/db/installed" | "usr/lib/apk/db/installed" => return Some(Kind::ApkInstalled),
        _ => {}
    }
    if let Some(name) = path.strip_prefix("var/lib/dpkg/status.d/") {
        let is_record = !name.contains('/') && !name.ends_with(".md5sums");
        return is_record.then_some(Kind::DpkgStatus);
    }
    let is_rpm = ["var/lib/rpm/", "usr/lib/sysimage/rpm/", "usr/share/rpm/"];
    if is_rpm.iter().any(|folder| path.starts_with(folder)) {
        return matches!(name_of(path), "Packages" | "Packages.db" | "rpmdb.sqlite")
            .then_some(Kind::Rpm);
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    match name_of(path) {
        "METADATA" if folder.ends_with(".dist-info") => Some(Kind::PythonMetadata),
        "PKG-INFO" if folder.ends_with(".egg-info") => Some(Kind::PythonMetadata),
        name if name.ends_with(".egg-info") => Some(Kind::PythonMetadata),
        "requirements.txt" => Some(Kind::Requirements),
        "poetry.lock" | "uv.lock" => Some(Kind::TomlLock(Ecosystem::PyPi)),
        "Cargo.lock" => Some(Kind::TomlLock(Ecosystem::CratesIo)),
        "Pipfile.lock" => Some(Kind::PipfileLock),
        // A package's own description, not one that it brings along as a sample.
        "package.json" if is_node_package(folder) => Some(Kind::NodePackage),
        "package-lock.json" | "npm-shrinkwrap.json" => Some(Kind::PackageLock),
        "yarn.lock" => Some(Kind::YarnLock),
        "pnpm-lock.yaml" => Some(Kind::PnpmLock),
        "go.mod" => Some(Kind::GoMod),
        "go.sum" => Some(Kind::GoSum),
        "Gemfile.lock" => Some(Kind::GemfileLock),
        "composer.lock" => Some(Kind::ComposerLock),
        _ => None,
    }
}

fn is_node_package(folder: &str) -> bool {
    let mut parts = folder.rsplit('/').skip(1);
    match parts.next() {
        Some("node_modules") => true,
        Some(scope) if scope.starts_with('@') => parts.next() == Some("node_modules"),
        _ => false,
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Reads the files of one image, in any order.
#[derive(Debug, Default)]
pub struct Reading {
    os: BTreeMap<String, Os>,
    packages: BTreeMap<(Ecosystem, String, String), Package>,
    notes: Vec<String>,
    notes_left_out: usize,
    packages_left_out: usize,
    /// Folders with a `go.mod`: what their `go.sum` says beyond it is not built.
    go_modules: Vec<String>,
    go_sums: Vec<(String, Vec<Package>)>,
}

impl Reading {
    /// Takes the file at this path in. One that tells of nothing is left alone.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        let Some(kind) = kind(path) else { return };
        let Ok(text) = std::str::from_utf8(content) else {
            let text = String::from_utf8_lossy(content).into_owned();
            if kind == Kind::Rpm {
                return self.note(path, "databases of RPM are not read");
            }
            self.note(path, "some of it is not UTF-8");
            return self.text(kind, path, &text);
        };
        self.text(kind, path, text);
    }

    /// Says that a file which would tell of packages could not be had.
    pub fn missed(&mut self, path: &str, why: &str) {
        self.note(path, why);
    }

    fn text(&mut self, kind: Kind, path: &str, text: &str) {
        let told = match kind {
            Kind::OsRelease => {
                if let Some(os) = os::release(text) {
                    self.os.insert(path.to_owned(), os);
                } else {
                    self.note(path, "it does not say which distribution it is");
                }
                return;
            }
            Kind::Rpm => Told::nothing("databases of RPM are not read"),
            Kind::DpkgStatus => os::dpkg(text),
            Kind::ApkInstalled => os::apk(text),
            Kind::PythonMetadata => python::metadata(text),
            Kind::Requirements => python::requirements(text),
            Kind::PipfileLock => python::pipfile_lock(text),
            Kind::TomlLock(ecosystem) => tables::lock(ecosystem, text),
            Kind::NodePackage => node::package(text),
            Kind::PackageLock => node::package_lock(text),
            Kind::YarnLock => node::yarn_lock(text),
            Kind::PnpmLock => node::pnpm_lock(text),
            Kind::GoMod => {
                self.go_modules.push(folder_of(path));
                lock_files::go_mod(text)
            }
            Kind::GoSum => {
                let told = lock_files::go_sum(text);
                told.notes.iter().for_each(|note| self.note(path, note));
                self.go_sums.push((path.to_owned(), told.packages));
                return;
            }
            Kind::GemfileLock => lock_files::gemfile_lock(text),
            Kind::ComposerLock => lock_files::composer_lock(text),
        };
        told.notes.iter().for_each(|note| self.note(path, note));
        told.packages.into_iter().for_each(|package| self.package(path, package));
    }

    fn package(&mut self, path: &str, mut package: Package) {
        let key = (package.ecosystem, package.name.clone(), package.version.clone());
        let is_long = [&package.name, &package.version]
            .iter()
            .any(|text| text.len() > SBOM_TEXT_BYTES_MAX || text.is_empty());
        if is_long {
            return self.note(path, "a package has no name or version of a usual length");
        }
        if package.license.as_ref().is_some_and(|text| text.len() > SBOM_TEXT_BYTES_MAX) {
            package.license = None;
        }
        if let Some(known) = self.packages.get_mut(&key) {
            if !known.found_in.iter().any(|place| place == path) && known.found_in.len() < 8 {
                known.found_in.push(path.to_owned());
            }
            known.license = known.license.take().or(package.license);
            return;
        }
        if self.packages.len() >= SBOM_PACKAGES_MAX {
            self.packages_left_out += 1;
            return;
        }
        package.found_in.push(path.to_owned());
        self.packages.insert(key, package);
    }

    fn note(&mut self, path: &str, note: &str) {
        if self.notes.len() >= SBOM_NOTES_MAX {
            self.notes_left_out += 1;
            return;
        }
        let path: String = path.chars().take(SBOM_TEXT_BYTES_MAX).collect();
        self.notes.push(format!("{path}: {note}"));
    }

    /// What all files together say.
    pub fn done(mut self) -> Inventory {
        for (path, packages) in std::mem::take(&mut self.go_sums) {
            let folder = folder_of(&path);
            if !self.go_modules.contains(&folder) {
                packages.into_iter().for_each(|package| self.package(&path, package));
            }
        }
        let os = self.os.remove("etc/os-release").or(self.os.remove("usr/lib/os-release"));
        let mut notes = self.notes;
        notes.sort();
        notes.dedup();
        if self.notes_left_out > 0 {
            notes.push(format!("{} further notes are left out", self.notes_left_out));
        }
        if self.packages_left_out > 0 {
            notes.push(format!(
                "{} packages beyond the first {SBOM_PACKAGES_MAX} are left out",
                self.packages_left_out
            ));
        }
        let mut packages: Vec<Package> = self.packages.into_values().collect();
        packages.iter_mut().for_each(|package| package.found_in.sort());
        if packages.is_empty() && notes.is_empty() {
            notes.push("no package database and no lock file was found".to_owned());
        }
        Inventory { os, packages, notes }
    }
}

fn folder_of(path: &str) -> String {
    path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned())
}

/// What one file tells.
#[derive(Debug, Default)]
struct Told {
    packages: Vec<Package>,
    notes: Vec<String>,
}

impl Told {
    fn nothing(note: &str) -> Self {
        Self { packages: Vec::new(), notes: vec![note.to_owned()] }
    }

    fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// A package, when both its name and version are there.
    fn add(&mut self, ecosystem: Ecosystem, name: Option<&str>, version: Option<&str>) {
        match (name.filter(|name| !name.is_empty()), version.filter(|it| !it.is_empty())) {
            (Some(name), Some(version)) => {
                self.packages.push(Package::new(ecosystem, name, version));
            }
            (Some(name), None) => {
                let name: String = name.chars().take(SBOM_TEXT_BYTES_MAX).collect();
                self.note(format!("{name} has no version"));
            }
            (None, _) => self.note("a package has no name"),
        }
    }
}
