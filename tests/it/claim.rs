//! Claims of issues on their forge: written, read back, compared.

use serde_json::json;

use super::forge::label;
use super::forge_server::Fault;
use super::queue::{Factory, every_call, id, work};

/// A repo with an agent that works on issues, and one issue.
pub fn claimable() -> Factory {
    let agents = "agents: {dev: {command: [sleep, '4321'], needs: {memory: 1MiB, cpu: 0.01}}}\nguard: {kill_after: 1s}\nforges: {claimed: 100ms}\n";
    let factory = Factory::new(&["harb"], agents, "");
    factory.forge("harb").set(|state| {
        state.labels = ["backlog", "in-progress", "blocked", "bug"].map(|name| label(id(name), name)).to_vec();
        state.issues = vec![work(12, &["backlog"], "")];
    });
    factory
}

const LAUNCH: [&str; 9] = ["launch", "--host", "this", "--repo", "harb", "--agent", "dev", "--issue", "12"];

/// The labels and the assignees of the issue.
fn issue_is(factory: &Factory) -> (Vec<String>, Vec<String>) {
    let state = factory.forge("harb").state.lock().unwrap();
    let names = |field: &str, key: &str| {
        let all = state.issues[0][field].as_array().into_iter().flatten();
        all.map(|one| one[key].as_str().unwrap().to_owned()).collect()
    };
    (names("labels", "name"), names("assignees", "login"))
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|one| (*one).to_owned()).collect()
}

#[test]
fn a_launch_claims_its_issue_on_the_forge_and_a_run_that_is_gone_leaves_an_orphan() {
    let factory = claimable();
    let token = factory.run(&LAUNCH).code(0).stdout;
    assert_eq!(issue_is(&factory), (words(&["in-progress"]), words(&["dev-bot"])));
    factory.run(&["run", "-q"]).code(0);
    let shown = factory.run(&["queue"]).code(0).stdout;
    assert!(shown.contains("a run works on it, or may"), "{shown}");
    // The same task again: the claim of the first one stays.
    let again = factory.run(&LAUNCH).code(1).stderr;
    assert!(again.contains("is worked on already"), "{again}");
    assert_eq!(issue_is(&factory), (words(&["in-progress"]), words(&["dev-bot"])));
    factory.run(&["stop", token.trim(), "--now"]).code(0);
    factory.run(&["run", "-q"]).code(0);
    let shown = factory.run(&["queue"]).code(0).stdout;
    assert!(shown.contains("begun before, and nobody works on it any more"), "{shown}");
}

#[test]
fn an_issue_that_somebody_else_has_is_not_launched_and_stays_as_it_is() {
    type Change = fn(&mut super::forge_server::State);
    let ways: [(&str, Change); 5] = [
        ("it is assigned to anna", |state| state.issues[0]["assignees"] = json!([{"id": 4, "login": "anna"}])),
        ("it is closed", |state| state.issues[0]["state"] = json!("closed")),
        ("who began it is not known", |state| state.issues[0]["labels"] = json!([label(6, "in-progress")])),
        ("it is labelled blocked", |state| {
            state.issues[0]["labels"] = json!([label(5, "backlog"), label(7, "blocked")])
        }),
        ("has no label `in-progress`", |state| drop(state.labels.remove(1))),
    ];
    for (why, change) in ways {
        let factory = claimable();
        factory.forge("harb").set(change);
        let before = issue_is(&factory);
        let refused = factory.run(&LAUNCH).code(1).stderr;
        assert!(refused.contains("harb#12 cannot be claimed") && refused.contains(why), "{refused}");
        assert_eq!(issue_is(&factory), before, "{why}");
        assert!(factory.run(&["ps"]).code(0).stdout.lines().count() < 2, "{why}");
        // The task is free again: with the cause away the next launch is the first.
        factory.forge("harb").set(|state| {
            state.labels = ["backlog", "in-progress", "blocked"].map(|name| label(id(name), name)).to_vec();
            state.issues = vec![work(12, &["backlog"], "")];
        });
        let token = factory.run(&LAUNCH).code(0).stdout;
        factory.run(&["stop", token.trim(), "--now"]).code(0);
    }
}

#[test]
fn who_was_faster_keeps_the_issue_and_an_answer_that_does_not_come_launches_nothing() {
    // Between what we wrote and what we read back, anna took it.
    let factory = claimable();
    factory.forge("harb").set(|state| state.race = Some("anna"));
    let refused = factory.run(&LAUNCH).code(1).stderr;
    assert!(refused.contains("it is assigned to anna now"), "{refused}");
    assert_eq!(issue_is(&factory).1, words(&["anna"]));
    // A forge that answers from before the write: nobody knows whose it is.
    let factory = claimable();
    factory.forge("harb").set(|state| state.stale = true);
    let refused = factory.run(&LAUNCH).code(1).stderr;
    assert!(refused.contains("cannot be claimed"), "{refused}");
    assert!(factory.run(&["ps"]).code(0).stdout.lines().count() < 2);
    let factory = claimable();
    every_call(factory.forge("harb"), &Fault::Status(502, vec![], ""));
    let refused = factory.run(&LAUNCH).code(4).stderr;
    assert!(refused.contains("status 502"), "{refused}");
    assert!(factory.run(&["ps"]).code(0).stdout.lines().count() < 2);
}

/// Between our look at the issue and what we write there are calls, and waits for them.
#[test]
fn a_label_that_a_person_sets_meanwhile_stays_and_one_that_says_stop_is_heard() {
    for (after, left) in [("PATCH", ["backlog", "blocked"]), ("POST", ["blocked", "backlog"])] {
        let factory = claimable();
        factory.forge("harb").set(|state| state.adds = Some((after, id("blocked"))));
        let refused = factory.run(&LAUNCH).code(1).stderr;
        assert!(refused.contains("harb#12 cannot be claimed: it is labelled blocked"), "{refused}");
        assert_eq!(issue_is(&factory), (words(&left), words(&[])), "{after}");
        assert!(factory.run(&["ps"]).code(0).stdout.lines().count() < 2);
    }
    // Another one is none of our business.
    let factory = claimable();
    factory.forge("harb").set(|state| state.adds = Some(("PATCH", id("bug"))));
    let token = factory.run(&LAUNCH).code(0).stdout;
    assert_eq!(issue_is(&factory), (words(&["bug", "in-progress"]), words(&["dev-bot"])));
    factory.run(&["stop", token.trim(), "--now"]).code(0);
}

#[test]
fn a_launch_that_the_host_refuses_leaves_the_issue_as_it_was() {
    let factory = claimable();
    factory.forge("harb").set(|state| state.adds = Some(("PATCH", id("bug"))));
    // Of a hold that only the host knows.
    factory.run(&["run", "-q"]).code(0);
    std::fs::create_dir_all(factory.place.path("home/.factory/halt")).unwrap();
    std::fs::write(factory.place.path("home/.factory/halt/dev"), "").unwrap();
    let refused = factory.run(&LAUNCH);
    assert_eq!(refused.code, Some(6), "{}", refused.stderr);
    // With what a person has set meanwhile.
    assert_eq!(issue_is(&factory), (words(&["bug", "backlog"]), words(&[])));
}

#[test]
fn a_launch_that_was_cut_off_before_its_issue_was_claimed_never_begins() {
    let factory = claimable();
    factory.run(&["run", "-q"]).code(0);
    let stuck = ("PATCH /api/v1/repos/johba/harb/issues/12", Fault::Late(std::time::Duration::from_secs(60)));
    factory.forge("harb").set(|state| state.stuck = vec![stuck]);
    let mut launch = factory.place.command(&LAUNCH).stderr(std::process::Stdio::null()).spawn().unwrap();
    super::support::until("it claims the issue", || {
        factory.forge("harb").lines().iter().any(|line| line.starts_with("PATCH")).then_some(())
    });
    launch.kill().unwrap();
    launch.wait().unwrap();
    factory.forge("harb").set(|state| {
        state.stuck.clear();
        // Somebody else takes it.
        state.issues[0]["assignees"] = json!([{"id": 4, "login": "anna"}]);
    });
    let told = factory.run(&["run"]).code(0);
    let said = format!("{}{}", told.stdout, told.stderr);
    assert!(said.contains("its issue had not been claimed on the forge"), "{said}");
    assert!(!factory.run(&["ps"]).code(0).stdout.contains("running"));
    // The task is free: what keeps it from being begun is anna alone.
    assert!(factory.run(&LAUNCH).code(1).stderr.contains("assigned to anna"));
    factory.forge("harb").set(|state| state.issues = vec![work(12, &["backlog"], "")]);
    let token = factory.run(&LAUNCH).code(0).stdout;
    factory.run(&["stop", token.trim(), "--now"]).code(0);
}

/// Launches while nothing can be done on the host; once the issue is claimed, `meanwhile` is done and then its token is
/// cancelled there, before the launch comes to it.
fn cancelled_meanwhile(factory: &Factory, meanwhile: impl FnOnce()) -> super::support::Ended {
    use super::support::{Ended, until};
    use std::process::{Command, Stdio};
    let home = factory.place.path("home/.factory");
    let held = factory.place.path("held");
    let script = format!("echo >{}; read x", held.display());
    let mut other = Command::new("flock");
    other.arg(home.join("guard.lock")).args(["sh", "-c", &script]);
    let mut other = other.stdin(Stdio::piped()).spawn().unwrap();
    until("the lock is held", || held.exists().then_some(()));
    std::fs::remove_file(&held).unwrap();
    let launch = factory.place.command(&LAUNCH).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let token = until("the claim", || {
        let claims = super::order::document(&factory.place.state())?.claims;
        claims.values().find(|claim| !claim.unclaimed).map(|claim| claim.token.clone())
    });
    meanwhile();
    let run = home.join("runs").join(token);
    std::fs::create_dir_all(&run).unwrap();
    std::fs::write(run.join("started"), "cancelled 2026-03-12T13:18:47Z anna\n").unwrap();
    drop(other.stdin.take());
    other.wait().unwrap();
    Ended::from(launch.wait_with_output().unwrap(), &factory.place.path(""))
}

#[test]
fn a_launch_that_is_cancelled_before_it_began_is_no_success_and_gives_its_issue_back() {
    let factory = claimable();
    let settings = std::fs::read_to_string(factory.place.path("inventory/factory.yml")).unwrap();
    let patient = settings.replace("{kill_after: 1s}", "{kill_after: 1s, lock_wait: 2min, lock_stuck: 10min}");
    factory.place.write("factory.yml", &patient);
    for verb in ["halt", "resume"] {
        factory.run(&[verb, "--host", "this", "--agent", "dev"]).code(0);
    }
    let told = cancelled_meanwhile(&factory, || {}).code(1);
    assert!(told.stderr.contains("was cancelled before it began"), "{}", told.stderr);
    assert!(told.stdout.is_empty(), "{}", told.stdout);
    assert_eq!(issue_is(&factory), (words(&["backlog"]), words(&[])));
    assert!(super::order::document(&factory.place.state()).unwrap().claims.is_empty());

    let mut halt = None;
    let told = cancelled_meanwhile(&factory, || {
        let command = factory.place.command(&["halt", "--host", "this", "--agent", "dev"]).spawn().unwrap();
        halt = Some(command);
        let held = || (!super::order::holds(&factory.place.state()).is_empty()).then_some(());
        super::support::until("the hold", held);
    });
    assert!(halt.unwrap().wait().unwrap().success());
    let told = told.code(6);
    assert!(told.stderr.contains("before it began on this: held: agent dev on this"), "{}", told.stderr);
    assert_eq!(issue_is(&factory), (words(&["backlog"]), words(&[])));
}
