//! Makes and removes volumes. Owns the calls on them. Face: one function per call. Never decides
//! whose data may go.

use std::collections::BTreeMap;

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{ListVolumesOptions, RemoveVolumeOptions};

use super::failure::absent;
use super::request::{label_filters, merged, segment};
use super::session::Connection;
use super::{EngineError, read_others};
use crate::facts::{VolumeFacts, VolumeSpec};

pub(super) async fn list(
    connection: &Connection,
    label: Option<(&str, &str)>,
) -> Result<Vec<VolumeFacts>, EngineError> {
    let call = connection.read("list volumes", |session| async move {
        let options = ListVolumesOptions { filters: label_filters(label) };
        session.docker.list_volumes(Some(options)).await
    });
    let listed = call.await?.volumes.unwrap_or_default();
    Ok(listed.into_iter().map(read_others::volume).collect())
}

pub(super) async fn find(
    connection: &Connection,
    name: &str,
) -> Result<Option<VolumeFacts>, EngineError> {
    let attempt = format!("inspect volume {name}");
    let name = segment(&attempt, name)?;
    let call = connection
        .read(&attempt, |session| async move { absent(session.docker.inspect_volume(name).await) });
    Ok(call.await?.map(read_others::volume))
}

pub(super) async fn create(
    connection: &Connection,
    spec: &VolumeSpec,
    bookkeeping: &BTreeMap<String, String>,
) -> Result<(), EngineError> {
    let request = VolumeCreateRequest {
        name: Some(spec.name.clone()),
        driver: spec.driver.clone(),
        driver_opts: merged(&spec.driver_options, &BTreeMap::new()),
        labels: merged(&spec.labels, bookkeeping),
        ..VolumeCreateRequest::default()
    };
    let attempt = format!("create volume {}", spec.name);
    let call = connection
        .write(&attempt, |session| async move { session.docker.create_volume(request).await });
    call.await.map(drop)
}

pub(super) async fn remove(connection: &Connection, name: &str) -> Result<(), EngineError> {
    let attempt = format!("remove volume {name}");
    let name = segment(&attempt, name)?;
    let call = connection.write(&attempt, |session| async move {
        session.docker.remove_volume(name, None::<RemoveVolumeOptions>).await
    });
    call.await
}
