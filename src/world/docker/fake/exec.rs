//! Commands in containers of the engine in memory, and what containers use. Owns what commands do:
//! `echo` writes its words, `fail` writes them as an error and ends with 1, `sleep` never ends,
//! anything else ends with 0, `false` with 1. Face: `State::exec`, `State::usage`,
//! `State::processes`. Never waits.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;

use super::state::State;
use super::{Refused, refuse};
use crate::facts::{ContainerState, ContainerUsage};
use crate::world::docker::{EngineErrorKind as Kind, ExecOutput, ExecSession, NewExec, Reading};

impl State {
    pub(super) fn exec(&mut self, container: &str, new: &NewExec) -> Result<ExecSession, Refused> {
        let position = self.position(container)?;
        let facts = self.facts_of(&self.containers[position]);
        if facts.state != ContainerState::Running {
            return refuse(Kind::Conflict, format!("container {container} is not running"));
        }
        self.execs.push((facts.name.clone(), new.clone()));
        let id = self.make_id();
        let words = match new.command.as_slice() {
            [box_of_programs, words @ ..] if box_of_programs == "/bin/busybox" => words,
            words => words,
        };
        let program = words.first().map_or("", String::as_str);
        let said = match program {
            "echo" | "fail" => format!("{}\n", words[1..].join(" ")),
            _ => String::new(),
        };
        if program != "sleep" {
            self.exec_exit_codes.insert(id.clone(), i64::from(matches!(program, "false" | "fail")));
        }
        let is_stderr = program == "fail";
        let part = Ok(ExecOutput { is_stderr, bytes: Bytes::from(said.clone()) });
        let parts = stream::iter((!said.is_empty()).then_some(part));
        let output = match program {
            "sleep" => parts.chain(stream::pending()).boxed(),
            _ => parts.boxed(),
        };
        Ok(ExecSession { id, output, input: Box::pin(tokio::io::sink()) })
    }

    /// A running container uses a little; the same every time.
    pub(super) fn usage(&self, id: &str, reading: Reading) -> Option<ContainerUsage> {
        let facts = self.facts_of(&self.containers[self.position(id).ok()?]);
        (facts.state == ContainerState::Running).then(|| ContainerUsage {
            cpu_nanos_total: 2_000_000_000,
            cpu_thousandths: (reading == Reading::Rates).then_some(125),
            memory_bytes: 8 << 20,
            memory_limit_bytes: Some(64 << 20),
            pids: 2,
            ..ContainerUsage::default()
        })
    }

    /// A running container has one process, or those that its behaviour names beside it.
    pub(super) fn processes(&self, id: &str) -> Option<Vec<String>> {
        let container = &self.containers[self.position(id).ok()?];
        let facts = self.facts_of(container);
        let words = [&facts.spec.entrypoint, &facts.spec.command].into_iter().flatten().flatten();
        let words: Vec<String> = words.cloned().collect();
        let more = container.behaviour.processes.iter().cloned();
        container.is_active().then(|| std::iter::once(words.join(" ")).chain(more).collect())
    }

    pub(super) fn exec_exit_code(&self, id: &str) -> Option<i64> {
        self.exec_exit_codes.get(id).copied()
    }
}
