//! Reads how the agent judges who asks. Owns the section `access`. Face: `Access`. Never names who
//! may do what: the records do.

use crate::base::yaml::Fields;
use crate::base::{Name, NotAName};
use crate::domain::access::{Allowance, BuiltInRole};

use super::CODE;

/// Most requests of one principal that a setting can allow.
const REQUESTS_MAX: u64 = 1_000_000;

/// How the agent judges who asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// The role of members of the socket's group who have no record of their own; none for operators.
    pub socket_group_role: Option<Name>,
    /// How much one principal may ask.
    pub allowance: Allowance,
}

impl Access {
    pub(super) fn read(fields: &mut Fields<'_>) -> Self {
        let usual = Allowance::default();
        let mut number = |key: &str, usual: u32| {
            let given = fields.integer(key, 1..=REQUESTS_MAX);
            given.and_then(|number| u32::try_from(number).ok()).unwrap_or(usual)
        };
        let per_second = number("requests_per_second", usual.per_second);
        let burst = number("requests_burst", usual.burst);
        let allowance = Allowance { per_second, burst, ..usual };
        Self { socket_group_role: read_group_role(fields), allowance }
    }

    /// The keys of the section with their values in effect, as they would be written.
    pub(super) fn values(&self) -> [(&'static str, String); 3] {
        let role = self.socket_group_role;
        let role = role.map_or_else(|| BuiltInRole::Operator.key().to_owned(), |it| it.to_string());
        [
            ("access.socket_group_role", role),
            ("access.requests_per_second", self.allowance.per_second.to_string()),
            ("access.requests_burst", self.allowance.burst.to_string()),
        ]
    }
}

fn read_group_role(fields: &mut Fields<'_>) -> Option<Name> {
    let read = fields.string("socket_group_role")?.parse();
    if let (Err(wrong), Some(node)) = (&read, fields.node("socket_group_role")) {
        let wrong: &NotAName = wrong;
        let message = format!("`socket_group_role` must be the name of a role: {wrong}");
        let help = "`wharf access roles` lists them";
        fields.report(node.problem(CODE, message).help(help));
    }
    read.ok()
}
