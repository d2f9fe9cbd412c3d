//! Fills the store of a configuration with findings of the form before lifecycles, for proofs and
//! demonstrations. Owns nothing. Face: `plant_findings`. Never touches a store that an agent works
//! on: its folder is locked.

use std::sync::Arc;

use super::agent::{crash_points, open_store};
use super::config::Config;
use super::{RunError, state_dir};
use crate::api::metrics::Metrics;
use crate::base::Ambient;
use crate::base::ids::EventId;
use crate::domain::audit::{Actor, AuditEvent, EventContext, EventType, Outcome};
use crate::domain::findings::Legacy;
use crate::domain::redaction::SafeText;
use crate::store::keys::Keys;
use crate::store::{FindingWrite, Write};
use crate::world::clock::SystemClock;
use crate::world::host::SystemEntropy;

/// Makes so many tenants with so many findings each. Answers what a backfill will find.
///
/// # Errors
/// When the store cannot be opened, or does not take them: some tenants may be there then.
pub async fn plant_findings(
    config: &Config,
    tenants: u64,
    findings: u64,
) -> Result<Legacy, RunError> {
    state_dir::prepare(&config.state_dir).map_err(RunError::StateDir)?;
    let ambient = Ambient {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        crash_points: crash_points()?,
    };
    let keys = Keys::open_or_create(&config.state_dir, &*ambient.entropy);
    let keys = keys.map_err(RunError::Store)?;
    let metrics = Arc::new(Metrics::new().map_err(RunError::Metrics)?);
    // The next agent seals what is written here.
    let commits = Arc::default();
    let (store, _) = open_store(config, &keys, &ambient, (&metrics, &commits)).await?;
    let workspace_id = store.scope().workspace_id;
    // Another series each time, so that it can be done again.
    let series = u32::try_from(ambient.entropy.next_u64() >> 32).unwrap_or_default();
    let legacy = Legacy { workspace_id, series, findings, at: ambient.now() };
    for number in 0..tenants {
        let tenant = legacy.tenant(number);
        let event = AuditEvent {
            id: EventId::generate(&*ambient.clock, &*ambient.entropy),
            workspace_id,
            tenant_id: Some(tenant.id),
            event_type: EventType::FindingsPlanted,
            summary: SafeText::new(format!(
                "{findings} old findings were made for {}",
                tenant.name
            )),
            outcome: Outcome::Success,
            actor: Actor::agent(),
            target: None,
            operation_run_id: None,
            context: EventContext::default(),
            occurred_at: ambient.now(),
        };
        let findings = legacy.rows(number).collect();
        let insert = FindingWrite::Insert { tenant: Box::new(tenant), findings };
        let done = store.commit(vec![Write::Finding(insert)], event.into()).await;
        done.map_err(RunError::Store)?;
    }
    store.close().await.map_err(RunError::Store)?;
    Ok(legacy)
}
