//! Compares a declared network with the one on the engine. Owns the rule when a network has to be
//! made again. Face: `network_differences`, `volume_differences`. Never compares what was not
//! declared.

use crate::facts::{IpamPool, NetworkFacts, NetworkSpec, VolumeFacts, VolumeSpec, labels};

/// The engine's driver when none is declared.
const DRIVER_DEFAULT: &str = "bridge";
/// The driver of volumes when none is declared.
const VOLUME_DRIVER_DEFAULT: &str = "local";

/// Names of the fields in which the network is not as declared.
pub(super) fn network_differences(spec: &NetworkSpec, found: &NetworkFacts) -> Vec<String> {
    let driver = spec.driver.as_deref().unwrap_or(DRIVER_DEFAULT);
    let mut fields = Vec::new();
    let mut check = |name: &str, is_same: bool| {
        if !is_same {
            fields.push(name.to_owned());
        }
    };
    check("driver", driver == "default" || driver == found.driver);
    let options = &spec.driver_options;
    check("driver_opts", options.iter().all(|(k, v)| found.driver_options.get(k) == Some(v)));
    check("internal", spec.internal == found.internal);
    check("attachable", spec.attachable == found.attachable);
    check("enable_ipv6", spec.enable_ipv6.is_none_or(|wanted| wanted == found.enable_ipv6));
    let user_labels = labels::without_bookkeeping(&found.labels);
    check("labels", spec.labels.iter().all(|(k, v)| user_labels.get(k) == Some(v)));
    if let Some(ipam) = &spec.ipam {
        let wanted = ipam.driver.as_deref().unwrap_or("default");
        check("ipam.driver", wanted == found.ipam.driver.as_deref().unwrap_or("default"));
        let has_pool =
            |pool: &IpamPool| found.ipam.pools.iter().any(|f| is_pool_as_declared(pool, f));
        check("ipam.config", ipam.pools.iter().all(has_pool));
    }
    fields
}

fn is_pool_as_declared(spec: &IpamPool, found: &IpamPool) -> bool {
    let same =
        |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
    same(&spec.subnet, &found.subnet)
        && same(&spec.ip_range, &found.ip_range)
        && same(&spec.gateway, &found.gateway)
        && spec.aux_addresses.iter().all(|(k, v)| found.aux_addresses.get(k) == Some(v))
}

/// Names of the fields in which the volume is not as declared. It is kept nevertheless.
pub(super) fn volume_differences(spec: &VolumeSpec, found: &VolumeFacts) -> Vec<String> {
    let driver = spec.driver.as_deref().unwrap_or(VOLUME_DRIVER_DEFAULT);
    let mut fields = Vec::new();
    if driver != found.driver {
        fields.push("driver".to_owned());
    }
    if spec.driver_options.iter().any(|(k, v)| found.driver_options.get(k) != Some(v)) {
        fields.push("driver_opts".to_owned());
    }
    fields
}
