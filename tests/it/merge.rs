//! Merges by factory, and the load of a CI.

use serde_json::json;

use super::forge::label;
use super::forge_server::Fault;
use super::queue::{Factory, ago, change, every_call, id, judged, review, with, work};
use super::support::calm;

/// A pull that is approved and green.
fn approved(number: u64) -> Factory {
    let factory = Factory::new(&["harb"], "", "merge: factory");
    factory.forge("harb").set(|state| {
        state.pulls = vec![change(number, 31)];
        state.reviews = vec![review(1, "review-bot", "APPROVED", number)];
    });
    factory.cis["harb"].set(|state| state.pipelines = vec![judged(940, number, "success")]);
    factory
}

/// The forge knows of no protection, or of an older one.
#[test]
fn what_the_inventory_asks_of_a_branch_counts_whatever_its_forge_has() {
    let protection = "protection: {required_approvals: 2, status_checks: [ci/x]}";
    let factory = Factory::new(&["harb"], "forges: {facts: 2s}\n", &format!("merge: factory\n    {protection}"));
    factory.forge("harb").set(|state| {
        state.pulls = vec![change(41, 31)];
        state.reviews = vec![review(1, "review-bot", "APPROVED", 41)];
    });
    factory.cis["harb"].set(|state| state.pipelines = vec![judged(940, 41, "success")]);
    factory.run(&["run"]).code(0);
    assert_eq!(merges(&factory), [""; 0]);
    let shown = factory.run(&["queue"]).code(0).stdout;
    assert!(shown.contains("1 of 2 approvals"), "{shown}");
    factory.forge("harb").set(|state| {
        state.pulls[0]["updated_at"] = json!(ago(0));
        state.reviews.push(review(2, "anna", "APPROVED", 41));
    });
    factory.run(&["run"]).code(0);
    assert_eq!(merges(&factory), [""; 0]);
    let shown = factory.run(&["queue"]).code(0).stdout;
    assert!(shown.contains("the forge does not show it: ci/x"), "{shown}");
    factory.forge("harb").set(|state| {
        state.statuses = vec![json!({"sha": "head41", "context": "ci/x", "status": "success", "description": "",
            "created_at": ago(5), "updated_at": ago(5)})];
    });
    std::thread::sleep(std::time::Duration::from_millis(1100));
    factory.run(&["run"]).code(0);
    assert_eq!(merges(&factory).len(), 1);
}

/// Each repo's merge comes right after its own look.
#[test]
fn a_forge_that_dawdles_holds_up_no_merge_of_another() {
    let factory = Factory::new(&["harb", "slow"], "forges: {call: 12s, look: 15s}\n", "merge: factory");
    factory.run(&["run", "-q"]).code(0);
    factory.forge("harb").set(|state| {
        state.pulls = vec![change(41, 31)];
        state.reviews = vec![review(1, "review-bot", "APPROVED", 41)];
    });
    factory.cis["harb"].set(|state| state.pipelines = vec![judged(940, 41, "success")]);
    every_call(factory.forge("slow"), &Fault::Drip(std::time::Duration::from_secs(10)));
    let begun = std::time::Instant::now();
    let told = factory.run(&["run"]).code(0).stderr;
    assert!(begun.elapsed().as_secs() >= 12 && told.contains("harb: pull #41 (fix: it (#31)) was merged"), "{told}");
    let state = factory.forge("harb").state.lock().unwrap();
    let merge = state.seen.iter().find(|seen| seen.line.starts_with("POST")).unwrap();
    assert!(merge.at.duration_since(begun).as_secs() < 12, "{:?}", merge.at.duration_since(begun));
}

/// What the queue says of a merge is what the next tick does.
#[test]
fn a_merge_that_no_tick_would_do_is_not_now_and_says_why() {
    let not_now = |factory: &Factory, code: i32, why: &str| {
        let all = factory.json(&["queue"], code);
        assert_eq!(all["merges"], json!([]), "{why}");
        let waits = &all["waiting"][0];
        assert!(waits["number"] == 41 && waits["why"].as_str().unwrap().contains(why), "{why}: {all}");
        factory.run(&["run"]).code(0);
        assert_eq!(merges(factory), [""; 0], "{why}");
    };
    // Known before, since nothing is merged that was never seen.
    let known = || {
        let factory = approved(41);
        factory.run(&["halt", "--repo", "harb"]).code(0);
        factory.run(&["run"]).code(0);
        factory
    };
    let factory = known();
    not_now(&factory, 0, "a person holds the repo");
    factory.run(&["resume", "--repo", "harb"]).code(0);
    assert_eq!(factory.json(&["queue"], 0)["merges"][0]["why"], "by the next tick");
    every_call(factory.forge("harb"), &Fault::Status(502, vec![], ""));
    not_now(&factory, 4, "its forge does not answer");
    factory.forge("harb").set(|state| {
        state.faults.clear();
        state.token = b"new".to_vec();
    });
    not_now(&factory, 1, "nothing is done for the repo: refused with 401");
    factory.forge("harb").set(|state| state.token = b"good".to_vec());
    every_call(&factory.cis["harb"], &Fault::Status(502, vec![], ""));
    not_now(&factory, 4, "its CI does not answer");
    factory.cis["harb"].set(|state| state.faults.clear());
    std::fs::write(factory.place.state().join("ledger.db"), "it was one").unwrap();
    let all = factory.json(&["queue"], 0);
    assert!(all["merges"] == json!([]) && all["waiting"][0]["why"].as_str().unwrap().contains("the ledger"), "{all}");
}

/// The merges that were asked for.
fn merges(factory: &Factory) -> Vec<String> {
    let lines = factory.forge("harb").lines();
    lines.into_iter().filter(|line| line.starts_with("POST")).collect()
}

#[test]
fn an_approved_green_pull_is_merged_once_whatever_is_held_but_not_in_a_repo_that_a_person_holds() {
    let factory = approved(41);
    factory.run(&["run", "--check"]).code(0);
    assert_eq!(merges(&factory), [""; 0]);
    factory.run(&["halt", "--repo", "harb"]).code(0);
    factory.run(&["run"]).code(0);
    assert_eq!(merges(&factory), [""; 0], "a person holds the whole repo");
    factory.run(&["resume", "--repo", "harb"]).code(0);
    // Halting work is another thing.
    factory.run(&["halt", "--agent", "dev"]).code(0);
    let told = factory.run(&["run"]).code(0).stderr;
    assert!(told.contains("harb: pull #41 (fix: it (#31)) was merged"), "{told}");
    factory.run(&["run"]).code(0);
    assert_eq!(merges(&factory), ["POST /api/v1/repos/johba/harb/pulls/41/merge"]);
}

#[test]
fn what_the_forge_does_not_merge_is_not_merged_and_not_asked_again_at_once() {
    let factory = approved(41);
    factory.forge("harb").set(|state| (state.merge, state.merges) = ((405, "Not enough approvals"), false));
    let told = factory.run(&["run"]).code(0).stderr;
    assert!(told.contains("NOT merged") && told.contains("Not enough approvals"), "{told}");
    factory.run(&["run"]).code(0);
    assert_eq!(merges(&factory).len(), 1);
    let shown = factory.run(&["queue"]).code(0).stdout;
    assert!(shown.contains("merge") && shown.contains("the forge said no"), "{shown}");
    // Another head is another pull.
    factory.forge("harb").set(|state| {
        (state.merge, state.merges) = ((200, ""), true);
        state.pulls[0]["updated_at"] = json!(ago(0));
    });
    factory.run(&["run"]).code(0);
    assert_eq!(merges(&factory).len(), 2);
    assert_eq!(factory.forge("harb").state.lock().unwrap().pulls[0]["merged"], true);
}

#[test]
fn an_approval_that_was_taken_back_meanwhile_merges_nothing() {
    let factory = approved(41);
    factory.run(&["queue"]).code(0);
    // The pull itself does not change by it.
    factory.forge("harb").set(|state| state.reviews[0]["dismissed"] = json!(true));
    factory.run(&["run"]).code(0);
    assert_eq!(merges(&factory), [""; 0]);
    assert!(factory.run(&["queue"]).code(0).stdout.contains("needs a review"));
}

#[test]
fn the_load_of_a_ci_holds_what_makes_more_of_it() {
    let factory = Factory::new(&["harb"], "", "");
    factory.place.write("factory.yml", &calm("").replacen("policy: {", "policy: {ci: {pending_for: 1s}, ", 1));
    factory.cis["harb"].set(|state| {
        state.pipelines =
            (0..9).map(|n| with(judged(950 - n, 1, "pending"), json!({"started": 0, "finished": 0}))).collect();
    });
    let held = || {
        factory.run(&["run", "-q"]).code(0);
        let mut names: Vec<String> = std::fs::read_dir(factory.place.path("home/.factory/halt"))
            .map(|all| all.map(|file| file.unwrap().file_name().into_string().unwrap()).collect())
            .unwrap_or_default();
        names.sort();
        names
    };
    assert_eq!(held(), [""; 0]);
    std::thread::sleep(std::time::Duration::from_millis(1200));
    // It is judged at the second look, and counts from the next on: 9 pending on 2 workers is hard.
    held();
    assert_eq!(held(), ["dev@harb", "review@harb"]);
    let status = factory.run(&["status"]).code(0).stdout;
    assert!(status.contains("9 pipelines pending on 2 workers"), "{status}");
    // A CI that does not answer is not one without work.
    factory.cis["harb"].set(|state| state.faults = vec![Fault::Status(502, vec![], ""); 1].into());
    assert_eq!(held(), ["dev@harb", "review@harb"]);
    factory.cis["harb"].set(|state| state.pipelines.clear());
    held();
    assert_eq!(held(), [""; 0]);
}

#[test]
fn a_merge_of_which_nobody_knows_the_end_rests_and_is_told_at_the_third_time() {
    let factory = approved(41);
    factory.place.write("factory.yml", &calm("forges: {settled: 10s}\n"));
    let stuck = ("POST /api/v1/repos/johba/harb/pulls/41/merge", Fault::Status(500, vec![], ""));
    factory.forge("harb").set(|state| state.stuck = vec![stuck]);
    for tries in 1..=3 {
        let told = factory.run(&["run"]).code(0).stderr;
        assert_eq!(told.contains("is NOT merged") && told.contains("status 500"), tries == 3, "{tries}: {told}");
        // Right after it nothing is tried.
        factory.run(&["run"]).code(0);
        let why = factory.json(&["queue"], 0)["merges"][0]["why"].as_str().unwrap().to_owned();
        assert!(why.starts_with("whether it was merged is not known: no answer"), "{why}");
        assert_eq!(merges(&factory).len(), tries);
        std::thread::sleep(std::time::Duration::from_millis(10_100));
    }
    factory.forge("harb").set(|state| state.stuck.clear());
    let told = factory.run(&["run"]).code(0).stderr;
    assert!(told.contains("was merged"), "{told}");
}

#[test]
fn a_badge_that_was_red_is_read_again() {
    let factory = approved(41);
    factory.place.write("factory.yml", &calm("forges: {facts: 2s}\n"));
    let status = |state: &str| json!({"sha": "head41", "context": "lint", "status": state, "description": "", "created_at": ago(5), "updated_at": ago(5)});
    factory.forge("harb").set(|state| {
        state.protections = vec![json!({
            "rule_name": "master", "required_approvals": 1, "enable_status_check": true, "status_check_contexts": ["lint"],
        })];
        state.statuses = vec![status("failure")];
    });
    factory.run(&["run"]).code(0);
    assert!(factory.run(&["queue"]).code(0).stdout.contains("the forge does not show it: lint"));
    // It was run again; the pull does not change by that.
    factory.forge("harb").set(|state| state.statuses = vec![status("success")]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    factory.run(&["run"]).code(0);
    assert_eq!(merges(&factory).len(), 1);
}

#[test]
fn what_was_merged_and_left_open_is_not_begun_again() {
    let factory = approved(41);
    factory.forge("harb").set(|state| {
        state.labels = ["backlog", "in-progress"].map(|name| label(id(name), name)).to_vec();
        let issue = work(31, &["in-progress"], "");
        state.issues = vec![with(issue, json!({"assignees": [{"id": 7, "login": "dev-bot"}]}))];
    });
    factory.run(&["run"]).code(0);
    assert_eq!(merges(&factory).len(), 1);
    factory.forge("harb").set(|state| state.pulls.clear());
    factory.run(&["run"]).code(0);
    let shown = factory.run(&["queue"]).code(0).stdout;
    assert!(shown.contains("pull #41 was merged for it"), "{shown}");
    // Somebody wants more; forges tell whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    factory
        .forge("harb")
        .set(|state| state.issues = vec![with(work(31, &["backlog"], ""), json!({"updated_at": ago(0)}))]);
    let shown = factory.run(&["queue"]).code(0).stdout;
    assert!(shown.contains("ready"), "{shown}");
}
