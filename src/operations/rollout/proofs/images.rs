//! Pulling and building by themselves: what is fetched, what is told of it, and that no container is
//! touched.

use std::sync::Arc;

use super::*;
use crate::base::Digest;
use crate::domain::compose::dockerignore::context_digest;
use crate::domain::images::Standing;
use crate::domain::runs::{BuildChoices, ImageDetail, PullChoices};
use crate::operations::harness::{PROJECT, asker};
use crate::operations::projects::ProjectError;

impl Agent {
    async fn pull(&self, files: Option<&str>, choices: PullChoices) -> Ended {
        let files = files.map(bundle);
        let admitted = self.projects.pull(PROJECT, files.as_ref(), choices, &asker()).await;
        self.ended(admitted.unwrap().run().id).await
    }
}

/// An image under a name, as its registry tells of it.
fn version(name: &str, letter: &str) -> crate::facts::ImageFacts {
    let mut facts = image(name);
    let repository = name.rsplit_once(':').unwrap().0;
    facts.id = format!("sha256:{}", Digest::of(format!("{name}{letter}").as_bytes()));
    facts.digests = vec![format!("{repository}@sha256:{}", letter.repeat(64))];
    facts
}

fn told(ended: &Ended) -> Vec<String> {
    let short = |digest: &Option<String>| match digest {
        Some(digest) => digest[7..10].to_owned(),
        None => "-".to_owned(),
    };
    let each = ended.run.context.details.images.iter();
    let line = |detail: &ImageDetail| {
        let (before, after) = (short(&detail.before), short(&detail.after));
        format!("{} of {}: {before} {after}", detail.image, detail.services.join(" "))
    };
    each.map(line).collect()
}

fn count(ended: &Ended, key: &str) -> u64 {
    let found = ended.run.summary_counts.iter().find(|(known, _)| known.key() == key);
    found.map_or(0, |(_, count)| count)
}

#[tokio::test(start_paused = true)]
async fn images_are_pulled_although_they_are_there_and_no_container_changes() {
    let mut host = shop_host();
    for name in ["app:1", "db:1"] {
        host.engine.offer_image(name, version(name, "a"));
    }
    let agent = host.start().await;
    agent.up(SHOP).await.assert(Outcome::Succeeded);
    host.engine.offer_image("app:1", version("app:1", "b"));
    host.engine.forget_calls();
    let kept = agent.pull(None, PullChoices::default()).await;
    kept.assert(Outcome::Succeeded);
    assert_eq!(told(&kept), ["db:1 of db: aaa aaa", "app:1 of migrate web: aaa bbb"]);
    assert_eq!((count(&kept, "total"), count(&kept, "updated")), (2, 1));
    assert_eq!(written(&host.engine), ["pull_image", "pull_image"]);
    let missing = PullChoices { missing_only: true, ..PullChoices::default() };
    host.engine.forget_calls();
    agent.pull(Some(SHOP), missing).await.assert(Outcome::Succeeded);
    assert_eq!(written(&host.engine), [""; 0]);
    // What was pulled runs when somebody says so.
    agent.up(SHOP).await.assert(Outcome::Succeeded);
    assert!(written(&host.engine).contains(&"create_container"));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_had_fails_the_run_and_is_in_nobodys_way() {
    let files = "
services:
  one: { image: 'app:1' }
  two: { image: 'gone:1' }
  three: { image: 'db:1' }
";
    let mut host = Host::new();
    let agent = host.start().await;
    let pulled = agent.pull(Some(files), PullChoices::default()).await;
    pulled.assert(Outcome::PartiallySucceeded);
    let [(code, message)] = pulled.failures()[..] else { panic!("{:?}", pulled.failures()) };
    assert_eq!(code, "image.missing");
    assert!(message.contains("gone:1"), "{message}");
    let images = told(&pulled);
    assert!(images.contains(&"gone:1 of two: - -".to_owned()), "{images:?}");
    assert!(host.engine.image("db:1").await.unwrap().is_some());

    let forgiving = PullChoices { ignore_failures: true, ..PullChoices::default() };
    agent.pull(Some(files), forgiving).await.assert(Outcome::Succeeded);
    let only = PullChoices { services: vec!["two".to_owned()], ..PullChoices::default() };
    agent.pull(Some(files), only).await.assert(Outcome::Failed);
    // The agent keeps nothing of it.
    let scope = agent.store.scope().workspace_id;
    assert_eq!(agent.store.project(scope, PROJECT.to_owned()).await.unwrap(), None);
    let unknown = agent.projects.pull(PROJECT, None, PullChoices::default(), &asker()).await;
    assert!(matches!(unknown, Err(ProjectError::Unknown(_))), "{unknown:?}");
    let nobody = PullChoices { services: vec!["nobody".to_owned()], ..PullChoices::default() };
    let wrong = agent.projects.pull(PROJECT, Some(&bundle(files)), nobody, &asker()).await;
    assert!(matches!(wrong, Err(ProjectError::Preview(_))), "{wrong:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pull_outlives_the_agent_and_the_engine() {
    let mut host = Host::new();
    for name in ["app:1", "db:1"] {
        host.engine.offer_image(name, version(name, "a"));
    }
    let agent = host.start().await;
    host.engine.lose_answer("pull_image");
    let lost = agent.pull(Some(SHOP), PullChoices::default()).await;
    lost.assert(Outcome::Succeeded);
    assert!(lost.keys().len() > 2, "what was lost was pulled again: {:?}", lost.keys());

    host.engine.offer_image("app:1", version("app:1", "b"));
    host.engine.set_latency(Duration::from_millis(50));
    let files = bundle(SHOP);
    let run = agent.projects.pull(PROJECT, Some(&files), PullChoices::default(), &asker()).await;
    let run = run.unwrap().run().id;
    agent.steps_taken(run, 2).await;
    agent.kill().await;
    let agent = host.start().await;
    let ended = agent.ended(run).await;
    ended.assert(Outcome::Succeeded);
    assert!(ended.run.attempt > 1, "the agent died too late to prove anything");
    assert_eq!(told(&ended), ["db:1 of db: aaa aaa", "app:1 of migrate web: aaa bbb"]);
}

const BUILDS: &str = "
services:
  web: { build: { context: ., dockerfile_inline: 'FROM registry.example.org/base:1' } }
  db: { image: db:1 }
";

fn built(agent: &Agent) -> crate::domain::compose::Bundle {
    let archive = tar::Builder::new(Vec::new()).into_inner().unwrap();
    let digest = context_digest(&[]);
    agent.rollout.contexts.put(&digest, &archive).unwrap();
    bundle_with_context(BUILDS, digest)
}

#[tokio::test(start_paused = true)]
async fn images_are_built_with_the_logins_of_their_bases_and_nothing_is_started() {
    let mut host = super::logins::host();
    host.engine.offer_image("registry.example.org/base:1", image("registry.example.org/base:1"));
    let agent = host.start().await;
    let files = built(&agent);
    let build = |choices: BuildChoices| {
        let (agent, files) = (&agent, &files);
        async move {
            let admitted = agent.projects.build(PROJECT, Some(files), choices, &asker()).await;
            agent.ended(admitted.unwrap().run().id).await
        }
    };
    let refused = build(BuildChoices::default()).await;
    refused.assert(Outcome::Failed);
    assert_eq!(refused.failures()[0].0, "registry.denied", "{:?}", refused.failures());

    super::logins::log_in(&agent, "open sesame").await.unwrap();
    let done = build(BuildChoices::default()).await;
    done.assert(Outcome::Succeeded);
    assert_eq!(done.keys(), ["build_image:shop-web"]);
    assert_eq!(count(&done, "built"), 1);
    assert!(agent.containers().await.is_empty());
    let first = host.engine.image("shop-web").await.unwrap().unwrap().id;
    build(BuildChoices { pull: true, no_cache: true, ..BuildChoices::default() }).await;
    let second = host.engine.image("shop-web").await.unwrap().unwrap().id;
    assert_ne!(first, second, "it is built whenever somebody asks");
    let used = super::logins::told(&agent, crate::domain::audit::EventType::RegistryLoginUsed);
    assert_eq!(used.await, 2, "once for each run that built");

    // `up` takes what was built.
    host.engine.forget_calls();
    let id = agent.apply(&files, DeployChoices::default()).await;
    agent.ended(id).await.assert(Outcome::Succeeded);
    assert!(!written(&host.engine).contains(&"build_image"));
}

#[tokio::test(start_paused = true)]
async fn a_build_asks_for_a_newer_base_only_when_it_is_told_to() {
    let mut host = Host::new();
    let base = "registry.example.org/base:1";
    host.engine.offer_image(base, version(base, "a"));
    let agent = host.start().await;
    let files = Arc::new(built(&agent));
    let build = async |choices: BuildChoices| {
        let admitted = agent.projects.build(PROJECT, Some(&files), choices, &asker()).await;
        agent.ended(admitted.unwrap().run().id).await.assert(Outcome::Succeeded);
        host.engine.image(base).await.unwrap().unwrap().digests
    };
    let old = build(BuildChoices::default()).await;
    host.engine.offer_image(base, version(base, "b"));
    assert_eq!(build(BuildChoices::default()).await, old);
    let pull = BuildChoices { pull: true, ..BuildChoices::default() };
    assert_ne!(build(pull).await, old);
}

/// How the images stand, as `service: state`, and what is said of unknown ones.
async fn standings(agent: &Agent) -> Vec<String> {
    let rows = agent.projects.images(None).await.unwrap();
    let line = |row: &crate::operations::rollout::ImageRow| match &row.standing {
        Standing::Unknown { why } => format!("{}: {why}", row.instance.service),
        standing => format!("{}: {}", row.instance.service, standing.word()),
    };
    rows.iter().map(line).collect()
}

async fn check(agent: &Agent) -> Ended {
    let admitted = agent.projects.check_images(None, &asker()).await;
    agent.ended(admitted.unwrap().run().id).await
}

#[tokio::test(start_paused = true)]
async fn an_image_is_outdated_until_it_is_pulled_and_brought_up() {
    let files = "services: {one: {image: 'app:1'}, two: {image: 'db:1'}}";
    let mut host = Host::new();
    host.engine.offer_image("app:1", version("app:1", "a"));
    let agent = host.start().await;
    agent.up(files).await.assert(Outcome::Succeeded);
    host.engine.forbid("registry_digest");
    let unasked = "one: nobody has asked its registry: `wharf images --check` does";
    assert_eq!(standings(&agent).await, [unasked, "two: local"]);
    host.engine.allow_all();
    assert_eq!(agent.projects.outdated().await.unwrap(), BTreeMap::new());

    check(&agent).await.assert(Outcome::Succeeded);
    assert_eq!(standings(&agent).await, ["one: current", "two: local"]);
    host.engine.offer_image("app:1", version("app:1", "b"));
    host.engine.forbid("registry_digest");
    assert_eq!(standings(&agent).await, ["one: current", "two: local"], "nobody asked again");
    host.engine.allow_all();
    let checked = check(&agent).await;
    checked.assert(Outcome::Succeeded);
    assert_eq!(checked.keys(), ["ask_registry:app:1"]);
    assert_eq!((count(&checked, "total"), count(&checked, "outdated")), (1, 1));
    assert_eq!(standings(&agent).await, ["one: outdated", "two: local"]);
    assert_eq!(agent.projects.outdated().await.unwrap()[PROJECT], 1);

    agent.pull(None, PullChoices::default()).await;
    assert_eq!(standings(&agent).await, ["one: pulled_not_deployed", "two: local"]);
    agent.up(files).await.assert(Outcome::Succeeded);
    assert_eq!(standings(&agent).await, ["one: current", "two: local"]);
    assert_eq!(agent.projects.outdated().await.unwrap()[PROJECT], 0);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_away_makes_unknown_and_no_failure() {
    let files = "services: {one: {image: 'app:1'}}";
    let mut host = Host::new();
    host.engine.offer_image("app:1", version("app:1", "a"));
    let agent = host.start().await;
    agent.up(files).await.assert(Outcome::Succeeded);
    check(&agent).await;
    host.engine.fail_next("registry_digest", EngineErrorKind::ImageUnavailable);
    check(&agent).await.assert(Outcome::Succeeded);
    let [row] = &agent.projects.images(Some(PROJECT)).await.unwrap()[..] else { panic!() };
    assert!(matches!(row.standing, Standing::Unknown { .. }), "{row:?}");
    assert!(row.asked_at.is_some() && row.registry_digest.is_none(), "{row:?}");
    assert_eq!(agent.projects.outdated().await.unwrap()[PROJECT], 0);
    // What was said once does not count for ever.
    check(&agent).await;
    assert_eq!(standings(&agent).await, ["one: current"]);
    tokio::time::advance(crate::base::limits::IMAGE_ANSWER_AGE_MAX).await;
    assert!(standings(&agent).await[0].contains("nobody has asked"));
}

#[tokio::test(start_paused = true)]
async fn an_image_is_pulled_again_by_age_and_by_nobody_but_who_asks() {
    let files = "services: {one: {image: 'app:1', pull_policy: every_12h}}";
    let mut host = Host::new();
    let agent = host.start().await;
    agent.up(files).await.assert(Outcome::Succeeded);
    let again = agent.up(files).await;
    assert_eq!(again.keys(), [""; 0], "it was pulled just now");
    tokio::time::advance(Duration::from_secs(12 * 3600)).await;
    assert_eq!(agent.converge().await.keys(), [""; 0]);
    let files = bundle(files);
    let choices = DeployChoices::default();
    let plan = agent.projects.preview(PROJECT, &files, choices.clone(), &asker()).await.unwrap();
    assert!(plan.plan.to_string().contains("pull_policy is every 12h"), "{}", plan.plan);
    let id = agent.apply(&files, choices.clone()).await;
    assert_eq!(agent.ended(id).await.keys(), ["pull_image:app:1"]);
    let id = agent.apply(&files, choices.clone()).await;
    assert_eq!(agent.ended(id).await.keys(), [""; 0]);
    tokio::time::advance(Duration::from_secs(12 * 3600)).await;
    let pulled = agent.projects.pull(PROJECT, None, PullChoices::default(), &asker()).await;
    agent.ended(pulled.unwrap().run().id).await.assert(Outcome::Succeeded);
    let id = agent.apply(&files, choices).await;
    assert_eq!(agent.ended(id).await.keys(), [""; 0], "somebody pulled it by itself");
}
