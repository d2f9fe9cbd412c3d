//! Remembers which services of a project somebody asked for, of which of its revisions, and what is
//! to become of the others. Owns what one more request does to that. Face: `Wanted`, `Layer`. Never resolves dependencies: which
//! service needs which is for each revision's files to say.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::base::ids::RevisionId;

/// What is kept of a project. An operator knows it from Compose: `up web` brings up one service and
/// what it needs, a later `up db` adds to it and leaves the rest as it is, whatever the files say
/// of the rest by now; a plain `up` means everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wanted {
    /// Services that were asked for of the newest revision; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// What earlier revisions still say of other services, the newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beneath: Vec<Layer>,
    /// Containers of services that are not declared any more are not kept: whoever asked for
    /// everything last wanted them removed, and what that run could not finish is made up for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub removes_orphans: bool,
}

/// Services as an earlier revision declares them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The revision.
    pub revision_id: RevisionId,
    /// Services that were asked for of it; empty for all.
    #[serde(default)]
    pub services: Vec<String>,
}

impl Wanted {
    /// Is it all of the newest revision, and nothing else?
    pub fn is_whole(&self) -> bool {
        self.services.is_empty() && self.beneath.is_empty()
    }

    /// The services that were asked for of any revision; empty for all.
    pub fn names(&self) -> BTreeSet<String> {
        let layers = self.beneath.iter().map(|layer| &layer.services);
        let all: Vec<&Vec<String>> = std::iter::once(&self.services).chain(layers).collect();
        if all.iter().any(|services| services.is_empty()) {
            return BTreeSet::new();
        }
        all.into_iter().flatten().cloned().collect()
    }

    /// What is wanted when `asked` (empty for all) of the revision `newest` comes on top of this,
    /// which is what was wanted of the revision `before`.
    #[must_use]
    pub fn and(self, before: Option<RevisionId>, newest: RevisionId, asked: &[String]) -> Self {
        if asked.is_empty() {
            return Self::default();
        }
        let mut names: BTreeSet<String> = asked.iter().cloned().collect();
        let mut beneath = self.beneath;
        match before {
            None => beneath.clear(),
            Some(before) if before == newest && self.services.is_empty() => {
                return Self { removes_orphans: self.removes_orphans, ..Self::default() };
            }
            Some(before) if before == newest => names.extend(self.services),
            Some(before) => {
                beneath.insert(0, Layer { revision_id: before, services: self.services });
            }
        }
        let beneath = without(&names, beneath);
        let services = names.into_iter().collect();
        Self { services, beneath, removes_orphans: self.removes_orphans }
    }
}

/// The layers without what lies hidden: names that were asked for further up, and everything below
/// a layer that stands for all services. Each has a name of its own then, so that there are never
/// more layers than services.
fn without(names: &BTreeSet<String>, layers: Vec<Layer>) -> Vec<Layer> {
    let mut hidden = names.clone();
    let mut visible = Vec::new();
    for mut layer in layers {
        if layer.services.is_empty() {
            visible.push(layer);
            break;
        }
        layer.services.retain(|name| hidden.insert(name.clone()));
        if !layer.services.is_empty() {
            visible.push(layer);
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests as `revision: service service`, and what is wanted after the last, the newest
    /// layer first.
    fn check(requests: &[&str], expect: &str) {
        let (mut wanted, mut before) = (Wanted::default(), None);
        for request in requests {
            let (revision, services) = request.split_once(':').unwrap();
            let revision = RevisionId::from_u128(revision.parse().unwrap());
            let asked: Vec<String> = services.split_whitespace().map(str::to_owned).collect();
            wanted = wanted.and(before, revision, &asked);
            before = Some(revision);
        }
        let number = |id: RevisionId| id.as_bytes()[15];
        let mut layers = vec![format!("{}:{}", number(before.unwrap()), wanted.services.join(" "))];
        layers.extend(
            wanted
                .beneath
                .iter()
                .map(|layer| format!("{}:{}", number(layer.revision_id), layer.services.join(" "))),
        );
        assert_eq!(layers.join(", "), expect, "{requests:?}");
        assert_eq!(wanted.is_whole(), !expect.contains(',') && expect.ends_with(':'));
    }

    #[test]
    fn requests_add_up_until_everything_is_asked_for() {
        check(&["1:"], "1:");
        check(&["1:web"], "1:web");
        check(&["1:web", "1:db"], "1:db web");
        check(&["1:web", "1:db", "1:"], "1:");
        check(&["1:", "1:web"], "1:");
    }

    #[test]
    fn whoever_asks_for_some_services_says_nothing_of_orphans() {
        let newest = RevisionId::from_u128(2);
        for removes_orphans in [false, true] {
            for before in [1, 2] {
                let wanted = Wanted { removes_orphans, ..Wanted::default() };
                let before = Some(RevisionId::from_u128(before));
                let wanted = wanted.and(before, newest, &["web".to_owned()]);
                assert_eq!(wanted.removes_orphans, removes_orphans, "{before:?}");
            }
        }
    }

    #[test]
    fn what_was_not_asked_for_stays_at_its_own_revision() {
        check(&["1:", "2:web"], "2:web, 1:");
        check(&["1:web", "2:db"], "2:db, 1:web");
        check(&["1:web db", "2:db"], "2:db, 1:web");
        check(&["1:web", "2:web"], "2:web");
        check(&["1:", "2:web", "3:db"], "3:db, 2:web, 1:");
        check(&["1:", "2:web", "3:web"], "3:web, 1:");
        check(&["1:", "2:web", "2:db"], "2:db web, 1:");
        check(&["1:web", "2:web", "1:db"], "1:db, 2:web");
        check(&["1:", "2:web", "3:"], "3:");
    }
}
