//! Lists the controls of the CIS Docker Benchmark 1.6 that speak of daemons, files, images and
//! containers. Owns why some of them are decided by no check. Face: `CONTROLS`, `deciders`. Never
//! says that a control is decided: the checks do.

use super::{CHECKS, CheckId, HOST_CHECKS};

/// One control.
#[derive(Debug, Clone, Copy)]
pub struct Control {
    /// Its number.
    pub number: &'static str,
    /// What it asks for, in our words.
    pub title: &'static str,
    /// Why no check decides it; empty when one does.
    pub undecided: &'static str,
}

/// The checks that decide a control.
pub fn deciders(number: &str) -> Vec<CheckId> {
    let of_services = CHECKS.iter().map(|check| (check.id, check.cis));
    let of_hosts = HOST_CHECKS.iter().map(|check| (check.id, check.cis));
    let all = of_services.chain(of_hosts);
    all.filter(|(_, cis)| cis.contains(&number)).map(|(id, _)| id).collect()
}

const fn decided(number: &'static str, title: &'static str) -> Control {
    Control { number, title, undecided: "" }
}

const fn undecided(number: &'static str, title: &'static str, why: &'static str) -> Control {
    Control { number, title, undecided: why }
}

/// Of a Dockerfile.
const OF_BUILD: &str = "it is about how the image is built: nothing of it is left to see";
/// Of `docker exec`.
const OF_EXEC: &str =
    "it is a request to a container that runs, and no fact of it: events tell of it";

/// Sections 2 to 5.
pub const CONTROLS: &[Control] = &[
    undecided(
        "2.1",
        "Run the daemon as a user other than root, if possible",
        "what else runs on the host decides whether it is possible; `host_userns_remap` \
         passes for an engine without root",
    ),
    decided("2.2", "Restrict traffic between containers on the default bridge"),
    decided("2.3", "Set the logging level to `info`"),
    decided("2.4", "Let the daemon change the firewall"),
    decided("2.5", "Use no insecure registries"),
    decided("2.6", "Do not use the storage driver `aufs`"),
    decided("2.7", "Configure TLS for the daemon"),
    decided("2.8", "Set default process limits"),
    decided("2.9", "Enable user namespaces"),
    decided("2.10", "Use the default control group"),
    decided("2.11", "Do not change the base device size"),
    decided("2.12", "Authorise calls of the client"),
    decided("2.13", "Log to a central, remote place"),
    decided("2.14", "Keep containers from new privileges"),
    decided("2.15", "Enable live restore"),
    decided("2.16", "Disable the userland proxy"),
    decided("2.17", "Apply a seccomp profile to the whole daemon"),
    decided("2.18", "Use no experimental features"),
    decided("3.1", "Owner of docker.service"),
    decided("3.2", "Permissions of docker.service"),
    decided("3.3", "Owner of docker.socket"),
    decided("3.4", "Permissions of docker.socket"),
    decided("3.5", "Owner of /etc/docker"),
    decided("3.6", "Permissions of /etc/docker"),
    decided("3.7", "Owner of registry certificates"),
    decided("3.8", "Permissions of registry certificates"),
    decided("3.9", "Owner of the TLS certificate authority"),
    decided("3.10", "Permissions of the TLS certificate authority"),
    decided("3.11", "Owner of the TLS certificate"),
    decided("3.12", "Permissions of the TLS certificate"),
    decided("3.13", "Owner of the TLS key"),
    decided("3.14", "Permissions of the TLS key"),
    decided("3.15", "Owner of the daemon's socket"),
    decided("3.16", "Permissions of the daemon's socket"),
    decided("3.17", "Owner of daemon.json"),
    decided("3.18", "Permissions of daemon.json"),
    decided("3.19", "Owner of /etc/default/docker"),
    decided("3.20", "Permissions of /etc/default/docker"),
    decided("3.21", "Owner of /etc/sysconfig/docker"),
    decided("3.22", "Permissions of /etc/sysconfig/docker"),
    decided("3.23", "Owner of containerd's socket"),
    decided("3.24", "Permissions of containerd's socket"),
    decided("4.1", "Create a user for the container"),
    decided("4.2", "Use trusted base images"),
    undecided(
        "4.3",
        "Install no unnecessary packages",
        "which packages are needed is known to people",
    ),
    undecided(
        "4.4",
        "Scan images and rebuild them with repairs",
        "it takes a scanner and its data",
    ),
    decided("4.5", "Enable content trust"),
    decided("4.6", "Add HEALTHCHECK to the image"),
    undecided("4.7", "Do not use update instructions alone", OF_BUILD),
    undecided(
        "4.8",
        "Remove setuid and setgid permissions",
        "it takes a look at each file of the image",
    ),
    undecided("4.9", "Use COPY instead of ADD", OF_BUILD),
    undecided(
        "4.10",
        "Store no secrets in Dockerfiles",
        "what a Dockerfile leaves in the environment fails `environment_secrets`; the \
         rest is not left to see",
    ),
    undecided("4.11", "Install verified packages only", OF_BUILD),
    undecided("4.12", "Validate signed artifacts", "it takes the keys that somebody trusts"),
    decided("5.1", "Do not enable swarm mode, if not needed"),
    decided("5.2", "Enable an AppArmor profile"),
    decided("5.3", "Set SELinux security options"),
    decided("5.4", "Restrict kernel capabilities"),
    decided("5.5", "Use no privileged containers"),
    decided("5.6", "Mount no sensitive directories of the host"),
    decided("5.7", "Run no sshd in containers"),
    decided("5.8", "Map no privileged ports"),
    decided("5.9", "Open only needed ports"),
    decided("5.10", "Do not share the host's network namespace"),
    decided("5.11", "Limit memory"),
    decided("5.12", "Set CPU priority"),
    decided("5.13", "Mount the root file system read-only"),
    decided("5.14", "Bind incoming traffic to an interface"),
    decided("5.15", "Set the restart policy to `on-failure` with at most 5"),
    decided("5.16", "Do not share the host's process namespace"),
    decided("5.17", "Do not share the host's IPC namespace"),
    decided("5.18", "Expose no devices of the host"),
    decided("5.19", "Overwrite default process limits only if needed"),
    decided("5.20", "Do not set mount propagation to shared"),
    decided("5.21", "Do not share the host's UTS namespace"),
    decided("5.22", "Do not disable the default seccomp profile"),
    undecided("5.23", "Do not use docker exec with --privileged", OF_EXEC),
    undecided("5.24", "Do not use docker exec with --user=root", OF_EXEC),
    decided("5.25", "Confirm the control group"),
    decided("5.26", "Restrict containers from additional privileges"),
    decided("5.27", "Check health at run time"),
    decided("5.28", "Use the latest version of images"),
    decided("5.29", "Limit the number of processes"),
    decided("5.30", "Do not use docker0"),
    decided("5.31", "Do not share the host's user namespaces"),
    decided("5.32", "Do not mount the engine's socket"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_control_is_decided_by_a_check_or_says_why_not() {
        for control in CONTROLS {
            let checks = deciders(control.number);
            assert_ne!(
                checks.is_empty(),
                control.undecided.is_empty(),
                "{} {}: {checks:?}",
                control.number,
                control.title
            );
        }
    }

    #[test]
    fn no_control_is_left_out() {
        let numbers: BTreeSet<&str> = CONTROLS.iter().map(|control| control.number).collect();
        assert_eq!(numbers.len(), CONTROLS.len(), "each is listed once");
        for (section, last) in [(2, 18), (3, 24), (4, 12), (5, 32)] {
            for number in 1..=last {
                assert!(
                    numbers.contains(format!("{section}.{number}").as_str()),
                    "{section}.{number}"
                );
            }
        }
        let of_services = CHECKS.iter().flat_map(|check| check.cis);
        for number in of_services.chain(HOST_CHECKS.iter().flat_map(|check| check.cis)) {
            assert!(numbers.contains(number), "{number}");
        }
    }
}
