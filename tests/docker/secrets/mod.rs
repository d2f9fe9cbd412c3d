//! Secrets wherever somebody may give the agent one: in files of a project, files that are refused,
//! receivers, words of hosted programs, requests that are malformed. None of them may be found in
//! anything that the agent tells or keeps in the open, in whatever encoding.

mod garden;
mod give;
mod harvest;

use crate::support::agent::{Agent, wait_until};
use crate::support::engine;
use crate::support::project::Project;

use garden::Garden;
use harvest::Harvest;

/// Secrets for each place.
const EACH: usize = 20;

#[test]
fn no_planted_secret_comes_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut agent = Agent::new(folder.path(), &engine::socket(), "log: {level: debug}\n");
    agent.start();
    let mut garden = Garden::default();
    let mut harvest = Harvest::default();
    // Kept until all is read: its runs are, too.
    let project = give::to_a_project(&agent, &mut garden, &mut harvest);
    give::to_files_that_are_refused(&agent, &mut garden, &mut harvest);
    give::to_receivers(&agent, &mut garden, &mut harvest);
    give::to_words_of_programs(&agent, &mut garden, &mut harvest);
    give::to_reasons(&agent, &mut garden, &mut harvest);
    give::to_access(&agent, &mut garden, &mut harvest);
    give::to_requests_that_are_malformed(&agent, &mut garden, &mut harvest);
    wait_until("all messages were tried", || {
        let sent = agent.json(&["alert", "ls"]);
        let tried = |it: &serde_json::Value| it["attempts"].as_u64() > Some(0);
        sent["items"].as_array().is_some_and(|items| !items.is_empty() && items.iter().all(tried))
    });
    harvest.everything(&agent);
    let found = garden.find(&harvest);
    println!(
        "{} secrets at {} places, {} patterns in {} texts of {} bytes: {} found",
        garden.len(),
        garden.places().len(),
        garden.patterns().len(),
        harvest.len(),
        harvest.bytes(),
        found.len()
    );
    assert!(garden.len() >= 500, "{} secrets are too few", garden.len());
    assert!(found.is_empty(), "{}", found.join("\n"));
    drop(project);

    // One that is no secret to the agent, because it stands where none belongs, is found.
    let mut open = Garden::default();
    let word = open.word("the name of an image");
    let compose =
        format!("services:\n  web: {{image: 'wharfopen/{word}:1', pull_policy: never}}\n");
    let project = Project::new("wharfopen", &compose);
    let mut harvest = Harvest::default();
    harvest.output("up", &agent.on(&project, "up", &[]));
    harvest.everything(&agent);
    let found = open.find(&harvest).join("\n");
    for place in ["up", "/v1/runs/", "log", "wharf.db"] {
        assert!(found.contains(&format!("in {place}")), "nothing is found in {place}:\n{found}");
    }
}
