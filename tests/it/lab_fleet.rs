//! The verbs over real hosts: what a user sees of a fleet, also of one in which hosts are dead, frozen, slow or changed.

use std::process::Output;

use serde_json::Value;

use super::lab::{Lab, Machine};

/// A lab whose controller has an inventory of all hosts and knows their keys.
fn lab(count: usize) -> Option<Lab> {
    let lab = Lab::new(count)?;
    lab.inventory();
    settings(&lab, "ssh: {connect: 15s, command: 30s}");
    Some(lab)
}

fn settings(lab: &Lab, text: &str) {
    std::fs::write(lab.home().join("inventory/factory.yml"), format!("{text}\n")).unwrap();
}

/// Standard output, standard error and the exit code.
fn parts(output: &Output) -> (String, String, i32) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}

#[track_caller]
fn factory(lab: &Lab, code: i32, args: &[&str]) -> (String, String) {
    let (stdout, stderr, got) = parts(&lab.factory(args));
    assert_eq!(got, code, "{args:?}\n{stdout}\n{stderr}");
    (stdout, stderr)
}

fn run(lab: &Lab) -> Vec<Value> {
    let (stdout, _) = factory(lab, 0, &["run", "-o", "json"]);
    let run: Value = serde_json::from_str(&stdout).unwrap();
    run["hosts"].as_array().unwrap().clone()
}

fn verdict(host: &Value) -> &str {
    host["verdict"].as_str().unwrap()
}

/// How many times the host's sshd was logged in to, by what its own log would count: the sessions it began.
fn refused_logins(host: &Machine) -> usize {
    host.done("cat /tmp/attempts 2>/dev/null || :").lines().count()
}

#[test]
fn every_host_is_seen_as_it_is() {
    let Some(lab) = lab(3) else { return };
    lab.host(1).set_memory(8192, 600);
    let hosts = run(&lab);
    let levels: Vec<u64> = hosts.iter().map(|host| host["level"].as_u64().unwrap()).collect();
    assert_eq!(levels, [0, 2, 0], "{hosts:?}");
    assert_eq!(hosts[1]["sample"]["mem"]["available"], 600 << 20);
    for (host, told) in lab.hosts().iter().zip(&hosts) {
        let boot_id = host.done("cat /proc/sys/kernel/random/boot_id");
        assert_eq!(told["sample"]["boot_id"], boot_id.trim());
    }
    let (status, _) = factory(&lab, 0, &["status"]);
    assert!(status.contains("hard: memory 600MiB free"), "{status}");
    // As the other user, whose home is elsewhere.
    lab.inventory_as("factory");
    let (probe, _) = factory(&lab, 0, &["probe", "-l", "h1", "-o", "jsonl"]);
    assert!(serde_json::from_str::<Value>(&probe).unwrap()["mem"]["available"].is_u64(), "{probe}");
}

#[test]
fn dead_frozen_and_cut_hosts_cost_their_time_out_and_say_what_they_are() {
    let Some(lab) = lab(5) else { return };
    run(&lab);
    settings(&lab, "ssh: {connect: 3s, command: 30s}");
    lab.host(0).sshd_down();
    lab.host(1).freeze();
    lab.cut(lab.host(2));
    lab.cut_replies(lab.host(3));
    let hosts = run(&lab);
    // Three wait for three seconds each, at the same time: one after the other their ends would be that far apart.
    let at: Vec<jiff::Timestamp> =
        hosts.iter().map(|host| host["sample"]["at"].as_str().unwrap().parse().unwrap()).collect();
    let (first, last) = (at[1..4].iter().min().unwrap(), at[1..4].iter().max().unwrap());
    assert!(last.duration_since(*first) < jiff::SignedDuration::from_secs(3), "{at:?}");
    assert!(at[4] < *first, "who answers is decided at once: {at:?}");
    let verdicts: Vec<&str> = hosts.iter().map(verdict).collect();
    assert!(verdicts[0].contains("refused the connection"), "{verdicts:?}");
    assert!(verdicts[1].contains("timed out after 3s"), "{verdicts:?}");
    assert!(verdicts[2].contains("timed out") || verdicts[2].contains("cannot be reached"), "{verdicts:?}");
    assert!(verdicts[3].contains("timed out"), "{verdicts:?}");
    assert!(verdicts[4].starts_with("ok: "), "{verdicts:?}");
    let (_, stderr) = factory(&lab, 4, &["exec", "-l", "h1", "--", "true"]);
    assert!(stderr.contains("help: check that sshd runs there"), "{stderr}");

    lab.host(0).sshd_config("");
    lab.host(1).thaw();
    lab.mend(lab.host(2));
    lab.mend(lab.host(3));
    settings(&lab, "ssh: {connect: 15s, command: 30s}");
    assert!(run(&lab).iter().all(|host| verdict(host).starts_with("ok: ")));
    let (events, _) = factory(&lab, 0, &["events"]);
    assert_eq!((events.matches("missed").count(), events.matches("answers again").count()), (4, 4), "{events}");
}

#[test]
fn a_probe_that_hangs_is_unknown_and_the_others_go_on() {
    let Some(lab) = lab(2) else { return };
    lab.host(0).write("/usr/bin/nproc", "#!/bin/sh\nexec sleep 600\n");
    lab.host(0).done("chmod 755 /usr/bin/nproc");
    settings(&lab, "ssh: {connect: 15s, command: 10s}");
    let hosts = run(&lab);
    assert!(verdict(&hosts[0]).contains("was still running after 10 s"), "{hosts:?}");
    assert!(verdict(&hosts[1]).starts_with("ok: "), "{hosts:?}");
}

#[test]
fn a_shell_that_talks_is_survived_or_told() {
    let Some(lab) = lab(3) else { return };
    for (index, text) in
        ["echo Welcome to the machine", "echo free 1; echo mem_available 5; echo end", "exit 3"].iter().enumerate()
    {
        lab.host(index).home_file("root", ".bashrc", &format!("{text}\n"));
    }
    let hosts = run(&lab);
    for told in &hosts[..2] {
        assert!(verdict(told).starts_with("ok: "), "{told}");
        assert_eq!(told["sample"]["mem"]["available"], 6144u64 << 20, "{told}");
    }
    assert!(verdict(&hosts[2]).contains("exited with 3"), "{}", hosts[2]);
}

#[test]
fn a_changed_key_is_refused_with_the_line_to_type_and_trust_mends_it() {
    let Some(lab) = lab(2) else { return };
    run(&lab);
    let host = lab.host(0);
    host.done("rm /etc/ssh/ssh_host_ed25519_key* && ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key");
    host.sshd_config("");
    let hosts = run(&lab);
    assert!(verdict(&hosts[0]).contains("its host key has changed"), "{hosts:?}");
    assert!(verdict(&hosts[1]).starts_with("ok: "), "{hosts:?}");
    let (check, _) = factory(&lab, 1, &["inventory", "check"]);
    let advice = check.lines().find(|line| line.contains("ssh-keygen -R")).unwrap_or_else(|| panic!("{check}"));
    // The file's line stands for the host's name as well, of which the advice warns.
    let remove = &advice[advice.find("ssh-keygen").unwrap()..advice.find(" (mind that").unwrap()];
    assert!(lab.sh(remove).status.success(), "{remove}");
    let unknown = run(&lab);
    assert!(verdict(&unknown[0]).contains("not known"), "{unknown:?}");
    factory(&lab, 0, &["inventory", "trust", "h1", "--yes"]);
    assert!(verdict(&run(&lab)[0]).starts_with("ok: "));
}

#[test]
fn a_refused_login_is_left_alone_for_a_while_and_a_person_may_ask() {
    let Some(lab) = lab(1) else { return };
    let host = lab.host(0);
    // sshd asks this program for the keys of a login, so each attempt leaves a line.
    host.write("/usr/local/sbin/attempt", "#!/bin/sh\necho x >>/tmp/attempts\n");
    host.done("chmod 755 /usr/local/sbin/attempt; mv ~/.ssh/authorized_keys ~/.ssh/kept");
    host.sshd_config("AuthorizedKeysCommand /usr/local/sbin/attempt\nAuthorizedKeysCommandUser root");
    settings(&lab, "ssh: {connect: 15s, refused: 1h}");
    let first = run(&lab);
    assert!(verdict(&first[0]).contains("refused"), "{first:?}");
    let tried = refused_logins(host);
    assert!(tried > 0, "no attempt was counted");
    let second = run(&lab);
    assert!(verdict(&second[0]).contains("it is not tried again before"), "{second:?}");
    assert_eq!(refused_logins(host), tried, "cron's tick tried again");
    let (_, stderr) = factory(&lab, 4, &["exec", "-l", "h1", "--", "true"]);
    assert!(refused_logins(host) > tried && stderr.contains("help: "), "a person may: {stderr}");
    // Another key is another matter.
    let tried = refused_logins(host);
    lab.sh("ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519_new && mv ~/.ssh/id_ed25519_new ~/.ssh/id_ed25519 && mv ~/.ssh/id_ed25519_new.pub ~/.ssh/id_ed25519.pub");
    run(&lab);
    assert!(refused_logins(host) > tried);
}

#[test]
fn exec_runs_everywhere_prefixes_and_tells_failures_last() {
    let Some(lab) = lab(3) else { return };
    let (stdout, _) = factory(&lab, 0, &["exec", "-l", "all", "--", "hostname"]);
    let mut lines: Vec<&str> = stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["h1 | h1", "h2 | h2", "h3 | h3"]);
    // Words arrive as they are; one word is a program.
    let (stdout, _) = factory(&lab, 0, &["exec", "-l", "h2", "--", "printf", "%s\\n", "a b", "$HOME", "'"]);
    assert_eq!(stdout, "h2 | a b\nh2 | $HOME\nh2 | '\n");
    let program = "echo out; echo err >&2; [ $(hostname) = h2 ] && exit 7; kill -9 $$";
    let (stdout, stderr) = factory(&lab, 1, &["exec", "-l", "h1,h2", "--", program]);
    assert_eq!(stdout.lines().filter(|line| line.ends_with("| out")).count(), 2, "{stdout}");
    assert_eq!(stderr.lines().filter(|line| line.ends_with("| err")).count(), 2, "{stderr}");
    let last: Vec<&str> = stderr.lines().rev().take(2).collect();
    assert_eq!(last, ["warning: h2: the command exited with 7", "warning: h1: the command was killed by signal 9"]);

    lab.host(0).sshd_down();
    let (stdout, _) = factory(&lab, 4, &["exec", "-l", "all", "-o", "json", "--", "hostname"]);
    let all: Value = serde_json::from_str(&stdout).unwrap();
    let hosts = all["hosts"].as_array().unwrap();
    assert!(hosts[0]["failure"].as_str().unwrap().contains("refused the connection"), "{all}");
    assert_eq!((&hosts[1]["stdout"], &hosts[1]["status"]), (&"h2\n".into(), &0.into()));
    factory(&lab, 2, &["exec", "--", "hostname"]);
    factory(&lab, 0, &["exec", "-l", "all", "--check", "--", "touch /tmp/ran"]);
    assert!(!lab.host(1).sh("test -e /tmp/ran").status.success(), "--check ran it");
}

#[test]
fn check_looks_into_every_host() {
    let Some(lab) = lab(3) else { return };
    factory(&lab, 0, &["inventory", "check"]);
    lab.host(0).write("/etc/cron.allow", "");
    lab.inventory_as("factory");
    let (check, _) = factory(&lab, 1, &["inventory", "check"]);
    assert!(check.contains("h1: the crontab may not be used: You (factory) are not allowed"), "{check}");
    let row = check.lines().find(|line| line.starts_with("h2 ")).unwrap();
    assert!(row.contains("known") && row.contains("factory") && row.contains("ok"), "{check}");
    lab.host(1).sshd_down();
    let (check, _) = factory(&lab, 1, &["inventory", "check"]);
    assert!(check.contains("h2: ") && check.contains("refused the connection"), "{check}");
}

#[test]
fn a_host_behind_a_jump_host_is_reached_through_it() {
    let Some(lab) = lab(2) else { return };
    let (hop, host) = (&lab.host(0).address, &lab.host(1).address);
    // The host takes calls from the hop alone.
    lab.host(1).done("ip route add blackhole 10.77.0.1/32");
    std::fs::create_dir_all(lab.home().join(".ssh")).unwrap();
    let config = format!("Host {host}\n  ProxyJump root@{hop}\n");
    settings(&lab, "ssh: {connect: 3s, command: 30s}");
    factory(&lab, 4, &["exec", "-l", "h2", "--", "true"]);
    settings(&lab, "ssh: {connect: 15s, command: 30s}");
    std::fs::write(lab.home().join(".ssh/config"), config).unwrap();
    let (stdout, _) = factory(&lab, 0, &["exec", "-l", "h2", "--", "echo $SSH_CONNECTION"]);
    assert!(stdout.starts_with(&format!("h2 | {hop} ")), "{stdout}");
    assert!(run(&lab).iter().all(|host| verdict(host).starts_with("ok: ")));
}
