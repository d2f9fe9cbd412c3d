//! The verbs of access: `access …`. Owns their text. Face: `access`. Never prints a token's text but
//! once, when it was made.

use serde::Serialize;
use serde_json::json;

use super::client::{Client, encode};
use super::exit::{CliError, Exit};
use super::grammar::{
    AccessVerb, CertificateVerb, GlassVerb, Reached, ReasonWord, TokenCreate, TokenVerb, UserAdd,
};
use super::output::{Output, Table, ago};
use super::records::now;
use super::tunnel::certificates;
use crate::api::wire::{
    CertificateView, ElevationView, MemberView, Page, RoleView, TenantView, TokenMade, TokenView,
    UserView, WhoamiView, WorkspaceView,
};
use crate::base::{Digest, Timestamp};
use crate::world::host;

/// `wharf access …`.
pub(super) async fn access(
    client: &Client,
    verb: AccessVerb,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match verb {
        AccessVerb::Whoami => {
            let me: WhoamiView = client.get("/v1/access/me").await?;
            tell(&me, &whoami_text(&me), output)
        }
        AccessVerb::Users { all: false } => {
            let page: Page<MemberView> = client.get("/v1/access/members").await?;
            tell(&page, &members_text(&page.items), output)
        }
        AccessVerb::Users { all: true } => {
            let page: Page<UserView> = client.get("/v1/access/users").await?;
            tell(&page, &users_text(&page.items), output)
        }
        AccessVerb::AddUser(add) => add_user(client, add, output).await,
        AccessVerb::DisableUser { name, undo } => disable(client, &name, !undo, output).await,
        AccessVerb::SetRole { user, role } => {
            put_member(client, &user, &json!({ "role": role }), output).await
        }
        AccessVerb::Grant(reached) => change_reach(client, reached, true, output).await,
        AccessVerb::Revoke(reached) => change_reach(client, reached, false, output).await,
        AccessVerb::RevokeMembership { user } => {
            client.delete(&path("members", &user)).await?;
            done(&format!("{user} is no member any more"), output)
        }
        AccessVerb::Roles => {
            let page: Page<RoleView> = client.get("/v1/access/roles").await?;
            tell(&page, &roles_text(&page.items), output)
        }
        AccessVerb::PutRole { name, capabilities } => {
            let body = json!({ "capabilities": capabilities });
            let role: RoleView = client.replace(&path("roles", &name), &body).await?;
            tell(&role, &roles_text(std::slice::from_ref(&role)), output)
        }
        AccessVerb::RmRole { name } => {
            client.delete(&path("roles", &name)).await?;
            done(&format!("role {name} is removed"), output)
        }
        AccessVerb::Tenants => {
            let page: Page<TenantView> = client.get("/v1/access/tenants").await?;
            tell(&page, &tenants_text(&page.items), output)
        }
        AccessVerb::PutTenant { name, stage } => {
            let body = json!({ "stage": stage.stage() });
            let tenant: TenantView = client.replace(&path("tenants", &name), &body).await?;
            tell(&tenant, &tenants_text(std::slice::from_ref(&tenant)), output)
        }
        AccessVerb::Workspaces => {
            let page: Page<WorkspaceView> = client.get("/v1/platform/workspaces").await?;
            tell(&page, &workspaces_text(&page.items), output)
        }
        AccessVerb::PutWorkspace(change) => {
            let path = format!("/v1/platform/workspaces/{}", encode(&change.name));
            let body = json!({ "name": change.rename, "owner": change.owner });
            let put: WorkspaceView = client.replace(&path, &body).await?;
            if put.owners.is_empty() {
                output.note("nobody owns it: `wharf access put-workspace NAME --owner USER`");
            }
            tell(&put, &workspaces_text(std::slice::from_ref(&put)), output)
        }
        AccessVerb::Token(TokenVerb::Create(create)) => create_token(client, create, output).await,
        AccessVerb::Token(TokenVerb::Ls) => {
            let page: Page<TokenView> = client.get("/v1/access/tokens").await?;
            tell(&page, &tokens_text(&page.items), output)
        }
        AccessVerb::Token(TokenVerb::Revoke { id }) => {
            let path = format!("/v1/access/tokens/{}/revoke", encode(&id));
            let token: TokenView = client.post(&path, &json!({})).await?;
            tell(&token, &format!("token {} is worth nothing any more\n", token.label), output)
        }
        AccessVerb::Certificate(verb) => certificate(client, verb, output).await,
        AccessVerb::BreakGlass(verb) => break_glass(client, verb, output).await,
    }
}

fn path(kind: &str, name: &str) -> String {
    format!("/v1/access/{kind}/{}", encode(name))
}

fn tell(value: &impl Serialize, text: &str, output: &mut Output) -> Result<Exit, CliError> {
    match output.is_json() {
        true => output.json(value)?,
        false => output.text(text)?,
    }
    Ok(Exit::Success)
}

fn done(text: &str, output: &mut Output) -> Result<Exit, CliError> {
    match output.is_json() {
        true => output.json(&json!({}))?,
        false => output.line(text)?,
    }
    Ok(Exit::Success)
}

async fn add_user(client: &Client, add: UserAdd, output: &mut Output) -> Result<Exit, CliError> {
    let uid = match (add.uid, add.no_uid) {
        (Some(uid), _) => Some(uid),
        (None, true) => None,
        (None, false) => Some(host::uid_of(&add.name).ok_or_else(|| {
            CliError::new(Exit::Usage, format!("this host has no user {}", add.name))
                .hint("say with --uid which user of the host they are, or --no-uid")
        })?),
    };
    let kind = if add.platform { "platform" } else { "member" };
    let mut body = json!({ "kind": kind, "email": add.email, "os_uid": uid });
    if add.platform {
        body["is_break_glass"] = json!(add.break_glass);
    }
    let user: UserView = client.replace(&path("users", &add.name), &body).await?;
    if add.platform {
        return tell(&user, &users_text(std::slice::from_ref(&user)), output);
    }
    let tenants = (!add.tenants.is_empty()).then_some(add.tenants);
    put_member(client, &user.id, &json!({ "role": add.role, "tenants": tenants }), output).await
}

async fn disable(
    client: &Client,
    name: &str,
    is_disabled: bool,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let page: Page<UserView> = client.get("/v1/access/users").await?;
    let named = |it: &UserView| it.name == name || it.id == name;
    let user = page.items.into_iter().find(named).ok_or_else(|| {
        CliError::new(Exit::NotFound, format!("there is no user {name}"))
            .hint("`wharf access users --all` lists them")
    })?;
    let body = json!({
        "kind": user.kind,
        "email": user.email,
        "os_uid": user.os_uid,
        "is_disabled": is_disabled,
    });
    let user: UserView = client.replace(&path("users", &user.name), &body).await?;
    tell(&user, &users_text(std::slice::from_ref(&user)), output)
}

async fn certificate(
    client: &Client,
    verb: CertificateVerb,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match verb {
        CertificateVerb::Add { user, file, fingerprint } => {
            let fingerprint = match (file, fingerprint) {
                (Some(file), _) => {
                    Digest::of(certificates(&file)?.first().map_or(&[], |it| it)).to_string()
                }
                (None, given) => given.unwrap_or_default(),
            };
            let body = json!({ "user": user, "fingerprint": fingerprint });
            let made: CertificateView = client.post("/v1/access/certificates", &body).await?;
            tell(&made, &certificates_text(std::slice::from_ref(&made)), output)
        }
        CertificateVerb::Ls => {
            let page: Page<CertificateView> = client.get("/v1/access/certificates").await?;
            tell(&page, &certificates_text(&page.items), output)
        }
        CertificateVerb::Rm { id } => {
            client.delete(&path("certificates", &id)).await?;
            done("the certificate stands for nobody any more", output)
        }
    }
}

async fn break_glass(
    client: &Client,
    verb: GlassVerb,
    output: &mut Output,
) -> Result<Exit, CliError> {
    match verb {
        GlassVerb::Start { reason, text, minutes } => {
            let code = match reason {
                ReasonWord::DataRepair => "DATA_REPAIR",
                ReasonWord::Incident => "INCIDENT",
                ReasonWord::Support => "SUPPORT",
                ReasonWord::Security => "SECURITY",
            };
            let reason = json!({ "reason_code": code, "reason_text": text });
            let body = json!({ "reason": reason, "life_seconds": minutes * 60 });
            let made: ElevationView = client.post("/v1/access/break-glass", &body).await?;
            let until = made.expires_at.strftime("%H:%M:%S UTC");
            let text = format!(
                "you hold everything until {until}; `wharf access break-glass end` ends it\n"
            );
            tell(&made, &text, output)
        }
        GlassVerb::End { user } => {
            client.post_empty("/v1/access/break-glass/end", &json!({ "user": user })).await?;
            done("nothing is held by broken glass any more", output)
        }
        GlassVerb::Ls => {
            let page: Page<ElevationView> = client.get("/v1/access/break-glass").await?;
            tell(&page, &elevations_text(&page.items), output)
        }
    }
}

async fn put_member(
    client: &Client,
    user: &str,
    body: &serde_json::Value,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let member: MemberView = client.replace(&path("members", user), body).await?;
    tell(&member, &members_text(std::slice::from_ref(&member)), output)
}

/// Adds tenants to what a member reaches, or takes them away.
async fn change_reach(
    client: &Client,
    reached: Reached,
    is_granted: bool,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let Reached { user, tenants: named, all } = reached;
    if all {
        let tenants = (!is_granted).then(Vec::<String>::new);
        return put_member(client, &user, &json!({ "tenants": tenants }), output).await;
    }
    let members: Page<MemberView> = client.get("/v1/access/members").await?;
    let known: Page<TenantView> = client.get("/v1/access/tenants").await?;
    let is_named = |it: &&MemberView| it.name == user || it.user_id == user;
    let member = members.items.iter().find(is_named).ok_or_else(|| {
        CliError::new(Exit::NotFound, format!("{user} is no member"))
            .hint("`wharf access users` lists the members")
    })?;
    // Names and ids are the same tenant.
    let name = |text: &String| {
        let found = known.items.iter().find(|it| it.id == *text);
        found.map_or_else(|| text.clone(), |it| it.name.clone())
    };
    let named: Vec<String> = named.iter().map(name).collect();
    let all = || known.items.iter().map(|it| it.name.clone()).collect();
    let mut tenants: Vec<String> = match (&member.tenants, is_granted) {
        (Some(tenants), _) => tenants.clone(),
        // Who reaches all reaches these too.
        (None, true) => return tell(member, &members_text(std::slice::from_ref(member)), output),
        (None, false) => all(),
    };
    match is_granted {
        true => tenants.extend(named),
        false => tenants.retain(|tenant| !named.contains(tenant)),
    }
    put_member(client, &user, &json!({ "tenants": tenants }), output).await
}

async fn create_token(
    client: &Client,
    create: TokenCreate,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let body = json!({
        "label": create.label,
        "user": create.user,
        "capabilities": (!create.capabilities.is_empty()).then_some(create.capabilities),
        "tenants": (!create.tenants.is_empty()).then_some(create.tenants),
        "life_seconds": create.days * 24 * 3600,
    });
    let made: TokenMade = client.post("/v1/access/tokens", &body).await?;
    if output.is_json() {
        output.json(&made)?;
    } else {
        output.line(&made.token)?;
        output
            .note("this is the only time that the token is told: keep it in a file with mode 0600");
    }
    Ok(Exit::Success)
}

fn whoami_text(me: &WhoamiView) -> String {
    let via = me.via.replace('_', " ");
    let mut text = format!("{}, by {via}\n", me.name);
    if me.is_platform {
        text.push_str("an operator of the agent, above workspaces\n");
    }
    for here in &me.workspaces {
        let tenants = reach(here.tenants.as_deref());
        let may: Vec<&str> = here.capabilities.iter().map(|it| it.key()).collect();
        text.push_str(&format!("workspace {}, {tenants}: {}\n", here.workspace, may.join(" ")));
    }
    text
}

fn reach(tenants: Option<&[String]>) -> String {
    match tenants {
        None => "all tenants".to_owned(),
        Some([]) => "no tenant".to_owned(),
        Some(tenants) => tenants.join(", "),
    }
}

fn uid(uid: Option<u32>) -> String {
    uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string())
}

fn state(is_disabled: bool) -> String {
    if is_disabled { "shut out" } else { "active" }.to_owned()
}

fn members_text(members: &[MemberView]) -> String {
    let mut table = Table::new(&["USER", "ROLE", "REACHES", "UID", "STATE"]);
    for member in members {
        table.row([
            member.name.clone(),
            member.role.clone(),
            reach(member.tenants.as_deref()),
            uid(member.os_uid),
            state(member.is_disabled),
        ]);
    }
    table.render()
}

fn users_text(users: &[UserView]) -> String {
    let mut table = Table::new(&["USER", "KIND", "UID", "STATE", "ID"]);
    for user in users {
        let (kind, id) = (user.kind.clone(), user.id.clone());
        table.row([user.name.clone(), kind, uid(user.os_uid), state(user.is_disabled), id]);
    }
    table.render()
}

fn roles_text(roles: &[RoleView]) -> String {
    let mut text = String::new();
    for role in roles {
        let may: Vec<&str> = role.capabilities.iter().map(|it| it.key()).collect();
        let kind = if role.is_built_in { "" } else { " (own)" };
        text.push_str(&format!("{}{kind}: {}\n", role.name, may.join(" ")));
    }
    text
}

fn tenants_text(tenants: &[TenantView]) -> String {
    let mut table = Table::new(&["TENANT", "STAGE", "STATUS", "ID"]);
    for tenant in tenants {
        let (stage, status) = (tenant.stage.clone(), tenant.status.clone());
        table.row([tenant.name.clone(), stage, status, tenant.id.clone()]);
    }
    table.render()
}

fn workspaces_text(workspaces: &[WorkspaceView]) -> String {
    let mut table = Table::new(&["WORKSPACE", "OWNERS", "ID"]);
    for it in workspaces {
        let owners = match (it.is_platform, it.owners.as_slice()) {
            (true, _) => "the platform".to_owned(),
            (false, []) => "nobody".to_owned(),
            (false, owners) => owners.join(", "),
        };
        table.row([it.name.clone(), owners, it.id.clone()]);
    }
    table.render()
}

fn tokens_text(tokens: &[TokenView]) -> String {
    let now = now();
    let mut table = Table::new(&["LABEL", "USER", "REACHES", "MADE", "STATE", "ID"]);
    for token in tokens {
        table.row([
            token.label.clone(),
            token.user.clone(),
            reach(token.tenants.as_deref()),
            ago(Some(token.created_at), now),
            worth(token, now),
            token.id.clone(),
        ]);
    }
    table.render()
}

fn certificates_text(certificates: &[CertificateView]) -> String {
    let mut table = Table::new(&["USER", "FINGERPRINT", "ID"]);
    for it in certificates {
        table.row([it.user.clone(), it.fingerprint.clone(), it.id.clone()]);
    }
    table.render()
}

fn elevations_text(elevations: &[ElevationView]) -> String {
    let now = now();
    let mut table = Table::new(&["USER", "REASON", "STARTED", "STATE", "TEXT"]);
    for it in elevations {
        let state = match (it.holds, it.ended_at) {
            (true, _) => format!("until {}", it.expires_at.strftime("%H:%M:%S UTC")),
            (false, Some(at)) if at < it.expires_at => "ended".to_owned(),
            (false, _) => "over".to_owned(),
        };
        table.row([
            it.user.clone(),
            it.reason.reason_code.to_string(),
            ago(Some(it.started_at), now),
            state,
            it.reason.reason_text.clone(),
        ]);
    }
    table.render()
}

fn worth(token: &TokenView, now: Timestamp) -> String {
    match token.revoked_at {
        Some(_) => "revoked".to_owned(),
        None if token.expires_at <= now => "expired".to_owned(),
        None => format!("until {}", token.expires_at.strftime("%Y-%m-%d")),
    }
}
