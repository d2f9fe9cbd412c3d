//! What was found before planning. Owns `Observed`, the options of a plan, and what is
//! known about a container's end. Face: the types. Never filled here: `operations` reads the engine.

use std::collections::{BTreeMap, BTreeSet};

use super::Contract;
use crate::base::keyed::keyed;
use crate::base::{Digest, Timestamp};
use crate::facts::{ContainerFacts, ImageFacts, NetworkFacts, VolumeFacts};

/// Everything a plan depends on, read in one bounded set of calls.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The id of the agent that looks.
    pub owner: String,
    /// Containers that carry the project's name in Compose's label, one-off ones included.
    pub containers: Vec<ContainerFacts>,
    /// Networks of the project, and declared external ones, by name on the engine.
    pub networks: BTreeMap<String, NetworkFacts>,
    /// Further networks of the project under a name that another one has. An engine accepts a
    /// second network of the same name when two creations overlap: an agent that was killed leaves
    /// a request behind, and the engine works on it while the next attempt looks.
    pub surplus_networks: Vec<NetworkFacts>,
    /// Volumes of the project, and declared ones, by name on the engine.
    pub volumes: BTreeMap<String, VolumeFacts>,
    /// Anonymous volumes that exist and that an earlier removal was about to remove: it may have
    /// ended between a container and its volumes.
    pub doomed_volumes: BTreeSet<String>,
    /// Images by the reference that was asked for; an absent key is an absent image.
    pub images: BTreeMap<String, ImageFacts>,
    /// Ids of containers of others, by a name that the project needs.
    pub name_holders: BTreeMap<String, String>,
    /// Containers that somebody else made and this agent keeps, by id: the contract that each was
    /// found to fulfil, which our labels would name if a container could be given labels later.
    pub adoptions: BTreeMap<String, Contract>,
    /// How containers ended, by id, as far as somebody watched.
    pub exits: BTreeMap<String, Exit>,
    /// Services whose mounted files are not all on the host.
    pub files_missing: BTreeSet<String>,
    /// Containers that enforcement keeps from running as declared, by id, and what it did. The agent
    /// leaves them so by itself; whoever asks for the project lifts it.
    pub held_back: BTreeMap<String, String>,
}

keyed! {
    /// How a container ended.
    pub enum Exit: "kind of exit" {
        /// Its program ended.
        OnItsOwn = "on_its_own",
        /// Somebody stopped or killed it.
        ByHand = "by_hand",
        /// The engine, or its host, stopped.
        WithTheEngine = "with_the_engine",
    }
}

/// Who wants the plan, which decides how much may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Trigger {
    /// A person or program asked to bring the project up.
    #[default]
    Explicit,
    /// The agent keeps what was applied before.
    Convergence,
}

/// What is asked for besides the declaration.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// Who wants it.
    pub trigger: Trigger,
    /// Only these services and what they depend on; `None` is all.
    pub services: Option<BTreeSet<String>>,
    /// Containers of services that are not declared any more are removed, if they are ours.
    pub remove_orphans: bool,
    /// Containers that somebody else made with Compose may be adopted or replaced.
    pub adopt: bool,
    /// Containers that another agent made are replaced; otherwise they stand in the way.
    pub take_over: bool,
    /// Containers are replaced even when nothing changed.
    pub force_recreate: bool,
    /// Volumes that are made anew when they are declared differently, by their keys in the project:
    /// their data is lost.
    pub recreate_volumes: BTreeSet<String>,
    /// Images are built even when one of the same files exists.
    pub rebuild: bool,
    /// End only when what was started is healthy.
    pub wait_healthy: bool,
    /// Services that exist but whose profile is not active: neither wanted nor orphans.
    pub inactive_services: BTreeSet<String>,
    /// When it is planned; none where nobody asks for what is due.
    pub now: Option<Timestamp>,
    /// When images were pulled last, by name, as far as is known.
    pub last_pulls: BTreeMap<String, Timestamp>,
    /// Images built or pulled since the run began: they are not fetched again.
    pub fresh_images: BTreeSet<String>,
    /// Containers made since the run began, by id: they are not replaced for `force_recreate`.
    pub fresh_containers: BTreeSet<String>,
    /// Containers of which this run found that they do not come to be as they have to, by id.
    pub given_up: BTreeSet<String>,
    /// Containers that this run started and whose `post_start` hooks have not all ended, by id: the
    /// index of the first one.
    pub hooks_due: BTreeMap<String, usize>,
    /// Replacements that failed by themselves and were taken back, by service: what
    /// [`Contract::attempt`] says of them. The agent does not try them again by itself.
    pub failed_attempts: BTreeMap<String, Digest>,
}

impl PlanOptions {
    /// What `up` does when nothing else is said.
    pub fn explicit() -> Self {
        Self {
            trigger: Trigger::Explicit,
            services: None,
            remove_orphans: true,
            adopt: true,
            take_over: false,
            force_recreate: false,
            recreate_volumes: BTreeSet::new(),
            rebuild: false,
            wait_healthy: true,
            inactive_services: BTreeSet::new(),
            now: None,
            last_pulls: BTreeMap::new(),
            fresh_images: BTreeSet::new(),
            fresh_containers: BTreeSet::new(),
            given_up: BTreeSet::new(),
            hooks_due: BTreeMap::new(),
            failed_attempts: BTreeMap::new(),
        }
    }

    /// What the agent does on its own.
    pub fn convergence() -> Self {
        Self { trigger: Trigger::Convergence, adopt: false, ..Self::explicit() }
    }
}

impl Observed {
    /// Takes in the project's networks. Of several with one name the one in use is kept, else the
    /// one with the lowest id, so that every look keeps the same.
    pub fn add_networks(&mut self, mut found: Vec<NetworkFacts>) {
        let used: BTreeSet<&str> = self
            .containers
            .iter()
            .flat_map(|container| container.addresses.values())
            .map(|address| address.network_id.as_str())
            .collect();
        found.sort_by(|a, b| {
            let rank = |network: &NetworkFacts| !used.contains(network.id.as_str());
            (rank(a), &a.id).cmp(&(rank(b), &b.id))
        });
        for network in found {
            if self.networks.contains_key(&network.name) {
                self.surplus_networks.push(network);
            } else {
                self.networks.insert(network.name.clone(), network);
            }
        }
    }

    /// The contract that a container was made from or adopted under; `None` for one that is not
    /// ours.
    pub fn contract_of(&self, container: &ContainerFacts) -> Option<Contract> {
        if self.other_owner(container).is_some() {
            return None;
        }
        Contract::from_labels(container).or_else(|| self.adoptions.get(&container.id).cloned())
    }

    /// Did this agent make or adopt it?
    pub fn is_ours(&self, container: &ContainerFacts) -> bool {
        self.contract_of(container).is_some()
    }
}
