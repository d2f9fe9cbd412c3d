//! wharfinger, the keeper of a container host: the modules, floor by floor, lowest first. A module
//! uses lower floors only; `tests/floors.rs` enforces it.

// 0 ground
pub mod base;
// 1 words
pub mod facts;
// 2 mind
pub mod domain;
// 3 hands
pub mod store;
pub mod world;
// 4 shell
pub mod operations;
pub mod watchers;
// 5 doors
pub mod api;
// 6 roof
pub mod cli;
pub mod daemon;

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
