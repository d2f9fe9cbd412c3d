//! Decides who may do what. Owns workspaces, tenants, members, roles, tokens and the order of
//! authorization. Face: `decide`, `Principal`, `Need`, `Grant`, `Throttle`. Never looks anybody up:
//! what is known of them comes in.

mod capability;
mod decide;
mod directory;
mod members;
mod throttle;
mod token;

pub use capability::{BuiltInRole, Capability, CapabilitySet};
pub use decide::{
    Asked, Ceiling, Denied, Grant, Need, PlatformIdentity, Principal, Reach, Standing, Via, decide,
};
pub use directory::Directory;
pub use members::{
    Certificate, Elevation, Entitlement, Membership, OsUser, Reason, ReasonKind, Role, Stage,
    Tenant, TenantStatus, Token, User, UserKind, Workspace,
};
pub use throttle::{Allowance, Refused, Throttle};
pub use token::{TokenText, TokenTextError};
