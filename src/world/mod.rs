//! Every effect but the database. Owns one module per kind of effect; what operations act on, the
//! engine and the content files, has a fake. Face: the traits. Never decides anything: what to do
//! comes from above, what is there is reported in the words of `facts`.

pub mod anchors;
pub mod clock;
pub mod content_files;
pub mod contexts;
pub mod crash;
pub mod docker;
pub mod groups;
pub mod guarded_files;
pub mod host;
pub mod host_facts;
pub mod host_paths;
pub mod notify;
pub mod policy_files;
pub mod runbook_files;
pub mod tasks;
pub mod terminal;
