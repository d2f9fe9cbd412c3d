//! Selects what a policy is about: by project, service, label, image, stage and tenant. Owns patterns
//! and how they match. Face: `Selector`, `Selected`, `Pattern`. Never takes longer than the product of
//! a pattern's length and a text's.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::Subject;
use crate::base::limits::POLICY_PATTERN_CHARS_MAX;
use crate::domain::access::Stage;

/// A text in which `*` stands for any characters and `?` for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a pattern has 1 to {POLICY_PATTERN_CHARS_MAX} characters")]
pub struct PatternError;

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let fits = (1..=POLICY_PATTERN_CHARS_MAX).contains(&text.chars().count());
        if fits { Ok(Self(text.to_owned())) } else { Err(PatternError) }
    }
}

impl Pattern {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a text fits.
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text): (Vec<char>, Vec<char>) =
            (self.0.chars().collect(), text.chars().collect());
        let (mut at, mut next) = (0, 0);
        // Where the last star stands, and what it begins to stand for: only the last one ever has to
        // be tried again.
        let mut star: Option<(usize, usize)> = None;
        while next < text.len() {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at, next));
                    at += 1;
                }
                Some(expected) if *expected == '?' || *expected == text[next] => {
                    at += 1;
                    next += 1;
                }
                _ => {
                    let Some((place, begin)) = star else { return false };
                    star = Some((place, begin + 1));
                    (at, next) = (place + 1, begin + 1);
                }
            }
        }
        pattern[at..].iter().all(|rest| *rest == '*')
    }
}

/// What is selected: each kind that is given has to fit, by one of its patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Projects; what belongs to none fits no pattern.
    pub projects: Vec<Pattern>,
    /// Services, or containers without a service.
    pub services: Vec<Pattern>,
    /// Labels, each of which has to be there with a value that fits.
    pub labels: BTreeMap<String, Vec<Pattern>>,
    /// Images, as they are declared or with their registry (`docker.io/library/postgres:16`).
    pub images: Vec<Pattern>,
    /// Stages.
    pub stages: Vec<Stage>,
    /// Tenants, by name.
    pub tenants: Vec<Pattern>,
}

/// What is asked whether it is selected.
#[derive(Debug, Clone, Copy)]
pub struct Selected<'a> {
    /// The service or container; `None` for a host.
    pub subject: Option<&'a Subject<'a>>,
    /// The stage of its tenant.
    pub stage: Stage,
    /// Its tenant's name.
    pub tenant: Option<&'a str>,
}

impl Selector {
    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it selects by what only a service or container has.
    pub fn is_about_services(&self) -> bool {
        let Self { projects, services, labels, images, stages: _, tenants: _ } = self;
        !(projects.is_empty() && services.is_empty() && labels.is_empty() && images.is_empty())
    }

    /// Whether it selects this.
    pub fn selects(&self, selected: &Selected<'_>) -> bool {
        let stages = self.stages.is_empty() || self.stages.contains(&selected.stage);
        stages && any(&self.tenants, selected.tenant) && self.selects_subject(selected.subject)
    }

    fn selects_subject(&self, subject: Option<&Subject<'_>>) -> bool {
        let Some(subject) = subject else { return !self.is_about_services() };
        any(&self.projects, subject.project)
            && any(&self.services, Some(subject.service))
            && self.labels.iter().all(|(key, patterns)| {
                let value = label(subject, key);
                value.is_some_and(|value| any(patterns, Some(value)))
            })
            && (self.images.is_empty() || {
                let declared = subject.spec.image.as_str();
                let whole = whole_reference(declared);
                self.images.iter().any(|it| it.matches(declared) || it.matches(&whole))
            })
    }
}

fn any(patterns: &[Pattern], text: Option<&str>) -> bool {
    patterns.is_empty()
        || text.is_some_and(|text| patterns.iter().any(|pattern| pattern.matches(text)))
}

/// A label of its own, or its image's.
fn label<'a>(subject: &Subject<'a>, key: &str) -> Option<&'a str> {
    let of_image = subject.image.and_then(|image| image.defaults.labels.get(key));
    subject.spec.labels.get(key).or(of_image).map(String::as_str)
}

/// A reference with what Docker adds to it: registry, `library/`, `:latest`.
pub(super) fn whole_reference(text: &str) -> String {
    let is_registry = |part: &str| part.contains(['.', ':']) || part == "localhost";
    let name = match text.split_once('/') {
        Some((first, _)) if is_registry(first) => text.to_owned(),
        Some(_) => format!("docker.io/{text}"),
        None => format!("docker.io/library/{text}"),
    };
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) { name } else { format!("{name}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::ServiceSpec;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_star_is_any_text_and_a_question_mark_one_character() {
        let check = |text: &str, fits: &[&str], others: &[&str]| {
            for other in fits {
                assert!(pattern(text).matches(other), "{text} {other}");
            }
            for other in others {
                assert!(!pattern(text).matches(other), "{text} {other}");
            }
        };
        check("web", &["web"], &["", "we", "webs", "Web"]);
        check("web-*", &["web-", "web-1", "web-a-b"], &["web", "aweb-"]);
        check("*", &["", "a", "a/b"], &[]);
        check("*/web:*", &["a/web:1", "a/b/web:"], &["web:1", "a/web"]);
        check("a*b*c", &["abc", "aXbYc", "abbcc"], &["ab", "acb", "abcd"]);
        check("w?b", &["web", "wäb"], &["wb", "weeb"]);
        check("a**b", &["ab", "axb"], &["a"]);
        check("[a]", &["[a]"], &["a"]);
        assert_eq!("".parse::<Pattern>(), Err(PatternError));
        assert_eq!("a".repeat(201).parse::<Pattern>(), Err(PatternError));
    }

    #[test]
    fn many_stars_take_no_longer_than_their_product() {
        let stars = pattern(&"*a".repeat(100));
        assert!(!stars.matches(&format!("{}b", "a".repeat(10_000))));
    }

    #[test]
    fn a_reference_is_matched_as_docker_completes_it() {
        let check = |text: &str, expect: &str| assert_eq!(whole_reference(text), expect);
        check("postgres", "docker.io/library/postgres:latest");
        check("postgres:16", "docker.io/library/postgres:16");
        check("acme/web", "docker.io/acme/web:latest");
        check("localhost/web", "localhost/web:latest");
        check("r.example:5000/a/web", "r.example:5000/a/web:latest");
        check("r.example/web@sha256:ab", "r.example/web@sha256:ab");
    }

    #[test]
    fn every_kind_that_is_given_has_to_fit() {
        let mut spec = ServiceSpec { image: "postgres:16".to_owned(), ..ServiceSpec::default() };
        spec.labels.insert("tier".to_owned(), "data".to_owned());
        let subject = Subject { project: Some("shop"), ..Subject::new("db", &spec) };
        let check = |change: fn(&mut Selector), expect: bool| {
            let mut selector = Selector::default();
            change(&mut selector);
            let tenant = Some("acme");
            let selected = Selected { subject: Some(&subject), stage: Stage::Production, tenant };
            assert_eq!(selector.selects(&selected), expect, "{selector:?}");
        };
        check(|_| {}, true);
        check(|it| it.projects = vec![pattern("sh*")], true);
        check(|it| it.projects = vec![pattern("other"), pattern("shop")], true);
        check(|it| it.projects = vec![pattern("other")], false);
        check(|it| it.services = vec![pattern("db")], true);
        check(|it| it.services = vec![pattern("web")], false);
        check(|it| it.images = vec![pattern("docker.io/library/*")], true);
        check(|it| it.images = vec![pattern("postgres:*")], true);
        check(|it| it.images = vec![pattern("ghcr.io/*")], false);
        check(|it| it.stages = vec![Stage::Production], true);
        check(|it| it.stages = vec![Stage::Staging], false);
        check(|it| it.tenants = vec![pattern("acme")], true);
        check(|it| it.tenants = vec![pattern("other")], false);
        check(|it| drop(it.labels.insert("tier".to_owned(), vec![pattern("d*")])), true);
        check(|it| drop(it.labels.insert("tier".to_owned(), vec![pattern("web")])), false);
        check(|it| drop(it.labels.insert("team".to_owned(), vec![pattern("*")])), false);
        check(
            |it| {
                it.projects = vec![pattern("shop")];
                it.services = vec![pattern("web")];
            },
            false,
        );
    }

    #[test]
    fn a_host_is_selected_by_stage_and_tenant_alone() {
        let selected = Selected { subject: None, stage: Stage::Staging, tenant: None };
        assert!(Selector::default().selects(&selected));
        let stages = Selector { stages: vec![Stage::Staging], ..Selector::default() };
        assert!(stages.selects(&selected));
        let services = Selector { services: vec![pattern("*")], ..Selector::default() };
        assert!(!services.selects(&selected));
        let tenants = Selector { tenants: vec![pattern("*")], ..Selector::default() };
        assert!(!tenants.selects(&selected));
    }
}
