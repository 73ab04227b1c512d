//! `factory halt`, `resume` and `run` on this machine: what a person orders is what the halt files and the ledger say.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use factory::policy::hold::Hold;
use serde_json::Value;

use crate::order::{self, Files};
use crate::support::{CALM, Ended, Place, calm, nowhere, program_file};

/// Two hosts on this machine, each with a home of its own, and a repo that has them.
pub fn two() -> Place {
    let place = Place::new(&[
        ("factory.yml", CALM),
        ("repos.yml", &nowhere("repos: {harb: {slug: a/harb, ci: none}, quay: {slug: a/quay, ci: none}}\n")),
    ]);
    let host = |name: &str| format!("{name}: {{factory_home: {}}}", place.path(name).display());
    let hosts = format!("all: {{hosts: {{{}, {}}}, vars: {{ansible_connection: local}}}}\n", host("one"), host("two"));
    place.write("hosts.yml", &hosts);
    place
}

pub fn names(place: &Place, host: &str) -> Vec<String> {
    order::files(&place.path(host)).into_keys().collect()
}

pub fn text(place: &Place, host: &str, file: &str) -> String {
    fs::read_to_string(halt_file(place, host, file)).unwrap()
}

fn halt_file(place: &Place, host: &str, file: &str) -> PathBuf {
    place.path(host).join("halt").join(file)
}

pub fn held(place: &Place) -> Vec<Hold> {
    order::holds(&place.state())
}

#[track_caller]
pub fn in_order(place: &Place) {
    let hosts = ["one", "two"].map(|host| (host, order::files(&place.path(host))));
    order::assert_in_order(&place.state(), hosts);
}

fn touch(place: &Place, host: &str, file: &str, text: &str) {
    fs::create_dir_all(place.path(host).join("halt")).unwrap();
    fs::write(halt_file(place, host, file), text).unwrap();
}

/// All of a place: paths, contents, and when files were changed. When a directory was is not told: to read a database
/// makes files beside it for a moment.
pub fn tree(place: &Place) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
    fn walk(at: &Path, into: &mut BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)>) {
        let meta = fs::symlink_metadata(at).unwrap();
        let content = if meta.is_file() { fs::read(at).unwrap() } else { Vec::new() };
        let (seconds, nanoseconds) = if meta.is_file() { (meta.mtime(), meta.mtime_nsec()) } else { (0, 0) };
        into.insert(at.to_owned(), (meta.mode(), seconds, nanoseconds, content));
        if meta.is_dir() {
            fs::read_dir(at).unwrap().for_each(|entry| walk(&entry.unwrap().path(), into));
        }
    }
    let mut tree = BTreeMap::new();
    walk(&place.path(""), &mut tree);
    tree
}

fn events(place: &Place) -> String {
    place.run(&["events"]).code(0).stdout
}

/// The command that a message names between backticks, as words.
#[track_caller]
fn named(message: &str, verb: &str) -> Vec<String> {
    let start = format!("`factory {verb} ");
    let at = message.find(&start).unwrap_or_else(|| panic!("no {verb} in {message}"));
    let command = message[at + 1..].split('`').next().unwrap();
    shlex::split(command).unwrap().split_off(1)
}

fn run_words(place: &Place, words: &[String]) -> Ended {
    place.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn without_a_scope_or_with_a_name_that_nothing_has_nothing_is_done() {
    let place = two();
    let before = tree(&place);
    for verb in ["halt", "resume"] {
        let bare = place.run(&[verb]).code(2);
        assert!(
            bare.stderr.contains("which hosts, repos or agents?") && bare.stderr.contains("--all"),
            "{}",
            bare.stderr
        );
        for (flag, wrong, near) in [
            ("--host", "ome", "one"),
            ("--repo", "hrab", "harb"),
            ("--agent", "reveiw", "review"),
            ("--limit", "tow", "two"),
        ] {
            let run = place.run(&[verb, flag, wrong]).code(3);
            assert!(
                run.stderr.contains(wrong) && run.stderr.contains(&format!("did you mean `{near}`?")),
                "{}",
                run.stderr
            );
        }
        place.run(&[verb, "--all", "--host", "one"]).code(2);
        for empty in [&["--host", ""][..], &["--host", " "], &["--agent", "dev", "-l", ""]] {
            let run = place.run(&[&[verb], empty].concat()).code(2);
            assert!(run.stderr.contains("an empty pattern"), "{}", run.stderr);
        }
    }
    place.run(&["halt", "--host", "one", "--for", "0s"]).code(2);
    place.run(&["halt", "--host", "one", "--for", "soon"]).code(2);
    place.run(&["halt", "--host", "one", "--reason", &"%".repeat(1001)]).code(2);
    assert_eq!(tree(&place), before);
}

#[test]
fn each_scope_has_its_files_and_they_go_with_it() {
    let place = two();
    let all = ["dev", "review"];
    let cases: [(&[&str], &[&str], &[&str]); 9] = [
        (&["--host", "one"], &all, &[]),
        (&["--host", "one,two"], &all, &all),
        (&["--host", "all"], &all, &all),
        (&["--agent", "dev"], &["dev"], &["dev"]),
        (&["--host", "two", "--agent", "supervisor"], &[], &["supervisor"]),
        (&["--repo", "harb"], &["dev@harb", "review@harb"], &["dev@harb", "review@harb"]),
        (&["--repo", "harb,quay", "--agent", "dev", "--host", "one"], &["dev@harb", "dev@quay"], &[]),
        (&["--all"], &["dev", "review", "supervisor"], &["dev", "review", "supervisor"]),
        (&["--agent", "dev", "-l", "two"], &[], &["dev"]),
    ];
    for (scope, one, two) in cases {
        let halted = place.run(&[&["halt", "--reason", "a b%c"], scope].concat()).code(0);
        assert_eq!((names(&place, "one"), names(&place, "two")), (words(one), words(two)), "{scope:?}");
        in_order(&place);
        let [hold] = held(&place).try_into().unwrap();
        for (host, files) in [("one", one), ("two", two)] {
            for file in files {
                let line = text(&place, host, file);
                assert!(line.starts_with(&format!("manual {} ", hold.id)) && line.ends_with(" a%20b%25c\n"), "{line}");
            }
        }
        // The next tick has nothing to do.
        let run = place.run(&["run", "-o", "json"]).code(0).json();
        assert_eq!((&run["actions"], run["holds"].as_array().unwrap().len()), (&serde_json::json!([]), 1), "{run}");
        let lift = named(&halted.stderr, "resume");
        run_words(&place, &lift).code(0);
        assert!(names(&place, "one").is_empty() && names(&place, "two").is_empty(), "{lift:?}");
        assert!(held(&place).is_empty());
        in_order(&place);
    }
}

pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn the_same_scope_again_changes_nothing_or_only_what_is_said() {
    let place = two();
    place.run(&["halt", "--host", "one", "--agent", "dev", "--reason", "x"]).code(0);
    let seen = |place: &Place| {
        let meta = fs::metadata(halt_file(place, "one", "dev")).unwrap();
        (text(place, "one", "dev"), meta.ino(), meta.mtime(), meta.mtime_nsec())
    };
    let (first, hold) = (seen(&place), held(&place));
    let again = place.run(&["halt", "--host", "one", "--agent", "dev"]).code(0);
    assert!(again.stdout.contains("held already"), "{}", again.stdout);
    assert_eq!((seen(&place), held(&place)), (first.clone(), hold.clone()));
    let changed = place.run(&["halt", "--host", "one", "--agent", "dev", "--reason", "y", "--for", "2h"]).code(0);
    assert!(changed.stdout.contains("now changed"), "{}", changed.stdout);
    let [now] = held(&place).try_into().unwrap();
    assert_eq!((&now.id, now.since, now.reason.as_deref()), (&hold[0].id, hold[0].since, Some("y")));
    let line = text(&place, "one", "dev");
    assert_eq!((line.lines().count(), line.ends_with(" y\n"), line == first.0), (1, true, false), "{line}");
    // As long and as awkward as a reason may be.
    place.run(&["halt", "--host", "one", "--agent", "dev", "--reason", &"\u{1F525}".repeat(1000)]).code(0);
    assert_eq!(text(&place, "one", "dev").matches("%F0%9F%94%A5").count(), 1000);
    // Without a time it is for good again.
    place.run(&["halt", "--host", "one", "--agent", "dev"]).code(0);
    assert_eq!(held(&place)[0].until, None);
    in_order(&place);
}

#[test]
fn a_hold_with_a_time_ends_by_itself_and_no_earlier() {
    let place = two();
    place.run(&["halt", "--host", "two", "--for", "1h"]).code(0);
    place.run(&["halt", "--host", "one", "--for", "15s"]).code(0);
    let ordered = std::time::Instant::now();
    place.run(&["run"]).code(0);
    assert_eq!((names(&place, "one").len(), names(&place, "two").len()), (2, 2), "a tick in between ends nothing");
    std::thread::sleep(Duration::from_millis(15_200).saturating_sub(ordered.elapsed()));
    let run = place.run(&["run"]).code(0);
    assert!(run.stdout.contains("one: done: release dev, review"), "{}", run.stdout);
    assert_eq!((names(&place, "one").len(), names(&place, "two").len()), (0, 2));
    in_order(&place);
    assert!(events(&place).contains("the time is up for hold"), "{}", events(&place));
    // Held anew after its end it is another hold.
    place.run(&["halt", "--host", "one"]).code(0);
    in_order(&place);
}

#[test]
fn a_wall_clock_that_runs_ahead_ends_no_hold() {
    let library =
        ["x86_64-linux-gnu", "aarch64-linux-gnu", ""].map(|dir| format!("/usr/lib/{dir}/faketime/libfaketime.so.1"));
    let Some(library) = library.iter().find(|path| Path::new(path).exists()) else {
        println!(
            "left out: a wall clock that lies, since libfaketime is not installed (apt-get install faketime, as `make test` does)"
        );
        return;
    };
    let place = two();
    place.run(&["halt", "--host", "one", "--for", "1h"]).code(0);
    let ahead = |args: &[&str]| {
        let mut command = place.command(args);
        command.env("LD_PRELOAD", library).env("FAKETIME", "+7200").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Ended::from(command.output().unwrap(), &place.path("")).code(0)
    };
    for _ in 0..2 {
        let run: Value = ahead(&["run", "-o", "json"]).json();
        let at: jiff::Timestamp = run["tick"]["began"].as_str().unwrap().parse().unwrap();
        assert!(at > jiff::Timestamp::now() + jiff::SignedDuration::from_mins(90), "its clock is not ahead: {at}");
        assert_eq!(names(&place, "one"), ["dev", "review"]);
    }
    in_order(&place);
}

#[test]
fn a_wider_hold_is_named_with_the_command_that_lifts_it() {
    let place = two();
    let wider: [&[&str]; 6] = [
        &["--all"],
        &["--host", "all"],
        &["--host", "one,two", "--reason", "it's `quoted`"],
        &["--agent", "dev"],
        &["--repo", "harb"],
        &["--host", "one", "--agent", "dev,review"],
    ];
    for scope in wider {
        place.run(&[&["halt"], scope].concat()).code(0);
        let narrow: &[&str] = &["--host", "one", "--agent", "dev", "--repo", "harb"];
        place.run(&[&["halt"], narrow].concat()).code(0);
        let before = names(&place, "one");
        let refused = place.run(&[&["resume"], narrow].concat()).code(6);
        assert!(refused.stderr.contains("still held"), "{}", refused.stderr);
        assert_eq!(held(&place).len(), 1, "the narrow one went, the wider one stays");
        in_order(&place);
        assert!(!names(&place, "one").is_empty(), "{before:?}");
        let lift = named(&refused.stderr, "resume");
        run_words(&place, &lift).code(0);
        assert!(names(&place, "one").is_empty() && names(&place, "two").is_empty(), "{lift:?}");
        assert!(held(&place).is_empty(), "{lift:?}");
    }
    // Beside is not wider.
    place.run(&["halt", "--host", "two"]).code(0);
    place.run(&["halt", "--repo", "quay", "--host", "one"]).code(0);
    place.run(&["resume", "--host", "one", "--repo", "harb"]).code(0);
    assert_eq!(held(&place).len(), 2);
    in_order(&place);
}

#[test]
fn status_shows_the_stricter_of_what_people_and_what_pressure_want() {
    let place = two();
    place.run(&["run"]).code(0);
    let modes = || {
        let status = place.run(&["status", "-o", "json"]).code(0).json();
        ["dev", "review"].map(|class| status["hosts"][0]["modes"][class].as_str().map(str::to_owned))
    };
    let known = |mode: &str| Some(mode.to_owned());
    assert_eq!(modes(), [None, known("RUN")], "a host without a history");
    // One repo's is not the whole class.
    place.run(&["halt", "--host", "one", "--repo", "harb"]).code(0);
    assert_eq!(modes(), [None, known("RUN")]);
    place.run(&["halt", "--host", "one", "--agent", "review"]).code(0);
    assert_eq!(modes(), [None, known("HOLD")]);
    place.run(&["halt", "--host", "all"]).code(0);
    assert_eq!(modes(), [known("HOLD"), known("HOLD")]);
    place.run(&["resume", "--host", "all"]).code(0);
    assert_eq!(modes(), [None, known("RUN")]);
}

#[test]
fn what_is_not_held_is_resumed_all_the_same() {
    let place = two();
    for scope in [&["--all"][..], &["--host", "one"], &["--agent", "dev", "--repo", "harb"]] {
        let nothing = place.run(&[&["resume"], scope].concat()).code(0);
        assert!(nothing.stdout.contains("nothing was held"), "{}", nothing.stdout);
    }
    assert!(names(&place, "one").is_empty());
}

#[test]
fn what_a_person_touched_is_found_recorded_respected_and_lifted_by_resume_alone() {
    let place = two();
    touch(&place, "one", "dev", "");
    touch(&place, "one", "review@harb", "do not touch,\u{1b}[31m I am testing\n");
    touch(&place, "two", "dev", "");
    for _ in 0..3 {
        place.run(&["run"]).code(0);
        let mut holds = held(&place);
        holds.sort_by_key(|hold| hold.scope.clone());
        let [dev, review, other] = holds.try_into().unwrap();
        assert_eq!(dev.scope.flags(), "--host one --agent dev");
        assert_eq!(review.scope.flags(), "--host one --repo harb --agent review");
        assert_eq!(review.reason.as_deref(), Some("do not touch,[31m I am testing"));
        assert_eq!(other.scope.flags(), "--host two --agent dev");
        // It stays as the person left it.
        assert_eq!((text(&place, "one", "dev"), text(&place, "one", "review@harb").len()), (String::new(), 32));
        in_order(&place);
    }
    assert_eq!(events(&place).matches("found held by hand").count(), 3, "told once each");
    // Nothing of ours lifts it but `resume`, which need not have seen it before.
    place.run(&["halt", "--host", "one"]).code(0);
    // Into the empty file went a line; the next tick says there whose else it is.
    place.run(&["run"]).code(0);
    in_order(&place);
    assert!(!events(&place).contains("put back"), "{}", events(&place));
    place.run(&["resume", "--host", "one", "--agent", "review"]).code(6);
    in_order(&place);
    place.run(&["resume", "--host", "one"]).code(0);
    assert!(names(&place, "one").is_empty(), "{:?}", order::files(&place.path("one")));
    touch(&place, "one", "review", "again");
    place.run(&["resume", "--host", "one"]).code(0);
    assert!(names(&place, "one").is_empty() && names(&place, "two") == ["dev"]);
    place.run(&["run"]).code(0);
    in_order(&place);
    // Touched anew it is a new hold.
    touch(&place, "one", "dev", "");
    place.run(&["run"]).code(0);
    assert_eq!(held(&place).len(), 2);
    in_order(&place);
}

#[test]
fn names_that_no_agent_has_are_left_alone() {
    let place = two();
    for name in ["dev~", ".dev.swp", "dev@"] {
        touch(&place, "one", name, "");
    }
    let before = names(&place, "one");
    place.run(&["run"]).code(0);
    place.run(&["halt", "--host", "one"]).code(0);
    place.run(&["resume", "--all"]).code(0);
    assert_eq!(names(&place, "one"), before);
}

#[test]
fn a_person_s_rm_is_mended_once_and_then_left_so() {
    let place = two();
    place.run(&["halt", "--host", "one", "--agent", "dev"]).code(0);
    place.run(&["run"]).code(0);
    let gone = || fs::remove_file(halt_file(&place, "one", "dev")).unwrap();
    gone();
    let run = place.run(&["run"]).code(0);
    assert!(run.stderr.contains("it is put back"), "{}", run.stderr);
    in_order(&place);
    gone();
    let run = place.run(&["run"]).code(0);
    assert!(run.stderr.contains("it is left so"), "{}", run.stderr);
    assert!(names(&place, "one").is_empty());
    for _ in 0..2 {
        let run = place.run(&["run"]).code(0);
        assert!(names(&place, "one").is_empty() && !run.stderr.contains("it is left so"), "told once: {}", run.stderr);
    }
    let told = events(&place);
    assert_eq!((told.matches("it is put back").count(), told.matches("it is left so").count()), (1, 1), "{told}");
    // Who holds anew means it.
    place.run(&["halt", "--host", "one", "--agent", "dev"]).code(0);
    in_order(&place);
    place.run(&["run"]).code(0);
    in_order(&place);
    // What another order comes upon is no tick: it mends, and does not count.
    gone();
    for _ in 0..2 {
        place.run(&["resume", "--host", "one", "--agent", "review"]).code(0);
        in_order(&place);
        gone();
    }
    place.run(&["run"]).code(0);
    in_order(&place);
    place.run(&["run"]).code(0);
    // Seen in between it is a new matter each time.
    gone();
    place.run(&["run"]).code(0);
    place.run(&["run"]).code(0);
    in_order(&place);
}

#[test]
fn who_starts_an_agent_is_held_with_it() {
    let place = two();
    place.write(
        "factory.yml",
        &calm("agents: {poll: {class: supervisor, start: cron, starts: [dev, review], match: poll.sh}}\n"),
    );
    place.run(&["halt", "--host", "one", "--agent", "review"]).code(0);
    assert_eq!(names(&place, "one"), ["poll", "review"]);
    place.run(&["halt", "--repo", "harb", "--host", "two"]).code(0);
    assert_eq!(names(&place, "two"), ["dev@harb", "poll@harb", "review@harb"]);
    place.run(&["resume", "--host", "one"]).code(0);
    place.run(&["resume", "--repo", "harb"]).code(0);
    assert!(names(&place, "one").is_empty() && names(&place, "two").is_empty());
}

#[test]
fn an_agent_with_a_halt_file_or_an_active_file_of_its_own_is_held_by_that() {
    let place = Place::this_machine();
    let home = |place: &Place| order::files(&place.path("home/.factory"));
    let (stop, active) = (place.path("stop here/dev"), place.path("one.enabled"));
    place.write(
        "factory.yml",
        &calm(&format!(
            "agents: {{dev: {{halt: {{file: '{}'}}}}, review: {{halt: {{active_file: '{}'}}}}}}\n",
            stop.display(),
            active.display()
        )),
    );
    fs::write(&active, "content\n").unwrap();
    let away = place.path("one.enabled.factory-held");
    place.run(&["halt", "--host", "this"]).code(0);
    assert!(stop.exists() && !active.exists() && fs::read_to_string(&away).unwrap() == "content\n");
    assert_eq!(home(&place).into_keys().collect::<Vec<_>>(), ["dev", "review"]);
    place.run(&["run"]).code(0);
    assert_eq!(held(&place).len(), 1, "it is no person's: {:?}", held(&place));
    place.run(&["resume", "--host", "this"]).code(0);
    assert!(!stop.exists() && !away.exists() && fs::read_to_string(&active).unwrap() == "content\n");

    // A person's own of either kind.
    fs::write(&stop, "mine\n").unwrap();
    fs::remove_file(&active).unwrap();
    place.run(&["run"]).code(0);
    let mut found: Vec<String> = held(&place).iter().map(|hold| hold.scope.flags()).collect();
    found.sort();
    assert_eq!(found, ["--host this --agent dev", "--host this --agent review"]);
    assert_eq!(fs::read_to_string(&stop).unwrap().lines().next(), Some("mine"));
    place.run(&["resume", "--all"]).code(0);
    assert!(!stop.exists() && !active.exists(), "what a person took away only a person brings back");
    assert!(held(&place).is_empty());
}

#[test]
fn without_a_ledger_an_active_file_is_taken_away_too() {
    let place = two();
    let active = place.path("enabled");
    let agents = format!("agents: {{dev: {{halt: {{active_file: '{}'}}}}}}\n", active.display());
    place.write("factory.yml", &calm(&agents));
    fs::write(&active, "content\n").unwrap();
    place.run(&["run"]).code(0);
    fs::write(place.state().join("ledger.db"), "no database at all, whatever it may look like").unwrap();
    place.run(&["halt", "--host", "one", "--agent", "dev"]).code(1);
    assert!(!active.exists(), "the agent may still run");
    assert_eq!(fs::read_to_string(place.path("enabled.factory-held")).unwrap(), "content\n");
}

#[test]
fn an_agent_that_comes_later_is_held_too() {
    let place = two();
    place.run(&["halt", "--host", "all"]).code(0);
    place.write("factory.yml", &calm("agents: {fixer: {class: dev, command: [true]}, boss: {class: supervisor}}\n"));
    place.run(&["run"]).code(0);
    for host in ["one", "two"] {
        assert_eq!(names(&place, host), ["dev", "fixer", "review"]);
    }
    // And a host that comes later.
    let hosts = fs::read_to_string(place.path("inventory/hosts.yml")).unwrap();
    let third = format!("{{hosts: {{three: {{factory_home: {}}}, ", place.path("three").display());
    place.write("hosts.yml", &hosts.replace("{hosts: {", &third));
    place.run(&["run"]).code(0);
    assert_eq!(names(&place, "three"), ["dev", "fixer", "review"]);
    // One that left, with a hold of its own, can still be resumed by name.
    place.run(&["halt", "--host", "three", "--agent", "dev"]).code(0);
    place.write("hosts.yml", &hosts);
    place.run(&["resume", "--host", "three", "--agent", "dev"]).code(6);
    assert_eq!(held(&place).len(), 1);
}

#[test]
fn check_changes_nothing() {
    let place = two();
    let checks: [&[&str]; 4] = [
        &["halt", "--host", "one", "--check"],
        &["resume", "--all", "--check"],
        &["run", "--check"],
        &["halt", "--all", "--for", "1s", "-C", "-o", "json"],
    ];
    let check = |told: [&str; 4]| {
        let before = tree(&place);
        for (args, told) in checks.iter().zip(told) {
            let ended = place.run(args).code(0);
            assert!(ended.stdout.contains(told), "{args:?}: {told}: {}", ended.stdout);
            let after = tree(&place);
            for (path, entry) in &after {
                assert_eq!(before.get(path), Some(entry), "{args:?}: {}", path.display());
            }
            assert_eq!(after.len(), before.len(), "{args:?}");
        }
    };
    // Where nothing was ever done; and with something to do for each.
    check(["would hold every agent on one", "would lift nothing", "LEVEL", "\"kind\": \"halt\""]);
    place.run(&["halt", "--host", "two"]).code(0);
    place.run(&["halt", "--host", "one", "--for", "1ms"]).code(0);
    fs::remove_file(halt_file(&place, "two", "dev")).unwrap();
    touch(&place, "one", "supervisor", "mine");
    check(["would hold every agent on one", "would lift\n", "two: would hold dev", "\"kind\": \"halt\""]);
    // What was to be done is done then.
    place.run(&["run"]).code(0);
    in_order(&place);
    assert_eq!((names(&place, "one"), names(&place, "two")), (words(&["supervisor"]), words(&["dev", "review"])));
}

#[test]
fn one_machine_under_two_names_is_not_changed_under_either() {
    let place = Place::new(&[
        ("hosts.yml", "all: {hosts: {left: , right: }, vars: {ansible_connection: local}}\n"),
        ("factory.yml", CALM),
    ]);
    let home = place.path("home/.factory");
    // The guard makes the id that gives it away.
    place.run(&["halt", "--host", "left"]).code(0);
    place.run(&["run"]).code(0);
    let before = order::files(&home);
    for name in ["left", "right"] {
        let refused = place.run(&["halt", "--host", name, "--agent", "supervisor"]).code(1);
        assert!(refused.stdout.contains("it is the same machine as"), "{name}: {}", refused.stdout);
        assert_eq!(order::files(&home), before, "{name}");
        let refused = place.run(&["resume", "--host", name]).code(1);
        assert!(refused.stdout.contains("it is the same machine as"), "{name}: {}", refused.stdout);
        assert_eq!(order::files(&home), before, "{name}");
    }
    let run = place.run(&["run"]).code(0);
    assert_eq!(run.stdout.matches("it is the same machine as").count(), 2, "{}", run.stdout);
    assert_eq!(order::files(&home), before);
    // With one name left all is as it was ordered last: `left` is resumed.
    place.write("hosts.yml", "all: {hosts: {left: }, vars: {ansible_connection: local}}\n");
    place.run(&["run"]).code(0);
    order::assert_in_order(&place.state(), [("left", order::files(&home))]);
    assert!(order::files(&home).is_empty());
}

#[test]
fn a_hold_that_is_lifted_while_a_tick_is_going_on_stays_lifted() {
    let place = two();
    touch(&place, "one", "dev", "");
    // A probe of the second host that waits, while the first one has told what it shows.
    let bin = place.path("bin");
    let nproc = format!(
        "#!/bin/sh\ncd '{}' || exit\nmkdir first && exec echo 1\n>waits; until [ -e go ]; do sleep 0.02; done; echo 1\n",
        place.path("").display()
    );
    program_file(&bin.join("nproc"), &nproc);
    // So that there is a journal to look into.
    place.run(&["halt", "--host", "two", "--agent", "dev"]).code(0);
    let mut command = place.command(&["run", "-q"]);
    command.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
    let mut tick = command.spawn().unwrap();
    let began = std::time::Instant::now();
    while !place.path("waits").exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "the tick does not come to its second host");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(300));
    // Neither waits for the tick, nor does what they order.
    place.run(&["resume", "--host", "one"]).code(0);
    assert!(names(&place, "one").is_empty());
    place.run(&["halt", "--host", "one", "--agent", "review"]).code(0);
    assert!(events(&place).contains("found held by hand"), "{}", events(&place));
    assert_eq!(tick.try_wait().unwrap(), None);
    fs::write(place.path("go"), "").unwrap();
    assert!(tick.wait().unwrap().success());
    for _ in 0..2 {
        assert_eq!(names(&place, "one"), ["review"], "{:?}", held(&place));
        place.run(&["run"]).code(0);
        in_order(&place);
    }
}

#[test]
fn other_lines_and_files_stay_to_the_byte() {
    let place = two();
    touch(&place, "one", "dev", "auto 0011aabb solo 2026-01-01T00:00:00Z - 1 memory\nno line break");
    let files = |place: &Place| -> Files { order::files(&place.path("one")) };
    place.run(&["halt", "--host", "one", "--agent", "dev"]).code(0);
    assert!(text(&place, "one", "dev").starts_with("auto 0011aabb solo 2026-01-01T00:00:00Z - 1 memory\n"));
    // The supervisor's own is not a person's to lift; the text is.
    place.run(&["resume", "--host", "one"]).code(0);
    assert_eq!(files(&place)["dev"], "auto 0011aabb solo 2026-01-01T00:00:00Z - 1 memory\n");
    // The ladder takes up what nobody here knows of, and puts its own line beside it.
    place.run(&["run"]).code(0);
    assert!(files(&place)["dev"].starts_with("auto "), "{:?}", files(&place));
    assert!(held(&place).is_empty());
}
