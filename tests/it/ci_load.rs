//! A repo whose CI has too much to do: what is held for it on the hosts, beside all else. The ledger is told of the load here,
//! as a source of such loads would have it told.

use factory::ledger::{Change, Ledger};
use factory::policy::ci_load::{CiStanding, CiState};
use factory::policy::severity::Level;

use super::order;
use super::support::{CALM, Place, nowhere};

const REPOS: &str = "repos: {harb: {slug: a/harb, ci: none}, web: {slug: a/web, ci: none}}\n";

fn place() -> Place {
    let agents = "agents: {dev: {command: [sleep, '1234'], needs: {memory: 1MiB, cpu: 0.01}}}\n";
    let place = Place::new(&[("factory.yml", &format!("{CALM}{agents}")), ("repos.yml", &nowhere(REPOS))]);
    let home = place.path("one").display().to_string();
    place
        .write("hosts.yml", &format!("all: {{hosts: {{one: {{ansible_connection: local, factory_home: {home}}}}}}}\n"));
    place.run(&["run"]).code(0);
    place
}

/// Makes the CI of `harb` this bad.
fn load(place: &Place, level: Level) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ledger = Ledger::open(&place.state()).unwrap();
    let state = CiState { pending: level, ..CiState::default() };
    let standing = CiStanding { state, since: Some(jiff::Timestamp::now()), why: "9 pipelines pending".to_owned() };
    let change = ledger.change(|old| {
        let mut document = old.unwrap().clone();
        document.ci.insert("harb".to_owned(), standing.clone());
        Ok(Change::To(document, ()))
    });
    runtime.block_on(change).unwrap();
}

fn names(place: &Place) -> Vec<String> {
    place.run(&["run"]).code(0);
    order::files(&place.path("one")).into_keys().collect()
}

#[test]
fn a_repo_whose_ci_is_short_is_held_alone_dev_first_and_beside_what_people_hold() {
    let place = place();
    load(&place, Level::Soft);
    assert_eq!(names(&place), ["dev@harb"]);
    let line = order::files(&place.path("one"))["dev@harb"].clone();
    assert!(line.starts_with("auto ladder-ci ") && line.contains("9%20pipelines%20pending"), "{line}");
    let launch = |repo: &str| place.run(&["launch", "--host", "one", "--repo", repo, "--agent", "dev"]);
    let refused = launch("harb").code(6).stderr;
    assert!(refused.contains("held by pressure") && refused.contains("9 pipelines pending"), "{refused}");
    let status = place.run(&["status"]).code(0).stdout;
    assert!(status.contains("harb: dev agents are held for its CI") && status.contains("9 pipelines"), "{status}");
    let token = launch("web").code(0).stdout;

    // Nobody says how the CI is: it stays as it was.
    load(&place, Level::Hard);
    assert_eq!(names(&place), ["dev@harb", "review@harb"]);
    place.run(&["halt", "--repo", "harb", "--agent", "dev"]).code(0);
    load(&place, Level::Ok);
    assert_eq!(names(&place), ["dev@harb"]);
    assert!(order::files(&place.path("one"))["dev@harb"].starts_with("manual "), "a person's stays");
    place.run(&["resume", "--repo", "harb"]).code(0);
    assert_eq!(names(&place), [""; 0]);
    place.run(&["stop", token.trim(), "--now"]).code(0);
}
