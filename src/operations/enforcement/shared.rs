//! What every look at a container shares. Owns the settings in force and what is known of images.
//! Face: `SharedEnforcement`. Never keeps more images than the limit says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::base::limits::ENFORCEMENT_IMAGES_MAX;
use crate::domain::enforcement::{Rung, Settings};
use crate::facts::ImageFacts;
use crate::world::docker::{Engine, EngineError};

/// Hears that a container was dealt with, and how long after the event that told of it.
pub type DoneObserver = Arc<dyn Fn(Rung, Option<Duration>) + Send + Sync>;

/// How policies are enforced now; a reload of the configuration changes it. Cheap to clone, and all
/// clones are the same.
#[derive(Clone)]
pub struct SharedEnforcement(Arc<Inner>);

struct Inner {
    settings: RwLock<Settings>,
    /// The beginning of the id of the container that the agent itself runs in, if it does.
    own_container: Option<String>,
    observer: DoneObserver,
    /// Images never change under their id.
    images: Mutex<BTreeMap<String, Arc<ImageFacts>>>,
}

impl SharedEnforcement {
    /// So.
    pub fn new(settings: Settings, own_container: Option<String>) -> Self {
        Self::with(settings, own_container, Arc::new(|_, _| {}))
    }

    /// The same, with somebody who hears what was done.
    #[must_use]
    pub fn observed(self, observer: DoneObserver) -> Self {
        Self::with(self.settings(), self.0.own_container.clone(), observer)
    }

    fn with(settings: Settings, own_container: Option<String>, observer: DoneObserver) -> Self {
        let (settings, images) = (RwLock::new(settings), Mutex::default());
        Self(Arc::new(Inner { settings, own_container, observer, images }))
    }

    /// A container was dealt with, so long after what made it worth a look.
    pub(super) fn done(&self, rung: Rung, took: Option<Duration>) {
        (self.0.observer)(rung, took);
    }

    /// Nothing is ever done.
    pub fn off() -> Self {
        let settings = Settings {
            is_enabled: false,
            unmanaged: BTreeSet::new(),
            actions_max: 0,
            window: Duration::from_secs(1),
        };
        Self::new(settings, None)
    }

    /// Otherwise, for what is decided from now on.
    pub fn set(&self, settings: Settings) {
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// How it is now.
    pub fn settings(&self) -> Settings {
        self.0.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The container that the agent runs in.
    pub(super) fn own_container(&self) -> Option<&str> {
        self.0.own_container.as_deref()
    }

    /// An image by its id, asked for once.
    pub(super) async fn image(
        &self,
        engine: &dyn Engine,
        id: &str,
    ) -> Result<Option<Arc<ImageFacts>>, EngineError> {
        if let Some(known) = self.images().get(id) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(found) = engine.image(id).await?.map(Arc::new) else { return Ok(None) };
        let mut images = self.images();
        if images.len() >= ENFORCEMENT_IMAGES_MAX {
            images.clear();
        }
        images.insert(id.to_owned(), Arc::clone(&found));
        Ok(Some(found))
    }

    fn images(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<ImageFacts>>> {
        self.0.images.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
