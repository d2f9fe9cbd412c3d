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
// 5 doors
pub mod api;
// 6 roof
pub mod cli;
pub mod daemon;
