//! What a lab leaves behind: nothing, however it ends. And the command for people, which ends in both ways.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::lab::{Lab, Machine};

/// What a lab has on this machine.
struct Traces {
    dir: String,
    /// Each with a file that keeps it: the kernel gives the number of one that is gone to the next, perhaps of another lab.
    namespaces: Vec<(PathBuf, File)>,
}

/// The namespaces by which a lab's processes are known.
const KINDS: [&str; 3] = ["net", "mnt", "pid"];

/// Every process of this machine.
fn processes() -> impl Iterator<Item = String> {
    let names = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Traces {
    fn of(lab: &Lab) -> Traces {
        let dir = lab.home().parent().unwrap().to_str().unwrap().to_owned();
        let pids = lab.hosts().iter().map(Machine::pid).chain([lab.pid()]);
        let namespaces = pids.flat_map(|pid| KINDS.map(|kind| Traces::kept(&pid.to_string(), kind).unwrap()));
        Traces { dir, namespaces: namespaces.collect() }
    }

    /// The traces of a lab of which one network is known by its number.
    fn of_network(dir: String, number: &str) -> Traces {
        let its = processes().filter_map(|pid| Traces::kept(&pid, "net")).find(|(name, _)| name == Path::new(number));
        Traces { dir, namespaces: vec![its.unwrap()] }
    }

    fn namespace(pid: &str, kind: &str) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()
    }

    fn kept(pid: &str, kind: &str) -> Option<(PathBuf, File)> {
        let file = File::open(format!("/proc/{pid}/ns/{kind}")).ok()?;
        let name = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
        Some((name, file))
    }

    /// What of it is still there.
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for pid in processes() {
            for kind in KINDS {
                let its = Traces::namespace(&pid, kind);
                if its.is_some_and(|its| self.namespaces.iter().any(|(name, _)| *name == its)) {
                    left.push(format!("process {pid} in a namespace of its: {kind}"));
                }
            }
        }
        let name = Path::new(&self.dir).file_name().unwrap().to_str().unwrap();
        let group = name.rsplit_once('-').unwrap().0;
        let groups = ["/sys/fs/cgroup", "/sys/fs/cgroup/freezer", "/sys/fs/cgroup/unified"];
        let places = groups.iter().map(|root| format!("{root}/{group}")).chain([self.dir.clone()]);
        left.extend(places.filter(|place| Path::new(place).exists()));
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        left.extend(mounts.lines().filter(|line| line.contains(name)).map(str::to_owned));
        left
    }

    fn gone(&self) {
        let begun = Instant::now();
        while !self.left().is_empty() {
            assert!(begun.elapsed().as_secs() < 120, "{:#?}", self.left());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn nothing_is_left_of_a_lab() {
    let named = || std::fs::read_dir("/run/netns").map(Iterator::count).unwrap_or(0);
    let before = named();
    let Some(lab) = Lab::new(2) else { return };
    let traces = Traces::of(&lab);
    assert!(traces.left().len() > 6, "{:?}", traces.left());
    // In the middle of everything: a session, a process that has left it, a slow line in use, a cut and a frozen host.
    lab.delay(lab.host(0), 50);
    let mut session =
        lab.ssh_as("root", lab.host(0), "setsid sleep 4245 & sleep 4246").stderr(Stdio::null()).spawn().unwrap();
    lab.cut(lab.host(1));
    lab.host(1).freeze();
    let stray = lab.command("setsid").args(["-f", "sleep", "4247"]).status().unwrap();
    assert!(stray.success());
    drop(lab);
    // It is a child of this test: the lab ends what it has in the namespaces, which is told to it.
    assert!(!session.wait().unwrap().success());
    assert_eq!(traces.left(), Vec::<String>::new());
    assert_eq!(named(), before);
}

#[test]
fn nothing_is_left_of_a_lab_whose_test_fails() {
    for lab in [Lab::new(1), Lab::plain(1)] {
        let Some(lab) = lab else { return };
        let traces = Traces::of(&lab);
        let test = std::thread::spawn(move || {
            lab.host(0).freeze();
            // Not by panic!, which would show among the results as a failure.
            std::panic::resume_unwind(Box::new(lab.hosts().len()));
        });
        assert!(test.join().is_err());
        assert_eq!(traces.left(), Vec::<String>::new());
    }
}

/// The command for people, as `sh tests/lab.sh` starts it.
fn by_hand() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "lab_traces::a_shell_for_people", "--nocapture"]);
    command.env("LAB_HOSTS", "2").stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

#[test]
fn a_person_gets_a_shell_and_nothing_is_left_even_if_killed() {
    if Lab::new(1).is_none() {
        return;
    }
    for killed in [false, true] {
        let mut child = by_hand().spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line_with = |text: &str| loop {
            let line = lines.next().unwrap().unwrap();
            if line.contains(text) {
                return line;
            }
        };
        line_with("10.77.0.102");
        writeln!(stdin, "ssh h2 hostname; factory inventory graph; readlink /proc/self/ns/net; echo dir=$LAB_DIR")
            .unwrap();
        line_with("h2");
        line_with("@all");
        let network = line_with("net:[");
        let dir = line_with("dir=").split_once('=').unwrap().1.to_owned();
        assert!(Path::new(&dir).is_dir());
        let traces = Traces::of_network(dir.clone(), &network);
        if killed {
            // With a host that cannot even die; who freezes it does not matter.
            let group = dir.rsplit_once('-').unwrap().0.rsplit_once('/').unwrap().1;
            let state = format!("/sys/fs/cgroup/freezer/{group}/h1/freezer.state");
            if Path::new(&state).exists() {
                std::fs::write(state, "FROZEN").unwrap();
            }
            child.kill().unwrap();
        } else {
            writeln!(stdin, "exit").unwrap();
        }
        child.wait().unwrap();
        traces.gone();
    }
}

#[test]
#[ignore = "for people: sh tests/lab.sh"]
fn a_shell_for_people() {
    let count = std::env::var("LAB_HOSTS").ok().and_then(|count| count.parse().ok()).unwrap_or(3);
    let Some(lab) = Lab::new(count) else { return };
    lab.shell();
}
