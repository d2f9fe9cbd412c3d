//! Lowers the hooks of a service. Owns their limits. Face: `lower`. Never lets one through that has
//! no command.

use super::section::Section;
use super::service::environment;
use crate::base::limits::{EXEC_ENVIRONMENT_MAX, EXEC_WORDS_BYTES_MAX, HOOKS_MAX};
use crate::facts::{Hook, HookKind};

/// The commands that the service declares for this moment, in order.
pub(super) fn lower(service: &mut Section<'_>, kind: HookKind) -> Vec<Hook> {
    let sections = service.numbered(kind.key());
    if sections.len() > HOOKS_MAX {
        let count = sections.len();
        service.refuse(kind.key(), &format!("it holds {count} commands, and {HOOKS_MAX} may be"));
    }
    sections.into_iter().map(hook).collect()
}

fn hook(mut section: Section<'_>) -> Hook {
    let hook = Hook {
        command: section.texts("command"),
        user: section.text("user"),
        privileged: section.flag("privileged").unwrap_or_default(),
        working_dir: section.text("working_dir"),
        environment: environment(&mut section),
    };
    if hook.command.first().is_none_or(String::is_empty) {
        section.refuse("command", "a hook has to name a program");
    }
    let variables = hook.environment.iter().map(|(name, value)| name.len() + value.expose().len());
    let bytes = variables.sum::<usize>() + hook.command.iter().map(String::len).sum::<usize>();
    if bytes > EXEC_WORDS_BYTES_MAX {
        let reason = format!(
            "with its variables it has {bytes} bytes, and {EXEC_WORDS_BYTES_MAX} \
                              may be"
        );
        section.refuse("command", &reason);
    }
    if hook.environment.len() > EXEC_ENVIRONMENT_MAX {
        let reason = format!("at most {EXEC_ENVIRONMENT_MAX} variables may be set");
        section.refuse("environment", &reason);
    }
    hook
}
