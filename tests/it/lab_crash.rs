//! Whatever is killed or cut, and wherever: one `run` later the hosts show what the ledger says, and no hold of a person
//! is lost.

use std::fs;
use std::path::PathBuf;

use factory::policy::hold::Hold;

use super::lab;
use super::lab_halt::{self, factory, in_order, names, spawn};
use crate::kill::{CALLS, killed_at, next, strace};
use crate::order::{self, Files};
use crate::support::{CALM, Place, nowhere};

/// One host on this machine, on which a person holds the reviewer, and has touched a file.
fn place() -> Place {
    let place =
        Place::new(&[("factory.yml", CALM), ("repos.yml", &nowhere("repos: {harb: {slug: a/harb, ci: none}}\n"))]);
    let home = place.path("one");
    place.write(
        "hosts.yml",
        &format!("all: {{hosts: {{one: {{ansible_connection: local, factory_home: {}}}}}}}\n", home.display()),
    );
    fs::create_dir_all(home.join("halt")).unwrap();
    fs::write(home.join("halt/dev@harb"), "testing here\n").unwrap();
    place.run(&["halt", "--agent", "review", "--reason", "a person's"]).code(0);
    place.run(&["run"]).code(0);
    place
}

fn shown(place: &Place) -> Files {
    order::files(&place.path("one"))
}

/// The person's two holds are in the ledger and on the host; all others.
#[track_caller]
fn others(place: &Place, after: &str) -> Vec<Hold> {
    let (persons, others): (Vec<Hold>, Vec<Hold>) = order::holds(&place.state())
        .into_iter()
        .partition(|hold| matches!(hold.reason.as_deref(), Some("a person's" | "testing here")));
    let files = shown(place);
    assert_eq!(persons.len(), 2, "{after}: {persons:?}");
    assert_eq!(files["dev@harb"], "testing here\n", "{after}");
    assert!(
        files["review"].contains(&format!("manual {} ", persons.iter().find(|hold| hold.found.is_none()).unwrap().id)),
        "{after}: {files:?}"
    );
    others
}

/// Kills `args` at all points, each time from the state that `prepare` makes, and looks at what comes of it.
fn killed_everywhere(args: &[&str], prepare: impl Fn(&Place), look: impl Fn(&Place, &str)) {
    if !strace() {
        return;
    }
    let place = place();
    let mut kills = 0;
    for calls in CALLS {
        let mut when = 1;
        loop {
            prepare(&place);
            let killed = killed_at(&place, args, calls, when);
            let after = format!("{args:?} killed at {calls} {when}");
            // Straight after it too: in the ledger nothing of a person's is lost.
            others(&place, &after);
            let run = place.run(&["run"]);
            assert_eq!(run.code, Some(0), "{after}: {}{}", run.stdout, run.stderr);
            order::assert_in_order(&place.state(), [("one", shown(&place))]);
            look(&place, &after);
            if !killed {
                break;
            }
            kills += 1;
            when = next(when);
            assert!(when < 10_000, "{calls} never survives");
        }
    }
    assert!(kills > 20, "only {kills} kills");
}

#[test]
fn a_halt_that_is_killed_at_any_step_holds_or_does_not() {
    killed_everywhere(&["halt", "--host", "one", "--agent", "dev"], lift, |place, after| {
        let ours = others(place, after);
        assert!(ours.len() <= 1, "{after}: {ours:?}");
        assert_eq!(shown(place).contains_key("dev"), ours.len() == 1, "{after}");
    });
}

/// Ends the hold under way, and nothing of the person's: its time is up at once.
fn lift(place: &Place) {
    place.run(&["halt", "--host", "one", "--agent", "dev", "--for", "1ms"]).code(0);
    std::thread::sleep(std::time::Duration::from_millis(2));
    place.run(&["run"]).code(0);
    assert!(!shown(place).contains_key("dev"));
}

#[test]
fn a_resume_that_is_killed_at_any_step_lifts_or_does_not() {
    killed_everywhere(
        &["resume", "--host", "one", "--agent", "supervisor"],
        |place| drop(place.run(&["halt", "--host", "one", "--agent", "supervisor"]).code(0)),
        |place, after| {
            let ours = others(place, after);
            assert_eq!(shown(place).contains_key("supervisor"), ours.len() == 1, "{after}: {ours:?}");
        },
    );
}

#[test]
fn a_tick_that_is_killed_at_any_step_is_finished_by_the_next() {
    killed_everywhere(
        &["run"],
        |place| {
            // Something to hold, something to release, and something to find.
            place.run(&["resume", "--host", "one", "--agent", "supervisor"]).code(0);
            place.run(&["halt", "--host", "one", "--agent", "supervisor"]).code(0);
            fs::remove_file(place.path("one/halt/supervisor")).unwrap();
            place.run(&["halt", "--host", "one", "--agent", "dev", "--for", "1ms"]).code(0);
            place.run(&["resume", "--host", "one", "--agent", "fixer"]);
            fs::write(place.path("one/halt/fixer"), "").unwrap();
        },
        |place, after| {
            let files = shown(place);
            assert!(files.contains_key("supervisor") && !files.contains_key("dev"), "{after}: {files:?}");
            assert!(files.contains_key("fixer"), "{after}: {files:?}");
            assert_eq!(others(place, after).len(), 2, "{after}");
        },
    );
}

#[test]
fn a_guard_that_is_killed_or_cut_off_at_any_moment_ends_in_order() {
    let Some(lab) = lab_halt::lab(1) else { return };
    let host = lab.host(0);
    factory(&lab, 0, &["halt", "--host", "h1", "--agent", "supervisor", "--reason", "a person's"]);
    // By id, found by what a session of sshd's or the guard has as arguments; only this host's own are seen in there.
    host.write(
        "/tmp/kill.sh",
        "for p in /proc/[0-9]*; do\n\
           p=${p#/proc/}; [ $p != $$ ] || continue\n\
           args=$(tr '\\0' ' ' <\"/proc/$p/cmdline\" | head -c 100000) || continue\n\
           case $1:$args in\n\
             sshd:*'sshd: root@notty'*) kill -9 $p ;;\n\
             guard:*payload_time*) kill -9 $p ;;\n\
           esac\n\
         done 2>/dev/null\n\
         :\n",
    );
    let mut ended = Vec::new();
    for turn in 0..30u32 {
        let verb = if turn % 4 < 2 { "halt" } else { "resume" };
        let what = if turn % 2 == 0 { "sshd" } else { "guard" };
        let child = spawn(&lab, &[verb, "--host", "h1", "--agent", "dev"]);
        // As much later each time, to come upon each part of the call.
        host.done(&format!("sleep 0.{:03}; sh /tmp/kill.sh {what}", turn * 9));
        let output = child.wait_with_output().unwrap();
        let code = output.status.code().unwrap();
        assert!([0, 1, 4].contains(&code), "{verb}: {code}: {}", String::from_utf8_lossy(&output.stderr));
        ended.push(code);
        factory(&lab, 0, &["run"]);
        in_order(&lab);
        assert_eq!(names(host), if verb == "halt" { vec!["dev", "supervisor"] } else { vec!["supervisor"] }, "{turn}");
    }
    assert!(ended.iter().any(|code| *code != 0), "nothing was killed in time: {ended:?}");
}

#[test]
fn a_controller_that_is_killed_on_the_way_to_a_host_ends_in_order() {
    let Some(lab) = lab_halt::lab(2) else { return };
    if !strace() {
        return;
    }
    factory(&lab, 0, &["halt", "--host", "h1", "--agent", "supervisor", "--reason", "a person's"]);
    let mut turn = 0;
    for calls in ["connect", "sendto,sendmsg", "recvfrom,recvmsg", "fdatasync,fsync", "pwrite64", "close"] {
        let mut when = 1;
        loop {
            let verb = if turn % 2 == 0 { "halt" } else { "resume" };
            turn += 1;
            let mut command = lab.command("strace");
            let inject = format!("inject={calls}:signal=SIGKILL:when={when}");
            command.args(["-f", "-q", "-e", &format!("trace={calls}"), "-e", &inject, "-o", "/root/trace"]);
            command
                .args(["factory", verb, "--host", "all", "--agent", "dev"])
                .env("FACTORY_INVENTORY", "/root/inventory");
            command.output().unwrap();
            let killed = fs::read_to_string(lab.home().join("trace")).unwrap().contains("killed by SIGKILL");
            factory(&lab, 0, &["run"]);
            in_order(&lab);
            assert!(names(lab.host(0)).contains(&"supervisor".to_owned()), "{verb} killed at {calls} {when}");
            let on = |index: usize| names(lab.host(index)).contains(&"dev".to_owned());
            assert_eq!(on(0), on(1), "{verb} killed at {calls} {when}");
            if !killed {
                assert_eq!(on(0), verb == "halt");
                break;
            }
            when = next(when);
        }
    }
    assert!(turn > 20, "only {turn} kills");
}

#[test]
fn a_controller_whose_disk_is_full_halts_by_hand_and_records_it_later() {
    let Some(host) = lab::host() else { return };
    let inventory = host.home().join("inventory").display().to_string();
    host.done("mkdir -p ~/inventory ~/state && mount -t tmpfs -o size=256k tmpfs ~/state");
    host.done("echo 'all: {hosts: {lab: {ansible_connection: local}}}' >~/inventory/hosts.yml; echo '{}' >~/inventory/factory.yml");
    let state = host.home().join("state").display().to_string();
    let factory = |code: i32, args: &[&str]| {
        let output = host.factory(&[&["-i", &inventory, "--state", &state], args].concat());
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        told
    };
    factory(0, &["halt", "--host", "lab", "--agent", "supervisor"]);
    factory(0, &["run"]);
    host.done("cat /dev/zero >~/state/filler 2>/dev/null; :");
    let told = factory(1, &["halt", "--host", "lab", "--agent", "dev", "--reason", "fire"]);
    assert!(told.contains("the disk is full") && told.contains("held by hand"), "{told}");
    let halted = |name: &str| host.home().join(".factory/halt").join(name);
    assert!(fs::read_to_string(halted("dev")).unwrap().contains("fire"));
    let told = factory(1, &["run"]);
    assert!(told.contains("the disk is full") && told.contains("lab: "), "{told}");
    let told = factory(1, &["resume", "--host", "lab"]);
    assert!(told.contains("the disk is full"), "{told}");
    assert!(halted("supervisor").exists() && halted("dev").exists(), "nothing was lifted");
    host.done("rm ~/state/filler");
    factory(0, &["run"]);
    // The ledger, in a copy: SQLite does not find its way below /proc.
    let copy = tempfile::tempdir().unwrap();
    host.done(&format!("cp ~/state/ledger.db* {}", copy.path().display()));
    let holds = order::holds(copy.path());
    assert_eq!(holds.len(), 2, "{holds:?}");
    assert!(holds.iter().any(|hold| hold.reason.as_ref().is_some_and(|reason| reason.contains("fire"))), "{holds:?}");
    let home: PathBuf = host.home().join(".factory");
    order::assert_in_order(copy.path(), [("lab", order::files(&home))]);
    factory(0, &["resume", "--all"]);
    assert!(order::files(&home).is_empty());
}
