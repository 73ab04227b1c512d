//! `factory queue` and the looks of a tick at repos, against servers that refuse what the real ones refuse.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::forge::{issue, label, pull};
use super::forge_ci::pipeline;
use super::forge_server::{Fault, Server};
use super::support::{Ended, Place, calm};

/// Repos on servers of their own, each `johba/harb` there.
pub struct Factory {
    pub place: Place,
    pub forges: BTreeMap<String, Server>,
    pub cis: BTreeMap<String, Server>,
}

/// What every repo has in `repos.yml` behind its servers.
pub const TOKEN: &str = "token: {file: token}";

impl Factory {
    /// Repos with these names, each with `more` in its entry.
    pub fn new(names: &[&str], settings: &str, more: &str) -> Factory {
        let place = Place::this_machine();
        place.write("factory.yml", &calm(settings));
        for (name, token) in [("token", "good"), ("reviews", "reviews")] {
            place.write(name, &format!("{token}\n"));
            std::fs::set_permissions(place.path("inventory").join(name), PermissionsExt::from_mode(0o600)).unwrap();
        }
        let (mut forges, mut cis) = (BTreeMap::new(), BTreeMap::new());
        let mut text = "repos:\n".to_owned();
        for name in names {
            let (forge, ci) = (Server::beside(false), Server::beside(true));
            text += &format!(
                "  {name}:\n    slug: johba/harb\n    forge: {{kind: forgejo, url: '{}'}}\n    ci: {{kind: woodpecker, url: '{}', repo_id: 2, workers: 2, {TOKEN}}}\n    {TOKEN}\n    {more}\n",
                forge.address, ci.address
            );
            forges.insert((*name).to_owned(), forge);
            cis.insert((*name).to_owned(), ci);
        }
        place.write("repos.yml", &text);
        Factory { place, forges, cis }
    }

    pub fn forge(&self, name: &str) -> &Server {
        &self.forges[name]
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        self.place.run(args)
    }

    pub fn json(&self, args: &[&str], code: i32) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["-o", "json"]).collect();
        serde_json::from_str(&self.run(&args).code(code).stdout).unwrap()
    }

    /// How often each server was called since this was asked last.
    pub fn calls(&self) -> usize {
        let all = self.forges.values().chain(self.cis.values());
        all.map(|server| std::mem::take(&mut server.state.lock().unwrap().seen).len()).sum()
    }
}

/// A time so many minutes ago, as forges write it.
pub fn ago(minutes: i64) -> String {
    (Timestamp::now() - SignedDuration::from_mins(minutes)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub fn with(mut value: Value, fields: Value) -> Value {
    for (key, field) in fields.as_object().unwrap() {
        value[key] = field.clone();
    }
    value
}

/// An issue with labels and a text.
pub fn work(number: u64, labels: &[&str], body: &str) -> Value {
    let labels: Vec<Value> = labels.iter().map(|name| json!({"id": id(name), "name": name})).collect();
    with(issue(number, &[]), json!({"labels": labels, "body": body, "updated_at": ago(30), "created_at": ago(60)}))
}

pub fn id(name: &str) -> u64 {
    match name {
        "backlog" => 5,
        "in-progress" => 6,
        "blocked" => 7,
        _ => 8,
    }
}

/// A pull for an issue, with a head of its own.
pub fn change(number: u64, closes: u64) -> Value {
    with(
        pull(number),
        json!({
            "title": format!("fix: it (#{closes})"), "body": format!("Fixes #{closes}"), "updated_at": ago(60),
            "head": {"label": "b", "ref": format!("fix/issue-{closes}"), "sha": format!("head{number}"), "repo_id": 1},
        }),
    )
}

/// The pipeline of a pull's head.
pub fn judged(number: u64, pull: u64, status: &str) -> Value {
    let now = Timestamp::now().as_second();
    with(
        pipeline(number, status, [now - 3000, now - 2900, now - 2800]),
        json!({"commit": format!("head{pull}"), "ref": format!("refs/pull/{pull}/head")}),
    )
}

/// A review by an account, of the head of a pull.
pub fn review(id: u64, who: &str, state: &str, pull: u64) -> Value {
    json!({
        "id": id, "user": {"id": 9, "login": who}, "state": state, "commit_id": format!("head{pull}"), "stale": false,
        "official": true, "dismissed": false, "submitted_at": ago(20), "body": "",
    })
}

/// One repo with something of everything.
fn busy() -> Factory {
    let factory = Factory::new(&["harb"], "", "review_token: {file: reviews}");
    factory.forge("harb").set(|state| {
        state.labels =
            ["backlog", "in-progress", "blocked", "underspecified"].map(|name| label(id(name), name)).to_vec();
        state.issues = vec![
            work(12, &["backlog"], "Do it."),
            work(13, &["backlog"], "## Depends on\n- #12"),
            work(14, &["backlog", "blocked"], ""),
            work(15, &[], ""),
            work(16, &["backlog"], "blocked by #90, and after #91"),
            with(work(90, &[], ""), json!({"state": "closed"})),
            work(17, &["backlog"], "depends on #18"),
            work(18, &["backlog"], "depends on #17"),
        ];
        state.pulls =
            vec![change(41, 31), change(42, 32), change(43, 33), with(change(44, 34), json!({"draft": true}))];
    });
    factory.cis["harb"].set(|state| {
        state.pipelines = vec![judged(942, 43, "running"), judged(941, 42, "failure"), judged(940, 41, "success")];
    });
    factory
}

#[test]
fn the_queue_says_what_is_to_be_done_in_order_and_why_the_rest_is_not() {
    let factory = busy();
    let shown = factory.run(&["queue"]).code(0);
    let (text, notes) = (shown.stdout, shown.stderr);
    insta::assert_snapshot!(text, @r"
    REPO  DO      WHAT  WAITS  WHY             TITLE
    harb  review  !41   1h     needs a review  fix: it (#31)
    harb  begin   #12   30m    ready           Issue 12

    REPO  NOT NOW  TITLE          WHY
    harb  #13      Issue 13       it depends on #12, which is open
    harb  #14      Issue 14       it is labelled blocked
    harb  #16      Issue 16       it depends on #91, which does not exist
    harb  #17      Issue 17       it waits for itself: #17 -> #18 -> #17
    harb  #18      Issue 18       it waits for itself: #18 -> #17 -> #18
    harb  !42      fix: it (#32)  CI failed, not by the code: step clone of pipeline 941 ended with 128: the forge refused git, by its rate limit say
    harb  !43      fix: it (#33)  waits: pipeline 942 is not finished
    harb  !44      fix: it (#34)  waits: it is a draft
    ");
    assert!(
        notes.ends_with("1 repo: 2 to do, 0 to merge, 8 not now; 1 open issue that nobody has labelled as ready\n"),
        "{notes}"
    );
    let all = factory.json(&["queue"], 0);
    assert_eq!(all["kind"], "queue");
    let tasks: Vec<&str> = all["items"].as_array().unwrap().iter().map(|item| item["task"].as_str().unwrap()).collect();
    assert_eq!(tasks, ["harb!41@head41", "harb#12"]);
}

#[test]
fn nothing_may_be_begun_while_the_ledger_cannot_be_read() {
    let factory = busy();
    factory.run(&["run"]).code(0);
    let read = |factory: &Factory| {
        let all = factory.json(&["queue"], 0);
        let items = all["items"].as_array().unwrap().len();
        let of = |number: u64| all["waiting"].as_array().unwrap().iter().find(|one| one["number"] == number).cloned();
        (items, of(12).map(|one| one["why"].clone()))
    };
    assert_eq!(read(&factory), (2, None));
    std::fs::write(factory.place.state().join("ledger.db"), "it was one").unwrap();
    let unknown = "whether a run works on it is not known: the ledger cannot be read";
    assert_eq!(read(&factory), (0, Some(unknown.into())));
    assert!(factory.run(&["queue"]).code(0).stderr.contains("what is worked on is not known: "));
}

#[test]
fn what_is_known_is_not_asked_again() {
    let factory = busy();
    factory.run(&["run"]).code(0);
    let cold = factory.calls();
    factory.run(&["run"]).code(0);
    assert!(cold > 8 && factory.calls() == 3, "issues, pulls and pipelines: {cold}");
    // From cron too soon: nothing at all.
    factory.run(&["run", "--if-due"]).code(0);
    assert_eq!(factory.calls(), 0);
    // A review makes the pull another one.
    factory.forge("harb").set(|state| {
        state.pulls[0]["updated_at"] = json!(ago(0));
        state.reviews = vec![review(1, "review-bot", "REQUEST_CHANGES", 41)];
    });
    let all = factory.json(&["queue"], 0);
    assert_eq!(factory.calls(), 4);
    assert_eq!(all["items"][0]["class"], "fixes", "{all}");
}

/// What is to be done about the pulls of `harb`, and why not.
fn pulls(factory: &Factory, code: i32) -> BTreeMap<u64, String> {
    let all = factory.json(&["queue"], code);
    let text = |one: &Value, key: &str| (one["number"].as_u64().unwrap(), one[key].as_str().unwrap().to_owned());
    let items = all["items"].as_array().unwrap().iter().map(|one| text(one, "class"));
    items.chain(all["waiting"].as_array().unwrap().iter().map(|one| text(one, "why"))).collect()
}

/// A repo with the pulls 41 to 43 and nothing else.
fn three_pulls() -> Factory {
    let factory = Factory::new(&["harb"], "", "");
    factory.forge("harb").set(|state| state.pulls = vec![change(41, 31), change(42, 32), change(43, 33)]);
    factory
}

/// A step as Woodpecker tells of it.
fn step(pid: u64, name: &str, state: &str, code: i64) -> Value {
    json!({"id": pid, "uuid": "", "pipeline_id": 1, "pid": pid, "ppid": 1, "name": name, "state": state,
        "exit_code": code, "started": 100, "finished": 101, "type": "commands"})
}

/// A pipeline of a push that says nothing of any pull.
fn pushed(number: u64, status: &str) -> Value {
    with(judged(number, 0, status), json!({"event": "push", "commit": "other", "ref": "refs/heads/master"}))
}

/// A takeover, or a lost journal: the newest page has only the pipeline of a push, or none.
#[test]
fn a_pull_is_judged_by_its_own_pipeline_however_old() {
    let fill = |state: &mut super::forge_server::State| {
        let test = json!([{"id": 1, "pipeline_id": 1, "pid": 1, "name": "ci", "state": "failure",
            "children": [step(2, "test", "failure", 1)]}]);
        let red = |number, pull| with(judged(number, pull, "failure"), json!({"workflows": test}));
        let restarted = with(pushed(300, "success"), json!({"commit": "head41"}));
        let others = (240..298).rev().map(|number| pushed(number, "success"));
        state.pipelines = [restarted, judged(299, 43, "skipped")].into_iter().chain(others).collect();
        state.pipelines.extend([judged(102, 42, "success"), red(101, 43), red(100, 41)]);
    };
    let factory = three_pulls();
    factory.cis["harb"].set(fill);
    // Somebody has written a comment since.
    factory.forge("harb").set(|state| state.pulls[1]["updated_at"] = json!(ago(1)));
    factory.run(&["run"]).code(0);
    let wanted = [(41, "fixes"), (42, "review"), (43, "fixes")].map(|(number, class)| (number, class.to_owned()));
    assert_eq!(pulls(&factory, 0), wanted.into());
    // Once for a head, found or not.
    factory.cis["harb"].set(|state| state.pipelines.truncate(60));
    factory.forge("harb").set(|state| state.pulls.push(change(44, 34)));
    factory.run(&["run"]).code(0);
    factory.calls();
    factory.run(&["run"]).code(0);
    assert_eq!(factory.calls(), 3);
    // As long as it cannot be looked for, the push does not speak for it.
    let factory = three_pulls();
    factory.cis["harb"].set(|state| {
        fill(state);
        state.stuck = vec![("page=2", Fault::Status(502, vec![], ""))];
    });
    let known = pulls(&factory, 4);
    assert!(known.values().all(|why| why == "unknown: CI does not answer"), "{known:?}");
}

#[test]
fn a_failed_pipeline_is_explained_by_what_its_server_tells_of_it_and_asked_once() {
    let factory = three_pulls();
    factory.cis["harb"].set(|state| {
        let broken = |number, pull, message: &str| {
            let mut one = judged(number, pull, "error");
            one.as_object_mut().unwrap().remove("workflows");
            with(one, json!({"errors": [{"type": "generic", "message": message, "is_warning": false, "data": null}]}))
        };
        let ignored = json!([
            {"id": 1, "pipeline_id": 1, "pid": 1, "name": "lint", "state": "success",
                "children": [step(2, "lint", "failure", 1)]},
            {"id": 2, "pipeline_id": 1, "pid": 3, "name": "build", "state": "failure",
                "children": [step(4, "build", "failure", 137)]},
        ]);
        state.pipelines = vec![
            with(judged(903, 43, "failure"), json!({"workflows": ignored})),
            broken(902, 42, "could not load config from forge: context deadline exceeded"),
            broken(901, 41, "yaml: line 3: mapping values are not allowed in this context"),
        ];
    });
    factory.run(&["run"]).code(0);
    let known = pulls(&factory, 0);
    assert_eq!(known[&41], "fixes");
    assert!(known[&42].starts_with("CI failed, not by the code: pipeline 902 "), "{known:?}");
    assert!(known[&43].starts_with("CI failed, not by the code: step build "), "{known:?}");
    factory.calls();
    factory.run(&["run"]).code(0);
    assert_eq!(factory.calls(), 3);
}

/// Whether agents are held for the CI of `harb` after one more tick, and what that cost.
fn held_for_ci(factory: &Factory) -> (bool, usize) {
    factory.calls();
    factory.run(&["run"]).code(0);
    let calls = factory.calls();
    (factory.run(&["status"]).code(0).stdout.contains("for its CI"), calls)
}

#[test]
fn what_waits_behind_what_has_ended_is_seen_and_followed_until_it_ends() {
    let long_ago = Timestamp::now().as_second() - 86_400;
    let stuck = |number| with(pushed(number, "pending"), json!({"created": long_ago, "started": 0, "finished": 0}));
    let end = |state: &mut super::forge_server::State| {
        state.pipelines.iter_mut().for_each(|one| one["status"] = json!("success"));
    };
    for filters in [true, false] {
        let factory = Factory::new(&["harb"], "", "");
        let ci = &factory.cis["harb"];
        // Never seen before: 20 behind 60 that ended after them.
        ci.set(|state| {
            state.filters = filters;
            state.pipelines = (21..=80).rev().map(|number| pushed(number, "success")).collect();
            state.pipelines.extend((1..=20).rev().map(stuck));
        });
        assert!(held_for_ci(&factory).0, "{filters}");
        let (held, calls) = held_for_ci(&factory);
        assert!(held && calls <= 5, "{filters}: {calls}");
        ci.set(end);
        assert!(!held_for_ci(&factory).0, "{filters}");
        assert_eq!(held_for_ci(&factory), (false, 3), "{filters}");
        // Seen while it was new: then one after the other goes before it.
        ci.set(|state| state.pipelines.insert(0, stuck(81)));
        assert!(held_for_ci(&factory).0, "{filters}");
        for newest in [111, 141] {
            ci.set(|state| {
                for number in newest - 29..=newest {
                    state.pipelines.insert(0, pushed(number, "success"));
                }
            });
            assert!(held_for_ci(&factory).0, "{filters}");
        }
        assert_eq!(held_for_ci(&factory), (true, 4), "{filters}: it is asked for by its number");
        ci.set(end);
        held_for_ci(&factory);
        assert_eq!(held_for_ci(&factory), (false, 3), "{filters}");
        // Made, and buried, while nobody looked.
        ci.set(|state| {
            state.pipelines.insert(0, stuck(142));
            for number in 143..=203 {
                state.pipelines.insert(0, pushed(number, "success"));
            }
        });
        assert!(held_for_ci(&factory).0, "{filters}");
        // What is not told of one that was seen open is not known: nothing is let go for that.
        ci.set(|state| state.stuck = vec![("pipelines/142", Fault::Status(502, vec![], ""))]);
        ci.set(end);
        assert!(held_for_ci(&factory).0, "{filters}");
        // Nor does one hold for ever that is not there any more.
        ci.set(|state| {
            state.stuck.clear();
            state.pipelines.retain(|one| one["number"] != 142);
        });
        assert!(!held_for_ci(&factory).0, "{filters}");
        assert_eq!(held_for_ci(&factory), (false, 3), "{filters}");
    }
}

/// Without Woodpecker the statuses of the head decide, and with Actions what waits for a runner is a load.
#[test]
fn statuses_decide_where_there_is_no_woodpecker() {
    let factory = busy();
    let text = std::fs::read_to_string(factory.place.path("inventory/repos.yml")).unwrap();
    let woodpecker = text.lines().find(|line| line.trim_start().starts_with("ci:")).unwrap();
    let status = |pull: u64, state: &str| {
        json!({"sha": format!("head{pull}"), "context": "ci / test (pull_request)", "status": state, "description": "",
            "created_at": ago(5), "updated_at": ago(5)})
    };
    factory.forge("harb").set(|state| {
        state.statuses = vec![status(41, "success"), status(42, "failure"), status(43, "pending")];
    });
    for kind in ["statuses", "{kind: actions, workers: 1}"] {
        factory.place.write("repos.yml", &text.replace(woodpecker, &format!("    ci: {kind}")));
        let all = factory.json(&["queue"], 0);
        let items = all["items"].as_array().unwrap();
        let classes: Vec<(&str, u64)> =
            items.iter().map(|item| (item["class"].as_str().unwrap(), item["number"].as_u64().unwrap())).collect();
        assert_eq!(classes, [("review", 41), ("fixes", 42), ("new", 12)], "{kind}: {all}");
        let waits = all["waiting"].as_array().unwrap().iter().find(|one| one["number"] == 43).unwrap();
        assert!(waits["why"].as_str().unwrap().contains("ci / test (pull_request)"), "{waits}");
    }
    assert!(factory.forge("harb").lines().iter().any(|line| line.contains("/actions/runs")));
}

/// A name for it, what breaks it, and what is said of it.
type Way = (&'static str, Box<dyn Fn(&Factory)>, &'static str);

/// A forge in each of the ways in which one can be broken.
fn broken() -> Vec<Way> {
    let status = |status, body| move |of: &Factory| every(of, &Fault::Status(status, vec![], body));
    let edit = |from: &'static str, to: &'static str| {
        move |of: &Factory| {
            let text = std::fs::read_to_string(of.place.path("inventory/repos.yml")).unwrap();
            let (before, ill) = text.split_once("  ill:").unwrap();
            of.place.write("repos.yml", &format!("{before}  ill:{}", ill.replacen(from, to, 1)));
        }
    };
    let html = |status| {
        let page = "<!doctype html><title>Sign in</title>";
        move |of: &Factory| every(of, &Fault::Status(status, vec![("Content-Type", "text/html".to_owned())], page))
    };
    vec![
        ("maintenance", Box::new(status(502, "")), "status 502"),
        ("a page for JSON", Box::new(html(200)), "an HTML page"),
        ("a page with 503", Box::new(html(503)), "status 503"),
        (
            "a login page",
            Box::new(|of| every(of, &Fault::Status(302, vec![("Location", "https://login.example/".into())], ""))),
            "https://login.example",
        ),
        (
            "an expired token",
            Box::new(|of| of.forge("ill").set(|state| state.token = b"new".to_vec())),
            "refused with 401",
        ),
        ("no scope", Box::new(|of| of.forge("ill").set(|state| state.scopes.clear())), "refused with 403"),
        ("a byte now and then", Box::new(|of| every(of, &Fault::Drip(std::time::Duration::from_secs(1)))), "within"),
        ("cut in the middle", Box::new(|of| every(of, &Fault::CutBody)), "cut"),
        ("half a document", Box::new(status(200, "[{\"number\":")), "not an answer"),
        (
            "too many calls",
            Box::new(|of| every(of, &Fault::Status(429, vec![("Retry-After", "600".into())], ""))),
            "left alone until",
        ),
        (
            "no token",
            Box::new(edit("    token: {file: token}", "    token: {env: NO_SUCH_TOKEN}")),
            "NO_SUCH_TOKEN is not set",
        ),
        ("no TLS", Box::new(edit("http://", "https://")), "TLS"),
        ("another repo", Box::new(edit("johba/harb", "johba/hrab")), "not found"),
    ]
}

/// Every call from now on ends so.
fn every(of: &Factory, fault: &Fault) {
    every_call(of.forge("ill"), fault);
}

/// The same of any server.
pub fn every_call(server: &Server, fault: &Fault) {
    server.set(|state| state.faults = std::iter::repeat_n(fault.clone(), 10_000).collect());
}

#[test]
fn one_broken_forge_stays_one_and_what_it_said_last_stands() {
    for (what, breaks, said) in broken() {
        let factory =
            Factory::new(&["harb", "ill", "web"], "forges: {connect: 1s, call: 2s, look: 4s, silent: 1s}\n", "");
        for name in ["harb", "ill", "web"] {
            factory.forge(name).set(|state| {
                state.labels = vec![label(5, "backlog")];
                state.issues = vec![work(12, &["backlog"], "")];
            });
        }
        factory.run(&["run"]).code(0);
        breaks(&factory);
        let begun = std::time::Instant::now();
        let ended = factory.run(&["queue", "-o", "json"]);
        assert!(begun.elapsed().as_secs() < 20, "{what}");
        let all: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{what}: {}", ended.stderr));
        let of =
            |name: &str| all["repos"].as_array().unwrap().iter().find(|repo| repo["repo"] == name).unwrap().clone();
        let why = of("ill")["silent"]["why"].as_str().unwrap_or_default().to_owned();
        assert!(why.contains(said), "{what}: {why}");
        let disabled = ["an expired token", "no scope", "no token", "another repo"].contains(&what);
        assert_eq!(of("ill")["silent"]["disabled"], disabled, "{what}");
        assert_eq!(ended.code, Some(if disabled { 1 } else { 4 }), "{what}");
        assert!(of("harb")["silent"].is_null() && of("web")["silent"].is_null(), "{what}: {all}");
        // What it said last is there, of the others what they say now.
        let tasks: Vec<&str> =
            all["items"].as_array().unwrap().iter().map(|item| item["task"].as_str().unwrap()).collect();
        // Of another repository nothing is known.
        let known = !["no TLS", "another repo"].contains(&what);
        let here = if known && !disabled { vec!["harb#12", "ill#12", "web#12"] } else { vec!["harb#12", "web#12"] };
        assert_eq!(tasks, here, "{what}");
        // Nothing is begun for a token that is refused.
        let waits: Vec<&Value> = all["waiting"].as_array().unwrap().iter().filter(|one| one["repo"] == "ill").collect();
        assert_eq!(waits.len(), usize::from(known && disabled), "{what}: {all}");
        for one in waits {
            let why = one["why"].as_str().unwrap();
            assert!(why.starts_with("nothing is done for the repo: ") && why.contains(said), "{what}: {why}");
        }
        assert!(!ended.stderr.contains("good") && !ended.stdout.contains("good"), "{what}");

        // One alert, however many ticks; who asked for patience is not called again.
        factory.forge("ill").state.lock().unwrap().seen.clear();
        std::thread::sleep(std::time::Duration::from_millis(1100));
        for _ in 0..3 {
            factory.run(&["run", "-q"]).code(0);
        }
        let told = alerts(&factory);
        let busy = what == "too many calls";
        assert!(!busy || factory.forge("ill").lines().is_empty(), "{what}");
        assert_eq!(told.len(), 1, "{what}: {told:?}");
        assert!(told[0].starts_with("ill") && (busy || told[0].contains(said)), "{what}: {told:?}");
    }
}

/// A CI that hangs is no forge that hangs.
#[test]
fn a_ci_that_hangs_leaves_the_forge_as_it_is() {
    let factory = Factory::new(&["harb"], "forges: {connect: 1s, call: 3s, look: 4s, silent: 1s}\n", "");
    factory.forge("harb").set(|state| {
        state.labels = vec![label(5, "backlog")];
        state.issues = vec![work(12, &["backlog"], "")];
        state.pulls = vec![change(41, 31)];
    });
    every_call(&factory.cis["harb"], &Fault::Late(std::time::Duration::from_secs(60)));
    let all = factory.json(&["queue"], 4);
    let repo = &all["repos"][0];
    assert!(repo["silent"].is_null() && repo["ci_silent"]["why"].as_str().unwrap().contains("within"), "{repo}");
    assert_eq!(all["items"][0]["task"], "harb#12");
    let waits = &all["waiting"][0];
    assert!(waits["number"] == 41 && waits["why"].as_str().unwrap().contains("CI does not answer"), "{waits}");
}

/// An approved pull that has changed, and whose reviews nobody tells.
#[test]
fn a_detail_that_is_not_told_is_one_alert_once_it_has_lasted() {
    let reviews = "/pulls/41/reviews";
    for fault in [Fault::Status(500, vec![], ""), Fault::Late(std::time::Duration::from_secs(60))] {
        let factory = Factory::new(&["harb"], "forges: {connect: 1s, call: 2s, look: 6s, silent: 1s}\n", "");
        factory.forge("harb").set(|state| {
            state.pulls = vec![change(41, 31)];
            state.reviews = vec![review(1, "review-bot", "APPROVED", 41)];
        });
        factory.cis["harb"].set(|state| state.pipelines = vec![judged(940, 41, "success")]);
        factory.run(&["run"]).code(0);
        assert_eq!(factory.json(&["queue"], 0)["merges"][0]["number"], 41);
        factory.forge("harb").set(|state| {
            state.pulls[0]["updated_at"] = json!(ago(0));
            state.stuck = vec![(reviews, fault.clone())];
        });
        factory.run(&["run", "-q"]).code(0);
        assert_eq!(alerts(&factory), [""; 0]);
        std::thread::sleep(std::time::Duration::from_millis(1100));
        for _ in 0..3 {
            factory.run(&["run", "-q"]).code(0);
        }
        let told = alerts(&factory);
        assert!(told.len() == 1 && told[0].contains("not all") && told[0].contains(reviews), "{told:?}");
        let shown = factory.run(&["queue"]).code(4);
        assert!(shown.stderr.contains("harb: not all is known") && shown.stderr.contains(reviews), "{}", shown.stderr);
        let repo = factory.json(&["queue"], 4)["repos"][0].clone();
        assert!(repo["silent"].is_null() && repo["untold"]["why"].as_str().unwrap().contains(reviews), "{repo}");
        factory.forge("harb").set(|state| state.stuck.clear());
        let told = factory.run(&["run"]).code(0).stderr;
        assert!(told.contains("harb: all is told again"), "{told}");
        assert_eq!(factory.json(&["queue"], 0)["merges"][0]["number"], 41);
    }
}

/// Another branch in the inventory counts at once.
#[test]
fn what_the_inventory_says_of_a_branch_counts_from_the_next_look_on() {
    let factory = busy();
    factory.run(&["run"]).code(0);
    factory.forge("harb").set(|state| state.branches.push("develop"));
    let text = std::fs::read_to_string(factory.place.path("inventory/repos.yml")).unwrap();
    factory.place.write("repos.yml", &text.replace("    slug:", "    branch: develop\n    slug:"));
    let shown = factory.run(&["queue"]).code(0).stdout;
    assert!(shown.contains("it goes to master") && !shown.contains("review "), "{shown}");
}

/// What was told of repos with severity 2 or more.
fn alerts(factory: &Factory) -> Vec<String> {
    let all = factory.run(&["events", "-o", "jsonl"]).code(0).stdout;
    let all: Vec<Value> = all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = all.iter().filter(|event| event["what"] == "repo" && event["severity"].as_u64() > Some(1));
    told.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

/// A hundred repos on one forge and one CI, each with 50 open issues and 20 pulls.
#[test]
fn a_hundred_repos_cost_a_quiet_tick_three_calls_each_and_a_first_one_stays_within_the_budget() {
    const REPOS: usize = 100;
    const RATE: f64 = 300.0;
    const BURST: f64 = 50.0;
    let factory = Factory::new(&["r0"], &format!("forges: {{rate: {RATE}, burst: {BURST}, look: 40s}}\n"), "");
    let (forge, ci) = (&factory.forges["r0"], &factory.cis["r0"]);
    forge.set(|state| {
        state.all_repos = true;
        state.labels = vec![label(5, "backlog")];
        state.issues = (1..=50).map(|number| work(number, &["backlog"], "")).collect();
        state.pulls = (101..=120).map(|number| change(number, number - 100)).collect();
    });
    ci.set(|state| state.pipelines = (101..=120).rev().map(|number| judged(number, number, "success")).collect());
    let text: String = (0..REPOS)
        .map(|n| {
            let (forge, ci) = (&forge.address, &ci.address);
            format!(
                "  r{n}: {{slug: johba/r{n}, forge: {{kind: forgejo, url: '{forge}'}}, {TOKEN}, \
                 ci: {{kind: woodpecker, url: '{ci}', repo_id: 2, {TOKEN}}}}}\n"
            )
        })
        .collect();
    factory.place.write("repos.yml", &format!("repos:\n{text}"));

    // As cold as it can be: what one look has no budget for comes with the next.
    let mut cold = 0;
    for looks in 1.. {
        factory.run(&["run", "-q"]).code(0);
        for server in [forge, ci] {
            let calls = std::mem::take(&mut server.state.lock().unwrap().seen);
            within(&calls.iter().map(|call| call.at).collect::<Vec<_>>(), RATE, BURST);
            cold += calls.len();
        }
        let all = factory.json(&["queue", "--ready"], 0);
        factory.calls();
        // 20 pulls that want a review, and the 30 issues that none of them closes.
        if all["items"].as_array().unwrap().len() == REPOS * 50 {
            break;
        }
        assert!(looks < 5, "it is never complete");
    }
    assert!(cold >= REPOS * 26, "{cold}");

    factory.run(&["run", "-q"]).code(0);
    let mut each: BTreeMap<String, usize> = BTreeMap::new();
    for call in std::mem::take(&mut forge.state.lock().unwrap().seen) {
        let slug = call.line.split('/').skip(4).take(2).collect::<Vec<_>>().join("/");
        *each.entry(slug).or_default() += 1;
    }
    assert_eq!((each.len(), each.values().max()), (REPOS, Some(&2)), "{each:?}");
    assert_eq!(factory.calls(), REPOS, "and one of its CI");
}

/// Never more calls in a time than the bucket holds and what flows in meanwhile.
fn within(calls: &[std::time::Instant], rate: f64, burst: f64) {
    for (first, begun) in calls.iter().enumerate() {
        for (last, ended) in calls.iter().enumerate().skip(first) {
            let count = (last - first + 1) as f64;
            // A call may arrive a little after it was let go.
            let time = ended.duration_since(*begun).as_secs_f64() + 0.2;
            assert!(count <= burst + rate * time + 1.0, "{count} calls in {time} s");
        }
    }
}
