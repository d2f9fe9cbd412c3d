//! Checks of what runs inside. Owns what is an ssh server. Face: `SSH_SERVER`. Never takes silence
//! for absence: where nobody looked at the processes, only a command that names one is known.

use super::{Check, CheckId, Parameters, Subject, Verdict, fail, unknown};
use crate::domain::alerts::Severity;
use crate::facts::ServiceSpec;

pub(super) const SSH_SERVER: Check = Check {
    id: CheckId::SshServer,
    title: "No ssh server runs in a container",
    severity: Severity::Medium,
    rationale: "It is a way in past the engine, with keys, accounts and holes of its own, that \
                nobody's record shows.",
    remediation: "take it out of the image; `wharf exec` opens a session that is recorded",
    cis: &["5.7"],
    judge: ssh_server,
    remedy: None,
};

/// Programs that are ssh servers.
const SERVERS: [&str; 4] = ["sshd", "dropbear", "sshd-session", "tinysshd"];

/// Is this word a server's program? Processes change their title to `sshd: user`.
fn is_server(word: &str) -> bool {
    let program = word.rsplit('/').next().unwrap_or_default().trim_end_matches(':');
    SERVERS.contains(&program)
}

fn ssh_server(subject: &Subject<'_>, _: &Parameters) -> Verdict {
    if let Some(processes) = subject.processes {
        let program = |process: &&String| process.split_whitespace().next().is_some_and(is_server);
        return match processes.iter().find(program) {
            Some(process) => {
                let program = process.split_whitespace().next().unwrap_or_default();
                fail(format!("`{program}` runs inside"), &[])
            }
            None => Verdict::Pass,
        };
    }
    let of_image = |image: fn(&ServiceSpec) -> &Option<Vec<String>>| {
        subject.image.and_then(|found| image(&found.defaults).as_ref())
    };
    let entrypoint = subject.spec.entrypoint.as_ref();
    // An entry point of the service's own drops the image's command.
    let entrypoint_in_force = entrypoint.or_else(|| of_image(|spec| &spec.entrypoint));
    let command = subject.spec.command.as_ref();
    let command = match entrypoint {
        Some(_) => command,
        None => command.or_else(|| of_image(|spec| &spec.command)),
    };
    let lists = [(entrypoint_in_force, "entrypoint"), (command, "command")];
    for (list, key) in lists {
        let mut words = list.into_iter().flatten().flat_map(|part| {
            part.split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')'))
        });
        if let Some(word) = words.find(|word| is_server(word)) {
            return fail(format!("it starts `{word}`"), &[key]);
        }
    }
    unknown(vec!["container.processes"])
}
