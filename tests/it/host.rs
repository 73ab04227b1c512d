//! `factory host adopt` and `host repair`: the ways out of what a host refuses, seen on the host's disk.

use std::fs;

use crate::halt::{held, in_order, names, two};
use crate::support::{CALM, Place, calm};

fn file(place: &Place, host: &str, name: &str) -> String {
    fs::read_to_string(place.path(host).join(name)).unwrap()
}

/// Another supervisor, with a state of its own, of the same hosts.
fn other(place: &Place) {
    place.write("factory.yml", &calm("fleet: other\n"));
}

#[test]
fn a_host_of_another_fleet_is_ours_once_it_is_adopted_and_refuses_the_old_one() {
    let place = two();
    for _ in 0..3 {
        // Each change of name raises the epoch.
        place.run(&["halt", "--host", "one", "--agent", "dev", "--as", "one"]).code(0);
        place.run(&["halt", "--host", "one", "--agent", "dev", "--as", "two", "--reason", "x"]).code(0);
    }
    place.run(&["run", "--as", "two"]).code(0);
    let (fleet, epoch) = (file(&place, "one", "fleet"), file(&place, "one", "epoch"));
    assert_eq!(epoch, "6 two\n");

    other(&place);
    let asked = place.run(&["host", "adopt", "one", "--as", "two"]).code(2);
    assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
    place.run(&["host", "adopt", "one", "--check", "--as", "two"]).code(0);
    assert_eq!((file(&place, "one", "fleet"), file(&place, "one", "epoch")), (fleet.clone(), epoch));
    let adopted = place.run(&["host", "adopt", "one", "--yes", "--as", "two"]).code(0);
    assert!(adopted.stderr.contains(fleet.trim()), "who had it is told: {}", adopted.stderr);
    assert_ne!(file(&place, "one", "fleet"), fleet);
    assert_eq!(file(&place, "one", "epoch"), "7 two\n", "above every epoch that it has seen");
    // The halts that the other one had put there stay, and are a person's until they are lifted.
    assert_eq!(names(&place, "one"), ["dev"]);
    place.run(&["run", "--as", "two"]).code(0);
    place.run(&["resume", "--host", "one", "--as", "two"]).code(0);
    assert_eq!(names(&place, "one"), [""; 0]);
    place.run(&["halt", "--host", "one", "--as", "two"]).code(0);

    place.write("factory.yml", CALM);
    let refused = place.run(&["resume", "--host", "one", "--as", "two"]).code(1);
    assert!(format!("{}{}", refused.stdout, refused.stderr).contains("another fleet"));
    assert_eq!(names(&place, "one"), ["dev", "review"]);
}

#[test]
fn a_lost_ledger_takes_up_the_fleet_of_its_hosts_and_finds_their_holds() {
    let place = two();
    place.run(&["halt", "--host", "one", "--agent", "dev", "--reason", "upgrade", "--as", "one"]).code(0);
    place.run(&["halt", "--repo", "harb", "--as", "two"]).code(0);
    place.run(&["run", "--as", "two"]).code(0);
    let (fleet, before) = (file(&place, "one", "fleet"), names(&place, "one"));
    fs::remove_file(place.state().join("ledger.db")).unwrap();

    // Nothing is taken for a resume: what the hosts show stays.
    let run = place.run(&["run", "--as", "two"]).code(0);
    assert!(run.stdout.contains("host adopt --all"), "{}", run.stdout);
    assert_eq!(names(&place, "one"), before);
    let adopted = place.run(&["host", "adopt", "--all", "--yes", "--as", "two", "-o", "json"]).code(0).json();
    assert_eq!(adopted["hosts"][0]["why"], serde_json::Value::Null);
    assert_eq!(file(&place, "one", "fleet"), fleet);
    assert_eq!([file(&place, "one", "epoch"), file(&place, "two", "epoch")], ["3 two\n", "3 two\n"]);
    place.run(&["run", "--as", "two"]).code(0);
    assert_eq!(names(&place, "one"), before);
    let reasons: Vec<Option<String>> = held(&place).into_iter().map(|hold| hold.reason).collect();
    assert!(reasons.contains(&Some("upgrade".to_owned())), "{reasons:?}");
    in_order(&place);
    place.run(&["resume", "--all", "--as", "two"]).code(0);
    assert_eq!((names(&place, "one"), names(&place, "two")), (vec![], vec![]));
}

#[test]
fn a_fleet_is_taken_up_only_by_an_empty_ledger_from_hosts_that_agree_and_all_answer() {
    let place = two();
    let nothing = place.run(&["host", "adopt", "--all", "--yes"]).code(1);
    assert!(nothing.stderr.contains("none of the hosts obeys a fleet"), "{}", nothing.stderr);
    place.run(&["halt", "--host", "one"]).code(0);
    other(&place);
    place.run(&["halt", "--host", "two"]).code(0);
    place.run(&["run"]).code(0);
    let fleets = [file(&place, "one", "fleet"), file(&place, "two", "fleet")];
    let refused = place.run(&["host", "adopt", "--all", "--yes"]).code(1);
    assert!(refused.stderr.contains("obey 2 fleets"), "{}", refused.stderr);
    fs::remove_dir_all(place.path("two")).unwrap();
    let refused = place.run(&["host", "adopt", "--all", "--yes"]).code(1);
    assert!(refused.stderr.contains("not empty"), "{}", refused.stderr);
    fs::remove_file(place.state().join("ledger.db")).ok();
    place.write(
        "hosts.yml",
        &format!(
            "all: {{hosts: {{one: {{ansible_connection: local, factory_home: {}}}, far: {{ansible_host: 127.0.0.1, ansible_port: 1}}}}}}\n",
            place.path("one").display()
        ),
    );
    let silent = place.run(&["host", "adopt", "--all", "--yes"]).code(4);
    assert!(silent.stderr.contains("far did not answer"), "{}", silent.stderr);
    assert_eq!(file(&place, "one", "fleet"), fleets[0]);
}

#[test]
fn a_lost_epoch_is_made_anew_above_all_that_was_seen() {
    let place = two();
    for name in ["one", "two", "one"] {
        place.run(&["halt", "--host", "one", "--agent", "dev", "--as", name, "--reason", name]).code(0);
    }
    assert_eq!(file(&place, "one", "epoch"), "3 one\n");
    for damage in ["", "0\n", "99999999999999999999 one\n"] {
        fs::write(place.path("one/epoch"), damage).unwrap();
        place.run(&["halt", "--host", "one", "--as", "one"]).code(1);
        place.run(&["host", "repair", "one", "--check", "--as", "one"]).code(0);
        assert_eq!(file(&place, "one", "epoch"), damage);
        let before: u64 = 3;
        place.run(&["host", "repair", "one", "--as", "one"]).code(0);
        let epoch: u64 = file(&place, "one", "epoch").split(' ').next().unwrap().parse().unwrap();
        assert!(epoch > before, "{damage:?}: {epoch}");
        // The ledger leads at it: the next order is obeyed, and there is nothing left to repair.
        place.run(&["run", "--as", "one"]).code(0);
        in_order(&place);
        let again = file(&place, "one", "epoch");
        place.run(&["host", "repair", "one", "--as", "one"]).code(0);
        assert_eq!(file(&place, "one", "epoch"), again);
        place.run(&["resume", "--host", "one", "--agent", "review", "--as", "one"]);
    }
    place.run(&["host", "repair", "nobody"]).code(3);
}

#[test]
fn whoever_leads_anew_seals_the_hosts_that_have_nothing_to_do() {
    let place = two();
    place.run(&["halt", "--host", "one", "--as", "one"]).code(0);
    place.run(&["resume", "--all", "--as", "one"]).code(0);
    assert_eq!(file(&place, "one", "epoch"), "1 one\n");
    let check = place.run(&["run", "--check", "--as", "two"]).code(0);
    assert_eq!(file(&place, "one", "epoch"), "1 one\n", "{}", check.stdout);
    let run = place.run(&["run", "--as", "two"]).code(0);
    assert!(run.stdout.contains("one: done: seal"), "{}", run.stdout);
    assert_eq!(file(&place, "one", "epoch"), "2 two\n");
    assert!(!place.path("two").join("epoch").exists(), "a host that never obeyed anybody is left alone");
    let run = place.run(&["run", "--as", "two"]).code(0);
    assert!(!run.stdout.contains("seal"), "once: {}", run.stdout);
}

#[test]
fn a_machine_that_is_not_the_one_that_it_was_is_told_and_held_all_the_same() {
    let place = two();
    place.run(&["halt", "--host", "one"]).code(0);
    place.run(&["run"]).code(0);
    let id = file(&place, "one", "host-id");
    let told = |out: &str| out.contains("not the machine that it was");
    fs::remove_dir_all(place.path("one")).unwrap();
    let run = place.run(&["run"]).code(0);
    assert!(told(&run.stderr), "{}", run.stderr);
    assert_eq!(names(&place, "one"), ["dev", "review"], "its holds are put back");
    assert_ne!(file(&place, "one", "host-id"), id);
    let run = place.run(&["run"]).code(0);
    assert!(!told(&run.stderr), "once: {}", run.stderr);
    assert!(told(&place.run(&["status"]).code(0).stdout));
    let status = place.run(&["status", "-o", "json"]).code(0).json();
    assert_eq!(status["quarantined"], serde_json::json!(["one"]));
    in_order(&place);
    fs::write(place.path("one/host-id"), id).unwrap();
    place.run(&["run"]).code(0);
    assert!(!told(&place.run(&["status"]).code(0).stdout));
}
