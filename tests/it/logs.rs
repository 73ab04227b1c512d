//! `factory logs` and what ticks keep of logs, on this machine: with runs that are made by hand.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::support::{Ended, Place, calm, until};

const TOKEN: &str = "20260312-harb-12";

/// A place with an agent that has a log file, and a repo with a secret.
fn place() -> Place {
    let place = Place::this_machine();
    place.write("factory.yml", &calm("agents: {dev: {dir: ~/dark, logs: [dev/dev-agent.log]}}\n"));
    std::fs::create_dir_all(place.path("home/dark/dev")).unwrap();
    place
}

fn file(place: &Place, token: &str, name: &str) -> PathBuf {
    place.path(&format!("home/.factory/runs/{token}/{name}"))
}

fn write(path: PathBuf, bytes: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn append(path: PathBuf, bytes: &[u8]) {
    std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// A run that goes on as long as this value.
struct Running(std::process::Child);

impl Running {
    fn new(place: &Place, token: &str) -> Running {
        write(file(place, token, "spec"), "fleet f\nagent dev\nrepo harb\n");
        write(file(place, token, "started"), "1 2 b00t 2026-03-12T13:20:00Z\n");
        write(file(place, token, "wrapper.lock"), "");
        let mut command = Command::new("flock");
        command.arg(file(place, token, "wrapper.lock")).args(["sh", "-c", "echo held; read x"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Running(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// A run that has ended.
fn ended(place: &Place, token: &str, out: &[u8], err: &[u8]) {
    write(file(place, token, "spec"), "fleet f\nagent dev\nrepo harb\n");
    write(file(place, token, "started"), "1 2 b00t 2026-03-12T13:20:00Z\n");
    write(file(place, token, "out.log"), out);
    write(file(place, token, "err.log"), err);
    end(place, token);
}

fn end(place: &Place, token: &str) {
    write(file(place, token, "rc"), "0\n2026-03-12T14:20:00Z\n");
}

/// The binary with the inventory named, as in a crontab: what is found by standing beside it is told on stderr.
fn factory(place: &Place, args: &[&str]) -> Command {
    let mut command = place.command(args);
    command.env("FACTORY_INVENTORY", place.path("inventory"));
    command
}

fn run(place: &Place, args: &[&str]) -> Ended {
    Ended::from(factory(place, args).output().unwrap(), &place.path(""))
}

fn logs(place: &Place, args: &[&str]) -> Output {
    factory(place, &[&["logs"], args].concat()).output().unwrap()
}

/// Any bytes, and what looks like an answer of ours among them.
fn bytes(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut all: Vec<u8> = b"\nend\n\nbegin factory-probe 1\nlog 20260312-x out 0 9 9\nlogs 1\nend\n+\n\0\r\n".to_vec();
    all.extend((0..length).map(|_| next() as u8));
    all
}

#[test]
fn one_run_is_shown_byte_by_byte_from_the_host_and_from_the_journal() {
    let place = place();
    let (out, err) = (bytes(700_000), bytes(3000));
    ended(&place, TOKEN, &out, &err);
    let direct = logs(&place, &[TOKEN]);
    assert_eq!(direct.status.code(), Some(0), "{}", String::from_utf8_lossy(&direct.stderr));
    assert!(direct.stdout == out && direct.stderr == err, "{} {}", direct.stdout.len(), direct.stderr.len());
    let missing = logs(&place, &["--offline", TOKEN]);
    assert_eq!(missing.status.code(), Some(1));

    run(&place, &["run", "-q"]).code(0);
    let part = logs(&place, &["--offline", TOKEN]);
    let got = part.stdout.len();
    assert!(out.starts_with(&part.stdout) && (100_000..=262_144).contains(&got), "one tick has a cap: {got}");
    // What is here, and the rest from the host.
    let both = logs(&place, &[TOKEN]);
    assert!(both.stdout == out && both.stderr == err);
    assert_eq!(logs(&place, &["--stream", "err", TOKEN]).stdout, b"");
    assert!(logs(&place, &["--stream", "out", TOKEN]).stderr.is_empty());
    for _ in 0..3 {
        run(&place, &["run", "-q"]).code(0);
    }
    // All is here: the host is not asked any more, and may be gone.
    std::fs::remove_dir_all(place.path("home/.factory/runs")).unwrap();
    let kept = logs(&place, &["--offline", TOKEN]);
    assert!(kept.stdout == out && kept.stderr == err, "{}", kept.stdout.len());
    run(&place, &["run", "-q"]).code(0);
    assert!(logs(&place, &["--offline", TOKEN]).stdout == out, "a run that is gone stays here");
}

#[test]
fn a_large_log_comes_over_several_ticks_and_whole() {
    let place = place();
    let out = bytes(3 << 20);
    ended(&place, TOKEN, &out, b"");
    let mut lengths = vec![0];
    while lengths.len() < 40 && *lengths.last().unwrap() < out.len() {
        run(&place, &["run", "-q"]).code(0);
        lengths.push(logs(&place, &["--offline", TOKEN]).stdout.len());
    }
    assert!(lengths.windows(2).all(|pair| pair[1] > pair[0] && pair[1] - pair[0] <= 256 << 10), "{lengths:?}");
    assert!(lengths.len() > 12, "{lengths:?}");
    assert!(logs(&place, &["--offline", TOKEN]).stdout == out);
}

#[test]
fn what_is_kept_has_a_bound_and_is_not_fetched_again() {
    let place = place();
    place.write("factory.yml", &calm("logs: {size: 300KiB}\n"));
    let out = bytes(600_000);
    ended(&place, TOKEN, &out, b"");
    for _ in 0..8 {
        run(&place, &["run", "-q"]).code(0);
    }
    let kept = logs(&place, &["--offline", TOKEN]);
    assert!(!kept.stdout.is_empty() && kept.stdout.len() <= 300 << 10, "{}", kept.stdout.len());
    assert!(out.ends_with(&kept.stdout));
    let told = String::from_utf8(kept.stderr).unwrap();
    assert!(told.contains("bytes of these logs are not kept here any more"), "{told}");
}

#[test]
fn all_logs_are_lines_behind_their_names_and_cannot_forge_another() {
    let place = place();
    ended(&place, TOKEN, b"one\ntwo \x1b[2J\rthis harb-13 | x\nno end", b"oops\n");
    ended(&place, "20260312-harb-13", b"three\n", b"");
    write(place.path("home/dark/dev/dev-agent.log"), "four\n");
    for _ in 0..2 {
        let told = logs(&place, &[]);
        assert_eq!(told.status.code(), Some(0));
        let mut lines: Vec<&str> = std::str::from_utf8(&told.stdout).unwrap().lines().collect();
        lines.sort_unstable();
        let want = [
            "this dev-agent.log | four",
            "this harb-12 | no end",
            "this harb-12 | one",
            "this harb-12 | two  [2J this harb-13 | x",
            "this harb-13 | three",
        ];
        assert_eq!(lines, want);
        assert!(String::from_utf8(told.stderr).unwrap().contains("this harb-12 | oops\n"));
        run(&place, &["run", "-q"]).code(0);
    }
    let of = |args: &[&str]| String::from_utf8(logs(&place, args).stdout).unwrap().lines().count();
    assert_eq!((of(&["--agent", "dev"]), of(&["--agent", "review"]), of(&["--repo", "*"])), (5, 0, 1));
    assert_eq!((of(&["--offline", "--since", "1h"]), of(&["--host", "this"])), (5, 5));
    run(&place, &["logs", "--host", "none"]).code(3);
    // As JSON.
    let told = run(&place, &["logs", "--offline", "-o", "jsonl", TOKEN]).code(0).stdout;
    let mut objects: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Which of the two streams a tick fetched first is nobody's promise.
    objects.sort_by_key(|chunk| chunk["stream"].to_string());
    assert_eq!(objects.len(), 2, "{told}");
    assert!(objects.iter().all(|chunk| chunk["v"] == 1 && chunk["kind"] == "log" && chunk["token"] == TOKEN));
    assert_eq!((objects[0]["stream"].as_str(), objects[0]["text"].as_str()), (Some("err"), Some("oops\n")));
    let one = run(&place, &["logs", "-o", "json"]).code(0).json();
    assert_eq!((one["kind"].as_str(), one["chunks"].as_array().map(Vec::len)), (Some("logs"), Some(4)));
    run(&place, &["logs", "-f", "-o", "json"]).code(2);
}

#[test]
fn a_run_that_nobody_has_is_told_and_so_is_a_host_that_cannot_be_asked() {
    let place = place();
    let told = run(&place, &["logs", "20260312-none"]).code(1).stderr;
    assert!(told.contains("there is no log of a run `20260312-none`"), "{told}");
    ended(&place, TOKEN, b"here\n", b"");
    run(&place, &["run", "-q"]).code(0);
    place.write("hosts.yml", "all: {hosts: {this: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n");
    assert_eq!(run(&place, &["logs", TOKEN]).code(0).stdout, "here\n", "it is here whole");
    let told = run(&place, &["logs"]).code(4);
    assert_eq!(told.stdout, "this harb-12 | here\n");
    assert!(told.stderr.contains("refused the connection"), "{}", told.stderr);
    run(&place, &["logs", "--offline"]).code(0);
}

#[test]
fn following_one_run_ends_with_it_and_gives_what_it_wrote() {
    let place = place();
    let running = Running::new(&place, TOKEN);
    let out = bytes(400_000);
    write(file(&place, TOKEN, "out.log"), &out[..100]);
    let mut following =
        factory(&place, &["logs", "-f", TOKEN]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for from in (100..out.len()).step_by(50_000) {
        append(file(&place, TOKEN, "out.log"), &out[from..out.len().min(from + 50_000)]);
        // A tick beside it changes nothing.
        run(&place, &["run", "-q"]).code(0);
    }
    assert!(following.try_wait().unwrap().is_none(), "the run goes on");
    write(file(&place, TOKEN, "err.log"), "the end\n");
    end(&place, TOKEN);
    let told = following.wait_with_output().unwrap();
    drop(running);
    assert_eq!(told.status.code(), Some(0));
    assert!(told.stdout == out, "{}", told.stdout.len());
    assert_eq!(told.stderr, b"the end\n");
}

fn signal(child: &std::process::Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

/// A run that is followed, by these words and from its first line on, and ends while who follows does nothing; ticks have
/// fetched it and cleaned up there, `meanwhile` is done, and then who follows goes on. How that ended, without the line.
fn ended_meanwhile(place: &Place, args: &[&str], line: &str, meanwhile: impl FnOnce()) -> Output {
    use std::io::Read as _;
    let running = Running::new(place, TOKEN);
    write(file(place, TOKEN, "out.log"), "one\n");
    write(file(place, TOKEN, "err.log"), "");
    let mut command = factory(place, args);
    let mut following = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(following.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    assert_eq!(first, line);
    signal(&following, rustix::process::Signal::STOP);
    // A look that was under way has seen nothing of what comes now.
    let stat = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    until("its last look is over", || {
        let pid = following.id().to_string();
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let children = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        let all = children.collect::<String>();
        let over = |child: &str| stat(child).is_empty() || stat(child).contains(") Z ");
        (stat(&pid).contains(") T ") && all.split_whitespace().all(over)).then_some(())
    });
    append(file(place, TOKEN, "out.log"), b"two\n");
    append(file(place, TOKEN, "err.log"), b"the end\n");
    end(place, TOKEN);
    drop(running);
    until("the ticks that fetch it and clean up", || {
        run(place, &["run", "-q"]).code(0);
        (!file(place, TOKEN, "out.log").exists()).then_some(())
    });
    meanwhile();
    signal(&following, rustix::process::Signal::CONT);
    if !args.contains(&TOKEN) {
        let mut more = String::new();
        out.read_line(&mut more).unwrap();
        signal(&following, rustix::process::Signal::INT);
        let told = following.wait_with_output().unwrap();
        return Output { stdout: more.into_bytes(), ..told };
    }
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    Output { stdout: rest, ..following.wait_with_output().unwrap() }
}

#[test]
fn what_a_tick_fetches_and_takes_away_is_followed_all_the_same() {
    let told = ended_meanwhile(&place(), &["logs", "-f", TOKEN], "one\n", || {});
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!((text(&told.stdout), text(&told.stderr)), ("two\n".into(), "the end\n".into()));
    assert_eq!(told.status.code(), Some(0));
    let told = ended_meanwhile(&place(), &["logs", "-f", "--stream", "out"], "this harb-12 | one\n", || {});
    assert_eq!(text(&told.stdout), "this harb-12 | two\n", "{}", text(&told.stderr));
    // What is kept nowhere is told.
    let place = place();
    let lost = || std::fs::remove_dir_all(place.state()).unwrap();
    let told = ended_meanwhile(&place, &["logs", "-f", TOKEN], "one\n", lost);
    let stderr = text(&told.stderr);
    assert!(told.status.code() == Some(1) && told.stdout.is_empty(), "{stderr}");
    assert!(stderr.contains("has no log `out`") && stderr.contains("behind the first 4 bytes is not kept"), "{stderr}");
}

#[test]
fn the_last_byte_of_a_run_that_left_something_behind_is_shown() {
    let place = place();
    place.write("repos.yml", "repos: {harb: {slug: a/b, token: {file: token}}}\n");
    place.write("token", "hunter2-s3cret\n");
    std::fs::set_permissions(place.path("inventory/token"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    ended(&place, TOKEN, b"hunter2-s3cret push h", b"oh");
    write(file(&place, TOKEN, "tree.lock"), "");
    let mut lock = Command::new("flock");
    lock.arg(file(&place, TOKEN, "tree.lock")).args(["sh", "-c", "echo held; read x"]);
    let mut left = lock.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(left.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let state = run(&place, &["probe", "-o", "json"]).code(0).json()["samples"][0]["runs"][0]["state"].clone();
    assert_eq!(state, "DONE 0 LEFTOVER");
    for args in [&["logs", "-f", TOKEN][..], &["logs", TOKEN]] {
        let told = run(&place, args).code(0);
        assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("************** push h", "oh"), "{args:?}");
    }
    // What is kept waits for what may come, and is not fetched twice.
    run(&place, &["run", "-q"]).code(0);
    drop(left.stdin.take());
    left.wait().unwrap();
    run(&place, &["run", "-q"]).code(0);
    assert_eq!(run(&place, &["logs", "--offline", TOKEN]).code(0).stdout, "************** push h");
}

#[test]
fn following_all_shows_what_comes_until_it_is_interrupted_or_nobody_reads() {
    let place = place();
    let _running = Running::new(&place, TOKEN);
    write(file(&place, TOKEN, "out.log"), "one\n");
    let start = || factory(&place, &["logs", "--follow"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut following = start();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert_eq!(next(), "this harb-12 | one");
    append(file(&place, TOKEN, "out.log"), b"two\n");
    assert_eq!(next(), "this harb-12 | two");
    // A run that begins meanwhile, and a log file that is renamed.
    ended(&place, "20260312-new", b"three\n", b"");
    assert_eq!(next(), "this new | three");
    let log = place.path("home/dark/dev/dev-agent.log");
    write(log.clone(), "four\n");
    assert_eq!(next(), "this dev-agent.log | four");
    append(log.clone(), b"five\n");
    std::fs::rename(&log, log.with_extension("log.old")).unwrap();
    write(log, "six\n");
    assert_eq!((next(), next()), ("this dev-agent.log | five".into(), "this dev-agent.log | six".into()));
    let pid = rustix::process::Pid::from_child(&following);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(following.wait().unwrap().code(), Some(130));

    let mut following = start();
    drop(following.stdout.take());
    append(file(&place, TOKEN, "out.log"), b"more\n");
    assert_eq!(until("its end", || following.try_wait().unwrap()).code(), Some(0));
}

/// Kills the shell of the next look of a process that follows; false when that has ended.
fn kill_a_look(following: &mut std::process::Child) -> bool {
    let parent = following.id();
    until("a look, or its end", || {
        if following.try_wait().unwrap().is_some() {
            return Some(false);
        }
        let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).ok()?;
        let children = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        let child = children.collect::<String>().split_whitespace().next()?.parse().ok()?;
        let pid = rustix::process::Pid::from_raw(child)?;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok()?;
        Some(true)
    })
}

#[test]
fn following_goes_on_after_a_look_that_failed_and_gives_up_after_some() {
    let place = place();
    let running = Running::new(&place, TOKEN);
    write(file(&place, TOKEN, "out.log"), "one\n");
    let start = || {
        let mut command = factory(&place, &["logs", "-f", TOKEN]);
        let mut following = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(following.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "one\n");
        (following, out)
    };
    let (mut following, mut out) = start();
    assert!(kill_a_look(&mut following));
    append(file(&place, TOKEN, "out.log"), b"two\n");
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "two\n");
    following.kill().unwrap();
    following.wait().unwrap();

    write(file(&place, TOKEN, "out.log"), "one\n");
    let (mut following, out) = start();
    let mut killed = 0;
    while kill_a_look(&mut following) {
        killed += 1;
    }
    let told = following.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.code() == Some(1) && text.contains("killed by signal 9"), "{killed}: {text}");
    drop((running, out));
}

#[test]
fn secrets_are_neither_kept_nor_shown() {
    let place = place();
    place.write(
        "repos.yml",
        "repos:\n  harb:\n    slug: a/b\n    token: {file: token}\n    env: {Y: {command: [echo, other-s3cret]}}\n",
    );
    place.write("token", "hunter2-s3cret\n");
    std::fs::set_permissions(place.path("inventory/token"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    let running = Running::new(&place, TOKEN);
    write(file(&place, TOKEN, "out.log"), "push https://hunter2-s3");
    write(place.path("home/dark/dev/dev-agent.log"), "token=hunter2-s3cret other-s3cret\n");
    run(&place, &["run", "-q"]).code(0);
    append(file(&place, TOKEN, "out.log"), b"cret@forge\nand hunter2-s3cret again");
    run(&place, &["run", "-q"]).code(0);
    // Also straight from the host.
    append(file(&place, TOKEN, "out.log"), b" other-s3cret.\n");
    end(&place, TOKEN);
    drop(running);
    let want = "push https://**************@forge\nand ************** again ************.\n";
    let told = run(&place, &["logs", "--stream", "out", TOKEN]).code(0);
    assert_eq!(told.stdout, want);
    run(&place, &["run", "-q"]).code(0);
    assert_eq!(run(&place, &["logs", "--offline", TOKEN]).code(0).stdout, want);
    let all = run(&place, &["logs", "--offline"]).code(0).stdout;
    assert!(all.contains("token=************** ************\n"), "{all}");
    for name in ["journal.db", "journal.db-wal"] {
        let bytes = std::fs::read(place.state().join(name)).unwrap_or_default();
        assert!(!bytes.windows(6).any(|window| window == b"s3cret"), "{name}");
    }
}

#[test]
fn no_part_of_a_secret_is_shown_of_a_long_last_line_nor_of_a_command_line() {
    const SECRET: &str = "hunter2-s3cret-of-many-characters";
    let place = place();
    place.write("factory.yml", &calm("agents: {old: {class: dev, start: cron, match: no-such-poll.sh}}\n"));
    place.write("repos.yml", "repos: {harb: {slug: a/b, token: {file: token}}}\n");
    place.write("token", &format!("{SECRET}\n"));
    std::fs::set_permissions(place.path("inventory/token"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    // Across the two places where a line is cut: 1000 bytes before its end, and its character 200.
    for (name, begin, behind) in [("far", 0, 980), ("near", 190, 300), ("both", 0, 1000 - 8), ("short", 190, 20)] {
        let line = format!("{}{SECRET}{}\n", "x".repeat(begin), "y".repeat(behind - 1));
        ended(&place, &format!("20260312-{name}"), format!("before\n{line}").as_bytes(), b"");
    }
    let command = format!("echo up; read x; : no-such-poll.sh {} {SECRET}", "z".repeat(140));
    let mut agent = Command::new("setsid");
    agent.args(["sh", "-c", &command]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut agent = agent.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(agent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    for args in [&["ps", "--all"][..], &["ps", "--all", "-o", "json"]] {
        let shown = run(&place, args).code(0).stdout;
        assert!(shown.contains("****") && shown.contains("yyy") && shown.contains("zzz"), "{shown}");
        let parts = || (0..=SECRET.len() - 4).map(|at| &SECRET[at..at + 4]);
        let part = parts().find(|part| shown.contains(part));
        assert_eq!(part, None, "{shown}");
    }
    drop(agent.stdin.take());
    agent.wait().unwrap();
}

#[test]
fn what_could_hold_a_secret_that_cannot_be_read_stays_where_it_is() {
    const QUAY: &str = "20260312-quay-1";
    let place = place();
    let repos = |more: &str| {
        let harb = format!("harb:\n    slug: a/b\n    env: {{Y: {{command: [echo, hunter2-s3cret]}}{more}}}");
        place.write(
            "repos.yml",
            &format!("repos:\n  {harb}\n  quay:\n    slug: a/c\n    env: {{X: {{env: QUAY_KEY}}}}\n"),
        );
    };
    repos("");
    ended(&place, TOKEN, b"harb hunter2-s3cret plain-w0rd\n", b"");
    ended(&place, QUAY, b"quay other-s3cret\n", b"");
    write(file(&place, QUAY, "spec"), "fleet f\nagent dev\nrepo quay\n");
    write(place.path("home/dark/dev/dev-agent.log"), "of all: other-s3cret\n");
    let shown = run(&place, &["ps", "--all"]).code(0);
    assert!(!shown.stdout.contains("s3cret") && shown.stdout.contains("harb **************"), "{}", shown.stdout);
    assert!(shown.stderr.contains("LAST is not shown of repo quay"), "{}", shown.stderr);
    let (harb, quay) = ("harb ************** plain-w0rd\n", "quay ************\n");
    for _ in 0..2 {
        run(&place, &["run", "-q"]).code(0);
    }
    assert_eq!(run(&place, &["logs", "--offline", TOKEN]).code(0).stdout, harb, "those of others go on");
    run(&place, &["logs", "--offline", QUAY]).code(1);
    for args in [&["logs", QUAY][..], &["logs", "-f", QUAY]] {
        let told = run(&place, args).code(1);
        assert!(told.stdout.is_empty() && told.stderr.contains("QUAY_KEY is not set"), "{}", told.stderr);
    }
    let all = run(&place, &["logs"]).code(0);
    assert!(!all.stdout.contains("s3cret") && all.stderr.contains("no more logs of repo quay"), "{}", all.stdout);
    let events = run(&place, &["events"]).code(0).stdout;
    assert_eq!(events.matches("QUAY_KEY").count(), 1, "told once: {events}");

    // Once it can be read nothing is missing.
    let known = factory(&place, &["run", "-q"]).env("QUAY_KEY", "other-s3cret").output().unwrap();
    assert!(known.status.success());
    assert_eq!(run(&place, &["logs", "--offline", QUAY]).code(0).stdout, quay);
    let all = run(&place, &["logs", "--offline"]).code(0).stdout;
    assert!(all.contains("of all: ************\n"), "{all}");
    for name in ["journal.db", "journal.db-wal"] {
        let bytes = std::fs::read(place.state().join(name)).unwrap_or_default();
        assert!(!bytes.windows(6).any(|window| window == b"s3cret"), "{name}");
    }
    // What becomes a secret later is hidden in what is kept.
    repos(", Z: {command: [echo, plain-w0rd]}");
    let later = run(&place, &["logs", "--offline", TOKEN]).code(0).stdout;
    assert_eq!(later, harb.replace("plain-w0rd", "**********"));
}

#[test]
fn finished_runs_are_quiet() {
    let place = place();
    for i in 0..200 {
        ended(&place, &format!("20260312-{i}"), format!("out of {i}\n").as_bytes(), b"");
    }
    run(&place, &["run", "-q"]).code(0);
    let chunks = || run(&place, &["logs", "--offline", "-o", "jsonl"]).code(0).stdout.lines().count();
    assert_eq!(chunks(), 200);
    ended(&place, "20260312-last", b"last\n", b"");
    run(&place, &["run", "-q"]).code(0);
    assert_eq!(chunks(), 201);
    let told = String::from_utf8(logs(&place, &[]).stdout).unwrap();
    assert_eq!((told.lines().count(), told.lines().last()), (201, Some("this last | last")));
}

#[test]
fn a_check_fetches_and_keeps_nothing() {
    let place = place();
    ended(&place, TOKEN, b"x\n", b"");
    run(&place, &["run", "--check", "-q"]).code(0);
    assert!(!place.state().join("journal.db").exists());
}
