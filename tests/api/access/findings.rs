//! What people do with findings, through the real router: each with what they hold.

use super::*;

/// What somebody asks about findings.
struct Desk {
    agent: Fixture,
    id: String,
}

impl Desk {
    async fn new() -> Self {
        let agent = Fixture::peopled().await;
        let id = agent.finding(OWN, "shop").await;
        Self { agent, id }
    }

    async fn as_role(
        &self,
        role: BuiltInRole,
        method: &str,
        rest: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let who = Who::Member(role, false);
        let peer = Peer { uid: who.uid(), gid: who.uid() };
        let path = match rest.starts_with("/v1") {
            true => rest.to_owned(),
            false => format!("/v1/findings/{}{rest}", self.id),
        };
        let request = Request::builder().method(method).uri(path).extension(ConnectInfo(peer));
        let request = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        let answer = self.agent.router.clone().oneshot(request.unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn act(&self, role: BuiltInRole, body: Value) -> (u16, Value) {
        self.as_role(role, "POST", "/status", Some(body)).await
    }
}

#[tokio::test]
async fn a_finding_goes_through_its_life_with_who_may() {
    let desk = Desk::new().await;
    let (operator, viewer) = (BuiltInRole::Operator, BuiltInRole::Viewer);
    let (status, page) = desk.as_role(viewer, "GET", "/v1/findings?status=open", None).await;
    assert_eq!(status, 200, "{page}");
    let row = &page["items"][0];
    assert_eq!((&row["id"], &row["status"]), (&json!(desk.id), &json!("new")));
    assert_eq!(row["tenant"], "own");
    let (status, _) = desk.act(viewer, json!({"verb": "triage"})).await;
    assert_eq!(status, 403);
    let (status, refused) = desk.act(operator, json!({"verb": "start"})).await;
    assert_eq!(status, 409, "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("triage"), "{refused}");
    let (status, wrong) = desk.act(operator, json!({"verb": "accept"})).await;
    assert_eq!(status, 400, "{wrong}");
    for (body, expect) in [
        (json!({"verb": "triage"}), "triaged"),
        (json!({"verb": "start", "reason": "mine"}), "in_progress"),
        (json!({"verb": "resolve"}), "resolved"),
    ] {
        let (status, found) = desk.act(operator, body).await;
        assert_eq!((status, &found["status"]), (200, &json!(expect)), "{found}");
    }
    let (status, unexplained) = desk.act(operator, json!({"verb": "close"})).await;
    assert_eq!(status, 400, "{unexplained}");
    let (status, closed) = desk.act(operator, json!({"verb": "close", "reason": "done"})).await;
    assert_eq!((status, &closed["close_reason"]), (200, &json!("closed_by_person")));
    assert_eq!(closed["possible"], json!(["reopen"]));
    let told: Vec<_> = closed["history"].as_array().unwrap().iter().collect();
    assert_eq!(told.len(), 5, "{told:?}");
    assert_eq!(told[0]["event_type"], "finding.closed");
    // A viewer may not read the audit log, and sees no history.
    let (_, seen) = desk.as_role(viewer, "GET", "", None).await;
    assert_eq!(seen["history"], Value::Null);
    let (_, open) = desk.as_role(viewer, "GET", "/v1/findings?status=open", None).await;
    assert_eq!(open["items"], json!([]));
}

#[tokio::test]
async fn a_finding_is_given_to_who_reaches_it() {
    let desk = Desk::new().await;
    let operator = BuiltInRole::Operator;
    let give = async |to: Value| {
        desk.as_role(operator, "POST", "/assignee", Some(json!({"assignee": to}))).await
    };
    let (status, _) = give(json!("nobody at all")).await;
    assert_eq!(status, 404);
    let (status, _) = give(json!("Spare")).await;
    assert_eq!(status, 404, "a user who is no member");
    let known = desk.agent.store.access().await.unwrap();
    let uid = Who::Member(BuiltInRole::Viewer, true).uid();
    let found = known.users.iter().find(|it| it.os_user.is_some_and(|os| os.uid == uid));
    let name = found.unwrap().name.clone();
    let (status, given) = give(json!(name)).await;
    assert_eq!((status, &given["assignee"]["name"]), (200, &json!(name)), "{given}");
    let path = format!("/v1/findings?assignee={}", found.unwrap().id);
    let (_, theirs) = desk.as_role(operator, "GET", &path, None).await;
    assert_eq!(theirs["items"].as_array().unwrap().len(), 1);
    let (status, back) = give(Value::Null).await;
    assert_eq!((status, &back["assignee"]), (200, &Value::Null));
}

#[tokio::test]
async fn a_risk_is_accepted_by_another_person_than_who_asked() {
    let desk = Desk::new().await;
    let (asks, approves) = (BuiltInRole::Administrator, BuiltInRole::Owner);
    let until = after(desk.agent.ambient.now(), std::time::Duration::from_secs(86_400));
    let ask = json!({"reason": "behind the firewall", "expires_at": until.to_string()});
    let (status, asked) = desk.as_role(asks, "POST", "/exceptions", Some(ask.clone())).await;
    assert_eq!((status, &asked["status"]), (201, &json!("requested")), "{asked}");
    let (status, _) = desk.as_role(asks, "POST", "/exceptions", Some(ask)).await;
    assert_eq!(status, 409, "one at a time");
    let decide = json!({"is_approved": true});
    let path = "/exceptions/open/decision";
    let (status, own) = desk.as_role(asks, "POST", path, Some(decide.clone())).await;
    assert_eq!(status, 409, "{own}");
    let (status, _) = desk.as_role(BuiltInRole::Operator, "POST", path, Some(decide.clone())).await;
    assert_eq!(status, 403, "an operator does not accept risks");
    let (status, done) = desk.as_role(approves, "POST", path, Some(decide)).await;
    assert_eq!((status, &done["status"]), (200, &json!("risk_accepted")), "{done}");
    assert_eq!(done["exceptions"][0]["status"], "approved");
    assert_ne!(done["exceptions"][0]["approver"], done["exceptions"][0]["owner"]);
    let path = format!("/exceptions/{}/revoke", asked["id"].as_str().unwrap());
    let (status, back) = desk.as_role(asks, "POST", &path, None).await;
    assert_eq!((status, &back["status"]), (200, &json!("triaged")), "{back}");
}

#[tokio::test]
async fn compliance_counts_what_was_judged() {
    let desk = Desk::new().await;
    let viewer = BuiltInRole::Viewer;
    for (by, name) in [("policy", "baseline"), ("project", "shop"), ("tenant", "own")] {
        let path = format!("/v1/compliance?by={by}");
        let (status, found) = desk.as_role(viewer, "GET", &path, None).await;
        assert_eq!(status, 200, "{found}");
        assert_eq!(found["items"][0]["name"], name);
        assert_eq!((&found["total"]["judged"], &found["total"]["failing"]), (&json!(1), &json!(1)));
        assert_eq!(found["total"]["percent"], json!(0.0));
    }
    let (status, _) = desk.as_role(viewer, "GET", "/v1/compliance?by=moon", None).await;
    assert_eq!(status, 400);
    let (_, none) = desk.as_role(viewer, "GET", "/v1/compliance?project=other", None).await;
    assert_eq!((&none["items"], &none["total"]["percent"]), (&json!([]), &Value::Null));
    let metrics = desk.agent.http.get("http://wharf/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("wharf_policy_compliance_ratio{policy=\"baseline\"} 0"), "{metrics}");
    let open = "wharf_findings_open{severity=\"high\",status=\"new\",type=\"policy_violation\"} 1";
    assert!(metrics.contains(open), "{metrics}");
}
