//! Makes findings of vulnerabilities. Owns how they are named: the policy, the subject, the check. Face:
//! `Seen`, `looks`, `POLICY`. Never tells a tenant of an image that none of its projects runs.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Timestamp;
use crate::base::ids::{RunId, TenantId};
use crate::domain::advisories::Vulnerability;
use crate::domain::alerts::Severity;
use crate::domain::findings::{Look, Standing, Violation, evidence_hash};
use crate::domain::redaction::SafeText;

/// The policy whose findings vulnerabilities are.
pub const POLICY: &str = "image-vulnerabilities";

/// An image that was matched with advisories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which projects run it, by the name that they declare.
    pub runs: BTreeSet<(String, String)>,
    /// What is wrong with it.
    pub found: Vec<Vulnerability>,
}

/// What each tenant is told. `whole` are the tenants all of whose images were looked at.
pub fn looks(
    seen: &[Seen],
    tenants: &BTreeMap<String, TenantId>,
    whole: &BTreeSet<TenantId>,
    (run, at): (RunId, Timestamp),
) -> Vec<Look> {
    let new_look = |tenant: TenantId| {
        let mut look = Look::new(tenant, at, Some(run));
        look.policies.insert(POLICY.to_owned());
        look.is_whole = whole.contains(&tenant);
        look
    };
    let mut looks: BTreeMap<TenantId, Look> =
        whole.iter().map(|tenant| (*tenant, new_look(*tenant))).collect();
    // An image that replaces another one may run beside it, under one name.
    let mut told: BTreeSet<(TenantId, String, String, String)> = BTreeSet::new();
    for image in seen {
        let mut names: BTreeMap<(TenantId, &str), Vec<&str>> = BTreeMap::new();
        for (name, project) in &image.runs {
            if let Some(tenant) = tenants.get(project) {
                names.entry((*tenant, name)).or_default().push(project);
            }
        }
        for ((tenant, name), projects) in names {
            let look = looks.entry(tenant).or_insert_with(|| new_look(tenant));
            let subject = format!("image:{name}");
            let project = match projects[..] {
                [only] => Some(only),
                _ => None,
            };
            look.cover(&subject, project);
            look.stand(POLICY, &subject, Standing::Passing);
            for found in &image.found {
                let key = (tenant, subject.clone(), found.id.clone(), found.package.clone());
                if !told.insert(key) {
                    continue;
                }
                if found.is_unclear {
                    look.unknown.insert((found.id.clone(), subject.clone()));
                    look.stand(POLICY, &subject, Standing::Unknown);
                } else {
                    look.see(violation(found, &subject, project));
                }
            }
        }
    }
    looks.into_values().collect()
}

fn violation(found: &Vulnerability, subject: &str, project: Option<&str>) -> Violation {
    let Vulnerability { id, package, installed, .. } = found;
    let fixed = found.fixed.as_deref();
    let title = match found.summary.is_empty() {
        true => format!("{id} in {package}"),
        false => format!("{id} in {package}: {}", found.summary),
    };
    let remediation = match fixed {
        Some(fixed) => format!("build or pull an image with {package} {fixed} or later"),
        None => format!("no fixed version of {package} is known; judge whether it is reachable"),
    };
    Violation {
        check_id: id.clone(),
        subject: subject.to_owned(),
        place: package.clone(),
        project: project.map(str::to_owned),
        policies: vec![POLICY.to_owned()],
        // Nobody has said how severe it is: somebody has to look.
        severity: found.severity.unwrap_or(Severity::Medium),
        title: SafeText::new(title),
        message: SafeText::new(format!("{package} {installed} is installed")),
        remediation: SafeText::new(remediation),
        evidence_hash: evidence_hash(&[id, package, installed, fixed.unwrap_or_default()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sbom::Ecosystem;

    fn vulnerability(id: &str, is_unclear: bool) -> Vulnerability {
        Vulnerability {
            id: id.to_owned(),
            aliases: Vec::new(),
            severity: None,
            score: None,
            ecosystem: Ecosystem::Debian,
            package: "openssl".to_owned(),
            installed: "1".to_owned(),
            fixed: Some("2".to_owned()),
            summary: String::new(),
            is_unclear,
        }
    }

    #[test]
    fn a_tenant_is_told_of_the_images_that_its_projects_run() {
        let (one, two) = (TenantId::from_u128(1), TenantId::from_u128(2));
        let tenants = [("shop".to_owned(), one), ("blog".to_owned(), two)].into();
        let runs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, project)| ((*name).into(), (*project).into())).collect()
        };
        let seen = [
            Seen {
                runs: runs(&[("app:1", "shop"), ("web", "blog"), ("app:1", "elsewhere")]),
                found: vec![vulnerability("CVE-1", false), vulnerability("CVE-2", true)],
            },
            Seen { runs: runs(&[("app:1", "shop")]), found: vec![vulnerability("CVE-1", false)] },
        ];
        let at = (RunId::from_u128(7), Timestamp::UNIX_EPOCH);
        let looks = looks(&seen, &tenants, &[one].into(), at);
        assert_eq!(looks.len(), 2);
        let shop = &looks[0];
        assert!(shop.is_whole && shop.policies.contains(POLICY) && !looks[1].is_whole);
        let seen: Vec<_> =
            shop.violations.iter().map(|it| (it.check_id.as_str(), it.subject.as_str())).collect();
        assert_eq!(seen, [("CVE-1", "image:app:1")]);
        assert_eq!(shop.violations[0].project.as_deref(), Some("shop"));
        assert!(shop.unknown.contains(&("CVE-2".to_owned(), "image:app:1".to_owned())));
        assert_eq!(looks[1].violations[0].subject, "image:web");
    }

    #[test]
    fn an_image_that_is_clean_is_covered_so_that_old_findings_end() {
        let tenant = TenantId::from_u128(1);
        let runs = [("app:1".to_owned(), "shop".to_owned())].into();
        let seen = [Seen { runs, found: Vec::new() }];
        let tenants = [("shop".to_owned(), tenant)].into();
        let at = (RunId::from_u128(7), Timestamp::UNIX_EPOCH);
        let looks = looks(&seen, &tenants, &BTreeSet::new(), at);
        assert!(looks[0].subjects.contains_key("image:app:1"));
        assert_eq!(looks[0].standings.values().next(), Some(&Standing::Passing));
    }
}
