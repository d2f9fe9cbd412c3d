//! Decides which images are built or pulled. Owns that rule. Face: `image_need`. Never fetches an
//! image that no container is made from, unless the service says so.

use std::time::Duration;

use super::judge::is_built_from;
use super::naming::image_reference;
use super::{Action, Cause, Contract, Observed, PlanError, PlanOptions, Trigger};
use crate::base::time::between;
use crate::facts::{ContainerFacts, ImageFacts, ProjectSpec, PullPolicy, ServiceUnit};

/// What is to be done for the image of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ImageNeed {
    /// Nothing.
    Nothing,
    /// Build or pull it.
    Fetch(Action, Cause),
}

/// The service, and what is known about it.
pub(super) struct Subject<'a> {
    pub(super) project: &'a ProjectSpec,
    pub(super) service: &'a str,
    pub(super) unit: &'a ServiceUnit,
    pub(super) contract: &'a Contract,
    /// Is a container made from the image by this plan?
    pub(super) is_used: bool,
}

/// What is to be done for the image of a service.
///
/// # Errors
/// When the image is not there and must not be pulled.
pub(super) fn image_need(
    subject: &Subject<'_>,
    observed: &Observed,
    options: &PlanOptions,
) -> Result<ImageNeed, PlanError> {
    let image = image_reference(subject.project, subject.service, subject.unit);
    if options.fresh_images.contains(&image) {
        return Ok(ImageNeed::Nothing);
    }
    let found = observed.images.get(&image);
    if subject.unit.build.is_some() {
        if options.rebuild {
            let service = subject.service.to_owned();
            return Ok(ImageNeed::Fetch(Action::BuildImage { service, image }, Cause::Requested));
        }
        return Ok(build_need(subject, observed, image, found));
    }
    let platform = subject.unit.spec.platform.clone();
    let fetch =
        |cause| ImageNeed::Fetch(Action::PullImage { image: image.clone(), platform }, cause);
    match (subject.unit.pull_policy, found) {
        (PullPolicy::Always, Some(_)) if options.trigger == Trigger::Explicit => {
            Ok(fetch(Cause::PullAlways))
        }
        (PullPolicy::Every { seconds }, Some(found)) if options.trigger == Trigger::Explicit => {
            let last = options.last_pulls.get(&image).copied().max(found.last_tagged_at);
            let is_fresh = last
                .zip(options.now)
                .is_some_and(|(last, now)| between(last, now) < Duration::from_secs(seconds));
            match is_fresh {
                true => Ok(ImageNeed::Nothing),
                false => Ok(fetch(Cause::PullDue { seconds, last })),
            }
        }
        (_, Some(_)) => Ok(ImageNeed::Nothing),
        _ if !subject.is_used => Ok(ImageNeed::Nothing),
        (PullPolicy::Never, None) => {
            Err(PlanError::ImageMissing { image, service: subject.service.to_owned() })
        }
        (_, None) => Ok(fetch(Cause::Missing)),
    }
}

fn build_need(
    subject: &Subject<'_>,
    observed: &Observed,
    image: String,
    found: Option<&ImageFacts>,
) -> ImageNeed {
    if !subject.is_used {
        return ImageNeed::Nothing;
    }
    let is_adopted = found.is_some_and(|found| is_noted_as_built(subject, observed, found));
    let cause = match found {
        Some(found) if is_adopted || is_built_from(subject.unit, found, false) => {
            return ImageNeed::Nothing;
        }
        Some(_) => Cause::ContextChanged,
        None => Cause::Missing,
    };
    ImageNeed::Fetch(Action::BuildImage { service: subject.service.to_owned(), image }, cause)
}

/// An image that somebody else built has no label of ours; a container of it that was adopted
/// under this very contract says that it is the image of these very files.
fn is_noted_as_built(subject: &Subject<'_>, observed: &Observed, image: &ImageFacts) -> bool {
    let is_adopted = |container: &ContainerFacts| {
        let record = observed.adoptions.get(&container.id);
        record.is_some_and(|record| record.hash == subject.contract.hash)
    };
    observed.containers.iter().any(|c| c.image_id == image.id && is_adopted(c))
}
