//! The agent's inside behind its real doors, and a client in front of them. Owns its store and its
//! pretended engine. Face: `Fixture`. Never runs a worker unless it is asked to.

use super::*;

/// An agent's inside with its doors open, and a client in front of them.
pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ambient: Ambient,
    /// The routes, for whoever says who is on the other end.
    pub(crate) router: axum::Router,
    pub(crate) engine: Arc<FakeEngine>,
    pub(crate) runner: Arc<Runner>,
    pub(crate) supervisor: Supervisor,
    pub(crate) http: reqwest::Client,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::allowing(Allowance::default()).await
    }

    /// The same, whose principals may ask no more than this.
    pub(crate) async fn allowing(allowance: Allowance) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ambient = Ambient {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            crash_points: Arc::new(NoCrashPoints),
        };
        let keys = Keys::open_or_create(dir.path(), &*ambient.entropy).unwrap();
        let opening = Opening {
            state_dir: dir.path(),
            keys: &keys,
            ambient: &ambient,
            os_user: "root",
            hostname: "host",
            agent_version: "test",
            mode: Mode::Threaded,
            on_commit: None,
        };
        let store: Arc<dyn Store> = sqlite::open(opening).unwrap().store;
        let engine = FakeEngine::new(Arc::clone(&ambient.clock));
        engine.add_image(image("web:1"));
        let rollout = Rollout {
            engine: engine.clone(),
            store: Arc::clone(&store),
            key: keys.hash_key().clone(),
            files: Arc::new(FilesInMemory::default()),
            contexts: Arc::new(Contexts::open(dir.path(), 1 << 20).unwrap()),
            rules: SharedRules::new(Rules::off()),
        };
        let advisories = wharfinger::world::advisories::Advisories::below(dir.path(), None);
        let operations = Operations::on_projects(&rollout).and_scans(&rollout, &advisories);
        let supervisor = Supervisor::new();
        let spawn = Arc::new(supervisor.clone());
        let options = RunnerOptions::new("test");
        let runner = Runner::new(Arc::clone(&store), ambient.clone(), operations, spawn, options);
        let policy = HostPathPolicy::default();
        let contexts = Arc::clone(&rollout.contexts);
        let scans = wharfinger::operations::scans::Scans::new(
            rollout.clone(),
            runner.door(),
            advisories,
            ambient.clone(),
        );
        let path = dir.path().join("wharf.sock");
        let listener =
            listen::bind(&SocketOptions { path: path.clone(), mode: 0o600, group_id: None })
                .unwrap();
        let api = Api {
            store: Arc::clone(&store),
            door: runner.door(),
            hosted: runner.hosted(),
            projects: Projects::new(rollout, runner.door(), ambient.clone(), policy),
            schedules: Schedules::new(Arc::clone(&store), runner.door(), ambient.clone()),
            alerts: Alerts::new(Arc::clone(&store), ambient.clone()),
            exec: Exec::new(
                Arc::clone(&store),
                engine.clone(),
                ambient.clone(),
                Arc::new(supervisor.clone()),
                supervisor.stop_token(),
            ),
            scans,
            registries: Registries::new(Arc::clone(&store), engine.clone(), ambient.clone()),
            findings: Findings::new(Arc::clone(&store), ambient.clone()),
            runbooks: Runbooks::new(
                Arc::clone(&store),
                runner.door(),
                ambient.clone(),
                Folder::default(),
            ),
            backups: Backups::new(Arc::clone(&store), ambient.clone()),
            engine: engine.clone(),
            ambient: ambient.clone(),
            metrics: Arc::new(Metrics::new().unwrap()),
            contexts,
            access: Access::new(Arc::clone(&store), ambient.clone()).allowing(allowance),
            gate: Gate {
                own_uid: rustix::process::geteuid().as_raw(),
                group_id: None,
                group_role: None,
            },
            within: Within::host(store.scope()),
            about: Arc::new(About {
                started_at: SystemClock.now(),
                state_dir: dir.path().to_owned(),
                engine_address: "fake".to_owned(),
            }),
            stop: supervisor.stop_token(),
        };
        let router = api::router(api.clone());
        tokio::spawn(api.hosted.clone().keep());
        tokio::spawn(api::serve(listener, api::Routes::new(), api));
        let http = reqwest::Client::builder().unix_socket(path).build().unwrap();
        Self { dir, store, ambient, router, engine, runner, supervisor, http }
    }

    /// The same, with a worker.
    pub(crate) async fn working() -> Self {
        let fixture = Self::new().await;
        tokio::spawn(Arc::clone(&fixture.runner).serve());
        fixture
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("http://wharf{path}"));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(crate) async fn post(&self, path: &str, body: Value, expect: u16) -> Value {
        let (status, answer) = self.ask(Method::POST, path, Some(body)).await;
        assert_eq!(status, expect, "{path}: {answer}");
        answer
    }

    pub(crate) async fn up(&self, compose: &str) -> String {
        let answer = self.post("/v1/projects/shop/up", apply(compose), 202).await;
        answer["run"]["id"].as_str().unwrap().to_owned()
    }

    /// The events of a run, as (name, id, data), until the agent ends the stream or `limit`.
    pub(crate) async fn events(&self, run: &str, last: Option<&str>, limit: usize) -> Vec<Sent> {
        let mut request = self.http.get(format!("http://wharf/v1/runs/{run}/events"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let mut stream = request.send().await.unwrap().bytes_stream();
        let mut text = String::new();
        let mut events = Vec::new();
        while events.len() < limit
            && let Some(part) = stream.next().await
        {
            text.push_str(&String::from_utf8_lossy(&part.unwrap()));
            while let Some((event, rest)) = text.split_once("\n\n") {
                events.extend(Sent::parse(event));
                text = rest.to_owned();
            }
        }
        events.truncate(limit);
        events
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.supervisor.stop_token().cancel();
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) data: Value,
}

impl Sent {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let values: Vec<&str> = lines.map(|line| line.trim_start()).collect();
            (!values.is_empty()).then(|| values.join("\n"))
        };
        let data = field("data")?;
        let data = serde_json::from_str(&data).unwrap_or(Value::String(data));
        Some(Self { name: field("event")?, id: field("id"), data })
    }
}

pub(crate) fn image(reference: &str) -> ImageFacts {
    ImageFacts {
        last_tagged_at: None,
        id: format!("sha256:{:0>64}", hex::encode(reference)),
        tags: vec![reference.to_owned()],
        digests: Vec::new(),
        defaults: ServiceSpec { command: Some(vec!["run".to_owned()]), ..ServiceSpec::default() },
        platform: "linux/amd64".to_owned(),
        size_bytes: 1,
        created_at: None,
    }
}

pub(crate) fn apply(compose: &str) -> Value {
    let text = |text: &str| BundleFile::Text(text.to_owned());
    let bundle = Bundle {
        options: Options {
            directory: "/project".to_owned(),
            files: vec!["compose.yaml".to_owned()],
            project_name: Some("shop".to_owned()),
            ..Options::default()
        },
        files: BTreeMap::from([
            ("/project/compose.yaml".to_owned(), text(compose)),
            ("/project/.env".to_owned(), BundleFile::Missing),
        ]),
        ..Bundle::default()
    };
    json!({ "bundle": bundle })
}
