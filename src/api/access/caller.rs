//! Finds out who asks. Owns the way from a connection to somebody in the records. Face: `Caller`.
//! Never decides what they may do.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, USER_AGENT};

use super::gate::Origin;
use super::{Peer, Remote};
use crate::api::Api;
use crate::api::problem::{Problem, ProblemCode};
use crate::base::Digest;
use crate::base::ids::{UserId, WorkspaceId};
use crate::base::limits::USER_AGENT_CHARS_MAX;
use crate::domain::access::{
    BuiltInRole, Capability, Ceiling, Directory, Grant, Need, OsUser, PlatformIdentity, Principal,
    Reach, Role, Standing, User, UserKind, Via,
};
use crate::domain::redaction::SafeText;
use crate::domain::runs::Source;
use crate::operations::access::{Counted, ProofError};
use crate::operations::projects::Asker;
use crate::store::Scope;
use crate::world::host;

/// A user of the machine who may read nothing of others: `nobody`.
const NO_USER: u32 = 65_534;
/// Who has no record. No record has this id.
const NOBODY: UserId = UserId::from_u128(0);
/// A workspace that does not exist.
pub(super) const NOWHERE: WorkspaceId = WorkspaceId::from_u128(0);

/// Somebody who asks, and the records by which that was found out.
#[derive(Debug, Clone)]
pub(in crate::api) struct Caller {
    /// Who they are.
    pub(in crate::api) principal: Principal,
    /// What the records say.
    pub(in crate::api) directory: Arc<Directory>,
    /// What they are in one workspace whatever the records say: who runs the host, and the members of
    /// the socket's group.
    given: Option<(WorkspaceId, Standing)>,
    uid: u32,
    source: Source,
    ip: Option<IpAddr>,
    user_agent: Option<SafeText>,
}

impl Caller {
    /// Finds out who asks.
    ///
    /// # Errors
    /// When they may not come in at all, or the records cannot be read.
    pub(super) async fn of(
        api: &Api,
        need: Need,
        (origin, headers): (Origin, &HeaderMap),
    ) -> Result<Self, Problem> {
        let caller = match (headers.get(AUTHORIZATION), origin) {
            (Some(value), _) => {
                let text = value.to_str().ok().and_then(bearer).unwrap_or_default();
                Self::of_token(api, (text, counted(origin))).await?
            }
            (None, Origin::Remote(Remote { certificate: Some(certificate), .. })) => {
                Self::of_certificate(api, (certificate, counted(origin))).await?
            }
            (None, Origin::Remote(_)) => {
                api.access.pace(counted(origin))?;
                let detail = "nobody from elsewhere is let in without a token or a certificate";
                return Err(Problem::new(ProblemCode::Unauthenticated, detail)
                    .hint("`wharf access token create` makes a token"));
            }
            (None, Origin::Host(peer)) => Self::of_peer(api, need, (peer, headers)).await?,
        };
        // Our own client names itself.
        let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
        let is_cli = agent.is_some_and(|agent| agent.starts_with("wharf/"));
        let source = if is_cli { Source::Cli } else { Source::Api };
        let ip = match origin {
            Origin::Remote(remote) => Some(remote.ip),
            Origin::Host(_) => None,
        };
        let user_agent = agent.map(|agent| {
            let start: String = agent.chars().take(USER_AGENT_CHARS_MAX).collect();
            SafeText::new(start)
        });
        Ok(Self { source, ip, user_agent, ..caller })
    }

    /// Whoever the kernel vouches for.
    async fn of_peer(
        api: &Api,
        need: Need,
        (peer, headers): (Peer, &HeaderMap),
    ) -> Result<Self, Problem> {
        let names_place =
            headers.contains_key(super::WORKSPACE) || headers.contains_key(super::TENANT);
        if !api.gate.is_host(peer) {
            api.access.pace(Counted::User(peer.uid))?;
        }
        let is_above = matches!(
            need,
            Need::Platform(_)
                | Need::Known
                | Need::Member(Capability::RunbooksRun)
                | Need::Whole(Capability::AuditExport)
        );
        // Who runs the host can look at it while the store is away.
        let needs_records = !api.gate.is_host(peer) || names_place || is_above;
        let directory = match needs_records {
            true => api.access.directory().await?,
            false => Arc::default(),
        };
        let name = host::user_by_uid(peer.uid).name;
        let (principal, given) = of_host(api, peer, &name, &directory)?;
        Ok(Self::new(principal, directory, given, peer.uid))
    }

    /// Whoever holds a token. Their rights are those of its user within its ceiling, whoever brings
    /// it.
    async fn of_token(api: &Api, (text, source): (&str, Counted)) -> Result<Self, Problem> {
        let (directory, token) = api.access.prove(text, source).await?;
        let user = directory.user(token.user_id).ok_or(ProofError::Worthless)?.clone();
        let ceiling = Ceiling {
            workspace_id: token.workspace_id,
            capabilities: token.capabilities,
            reach: token.reach,
        };
        Ok(Self::of_user(api, directory, &user, (Via::Token(token.id), Some(ceiling))))
    }

    /// Whoever proved a client certificate.
    async fn of_certificate(
        api: &Api,
        (fingerprint, source): (Digest, Counted),
    ) -> Result<Self, Problem> {
        let (directory, user) = api.access.prove_certificate(fingerprint, source).await?;
        Ok(Self::of_user(api, directory, &user, (Via::Certificate(fingerprint), None)))
    }

    fn of_user(
        api: &Api,
        directory: Arc<Directory>,
        user: &User,
        (via, ceiling): (Via, Option<Ceiling>),
    ) -> Self {
        let is_member = user.kind == UserKind::Member;
        let principal = Principal {
            name: user.name.clone(),
            email: user.email.clone(),
            member: is_member.then_some(user.id),
            platform: (!is_member).then(|| directory.platform_identity(user, api.ambient.now())),
            via,
            ceiling,
        };
        // What a user of the host may read is not for somebody else's proof.
        let here = user.os_user.filter(|it| it.host_id == api.within.scope.host_id);
        let uid = here.map_or(NO_USER, |it| it.uid);
        Self::new(principal, directory, None, uid)
    }

    fn new(
        principal: Principal,
        directory: Arc<Directory>,
        given: Option<(WorkspaceId, Standing)>,
        uid: u32,
    ) -> Self {
        let source = Source::Api;
        Self { principal, directory, given, uid, source, ip: None, user_agent: None }
    }

    /// What they may do in a workspace, within the bounds of their token.
    pub(in crate::api) fn bounded(&self, workspace: WorkspaceId) -> Option<Standing> {
        let standing = self.standing(workspace)?;
        let Some(ceiling) = &self.principal.ceiling else { return Some(standing) };
        let is_here = ceiling.workspace_id.is_none_or(|id| id == workspace);
        is_here.then(|| Standing {
            capabilities: standing.capabilities.and(ceiling.capabilities),
            reach: standing.reach.and(&ceiling.reach),
        })
    }

    /// What they are in a workspace.
    pub(in crate::api) fn standing(&self, workspace: WorkspaceId) -> Option<Standing> {
        if let Some((given, standing)) = &self.given
            && *given == workspace
        {
            return Some(standing.clone());
        }
        self.directory.standing(self.principal.member?, workspace)
    }

    /// The workspace that they mean when they name none: the only one, or else the host's.
    pub(super) fn workspace(&self, home: &Scope) -> WorkspaceId {
        let ceiling = self.principal.ceiling.as_ref().and_then(|it| it.workspace_id);
        if let Some(workspace) = ceiling {
            return workspace;
        }
        let given = self.given.as_ref().map(|(workspace, _)| *workspace);
        let member = self.principal.member.unwrap_or(NOBODY);
        let mut own = self.directory.workspaces_of(member).map(|it| it.id);
        match (given, own.next(), own.next()) {
            (None, Some(only), None) => only,
            _ => home.workspace_id,
        }
    }

    /// Who asks, for runs and the audit log.
    pub(super) fn asker(&self, grant: Option<&Grant>) -> Asker {
        let user_id = grant.map(|it| it.user_id).or(self.principal.member);
        Asker {
            uid: self.uid,
            name: self.principal.name.clone(),
            email: self.principal.email.clone(),
            user_id: user_id.filter(|id| *id != NOBODY),
            platform: self.principal.platform.filter(|_| self.principal.is_above()),
            is_above: grant.is_some_and(|it| it.is_platform),
            source: self.source,
            ip: self.ip,
            user_agent: self.user_agent.clone(),
        }
    }
}

/// Who failures to prove something are counted against.
fn counted(origin: Origin) -> Counted {
    match origin {
        Origin::Host(peer) => Counted::Source(peer.uid),
        Origin::Remote(remote) => Counted::Address(remote.ip),
    }
}

/// Somebody whom the kernel vouches for.
fn of_host(
    api: &Api,
    peer: Peer,
    name: &str,
    directory: &Directory,
) -> Result<(Principal, Option<(WorkspaceId, Standing)>), Problem> {
    let home = &api.within.scope;
    let os_user = OsUser { host_id: home.host_id, uid: peer.uid };
    let member = directory.user_of_host(UserKind::Member, os_user);
    let platform = directory.user_of_host(UserKind::Platform, os_user);
    let is_host = api.gate.is_host(peer);
    if !is_host && [member, platform].into_iter().flatten().any(|it| it.disabled_at.is_some()) {
        return Err(refusal(name));
    }
    let (role, is_given) = match (is_host, member) {
        (true, _) => (Some(BuiltInRole::Owner.capabilities()), true),
        (false, Some(_)) => (None, false),
        (false, None) if api.gate.admits(peer) => {
            (group_role(api, home.workspace_id, directory), true)
        }
        (false, None) if platform.is_some() => (None, false),
        (false, None) => {
            tracing::warn!(uid = peer.uid, user = %name, "connection refused");
            return Err(refusal(name));
        }
    };
    let given = role.map(|capabilities| Standing { capabilities, reach: Reach::All });
    let stranger = if is_host { home.owner_id } else { NOBODY };
    // Who runs the host is the platform user of its first start.
    let first = || {
        let is_first = |it: &&User| it.kind == UserKind::Platform && !it.is_break_glass;
        directory.users.iter().find(is_first).filter(|_| is_host)
    };
    let identity = |user: &User| directory.platform_identity(user, api.ambient.now());
    let platform = platform.or_else(first);
    let record = member.or(platform);
    let platform: Option<PlatformIdentity> = platform.map(identity);
    let principal = Principal {
        name: record.filter(|_| !is_host).map_or(name, |it| &it.name).to_owned(),
        email: record.and_then(|it| it.email.clone()),
        member: match member.filter(|_| !is_host) {
            Some(user) => Some(user.id),
            None => is_given.then_some(stranger),
        },
        platform,
        via: Via::PeerCredentials { uid: peer.uid },
        ceiling: None,
    };
    Ok((principal, given.map(|standing| (home.workspace_id, standing))))
}

/// What members of the socket's group may do who have no record.
fn group_role(
    api: &Api,
    home: WorkspaceId,
    directory: &Directory,
) -> Option<crate::domain::access::CapabilitySet> {
    let Some(role) = api.gate.group_role else {
        return Some(BuiltInRole::Operator.capabilities());
    };
    let own = directory.roles.iter().filter(|it| it.workspace_id == home);
    let own: Vec<Role> = own.cloned().collect();
    Role::capabilities_of(role, &own)
}

/// The token of an `Authorization` header.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl From<ProofError> for Problem {
    fn from(error: ProofError) -> Self {
        let text = error.to_string();
        match error {
            ProofError::Worthless => Self::new(ProblemCode::Unauthenticated, text)
                .hint("it may be revoked or expired; `wharf access token create` makes one"),
            ProofError::Wait(pause) => {
                let seconds = u32::try_from(pause.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
                let problem = Self::new(ProblemCode::TooMany, text).hint("wait, then try again");
                Self { retry_after_seconds: Some(seconds.max(1)), ..problem }
            }
            ProofError::Store(source) => Self::from(source),
        }
    }
}

pub(super) fn refusal(user: &str) -> Problem {
    Problem::new(ProblemCode::Forbidden, format!("{user} may not use this agent"))
        .hint("become root, or a member of the group that owns the agent's socket")
}
