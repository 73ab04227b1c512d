//! `repo check` and `repo sync` where something goes wrong, against [`super::forge_server`].

use std::time::{Duration, Instant};

use serde_json::json;

use super::forge_server::{Fault, Server};
use super::repo::{PROTECTION, forge, harb, labels, run, server, written};
use super::support::Place;

fn labelled() -> Server {
    let forge = forge();
    forge.set(|state| state.labels = labels());
    forge
}

/// What `repo sync -y` ends with and prints when this call is answered so.
fn refused(call: &'static str, status: u16, body: &'static str, code: i32) -> (String, Server) {
    let forge = forge();
    forge.set(|state| state.stuck = vec![(call, Fault::Status(status, vec![], body))]);
    let ended = run(&harb(&forge, PROTECTION), &["repo", "sync", "-y"]).code(code);
    (ended.stdout + &ended.stderr, forge)
}

#[test]
fn each_refusal_of_a_write_says_what_it_means_and_what_to_do() {
    let (label, guard) = ("POST /api/v1/repos/johba/harb/labels", "POST /api/v1/repos/johba/harb/branch_protections");
    let scope = r#"{"message":"token does not have at least one of required scope(s): [write:issue]"}"#;
    for (call, status, body, told, help) in [
        (label, 403, scope, "refused with 403", "make a token that has the scope write:issue too"),
        (label, 401, "{}", "refused with 401", "make a new token"),
        (label, 404, "{}", "not found", "check the name in repos.yml"),
        (guard, 409, r#"{"message":"x"}"#, "in conflict: x", "it has changed meanwhile"),
        (guard, 422, r#"{"message":"user does not exist"}"#, "not accepted with 422: user", "accounts must exist"),
        (guard, 423, r#"{"message":"archived"}"#, "not accepted with 423", "unarchive the repository"),
        (guard, 403, r#"{"message":"Branch protection already exist"}"#, "already exist", "somebody else has made it"),
        (guard, 405, "", "blocked", "of a Forgejo of version 7 or newer"),
        (guard, 429, r#"{"message":"slow down"}"#, "to be left alone until", "run this again after that time"),
        (guard, 500, "{}", "no answer: status 500", "broken or in maintenance"),
        (guard, 200, "<html>", "an HTML page", "server's front page"),
    ] {
        let code = if status == 429 { 4 } else { 1 };
        let (text, forge) = refused(call, status, body, code);
        assert!(text.contains("harb: failed: make ") && text.contains(told) && text.contains(help), "{status}: {text}");
        // The other half was done all the same, but where the forge wants to be left alone.
        let done = written(&forge).len();
        assert_eq!(done, if call == guard { 4 } else { 1 }, "{status}: {text}");
    }
}

#[test]
fn what_is_known_to_be_refused_is_not_tried() {
    let forge = forge();
    forge.set(|state| state.scopes = vec!["read:user", "read:issue", "read:repository"]);
    let sync = run(&harb(&forge, PROTECTION), &["repo", "sync", "-y"]).code(1);
    for scope in ["write:issue", "write:repository"] {
        assert!(sync.stdout.contains(&format!("it lacks the scope {scope}")), "{}", sync.stdout);
    }
    assert!(sync.stderr.contains("nothing to change"), "{}", sync.stderr);
    assert!(!forge.lines().iter().any(|line| line.starts_with("POST ")), "{:?}", forge.lines());
    // An account of the whitelist that may not write, and one that is not there: the rest is done.
    let forge = labelled();
    let place = harb(&forge, "    protection: {required_approvals: 1, merge_whitelist: [review-bot, anna, nobody]}\n");
    let sync = run(&place, &["repo", "sync", "-y"]).code(1);
    assert!(
        sync.stdout.contains(
            "anna has only `read` in johba/harb, so the forge leaves it out of merge_whitelist; the list is not changed"
        ),
        "{}",
        sync.stdout
    );
    assert!(sync.stdout.contains("no account is called nobody"), "{}", sync.stdout);
    let state = forge.state.lock().unwrap();
    let made = &state.protections[0];
    assert_eq!((&made["required_approvals"], &made["merge_whitelist_usernames"]), (&json!(1), &json!(null)));
}

#[test]
fn what_was_taken_and_not_kept_is_a_failure_and_what_was_done_without_a_word_is_none() {
    // An account that the forge leaves out, though it may write.
    let forge = labelled();
    forge.set(|state| {
        state.dropped = vec!["review-bot"];
        state.protections = vec![json!({"rule_name": "master", "required_approvals": 1, "enable_status_check": true,
            "status_check_contexts": ["ci/woodpecker/pr/*"]})];
    });
    let sync = run(&harb(&forge, PROTECTION), &["repo", "sync", "-y"]).code(1);
    assert!(
        sync.stdout.contains(
            "still different: protection of `master`\n-merge_whitelist: nobody\n+merge_whitelist: review-bot\n"
        ),
        "{}",
        sync.stdout
    );
    assert!(sync.stdout.contains("the forge leaves out accounts that may not write there"), "{}", sync.stdout);
    // The answer is lost and the label is there: that is what counts.
    let forge = labelled();
    forge.set(|state| state.labels.truncate(3));
    let place = harb(&forge, "");
    forge.set(|state| state.stuck = vec![("POST /api/v1/repos/johba/harb/labels", Fault::CutBody)]);
    let sync = run(&place, &["repo", "sync", "-y"]).code(0);
    assert!(
        sync.stdout.contains("failed: make the label `underspecified`") && sync.stderr.contains("1 as wanted"),
        "{}",
        sync.stdout
    );
}

#[test]
fn a_protection_that_somebody_made_meanwhile_is_read_back_and_not_overwritten() {
    let forge = labelled();
    let place = harb(&forge, PROTECTION);
    // It is not there when the repo is looked at, and is there when it is to be made.
    let theirs = json!({"rule_name": "master", "required_approvals": 5, "enable_status_check": false});
    let own = forge.state.clone();
    let (address, body) = (forge.address.clone(), theirs.clone());
    let _ = address;
    let watch = std::thread::spawn(move || {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            {
                let mut state = own.lock().unwrap();
                // Permissions of the whitelist are read after the branch.
                if state.seen.iter().any(|seen| seen.line.contains("/collaborators/")) {
                    state.protections.push(body);
                    return;
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    forge.set(|state| state.stuck = vec![("/collaborators/", Fault::Late(Duration::from_millis(300)))]);
    let sync = run(&place, &["repo", "sync", "-y"]).code(1);
    watch.join().unwrap();
    assert!(sync.stdout.contains("Branch protection already exist"), "{}", sync.stdout);
    assert!(sync.stdout.contains("somebody else has made it meanwhile"), "{}", sync.stdout);
    assert!(sync.stdout.contains("-required_approvals: 5\n+required_approvals: 1\n"), "{}", sync.stdout);
    assert_eq!(forge.state.lock().unwrap().protections, [theirs]);
}

#[test]
fn a_forge_that_hangs_holds_up_no_other() {
    let (one, two) = (labelled(), labelled());
    let hangs = labelled();
    hangs.set(|state| state.stuck = vec![("/", Fault::Late(Duration::from_secs(60)))]);
    let place = Place::this_machine();
    place.write("factory.yml", &super::support::calm("forges: {connect: 2s, call: 2s, look: 3s}\n"));
    let forge = |server: &Server| format!("forge: {{kind: forgejo, url: '{}'}}, token: {{env: TOKEN}}", server.address);
    let mut repos = format!("repos:\n  one: {{slug: johba/harb, {}}}\n", forge(&one));
    // Many on the one that hangs: they are not waited for one after the other.
    for number in 0..30 {
        repos += &format!("  dead-{number:02}: {{slug: johba/dead{number}, {}}}\n", forge(&hangs));
    }
    repos += &format!("  two: {{slug: johba/harb, {}}}\n", forge(&two));
    place.write("repos.yml", &repos);
    let begun = Instant::now();
    let check = run(&place, &["repo", "check"]).code(4);
    // One after the other would be a minute, of two seconds each.
    assert!(begun.elapsed() < Duration::from_secs(45), "{:?}", begun.elapsed());
    let steps: Vec<&str> = check.stderr.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(steps.len(), 32, "{}", check.stderr);
    assert!(steps[..2].iter().all(|line| line.contains("] one in ") || line.contains("] two in ")), "{steps:?}");
    assert!(steps[..2].iter().all(|line| line.contains("ok: as wanted")), "{steps:?}");
    assert_eq!(check.stdout.matches("nothing complete within 2s").count(), 30, "{}", check.stdout);
    assert!(hangs.lines().len() <= 14, "{}", hangs.lines().len());
    // What hangs beside a repo is told, and the rest of that repo too.
    hangs.set(|state| {
        (state.stuck, state.seen) = (vec![("/labels", Fault::Late(Duration::from_secs(60)))], Vec::new());
    });
    place.write("repos.yml", &format!("repos:\n  one: {{slug: johba/harb, {}}}\n", forge(&hangs)));
    let check = run(&place, &["repo", "check"]).code(4);
    assert!(
        check.stdout.contains("one: not known: labels: GET ") && check.stdout.contains("within 2s"),
        "{}",
        check.stdout
    );
    assert!(check.stdout.contains("dev-bot"), "{}", check.stdout);
}

#[test]
fn what_a_forge_says_of_where_a_repo_is_is_told() {
    let forge = labelled();
    forge.set(|state| state.moved = Some("acme/moved"));
    let moved = run(&harb(&forge, ""), &["repo", "check"]).code(1);
    assert!(moved.stdout.contains("it was renamed or given away: it is acme/moved now"), "{}", moved.stdout);
    assert!(
        moved.stdout.contains("help: write `slug: acme/moved` in repos.yml, if it is still the same repository"),
        "{}",
        moved.stdout
    );
    let forge = labelled();
    forge.set(|state| state.slug = "johba/other");
    let gone = run(&harb(&forge, ""), &["repo", "check"]).code(1);
    assert!(gone.stdout.contains("harb: repo: johba/harb is not there, or dev-bot may not read it"), "{}", gone.stdout);
    assert_eq!(gone.stdout.matches("harb: ").count(), 2, "one cause is told once, by each account: {}", gone.stdout);
    // A page, a redirect to a login, an address where nothing listens.
    for (fault, told) in [
        (Fault::Status(200, vec![("Content-Type", "text/html".to_owned())], "<html>"), "an HTML page where JSON"),
        (
            Fault::Status(302, vec![("Location", "https://login.example/".to_owned())], ""),
            "it sends us on to https://login.example",
        ),
        (Fault::CutHead, "the connection was cut"),
    ] {
        let forge = labelled();
        forge.set(|state| state.stuck = vec![("/", fault)]);
        let told_of = run(&harb(&forge, ""), &["repo", "check"]).code(4);
        assert!(told_of.stdout.contains(told) && told_of.stdout.contains("no answer"), "{}", told_of.stdout);
    }
}

#[test]
fn each_thing_that_can_be_wrong_with_a_ci_is_told() {
    let forge = labelled();
    let project = |id: u64, name: &str, more: (bool, bool)| json!({"id": id, "full_name": name, "active": more.0, "allow_pr": more.1});
    for (projects, agents, code, told, help) in [
        (vec![project(2, "johba/harb", (true, true))], 3, 0, "it can run 3 pipelines at once", "write `workers: 3`"),
        (vec![project(2, "johba/harb", (true, true))], 0, 1, "no agent is there to run anything", "start an agent"),
        (vec![project(2, "johba/harb", (false, true))], 2, 1, "switched off there", "switch it on"),
        (vec![project(2, "johba/harb", (true, false))], 2, 1, "nothing is run for pulls", "allow pull requests"),
        (vec![project(7, "johba/harb", (true, true))], 2, 1, "no repo has the number 2", "write `repo_id: 7`"),
        (vec![project(2, "a/b", (true, true))], 2, 1, "is a/b, not johba/harb", "switch johba/harb on in Woodpecker"),
    ] {
        let ci = server(true, |state| {
            state.projects = projects;
            state.scopes.push("admin");
            state.agents = vec![json!({"id": 1, "capacity": agents, "no_schedule": false})];
        });
        let of = format!(
            "    ci: {{kind: woodpecker, url: '{}', repo_id: 2, workers: 2, token: {{env: TOKEN}}}}\n",
            ci.address
        );
        let check = run(&harb(&forge, &of), &["repo", "check"]).code(code);
        assert!(check.stdout.contains(told) && check.stdout.contains(help), "{}", check.stdout);
    }
    // A token that is wrong is told also where the repo is public.
    let ci = server(true, |state| (state.public, state.token) = (true, b"other".to_vec()));
    let of = format!("    ci: {{kind: woodpecker, url: '{}', repo_id: 2, token: {{env: TOKEN}}}}\n", ci.address);
    let check = run(&harb(&forge, &of), &["repo", "check"]).code(1);
    assert!(
        check.stdout.contains("harb: ci.token: GET ") && check.stdout.contains("refused with 401"),
        "{}",
        check.stdout
    );
    // Without one, a private repo is not shown; a forge is no Woodpecker.
    let of = of.replace(", token: {env: TOKEN}", "");
    ci.set(|state| state.public = false);
    let check = run(&harb(&forge, &of), &["repo", "check"]).code(1);
    assert!(check.stdout.contains("is not shown without a good token"), "{}", check.stdout);
    let of = of.replace(&ci.address, &forge.address);
    let check = run(&harb(&forge, &of), &["repo", "check"]).code(1);
    assert!(check.stdout.contains("no repo has the number 2 there"), "{}", check.stdout);
}

#[test]
fn a_token_is_nowhere_in_what_is_said() {
    let awkward = "a\"b\\'$(touch_x)`%41&;=ü*{}<>#?";
    let forge = forge();
    let echo: &'static str = Box::leak(json!({"message": format!("bad {awkward}")}).to_string().into_boxed_str());
    let place = harb(&forge, PROTECTION);
    for status in [200, 401, 403, 404, 422, 500] {
        forge.set(|state| {
            state.token = awkward.as_bytes().to_vec();
            state.stuck =
                vec![("POST ", Fault::Status(status, vec![], echo)), ("/labels", Fault::Status(status, vec![], echo))];
        });
        for args in [
            &["repo", "check", "-vvv"][..],
            &["repo", "sync", "-y", "-vvv"],
            &["repo", "check", "-o", "json", "-vvv"],
            &["inventory", "check", "-vvv"],
        ] {
            let output = place.command(args).env("TOKEN", awkward).env("REVIEW", awkward).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(text.contains("harb") && !text.contains("touch_x") && !text.contains("%41"), "{args:?}: {text}");
        }
    }
}
