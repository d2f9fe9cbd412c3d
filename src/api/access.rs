//! Decides who is let in, and says who they are. Owns the peer credentials of a connection. Face:
//! `Peer`, `Gate`, `admit`, the extractor of `Asker`. Never trusts a name that a client sent.

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::{Problem, ProblemCode};
use crate::domain::runs::Source;
use crate::operations::projects::Asker;
use crate::world::{groups, host};

/// Who is on the other end of a connection, as the kernel tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The user.
    pub uid: u32,
    /// The user's main group.
    pub gid: u32,
}

/// Who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// The agent's own user.
    pub own_uid: u32,
    /// The socket's group, whose members may come in; none lets no group in.
    pub group_id: Option<u32>,
}

impl Gate {
    /// Whether a peer may come in: root, the agent's own user, or a member of the socket's group.
    pub fn admits(&self, peer: Peer) -> bool {
        self.admits_with(peer, groups::is_member)
    }

    fn admits_with(&self, peer: Peer, is_member: impl Fn(&str, u32) -> bool) -> bool {
        if peer.uid == 0 || peer.uid == self.own_uid {
            return true;
        }
        // Group 0 on the socket of a root agent means "no group was chosen".
        let Some(group_id) = self.group_id.filter(|group_id| *group_id != 0) else { return false };
        peer.gid == group_id || is_member(&host::user_by_uid(peer.uid).name, group_id)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // `admit` runs before every route; without it nobody is let in.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| refusal("an unknown user"))
    }
}

/// Lets a request through, with its `Asker`, or refuses it.
pub(super) async fn admit(
    State(gate): State<Gate>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let user = host::user_by_uid(peer.uid);
    if !gate.admits(peer) {
        tracing::warn!(uid = peer.uid, user = %user.name, "connection refused");
        super::extract::discard(request.into_body().into_data_stream()).await;
        return refusal(&user.name).into_response();
    }
    // Our own client names itself.
    let agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
    let is_cli = agent.is_some_and(|agent| agent.starts_with("wharf/"));
    let source = if is_cli { Source::Cli } else { Source::Api };
    request.extensions_mut().insert(Asker { uid: user.uid, name: user.name, source });
    next.run(request).await
}

fn refusal(user: &str) -> Problem {
    Problem::new(ProblemCode::Forbidden, format!("{user} may not use this agent"))
        .hint("become root, or a member of the group that owns the agent's socket")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_the_agent_and_the_group_come_in() {
        let check = |uid, gid, group_id, expect| {
            let gate = Gate { own_uid: 900, group_id };
            let listed = |_: &str, group_id| uid == 1002 && group_id == 998;
            assert_eq!(gate.admits_with(Peer { uid, gid }, listed), expect, "{uid} {gid}");
        };
        check(0, 0, None, true);
        check(900, 900, None, true);
        check(1000, 1000, None, false);
        check(1000, 1000, Some(998), false);
        check(1000, 998, Some(998), true);
        check(1002, 1002, Some(998), true);
        check(1002, 1002, Some(0), false);
        check(1000, 0, Some(0), false);
    }
}
