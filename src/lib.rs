//! wharfinger, the keeper of a container host: the modules, floor by floor, lowest first. A module
//! uses lower floors only; `tests/floors.rs` enforces it.

// 0 ground
pub mod base;
// 1 words
pub mod facts;
// 3 hands
pub mod world;
