//! The run queue through its routes: types, requests, claims, what workers say, what operators do,
//! and what is refused.

use super::*;

const MAIL: &str = "shop.mail";

fn definition() -> Value {
    json!({
        "label": "Send mail",
        "counts": ["total", "processed", "mails"],
        "reason_codes": ["mail.bounced"],
        "lease_ms": 30_000,
        "retry": {"attempts_max": 2, "first_ms": 50, "factor": 2, "longest_ms": 1_000, "jitter_percent": 0},
    })
}

impl Fixture {
    async fn registered() -> Self {
        let agent = Self::working().await;
        let path = format!("/v1/queue/types/{MAIL}");
        let (status, body) = agent.ask(Method::PUT, &path, Some(definition())).await;
        assert_eq!(status, 201, "{body}");
        agent
    }

    async fn enqueue(&self, body: Value) -> Value {
        let mut request = json!({ "type": MAIL });
        request.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        self.post("/v1/queue/runs", request, 202).await
    }

    async fn claim(&self, wait_seconds: u64) -> Vec<Value> {
        let request =
            json!({"types": [MAIL], "worker": "w", "limit": 10, "wait_seconds": wait_seconds});
        let answer = self.post("/v1/queue/claims", request, 200).await;
        answer["items"].as_array().unwrap().clone()
    }

    async fn tell(&self, item: &Value, verb: &str, body: Value, expect: u16) -> Value {
        let path = format!("{}/{verb}", item["path"].as_str().unwrap());
        self.post(&path, body, expect).await
    }

    async fn show(&self, accepted: &Value) -> Value {
        let id = accepted["run"]["id"].as_str().or(accepted["run_id"].as_str()).unwrap();
        self.get(&format!("/v1/runs/{id}")).await
    }
}

#[tokio::test]
async fn a_type_is_registered_shown_changed_and_removed() {
    let agent = Fixture::registered().await;
    let path = format!("/v1/queue/types/{MAIL}");
    let shown = agent.get(&path).await;
    assert_eq!(shown["definition"]["counts"], json!(["total", "processed", "mails"]));
    assert_eq!(shown["definition"]["retry"]["attempts_max"], 2);
    let (status, again) = agent.ask(Method::PUT, &path, Some(definition())).await;
    assert_eq!((status.as_u16(), &again), (200, &shown), "the same again changes nothing");
    let (status, changed) = agent.ask(Method::PUT, &path, Some(json!({"priority": 3}))).await;
    assert_eq!((status.as_u16(), &changed["definition"]["priority"]), (200, &json!(3)));
    assert_eq!(changed["registered_at"], shown["registered_at"]);
    assert_eq!(agent.get("/v1/queue/types").await["items"], json!([changed]));
    let run = agent.enqueue(json!({})).await;
    let (status, problem) = agent.ask(Method::DELETE, &path, None).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("conflict")), "{problem}");
    let cancel = format!("/v1/runs/{}/cancel", run["run"]["id"].as_str().unwrap());
    agent.post(&cancel, json!({}), 202).await;
    let (status, _) = agent.ask(Method::DELETE, &path, None).await;
    assert_eq!(status, 204);
    let (status, _) = agent.ask(Method::DELETE, &path, None).await;
    assert_eq!(status, 404);
    let audit = agent.get("/v1/audit?target_type=hosted_type").await;
    let types: Vec<_> =
        audit["items"].as_array().unwrap().iter().map(|it| it["event_type"].clone()).collect();
    let registered = "hosted_type.registered";
    assert_eq!(types, ["hosted_type.removed", registered, registered]);
}

#[tokio::test]
async fn a_run_is_handed_to_a_waiting_worker_and_completed_once() {
    let agent = Fixture::registered().await;
    let (items, accepted) = tokio::join!(agent.claim(20), async {
        while agent.get("/v1/queue").await["waiting_workers"] == json!([]) {}
        agent.enqueue(json!({"payload": {"b": 1, "a": [2]}, "identity": "x", "subject": "s"})).await
    });
    assert_eq!(accepted["run"]["status"], "running", "it began with its acceptance: {accepted}");
    let item = &items[0];
    assert_eq!((&item["payload"], &item["attempt"]), (&json!({"a": [2], "b": 1}), &json!(1)));
    assert_eq!(item["subject"], "app:s");
    let again = agent.enqueue(json!({"identity": "x", "subject": "s"})).await;
    assert_eq!((&again["is_new"], &again["run"]["id"]), (&json!(false), &item["run_id"]));

    let heard = agent.tell(item, "heartbeat", json!({}), 200).await;
    assert_eq!(heard["cancel_requested"], false);
    let step = json!({"index": 0, "key": "mail:1", "description": "send", "status": "started"});
    let progress = json!({"counts": {"mails": 2}, "log": "half", "steps": [step]});
    agent.tell(item, "progress", progress, 200).await;
    let step = json!({"index": 0, "key": "mail:1", "description": "send", "status": "succeeded"});
    agent.tell(item, "progress", json!({"steps": [step]}), 200).await;
    let done = json!({"counts": {"mails": 3}});
    let first = agent.tell(item, "complete", done.clone(), 200).await;
    let second = agent.tell(item, "complete", done, 200).await;
    assert_eq!(first, second, "the same again answers the same");
    let detail = agent.show(&accepted).await;
    assert_eq!(detail["run"]["summary_counts"], json!({"mails": 5}), "counted once");
    assert_eq!(
        (&detail["run"]["outcome"], &detail["steps"][0]["status"]),
        (&json!("succeeded"), &json!("succeeded"))
    );
    let stale = agent.tell(item, "complete", json!({"outcome": "cancelled"}), 409).await;
    assert_eq!(stale["code"], "stale_attempt", "{stale}");
    assert!(stale["detail"].as_str().unwrap().contains("ended as succeeded"), "{stale}");
    agent.tell(item, "heartbeat", json!({}), 409).await;
}

#[tokio::test]
async fn a_failing_run_comes_back_after_its_pause_and_becomes_a_dead_letter() {
    let agent = Fixture::registered().await;
    let accepted = agent.enqueue(json!({"identity": "x"})).await;
    let first = agent.claim(0).await.remove(0);
    let failed = json!({"reason_code": "mail.bounced", "message": "no such mailbox"});
    let standing = agent.tell(&first, "fail", failed.clone(), 200).await;
    assert!(standing["retry_at"].is_string(), "{standing}");
    assert_eq!(agent.tell(&first, "fail", failed.clone(), 200).await, standing);
    let second = agent.claim(20).await.remove(0);
    assert_eq!((&second["attempt"], &second["failures"]), (&json!(2), &json!(1)));
    let stale = agent.tell(&first, "heartbeat", json!({}), 409).await;
    assert_eq!((&stale["attempt"], &stale["worker"]), (&json!(2), &json!("w")), "{stale}");
    let standing = agent.tell(&second, "fail", failed, 200).await;
    assert_eq!(
        (&standing["is_dead_letter"], &standing["run_outcome"]),
        (&json!(true), &json!("failed"))
    );
    let id = accepted["run"]["id"].as_str().unwrap();
    let dead = agent.get("/v1/runs?dead=true").await;
    assert_eq!(dead["items"][0]["id"], id);
    let retried = agent.post(&format!("/v1/runs/{id}/retry"), json!({}), 202).await;
    assert_eq!(retried["retried_from"], id);
    agent.post(&format!("/v1/runs/{id}/retry"), json!({}), 409).await;
    let third = agent.claim(0).await.remove(0);
    let hopeless = json!({"message": "the address is none", "retryable": false});
    let standing = agent.tell(&third, "fail", hopeless, 200).await;
    assert_eq!(standing["is_dead_letter"], true, "no further attempt: {standing}");
    let id = retried["id"].as_str().unwrap();
    agent.post(&format!("/v1/runs/{id}/dismiss"), json!({}), 200).await;
    agent.post(&format!("/v1/runs/{id}/dismiss"), json!({}), 409).await;
    assert_eq!(agent.get("/v1/runs?dead=true").await["items"], json!([]));
}

#[tokio::test]
async fn a_bulk_run_is_done_by_its_jobs_and_its_failed_parts_are_tried_again() {
    let agent = Fixture::registered().await;
    let jobs = json!([{"key": "a/1", "payload": 1}, {"key": "b", "payload": 2}, {"key": "c"}]);
    let accepted = agent.enqueue(json!({"identity": "x", "jobs": jobs})).await;
    let items = agent.claim(0).await;
    let keys: Vec<_> = items.iter().map(|item| item["job"].clone()).collect();
    assert_eq!(keys, ["a/1", "b", "c"]);
    agent.tell(&items[0], "complete", json!({"counts": {"mails": 1}}), 200).await;
    agent.tell(&items[0], "complete", json!({"counts": {"mails": 1}}), 200).await;
    agent.tell(&items[1], "complete", json!({"outcome": "skipped"}), 200).await;
    let steps =
        json!({"steps": [{"index": 0, "key": "k", "description": "d", "status": "started"}]});
    agent.tell(&items[2], "progress", steps, 400).await;
    let hopeless = json!({"message": "no", "retryable": false});
    let standing = agent.tell(&items[2], "fail", hopeless, 200).await;
    assert_eq!(standing["run_outcome"], "partially_succeeded", "{standing}");
    let run = agent.show(&accepted).await["run"].clone();
    assert_eq!(
        (&run["summary_counts"], &run["is_dead_letter"]),
        (&json!({"mails": 1}), &json!(true))
    );
    let id = run["id"].as_str().unwrap();
    let failed = agent.get(&format!("/v1/runs/{id}/jobs?status=failed")).await;
    assert_eq!(failed["items"][0]["key"], "c", "{failed}");
    let part = agent.get(&format!("/v1/runs/{id}/jobs?limit=2")).await;
    let next = part["next"].as_str().unwrap();
    let rest = agent.get(&format!("/v1/runs/{id}/jobs?limit=2&after={next}")).await;
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));

    agent.post(&format!("/v1/runs/{id}/retry"), json!({"parts": "failed_only"}), 202).await;
    let items = agent.claim(0).await;
    assert_eq!((items.len(), &items[0]["job"]), (1, &json!("c")));
    let again =
        agent.tell(&items[0], "fail", json!({"message": "no", "retryable": false}), 200).await;
    let id = again["run_id"].as_str().unwrap();
    agent.post(&format!("/v1/runs/{id}/retry"), json!({"parts": "all"}), 202).await;
    assert_eq!(agent.claim(0).await.len(), 1, "all jobs of that run");
}

#[tokio::test]
async fn parts_of_the_queue_are_paused_and_limited() {
    let agent = Fixture::registered().await;
    let put = async |body: Value| {
        let (status, control) = agent.ask(Method::PUT, "/v1/queue/controls", Some(body)).await;
        assert_eq!(status, 200, "{control}");
        control
    };
    put(json!({"scope": "workspace", "is_paused": true})).await;
    agent.enqueue(json!({"identity": "x"})).await;
    agent.enqueue(json!({"identity": "y"})).await;
    assert_eq!(agent.claim(0).await, [] as [Value; 0]);
    let view = agent.get("/v1/queue").await;
    assert_eq!(
        (&view["types"][0]["queued"], &view["controls"][0]["is_paused"]),
        (&json!(2), &json!(true))
    );
    let (items, _) = tokio::join!(agent.claim(20), async {
        put(json!({"scope": format!("type:{MAIL}"), "concurrency_max": 1})).await;
        put(json!({"scope": "workspace", "is_paused": false})).await
    });
    assert_eq!(items.len(), 1, "the limit leaves one");
    let (second, _) = tokio::join!(agent.claim(20), async {
        while agent.get("/v1/queue").await["waiting_workers"] == json!([]) {}
        agent.tell(&items[0], "complete", json!({}), 200).await
    });
    assert_eq!(second.len(), 1, "its end is the other's beginning");
    let open = put(json!({"scope": format!("type:{MAIL}"), "concurrency_max": null})).await;
    assert_eq!(open["concurrency_max"], Value::Null);
    assert_eq!(agent.get("/v1/queue/controls").await["items"], json!([]));
}

#[tokio::test]
async fn a_worker_hears_that_its_run_was_cancelled() {
    let agent = Fixture::registered().await;
    let accepted = agent.enqueue(json!({})).await;
    let item = agent.claim(0).await.remove(0);
    let path = format!("/v1/runs/{}/cancel", accepted["run"]["id"].as_str().unwrap());
    agent.post(&path, json!({}), 202).await;
    assert_eq!(agent.tell(&item, "heartbeat", json!({}), 200).await["cancel_requested"], true);
    let standing = agent.tell(&item, "complete", json!({"outcome": "cancelled"}), 200).await;
    assert_eq!(standing["run_outcome"], "cancelled");
}

#[tokio::test]
async fn work_that_nobody_hears_of_goes_to_the_next() {
    let agent = Fixture::registered().await;
    for _ in 0..5 {
        let impatient = tokio::time::timeout(Duration::from_millis(30), agent.claim(20)).await;
        assert!(impatient.is_err());
    }
    while agent.get("/v1/queue").await["waiting_workers"] != json!([]) {}
    agent.enqueue(json!({"identity": "x"})).await;
    assert_eq!(agent.claim(20).await.len(), 1);
}

#[tokio::test]
async fn several_runs_are_asked_for_at_once() {
    let agent = Fixture::registered().await;
    let run = |identity: &str| json!({"type": MAIL, "identity": identity, "priority": 1});
    let batch = json!({"runs": [run("a"), run("b"), run("a")]});
    let answer = agent.post("/v1/queue/runs/batch", batch, 202).await;
    let items = answer["items"].as_array().unwrap();
    assert_eq!(items[0]["run"]["id"], items[2]["run"]["id"], "{answer}");
    let later = json!({"identity": "later", "run_at": "2100-01-01T00:00:00Z"});
    assert_eq!(agent.enqueue(later).await["run"]["status"], "queued");
    assert_eq!(agent.claim(0).await.len(), 2);
    let wrong = json!({"runs": [run("c"), {"type": "shop.unknown"}]});
    agent.post("/v1/queue/runs/batch", wrong, 404).await;
    assert_eq!(agent.claim(0).await.len(), 0, "nothing of a wrong batch is taken");
}

/// Every kind of bad input, with the status and a word of the problem.
#[tokio::test]
async fn bad_input_is_refused_with_what_is_wrong() {
    let agent = Fixture::registered().await;
    agent.enqueue(json!({"identity": "x"})).await;
    let item = agent.claim(0).await.remove(0);
    let at = item["path"].as_str().unwrap();
    let run = item["run_id"].as_str().unwrap();
    let nobody = "0190aaaa-0000-7000-8000-000000000000";
    let long = "x".repeat(201);
    let runs = "/v1/queue/runs";
    let claims = "/v1/queue/claims";
    let mail = "/v1/queue/types/shop.mail";
    let table = [
        ("PUT", "/v1/queue/types/mail".to_owned(), json!({}), 400, "has no dot"),
        ("PUT", "/v1/queue/types/Shop.Mail".to_owned(), json!({}), 400, "no name"),
        ("PUT", mail.to_owned(), json!({"lease_ms": 5}), 400, "lease_ms"),
        ("PUT", mail.to_owned(), json!({"retry": {"jitter_percent": 101}}), 400, "jitter"),
        ("PUT", mail.to_owned(), json!({"colour": 5}), 400, "colour"),
        ("GET", "/v1/queue/types/shop.none".to_owned(), json!(null), 404, "shop.none"),
        ("POST", runs.to_owned(), json!({"type": "shop.none"}), 404, "PUT /v1/queue/types"),
        ("POST", runs.to_owned(), json!({"type": "deploy_project"}), 400, "no dot"),
        ("POST", runs.to_owned(), json!({"type": MAIL, "identity": long}), 400, "identity"),
        ("POST", runs.to_owned(), json!({"type": MAIL, "subject": ""}), 400, "subject"),
        (
            "POST",
            runs.to_owned(),
            json!({"type": MAIL, "payload": "x".repeat(70_000)}),
            400,
            "65536",
        ),
        ("POST", runs.to_owned(), json!({"type": MAIL, "payload": 1.5}), 400, "canonical"),
        ("POST", runs.to_owned(), json!({"type": MAIL, "jobs": []}), 400, "jobs"),
        ("POST", runs.to_owned(), json!({"type": MAIL, "jobs": [{"key": ""}]}), 400, "key"),
        (
            "POST",
            runs.to_owned(),
            json!({"type": MAIL, "jobs": [{"key": "a"}, {"key": "a"}]}),
            400,
            "two jobs",
        ),
        ("POST", runs.to_owned(), json!({"type": MAIL, "tenant_id": "x"}), 400, "tenant"),
        ("POST", runs.to_owned(), json!({"type": MAIL, "run_at": "soon"}), 400, "run_at"),
        ("POST", format!("{runs}/batch"), json!({"runs": []}), 400, "1 to 256"),
        ("POST", claims.to_owned(), json!({"types": [], "worker": "w"}), 400, "types"),
        (
            "POST",
            claims.to_owned(),
            json!({"types": ["shop.none"], "worker": "w"}),
            404,
            "shop.none",
        ),
        ("POST", claims.to_owned(), json!({"types": [MAIL], "worker": ""}), 400, "worker"),
        (
            "POST",
            claims.to_owned(),
            json!({"types": [MAIL], "worker": "w", "limit": 0}),
            400,
            "limit",
        ),
        (
            "POST",
            claims.to_owned(),
            json!({"types": [MAIL], "worker": "w", "limit": 999}),
            400,
            "limit",
        ),
        (
            "POST",
            claims.to_owned(),
            json!({"types": [MAIL], "worker": "w", "wait_seconds": 61}),
            400,
            "wait_seconds",
        ),
        ("POST", format!("{at}/complete"), json!({"outcome": "skipped"}), 400, "skipped"),
        ("POST", format!("{at}/complete"), json!({"outcome": "failed"}), 400, "failed"),
        ("POST", format!("{at}/complete"), json!({"counts": {"sheep": 1}}), 400, "sheep"),
        (
            "POST",
            format!("{at}/fail"),
            json!({"reason_code": "mail.lost", "message": "x"}),
            400,
            "mail.lost",
        ),
        ("POST", format!("{at}/fail"), json!({}), 400, "message"),
        ("POST", format!("{at}/progress"), json!({"counts": {"mails": -1}}), 400, "u64"),
        ("POST", format!("{runs}/{run}/attempts/7/complete"), json!({}), 409, "none of number 7"),
        ("POST", format!("{runs}/{run}/attempts/x/complete"), json!({}), 400, "attempt"),
        ("POST", format!("{runs}/{nobody}/attempts/1/heartbeat"), json!({}), 404, "no run"),
        ("POST", format!("{runs}/{run}/jobs/a/attempts/1/complete"), json!({}), 404, "no job"),
        ("PUT", "/v1/queue/controls".to_owned(), json!({"scope": "world"}), 400, "workspace"),
        (
            "PUT",
            "/v1/queue/controls".to_owned(),
            json!({"scope": "type:shop.none"}),
            404,
            "shop.none",
        ),
        (
            "PUT",
            "/v1/queue/controls".to_owned(),
            json!({"scope": "workspace", "concurrency_max": -1}),
            400,
            "u32",
        ),
        ("GET", format!("/v1/runs/{run}/jobs?status=sleeping"), json!(null), 400, "sleeping"),
        ("GET", format!("/v1/runs/{nobody}/jobs"), json!(null), 404, "run"),
        ("POST", format!("/v1/runs/{run}/retry"), json!({}), 409, "no dead letter"),
        ("POST", format!("/v1/runs/{run}/retry"), json!({"parts": "some"}), 400, "some"),
        ("POST", format!("/v1/runs/{nobody}/dismiss"), json!({}), 404, "run"),
        ("GET", "/v1/runs?subject=app:x&project=y".to_owned(), json!(null), 400, "project"),
    ];
    for (method, path, body, status, word) in table {
        let body = (!body.is_null()).then_some(body);
        let (found, problem) = agent.ask(method.parse().unwrap(), &path, body.clone()).await;
        let text = problem.to_string();
        assert_eq!(found.as_u16(), status, "{method} {path} {body:?}: {text}");
        assert!(text.contains(word), "{method} {path} {body:?}: {text}");
        assert_eq!(problem["status"], status, "{path}: {text}");
    }
    let standing = agent.tell(&item, "complete", json!({}), 200).await;
    assert_eq!(standing["run_outcome"], "succeeded", "the attempt was not harmed: {standing}");
}

#[tokio::test]
async fn series_tell_how_the_queue_stands() {
    let agent = Fixture::registered().await;
    agent.enqueue(json!({"identity": "x"})).await;
    agent.enqueue(json!({"identity": "y"})).await;
    let request = json!({"types": [MAIL], "worker": "w"});
    agent.post("/v1/queue/claims", request, 200).await;
    let text = agent.http.get("http://wharf/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        "wharf_queue_runs{state=\"queued\",type=\"shop.mail\"} 1",
        "wharf_queue_runs{state=\"running\",type=\"shop.mail\"} 1",
        "wharf_queue_claims_total{kind=\"run\",type=\"shop.mail\"} 1",
        "wharf_queue_waiting_workers 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn every_hosted_run_has_a_record_of_its_beginning() {
    let agent = Fixture::registered().await;
    let claimed = agent.enqueue(json!({"identity": "claimed"})).await;
    let item = agent.claim(0).await.remove(0);
    agent.tell(&item, "complete", json!({}), 200).await;
    let (items, handed_over) = tokio::join!(agent.claim(20), async {
        while agent.get("/v1/queue").await["waiting_workers"] == json!([]) {}
        agent.enqueue(json!({"identity": "handed over"})).await
    });
    agent.tell(&items[0], "complete", json!({}), 200).await;
    let bulk = agent.enqueue(json!({"identity": "bulk", "jobs": [{"key": "x"}]})).await;
    let item = agent.claim(0).await.remove(0);
    agent.tell(&item, "complete", json!({}), 200).await;
    for accepted in [claimed, handed_over, bulk] {
        let id = accepted["run"]["id"].as_str().unwrap();
        let audit = agent.get(&format!("/v1/audit?run={id}")).await;
        let mut told: Vec<_> = audit["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| (it["event_type"].as_str().unwrap(), it["actor_type"].as_str().unwrap()))
            .filter(|(event_type, _)| *event_type != "operation_run.waiting")
            .collect();
        told.reverse();
        let (owner, agent) = ("human", "system");
        let expect = [
            ("operation_run.queued", owner),
            ("operation_run.started", agent),
            ("operation_run.completed", told[2].1),
        ];
        assert_eq!(told, expect, "{audit}");
    }
}

#[tokio::test]
async fn more_controls_than_may_be_are_refused_and_known_ones_still_change() {
    let agent = Fixture::registered().await;
    let scope = |number: usize| format!("tenant:{}", uuid(number));
    let put = |scope: String, is_paused: bool| {
        let body = json!({"scope": scope, "is_paused": is_paused});
        agent.ask(Method::PUT, "/v1/queue/controls", Some(body))
    };
    for number in 0..QUEUE_CONTROLS_MAX {
        assert_eq!(put(scope(number), true).await.0, 200);
    }
    let (status, problem) = put(scope(QUEUE_CONTROLS_MAX), true).await;
    assert_eq!((status.as_u16(), &problem["code"]), (429, &json!("too_many")), "{problem}");
    assert!(problem["hint"].as_str().unwrap().contains("wharf queue resume"), "{problem}");
    assert_eq!(put(scope(0), false).await.0, 200, "a known one goes on, and leaves room");
    assert_eq!(put(scope(QUEUE_CONTROLS_MAX), true).await.0, 200);
}

fn uuid(number: usize) -> String {
    format!("0190f3c2-7a1e-7c3b-9a57-{number:012x}")
}

#[tokio::test]
async fn a_worker_makes_jobs_of_its_run_once() {
    let agent = Fixture::registered().await;
    let accepted = agent.enqueue(json!({"identity": "march"})).await;
    let item = agent.claim(0).await.remove(0);
    let jobs = json!({
        "jobs": [{"key": "a", "payload": 1}, {"key": "b", "payload": 2}],
        "counts": {"total": 2},
    });
    let none = agent.tell(&item, "jobs", json!({"jobs": []}), 400).await;
    assert!(none["detail"].as_str().unwrap().contains("1 to 100000 jobs"), "{none}");
    let twice = json!({"jobs": [{"key": "a"}, {"key": "a"}]});
    agent.tell(&item, "jobs", twice, 400).await;
    let first = agent.tell(&item, "jobs", jobs.clone(), 200).await;
    let again = agent.tell(&item, "jobs", jobs.clone(), 200).await;
    assert_eq!(first, again, "the same again answers the same");
    for other in [
        json!({"jobs": [{"key": "a", "payload": 1}]}),
        json!({"jobs": [{"key": "a", "payload": 1}, {"key": "c", "payload": 2}]}),
        json!({"jobs": [{"key": "a", "payload": 1}, {"key": "b", "payload": 3}]}),
    ] {
        let stale = agent.tell(&item, "jobs", other, 409).await;
        assert_eq!(stale["code"], "stale_attempt", "{stale}");
    }
    let stale = agent.tell(&item, "complete", json!({}), 409).await;
    assert_eq!(stale["code"], "stale_attempt", "its attempt is over: {stale}");
    let parts = agent.claim(0).await;
    let keys: Vec<_> = parts.iter().map(|part| part["job"].as_str().unwrap()).collect();
    assert_eq!(keys, ["a", "b"]);
    for part in &parts {
        agent.tell(part, "complete", json!({"counts": {"processed": 1}}), 200).await;
    }
    let again = agent.tell(&item, "jobs", jobs, 200).await;
    assert_eq!(again["run_outcome"], "succeeded", "also when the run has ended");
    let shown = agent.show(&accepted).await;
    assert_eq!(shown["run"]["summary_counts"], json!({"processed": 2, "total": 2}));
    assert_eq!(shown["run"]["outcome"], "succeeded");
    agent.enqueue(json!({"identity": "april"})).await;
    let item = agent.claim(0).await.remove(0);
    let late = json!({"path": item["path"].as_str().unwrap().replace("attempts/1", "attempts/2")});
    agent.tell(&late, "jobs", json!({"jobs": [{"key": "a"}]}), 409).await;
}
