//! Turns compose files into one project. Owns the Compose Specification: interpolation, merging,
//! short forms, `extends`, `include`, profiles, defaults. Face: `load`, `survey`, `canonical`,
//! `canonical_yaml`, `lower`, `Bundle`, `Project`. Never opens a file: it says what it needs, and
//! the caller brings it.

mod bundle;
mod check;
mod codes;
mod defaults;
pub mod dockerignore;
mod dotenv;
mod environment;
mod extend;
mod forms;
mod include;
mod interpolate;
mod keys;
mod load;
mod lower;
mod merge;
mod no_effect;
mod paths;
mod ports;
mod print;
mod print_yaml;
mod project;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod unique;
mod words;

pub use bundle::{Bundle, BundleFile, ContextRef, load_bundle};
pub use codes::{CODES, title_of};
pub use keys::service_keys;
pub use load::{Answer, Files, Loaded, Options, PROJECT_NAMES, is_project_name, load, survey};
pub use lower::{Inputs, lower, lower_as_far_as_possible};
pub use print::canonical;
pub use print_yaml::canonical_yaml;
pub use project::{LocalContext, Project};
