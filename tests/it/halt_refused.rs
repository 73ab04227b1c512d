//! Where holds are refused or go another way: other fleets, leases that move, lost epochs and ledgers, machines that do
//! not lead.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use factory::policy::hold::Hold;
use serde_json::Value;

use crate::halt::{held, in_order, names, text, tree, two, words};
use crate::order;
use crate::support::{CALM, Ended, Place, calm};

#[test]
fn a_second_fleet_is_refused_and_nothing_of_it_is_done() {
    let place = two();
    place.run(&["halt", "--host", "one", "--agent", "dev"]).code(0);
    place.run(&["run"]).code(0);
    let snapshot = || [order::files(&place.path("one")), order::files(&place.path("two"))];
    let fence = || ["fleet", "epoch"].map(|file| fs::read_to_string(place.path("one").join(file)).unwrap());
    let (before, obeyed) = (snapshot(), fence());
    place.write("factory.yml", &calm("fleet: other\n"));
    for args in [["halt", "--host", "one"], ["resume", "--host", "one"]] {
        let refused = place.run(&args).code(1);
        let told = format!("{}{}", refused.stdout, refused.stderr);
        assert!(told.contains("another fleet") && told.contains("factory host adopt one"), "{args:?}: {told}");
        assert_eq!((snapshot(), fence()), (before.clone(), obeyed.clone()), "{args:?}");
    }
    let run = place.run(&["run"]).code(0);
    assert!(run.stdout.contains("another fleet"), "{}", run.stdout);
    assert_eq!((snapshot(), fence()), (before, obeyed));
    // The first one goes on.
    place.write("factory.yml", CALM);
    place.run(&["resume", "--host", "one"]).code(0);
    in_order(&place);
}

#[test]
fn under_another_name_the_lease_moves_and_the_hosts_obey_the_newer_one() {
    let place = two();
    let fence = |host: &str| fs::read_to_string(place.path(host).join("epoch")).unwrap();
    place.run(&["halt", "--host", "all", "--as", "one"]).code(0);
    assert_eq!((fence("one"), fence("two")), ("1 one\n".to_owned(), "1 one\n".to_owned()));
    place.run(&["halt", "--host", "one", "--agent", "supervisor", "--as", "two"]).code(0);
    assert_eq!((fence("one"), fence("two")), ("2 two\n".to_owned(), "1 one\n".to_owned()));
    in_order(&place);
    let run = place.run(&["run", "--as", "one"]).code(0);
    assert!(run.stderr.contains("one leads now, two did before"), "{}", run.stderr);
    place.run(&["resume", "--host", "one", "--agent", "supervisor", "--as", "one"]).code(0);
    assert_eq!(fence("one"), "3 one\n");
    // A host that has seen a higher epoch than the ledger, as after a restored backup: the lease goes above it.
    fs::write(place.path("one/epoch"), "41 ghost\n").unwrap();
    place.run(&["resume", "--host", "all", "--as", "one"]).code(0);
    assert_eq!((fence("one"), order::document(&place.state()).unwrap().lease.epoch), ("42 one\n".to_owned(), 42));
    assert!(names(&place, "one").is_empty() && names(&place, "two").is_empty());
    place.run(&["run", "--as", "three"]).code(3);
}

#[test]
fn a_host_whose_epoch_is_lost_is_refused_with_the_way_out_and_the_others_are_not() {
    let place = two();
    place.run(&["halt", "--host", "one,two", "--agent", "dev"]).code(0);
    let before = names(&place, "one");
    for damage in ["", "0\n", "2\n", "99999999999999999999 one\n"] {
        fs::write(place.path("one/epoch"), damage).unwrap();
        let halted = place.run(&["halt", "--host", "all"]).code(1);
        assert!(halted.stdout.contains("factory host repair one"), "{damage:?}: {}", halted.stdout);
        assert_eq!(
            (names(&place, "one"), names(&place, "two")),
            (before.clone(), words(&["dev", "review"])),
            "{damage:?}"
        );
        let run = place.run(&["run"]).code(0);
        assert!(run.stdout.contains("factory host repair one"), "{damage:?}: {}", run.stdout);
        assert_eq!(fs::read_to_string(place.path("one/epoch")).unwrap(), damage);
        place.run(&["resume", "--host", "all", "--agent", "review"]).code(6);
        assert_eq!(held(&place).len(), 2);
    }
}

/// What `halt` and `run` do in a state directory whose ledger cannot be used.
#[track_caller]
fn without_a_ledger(place: &Place, before: &[Hold]) {
    let ledger = place.state().join("ledger.db");
    let bytes = fs::read(&ledger).unwrap();
    let halted = place.run(&["halt", "--host", "two", "--agent", "dev", "--reason", "fire"]).code(1);
    assert!(halted.stderr.contains("error: ") && halted.stderr.contains("straight to the hosts"), "{}", halted.stderr);
    assert!(halted.stdout.contains("held by hand"), "{}", halted.stdout);
    assert!(text(place, "two", "dev").contains("fire"));
    let run = place.run(&["run"]).code(1);
    assert!(run.stdout.contains("one: ") && run.stdout.contains("GiB free"), "it goes on looking: {}", run.stdout);
    let run = place.run(&["run", "-o", "json"]).code(1).json();
    assert_eq!(run["holds"], Value::Null, "nobody knows: {run}");
    let resumed = place.run(&["resume", "--host", "one"]).code(1);
    assert!(resumed.stderr.contains("error: "), "{}", resumed.stderr);
    let object = place.run(&["halt", "--host", "two", "--agent", "dev", "-o", "json"]).code(1).json();
    assert_eq!((&object["kind"], &object["recorded"]), (&"halt".into(), &false.into()));
    assert_eq!(fs::read(&ledger).unwrap(), bytes, "it was written over");
    assert_eq!(names(place, "one"), ["review"], "{before:?}");
}

#[test]
fn a_damaged_ledger_is_not_written_over_and_halts_all_the_same() {
    for damage in ["flipped", "short", "no database"] {
        let place = two();
        place.run(&["halt", "--host", "one", "--agent", "review"]).code(0);
        let before = held(&place);
        let ledger = place.state().join("ledger.db");
        let whole = fs::read(&ledger).unwrap();
        let mut bytes = whole.clone();
        match damage {
            "flipped" => bytes.iter_mut().skip(100).for_each(|byte| *byte ^= 0x55),
            "short" => bytes.truncate(bytes.len() / 2),
            _ => bytes = b"nothing of the kind".to_vec(),
        }
        fs::write(&ledger, bytes).unwrap();
        without_a_ledger(&place, &before);
        // Mended, the next run finds what was ordered meanwhile.
        fs::write(&ledger, whole).unwrap();
        place.run(&["run"]).code(0);
        assert_eq!(held(&place).len(), 2, "{damage}");
        in_order(&place);
    }
}

#[test]
fn a_state_directory_that_cannot_be_made_does_not_keep_a_person_from_halting() {
    let place = two();
    fs::write(place.path("in-the-way"), "").unwrap();
    let state = place.path("in-the-way/state").display().to_string();
    let halted = place.run(&["halt", "--host", "one", "--state", &state]).code(1);
    assert!(halted.stderr.contains("cannot make the state directory"), "{}", halted.stderr);
    assert_eq!(names(&place, "one"), ["dev", "review"], "{}", halted.stdout);
}

#[test]
fn a_read_only_state_directory_does_not_either() {
    if !rustix::process::geteuid().is_root() {
        let place = two();
        place.run(&["run"]).code(0);
        fs::set_permissions(place.state(), fs::Permissions::from_mode(0o500)).unwrap();
        let halted = place.run(&["halt", "--host", "one"]).code(1);
        fs::set_permissions(place.state(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(names(&place, "one"), ["dev", "review"], "{}", halted.stderr);
        return;
    }
    let place = two();
    place.run(&["halt", "--host", "one", "--agent", "review"]).code(0);
    let before = held(&place);
    // Root is stopped by nothing but the mount.
    let script = "mount --bind \"$STATE\" \"$STATE\" && mount -o remount,bind,ro \"$STATE\" && exec \"$@\"";
    let read_only = |args: &[&str]| {
        let inner = place.command(args);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(inner.get_program()).args(args);
        command.env_clear().env("HOME", place.path("home")).env("PATH", std::env::var_os("PATH").unwrap());
        command.env("STATE", place.state()).current_dir(place.path(""));
        Ended::from(command.output().unwrap(), &place.path(""))
    };
    let halted = read_only(&["halt", "--host", "two"]).code(1);
    assert!(halted.stderr.contains("straight to the hosts"), "{}", halted.stderr);
    assert_eq!(names(&place, "two"), ["dev", "review"]);
    let run = read_only(&["run"]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!((held(&place), names(&place, "one")), (before, words(&["review"])));
    place.run(&["run"]).code(0);
    assert_eq!(held(&place).len(), 3);
    in_order(&place);
}

#[test]
fn the_objects_are_one_each_with_the_keys_that_are_told() {
    let place = two();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let halted = place.run(&["halt", "--host", "one", "--for", "1h", "-o", "json"]).code(0).json();
    assert_eq!((&halted["v"], &halted["kind"], &halted["became"]), (&1.into(), &"halt".into(), &"new".into()));
    assert_eq!(keys(&halted["hosts"][0]), ["host", "done", "degraded", "why", "help"]);
    assert_eq!(halted["hold"]["scope"], serde_json::json!({"hosts": ["one"], "repo": "*", "agent": "*"}));
    let run = place.run(&["run", "-o", "json"]).code(0).json();
    assert_eq!((&run["kind"], &run["holds"][0]["id"]), (&"run".into(), &halted["hold"]["id"]));
    let wider = place.run(&["resume", "--host", "one", "--agent", "dev", "-o", "json"]).code(6).json();
    assert_eq!((&wider["ended"], &wider["wider"][0]["id"]), (&serde_json::json!([]), &halted["hold"]["id"]));
    for args in [&["halt", "--host", "two", "--check"][..], &["resume", "--all", "--check"]] {
        let check = place.run(&[args, &["-o", "json"]].concat()).code(0).json();
        assert_eq!(
            (&check["v"], &check["kind"], &check["check"]),
            (&1.into(), &args[0].into(), &true.into()),
            "{check}"
        );
    }
    let resumed = place.run(&["resume", "--all", "-o", "jsonl"]).code(0);
    assert_eq!(resumed.stdout.lines().count(), 1, "{}", resumed.stdout);
    assert_eq!((&resumed.json()["kind"], &resumed.json()["ended"][0]["id"]), (&"resume".into(), &halted["hold"]["id"]));
}

#[test]
fn a_machine_that_may_not_lead_halts_by_hand_and_does_no_more() {
    let place = two();
    let hosts = fs::read_to_string(place.path("inventory/hosts.yml")).unwrap();
    // Nobody listens there.
    let away = "{hosts: {chief: {ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}, ";
    place.write("hosts.yml", &hosts.replace("{hosts: {", away));
    place.write("factory.yml", &calm("candidates: [chief]\n"));
    let empty = tree(&place);
    let run = place.run(&["run"]).code(5);
    assert!(run.stderr.contains("the candidates are chief"), "{}", run.stderr);
    place.run(&["halt", "--host", "one", "--check"]).code(4);
    let resumed = place.run(&["resume", "--host", "one"]).code(4);
    assert!(resumed.stderr.contains("no candidate answers"), "{}", resumed.stderr);
    assert_eq!(tree(&place), empty);

    let halted = place.run(&["halt", "--host", "one", "--agent", "dev", "--reason", "fire"]).code(4);
    assert!(
        halted.stderr.contains("no candidate answers") && halted.stdout.contains("held by hand"),
        "{}",
        halted.stderr
    );
    assert_eq!(names(&place, "one"), ["dev"]);
    let line = text(&place, "one", "dev");
    place.run(&["resume", "--host", "one"]).code(4);
    assert_eq!(text(&place, "one", "dev"), line);
    // Who leads finds it.
    place.write("factory.yml", CALM);
    place.run(&["run", "-l", "one,two"]).code(0);
    let [hold] = held(&place).try_into().unwrap();
    assert!(hold.reason.as_ref().unwrap().contains("fire"), "{hold:?}");
    in_order(&place);
}

/// A machine that may not lead, whose candidates `chief` and `deputy` are reached, and its host `one`. What they call
/// `factory` notes what it is told, and `does` the rest.
fn visitor(does: &str) -> Place {
    let place = two();
    let hosts = fs::read_to_string(place.path("inventory/hosts.yml")).unwrap();
    place.write("hosts.yml", &hosts.replace("{hosts: {", "{hosts: {chief: {}, deputy: {}, "));
    let ledger = "candidates: [chief, deputy]\nledger: {kind: git, url: 'ssh://git@forge.example/fleet.git'}\n";
    place.write("factory.yml", &calm(ledger));
    let program = place.path("home/.local/bin/factory");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::write(&program, format!("#!/bin/sh\necho \"$*\" >>~/asked\n{does}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    place
}

fn asked(place: &Place) -> Vec<String> {
    let asked = fs::read_to_string(place.path("home/asked")).unwrap_or_default();
    let _ = fs::remove_file(place.path("home/asked"));
    asked.lines().map(str::to_owned).collect()
}

/// As a visitor, which finds no other program of that name.
fn as_visitor(place: &Place, args: &[&str]) -> Ended {
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", place.path("home/.local/bin").display());
    Ended::from(place.command(args).env("PATH", path).output().unwrap(), &place.path(""))
}

#[test]
fn an_order_that_may_have_been_carried_out_goes_to_nobody_else() {
    let launch: &[&str] = &["launch", "--host", "one", "--repo", "harb", "--agent", "dev"];
    for (does, how) in [("echo begun; kill -9 $$", "killed by signal 9"), ("echo begun; sleep 20", "still running")] {
        let place = visitor(does);
        for order in [launch, &["stop", "20260312-a"], &["resume", "--all"]] {
            let ended = as_visitor(&place, &[order, &["-T", "1s"]].concat()).code(4);
            let told = &ended.stderr;
            assert!(
                told.contains("nobody knows whether it was done on chief") && told.contains(how),
                "{order:?}: {told}"
            );
            assert!(told.contains("factory ps") && !told.contains("nothing was"), "{order:?}: {told}");
            assert_eq!(ended.stdout, "begun\n", "what it said is shown");
            let asked = asked(&place);
            assert!(asked.len() == 1 && asked[0].contains("--as chief"), "{asked:?}");
        }
    }
    // To hold twice does no harm, so a person is not kept from it; but what it could not do is told.
    let place = visitor("kill -9 $$");
    let halted = as_visitor(&place, &["halt", "--host", "one", "--agent", "dev", "--stop"]).code(4);
    assert!(halted.stderr.contains("nobody knows whether it was done on chief"), "{}", halted.stderr);
    assert!(halted.stderr.contains("runs were not told to stop"), "{}", halted.stderr);
    assert_eq!((names(&place, "one"), asked(&place).len()), (words(&["dev"]), 1));
    as_visitor(&place, &["halt", "--host", "one", "--check"]).code(4);
    assert_eq!(names(&place, "one"), ["dev"]);
    // The first one that can be reached has the last word.
    let place = visitor("echo no; exit 6");
    let ended = as_visitor(&place, launch).code(6);
    assert_eq!((ended.stdout.as_str(), asked(&place).len()), ("no\n", 1));
}

#[test]
fn a_halt_that_goes_straight_to_the_hosts_tells_that_no_run_was_stopped() {
    let place = two();
    place.run(&["run"]).code(0);
    fs::create_dir_all(place.state()).unwrap();
    fs::write(place.state().join("ledger.db"), "nothing of the kind").unwrap();
    for (more, told) in [(&[][..], false), (&["--stop"][..], true), (&["--stop", "-o", "json"][..], true)] {
        let halted = place.run(&[&["halt", "--host", "one", "--agent", "dev"], more].concat()).code(1);
        assert!(halted.stderr.contains("straight to the hosts"), "{}", halted.stderr);
        let said = halted.stderr.contains("runs were not told to stop") && halted.stderr.contains("factory ps");
        assert_eq!(said, told, "{more:?}: {}", halted.stderr);
    }
}

#[test]
fn a_machine_whose_journal_cannot_be_read_does_not_take_the_lease_from_itself() {
    let place = two();
    let hosts = fs::read_to_string(place.path("inventory/hosts.yml")).unwrap();
    let own = place.path("home/.factory").display().to_string();
    place.write("hosts.yml", &hosts.replace(&place.path("one").display().to_string(), &own));
    place.run(&["halt", "--host", "one", "--agent", "dev"]).code(0);
    place.run(&["run"]).code(0);
    place.run(&["run"]).code(0);
    let lease = || order::document(&place.state()).unwrap().lease;
    let before = lease();
    assert_eq!(before.holder, "one", "it knows itself by its host-id");
    fs::write(place.state().join("journal.db"), "not a database, not at all ".repeat(200)).unwrap();
    for log in ["journal.db-wal", "journal.db-shm"] {
        let _ = fs::remove_file(place.state().join(log));
    }
    for args in [&["run"][..], &["resume", "--all"]] {
        let run = place.run(args).code(1);
        assert!(run.stderr.contains("which host of the inventory this machine is"), "{}", run.stderr);
        assert!(run.stderr.contains("--as NAME"), "{}", run.stderr);
    }
    assert_eq!((&lease().holder, lease().epoch), (&before.holder, before.epoch));
    // A person can stop the work all the same.
    let halted = place.run(&["halt", "--host", "one", "--agent", "review"]).code(1);
    assert!(halted.stdout.contains("held by hand"), "{}{}", halted.stdout, halted.stderr);
    place.run(&["run", "--as", "one"]).code(0);
    place.run(&["run"]).code(0);
    assert_eq!((&lease().holder, lease().epoch), (&before.holder, before.epoch));
}
