//! Defects to be planted, so that a simulation shows what it would find. Owns the defects. Face:
//! `Flaw`, `Flawed`. Never planted unless a test asks for it.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use wharfinger::facts::{ContainerFacts, labels};
use wharfinger::operations::{Operation, RunContext, RunEnd};
use wharfinger::world::docker::{ContainerFilter, NewContainer, RemoveContainer, SharedEngine};

/// What is wrong with the simulated agent. The first and the last five lie in its link to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It never sees what lost its worker, so it never recovers it.
    LeavesTheLost,
    /// It does not look after the projects that it keeps.
    LooksAway,
    /// It makes a container twice.
    MakesTwice,
    /// It removes a container with its data.
    LosesVolumes,
    /// It stops a container that is not its own.
    TouchesStrangers,
    /// It does not look at the number of an attempt: who was taken over goes on writing.
    Unfenced,
    /// It adds what a worker counted twice.
    CountsTwice,
    /// It ends a run at its first failure.
    ForgetsRetries,
    /// It locks nothing.
    IgnoresLocks,
    /// It takes over what lost its worker also when that worker spoke up since.
    Impatient,
}

/// An operation that does something wrong after it has done everything right.
pub(crate) struct Flawed {
    pub(crate) operation: Arc<dyn Operation>,
    pub(crate) engine: SharedEngine,
    pub(crate) flaw: Flaw,
}

impl Operation for Flawed {
    fn execute(&self, run: RunContext) -> BoxFuture<'_, RunEnd> {
        async move {
            let project = run.run().context.inputs.project().unwrap_or_default().to_owned();
            let end = self.operation.execute(run).await;
            let filter = ContainerFilter::label(labels::COMPOSE_PROJECT, &project);
            for container in self.engine.containers(&filter).await.unwrap_or_default() {
                self.err(&container).await;
            }
            end
        }
        .boxed()
    }
}

impl Flawed {
    /// What the engine answers does not matter: once in a while it will work.
    async fn err(&self, container: &ContainerFacts) {
        match self.flaw {
            Flaw::LeavesTheLost
            | Flaw::LooksAway
            | Flaw::Unfenced
            | Flaw::CountsTwice
            | Flaw::ForgetsRetries
            | Flaw::IgnoresLocks
            | Flaw::Impatient => {}
            Flaw::MakesTwice => {
                let twin = twin(container);
                drop(self.engine.create_container(&twin).await);
            }
            Flaw::LosesVolumes => {
                let how = RemoveContainer { force: true, anonymous_volumes: true };
                drop(self.engine.remove_container(&container.id, how).await);
            }
            Flaw::TouchesStrangers => {
                drop(self.engine.stop_container(crate::agent::STRANGER, None).await);
            }
        }
    }
}

fn twin(container: &ContainerFacts) -> NewContainer {
    let bookkeeping = container.all_labels.iter().filter(|(key, _)| labels::is_bookkeeping(key));
    NewContainer {
        name: format!("{}-again", container.name),
        image: container.spec.image.clone(),
        spec: container.spec.clone(),
        bookkeeping: bookkeeping.map(|(key, value)| (key.clone(), value.clone())).collect(),
        resolved_namespaces: [].into(),
        kept_volumes: container.anonymous_volumes.clone(),
    }
}
