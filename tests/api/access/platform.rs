//! What platform users do above workspaces, and that nobody else does.

use wharfinger::operations::access::Access;

use super::*;

/// What a platform user asks for.
async fn above(agent: &Fixture, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    as_user(agent, Who::Platform, method, path, body).await
}

async fn as_user(
    agent: &Fixture,
    who: Who,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let peer = Peer { uid: who.uid(), gid: who.uid() };
    let request = Request::builder().method(method).uri(path).extension(ConnectInfo(peer));
    let request = match body {
        Some(body) => {
            request.header("content-type", "application/json").body(Body::from(body.to_string()))
        }
        None => request.body(Body::empty()),
    };
    let response = agent.router.clone().oneshot(request.unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn event_types(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|it| it["event_type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_platform_user_makes_a_workspace_and_names_its_first_owner_alone() {
    let agent = Fixture::peopled().await;
    let put = async |name: &str, body: Value| {
        above(&agent, "PUT", &format!("/v1/platform/workspaces/{name}"), Some(body)).await
    };
    let (status, made) = put("abroad", json!({})).await;
    assert_eq!((status, &made["owners"]), (200, &json!([])), "{made}");
    // Without an owner nobody is in it; there is one of them.
    let (status, owned) = put("abroad", json!({"owner": "Outsider"})).await;
    assert_eq!((status, &owned["owners"]), (200, &json!(["Outsider"])), "{owned}");
    assert_eq!(made["id"], owned["id"]);
    let (status, again) = put("abroad", json!({"owner": "Outsider"})).await;
    assert_eq!((status, again), (200, owned.clone()), "asked again");
    assert_eq!(put("abroad", json!({"owner": "Spare"})).await.0, 409, "it has one");
    assert_eq!(put("abroad", json!({"owner": "nobody at all"})).await.0, 404);
    assert_eq!(put("abroad", json!({"owner": "Platform"})).await.0, 404, "not above and below");
    assert_eq!(put("platform", json!({"name": "mine"})).await.0, 409);
    assert_eq!(put("default", json!({"name": "abroad"})).await.0, 409, "the name is taken");
    assert_eq!(put("default", json!({"name": made["id"]})).await.0, 400, "no id as a name");
    assert_eq!(put(NONE, json!({})).await.0, 404, "an id that nothing has");
    assert_eq!(put("abroad", json!({"color": "red"})).await.0, 400);
    let (status, renamed) = put("abroad", json!({"name": "overseas"})).await;
    assert_eq!((status, &renamed["name"]), (200, &json!("overseas")));
    let path = format!("/v1/platform/workspaces/{}", made["id"].as_str().unwrap());
    assert_eq!(above(&agent, "GET", &path, None).await, (200, renamed));
    let (status, refused) = above(&agent, "GET", "/v1/platform/workspaces/abroad", None).await;
    assert_eq!((status, &refused["code"]), (404, &json!("not_found")));
    let (_, all) = above(&agent, "GET", "/v1/platform/workspaces", None).await;
    let items = all["items"].as_array().unwrap();
    let mut names: Vec<&str> = items.iter().map(|it| it["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["default", "overseas", "platform"]);
    // Its owner acts in it, in a tenant of its own, and sees how they came in.
    let outsider = |method, path, body| as_user(&agent, Who::Outsider, method, path, body);
    let (_, me) = outsider("GET", "/v1/access/me", None).await;
    assert_eq!(me["workspaces"][0]["workspace"], "overseas", "{me}");
    let (_, tenants) = outsider("GET", "/v1/access/tenants", None).await;
    assert_eq!(tenants["items"][0]["name"], "default", "{tenants}");
    let member = json!({"role": "viewer", "tenants": null});
    assert_eq!(outsider("PUT", "/v1/access/members/Spare", Some(member)).await.0, 200);
    let (_, log) = outsider("GET", "/v1/audit", None).await;
    assert_eq!(event_types(&log), ["workspace_membership.put", "workspace_membership.put"]);
    assert_eq!(log["items"][1]["actor_type"], "platform", "{log}");
    assert_eq!(above(&agent, "GET", "/v1/audit", None).await.0, 404, "it is not theirs to read");
}

#[tokio::test]
async fn the_log_above_workspaces_is_for_platform_users_and_holds_nothing_of_workspaces() {
    let agent = Fixture::peopled().await;
    let things = agent.things(OWN, "own").await;
    let put = |name: &str| format!("/v1/platform/workspaces/{name}");
    for name in ["abroad", "afar"] {
        assert_eq!(above(&agent, "PUT", &put(name), Some(json!({}))).await.0, 200);
    }
    let list = async |query: &str| {
        let (status, page) =
            above(&agent, "GET", &format!("/v1/platform/audit?{query}"), None).await;
        assert_eq!(status, 200, "{page}");
        page
    };
    let all = list("limit=500").await;
    for kind in ["user.put", "platform_user.logged_in", "workspace.put"] {
        assert!(event_types(&all).contains(&kind), "{kind}: {all}");
    }
    let known = agent.store.access().await.unwrap();
    let platform = known.platform().unwrap().to_string();
    let items = all["items"].as_array().unwrap();
    assert!(items.iter().all(|it| it["workspace_id"] == json!(platform)), "{all}");
    assert_eq!(event_types(&list("event_type=workspace.put&limit=1").await), ["workspace.put"]);
    let found =
        list("event_type=workspace.put&actor=Platform&target_type=workspace&search=afar").await;
    assert_eq!(found["items"].as_array().unwrap().len(), 1, "{found}");
    let id = found["items"][0]["id"].as_str().unwrap();
    let (status, event) = above(&agent, "GET", &format!("/v1/platform/audit/{id}"), None).await;
    assert_eq!((status, &event["target"]["target_label"]), (200, &json!("afar")), "{event}");
    assert_eq!(event["summary"], "Platform made workspace afar");
    // What belongs to a workspace is not there, and what is above is in no workspace.
    let inside = format!("/v1/platform/audit/{}", things.event);
    assert_eq!(above(&agent, "GET", &inside, None).await.0, 404);
    let owner = Who::Member(BuiltInRole::Owner, false);
    for path in [format!("/v1/platform/audit/{id}"), format!("/v1/audit/{id}")] {
        assert_eq!(as_user(&agent, owner, "GET", &path, None).await.0, 404, "{path}");
    }
    let (status, filters) = above(&agent, "GET", "/v1/platform/audit/filters", None).await;
    assert_eq!(status, 200);
    assert!(filters["event_types"].as_array().unwrap().contains(&json!("workspace.put")));
    assert_eq!(above(&agent, "GET", "/v1/platform/audit?colour=red", None).await.0, 400);
}

#[tokio::test]
async fn a_platform_user_starts_a_runbook_where_they_are_no_member_and_says_why() {
    let agent = Fixture::peopled().await;
    tokio::spawn(Arc::clone(&agent.runner).serve());
    let email =
        json!({"kind": "platform", "email": "ops@example.org", "os_uid": Who::Platform.uid()});
    let (status, _) = agent.ask(Method::PUT, "/v1/access/users/Platform", Some(email)).await;
    assert_eq!(status, 200);
    let abroad = json!({"owner": "Outsider"});
    let (_, made) = above(&agent, "PUT", "/v1/platform/workspaces/abroad", Some(abroad)).await;
    let ask = async |workspace: &str, key: &str, verb: &str, body: &Value| {
        let path = format!("/v1/platform/workspaces/{workspace}/runbooks/{key}/{verb}");
        above(&agent, "POST", &path, Some(body.clone())).await
    };
    let mut body = json!({"scope": "all_tenants"});
    assert_eq!(ask("nowhere", RUNBOOK, "preflight", &body).await.0, 404);
    assert_eq!(ask("abroad", "no.such", "preflight", &body).await.0, 404);
    // What is of the host is not done in another workspace.
    assert_eq!(ask("abroad", "store.maintenance", "preflight", &body).await.0, 404);
    assert_eq!(ask("default", "store.maintenance", "preflight", &body).await.0, 200);
    let (status, found) = ask("abroad", RUNBOOK, "preflight", &body).await;
    assert_eq!(status, 200, "{found}");
    for scope in ["all_tenants", "single_tenant"] {
        body["scope"] = json!(scope);
        let (_, found) = ask("abroad", RUNBOOK, "preflight", &body).await;
        body["preflight_digest"] = found["digest"].clone();
        let (status, refused) = ask("abroad", RUNBOOK, "start", &body).await;
        assert_eq!(status, 400, "{scope} needs a reason: {refused}");
        assert!(refused["detail"].as_str().unwrap().contains("a reason is needed"), "{refused}");
        body.as_object_mut().unwrap().remove("preflight_digest");
    }
    body["preflight_digest"] = json!(found["digest"]);
    body["scope"] = json!("all_tenants");
    body["reason"] = json!({"reason_code": "SUPPORT", "reason_text": "they asked for it"});
    let (status, accepted) = ask("abroad", RUNBOOK, "start", &body).await;
    assert_eq!(status, 202, "{accepted}");
    // Who started it is no member, and sees nothing else of the workspace.
    let id = accepted["run"]["id"].as_str().unwrap();
    assert_eq!(above(&agent, "GET", &format!("/v1/runs/{id}"), None).await.0, 404);
    let outsider = async |path: String| as_user(&agent, Who::Outsider, "GET", &path, None).await;
    let run = loop {
        let (status, run) = outsider(format!("/v1/runs/{id}")).await;
        assert_eq!(status, 200, "{run}");
        if run["run"]["status"] == "completed" {
            break run;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(run["run"]["outcome"], "succeeded", "{run}");
    assert_eq!(run["run"]["workspace_id"], made["id"]);
    assert_eq!(run["run"]["user_id"], Value::Null, "runs name members alone");
    let known = agent.store.access().await.unwrap();
    let user = known.users.iter().find(|it| it.name == "Platform").unwrap().id.to_string();
    let initiator = &run["run"]["runbook"]["platform_initiator"];
    assert_eq!(initiator["platform_user_id"], json!(user), "{run}");
    assert_eq!(initiator["email"], "ops@example.org", "{run}");
    let workspace = made["id"].as_str().unwrap().parse().unwrap();
    let filter = AuditFilter::workspace(workspace);
    let events = agent.store.audit(filter, PageRequest::first(50)).await.unwrap().items;
    for kind in [EventType::RunbookPreflight, EventType::RunbookStart, EventType::RunbookCompleted]
    {
        let event = events.iter().find(|it| it.event.event_type == kind);
        let event = &event.unwrap_or_else(|| panic!("{kind}: {events:?}")).event;
        let context = &event.context;
        assert_eq!(context.platform_user_id.map(|it| it.to_string()), Some(user.clone()));
        assert_eq!(context.platform_user_email.as_deref(), Some("ops@example.org"), "{kind}");
        assert_eq!(context.affected_count, Some(0), "{kind}");
    }
    // One that was looked at otherwise fails, and the event says who it was.
    body["preflight_digest"] = json!("0".repeat(64));
    let (status, accepted) = ask("abroad", RUNBOOK, "start", &body).await;
    assert_eq!(status, 202, "{accepted}");
    let failed = loop {
        let filter = AuditFilter {
            event_types: vec![EventType::RunbookFailed],
            ..AuditFilter::workspace(workspace)
        };
        let found = agent.store.audit(filter, PageRequest::first(5)).await.unwrap().items;
        match found.first() {
            Some(record) => break record.event.clone(),
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert_eq!(failed.context.platform_user_email.as_deref(), Some("ops@example.org"));
    // Erased, they are gone from all of it.
    let person = json!({"person": user});
    let (status, erased) = above(&agent, "POST", "/v1/audit/erase", Some(person)).await;
    assert_eq!(status, 200, "{erased}");
    let (_, log) = outsider("/v1/audit?limit=500".to_owned()).await;
    let (_, detail) = outsider(format!("/v1/audit/{}", failed.id)).await;
    for text in [log.to_string(), detail.to_string()] {
        assert!(!text.contains("ops@example.org"), "{text}");
    }
    assert!(detail.to_string().contains(erased["pseudonym"].as_str().unwrap()), "{detail}");
}

#[tokio::test]
async fn the_end_of_broken_glass_by_its_time_is_recorded_once_by_whoever_looks() {
    let agent = Fixture::peopled().await;
    let known = agent.store.access().await.unwrap();
    let user_id = known.users.iter().find(|it| it.name == "Emergency").unwrap().id;
    let now = agent.ambient.now();
    let ago = |seconds: i64| now.checked_sub(jiff::SignedDuration::from_secs(seconds)).unwrap();
    let elevation = Elevation {
        id: ElevationId::generate(&*agent.ambient.clock, &*agent.ambient.entropy),
        user_id,
        reason: Reason {
            reason_code: ReasonKind::Incident,
            reason_text: SafeText::new("it burns"),
        },
        started_at: ago(700),
        expires_at: ago(100),
        ended_at: None,
    };
    agent.write(AccessWrite::InsertElevation(Box::new(elevation.clone()))).await;
    let look = || async {
        let access = Access::new(Arc::clone(&agent.store), agent.ambient.clone());
        access.end_elapsed().await.unwrap()
    };
    // Two agents at once, and one that starts after them.
    let (first, second) = tokio::join!(look(), look());
    let third = look().await;
    // They look again for the one who holds everything now.
    for pause in [first, second, third] {
        assert!(pause <= Duration::from_secs(60), "{pause:?}");
    }
    let ended = async || {
        let query = "event_type=break_glass.ended";
        let (_, page) = above(&agent, "GET", &format!("/v1/platform/audit?{query}"), None).await;
        page["items"].as_array().unwrap().clone()
    };
    let events = ended().await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["actor_type"], "system");
    assert_eq!(events[0]["target_label"], "Emergency");
    assert_eq!(events[0]["occurred_at"], json!(elevation.expires_at));
    let known = agent.store.access().await.unwrap();
    let over = known.elevations.iter().find(|it| it.id == elevation.id).unwrap();
    assert_eq!(over.ended_at, Some(elevation.expires_at));
    let others = known.elevations.iter().filter(|it| it.id != elevation.id);
    assert!(others.into_iter().all(|it| it.ended_at.is_none()), "one who holds on");
    // One who ends it before leaves nothing to record.
    let end = json!({"user": "Elevated"});
    let (status, _) = above(&agent, "POST", "/v1/access/break-glass/end", Some(end)).await;
    assert_eq!(status, 204);
    look().await;
    assert_eq!(ended().await.len(), 2);
}
