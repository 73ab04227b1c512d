//! `run`, `probe`, `status`, `events`: what a user sees, and what is on disk afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{CALM, Place, calm, program_file};

#[test]
fn a_run_looks_at_this_machine_and_status_and_events_tell_of_it() {
    let place = Place::this_machine();
    let error = place.run(&["status"]).code(1);
    assert!(
        error.stderr.contains("nothing has run yet") && error.stderr.contains("help: `factory run`"),
        "{}",
        error.stderr
    );

    let run = place.run(&["run"]).code(0);
    assert!(run.stdout.starts_with("HOST  LEVEL"), "{}", run.stdout);
    assert!(run.stdout.lines().any(|line| line.starts_with("this: ")), "{}", run.stdout);
    assert!(run.stderr.contains("1 host in ") && run.stderr.contains("recorded"), "{}", run.stderr);

    // What was recorded is this machine's own: compare with what the kernel says.
    let samples = place.run(&["events", "--samples", "-o", "jsonl"]).code(0);
    let sample: serde_json::Value = serde_json::from_str(samples.stdout.trim()).unwrap();
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(sample["boot_id"], boot_id.trim());
    assert_eq!((&sample["kind"], &sample["host"]), (&"sample".into(), &"this".into()));

    let status = place.run(&["status", "-o", "json"]).code(0).json();
    assert_eq!(status["tick"]["by"], "this");
    assert_eq!((&status["v"], &status["kind"]), (&1.into(), &"status".into()));
    assert_eq!(status["hosts"][0]["host"], "this");
    assert!(status["hosts"][0]["level"].as_u64().unwrap() < 4);
    assert!(status["tick"]["controller"]["rss"].as_u64().unwrap() > 1 << 20);
    assert!(place.run(&["status"]).code(0).stdout.contains("this  "));
    place.run(&["events"]).code(0);
}

#[test]
fn state_is_private_and_check_leaves_no_trace() {
    let place = Place::this_machine();
    let run = place.run(&["run", "--check"]).code(0);
    assert!(run.stdout.contains("this: ") && run.stderr.contains("nothing recorded"), "{}", run.stderr);
    assert_eq!(fs::read_dir(place.path("home")).unwrap().count(), 0, "--check wrote something");
    place.run(&["run"]).code(0);
    assert_eq!(fs::metadata(place.state()).unwrap().permissions().mode() & 0o777, 0o700);
    // Each fleet has its own, below what the environment names.
    place.write("factory.yml", &calm("fleet: home\n"));
    let elsewhere = place.path("elsewhere");
    let run = place.command(&["run"]).env("XDG_STATE_HOME", &elsewhere).output().unwrap();
    assert!(run.status.success() && elsewhere.join("factory/home/journal.db").exists());
    let named = place.command(&["run"]).env("FACTORY_STATE", place.path("named")).output().unwrap();
    assert!(named.status.success() && place.path("named/journal.db").exists());
    place.write("factory.yml", CALM);
    let before = place.run(&["events", "--samples"]).code(0).stdout;
    place.run(&["run", "--check"]).code(0);
    assert_eq!(place.run(&["events", "--samples"]).code(0).stdout, before);
}

#[test]
fn a_host_that_cannot_be_reached_says_so_and_holds_nobody_up() {
    let place = Place::new(&[
        (
            "hosts.yml",
            "all: {hosts: {far-1: , far-2: , this: {ansible_connection: local}}, vars: {ansible_host: 127.0.0.1, ansible_port: 1}}\n",
        ),
        ("factory.yml", CALM),
    ]);
    let run = place.run(&["run", "-o", "json"]).code(0).json();
    let hosts = run["hosts"].as_array().unwrap();
    let names: Vec<&str> = hosts.iter().map(|host| host["host"].as_str().unwrap()).collect();
    assert_eq!(names, ["far-1", "far-2", "this"], "the order of the inventory");
    assert_eq!(hosts[0]["level"], 4);
    assert!(hosts[0]["verdict"].as_str().unwrap().starts_with("unknown: 127.0.0.1:1 refused the connection"));
    assert!(hosts[2]["sample"]["mem"]["available"].as_u64().is_some());
    assert_eq!(run["tick"]["missed"], 2);
    // No remote host answers: that is told once, and not at every tick, nor host by host.
    place.run(&["run"]).code(0);
    let events = place.run(&["events"]).code(0).stdout;
    let count = |what: &str| events.matches(what).count();
    assert_eq!((count("no remote host answers"), count("missed")), (1, 0), "{events}");

    let probe = place.run(&["probe", "-o", "jsonl"]).code(4);
    assert_eq!(probe.stdout.lines().count(), 3);
    place.run(&["probe", "-l", "this"]).code(0);
    let error = place.run(&["probe", "-l", "thsi"]).code(3);
    assert!(error.stderr.contains("did you mean `this`?"), "{}", error.stderr);
}

/// A tick whose probe hangs: `nproc`, which writes its pid to the file `pid`, never comes back.
fn hanging(place: &Place) -> std::process::Command {
    let bin = place.path("bin");
    let script = format!("#!/bin/sh\necho $$ >{}\nexec sleep 60\n", place.path("pid").display());
    program_file(&bin.join("nproc"), &script);
    let mut command = place.command(&["run", "-q"]);
    command.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())).stdout(Stdio::null());
    command
}

#[test]
fn one_tick_at_a_time_and_readers_are_not_held_up() {
    let place = Place::this_machine();
    place.run(&["run"]).code(0);
    let mut slow = hanging(&place).spawn().unwrap();

    let began = Instant::now();
    let busy = loop {
        let status = place.run(&["status", "-o", "json"]).code(0).json();
        if status["running"] == slow.id() {
            break place.run(&["run"]);
        }
        assert!(began.elapsed() < Duration::from_secs(30), "the slow tick never began: {status}");
    };
    assert_eq!(busy.code, Some(5), "{}", busy.stderr);
    assert!(busy.stderr.contains(&format!("process {}", slow.id())), "{}", busy.stderr);
    assert!(place.run(&["status"]).code(0).stdout.contains("a tick is running now"));
    place.run(&["events"]).code(0);
    // `--check` needs no lock.
    place.run(&["run", "--check"]).code(0);

    // Killed with no chance to tidy up, it leaves no lock behind.
    slow.kill().unwrap();
    slow.wait().unwrap();
    place.run(&["run"]).code(0);
}

#[test]
fn an_interrupted_tick_ends_with_130_and_kills_its_probe() {
    let place = Place::this_machine();
    let pid_file = place.path("pid");
    let mut slow = hanging(&place).spawn().unwrap();
    let began = Instant::now();
    let pid = loop {
        match fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse::<i32>().ok()) {
            Some(pid) => break pid,
            None => assert!(began.elapsed() < Duration::from_secs(30), "the probe never began"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let signal = |pid: u32| {
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid as i32).unwrap(), rustix::process::Signal::INT)
    };
    signal(slow.id()).unwrap();
    assert_eq!(slow.wait().unwrap().code(), Some(130));
    let gone = || fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    let began = Instant::now();
    while !gone() {
        assert!(began.elapsed() < Duration::from_secs(10), "the probe lives on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_damaged_journal_does_not_stop_the_supervisor() {
    let place = Place::this_machine();
    place.run(&["run"]).code(0);
    fs::write(place.state().join("journal.db"), "not a database, not at all ".repeat(200)).unwrap();
    for log in ["journal.db-wal", "journal.db-shm"] {
        let _ = fs::remove_file(place.state().join(log));
    }
    let status = place.run(&["status"]).code(1);
    assert!(status.stderr.contains("moves it aside"), "{}", status.stderr);
    let run = place.run(&["run"]).code(0);
    assert!(run.stderr.contains("warning: the journal was damaged"), "{}", run.stderr);
    assert!(place.run(&["events"]).code(0).stdout.contains("journal was damaged"));
}

#[test]
fn output_forms_are_what_they_say() {
    let place = Place::this_machine();
    let run = place.run(&["run", "--output", "json"]).code(0);
    assert_eq!(run.json()["kind"], "run");
    let lines = place.run(&["run", "--output", "jsonl"]).code(0);
    assert_eq!(lines.json()["kind"], "host");
    let quiet = place.run(&["run", "-q"]).code(0);
    assert_eq!(quiet.stderr, "");
    assert!(!quiet.stdout.contains('\u{1b}'));
    let color = place.run(&["run", "--color", "always"]).code(0);
    assert!(color.stdout.contains('\u{1b}'), "{}", color.stdout);
    let by_variable = place.command(&["run"]).env("FACTORY_OUTPUT", "json").env("FACTORY_QUIET", "1").output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&by_variable.stdout).unwrap();
    assert_eq!((value["kind"].as_str(), by_variable.stderr.as_slice()), (Some("run"), &b""[..]));
}

#[test]
fn progress_is_a_bar_on_a_terminal_and_lines_in_a_pipe() {
    let place = Place::this_machine();
    let piped = place.run(&["run"]).code(0);
    assert!(piped.stderr.contains("[1/1] this in ") && !piped.stderr.contains("probing"), "{}", piped.stderr);
    if std::process::Command::new("script").arg("--version").output().is_err() {
        println!("left out: progress on a terminal; needs `script` (apt-get install bsdutils, as `make test` does)");
        return;
    }
    // A probe that takes a moment, so that there is something to draw.
    let bin = place.path("bin");
    program_file(&bin.join("nproc"), "#!/bin/sh\nsleep 0.5\necho 1\n");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let on_terminal = |variable: &str| {
        let mut command = std::process::Command::new("script");
        command.args(["-qec", concat!(env!("CARGO_BIN_EXE_factory"), " run"), "/dev/null"]).env_clear();
        command.envs([("HOME", place.path("home").to_str().unwrap()), ("PATH", &path), ("TERM", "xterm")]);
        command.env(variable, "1").stdin(Stdio::null()).current_dir(place.path("inventory/.."));
        String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
    };
    let drawn = on_terminal("OTHER");
    assert!(drawn.contains("probing") && drawn.contains("\u{1b}[32mok\u{1b}["), "{drawn}");
    assert!(!drawn.contains("[1/1]"), "{drawn}");
    assert!(!on_terminal("CI").contains("probing"));
    assert!(!on_terminal("NO_COLOR").contains("\u{1b}[32m"));
}

#[test]
fn the_longest_command_is_the_inventorys_to_say() {
    let place = Place::new(&[
        ("hosts.yml", "all: {hosts: {far: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n"),
        ("factory.yml", "ssh: {max_command: 2KiB}\n"),
    ]);
    let probe = place.run(&["probe"]).code(4);
    let told = [probe.stdout.as_str(), &probe.stderr].concat();
    assert!(told.contains("KiB long; at most 2 KiB can be sent"), "{told}");
}
