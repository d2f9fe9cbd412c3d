//! Says which words `wharf access` understands. Owns its verbs, options and their help. Face:
//! `AccessVerb`. Never does anything.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::domain::access::Stage;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AccessVerb {
    /// Show who you are for the agent, and what you may do
    Whoami,
    /// List the members of the workspace
    Users {
        /// Every user of the store, below and above workspaces; for platform users
        #[arg(long)]
        all: bool,
    },
    /// Make a user and a member of the workspace; for platform users
    AddUser(UserAdd),
    /// Let nobody come in as a user any more, or let them again; for platform users
    DisableUser {
        /// The user's name
        name: String,
        /// Let them come in again
        #[arg(long)]
        undo: bool,
    },
    /// Change a member's role
    SetRole {
        /// The user's name or id
        user: String,
        /// The role's name; `wharf access roles` lists them
        role: String,
    },
    /// Let a member reach further tenants
    Grant(Reached),
    /// Let a member reach tenants no more
    Revoke(Reached),
    /// Take a user's membership of the workspace
    RevokeMembership {
        /// The user's name or id
        user: String,
    },
    /// List the roles and what they allow
    Roles,
    /// Make a role of the workspace's own, or change what it allows
    PutRole {
        /// The role's name
        name: String,
        /// What it allows, such as `runs.view`
        #[arg(value_name = "CAPABILITY", required = true)]
        capabilities: Vec<String>,
    },
    /// Remove a role of the workspace's own
    RmRole {
        /// The role's name
        name: String,
    },
    /// List the tenants that you reach
    Tenants,
    /// Make a tenant, or change its stage
    PutTenant {
        /// The tenant's name
        name: String,
        /// What it is for
        #[arg(long, value_enum, default_value_t = StageWord::Production)]
        stage: StageWord,
    },
    /// List the workspaces of the store; for platform users
    Workspaces,
    /// Make a workspace, rename it, or give it its first owner; for platform users
    PutWorkspace(WorkspaceChange),
    /// Make, list and revoke tokens
    #[command(subcommand)]
    Token(TokenVerb),
    /// Let client certificates stand for users; for platform users
    #[command(subcommand)]
    Certificate(CertificateVerb),
    /// Hold everything for a time, in an emergency; for platform users
    #[command(subcommand)]
    BreakGlass(GlassVerb),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct WorkspaceChange {
    /// The workspace's name
    pub name: String,
    /// Who owns it, by name or id; for one that nobody owns
    #[arg(long, value_name = "USER")]
    pub owner: Option<String>,
    /// What it is called from now on
    #[arg(long, value_name = "NAME")]
    pub rename: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CertificateVerb {
    /// Let a certificate stand for a user, below or above workspaces
    Add {
        /// The user's name or id
        user: String,
        /// The certificate in PEM form
        #[arg(value_name = "FILE", required_unless_present = "fingerprint")]
        file: Option<PathBuf>,
        /// SHA-256 of its DER form, when the file is elsewhere
        #[arg(long, value_name = "DIGITS", conflicts_with = "file")]
        fingerprint: Option<String>,
    },
    /// List the certificates
    Ls,
    /// Let a certificate stand for nobody any more
    Rm {
        /// The certificate's id
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum GlassVerb {
    /// Break it; those whom the alert rules name hear of it
    Start {
        /// Why
        #[arg(long, value_enum)]
        reason: ReasonWord,
        /// Why, in words
        #[arg(long, value_name = "TEXT")]
        text: String,
        /// For how many minutes, at the longest
        #[arg(long, value_name = "MINUTES", default_value_t = 60)]
        #[arg(value_parser = clap::value_parser!(u64).range(1..=480))]
        minutes: u64,
    },
    /// End what you hold so, or what somebody else does
    End {
        /// The platform user's name or id; you when left out
        user: Option<String>,
    },
    /// List the times that it was broken
    Ls,
}

/// Why the glass is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ReasonWord {
    /// Data is wrong and is put right
    DataRepair,
    /// Something is broken now
    Incident,
    /// Somebody asked for help
    Support,
    /// Something endangers the host or its data
    Security,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TokenVerb {
    /// Make a token; its text is printed this once
    Create(TokenCreate),
    /// List tokens, also those that are worth nothing any more
    Ls,
    /// Take a token's worth, from now on
    Revoke {
        /// The token's id
        id: String,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct UserAdd {
    /// The user's name
    pub name: String,
    /// Who connects to the socket as this user of the host is them; else the user of the same name
    #[arg(long, value_name = "NUMBER")]
    pub uid: Option<u32>,
    /// No user of the host is them: they come in with tokens
    #[arg(long, conflicts_with = "uid")]
    pub no_uid: bool,
    /// Their address
    #[arg(long, value_name = "ADDRESS")]
    pub email: Option<String>,
    /// Their role in the workspace
    #[arg(long, value_name = "ROLE", default_value = "viewer", conflicts_with = "platform")]
    pub role: String,
    /// A tenant that they reach, by name or id; can be given several times. All when none is given
    #[arg(long = "reach", value_name = "TENANT", conflicts_with = "platform")]
    pub tenants: Vec<String>,
    /// An operator of the agent itself, above workspaces
    #[arg(long)]
    pub platform: bool,
    /// One for emergencies: holds nothing until the glass is broken
    #[arg(long, requires = "platform")]
    pub break_glass: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Reached {
    /// The user's name or id
    pub user: String,
    /// The tenants, by name or id
    #[arg(value_name = "TENANT", required_unless_present = "all")]
    pub tenants: Vec<String>,
    /// All of them; what is granted so, reaches tenants of tomorrow too
    #[arg(long, conflicts_with = "tenants")]
    pub all: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TokenCreate {
    /// What it is for
    pub label: String,
    /// Whose it is: a member, by name or id
    #[arg(long, value_name = "USER")]
    pub user: String,
    /// The most it allows; can be given several times. All that its user may do when none is given
    #[arg(long = "allow", value_name = "CAPABILITY")]
    pub capabilities: Vec<String>,
    /// The most it reaches; can be given several times. All that its user reaches when none is given
    #[arg(long = "reach", value_name = "TENANT")]
    pub tenants: Vec<String>,
    /// How many days it lives
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=366))]
    pub days: u64,
}

/// What a tenant is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum StageWord {
    /// Trying things out
    Development,
    /// The last proof before production
    Staging,
    /// What people depend on
    Production,
}

impl StageWord {
    /// The stage.
    pub(in crate::cli) const fn stage(self) -> Stage {
        match self {
            Self::Development => Stage::Development,
            Self::Staging => Stage::Staging,
            Self::Production => Stage::Production,
        }
    }
}
