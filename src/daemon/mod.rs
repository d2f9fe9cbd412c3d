//! The agent as a process: configuration, wiring, signals, service manager, start, drain, exit. Owns
//! the order in which things start and stop. Face: `config`, `run`. Never decides anything about a
//! project.

pub mod config;

/// Compares a generated file of the tree with what it should be, or writes it when
/// `WHARF_REFRESH=1` is set.
#[cfg(test)]
pub(crate) fn fresh_file(path: &str, text: &str) {
    let full = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("WHARF_REFRESH").is_some() {
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::fs::write(&full, text).unwrap();
    }
    let found = std::fs::read_to_string(&full).unwrap_or_default();
    assert!(found == text, "{path} is stale: run `WHARF_REFRESH=1 cargo test --lib fresh`");
}
