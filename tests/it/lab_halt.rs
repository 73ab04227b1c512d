//! Holds over real hosts: what is ordered is what each of them shows, whatever becomes of the hosts meanwhile.

use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use factory::policy::hold::Hold;
use serde_json::Value;

use super::lab::{Lab, Machine};
use super::order::{self, Files};
use super::support::until;

/// Time-outs that no host reaches which is there, however busy this machine is.
const SETTINGS: &str =
    "fleet: lab\nssh: {connect: 15s, command: 20s}\nguard: {payload: 20s, lock_wait: 60s, op: 10s}\n";

/// Short ones, for hosts that are cut off: to connect to one costs three seconds.
const SHORT: &str = "fleet: lab\nssh: {connect: 3s, command: 6s}\nguard: {payload: 3s, lock_wait: 10s, op: 5s}\n";

/// A lab whose controller has an inventory of all hosts and knows their keys.
pub fn lab(count: usize) -> Option<Lab> {
    lab_with(count, SETTINGS)
}

fn lab_with(count: usize, settings: &str) -> Option<Lab> {
    let lab = Lab::new(count)?;
    lab.inventory();
    std::fs::write(lab.home().join("inventory/factory.yml"), settings).unwrap();
    Some(lab)
}

#[track_caller]
pub fn factory(lab: &Lab, code: i32, args: &[&str]) -> (String, String) {
    told(lab.factory(args), code, args)
}

#[track_caller]
fn told(output: Output, code: i32, args: &[&str]) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{stdout}\n{stderr}");
    (stdout, stderr)
}

pub fn spawn(lab: &Lab, args: &[&str]) -> Child {
    let mut command = lab.command("factory");
    command.args(args).env("FACTORY_INVENTORY", "/root/inventory");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub fn state(lab: &Lab) -> PathBuf {
    lab.home().join(".local/state/factory/lab")
}

pub fn held(lab: &Lab) -> Vec<Hold> {
    order::holds(&state(lab))
}

/// What is below a path on a host, as its own processes see it.
fn inside(host: &Machine, path: &str) -> PathBuf {
    Path::new("/proc").join(host.pid().to_string()).join("root").join(path)
}

pub fn files(host: &Machine) -> Files {
    order::files(&inside(host, "root/.factory"))
}

pub fn names(host: &Machine) -> Vec<String> {
    files(host).into_keys().collect()
}

/// Every host of the lab shows what the ledger says.
#[track_caller]
pub fn in_order(lab: &Lab) {
    order::assert_in_order(&state(lab), lab.hosts().iter().map(|host| (host.name.as_str(), files(host))));
}

/// The row of a host in a table.
fn row<'a>(table: &'a str, host: &str) -> &'a str {
    table.lines().find(|line| line.split_whitespace().next() == Some(host)).unwrap_or_else(|| panic!("{table}"))
}

#[test]
fn hosts_are_held_and_released_one_by_one_and_all_together() {
    let Some(lab) = lab(3) else { return };
    factory(&lab, 0, &["halt", "--host", "h2", "--reason", "disk upgrade"]);
    assert_eq!((names(lab.host(0)).len(), names(lab.host(1)), names(lab.host(2)).len()), (0, both(), 0));
    in_order(&lab);
    factory(&lab, 0, &["halt", "--all"]);
    assert!(lab.hosts().iter().all(|host| names(host) == ["dev", "review", "supervisor"]));
    in_order(&lab);
    // What an agent's script looks at, as the host itself has it.
    assert_eq!(lab.host(0).done("[ -e ~/.factory/halt/dev ] && echo halted"), "halted\n");
    factory(&lab, 6, &["resume", "--host", "h2"]);
    in_order(&lab);
    lab.host(2).done("rm ~/.factory/halt/dev; echo mine >~/.factory/halt/fixer");
    factory(&lab, 0, &["run"]);
    in_order(&lab);
    let (stdout, _) = factory(&lab, 0, &["resume", "--all"]);
    assert!(row(&stdout, "h3").contains("fixer"), "{stdout}");
    assert!(lab.hosts().iter().all(|host| names(host).is_empty()));
    let actions = run(&lab)["actions"].clone();
    assert_eq!(actions, serde_json::json!([]));
    in_order(&lab);
}

fn both() -> Vec<String> {
    vec!["dev".to_owned(), "review".to_owned()]
}

fn run(lab: &Lab) -> Value {
    let (stdout, _) = factory(lab, 0, &["run", "-o", "json"]);
    serde_json::from_str(&stdout).unwrap()
}

#[test]
fn a_host_that_is_away_is_held_and_released_when_it_is_back() {
    let Some(lab) = lab_with(3, SHORT) else { return };
    factory(&lab, 0, &["run"]);
    lab.host(0).sshd_down();
    lab.cut(lab.host(1));
    let (stdout, _) = factory(&lab, 4, &["halt", "--host", "all"]);
    assert!(row(&stdout, "h1").contains("not reached") && row(&stdout, "h2").contains("not reached"), "{stdout}");
    assert_eq!((names(lab.host(0)).len(), names(lab.host(1)).len(), names(lab.host(2))), (0, 0, both()));
    assert_eq!(held(&lab).len(), 1, "it is recorded all the same");
    // A tick that does not reach them either changes nothing about that.
    factory(&lab, 0, &["run"]);
    assert_eq!((names(lab.host(0)).len(), held(&lab).len()), (0, 1));
    lab.host(0).sshd_config("");
    lab.mend(lab.host(1));
    factory(&lab, 0, &["run"]);
    in_order(&lab);
    assert_eq!(names(lab.host(0)), both());

    // The power fails while it is held: the files are there before anybody could start something.
    let before = files(lab.host(0));
    lab.host(0).reboot();
    assert_eq!(files(lab.host(0)), before);
    factory(&lab, 0, &["run"]);
    assert_eq!(files(lab.host(0)), before);

    lab.host(0).sshd_down();
    lab.cut_replies(lab.host(1));
    factory(&lab, 4, &["resume", "--host", "all"]);
    assert_eq!((names(lab.host(0)), names(lab.host(1)), names(lab.host(2)).len()), (both(), both(), 0));
    assert!(held(&lab).is_empty());
    factory(&lab, 0, &["run"]);
    assert_eq!(names(lab.host(0)), both(), "nobody could tell it");
    lab.host(0).reboot();
    lab.mend(lab.host(1));
    factory(&lab, 0, &["run"]);
    in_order(&lab);
    assert!(names(lab.host(0)).is_empty() && names(lab.host(1)).is_empty());
    assert!(held(&lab).is_empty(), "what was lifted is no person's now");
}

#[test]
fn a_host_that_is_cut_off_in_mid_call_ends_in_order() {
    let Some(lab) = lab_with(2, SHORT) else { return };
    factory(&lab, 0, &["halt", "--host", "all", "--agent", "supervisor"]);
    // The guard syncs what it writes: from here on it tells, and waits.
    let host = lab.host(0);
    host.done("cp /usr/bin/sync /usr/bin/sync.kept");
    host.write("/usr/bin/sync", "#!/bin/sh\n>/tmp/syncs\nsleep 0.7\nexec sync.kept \"$@\"\n");
    for verb in ["halt", "resume"] {
        host.done("rm -f /tmp/syncs");
        let child = spawn(&lab, &[verb, "--host", "all", "--agent", "dev"]);
        until("the guard at work", || inside(host, "tmp/syncs").exists().then_some(()));
        lab.cut(host);
        let (stdout, _) = told(child.wait_with_output().unwrap(), 4, &[verb]);
        assert!(row(&stdout, "h1").contains("nobody knows whether it was done"), "{stdout}");
        lab.mend(host);
        factory(&lab, 0, &["run"]);
        in_order(&lab);
        assert_eq!(names(host).contains(&"dev".to_owned()), verb == "halt");
        assert!(names(host).contains(&"supervisor".to_owned()));
    }
}

#[test]
fn a_tick_that_waits_for_a_frozen_host_holds_up_no_order() {
    let Some(lab) = lab_with(3, SHORT) else { return };
    factory(&lab, 0, &["run"]);
    // It has to last for as long as all that is ordered beside it.
    let patient = SHORT.replace("connect: 3s", "connect: 200s, sweep: 200s");
    std::fs::write(lab.home().join("inventory/factory.yml"), patient).unwrap();
    lab.host(2).freeze();
    let mut tick = spawn(&lab, &["run"]);
    until("the tick", || std::fs::read_to_string(state(&lab).join("lock")).ok().filter(|lock| !lock.trim().is_empty()));
    factory(&lab, 0, &["halt", "--host", "h1"]);
    assert_eq!(names(lab.host(0)), both());
    factory(&lab, 0, &["halt", "--host", "h2", "--agent", "dev"]);
    factory(&lab, 0, &["resume", "--host", "h2"]);
    assert!(names(lab.host(1)).is_empty());
    let (status, _) = factory(&lab, 0, &["status", "-o", "json"]);
    assert!(serde_json::from_str::<Value>(&status).unwrap()["running"].is_u64(), "{status}");
    let (events, _) = factory(&lab, 0, &["events"]);
    assert!(events.contains("held: every agent on h1"), "{events}");
    factory(&lab, 5, &["run"]);
    assert_eq!(tick.try_wait().unwrap(), None, "all that was while the tick went on");
    // To hold the frozen one costs its own time-out, and the others are held.
    std::fs::write(lab.home().join("inventory/factory.yml"), SHORT).unwrap();
    factory(&lab, 4, &["halt", "--host", "all"]);
    assert_eq!((names(lab.host(0)), names(lab.host(1))), (both(), both()));
    lab.host(2).thaw();
    told(tick.wait_with_output().unwrap(), 0, &["run"]);
    factory(&lab, 0, &["run"]);
    in_order(&lab);
    assert_eq!(names(lab.host(2)), both());
}

#[test]
fn a_full_disk_takes_an_empty_file_which_is_filled_later() {
    let Some(lab) = lab(1) else { return };
    let host = lab.host(0);
    factory(&lab, 0, &["halt", "--host", "h1", "--agent", "supervisor"]);
    host.fill_disk("/root");
    let (stdout, _) = factory(&lab, 0, &["halt", "--host", "h1"]);
    assert!(stdout.contains("its disk is full"), "{stdout}");
    assert_eq!((names(host).len(), files(host)["dev"].as_str(), files(host)["review"].as_str()), (3, "", ""));
    factory(&lab, 0, &["run"]);
    assert_eq!(held(&lab).len(), 2, "an empty file of ours is no person's: {:?}", held(&lab));
    host.free_disk("/root");
    factory(&lab, 0, &["run"]);
    in_order(&lab);
    assert!(files(host)["dev"].starts_with("manual "));

    // Lifted while it cannot be told, what the full disk left is still known for ours.
    factory(&lab, 0, &["resume", "--host", "h1"]);
    host.fill_disk("/root");
    factory(&lab, 0, &["halt", "--host", "h1"]);
    assert_eq!(files(host)["dev"], "");
    host.sshd_down();
    factory(&lab, 4, &["resume", "--host", "h1"]);
    host.free_disk("/root");
    host.sshd_config("");
    factory(&lab, 0, &["run"]);
    in_order(&lab);
    assert!(names(host).is_empty() && held(&lab).is_empty(), "{:?}", held(&lab));
}

#[test]
fn orders_from_a_visitor_go_to_a_candidate() {
    let Some(lab) = lab(2) else { return };
    let chief = lab.host(0);
    // The candidate has an inventory and a key of its own; the lab gives it the program.
    chief.done("mkdir -p -m 700 ~/.config/factory/inventory ~/.ssh");
    let own = lab.home().join("inventory");
    let hosts = std::fs::read_to_string(own.join("hosts.yml")).unwrap();
    chief
        .write("/root/.config/factory/inventory/hosts.yml", hosts.replace("h1: {", "h1: {ansible_connection: local, "));
    let settings = format!("{SETTINGS}candidates: [h1]\n");
    chief.write("/root/.config/factory/inventory/factory.yml", &settings);
    std::fs::write(own.join("factory.yml"), settings).unwrap();
    chief.write("/root/.ssh/id_ed25519", std::fs::read(lab.home().join(".ssh/id_ed25519")).unwrap());
    chief.write("/root/.ssh/known_hosts", lab.known_hosts());
    chief.done("chmod 600 ~/.ssh/id_ed25519");
    // Its ledger, in a copy: SQLite does not find its way below /proc.
    let ledger = || {
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(inside(chief, "root/.local/state/factory/lab")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        copy
    };
    let at_chief = || order::holds(ledger().path());
    let in_order = || {
        let shown = lab.hosts().iter().map(|host| (host.name.as_str(), files(host)));
        order::assert_in_order(ledger().path(), shown);
    };

    factory(&lab, 5, &["run"]);
    let (stdout, stderr) = factory(&lab, 0, &["halt", "--host", "h2", "--for", "90m", "--reason", "it's $HOME; rm"]);
    assert!(row(&stdout, "h2").contains("held") && stderr.contains("lift it with"), "{stdout}{stderr}");
    let [hold] = at_chief().try_into().unwrap();
    assert_eq!((hold.reason.as_deref(), hold.by.as_str()), (Some("it's $HOME; rm"), "root@controller"));
    assert_eq!(hold.until.map(|until| until.seconds), Some(5400.0));
    in_order();
    assert!(order::document(&state(&lab)).is_none(), "the visitor keeps no ledger");
    let (stdout, _) = factory(&lab, 0, &["halt", "--all", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["hosts"].as_array().unwrap().len(), 2);
    factory(&lab, 0, &["resume", "--all", "--check"]);
    assert_eq!(at_chief().len(), 2);
    factory(&lab, 6, &["resume", "--host", "h2"]);
    factory(&lab, 0, &["resume", "--all"]);
    assert!(at_chief().is_empty() && lab.hosts().iter().all(|host| names(host).is_empty()));

    // Without the candidate a halt is written by hand, and found by it later.
    chief.sshd_down();
    factory(&lab, 4, &["resume", "--all"]);
    factory(&lab, 4, &["halt", "--host", "h2", "--agent", "dev", "--check"]);
    assert!(names(lab.host(1)).is_empty());
    let (stdout, _) = factory(&lab, 4, &["halt", "--host", "h2", "--agent", "dev"]);
    assert!(row(&stdout, "h2").contains("held by hand"), "{stdout}");
    assert_eq!(names(lab.host(1)), ["dev"]);
    chief.sshd_config("");
    chief.done("factory run --as h1");
    assert_eq!(at_chief().len(), 1);
    in_order();
}

#[test]
fn orders_that_race_end_in_order() {
    let Some(lab) = lab(2) else { return };
    factory(&lab, 0, &["halt", "--host", "h2", "--agent", "supervisor", "--reason", "a person's"]);
    let orders: [&[&str]; 4] = [
        &["--host", "h1", "--agent", "dev"],
        &["--host", "all"],
        &["--host", "h1,h2", "--agent", "dev,review"],
        &["--host", "h1", "--agent", "dev"],
    ];
    std::thread::scope(|scope| {
        for (index, order) in orders.iter().enumerate() {
            let lab = &lab;
            scope.spawn(move || {
                for turn in 0..8 {
                    let verb = if (turn + index) % 2 == 0 { "halt" } else { "resume" };
                    // `resume --host all` would lift the person's as well.
                    let order = if verb == "resume" && order.len() == 2 {
                        &["--host", "all", "--agent", "dev,review"][..]
                    } else {
                        order
                    };
                    let output = lab.factory(&[&[verb], order].concat());
                    let code = output.status.code().unwrap();
                    assert!(
                        [0, 6].contains(&code),
                        "{verb} {order:?}: {code}: {}",
                        String::from_utf8_lossy(&output.stderr)
                    );
                }
            });
        }
        let lab = &lab;
        scope.spawn(move || (0..4).for_each(|_| drop(factory(lab, 0, &["run"]))));
    });
    factory(&lab, 0, &["run"]);
    in_order(&lab);
    assert!(held(&lab).iter().any(|hold| hold.reason.as_deref() == Some("a person's")), "{:?}", held(&lab));
    assert!(held(&lab).iter().all(|hold| hold.found.is_none()), "nobody touched anything: {:?}", held(&lab));
}
