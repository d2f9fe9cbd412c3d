//! Proves what becomes of findings on a host in memory: through looks, people and time.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::base::Timestamp;
use crate::base::ids::{RunId, UserId};
use crate::base::limits::FINDINGS_PAGE;
use crate::base::time::after;
use crate::domain::alerts::{EventKey, Severity};
use crate::domain::findings::{Command, Decision, ExceptionStatus, Refused, evidence_hash};
use crate::domain::runs::Source;
use crate::operations::alerts::{Alerts, RuleSpec};
use crate::operations::harness::{Agent, Host, asker};
use crate::operations::projects::Asker;
use crate::store::{AuditFilter, DeliveryFilter, FindingFilter, PageRequest};

const DAY: Duration = Duration::from_secs(24 * 3600);

struct Desk {
    findings: Findings,
    agent: Agent,
    tenant: TenantId,
    other: Asker,
}

impl Desk {
    async fn new() -> Self {
        let agent = Host::new().start().await;
        let findings = Findings::new(Arc::clone(&agent.store), agent.ambient.clone());
        let tenant = agent.store.scope().tenant_id;
        Self { findings, agent, tenant, other: Asker::local(7, "grace", Source::Cli) }
    }

    fn now(&self) -> Timestamp {
        self.agent.ambient.now()
    }

    fn look(&self, subjects: &[&str]) -> Look {
        let mut look = Look::new(self.tenant, self.now(), None);
        look.policies.insert("base".to_owned());
        look.is_whole = true;
        for subject in subjects {
            look.see(violation(subject));
        }
        look
    }

    /// Looks a moment later than last time.
    async fn sees(&self, subjects: &[&str]) -> Recorded {
        tokio::time::advance(Duration::from_secs(60)).await;
        self.findings.record(self.look(subjects)).await.unwrap()
    }

    async fn all(&self) -> Vec<Finding> {
        let filter = FindingFilter::workspace(self.agent.store.scope().workspace_id);
        let page = self.findings.list(filter, PageRequest::first(0)).await.unwrap();
        page.items
    }

    async fn only(&self) -> Finding {
        let mut all = self.all().await;
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// What the log says about findings, oldest first.
    async fn told(&self) -> Vec<String> {
        let filter = AuditFilter::workspace(self.agent.store.scope().workspace_id);
        let page = self.agent.store.audit(filter, PageRequest::first(0)).await.unwrap();
        let mut told: Vec<String> = page
            .items
            .iter()
            .map(|record| record.event.event_type.key().to_owned())
            .filter(|key| key.starts_with("finding"))
            .collect();
        told.reverse();
        told
    }

    async fn act(&self, command: Command) -> Result<Finding, FindingError> {
        let id = self.only().await.id;
        self.findings.act(id, command, None, &asker()).await
    }

    /// Asks for an acceptance that lasts so long.
    async fn ask(&self, lasts: Duration) -> Result<(), FindingError> {
        let id = self.only().await.id;
        let wanted = ("it is known".into(), after(self.now(), lasts));
        let owner = UserId::from_u128(1);
        self.findings.ask_exception(id, wanted, (&asker(), owner)).await.map(drop)
    }

    async fn decide(&self, decision: Decision, by: u128) -> Result<Finding, FindingError> {
        let aim = Aim { finding: self.only().await.id, exception: None };
        let who = (&self.other, UserId::from_u128(by));
        let decided = self.findings.decide_exception(aim, decision, None, who).await;
        decided.map(|(finding, _)| finding)
    }
}

fn violation(subject: &str) -> Violation {
    Violation {
        check_id: "rule.non_root_user".to_owned(),
        subject: subject.to_owned(),
        place: "user".to_owned(),
        project: Some("shop".to_owned()),
        policies: vec!["base".to_owned()],
        severity: Severity::High,
        title: "A service does not run as root".into(),
        message: "it runs as root".into(),
        remediation: "set `user`".into(),
        evidence_hash: evidence_hash(&["non_root_user", "user"]),
    }
}

#[tokio::test(start_paused = true)]
async fn each_thing_that_happens_is_told_once_and_what_is_seen_again_is_not() {
    let desk = Desk::new().await;
    let created = Recorded { created: 2, ..Recorded::default() };
    assert_eq!(desk.sees(&["shop/web/1", "shop/db/1"]).await, created);
    let again = Recorded { seen_again: 2, ..Recorded::default() };
    assert_eq!(desk.sees(&["shop/web/1", "shop/db/1"]).await, again);
    let gone = Recorded { seen_again: 1, resolved: 1, ..Recorded::default() };
    assert_eq!(desk.sees(&["shop/db/1"]).await, gone);
    let back = Recorded { seen_again: 1, reopened: 1, ..Recorded::default() };
    assert_eq!(desk.sees(&["shop/web/1", "shop/db/1"]).await, back);
    let expect = ["finding.created", "finding.created", "finding.resolved", "finding.reopened"];
    assert_eq!(desk.told().await, expect);
    let times: Vec<_> = desk.all().await.iter().map(|row| row.times_seen).collect();
    assert_eq!(times.iter().flatten().sum::<u64>(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_is_recorded_again_changes_nothing() {
    let desk = Desk::new().await;
    let look = desk.look(&["shop/web/1"]);
    for look in [look.clone(), Look { run: Some(RunId::from_u128(5)), ..look }] {
        desk.findings.record(look.clone()).await.unwrap();
        let before = desk.all().await;
        let recorded = desk.findings.record(look).await.unwrap();
        assert_eq!((recorded.created, recorded.resolved, recorded.reopened), (0, 0, 0));
        assert_eq!(desk.all().await, before);
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_a_page_is_recorded_and_resolved() {
    let desk = Desk::new().await;
    let names: Vec<String> = (0..FINDINGS_PAGE + 3).map(|n| format!("shop/web/{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let count = names.len() as u64;
    assert_eq!(desk.sees(&names).await.created, count);
    assert_eq!(desk.sees(&names).await.seen_again, count);
    assert_eq!(desk.sees(&names[..1]).await.resolved, count - 1);
    assert_eq!(desk.told().await.len(), PAGE_OF_EVENTS.min(2 * names.len() - 1));
}

/// What one look at the log shows.
const PAGE_OF_EVENTS: usize = crate::base::limits::PAGE_ITEMS_MAX;

#[tokio::test(start_paused = true)]
async fn two_who_look_at_once_make_one_finding() {
    let desk = Desk::new().await;
    tokio::time::advance(Duration::from_secs(60)).await;
    let looks = (0..8).map(|_| desk.findings.record(desk.look(&["shop/web/1", "shop/db/1"])));
    let recorded = futures_util::future::join_all(looks).await;
    let created: u64 = recorded.into_iter().map(|it| it.unwrap().created).sum();
    assert_eq!((created, desk.all().await.len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn people_take_a_finding_through_its_life() {
    let desk = Desk::new().await;
    desk.sees(&["shop/web/1"]).await;
    let refused = desk.act(Command::Start).await.unwrap_err();
    assert!(matches!(refused, FindingError::Refused(Refused::Illegal { .. })), "{refused}");
    assert!(refused.to_string().contains("triage"), "{refused}");
    desk.act(Command::Triage).await.unwrap();
    let somebody = UserId::from_u128(3);
    desk.act(Command::Assign(Some(somebody))).await.unwrap();
    desk.act(Command::Assign(Some(somebody))).await.unwrap();
    desk.act(Command::Start).await.unwrap();
    desk.act(Command::Resolve).await.unwrap();
    desk.act(Command::Close).await.unwrap();
    let row = desk.only().await;
    assert_eq!((row.status, row.assignee), (FindingStatus::Closed, Some(somebody)));
    let expect = [
        "finding.created",
        "finding.status_changed",
        "finding.assigned",
        "finding.status_changed",
        "finding.resolved",
        "finding.closed",
    ];
    assert_eq!(desk.told().await, expect, "what is so already is not told");
    let filter = AuditFilter {
        target_type: Some(FINDING_TARGET.to_owned()),
        target_id: Some(row.id.to_string()),
        ..AuditFilter::workspace(row.workspace_id)
    };
    let history = desk.agent.store.audit(filter, PageRequest::first(9)).await.unwrap();
    let contexts: Vec<_> = history.items.iter().map(|it| &it.event.context).collect();
    assert_eq!(contexts[0].before_status.as_deref(), Some("resolved"));
    assert_eq!(contexts[0].after_status.as_deref(), Some("closed"));
    assert_eq!(contexts[3].to_assignee_user_id, Some(somebody));
    assert_eq!(contexts[3].from_assignee_user_id, None);
}

#[tokio::test(start_paused = true)]
async fn a_risk_is_accepted_by_another_person_until_its_time_is_over() {
    let desk = Desk::new().await;
    desk.sees(&["shop/web/1"]).await;
    assert!(matches!(desk.decide(Decision::Approve, 2).await, Err(FindingError::Unknown { .. })));
    desk.ask(30 * DAY).await.unwrap();
    let twice = desk.ask(30 * DAY).await.unwrap_err();
    assert!(matches!(twice, FindingError::Refused(Refused::Twice(_))), "{twice}");
    let own = desk.decide(Decision::Approve, 1).await.unwrap_err();
    assert!(matches!(own, FindingError::Refused(Refused::OwnException)), "{own}");
    let accepted = desk.decide(Decision::Approve, 2).await.unwrap();
    assert_eq!(accepted.status, FindingStatus::RiskAccepted);
    assert_eq!(desk.sees(&["shop/web/1"]).await.seen_again, 1);
    let compliance = desk.findings.compliance().await.unwrap();
    assert_eq!((compliance[0].tally.excepted, compliance[0].tally.failing), (1, 0));
    // Nobody looks; the time is over all the same.
    tokio::time::advance(31 * DAY).await;
    let tidied = desk.findings.tidy(400 * DAY).await.unwrap();
    assert_eq!((tidied.expired, tidied.overdue, tidied.purged), (1, 0, 0));
    let row = desk.only().await;
    assert_eq!((row.status, row.reopen_count), (FindingStatus::Reopened, 1));
    assert_eq!(desk.findings.tidy(400 * DAY).await.unwrap(), Tidied::default(), "once");
    let (_, exceptions) = desk.findings.find(row.id).await.unwrap();
    assert_eq!(exceptions[0].status, ExceptionStatus::Expired);
    assert_eq!(exceptions[0].approver, Some(UserId::from_u128(2)));
    let expect = [
        "finding.created",
        "finding.exception_requested",
        "finding.risk_accepted",
        "finding.exception_expired",
    ];
    assert_eq!(desk.told().await, expect);
    // It can be asked for again, taken back, and is rejected.
    desk.ask(DAY).await.unwrap();
    desk.decide(Decision::Revoke, 1).await.unwrap();
    desk.ask(DAY).await.unwrap();
    desk.decide(Decision::Reject, 2).await.unwrap();
    desk.ask(DAY).await.unwrap();
    tokio::time::advance(2 * DAY).await;
    desk.ask(DAY).await.unwrap();
    let last = desk.told().await.split_off(4);
    let expect = [
        "finding.exception_requested",
        "finding.exception_revoked",
        "finding.exception_requested",
        "finding.exception_rejected",
        "finding.exception_requested",
        "finding.exception_requested",
    ];
    assert_eq!(last, expect);
}

#[tokio::test(start_paused = true)]
async fn what_is_overdue_is_told_once_to_who_wants_to_hear_it() {
    let desk = Desk::new().await;
    let alerts = Alerts::new(Arc::clone(&desk.agent.store), desk.agent.ambient.clone());
    let put = crate::domain::alerts::Webhook {
        url: "https://ops.example.org/hook".to_owned().into(),
        headers: Vec::new(),
        signing_key: None,
    };
    let timeout = Duration::from_secs(10);
    alerts.put_receiver("ops".parse().unwrap(), put, timeout, &asker()).await.unwrap();
    let rule = RuleSpec {
        event: "finding.*".parse().unwrap(),
        run_type: "*".parse().unwrap(),
        tenant_id: None,
        severity_min: Severity::High,
        receivers: vec!["ops".to_owned()],
        is_enabled: true,
    };
    alerts.put_rule("late".parse().unwrap(), rule, &asker()).await.unwrap();
    desk.sees(&["shop/web/1"]).await;
    tokio::time::advance(6 * DAY).await;
    assert_eq!(desk.findings.tidy(400 * DAY).await.unwrap(), Tidied::default());
    tokio::time::advance(2 * DAY).await;
    assert_eq!(desk.findings.tidy(400 * DAY).await.unwrap().overdue, 1);
    assert_eq!(desk.findings.tidy(400 * DAY).await.unwrap(), Tidied::default());
    assert_eq!(desk.told().await, ["finding.created", "finding.overdue"]);
    let workspace = desk.agent.store.scope().workspace_id;
    let filter = DeliveryFilter::workspace(workspace);
    let sent = desk.agent.store.deliveries(filter, PageRequest::first(9)).await.unwrap().items;
    let [delivery] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(delivery.event.key, EventKey::FindingOverdue);
    assert_eq!(
        (delivery.event.severity, delivery.event.tenant_id),
        (Severity::High, Some(desk.tenant))
    );
    // It comes back, and is due again.
    desk.sees(&[]).await;
    desk.sees(&["shop/web/1"]).await;
    tokio::time::advance(8 * DAY).await;
    assert_eq!(desk.findings.tidy(400 * DAY).await.unwrap().overdue, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_over_for_long_is_forgotten_with_its_exceptions() {
    let desk = Desk::new().await;
    desk.sees(&["shop/web/1"]).await;
    desk.ask(DAY).await.unwrap();
    desk.decide(Decision::Reject, 2).await.unwrap();
    desk.sees(&[]).await;
    tokio::time::advance(399 * DAY).await;
    assert_eq!(desk.findings.tidy(400 * DAY).await.unwrap(), Tidied::default());
    tokio::time::advance(2 * DAY).await;
    desk.sees(&["shop/db/1"]).await;
    let tidied = desk.findings.tidy(400 * DAY).await.unwrap();
    assert_eq!(tidied, Tidied { purged: 1, ..Tidied::default() });
    assert_eq!(desk.only().await.evidence.subject(), "shop/db/1");
    assert_eq!(desk.told().await.last().map(String::as_str), Some("findings.purged"));
}

#[tokio::test(start_paused = true)]
async fn what_a_policy_said_that_is_gone_ends_when_its_name_is_looked_at() {
    let desk = Desk::new().await;
    desk.sees(&["shop/web/1"]).await;
    let named = desk.findings.policies_named(desk.tenant).await.unwrap();
    assert_eq!(named, ["base".to_owned()].into());
    tokio::time::advance(DAY).await;
    let mut look = Look { policies: ["other".to_owned()].into(), ..desk.look(&[]) };
    assert_eq!(desk.findings.record(look.clone()).await.unwrap(), Recorded::default());
    look.policies.extend(named);
    assert_eq!(desk.findings.record(look).await.unwrap().resolved, 1);
    assert_eq!(desk.findings.compliance().await.unwrap(), []);
    assert_eq!(desk.findings.policies_named(desk.tenant).await.unwrap(), [].into());
}

#[tokio::test(start_paused = true)]
async fn nobody_hears_of_what_is_out_of_their_reach() {
    let desk = Desk::new().await;
    desk.sees(&["shop/web/1"]).await;
    let id = desk.only().await.id;
    let reach = crate::domain::access::Reach::Some([TenantId::from_u128(404)].into());
    let scope = desk.agent.store.scope();
    let outside = desk.findings.within(Within { scope, reach, is_home: true });
    assert!(matches!(outside.find(id).await, Err(FindingError::Unknown { .. })));
    let acted = outside.act(id, Command::Triage, None, &asker()).await;
    assert!(matches!(acted, Err(FindingError::Unknown { .. })));
    assert_eq!(outside.compliance().await.unwrap(), []);
    let filter = FindingFilter::workspace(desk.agent.store.scope().workspace_id);
    let seen = outside.list(filter, PageRequest::first(9)).await.unwrap();
    assert_eq!(seen.items, []);
}
