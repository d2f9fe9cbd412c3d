//! Decides which users of the machine may come in without a record of their own. Owns what is known
//! of the other end of a connection. Face: `Peer`, `Remote`, `Gate`. Never trusts a name that a client sent.

use std::net::IpAddr;

use crate::base::{Digest, Name};
use crate::world::{groups, host};

/// Who is on the other end of a connection, as the kernel tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The user.
    pub uid: u32,
    /// The user's main group.
    pub gid: u32,
}

/// Who is on the other end of a connection from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// The address.
    pub ip: IpAddr,
    /// SHA-256 of the client certificate that was proved, if one was.
    pub certificate: Option<Digest>,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// This host.
    Host(Peer),
    /// Elsewhere.
    Remote(Remote),
}

/// Who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// The agent's own user.
    pub own_uid: u32,
    /// The socket's group, whose members may come in; none lets no group in.
    pub group_id: Option<u32>,
    /// The role of the group's members who have no record of their own; none for operators.
    pub group_role: Option<Name>,
}

impl Gate {
    /// Whether a peer is who runs the host, and so its owner: root, or the agent's own user.
    pub fn is_host(&self, peer: Peer) -> bool {
        peer.uid == 0 || peer.uid == self.own_uid
    }

    /// Whether a peer may come in: who runs the host, or a member of the socket's group.
    pub fn admits(&self, peer: Peer) -> bool {
        self.admits_with(peer, groups::is_member)
    }

    fn admits_with(&self, peer: Peer, is_member: impl Fn(&str, u32) -> bool) -> bool {
        if self.is_host(peer) {
            return true;
        }
        // Group 0 on the socket of a root agent means "no group was chosen".
        let Some(group_id) = self.group_id.filter(|group_id| *group_id != 0) else { return false };
        peer.gid == group_id || is_member(&host::user_by_uid(peer.uid).name, group_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_the_agent_and_the_group_come_in() {
        let check = |uid, gid, group_id, expect| {
            let gate = Gate { own_uid: 900, group_id, group_role: None };
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
