//! Stops all of a host at once and lets it go on: a machine that hangs. The kernel goes on answering for it, so that TCP
//! connects and nothing more comes.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

/// Where groups of the two kinds of freezer are made, the file that holds one's state, and its two words.
const KINDS: [(&str, &str, &str, &str); 3] = [
    ("/sys/fs/cgroup/freezer", "freezer.state", "FROZEN", "THAWED"),
    ("/sys/fs/cgroup", "cgroup.freeze", "1", "0"),
    ("/sys/fs/cgroup/unified", "cgroup.freeze", "1", "0"),
];

/// What can stop one host.
pub enum Freezer {
    /// A control group that the host is born in, so that nothing of it escapes.
    Group { dir: PathBuf, kind: usize },
    /// SIGSTOP to each process, where no control group can be made.
    Signals,
}

impl Freezer {
    /// Makes the directory for the groups of one lab; none where this machine lets nobody make any.
    pub fn directory(lab: &str) -> Option<PathBuf> {
        KINDS.iter().find_map(|(root, state, ..)| {
            let dir = Path::new(root).join(lab);
            std::fs::create_dir(&dir).ok()?;
            // A plain directory can be made where no such file system is.
            if dir.join(state).exists() {
                return Some(dir);
            }
            let _ = std::fs::remove_dir(&dir);
            None
        })
    }

    /// The freezer of a host, below such a directory.
    pub fn new(directory: Option<&Path>, host: &str) -> Freezer {
        let made = directory.and_then(|directory| {
            let dir = directory.join(host);
            std::fs::create_dir(&dir).ok()?;
            let kind = KINDS.iter().position(|(_, state, ..)| dir.join(state).exists())?;
            Some(Freezer::Group { dir, kind })
        });
        made.unwrap_or(Freezer::Signals)
    }

    /// The file by which a process joins, by writing 0 there.
    pub fn door(&self) -> Option<PathBuf> {
        match self {
            Freezer::Group { dir, .. } => Some(dir.join("cgroup.procs")),
            Freezer::Signals => None,
        }
    }

    /// Stops everything, or lets everything go on; `pid` is the host's first process.
    pub fn set(&self, frozen: bool, pid: u32) {
        match self {
            Freezer::Group { dir, kind } => {
                let (_, state, freeze, thaw) = KINDS[*kind];
                let word = if frozen { freeze } else { thaw };
                std::fs::write(dir.join(state), word).unwrap();
                let there = || match state {
                    "freezer.state" => std::fs::read_to_string(dir.join(state)).unwrap().trim() == word,
                    _ => {
                        std::fs::read_to_string(dir.join("cgroup.events")).unwrap().contains(&format!("frozen {word}"))
                    }
                };
                let begun = std::time::Instant::now();
                while !there() {
                    assert!(begun.elapsed().as_secs() < 20, "{} does not become {word}", dir.display());
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            }
            // Again until there is nobody new: what is not yet stopped may still start others.
            Freezer::Signals => {
                let mut told = Vec::new();
                loop {
                    let new: Vec<i32> = inside(pid).into_iter().filter(|pid| !told.contains(pid)).collect();
                    if new.is_empty() {
                        return;
                    }
                    for pid in &new {
                        let signal = if frozen { Signal::STOP } else { Signal::CONT };
                        let _ = kill_process(Pid::from_raw(*pid).unwrap(), signal);
                    }
                    told.extend(new);
                }
            }
        }
    }
}

/// The processes in the same process namespace as `pid`, by their ids on this machine.
fn inside(pid: u32) -> Vec<i32> {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    // Gone, it has nobody inside.
    let Some(ours) = namespace(&pid.to_string()) else { return Vec::new() };
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    all.filter(|pid| namespace(pid).is_some_and(|theirs| theirs == ours)).filter_map(|pid| pid.parse().ok()).collect()
}
