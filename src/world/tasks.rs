//! Runs the agent's tasks and notices how they end. Owns every spawned task of the process. Face:
//! `Spawn`, `Supervisor`. Never lets a panic take more than its own task with it.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How a task ended that did not return.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskLost {
    /// It panicked; the panic's message.
    #[error("the task panicked: {0}")]
    Panicked(String),
    /// It was aborted, or its runtime is gone.
    #[error("the task was aborted")]
    Aborted,
}

/// Starts tasks. Injected, so that a simulation can own them.
pub trait Spawn: Send + Sync {
    /// Starts a task under a constant name.
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) -> TaskHandle;
}

/// Awaits the end of one task. Dropping it leaves the task running.
#[derive(Debug)]
pub struct TaskHandle(oneshot::Receiver<Result<(), TaskLost>>);

impl Future for TaskHandle {
    type Output = Result<(), TaskLost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_unpin(cx).map(|end| end.unwrap_or(Err(TaskLost::Aborted)))
    }
}

/// Owns tasks on the current tokio runtime, tells them to stop and waits for them.
#[derive(Debug, Clone, Default)]
pub struct Supervisor {
    tasks: Arc<Mutex<JoinSet<()>>>,
    stop: CancellationToken,
}

impl Supervisor {
    /// A supervisor without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the process is to stop; tasks watch it.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Tells every task to stop, waits until `deadline` has passed, then aborts what is left.
    /// Returns how many had to be aborted.
    pub async fn shut_down(&self, deadline: Duration) -> usize {
        self.stop.cancel();
        let mut tasks = std::mem::take(&mut *self.lock());
        let all_ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(deadline, all_ended).await.is_ok() {
            return 0;
        }
        let left = tasks.len();
        tasks.shutdown().await;
        left
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Aborts what a supervisor started when it is dropped: tasks know the one who starts them, so they
/// would go on for ever, on what is gone by then. For hosts in tests.
#[cfg(test)]
pub(crate) struct Life(pub(crate) Supervisor);

#[cfg(test)]
impl Drop for Life {
    fn drop(&mut self) {
        self.0.stop.cancel();
        drop(std::mem::take(&mut *self.0.lock()));
    }
}

impl Spawn for Supervisor {
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) -> TaskHandle {
        let (tell, told) = oneshot::channel();
        let watched = async move {
            let end = std::panic::AssertUnwindSafe(task).catch_unwind().await;
            let end = end.map_err(|panic| TaskLost::Panicked(panic_message(&*panic)));
            if let Err(lost) = &end {
                tracing::error!(task = name, %lost, "task lost");
            }
            // Nobody has to wait for a task.
            let _ = tell.send(end);
        };
        let mut tasks = self.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(watched);
        TaskHandle(told)
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_own_task_only() {
        let supervisor = Supervisor::new();
        let panics = supervisor.spawn("panics", async { panic!("a planted panic") }.boxed());
        let lives = supervisor.spawn("lives", async {}.boxed());
        assert_eq!(panics.await, Err(TaskLost::Panicked("a planted panic".to_owned())));
        assert_eq!(lives.await, Ok(()));
        assert_eq!(supervisor.shut_down(Duration::ZERO).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_that_do_not_stop_in_time_are_aborted() {
        let supervisor = Supervisor::new();
        let stop = supervisor.stop_token();
        let obeys = supervisor.spawn("obeys", async move { stop.cancelled().await }.boxed());
        let hangs = supervisor.spawn("hangs", std::future::pending().boxed());
        assert_eq!(supervisor.shut_down(Duration::from_secs(5)).await, 1);
        assert_eq!(obeys.await, Ok(()));
        assert_eq!(hangs.await, Err(TaskLost::Aborted));
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_end_with_the_life_of_what_they_work_on() {
        let supervisor = Supervisor::new();
        let (life, own) = (Life(supervisor.clone()), supervisor.clone());
        let hangs = supervisor.spawn(
            "hangs",
            async move {
                std::future::pending::<()>().await;
                drop(own);
            }
            .boxed(),
        );
        drop((life, supervisor));
        assert_eq!(hangs.await, Err(TaskLost::Aborted));
    }
}
