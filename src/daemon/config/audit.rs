//! Reads how the audit log is kept. Owns the section `audit`. Face: `Audit`. Never shows an address: it
//! may hold a secret.

use std::path::PathBuf;

use super::{CODE, absolute_path, report_at};
use crate::base::limits::AUDIT_ANCHORS_MAX;
use crate::base::yaml::{Fields, Node};
use crate::base::{Digest, Secret};

/// How the audit log is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Where its checkpoints go outside of the host.
    pub anchors: Vec<AnchorPlace>,
    /// How many days it is kept; for ever when none are given.
    pub retention_days: Option<u32>,
}

/// A place outside of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnchorPlace {
    /// A file that is appended to.
    File(PathBuf),
    /// An HTTP address.
    Webhook(Secret<String>),
}

impl Audit {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let retention_days = fields.integer("retention_days", 1..=36_500);
        let retention_days = retention_days.and_then(|days| u32::try_from(days).ok());
        let nodes = fields.items("anchors");
        if nodes.len() > AUDIT_ANCHORS_MAX {
            report_at(fields, "anchors", format!("`anchors` lists more than {AUDIT_ANCHORS_MAX}"));
        }
        let anchors = nodes.iter().filter_map(|node| read_anchor(fields, node)).collect();
        Audit { anchors, retention_days }
    }

    /// The places, without the addresses: they may hold a secret.
    pub(super) fn anchors_text(&self) -> String {
        let place = |anchor: &AnchorPlace| match anchor {
            AnchorPlace::File(path) => format!("file: {}", path.display()),
            AnchorPlace::Webhook(url) => {
                format!("webhook: [{}]", Digest::of(url.expose().as_bytes()).short())
            }
        };
        let places: Vec<String> = self.anchors.iter().map(place).collect();
        format!("[{}]", places.join(", "))
    }

    pub(super) fn retention_text(&self) -> String {
        self.retention_days.map(|days| days.to_string()).unwrap_or_default()
    }
}

fn read_anchor(fields: &mut Fields<'_>, node: &Node) -> Option<AnchorPlace> {
    let mut own = Fields::of(node, CODE, &["file", "webhook"]);
    let (file, webhook) = (own.node("file"), own.string("webhook"));
    let place = match (file, webhook) {
        (Some(file), None) => absolute_path(&mut own, "file", file).map(AnchorPlace::File),
        (None, Some(url)) if url.starts_with("http://") || url.starts_with("https://") => {
            Some(AnchorPlace::Webhook(url.into()))
        }
        (None, Some(_)) => {
            report_at(&mut own, "webhook", "`webhook` must be an http or https address".to_owned());
            None
        }
        _ => {
            let message = "an anchor is either `file` or `webhook`".to_owned();
            own.report(node.problem(CODE, message).help("write `- file: /mnt/anchors/host-1`"));
            None
        }
    };
    for problem in own.into_problems() {
        fields.report(problem);
    }
    place
}
