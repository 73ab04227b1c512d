//! Whole ticks on machines of the lab: what is set in `/proc` is what a user is told, and what is remembered.

use serde_json::Value;

use super::lab::{self, Host};

/// A machine with an inventory of itself alone, and cron's bare environment.
fn machine() -> Option<Host> {
    let host = lab::host()?;
    host.done("mkdir -p ~/inventory");
    host.done("echo 'all: {hosts: {lab: {ansible_connection: local}}}' >~/inventory/hosts.yml");
    host.done("echo '{}' >~/inventory/factory.yml");
    Some(host)
}

fn factory(host: &Host, args: &[&str]) -> (Option<i32>, String, String) {
    let inventory = host.home().join("inventory").display().to_string();
    let output = host.factory(&[&["-i", &inventory], args].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn run(host: &Host) -> Value {
    let (code, stdout, stderr) = factory(host, &["run", "-o", "json"]);
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

#[test]
fn pressure_rises_holds_through_the_latch_and_goes_and_is_told_each_time() {
    let Some(host) = machine() else { return };
    // Of 8 GiB: soft below 1228 MiB, hard below 655; out of hard above 1228, out of soft above 2048.
    for (available, level) in [(4000, 0), (1100, 1), (600, 2), (1000, 2), (1300, 1), (1900, 1), (2100, 0)] {
        host.set_memory(8192, available);
        let tick = run(&host);
        let told = &tick["hosts"][0];
        assert_eq!(told["level"], level, "{available} MiB: {}", told["verdict"]);
        assert_eq!(told["sample"]["mem"]["available"], available << 20);
    }
    let (_, events, _) = factory(&host, &["events", "-o", "jsonl"]);
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = events.iter().filter(|event| event["what"] == "pressure");
    let told: Vec<u64> = told.map(|event| event["severity"].as_u64().unwrap()).collect();
    assert_eq!(told, [1, 2, 1, 0], "{events:?}");

    host.set_memory(8192, 600);
    run(&host);
    let (_, status, _) = factory(&host, &["status"]);
    assert!(status.contains("memory 600MiB free, below 655.4MiB"), "{status}");
}

#[test]
fn a_probe_that_fails_is_unknown_and_the_last_word_stays() {
    let Some(host) = machine() else { return };
    host.set_memory(8192, 600);
    run(&host);
    // The kernel's answer has no MemAvailable any more, and no boot id.
    host.set("meminfo", "MemTotal:        8388608 kB\n");
    let tick = run(&host);
    let told = &tick["hosts"][0];
    assert_eq!(told["level"], 4, "{told}");
    assert!(told["verdict"].as_str().unwrap().contains("MemAvailable"), "{told}");
    assert_eq!(tick["tick"]["missed"], 1);
    // Back above the enter of hard but below its leave: the latch outlived the silence.
    host.set_memory(8192, 1000);
    assert_eq!(run(&host)["hosts"][0]["level"], 2);
}

#[test]
fn the_controllers_full_disk_hides_nothing() {
    let Some(host) = machine() else { return };
    run(&host);
    host.done(
        "mkdir -p ~/full && mount -t tmpfs -o size=64k tmpfs ~/full && head -c 65536 /dev/zero >~/full/ballast; :",
    );
    let full = host.home().join("full").display().to_string();
    host.set_memory(8192, 600);
    let (code, stdout, stderr) = factory(&host, &["--state", &full, "run"]);
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!(stderr.contains("the disk is full"), "{stderr}");
    assert!(stdout.contains("hard: memory 600MiB free"), "what was seen is told all the same: {stdout}{stderr}");
}

#[test]
fn what_is_known_can_be_asked_while_the_controllers_disk_is_full() {
    let Some(host) = machine() else { return };
    host.done("mkdir -p ~/full && mount -t tmpfs -o size=3m tmpfs ~/full");
    let full = host.home().join("full").display().to_string();
    let with = |args: &[&str]| factory(&host, &[&["--state", &full], args].concat());
    host.set_memory(8192, 600);
    assert_eq!(with(&["run"]).0, Some(0));
    // Not a byte more, and nobody left an index.
    host.done("rm -f ~/full/*-shm ~/full/reserve; cat /dev/zero >~/full/ballast; test ! -e ~/full/journal.db-shm");
    for verb in ["status", "events"] {
        let (_, stdout, stderr) = with(&[verb]);
        assert!(stdout.contains("hard: memory 600MiB free") && stderr.is_empty(), "{verb}: {stdout}{stderr}");
    }
    // What was latched is known to the next tick too: that is no news.
    let (_, stdout, stderr) = with(&["run", "-o", "json"]);
    assert!(stderr.contains("the disk is full"), "{stdout}{stderr}");
    let tick: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(tick["hosts"][0]["level"], 2, "{stdout}");
    let told = tick["events"].as_array().unwrap();
    assert!(!told.iter().any(|event| event["what"] == "pressure"), "{told:?}");
}

#[test]
fn cron_is_enough() {
    let Some(host) = machine() else { return };
    // Nothing but what cron gives, and no ./inventory to stand beside: the user's own is found by HOME alone.
    host.done("mkdir -p ~/.config/factory && mv ~/inventory ~/.config/factory/inventory");
    let output = host.factory(&["run"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    host.done("test -s ~/.local/state/factory/default/journal.db");
}
