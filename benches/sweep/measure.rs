//! What a program costs: wall time, CPU with all that it waited for, peak memory.
//!
//! The bench starts itself once more as a small process that starts the program ([`inside`]): a child's peak memory
//! begins with that of the process which started it, so the bench, with a runtime and tables in memory, cannot measure
//! a small program itself.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wait4::Wait4;

/// The first argument that makes the bench this small process.
pub const WORD: &str = "--inside";

/// A program and those that it left behind may take so long.
const PATIENCE: Duration = Duration::from_secs(600);

/// What one run cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// From the start of the program to its end, in seconds.
    pub wall: f64,
    /// User and system time of the program and of every process below it, in seconds; sshd's is not in it.
    pub cpu: f64,
    /// The resident memory of the largest of these processes at its peak, in bytes.
    pub memory: u64,
}

/// Runs `command` with its output in the directory `out`: `stdout`, `stderr`.
///
/// # Errors
/// It could not be started, or did not end in time. A failure of the program itself is none: its answers tell.
pub fn measure(command: &Command, out: &Path) -> Result<Cost, String> {
    let told = |what: &str, error: std::io::Error| format!("{what}: {error}");
    let own = std::env::current_exe().map_err(|error| told("the bench's own program", error))?;
    let file = |name: &str| File::create(out.join(name)).map_err(|error| told(name, error));
    let cost = out.join("cost");
    let mut inside = Command::new(own);
    inside.arg(WORD).arg(&cost).arg(command.get_program()).args(command.get_args());
    // Nothing of the caller's environment changes what is measured.
    inside.env_clear();
    inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(dir) = command.get_current_dir() {
        inside.current_dir(dir);
    }
    inside.stdin(Stdio::null()).stdout(file("stdout")?).stderr(file("stderr")?);
    let status = inside.status().map_err(|error| told("the measuring process", error))?;
    let text = std::fs::read_to_string(&cost).map_err(|_| format!("the measuring process ended with {status}"))?;
    read(&text).ok_or_else(|| format!("not measured: {text}"))
}

/// What the small process wrote.
pub fn read(text: &str) -> Option<Cost> {
    let mut words = text.split_whitespace();
    let cost = Cost {
        wall: words.next()?.parse().ok()?,
        cpu: words.next()?.parse().ok()?,
        memory: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(cost)
}

/// The small process: runs `words[1..]` and writes what it cost to the file `words[0]`.
pub fn inside(words: &[std::ffi::OsString]) -> Result<(), String> {
    let [cost, program, args @ ..] = words else { return Err("no program to measure".into()) };
    let told = |error: std::io::Error| format!("{}: {error}", program.display());
    // Processes that the program leaves behind (Ansible's ssh masters) come to us, and their CPU counts.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let began = Instant::now();
    let child = Command::new(program).args(args).spawn().map_err(told)?;
    let used = child.wait4().map_err(told)?.rusage;
    let wall = began.elapsed().as_secs_f64();
    let (behind, memory) = behind(began + PATIENCE);
    let cpu = (used.utime + used.stime).as_secs_f64() + behind.as_secs_f64();
    let text = format!("{wall} {cpu} {}", used.maxrss.max(memory));
    std::fs::write(cost, text).map_err(told)
}

/// Waits for the processes that were left behind: their CPU, and the peak memory of the largest.
fn behind(until: Instant) -> (Duration, u64) {
    let (mut cpu, mut memory) = (Duration::ZERO, 0);
    while Instant::now() < until {
        // Not on every system; there, what is left behind is not counted.
        let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        let children: Vec<u32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        if children.is_empty() {
            break;
        }
        for used in children.into_iter().filter_map(|pid| wait4::try_wait4_pid(pid).ok().flatten()) {
            cpu += used.rusage.utime + used.rusage.stime;
            memory = memory.max(used.rusage.maxrss);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    (cpu, memory)
}

/// The middle one of `values`; of an even number the mean of the two in the middle. Of none: 0.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied().unwrap_or_default();
    let lower = values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default();
    (upper + lower) / 2.0
}
