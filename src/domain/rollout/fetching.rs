//! Plans that images are pulled or built and nothing else. Owns which services' images are meant.
//! Face: `plan_pull`, `plan_build`. Never touches a container, and never fetches an image twice.

use std::collections::{BTreeMap, BTreeSet};

use super::drafting::Draft;
use super::naming::image_reference;
use super::{Action, Cause, Plan, PlanError, PlanErrors, graph};
use crate::facts::{ImageFacts, ProjectSpec, PullPolicy};

/// Which images are pulled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullOptions {
    /// Only of these services; `None` is all.
    pub services: Option<BTreeSet<String>>,
    /// What these services depend on, too.
    pub include_deps: bool,
    /// Images that can be built, too, when they have a name of their own.
    pub include_buildable: bool,
    /// Only images that are not there.
    pub missing_only: bool,
    /// Images that were dealt with, well or not: they are left out.
    pub done: BTreeSet<String>,
}

/// Which images are built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildOptions {
    /// Only of these services; `None` is all.
    pub services: Option<BTreeSet<String>>,
    /// What these services depend on, too.
    pub include_deps: bool,
    /// Images that were dealt with, well or not: they are left out.
    pub done: BTreeSet<String>,
}

/// The steps that pull the images of services, whether they are there or not.
///
/// # Errors
/// A service that the project does not declare.
pub fn plan_pull(
    desired: &ProjectSpec,
    found: &BTreeMap<String, ImageFacts>,
    options: &PullOptions,
) -> Result<Plan, PlanErrors> {
    let services = meant(desired, options.services.as_ref(), options.include_deps)?;
    let mut draft = Draft::default();
    let mut planned = options.done.clone();
    for service in services {
        let Some(unit) = desired.services.get(service) else { continue };
        let image = image_reference(desired, service, unit);
        if unit.build.is_some() && (unit.spec.image.is_empty() || !options.include_buildable) {
            draft.notice("buildable", service, "its image is built; `wharf build` builds it");
            continue;
        }
        if matches!(unit.pull_policy, PullPolicy::Never | PullPolicy::Build) {
            draft.notice("not_pulled", service, "its `pull_policy` says that nothing is pulled");
            continue;
        }
        if options.missing_only && found.contains_key(&image) {
            draft.notice("present", service, "its image is on this host");
            continue;
        }
        if planned.insert(image.clone()) {
            let platform = unit.spec.platform.clone();
            draft.add(
                Action::PullImage { image: image.clone(), platform },
                image,
                Cause::Requested,
            );
        }
    }
    Ok(draft.finish(&desired.name))
}

/// The steps that build the images of services that are built.
///
/// # Errors
/// A service that the project does not declare, or services that wait for each other.
pub fn plan_build(desired: &ProjectSpec, options: &BuildOptions) -> Result<Plan, PlanErrors> {
    let services = meant(desired, options.services.as_ref(), options.include_deps)?;
    let mut draft = Draft::default();
    let mut planned = options.done.clone();
    for service in services {
        let Some(unit) = desired.services.get(service) else { continue };
        if unit.build.is_none() {
            if options.services.as_ref().is_some_and(|asked| asked.contains(service)) {
                draft.notice("not_built", service, "its image is not built; `wharf pull` pulls it");
            }
            continue;
        }
        let image = image_reference(desired, service, unit);
        if planned.insert(image.clone()) {
            let service = service.to_owned();
            let action = Action::BuildImage { service, image: image.clone() };
            draft.add(action, image, Cause::Requested);
        }
    }
    Ok(draft.finish(&desired.name))
}

/// The services that are meant, dependencies first.
fn meant<'a>(
    desired: &'a ProjectSpec,
    asked: Option<&BTreeSet<String>>,
    include_deps: bool,
) -> Result<Vec<&'a str>, PlanErrors> {
    let unknown = asked.into_iter().flatten().filter(|s| !desired.services.contains_key(*s));
    let unknown: Vec<_> =
        unknown.map(|service| PlanError::UnknownService { service: service.clone() }).collect();
    if !unknown.is_empty() {
        return Err(PlanErrors(unknown));
    }
    let mut order = graph::dependency_order(desired)
        .map_err(|services| PlanErrors(vec![PlanError::DependencyCycle { services }]))?;
    if let Some(asked) = asked {
        let meant = match include_deps {
            true => graph::closure(desired, asked),
            false => asked.clone(),
        };
        order.retain(|service| meant.contains(*service));
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{BuildSpec, Condition, Dependency, ServiceUnit};

    /// `name image`, with `+` for a service that is built.
    fn project(services: &[&str]) -> ProjectSpec {
        let mut spec = ProjectSpec { name: "shop".to_owned(), ..ProjectSpec::default() };
        for service in services {
            let (name, image) = service.split_once(' ').unwrap();
            let build = image.starts_with('+').then(BuildSpec::default);
            let mut unit = ServiceUnit { build, ..ServiceUnit::default() };
            unit.spec.image = image.trim_start_matches('+').to_owned();
            spec.services.insert(name.to_owned(), unit);
        }
        spec
    }

    fn depends(spec: &mut ProjectSpec, service: &str, on: &str) {
        let condition = Condition::ServiceStarted;
        let dependency = Dependency { condition, required: true, restart: false };
        let unit = spec.services.get_mut(service).unwrap();
        unit.depends_on.insert(on.to_owned(), dependency);
    }

    fn asked(services: &[&str]) -> Option<BTreeSet<String>> {
        Some(services.iter().map(|name| (*name).to_owned()).collect())
    }

    fn shop() -> ProjectSpec {
        let mut spec = project(&["web app:1", "job app:1", "db db:1", "api +", "tool +tool:1"]);
        depends(&mut spec, "web", "db");
        depends(&mut spec, "web", "api");
        spec
    }

    #[track_caller]
    fn check(plan: Result<Plan, PlanErrors>, expect: &[&str], notes: &[&str]) {
        let plan = plan.unwrap();
        let steps = plan.steps.iter();
        let steps: Vec<_> =
            steps.map(|step| format!("{} {}", step.action.title(), step.subject)).collect();
        assert_eq!(steps, expect);
        let found = plan.notices.iter();
        let found: Vec<_> = found.map(|note| format!("{} {}", note.code, note.subject)).collect();
        assert_eq!(found, notes);
    }

    #[test]
    fn each_image_is_pulled_once_and_what_is_built_is_left_to_the_builder() {
        let shop = shop();
        let pull = |options| plan_pull(&shop, &BTreeMap::new(), &options);
        let built = ["buildable api", "buildable tool"];
        check(pull(PullOptions::default()), &["pull image db:1", "pull image app:1"], &built);
        let include_buildable = PullOptions { include_buildable: true, ..PullOptions::default() };
        let all = ["pull image db:1", "pull image app:1", "pull image tool:1"];
        check(pull(include_buildable), &all, &["buildable api"]);
        let web = PullOptions { services: asked(&["web"]), ..PullOptions::default() };
        check(pull(web.clone()), &["pull image app:1"], &[]);
        let deps = PullOptions { include_deps: true, ..web.clone() };
        check(pull(deps), &["pull image db:1", "pull image app:1"], &["buildable api"]);
        let done = PullOptions { done: ["app:1".to_owned()].into(), ..web };
        check(pull(done), &[], &[]);
        let unknown = PullOptions { services: asked(&["nobody"]), ..PullOptions::default() };
        assert_eq!(pull(unknown).unwrap_err().0.len(), 1);
    }

    #[test]
    fn what_is_there_is_pulled_too_unless_only_what_is_missing_is_asked_for() {
        let mut spec = project(&["web app:1", "db db:1", "own own:1"]);
        spec.services.get_mut("own").unwrap().pull_policy = PullPolicy::Never;
        let found = BTreeMap::from([("app:1".to_owned(), ImageFacts::default())]);
        let pull = |options| plan_pull(&spec, &found, &options);
        let both = ["pull image db:1", "pull image app:1"];
        check(pull(PullOptions::default()), &both, &["not_pulled own"]);
        let missing = PullOptions { missing_only: true, ..PullOptions::default() };
        check(pull(missing), &["pull image db:1"], &["not_pulled own", "present web"]);
    }

    #[test]
    fn images_of_services_that_are_built_are_built_and_nothing_else() {
        let shop = shop();
        let build = |options| plan_build(&shop, &options);
        let both = ["build image shop-api", "build image tool:1"];
        check(build(BuildOptions::default()), &both, &[]);
        let web = BuildOptions { services: asked(&["web"]), ..BuildOptions::default() };
        check(build(web.clone()), &[], &["not_built web"]);
        let deps = BuildOptions { include_deps: true, ..web };
        check(build(deps), &["build image shop-api"], &["not_built web"]);
        let done = BuildOptions { done: ["tool:1".to_owned()].into(), ..BuildOptions::default() };
        check(build(done), &["build image shop-api"], &[]);
    }
}
