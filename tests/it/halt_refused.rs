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
