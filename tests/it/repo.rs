//! `repo check`, `repo sync` and the repos of `inventory check` as a user types them, against [`super::forge_server`].

use std::sync::mpsc::channel;

use serde_json::{Value, json};

use super::forge_server::{Server, State};
use super::support::{Ended, Place};

/// A server that runs beside the test, which waits for the binary.
pub fn server(woodpecker: bool, change: impl FnOnce(&mut State)) -> Server {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            send.send(Server::start(woodpecker).await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let server = receive.recv().unwrap();
    server.set(change);
    server
}

/// A forge on which all is as [`harb`] wants it but the labels and the protection, which are not there.
pub fn forge() -> Server {
    server(false, |state| {
        state.collaborators = vec![("dev-bot", "admin"), ("review-bot", "write"), ("anna", "read")];
        let scopes = vec!["read:user", "write:issue", "write:repository"];
        state.others = vec![("review", "review-bot", scopes.clone()), ("admin", "johba", scopes)];
    })
}

pub fn label(id: u64, name: &str) -> Value {
    json!({"id": id, "name": name, "exclusive": false, "is_archived": false, "color": "00aabb", "description": ""})
}

/// All labels that are wanted.
pub fn labels() -> Vec<Value> {
    let names = ["backlog", "in-progress", "blocked", "underspecified"];
    (1..).zip(names).map(|(id, name)| label(id, name)).collect()
}

/// The one repo `harb` on this forge, with these keys too.
pub fn harb(forge: &Server, more: &str) -> Place {
    let place = Place::this_machine();
    place.write(
        "repos.yml",
        &format!(
            "repos:\n  harb:\n    slug: johba/harb\n    forge: {{kind: forgejo, url: '{}'}}\n    token: {{env: TOKEN}}\n    \
             review_token: {{env: REVIEW}}\n{more}",
            forge.address
        ),
    );
    place
}

pub const PROTECTION: &str =
    "    protection: {required_approvals: 1, status_checks: [ci/woodpecker/pr/*], merge_whitelist: [review-bot]}\n";

pub fn run(place: &Place, args: &[&str]) -> Ended {
    let output = place.command(args).env("TOKEN", "good").env("REVIEW", "review").output().unwrap();
    Ended::from(output, &place.path(""))
}

pub fn written(server: &Server) -> Vec<String> {
    server.state.lock().unwrap().written.clone()
}

/// What a run printed, with the addresses of these servers as they would be.
fn shown(ended: &Ended, servers: &[(&Server, &str)]) -> String {
    let mut text = format!("{}---\n{}", ended.stdout, ended.stderr);
    for (server, name) in servers {
        let bare = server.address.trim_start_matches("http://");
        text = text.replace(&server.address, &format!("https://{name}")).replace(bare, name);
    }
    // The table was laid out for the addresses as they were.
    let line = |line: &str| match line.starts_with(['R', 'h', 'w', 'l']) && !line.contains(": ") {
        true => line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect::<Vec<_>>().join("  "),
        false => line.to_owned(),
    };
    let lines: Vec<String> = text.lines().map(line).collect();
    let (steps, rest): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.starts_with('['));
    assert!(!steps.is_empty(), "{text}");
    rest.join("\n")
}

/// Three forges with a repo each, and everything wrong with them in different ways.
fn newcomer() -> (Place, Vec<Server>) {
    let harb = forge();
    harb.set(|state| {
        state.labels = vec![label(1, "Backlog"), label(2, "blocked"), label(3, "blocked")];
        state.collaborators = vec![("dev-bot", "write"), ("review-bot", "read")];
        state.scopes = vec!["read:user", "read:issue", "write:repository"];
        state.protections = vec![json!({"rule_name": "master", "required_approvals": 0, "enable_status_check": false,
            "enable_merge_whitelist": false})];
    });
    let web = forge();
    web.set(|state| {
        state.slug = "acme/web";
        state.login = "johba";
        state.collaborators = vec![("johba", "admin"), ("anna", "read")];
        state.others = vec![("review", "johba", vec!["read:user", "write:repository"])];
        state.repo = json!({"default_branch": "main"});
        state.branches = vec!["main"];
        state.labels = labels();
    });
    let lib = forge();
    lib.set(|state| {
        state.slug = "acme/lib";
        state.public = true;
        state.repo = json!({"archived": true});
    });
    let ci = server(true, |state| {
        state.projects = vec![
            json!({"id": 2, "full_name": "acme/web", "active": true, "allow_pr": false}),
            json!({"id": 7,
                "full_name": "johba/harb", "active": true, "allow_pr": true}),
        ];
    });
    let place = Place::this_machine();
    let (a, b, c, d) = (&harb.address, &web.address, &lib.address, &ci.address);
    place.write(
        "repos.yml",
        &format!(
            "defaults: {{ci: {{kind: woodpecker, url: '{d}', token: {{env: TOKEN}}}}}}
repos:
  harb:
    slug: johba/harb
    forge: {{kind: forgejo, url: '{a}'}}
    token: {{env: TOKEN}}
    review_token: {{env: REVIEW}}
    ci: {{repo_id: 2}}
    protection: {{required_approvals: 1, merge_whitelist: [review-bot]}}
  web:
    slug: acme/web
    branch: master
    forge: {{kind: forgejo, url: '{b}'}}
    token: {{env: TOKEN}}
    review_token: {{env: REVIEW}}
    ci: {{repo_id: 2}}
    protection: {{required_approvals: 1}}
  lib:
    slug: acme/lib
    forge: {{kind: forgejo, url: '{c}'}}
    token: {{env: NOT_SET}}
    review_token: {{env: OLD}}
    ci: none
    env: {{KEY: {{file: none-such}}}}
"
        ),
    );
    (place, vec![harb, web, lib, ci])
}

#[test]
fn a_newcomer_is_told_exactly_what_to_fix() {
    let (place, servers) = newcomer();
    let names = ["one.example", "two.example", "three.example", "ci.example"];
    let names: Vec<(&Server, &str)> = servers.iter().zip(names).collect();
    let run = |args: &[&str]| {
        let mut command = place.command(args);
        let output = command.env("TOKEN", "good").env("REVIEW", "review").env("OLD", "expired").output().unwrap();
        Ended::from(output, &place.path("")).code(1)
    };
    let check = run(&["repo", "check"]);
    insta::assert_snapshot!("repo_check", shown(&check, &names));
    let inventory = run(&["inventory", "check"]);
    let text = shown(&inventory, &names);
    let (_, repos) = text.split_once("REPO").unwrap();
    insta::assert_snapshot!("inventory_check", format!("REPO{repos}"));
    // The two tell of the same, and neither has changed anything.
    let object = run(&["repo", "check", "-o", "json"]).json();
    let rows = run(&["inventory", "check", "-o", "json"]).json();
    for (one, row) in object["repos"].as_array().unwrap().iter().zip(rows["repos"].as_array().unwrap()) {
        let whats = |list: &Value| {
            let all = list.as_array().unwrap().iter().map(|own| own["what"].as_str().unwrap().to_owned());
            all.collect::<std::collections::BTreeSet<String>>()
        };
        assert_eq!(whats(&one["differences"]), whats(&row["problems"]));
        assert_eq!((&one["token"], &one["labels"], &one["ci"]), (&row["token"], &row["labels"], &row["ci"]));
    }
    let line = run(&["repo", "check", "web", "-o", "jsonl"]);
    assert_eq!((line.stdout.lines().count(), &line.json()["kind"], &line.json()["v"]), (1, &json!("repo"), &json!(1)));
    assert!(servers.iter().all(|server| written(server).is_empty()));
}

#[test]
fn sync_makes_what_is_missing_and_a_second_one_writes_nothing() {
    let forge = forge();
    let place = harb(&forge, PROTECTION);
    let check = run(&place, &["repo", "check"]).code(1);
    assert!(
        check.stdout.contains("harb: labels\n+backlog\n+in-progress\n+blocked\n+underspecified\n"),
        "{}",
        check.stdout
    );
    assert!(check.stdout.contains("nobody can push to `master` any more, only merge"), "{}", check.stdout);
    assert!(
        check.stderr.contains("1 repo, 0 as wanted; `factory repo sync` has something to change in 1"),
        "{}",
        check.stderr
    );
    // Neither a dry run nor one that nobody can be asked for changes anything.
    let dry = run(&place, &["repo", "sync", "--check"]).code(0);
    assert!(
        dry.stdout
            .contains("+required_approvals: 1\n+status_checks: ci/woodpecker/pr/*\n+merge_whitelist: review-bot\n")
    );
    assert!(dry.stderr.contains("would change 1"), "{}", dry.stderr);
    let asked = run(&place, &["repo", "sync"]).code(2);
    assert!(asked.stderr.contains("give --yes"), "{}", asked.stderr);
    assert_eq!(written(&forge), Vec::<String>::new());

    let sync = run(&place, &["repo", "sync", "-y"]).code(0);
    assert!(sync.stdout.contains("harb: done: make the label `backlog`"), "{}", sync.stdout);
    assert!(sync.stdout.contains("harb: done: make the protection of `master`"), "{}", sync.stdout);
    assert!(sync.stderr.contains("1 repo, changed 1, read back, 1 as wanted"), "{}", sync.stderr);
    assert_eq!(written(&forge).len(), 5);
    {
        let state = forge.state.lock().unwrap();
        let names: Vec<&str> = state.labels.iter().map(|label| label["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["backlog", "in-progress", "blocked", "underspecified"]);
        let made = &state.protections[0];
        assert_eq!((&made["required_approvals"], &made["enable_status_check"]), (&json!(1), &json!(true)));
        assert_eq!(
            (&made["merge_whitelist_usernames"], &made["enable_merge_whitelist"]),
            (&json!(["review-bot"]), &json!(true))
        );
    }
    let check = run(&place, &["repo", "check", "-o", "json"]).code(0).json();
    assert_eq!(
        check["repos"][0]["differences"],
        json!([{
            "what": "labels", "subject": "labels", "level": "hint", "sync": false, "found": null, "wanted": null,
        }])
        .as_array()
        .map_or(json!([]), |_| json!([]))
    );
    let again = run(&place, &["repo", "sync", "-y"]).code(0);
    assert!(again.stderr.contains("1 repo, nothing to change, 1 as wanted"), "{}", again.stderr);
    assert_eq!(written(&forge).len(), 5);
}

#[test]
fn what_the_inventory_does_not_name_stays_as_it_is() {
    let forge = forge();
    let other = json!({"rule_name": "release/*", "required_approvals": 3, "enable_push": true});
    forge.set(|state| {
        state.labels = vec![label(1, "bug"), label(2, "backlog"), label(3, "in-progress"), label(4, "blocked")];
        state.org_labels = vec![label(9, "underspecified")];
        state.scopes.push("read:organization");
        state.protections = vec![
            json!({"rule_name": "master", "required_approvals": 2, "enable_push": true, "push_whitelist_usernames": ["anna"],
                "enable_status_check": true, "status_check_contexts": ["b", "a"], "enable_merge_whitelist": true,
                "merge_whitelist_usernames": ["Review-Bot"], "block_on_rejected_reviews": true}),
            other.clone(),
        ];
    });
    let before = forge.state.lock().unwrap().protections.clone();
    // The order of a list does not matter, nor the case of an account; what is not named is not looked at.
    let place = harb(&forge, "    protection: {status_checks: [a, b], merge_whitelist: [review-bot]}\n");
    let check = run(&place, &["repo", "check"]).code(0);
    assert!(check.stderr.contains("1 repo, 1 as wanted"), "{}{}", check.stdout, check.stderr);
    run(&place, &["repo", "sync", "-y"]).code(0);
    assert_eq!((written(&forge).len(), &forge.state.lock().unwrap().protections), (0, &before));
    // One key is changed, and nothing beside it; only that key is sent.
    let place = harb(&forge, "    protection: {required_approvals: 1}\n");
    let sync = run(&place, &["repo", "sync", "-y"]).code(0);
    assert!(sync.stdout.contains("harb: protection of `master`\n-required_approvals: 2\n+required_approvals: 1\n"));
    let state = forge.state.lock().unwrap();
    let sent: Vec<&Value> = state
        .seen
        .iter()
        .filter(|seen| seen.line.contains("PATCH /api/v1/repos/johba/harb/branch"))
        .map(|seen| &seen.body)
        .collect();
    assert_eq!(sent, [&json!({"required_approvals": 1})]);
    let mut wanted = before;
    wanted[0]["required_approvals"] = json!(1);
    assert_eq!(state.protections, wanted);
    // No label was made beside the organization's.
    assert_eq!(state.labels.len(), 4);
}

#[test]
fn lists_can_be_emptied_and_a_pattern_is_left_to_people() {
    let forge = forge();
    forge.set(|state| {
        state.labels = labels();
        state.branches = vec!["master", "release/1.0"];
        state.protections = vec![
            json!({"rule_name": "master", "required_approvals": 1, "enable_status_check": true,
                "status_check_contexts": ["a"], "enable_merge_whitelist": true, "merge_whitelist_usernames": ["review-bot"]}),
            json!({"rule_name": "release/*", "required_approvals": 1}),
        ];
    });
    let place = harb(&forge, "    protection: {status_checks: [], merge_whitelist: []}\n");
    let sync = run(&place, &["repo", "sync", "-y"]).code(0);
    assert!(sync.stdout.contains("-status_checks: a\n+status_checks: none\n"), "{}", sync.stdout);
    assert!(
        sync.stdout.contains("-merge_whitelist: review-bot\n+merge_whitelist: whoever may write\n"),
        "{}",
        sync.stdout
    );
    run(&place, &["repo", "check"]).code(0);
    let writes = written(&forge).len();
    let place = harb(&forge, "    branch: release/1.0\n    protection: {required_approvals: 2}\n");
    let sync = run(&place, &["repo", "sync", "-y"]).code(1);
    assert!(
        sync.stdout.contains("it is the protection `release/*`, which is for other branches too"),
        "{}",
        sync.stdout
    );
    assert_eq!(written(&forge).len(), writes);
    let named: Vec<&str> = vec!["GET /api/v1/repos/johba/harb/branches/release/1.0"];
    assert!(named.iter().all(|line| forge.lines().iter().any(|own| own == line)));
}

#[test]
fn who_does_not_administer_the_repo_sees_as_much_as_there_is() {
    let forge = forge();
    forge.set(|state| {
        state.labels = labels();
        state.collaborators[0] = ("dev-bot", "write");
        state.collaborators.push(("johba", "admin"));
    });
    let place = harb(&forge, PROTECTION);
    let check = run(&place, &["repo", "sync", "-y"]).code(1);
    assert!(
        check.stdout.contains(
            "dev-bot does not administer the repo: run `factory repo sync harb` with the token of one who does"
        ),
        "{}",
        check.stdout
    );
    assert_eq!(written(&forge).len(), 0);
    // By the token of an administrator, once.
    let output = place.command(&["repo", "sync", "-y"]).env("TOKEN", "admin").env("REVIEW", "review").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let check = run(&place, &["repo", "check"]).code(0);
    assert!(check.stdout.contains("that dev-bot may not merge and review-bot may merge fits"), "{}", check.stdout);
    // What can be seen of the list does not fit.
    forge.set(|state| state.protections[0]["merge_whitelist_usernames"] = json!(["dev-bot"]));
    let check = run(&place, &["repo", "check"]).code(1);
    assert!(check.stdout.contains("dev-bot may merge, and merge_whitelist does not name it"), "{}", check.stdout);
}

#[test]
fn repos_are_chosen_by_name_and_a_broken_one_is_told_of() {
    let forge = forge();
    let place = harb(&forge, "  lib-a: {slug: a/a, brnch: x}\n");
    forge.set(|state| {
        state.labels = labels();
    });
    let all = run(&place, &["repo", "check"]).code(3);
    assert!(
        all.stderr.contains("lib-a has errors in repos.yml") && all.stderr.contains("did you mean `branch`?"),
        "{}",
        all.stderr
    );
    assert!(all.stdout.contains("harb  johba/harb"), "{}", all.stdout);
    assert_eq!(run(&place, &["repo", "check", "-o", "json"]).code(3).json()["broken"], json!(["lib-a"]));
    run(&place, &["repo", "check", "harb"]).code(0);
    run(&place, &["repo", "check", "ha*"]).code(0);
    run(&place, &["repo", "check", "lib-?"]).code(3);
    let typo = run(&place, &["repo", "sync", "hrab"]).code(3);
    assert!(typo.stderr.contains("did you mean `harb`?"), "{}", typo.stderr);
    run(&place, &["repo", "check", ""]).code(2);
}
