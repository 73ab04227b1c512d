//! Ticks that hang: their deadline ends them, and who stands still with the lock loses it, but nobody else does.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write, pipe};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{CALM, Place, calm, program_file, until};

/// Probes call this for `nproc` from now on, with `$HERE` for the place's directory.
fn nproc_is(place: &Place, text: &str) {
    let here = place.path("");
    program_file(&place.path("bin/nproc"), &format!("#!/bin/sh\nHERE='{}'\n{text}\n", here.display()));
}

/// A run whose probes call this for `nproc`.
fn run_with(place: &Place, nproc: &str) -> Command {
    nproc_is(place, nproc);
    run(place)
}

/// A run whose probes call what was last given for `nproc`.
fn run(place: &Place) -> Command {
    let bin = place.path("bin");
    let inventory = place.path("inventory").display().to_string();
    let mut command = place.command(&["-i", &inventory, "run", "-q"]);
    command.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// One that never comes back; the process that hangs writes its pid first.
const HANGS: &str = "echo $$ >\"$HERE/pid.new\"; mv \"$HERE/pid.new\" \"$HERE/pid\"; exec sleep 600";

/// What needs no quarter of an hour to see.
const IMPATIENT: &str = "wake: {deadline: 30s, stuck: 30s}\n";

fn hanging_probe(place: &Place) -> u32 {
    until("the probe's pid", || fs::read_to_string(place.path("pid")).ok()?.trim().parse().ok())
}

/// The state letter of a process; none when it is gone, a zombie counts as gone.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next().filter(|state| *state != 'Z')
}

#[track_caller]
fn ends(child: &mut Child) -> ExitStatus {
    until("the end of a process", || child.try_wait().unwrap())
}

fn stop(pid: u32) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::STOP).unwrap();
    until("the stop", || (state(pid) == Some('T')).then_some(()));
}

/// What the lock's file says: pid, start, progress.
fn lock(place: &Place) -> Option<[u64; 3]> {
    let text = fs::read_to_string(place.state().join("lock")).ok()?;
    let fields: Vec<u64> = text.split_whitespace().map(|field| field.parse().unwrap()).collect();
    fields.try_into().ok()
}

fn write_lock(place: &Place, [pid, start, progress]: [u64; 3]) {
    fs::write(place.state().join("lock"), format!("{pid} {start} {progress}\n")).unwrap();
}

/// A tick that hangs in its probe and was stopped, and what its lock says.
fn stopped(place: &Place) -> (Child, [u64; 3]) {
    let child = run_with(place, HANGS).spawn().unwrap();
    hanging_probe(place);
    stop(child.id());
    let held = lock(place).unwrap();
    assert_eq!(held[0], u64::from(child.id()));
    (child, held)
}

/// What was recorded of ticks that did not come to their end.
fn unfinished(place: &Place) -> Vec<Value> {
    let events = place.run(&["events", "-o", "jsonl"]).code(0).stdout;
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["what"] == "takeover" || event["what"] == "cut").collect()
}

#[test]
fn a_tick_that_hangs_is_ended_with_its_probe_and_leaves_nothing_behind() {
    let place = Place::this_machine();
    place.write("factory.yml", &calm("wake: {deadline: 15s}\n"));
    // It has come to its probe by then, on any machine.
    let child = run_with(&place, HANGS).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(6), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("error: this tick was still running at its deadline, after 15s"), "{told}");
    assert!(told.contains("help:") && told.contains("wake.deadline"), "{told}");
    let probe = hanging_probe(&place);
    until("the end of its probe", || state(probe).is_none().then_some(()));
    // The lock went with it; the next one tells.
    place.write("factory.yml", CALM);
    place.run(&["run"]).code(0);
    let recorded = unfinished(&place);
    assert_eq!((recorded.len(), &recorded[0]["what"]), (1, &"cut".into()), "{recorded:?}");
    let told = format!("the tick of process {pid} was cut short after 20");
    assert!(recorded[0]["message"].as_str().unwrap().starts_with(&told), "{recorded:?}");
    place.run(&["run"]).code(0);
    assert_eq!(unfinished(&place).len(), 1, "told once");
}

/// A pipe that is full and that nobody reads for as long as the first is kept.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, writer) = pipe().unwrap();
    // Opened anew it can be told not to wait, which the writer that is handed on must.
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let mut filler = OpenOptions::new().write(true).custom_flags(flags).open(path).unwrap();
    for chunk in [4096, 1] {
        let full = loop {
            if let Err(error) = filler.write(&vec![b'x'; chunk]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
    }
    (reader, writer)
}

#[test]
fn nobody_reading_what_it_tells_holds_no_tick_up_for_ever() {
    for stderr in [true, false] {
        let place = Place::this_machine();
        place.write("factory.yml", &calm("wake: {deadline: 2s}\n"));
        let (_unread, writer) = full_pipe();
        let inventory = place.path("inventory").display().to_string();
        let mut command = place.command(&["-i", &inventory, "run"]);
        match stderr {
            true => command.stdout(Stdio::null()).stderr(writer),
            false => command.stdout(writer).stderr(Stdio::null()),
        };
        let mut child = command.spawn().unwrap();
        assert_eq!(ends(&mut child).signal(), Some(6), "stderr: {stderr}");
        place.write("factory.yml", CALM);
        place.run(&["run"]).code(0);
    }
}

#[test]
fn a_stopped_tick_keeps_its_lock_while_it_is_young_and_then_loses_it() {
    let place = Place::this_machine();
    let (mut child, [pid, start, progress]) = stopped(&place);
    // A minute is nothing to the default of fifteen.
    let old = progress.saturating_sub(60);
    write_lock(&place, [pid, start, old]);
    let busy = place.run(&["run"]).code(5);
    assert!(busy.stderr.contains(&format!("process {pid} is running a tick")), "{}", busy.stderr);
    assert_eq!(state(child.id()), Some('T'));

    place.write("factory.yml", &calm(IMPATIENT));
    let run = place.run(&["run"]).code(0);
    let told = format!("the tick of process {pid} had made no progress for 1m");
    assert!(run.stderr.contains(&format!("warning: {told}")), "{}", run.stderr);
    assert_eq!(ends(&mut child).signal(), Some(9));
    let probe = hanging_probe(&place);
    until("the end of its probe", || state(probe).is_none().then_some(()));
    let recorded = unfinished(&place);
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    assert_eq!((&recorded[0]["what"], &recorded[0]["severity"]), (&"takeover".into(), &2.into()));
    assert!(recorded[0]["message"].as_str().unwrap().starts_with(&told), "{recorded:?}");
    // Told once.
    place.run(&["run"]).code(0);
    assert_eq!(unfinished(&place).len(), 1);
}

#[test]
fn of_several_that_find_a_stopped_tick_one_goes_on() {
    let place = Place::this_machine();
    let (mut old, [pid, start, progress]) = stopped(&place);
    place.write("factory.yml", &calm(IMPATIENT));
    write_lock(&place, [pid, start, progress.saturating_sub(60)]);
    let mut takers: Vec<Child> = Vec::new();
    nproc_is(&place, "until [ -e \"$HERE/go\" ]; do sleep 0.1; done; echo 1");
    for _ in 0..4 {
        takers.push(run(&place).stderr(Stdio::piped()).spawn().unwrap());
    }
    until("all but one to give up", || {
        let going = takers.iter_mut().filter_map(|taker| taker.try_wait().unwrap()).count();
        (going == 3).then_some(())
    });
    let winner = takers.iter_mut().position(|taker| taker.try_wait().unwrap().is_none()).unwrap();
    assert_eq!(lock(&place).unwrap()[0], u64::from(takers[winner].id()));
    fs::write(place.path("go"), "").unwrap();
    for (index, taker) in takers.into_iter().enumerate() {
        let output = taker.wait_with_output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(if index == winner { 0 } else { 5 }), "{told}");
    }
    assert_eq!(ends(&mut old).signal(), Some(9));
    // The one that got the lock need not be the one that killed, but tells of it.
    let recorded = unfinished(&place);
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    assert!(recorded[0]["message"].as_str().unwrap().contains(&format!("process {pid} ")), "{recorded:?}");
}

#[test]
fn whoever_is_not_surely_the_holder_lives() {
    let place = Place::this_machine();
    place.write("factory.yml", &calm(IMPATIENT));
    fs::create_dir_all(place.state()).unwrap();
    // A process of this user that the file names, down to its start, while somebody else holds the lock.
    let mut innocent = Command::new("sleep").arg("600").spawn().unwrap();
    let pid = u64::from(innocent.id());
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let start: u64 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
    write_lock(&place, [pid, start, 1]);
    let held = File::open(place.state().join("lock")).unwrap();
    held.lock().unwrap();
    let mut doubt = |line: [u64; 3], why: &str| {
        write_lock(&place, line);
        let run = place.run(&["run"]).code(5);
        assert!(run.stderr.contains(why) && run.stderr.contains("help: `fuser -v "), "{}", run.stderr);
        assert_eq!(innocent.try_wait().unwrap(), None, "{why}");
    };
    doubt([pid, start, 1], "that process does not hold it");
    doubt([pid, start + 1, 1], "there is no such process any more");
    doubt([pid, start, u64::MAX], "its progress lies in the future");
    // A child that another thread has just started may hold it open for a moment.
    held.unlock().unwrap();
    drop(held);

    // The true holder, but not the one that wrote the line.
    let (mut child, [pid, start, progress]) = stopped(&place);
    doubt([pid, start - 1, progress.saturating_sub(60)], "there is no such process any more");
    assert_eq!(state(child.id()), Some('T'));
    for process in [&mut child, &mut innocent] {
        process.kill().unwrap();
        process.wait().unwrap();
    }
    // Killed like this it leaves its probe running.
    kill_process(Pid::from_raw(hanging_probe(&place) as i32).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn progress_is_noted_as_the_hosts_answer() {
    let place = Place::new(&[
        ("hosts.yml", "all: {hosts: {one: , two: }, vars: {ansible_connection: local}}\n"),
        ("factory.yml", CALM),
    ]);
    // One of the two answers when it is let go, the other never.
    let script = "mkdir \"$HERE/first\" || exec sleep 600; until [ -e \"$HERE/go\" ]; do sleep 0.1; done; echo 1";
    let mut child = run_with(&place, script).spawn().unwrap();
    let [pid, start, begun] = until("the lock", || lock(&place).filter(|_| place.path("first").exists()));
    // It is noted in whole seconds.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(lock(&place), Some([pid, start, begun]));
    fs::write(place.path("go"), "").unwrap();
    let later = until("progress", || lock(&place).filter(|lock| lock[2] > begun));
    assert_eq!((later[0], later[1]), (u64::from(child.id()), start));
    assert_eq!(child.try_wait().unwrap(), None);
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::TERM).unwrap();
    assert_eq!(ends(&mut child).code(), Some(130));
}
