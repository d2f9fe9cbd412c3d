use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::base::time::after;

mod backfilling;
mod compliance;
mod lifecycle;
mod observing;

const TENANT: TenantId = TenantId::from_u128(1);
const WORKSPACE: WorkspaceId = WorkspaceId::from_u128(9);
const DAY: u64 = 24;

fn at(hours: u64) -> Timestamp {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    after(start, Duration::from_secs(hours * 3600))
}

fn violation(check: &str, subject: &str) -> Violation {
    Violation {
        check_id: check.to_owned(),
        subject: subject.to_owned(),
        place: "user".to_owned(),
        project: Some("shop".to_owned()),
        policies: vec!["base".to_owned()],
        severity: Severity::High,
        title: "A service does not run as root".into(),
        message: "it runs as root".into(),
        remediation: "set `user`".into(),
        evidence_hash: evidence_hash(&[check, "user", "it runs as root"]),
    }
}

/// A look at `shop/web/1` and `shop/db/1` by the policy `base`.
fn look(hours: u64, violations: &[Violation]) -> Look {
    let mut look = Look::new(TENANT, at(hours), None);
    look.policies.insert("base".to_owned());
    for subject in ["shop/web/1", "shop/db/1"] {
        look.cover(subject, Some("shop"));
        look.stand("base", subject, Standing::Passing);
    }
    violations.iter().for_each(|violation| look.see(violation.clone()));
    look
}

/// Rows and exceptions as a store has them, and looks that change them.
#[derive(Default)]
struct Kept {
    rows: Vec<Finding>,
    exceptions: Vec<FindingException>,
    ids: u128,
}

impl Kept {
    fn look(&mut self, look: &Look) -> Vec<What> {
        let keys: BTreeSet<Digest> = look.violations.iter().map(|it| it.key(TENANT)).collect();
        let texts: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let known: Vec<Finding> =
            self.rows.iter().filter(|row| texts.contains(&row.fingerprint)).cloned().collect();
        let exceptions = self.exceptions.clone();
        let mut new_id = || {
            self.ids += 1;
            FindingId::from_u128(self.ids)
        };
        let place = (WORKSPACE, look);
        let seen = observe_seen(place, &look.violations, &known, &exceptions, &mut new_id);
        let mut told = self.apply(seen);
        let unseen = observe_unseen(&self.rows, look, &keys);
        told.extend(self.apply(unseen));
        told
    }

    fn apply(&mut self, observed: Observed) -> Vec<What> {
        self.rows.extend(observed.new);
        for change in observed.changes {
            self.change(change);
        }
        for change in observed.exceptions {
            let exception = self.exceptions.iter_mut().find(|it| it.id == change.exception.id);
            let exception = exception.unwrap();
            assert_eq!(Some(exception.status), change.seen_status);
            *exception = change.exception;
        }
        observed.happened.iter().map(|happened| happened.what).collect()
    }

    fn change(&mut self, change: Change) {
        let row = self.rows.iter_mut().find(|row| row.id == change.finding.id).unwrap();
        assert_eq!(row.version, change.seen_version);
        assert_eq!(change.finding.version, change.seen_version + 1);
        assert_ne!(*row, change.finding, "nothing is written that stays as it is");
        *row = change.finding;
    }

    fn only(&self) -> &Finding {
        let [only] = &self.rows[..] else { panic!("{:?}", self.rows) };
        only
    }

    /// Accepts the only finding until a time.
    fn accept(&mut self, now: u64, until: u64) {
        let row = self.only();
        let exception = FindingException {
            id: crate::base::ids::ExceptionId::from_u128(self.exceptions.len() as u128 + 1),
            workspace_id: WORKSPACE,
            tenant_id: TENANT,
            finding_id: row.id,
            scope_key: row.scope_key.clone(),
            owner: UserId::from_u128(1),
            approver: None,
            reason: "it is known".to_owned(),
            expires_at: at(until),
            status: ExceptionStatus::Requested,
            evidence_hash: row.evidence_hash.unwrap(),
            created_at: at(now),
        };
        let by = UserId::from_u128(2);
        let decided = decide_exception(row, &exception, Decision::Approve, by, at(now)).unwrap();
        self.exceptions.push(decided.0.exception);
        self.change(decided.1.unwrap());
    }
}
