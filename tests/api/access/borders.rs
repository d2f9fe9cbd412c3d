//! What the matrix cannot say of itself: that routes need enough, that one which does not is noticed, and
//! where the borders of workspaces, tenants and broken glass are.

use super::*;

/// What is wrong with what a route needs, said once more and by other means than where it is registered.
fn too_weak(route: &Route) -> Option<&'static str> {
    let (capability, is_whole) = match route.need {
        Need::Open => {
            let is_open = matches!(route.path.as_str(), "/healthz" | "/readyz");
            return (!is_open).then_some("is open");
        }
        Need::Known => {
            let is_known = matches!(route.path.as_str(), "/v1/access/me" | "/v1/openapi.json");
            return (!is_known).then_some("is there for everybody");
        }
        Need::Member(capability) => (capability, false),
        Need::Whole(capability) => (capability, true),
        Need::Platform(capability) => (capability, true),
    };
    let key = capability.key();
    let is_write = route.method != "GET";
    if is_write && key.ends_with(".view") {
        return Some("changes something for who may look");
    }
    let is = |prefix: &str| route.path.starts_with(prefix);
    let families: &[&str] = match () {
        () if is("/v1/projects") && route.path.ends_with("/logs") => &["projects.logs"],
        () if is("/v1/projects") && route.path.ends_with("/exec") => &["projects.exec"],
        () if is("/v1/images") => &["projects."],
        () if is("/v1/projects") || is("/v1/contexts") => &["projects."],
        () if is("/v1/runs/{id}/decision") => &["runbooks.approve"],
        () if is("/v1/runs") => &["runs."],
        () if is("/v1/queue/controls") && is_write => &["queue."],
        () if is("/v1/queue") => &["runs.", "queue."],
        () if is("/v1/schedules") => &["schedules."],
        () if is("/v1/runbooks") => &["runbooks."],
        () if is("/v1/findings") && route.path.ends_with("/decision") => &["findings.accept"],
        () if is("/v1/findings") || is("/v1/compliance") => &["findings."],
        () if is("/v1/alerts") => &["alerts."],
        () if is("/v1/enforcement") => &["enforcement."],
        () if is("/v1/registries") => &["registries."],
        () if is("/v1/policies") => &["findings.view"],
        () if is("/v1/audit/export") || is("/v1/audit/cloudevents") => &["audit.export"],
        () if is("/v1/audit") && is_write => &["platform.audit"],
        () if is("/v1/audit") => &["audit.view"],
        () if is("/v1/access/users") || is("/v1/access/certificates") => &["platform.users"],
        () if is("/v1/access/break-glass") => &["platform.break_glass"],
        () if is("/v1/access/tenants") && !is_write => &["runs.view"],
        () if is("/v1/access") => &["access."],
        () if is("/v1/platform/workspaces/{name}/runbooks") => &["platform.runbooks"],
        () if is("/v1/platform/workspaces") => &["platform.workspaces"],
        () if is("/v1/platform/audit") && !is_write => &["platform.audit"],
        () if is("/v1/store") => &["platform.store"],
        () if is("/v1/agent") || is("/metrics") => &["agent."],
        () => &[],
    };
    if !families.iter().any(|family| key.starts_with(family)) {
        return Some("needs a capability of another area");
    }
    // What no tenant owns speaks of all of them.
    let is_of_all = is("/v1/alerts")
        || is("/v1/images/advisories") && is_write
        || is("/v1/registries")
        || is("/v1/enforcement")
        || is("/v1/policies")
        || is("/v1/queue/controls")
        || is("/v1/queue/claims")
        || is("/v1/queue/types") && is_write
        || is("/metrics")
        || is("/v1/audit/export")
        || is("/v1/access") && (is_write || !is("/v1/access/tenants"));
    (is_of_all && !is_whole).then_some("tells of all tenants who reaches one")
}

#[test]
fn no_route_needs_too_little_and_one_that_did_is_noticed() {
    let routes = routes();
    for route in &routes {
        assert_eq!(too_weak(route), None, "{route:?}");
    }
    let weaker = [Need::Open, Need::Known, Need::Member(Capability::RunsView)];
    let (mut planted, mut found) = (0, 0);
    for route in &routes {
        for need in weaker.into_iter().filter(|need| *need != route.need) {
            // It is what some others need, of the same kind.
            let is_same = need == Need::Member(Capability::RunsView)
                && route.method == "GET"
                && matches!(route.need, Need::Whole(Capability::RunsView))
                || matches!(route.need, Need::Open | Need::Known);
            if is_same {
                continue;
            }
            planted += 1;
            found += usize::from(too_weak(&Route { need, ..route.clone() }).is_some());
        }
    }
    assert!(planted > 200 && found == planted, "{found} of {planted}");
}

#[tokio::test]
async fn a_route_that_lets_in_more_than_it_says_is_noticed() {
    let agent = Fixture::peopled().await;
    let own = agent.things(OWN, "own").await;
    let owner = Who::Member(BuiltInRole::Owner, false);
    let mut noticed = 0;
    for route in routes().iter().filter(|route| matches!(route.need, Need::Whole(_))) {
        // As if it said that it were for platform users, and was registered as it is.
        let said = Route { need: Need::Platform(Capability::PlatformUsers), ..route.clone() };
        let heard = agent.as_who(owner, route, &probe(route, &own).unwrap(), &[]).await;
        assert!(is_right(&heard, expected(owner, route.need)), "{route:?}: {heard:?}");
        noticed += usize::from(!is_right(&heard, expected(owner, said.need)));
    }
    assert!(noticed > 15, "{noticed}");
}

#[tokio::test]
async fn another_workspace_is_another_world() {
    let agent = Fixture::peopled().await;
    let home = agent
        .store
        .access()
        .await
        .unwrap()
        .workspaces
        .iter()
        .find(|it| !it.is_platform)
        .unwrap()
        .name
        .clone();
    let abroad = WorkspaceId::from_u128(0xab);
    let created_at = agent.ambient.now();
    let workspace =
        Workspace { id: abroad, name: "abroad".to_owned(), is_platform: false, created_at };
    agent.write(AccessWrite::PutWorkspace(workspace)).await;
    let tenant = Tenant {
        id: TenantId::from_u128(0xac),
        workspace_id: abroad,
        external_id: None,
        name: "theirs".to_owned(),
        status: TenantStatus::Active,
        stage: Stage::Production,
        created_at,
    };
    agent.write(AccessWrite::PutTenant(tenant)).await;
    let alien = Who::Outsider;
    let known = agent.store.access().await.unwrap();
    let user_id = known.users.iter().find(|it| it.name == "Outsider").unwrap().id;
    let membership = Membership { workspace_id: abroad, user_id, role: "owner".parse().unwrap() };
    agent.write(AccessWrite::PutMember { membership, reach: Reach::All }).await;
    let (own, none) = (agent.things(OWN, "own").await, Things::none(OWN));
    let mut asked = 0;
    for route in routes() {
        if !matches!(route.need, Need::Member(_) | Need::Whole(_)) {
            continue;
        }
        let mine = probe(&route, &own).unwrap();
        let heard = agent.as_who(alien, &route, &mine, &[("wharf-workspace", &home)]).await;
        assert_eq!((heard.status, &heard.body["detail"]), (404, &json!(ABSENT)), "{route:?}");
        asked += 1;
        // Where they are at home, there are none of these things.
        let makes = route.method == "PUT" || !route.path.contains('{');
        if !mine.is_of_tenant
            || makes
            || route.path.ends_with("/up")
            || route.path.ends_with("/plan")
        {
            continue;
        }
        let nobodys = probe(&route, &none).unwrap();
        let heard = agent.as_who(alien, &route, &mine, &[]).await;
        let absent = agent.as_who(alien, &route, &nobodys, &[]).await;
        assert!(heard.status >= 400, "{route:?}: {heard:?}");
        assert_eq!(heard.without(&own.names()), absent.without(&none.names()), "{route:?}");
        asked += 2;
    }
    // The log of the host tells of all workspaces: it is for platform users.
    let owner = Who::Member(BuiltInRole::Owner, false);
    let route = routes().into_iter().find(|it| it.path == "/v1/audit/export").unwrap();
    let heard = agent.as_who(owner, &route, &probe(&route, &own).unwrap(), &[]).await;
    assert_eq!((heard.status, &heard.body["detail"]), (404, &json!(ABSENT)));
    assert!(asked > 100, "{asked}");
}

#[tokio::test]
async fn a_runbook_for_all_tenants_needs_somebody_who_reaches_them() {
    let agent = Fixture::peopled().await;
    let path = format!("/v1/runbooks/{RUNBOOK}/preflight");
    let route = routes().into_iter().find(|it| it.path.ends_with("/preflight")).unwrap();
    let check = async |who: Who, body: Value, expect: u16| {
        let probe = Probe { path: path.clone(), body: Some(body.clone()), is_of_tenant: true };
        let heard = agent.as_who(who, &route, &probe, &[]).await;
        assert_eq!(heard.status, expect, "{who:?} {body}: {heard:?}");
    };
    let (narrow, wide) =
        (Who::Member(BuiltInRole::Owner, true), Who::Member(BuiltInRole::Owner, false));
    let all = json!({"scope": "all_tenants"});
    let one = |tenant: TenantId| json!({"scope": "single_tenant", "tenant_id": tenant});
    check(wide, all.clone(), 200).await;
    check(narrow, all.clone(), 404).await;
    check(Who::Elevated, all.clone(), 200).await;
    check(Who::Member(BuiltInRole::Viewer, false), all, 403).await;
    check(narrow, one(OWN), 200).await;
    check(narrow, one(FOREIGN), 404).await;
    check(wide, one(FOREIGN), 200).await;
    check(wide, one(TenantId::from_u128(0xdead)), 404).await;
}

#[tokio::test]
async fn broken_glass_is_told_of_and_ends() {
    let agent = Fixture::peopled().await;
    let receiver = json!({"url": "https://ops.example.org/hook"});
    let (status, _) = agent.ask(Method::PUT, "/v1/alerts/receivers/ops", Some(receiver)).await;
    assert!(status.is_success());
    let rule = json!({"receivers": ["ops"], "event": "break_glass.*"});
    let (status, body) = agent.ask(Method::PUT, "/v1/alerts/rules/glass", Some(rule)).await;
    assert!(status.is_success(), "{body}");
    let route = |path: &str, method: &str| {
        let is_it = |it: &Route| it.path == path && it.method == method;
        routes().into_iter().find(is_it).unwrap()
    };
    let ask = async |path: &str, method: &str, body: Option<Value>| {
        let probe = Probe { path: path.to_owned(), body, is_of_tenant: false };
        agent.as_who(Who::Emergency, &route(path, method), &probe, &[]).await.status
    };
    let start = |text: &str| {
        let reason = json!({"reason_code": "INCIDENT", "reason_text": text});
        Some(json!({"reason": reason, "life_seconds": 600}))
    };
    assert_eq!(ask("/v1/projects", "GET", None).await, 404);
    assert_eq!(ask("/v1/access/break-glass", "POST", start(" ")).await, 400);
    assert_eq!(ask("/v1/projects", "GET", None).await, 404);
    assert_eq!(ask("/v1/access/break-glass", "POST", start("it burns")).await, 201);
    assert_eq!(ask("/v1/projects", "GET", None).await, 200);
    assert_eq!(ask("/v1/access/users", "GET", None).await, 200);
    let deliveries = agent.get("/v1/alerts/deliveries").await;
    let told = deliveries["items"][0].to_string();
    assert!(told.contains("break_glass.started") && told.contains("it burns"), "{deliveries}");
    assert_eq!(ask("/v1/access/break-glass/end", "POST", Some(json!({}))).await, 204);
    assert_eq!(ask("/v1/projects", "GET", None).await, 404);
    assert_eq!(ask("/v1/access/users", "GET", None).await, 403);
    let platform = agent.store.access().await.unwrap().platform().unwrap();
    let filter = AuditFilter::workspace(platform);
    let events = agent.store.audit(filter, PageRequest::first(50)).await.unwrap().items;
    let kinds: Vec<EventType> = events.iter().map(|it| it.event.event_type).collect();
    for kind in
        [EventType::PlatformUserLoggedIn, EventType::BreakGlassStarted, EventType::BreakGlassEnded]
    {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let logins = kinds.iter().filter(|kind| **kind == EventType::PlatformUserLoggedIn).count();
    assert_eq!(logins, 2, "of root, who prepared this, and of the one who broke the glass");
}
