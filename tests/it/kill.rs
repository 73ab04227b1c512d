//! A controller that is killed at each system call, by strace, with whatever it has started.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::support::Place;

/// What a controller and a guard on this machine do to files and processes.
pub const CALLS: [&str; 7] = [
    "openat",
    "write",
    "pwrite64",
    "fdatasync,fsync,sync",
    "unlink,unlinkat",
    "rename,renameat,renameat2,link,linkat",
    "execve",
];

/// Whether processes can be killed so here.
pub fn strace() -> bool {
    let there = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    let there = there.is_ok_and(|status| status.success());
    if !there {
        println!("left out: kills at each system call; needs strace, and leave to use it (sh tests/install-tools.sh)");
    }
    there
}

/// Runs the binary, and kills whichever of its processes comes to its `when`-th call of `calls`. Whether one did.
pub fn killed_at(place: &Place, args: &[&str], calls: &str, when: usize) -> bool {
    let trace = place.path("trace");
    let inner = place.command(args);
    let mut command = Command::new("strace");
    command.args(["-f", "-q", "-e", &format!("trace={calls}")]);
    command.args(["-e", &format!("inject={calls}:signal=SIGKILL:when={when}"), "-o"]).arg(&trace);
    command.arg(inner.get_program()).args(args).env_clear().env("HOME", place.path("home"));
    command.env("PATH", std::env::var_os("PATH").unwrap()).current_dir(place.path(""));
    let mut strace = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = wait(&mut strace);
    let trace = fs::read_to_string(trace).unwrap();
    let killed = trace.contains("killed by SIGKILL");
    // Nothing else ends it in an unforeseen way.
    let Some(status) = status else { return killed };
    let code = status.code();
    let ended = status.signal().is_some() || code.is_some_and(|code| [0, 1, 4, 5].contains(&code));
    assert!(ended, "{args:?} {calls} {when}: {status}");
    assert!(killed || code == Some(0), "{args:?} {calls} {when}: {status}");
    killed
}

/// Waits for strace. It waits for what was started and goes on by itself too: three seconds after the program itself has
/// ended, it lets go of those; then nobody knows what the program ended with.
fn wait(strace: &mut Child) -> Option<ExitStatus> {
    let mut ended = None::<Instant>;
    loop {
        if let Some(status) = strace.try_wait().unwrap() {
            return Some(status);
        }
        let parent = format!("PPid:\t{}\n", strace.id());
        let mut all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("status"));
        let lives = all.any(|status| {
            fs::read_to_string(status).is_ok_and(|text| text.contains(&parent) && !text.contains("State:\tZ"))
        });
        let since = *ended.get_or_insert_with(Instant::now);
        if lives {
            ended = None;
        } else if since.elapsed() > Duration::from_secs(3) {
            let pid = rustix::process::Pid::from_child(strace);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let began = Instant::now();
            while strace.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = strace.kill();
            strace.wait().unwrap();
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The points at which it is killed: each of the first, then fewer and fewer; with `CRASH=every` each. Both processes
/// and calls are counted by strace one by one, so most of what happens lies among the first.
pub fn next(when: usize) -> usize {
    if every() { when + 1 } else { when + 1 + when / 2 }
}

/// Whether each point is to be tried, not some.
pub fn every() -> bool {
    std::env::var_os("CRASH").is_some_and(|crash| crash == "every")
}
