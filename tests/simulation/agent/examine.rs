//! Looks at a simulated host when nothing goes wrong any more, and brings its projects up for the
//! last time. Owns the order in which that is done. Face: `Process::examine`. Never decides what must
//! hold: `promises` and `queue_promises` do.

use super::*;

impl Process<'_> {
    /// Faults stop, the projects are brought up for the last time, and everything is looked at.
    pub(super) async fn examine(&self) -> Told {
        faults::calm(&self.host.engine);
        self.calm_queue().await;
        self.settled().await;
        let mut broken = self.examine_queue().await;
        broken.extend(self.examine_runs().await);
        if broken.is_empty() && self.host.shape.has_projects {
            self.remember_volumes().await;
            let desired = self.host.memory().desired.clone();
            for (name, desired) in desired {
                broken.extend(promises::of_desired(
                    self.project(name).await.as_ref(),
                    name,
                    desired,
                ));
            }
            for name in PROJECTS {
                broken.extend(self.examine_kept(name).await);
            }
            let asked: Vec<_> = self.host.memory().declared.keys().copied().collect();
            for name in asked {
                broken.extend(self.examine_project(name).await);
            }
            broken.extend(self.examine_host().await);
            broken.extend(self.examine_runs().await);
        }
        let runs = promises::all_runs(&self.store).await;
        let retried = runs.iter().filter(|run| run.attempt > 1).count();
        let story = (self.host.engine.writes(), promises::whole_log(&self.store).await);
        Told { runs: runs.len(), retried, broken, crashes: 0, story }
    }

    /// Waits until every run has ended.
    async fn settled(&self) {
        settle(&self.store).await;
    }

    /// Nothing goes wrong for programs any more, and nothing new begins by itself.
    async fn calm_queue(&self) {
        for agent in &self.agents {
            agent.link.calm();
        }
        self.host.receiver.calm();
        self.host.programs.hurry();
        if self.host.shape.has_programs {
            let agent = &self.agents[0];
            agent.stop_schedules().await;
            agent.send_alerts().await;
            self.host.programs.let_go(&agent.counter).await;
        }
    }

    async fn examine_queue(&self) -> Broken {
        let (store, programs, receiver) = (&self.store, &self.host.programs, &self.host.receiver);
        let is_over = async || {
            let is_pending = |it: &Delivery| it.state.status() == DeliveryStatus::Pending;
            programs.is_settled() && !all_deliveries(store).await.iter().any(is_pending)
        };
        wait_for(TOLD_WITHIN, Duration::from_secs(5), is_over).await;
        let mut broken = queue::of_programs(programs);
        broken.extend(queue_promises::of_queue(store, programs, receiver).await);
        broken
    }

    async fn examine_runs(&self) -> Broken {
        // The agent may have begun one by itself meanwhile.
        self.settled().await;
        let accepted = self.host.memory().accepted.clone();
        let mut broken = promises::of_runs(&self.store, &accepted).await;
        broken.extend(promises::of_failures(&self.store).await);
        broken
    }

    /// A project that is kept becomes as declared by itself.
    async fn examine_kept(&self, name: &'static str) -> Broken {
        let kept = self.project(name).await.filter(|project| project.desired == Desired::Running);
        let Some(kept) = kept else { return Broken::new() };
        let declared = self.rollout.kept(&kept).await.expect("stored revisions");
        let Some(declared) = declared else { return Broken::new() };
        let workspace = self.store.scope().workspace_id;
        // As the watcher asks.
        let inputs = self.rollout.deploy_as_applied(&kept).await.expect("a stored revision");
        let Some(inputs) = inputs else { return vec![format!("the files of {name} are lost")] };
        let options = options_of(&inputs, &declared);
        let is_kept = async || {
            let preview = self.rollout.preview(workspace, &declared, &options).await;
            let broken = promises::of_kept(&declared.spec, &self.containers(name).await);
            preview.expect("a plan").plan.is_empty() && broken.is_empty()
        };
        if wait_for(MENDED_WITHIN, Duration::from_secs(20), is_kept).await {
            self.settled().await;
            return Broken::new();
        }
        let preview = self.rollout.preview(workspace, &declared, &options).await;
        let mut broken = promises::of_kept(&declared.spec, &self.containers(name).await);
        let preview = preview.expect("a plan");
        let (plan, exits) = (preview.plan, preview.observed.exits);
        broken.push(format!("{name} is not as declared: {plan}; known to have ended: {exits:?}"));
        broken
    }

    async fn examine_project(&self, name: &'static str) -> Broken {
        let data = self.anonymous_volumes(name).await;
        let declared = self.next_declaration(name);
        let mut broken = self.last_up(&declared, false).await;
        let found = self.containers(name).await;
        broken.extend(promises::of_containers(&declared, &found));
        broken.extend(promises::of_anonymous_volumes(&data, &declared, &found));
        let data = self.anonymous_volumes(name).await;
        broken.extend(self.last_up(&declared, true).await);
        let found = self.containers(name).await;
        broken.extend(promises::of_containers(&declared, &found));
        broken.extend(promises::of_anonymous_volumes(&data, &declared, &found));
        broken.extend(self.examine_idle(&declared).await);
        broken.extend(promises::of_project(self.project(name).await.as_ref(), name));
        broken
    }

    async fn project(&self, name: &str) -> Option<Project> {
        let workspace = self.store.scope().workspace_id;
        self.store.project(workspace, name.to_owned()).await.expect("an answer")
    }

    /// A project that is as declared is left alone.
    async fn examine_idle(&self, declared: &Declaration) -> Broken {
        let workspace = self.store.scope().workspace_id;
        let project = Declared::from_bundle(&declared.bundle()).expect("a project");
        let preview = self.rollout.preview(workspace, &project, &PlanOptions::explicit()).await;
        let plan = preview.expect("a plan").plan;
        let written_before = self.host.engine.writes().len();
        let mut broken = self.last_up(declared, false).await;
        if !plan.is_empty() {
            broken.push(format!("there is always something left to do: {plan}"));
        }
        for write in &self.host.engine.writes()[written_before..] {
            broken.push(format!("nothing was to be done, but {} was called", write.method));
        }
        broken
    }

    async fn last_up(&self, declared: &Declaration, force_recreate: bool) -> Broken {
        let run = self.up(declared, force_recreate).await.expect("an accepted request");
        self.settled().await;
        let run = self.store.run(run.id).await.expect("an answer").expect("a run");
        promises::of_last_run(&run)
    }

    async fn examine_host(&self) -> Broken {
        let found = self.host.engine.volumes(None).await.expect("volumes");
        let found = found.into_iter().map(|volume| volume.name).collect();
        let stranger = self.host.engine.container(STRANGER).await.expect("an answer");
        let memory = self.host.memory();
        let mut broken = promises::of_volumes(&memory.volumes, &found);
        let before = memory.stranger.as_ref().expect("a stranger was planted");
        let writes = self.host.engine.writes();
        broken.extend(promises::of_strangers(before, stranger.as_ref(), &writes));
        broken
    }

    async fn containers(&self, project: &str) -> Vec<ContainerFacts> {
        let filter = ContainerFilter::label(labels::COMPOSE_PROJECT, project);
        self.host.engine.containers(&filter).await.expect("containers")
    }

    async fn anonymous_volumes(
        &self,
        project: &str,
    ) -> BTreeMap<Instance, BTreeMap<String, String>> {
        let found = self.containers(project).await.into_iter();
        found.filter_map(|it| Some((it.instance?, it.anonymous_volumes))).collect()
    }
}
