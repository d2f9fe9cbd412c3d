//! Who may do what, through the real router: every route that is registered, asked by every role, for
//! its own and a foreign tenant and in a wrong workspace.

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use tower::ServiceExt as _;

use wharfinger::api::Route;
use wharfinger::api::access::Peer;
use wharfinger::base::ids::{ElevationId, EventId, TenantId, UserId, WorkspaceId};
use wharfinger::base::time::after;
use wharfinger::domain::access::{
    BuiltInRole, Capability, CapabilitySet, Elevation, Membership, Need, OsUser, Reach, Reason,
    ReasonKind, Stage, Tenant, TenantStatus, User, UserKind, Workspace,
};
use wharfinger::domain::alerts::Severity;
use wharfinger::domain::audit::{Actor, AuditEvent, EventContext, EventType, Outcome};
use wharfinger::domain::findings::{Look, Violation, evidence_hash};
use wharfinger::domain::redaction::SafeText;
use wharfinger::store::{AccessWrite, AuditFilter, FindingFilter, PageRequest, Write};

use super::*;

#[path = "access/borders.rs"]
mod borders;
#[path = "access/findings.rs"]
mod findings;
#[path = "access/platform.rs"]
mod platform;

const TYPE: &str = "shop.mail";
const RUNBOOK: &str = "findings.lifecycle.backfill";
const OWN: TenantId = TenantId::from_u128(0xa1);
const FOREIGN: TenantId = TenantId::from_u128(0xa2);
/// Nothing has this id.
const NONE: &str = "00000000-0000-0000-0000-00000000dead";

/// What somebody heard.
#[derive(Debug, Clone, PartialEq)]
struct Heard {
    status: u16,
    body: Value,
}

impl Heard {
    /// What was told, without the path that every problem repeats and without the names in it.
    fn without(mut self, names: &[&str]) -> Self {
        if let Some(fields) = self.body.as_object_mut() {
            fields.remove("instance");
        }
        let mut text = self.body.to_string();
        for name in names {
            text = text.replace(name, "X");
        }
        Self { body: Value::String(text), ..self }
    }
}

/// Things of one tenant.
#[derive(Debug, Clone)]
struct Things {
    tenant: TenantId,
    project: String,
    schedule: String,
    run: String,
    event: String,
    finding: String,
}

impl Things {
    /// Things that do not exist, asked for in the same words.
    fn none(tenant: TenantId) -> Self {
        let name = |what: &str| format!("{what}-none");
        let (project, schedule) = (name("shop"), name("nightly"));
        let none = || NONE.to_owned();
        Self { tenant, project, schedule, run: none(), event: none(), finding: none() }
    }

    fn names(&self) -> [&str; 5] {
        [&self.project, &self.schedule, &self.run, &self.event, &self.finding]
    }
}

/// How a route is asked.
struct Probe {
    path: String,
    body: Option<Value>,
    /// It names something that belongs to a tenant.
    is_of_tenant: bool,
}

/// How a route is asked for these things. A new route needs a line here.
fn probe(route: &Route, things: &Things) -> Option<Probe> {
    let of = |path: String, body: Option<Value>, is_of_tenant: bool| {
        Some(Probe { path, body, is_of_tenant })
    };
    let plain = |body: Option<Value>| of(route.path.clone(), body, false);
    let named = |name: &str| route.path.replace("{name}", name);
    let run = || {
        let path = route.path.replace("{id}", &things.run).replace("{attempt}", "1");
        path.replace("{key}", "part")
    };
    let enqueue =
        json!({"type": TYPE, "payload": {"of": things.project}, "tenant_id": things.tenant});
    let schedule =
        json!({"cron": "@daily", "task": {"type": "hosted", "run_type": TYPE, "payload": {}}});
    let mut bundle = apply(WEB);
    bundle["bundle"]["options"]["project_name"] = json!(things.project);
    match (route.method, route.path.as_str()) {
        ("GET", "/v1/projects" | "/v1/runs" | "/v1/schedules" | "/v1/audit") => plain(None),
        ("GET", "/v1/queue" | "/v1/queue/controls" | "/v1/queue/types") => plain(None),
        ("GET", "/v1/alerts/rules" | "/v1/alerts/receivers" | "/v1/alerts/deliveries") => {
            plain(None)
        }
        ("GET", "/v1/agent" | "/metrics" | "/v1/openapi.json" | "/v1/store/backup") => plain(None),
        ("GET", "/healthz" | "/readyz") => plain(None),
        ("GET", "/v1/runbooks" | "/v1/audit/export" | "/v1/audit/key") => plain(None),
        ("GET", "/v1/audit/cloudevents" | "/v1/audit/filters") => plain(None),
        ("GET", path) if path.starts_with("/v1/access/") => plain(None),
        (
            "GET",
            "/v1/platform/workspaces" | "/v1/platform/audit" | "/v1/platform/audit/filters",
        ) => plain(None),
        ("GET", "/v1/platform/audit/{id}") => of(route.path.replace("{id}", NONE), None, false),
        ("GET", "/v1/platform/workspaces/{name}") => of(named("default"), None, false),
        ("PUT", "/v1/platform/workspaces/{name}") => of(named("default"), Some(json!({})), false),
        ("POST", path) if path.starts_with("/v1/platform/workspaces/{name}/runbooks/{key}/") => {
            let mut body = json!({"scope": "single_tenant", "tenant_id": things.tenant});
            if path.ends_with("/start") {
                body["preflight_digest"] = json!("0".repeat(64));
            }
            of(named("default").replace("{key}", RUNBOOK), Some(body), false)
        }
        ("POST", "/v1/runs/{id}/decision") => of(run(), Some(json!({"approve": true})), true),
        ("GET", "/v1/runbooks/{key}") => of(route.path.replace("{key}", RUNBOOK), None, false),
        ("POST", path) if path.starts_with("/v1/runbooks/{key}/") => {
            let mut body = json!({"scope": "single_tenant", "tenant_id": things.tenant});
            if path.ends_with("/start") {
                body["preflight_digest"] = json!("0".repeat(64));
            }
            of(route.path.replace("{key}", RUNBOOK), Some(body), true)
        }
        ("POST", "/v1/audit/purge") => plain(Some(json!({"before": "2020-01-01T00:00:00Z"}))),
        ("POST", "/v1/audit/erase") => plain(Some(json!({"person": "nobody at all"}))),
        ("PUT", "/v1/access/members/{name}") => {
            of(named("Spare"), Some(json!({"role": "viewer", "tenants": []})), false)
        }
        ("DELETE", "/v1/access/members/{name}") => of(named("Spare"), None, false),
        ("PUT", "/v1/access/users/{name}") => of(named("Fresh"), Some(json!({})), false),
        ("PUT", "/v1/access/roles/{name}") => {
            of(named("readers"), Some(json!({"capabilities": ["runs.view"]})), false)
        }
        ("DELETE", "/v1/access/roles/{name}") => of(named("readers"), None, false),
        ("PUT", "/v1/access/tenants/{name}") => of(named("further"), Some(json!({})), false),
        ("POST", "/v1/access/tokens") => plain(Some(json!({"label": "l", "user": "Spare"}))),
        ("POST", "/v1/access/certificates") => {
            plain(Some(json!({"user": "Spare", "fingerprint": "a".repeat(64)})))
        }
        // Nobody is to hold everything while others are asked.
        ("POST", "/v1/access/break-glass") => {
            let reason = json!({"reason_code": "SUPPORT", "reason_text": "t"});
            plain(Some(json!({"reason": reason, "life_seconds": 1})))
        }
        ("POST", "/v1/access/break-glass/end") => plain(Some(json!({}))),
        (_, path) if path.starts_with("/v1/access/") && path.contains("{id}") => {
            let body = (route.method == "POST").then(|| json!({}));
            of(route.path.replace("{id}", NONE), body, false)
        }
        ("POST", "/v1/projects/{name}/plan") => of(named(&things.project), Some(bundle), true),
        ("POST", "/v1/projects/{name}/up") => of(named(&things.project), Some(bundle), true),
        ("POST", "/v1/projects/{name}/exec") => {
            let new = json!({"service": "web", "command": ["true"]});
            of(named(&things.project), Some(new), true)
        }
        (_, path) if path.starts_with("/v1/projects/{name}") => {
            let body = (route.method == "POST").then(|| json!({}));
            of(named(&things.project), body, true)
        }
        ("POST", "/v1/contexts/wanted") => plain(Some(json!({"digests": []}))),
        ("PUT", "/v1/contexts/{digest}") => {
            of(route.path.replace("{digest}", &"0".repeat(64)), None, false)
        }
        ("POST", "/v1/queue/claims") => {
            plain(Some(json!({"types": [TYPE], "worker": "w", "limit": 1, "wait_seconds": 0})))
        }
        ("POST", "/v1/queue/runs") => of(route.path.clone(), Some(enqueue), true),
        ("POST", "/v1/queue/runs/batch") => {
            of(route.path.clone(), Some(json!({"runs": [enqueue]})), true)
        }
        ("POST", path) if path.ends_with("/fail") => {
            of(run(), Some(json!({"reason_code": "internal", "message": "m"})), true)
        }
        ("POST", path) if path.ends_with("/attempts/{attempt}/jobs") => {
            of(run(), Some(json!({"jobs": [{"key": "part", "payload": {}}]})), true)
        }
        ("POST", path) if path.starts_with("/v1/queue/runs/{id}") => {
            of(run(), Some(json!({})), true)
        }
        ("PUT", "/v1/queue/controls") => {
            plain(Some(json!({"scope": "workspace", "is_paused": false})))
        }
        ("PUT", "/v1/queue/types/{name}") => of(named(TYPE), Some(json!({"label": "Mail"})), false),
        (_, "/v1/queue/types/{name}") => of(named(TYPE), None, false),
        (_, path) if path.starts_with("/v1/runs/{id}") => {
            of(run(), (route.method == "POST").then(|| json!({})), true)
        }
        ("PUT", "/v1/schedules/{name}") => of(named(&things.schedule), Some(schedule), true),
        (_, path) if path.starts_with("/v1/schedules/{name}") => {
            let body = (route.method == "POST").then(|| json!({}));
            of(named(&things.schedule), body, true)
        }
        ("PUT", "/v1/alerts/rules/{name}") => {
            of(named("failures"), Some(json!({"receivers": ["ops"]})), false)
        }
        ("PUT", "/v1/alerts/receivers/{name}") => {
            of(named("ops"), Some(json!({"url": "https://ops.example.org/hook"})), false)
        }
        (_, path) if path.starts_with("/v1/alerts/deliveries/{id}") => {
            let body = (route.method == "POST").then(|| json!({}));
            of(route.path.replace("{id}", NONE), body, false)
        }
        (_, path) if path.starts_with("/v1/alerts/") && path.contains("{name}") => {
            let body = (route.method == "POST").then(|| json!({}));
            of(named("ops"), body, false)
        }
        ("GET", "/v1/enforcement/plan") => {
            of("/v1/enforcement/plan?container=none".to_owned(), None, false)
        }
        ("GET", path) if path.starts_with("/v1/enforcement") => plain(None),
        ("PUT", "/v1/enforcement/switch") => {
            plain(Some(json!({"is_off": false, "reason": "a test"})))
        }
        ("POST", "/v1/enforcement/quarantine" | "/v1/enforcement/release") => {
            plain(Some(json!({"container": "none", "reason": "a test"})))
        }
        ("POST", "/v1/enforcement/maintenance") => {
            plain(Some(json!({"reason": "a test", "seconds": 60})))
        }
        ("POST", "/v1/enforcement/maintenance/end") => plain(Some(json!({}))),
        ("GET", "/v1/findings" | "/v1/compliance") => plain(None),
        (_, path) if path.starts_with("/v1/findings/{id}") => {
            let path = route.path.replace("{id}", &things.finding).replace("{exception}", "open");
            let body = match path.rsplit('/').next() {
                Some("status") => Some(json!({"verb": "triage"})),
                Some("assignee") => Some(json!({"assignee": null})),
                Some("exceptions") => {
                    Some(json!({"reason": "r", "expires_at": "2020-01-01T00:00:00Z"}))
                }
                Some("decision") => Some(json!({"is_approved": true})),
                Some("revoke") => Some(json!({})),
                _ => None,
            };
            of(path, body, true)
        }
        ("GET", "/v1/registries" | "/v1/images") => plain(None),
        ("POST", "/v1/images/check" | "/v1/images/scan") => plain(Some(json!({}))),
        ("POST", "/v1/images/advisories/update") => plain(Some(json!({}))),
        ("GET", "/v1/images/scans" | "/v1/images/advisories") => plain(None),
        ("GET", "/v1/images/vulnerabilities" | "/v1/images/sbom") => {
            of(format!("{}?image=none", route.path), None, false)
        }
        (_, "/v1/registries/{host}") => {
            let login = json!({"username": "ci", "password": "one-for-the-test"});
            let body = (route.method == "PUT").then_some(login);
            of(route.path.replace("{host}", "registry.example.org"), body, false)
        }
        ("GET", "/v1/policies") => plain(None),
        ("GET", "/v1/policies/{name}") => of(named("rules"), None, false),
        ("GET", "/v1/audit/{id}") => of(route.path.replace("{id}", &things.event), None, true),
        _ => None,
    }
}

/// Every route that is registered, reading ones first and removing ones last.
fn routes() -> Vec<Route> {
    let mut routes = api::Routes::new().list().to_vec();
    let rank =
        |route: &Route| ["GET", "PUT", "POST", "DELETE"].iter().position(|it| *it == route.method);
    // What somebody holds for a time is given back last of all.
    let is_last = |route: &Route| route.path.ends_with("/break-glass/end");
    routes.sort_by_key(|route| (is_last(route), rank(route), route.path.clone()));
    routes
}

/// Somebody who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// A member with this role, who reaches one tenant or all.
    Member(BuiltInRole, bool),
    /// A user without a membership.
    Outsider,
    /// A platform user without a membership.
    Platform,
    /// A platform user for emergencies.
    Emergency,
    /// The same, who has broken the glass.
    Elevated,
    /// A user of the machine whom nobody knows.
    Stranger,
}

impl Who {
    fn uid(self) -> u32 {
        match self {
            Self::Member(role, is_narrow) => 5_000 + 2 * role as u32 + u32::from(is_narrow),
            Self::Outsider => 6_000,
            Self::Platform => 6_001,
            Self::Stranger => 6_002,
            Self::Emergency => 6_003,
            Self::Elevated => 6_004,
        }
    }

    fn capabilities(self) -> CapabilitySet {
        match self {
            Self::Member(role, _) => role.capabilities(),
            Self::Elevated => BuiltInRole::Owner.capabilities(),
            _ => CapabilitySet::NONE,
        }
    }
}

impl Fixture {
    /// Users of every role, and two tenants.
    async fn peopled() -> Self {
        let agent = Self::new().await;
        let scope = agent.store.scope();
        for (id, name) in [(OWN, "own"), (FOREIGN, "foreign")] {
            let tenant = Tenant {
                id,
                workspace_id: scope.workspace_id,
                external_id: None,
                name: name.to_owned(),
                status: TenantStatus::Active,
                stage: Stage::Production,
                created_at: agent.ambient.now(),
            };
            agent.write(AccessWrite::PutTenant(tenant)).await;
        }
        for role in BuiltInRole::ALL {
            for (is_narrow, reach) in [(false, Reach::All), (true, Reach::Some([OWN].into()))] {
                let user_id = agent.user(Who::Member(*role, is_narrow), UserKind::Member).await;
                let role = role.key().parse().unwrap();
                let membership = Membership { workspace_id: scope.workspace_id, user_id, role };
                agent.write(AccessWrite::PutMember { membership, reach }).await;
            }
        }
        agent.user(Who::Outsider, UserKind::Member).await;
        agent.user(Who::Platform, UserKind::Platform).await;
        agent.user(Who::Emergency, UserKind::Platform).await;
        let elevated = agent.user(Who::Elevated, UserKind::Platform).await;
        agent.elevate(elevated).await;
        let spare = json!({"kind": "member"});
        let (status, _) = agent.ask(Method::PUT, "/v1/access/users/Spare", Some(spare)).await;
        assert_eq!(status, 200);
        let path = format!("/v1/queue/types/{TYPE}");
        let (status, _) = agent.ask(Method::PUT, &path, Some(json!({"label": "Mail"}))).await;
        assert_eq!(status, 201);
        agent
    }

    pub(super) async fn write(&self, write: AccessWrite) {
        let scope = self.store.scope();
        let event = AuditEvent {
            id: EventId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            workspace_id: scope.workspace_id,
            tenant_id: None,
            event_type: EventType::AgentStarted,
            summary: SafeText::new("a test prepares"),
            outcome: Outcome::Info,
            actor: Actor::agent(),
            target: None,
            operation_run_id: None,
            context: EventContext::default(),
            occurred_at: self.ambient.now(),
        };
        self.store.commit(vec![Write::Access(write)], event.into()).await.unwrap();
    }

    async fn user(&self, who: Who, kind: UserKind) -> UserId {
        let id = UserId::generate(&*self.ambient.clock, &*self.ambient.entropy);
        let host_id = self.store.scope().host_id;
        let user = User {
            id,
            name: format!("{who:?}"),
            email: None,
            kind,
            is_break_glass: matches!(who, Who::Emergency | Who::Elevated),
            os_user: Some(OsUser { host_id, uid: who.uid() }),
            disabled_at: None,
            created_at: self.ambient.now(),
        };
        self.write(AccessWrite::PutUser(Box::new(user))).await;
        id
    }

    /// Somebody has broken the glass.
    async fn elevate(&self, user_id: UserId) {
        let now = self.ambient.now();
        let elevation = Elevation {
            id: ElevationId::generate(&*self.ambient.clock, &*self.ambient.entropy),
            user_id,
            reason: Reason {
                reason_code: ReasonKind::Incident,
                reason_text: SafeText::new("it burns"),
            },
            started_at: now,
            expires_at: after(now, Duration::from_secs(3600)),
            ended_at: None,
        };
        self.write(AccessWrite::InsertElevation(Box::new(elevation))).await;
    }

    /// Asks as somebody.
    async fn as_who(
        &self,
        who: Who,
        route: &Route,
        probe: &Probe,
        headers: &[(&str, &str)],
    ) -> Heard {
        let peer = Peer { uid: who.uid(), gid: who.uid() };
        let mut request = Request::builder().method(route.method).uri(&probe.path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request = request.extension(ConnectInfo(peer));
        let request = match &probe.body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        let response = self.router.clone().oneshot(request.unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let is_problem = response
            .headers()
            .get("content-type")
            .is_some_and(|kind| kind == "application/problem+json");
        // Other answers may never end.
        let body = match is_problem {
            true => axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap(),
            false => axum::body::Bytes::new(),
        };
        Heard { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }
    }

    /// Makes what a tenant has, anew where it was removed.
    async fn things(&self, tenant: TenantId, name: &str) -> Things {
        let (project, schedule) = (format!("shop-{name}"), format!("nightly-{name}"));
        let send = async |method: Method, path: String, body: Value| {
            let request = self.http.request(method, format!("http://wharf{path}"));
            let sent = request.header("wharf-tenant", name).json(&body).send().await.unwrap();
            let status = sent.status();
            let body: Value = sent.json().await.unwrap();
            assert!(status.is_success(), "{path}: {body}");
            body
        };
        let mut bundle = apply(WEB);
        bundle["bundle"]["options"]["project_name"] = json!(project);
        send(Method::POST, format!("/v1/projects/{project}/up"), bundle).await;
        let nightly =
            json!({"cron": "@daily", "task": {"type": "hosted", "run_type": TYPE, "payload": {}}});
        send(Method::PUT, format!("/v1/schedules/{schedule}"), nightly).await;
        let identity = EventId::generate(&*self.ambient.clock, &*self.ambient.entropy).to_string();
        let new = json!({"type": TYPE, "payload": {}, "identity": identity, "tenant_id": tenant});
        let run = send(Method::POST, "/v1/queue/runs".to_owned(), new).await;
        let finding = self.finding(tenant, &project).await;
        let filter = AuditFilter {
            tenant_id: Some(tenant),
            ..AuditFilter::workspace(self.store.scope().workspace_id)
        };
        let event = self.store.audit(filter, PageRequest::first(1)).await.unwrap().items.remove(0);
        let run = run["run"]["id"].as_str().unwrap().to_owned();
        Things { tenant, project, schedule, run, event: event.event.id.to_string(), finding }
    }

    /// A finding of a tenant.
    async fn finding(&self, tenant: TenantId, project: &str) -> String {
        let findings = Findings::new(Arc::clone(&self.store), self.ambient.clone());
        let mut look = Look::new(tenant, self.ambient.now(), None);
        let subject = format!("{project}/web/1");
        look.see(Violation {
            check_id: "rule.privileged".to_owned(),
            subject: subject.clone(),
            place: "privileged".to_owned(),
            project: Some(project.to_owned()),
            policies: vec!["baseline".to_owned()],
            severity: Severity::High,
            title: "No container has all privileges".into(),
            message: "it has all privileges".into(),
            remediation: "remove `privileged`".into(),
            evidence_hash: evidence_hash(&["privileged"]),
        });
        findings.record(look).await.unwrap();
        let filter = FindingFilter {
            tenant_id: Some(tenant),
            subject: Some(subject),
            ..FindingFilter::workspace(self.store.scope().workspace_id)
        };
        let found = self.store.findings(filter, PageRequest::first(1)).await.unwrap();
        found.items[0].id.to_string()
    }
}

/// What the rules say of somebody who asks for what they reach.
fn expected(who: Who, need: Need) -> u16 {
    let has = |capability| if who.capabilities().has(capability) { 200 } else { 403 };
    match (who, need) {
        (_, Need::Open) => 200,
        (Who::Stranger, _) => 403,
        (_, Need::Known) => 200,
        (Who::Platform | Who::Elevated, Need::Platform(_)) => 200,
        (Who::Emergency, Need::Platform(Capability::PlatformBreakGlass)) => 200,
        (Who::Emergency, Need::Platform(_)) => 403,
        (_, Need::Platform(_)) | (Who::Platform | Who::Emergency | Who::Outsider, _) => 404,
        (Who::Elevated, Need::Member(capability) | Need::Whole(capability)) => has(capability),
        (Who::Member(_, true), Need::Whole(_)) => 404,
        (Who::Member(..), Need::Member(capability) | Need::Whole(capability)) => has(capability),
    }
}

/// Whether an answer is what the rules say: 200 stands for whatever the route itself answers.
fn is_right(heard: &Heard, expect: u16) -> bool {
    let is_refused = matches!(heard.status, 401 | 403) || heard.body["detail"] == ABSENT;
    match expect {
        200 => !is_refused && heard.status != 500,
        404 => heard.status == 404 && heard.body["code"] == "not_found",
        expect => heard.status == expect,
    }
}

fn check(who: Who, route: &Route, heard: &Heard, expect: u16, how: &str) {
    let is_right = is_right(heard, expect);
    assert!(is_right, "{who:?}, {how}: {route:?} answered {heard:?}, not {expect}");
}

const ABSENT: &str = "nothing of the kind is within your reach";

#[tokio::test]
async fn every_route_answers_every_role_as_the_rules_say() {
    let agent = Fixture::peopled().await;
    let routes = routes();
    // Who reaches one tenant goes first: what they are refused must be there.
    let mut everybody = Vec::new();
    for is_narrow in [true, false] {
        everybody.extend(BuiltInRole::ALL.iter().map(|role| Who::Member(*role, is_narrow)));
    }
    everybody.extend([Who::Outsider, Who::Platform, Who::Emergency, Who::Elevated, Who::Stranger]);
    let (mut asked, none) = (0, Things::none(FOREIGN));
    for who in everybody {
        let own = agent.things(OWN, "own").await;
        let foreign = agent.things(FOREIGN, "foreign").await;
        for route in &routes {
            let unknown = || panic!("{route:?} is not probed: say in `probe` how it is asked");
            let mine = probe(route, &own).unwrap_or_else(unknown);
            let theirs = probe(route, &foreign).unwrap_or_else(unknown);
            let nobodys = probe(route, &none).unwrap_or_else(unknown);
            let expect = expected(who, route.need);
            for headers in [&[][..], &[("wharf-tenant", "own")]] {
                let heard = agent.as_who(who, route, &mine, headers).await;
                let is_named = !headers.is_empty()
                    && expect == 200
                    && who.capabilities() == CapabilitySet::NONE;
                let expect = match is_named && !matches!(route.need, Need::Open | Need::Known) {
                    // Outside of their workspaces, no tenant has a name.
                    true => expect.max(heard.status),
                    false => expect,
                };
                check(who, route, &heard, expect, "own tenant");
                asked += 1;
            }
            let is_narrow = matches!(who, Who::Member(_, true));
            let is_bound = matches!(route.need, Need::Member(_));
            // A record of a tenant out of reach is as absent as one that never was.
            if is_bound && mine.is_of_tenant && is_narrow {
                let expect = if expect == 200 { 404 } else { expect };
                let heard = agent.as_who(who, route, &theirs, &[]).await;
                check(who, route, &heard, expect, "foreign record");
                // Whoever makes something makes what is not there; there is nothing to compare.
                let makes = matches!(route.method, "PUT")
                    || route.path.ends_with("/up")
                    || route.path.ends_with("/plan")
                    || route.path.starts_with("/v1/queue/runs") && !route.path.contains("{id}");
                if !makes {
                    let absent = agent.as_who(who, route, &nobodys, &[]).await;
                    let (heard, absent) =
                        (heard.without(&foreign.names()), absent.without(&none.names()));
                    assert_eq!(heard, absent, "{who:?}: {route:?}");
                }
                asked += 2;
            }
            if !matches!(route.need, Need::Member(_) | Need::Whole(_)) || who == Who::Stranger {
                continue;
            }
            let mut refusals = Vec::new();
            for (header, value) in [
                ("wharf-workspace", "platform"),
                ("wharf-workspace", "nowhere"),
                ("wharf-tenant", "nowhere"),
                ("wharf-tenant", if is_narrow { "foreign" } else { "nowhere" }),
            ] {
                let heard = agent.as_who(who, route, &mine, &[(header, value)]).await;
                check(who, route, &heard, 404, &format!("{header}: {value}"));
                refusals.push(heard.without(&[]));
                asked += 1;
            }
            assert!(refusals.windows(2).all(|pair| pair[0] == pair[1]), "{who:?}: {refusals:?}");
        }
    }
    assert!(asked > 7_000, "{asked} requests");
}

#[tokio::test]
async fn a_route_that_is_not_probed_is_noticed() {
    let need = Need::Open;
    let route = Route { method: "GET", path: "/v1/unheard-of".to_owned(), need };
    assert!(probe(&route, &Things::none(OWN)).is_none());
    assert!(routes().len() > 60);
}

#[tokio::test]
async fn lists_show_what_is_within_reach() {
    let agent = Fixture::peopled().await;
    let own = agent.things(OWN, "own").await;
    let foreign = agent.things(FOREIGN, "foreign").await;
    let narrow = Who::Member(BuiltInRole::Operator, true);
    for path in ["/v1/projects", "/v1/runs", "/v1/schedules", "/v1/findings", "/v1/audit"] {
        let list = async |who: Who, headers: &[(&str, &str)]| {
            let peer = Peer { uid: who.uid(), gid: who.uid() };
            let mut request = Request::builder().uri(path).extension(ConnectInfo(peer));
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Body::empty()).unwrap();
            let response = agent.router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 200, "{path}");
            let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
            String::from_utf8(body.to_vec()).unwrap()
        };
        let shows = |text: &str, things: &Things| {
            text.contains(&things.project)
                || text.contains(&things.schedule)
                || text.contains(&things.run)
        };
        let seen = list(narrow, &[]).await;
        assert!(shows(&seen, &own) && !shows(&seen, &foreign), "{path}: {seen}");
        let wide = Who::Member(BuiltInRole::Operator, false);
        let seen = list(wide, &[]).await;
        assert!(shows(&seen, &own) && shows(&seen, &foreign), "{path}: {seen}");
        let seen = list(wide, &[("wharf-tenant", "foreign")]).await;
        assert!(!shows(&seen, &own) && shows(&seen, &foreign), "{path}: {seen}");
    }
}
