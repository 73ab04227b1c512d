//! What /proc says of the processes of this machine, and how those that a hung tick started are ended.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use rustix::time::{ClockId, clock_gettime};

/// What is used of /proc/PID/stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// Field 4: the parent's pid.
    parent: u32,
    /// Field 5: the process group.
    group: u32,
    /// Field 22: when it began, in clock ticks since boot. With the pid it names a process for as long as the machine
    /// is up.
    pub(super) starttime: u64,
}

/// What /proc says of process `pid`; absent when it is gone or there is no /proc.
pub(super) fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse(&String::from_utf8_lossy(&text))
}

fn parse(text: &str) -> Option<Stat> {
    // The second field is the name in brackets and may itself hold spaces and brackets.
    let (_, rest) = text.rsplit_once(')')?;
    let field = |number: usize| rest.split_ascii_whitespace().nth(number.checked_sub(3)?);
    Some(Stat { parent: field(4)?.parse().ok()?, group: field(5)?.parse().ok()?, starttime: field(22)?.parse().ok()? })
}

/// The user whose process `pid` is; absent when it is gone.
pub(super) fn owner(pid: u32) -> Option<u32> {
    fs::metadata(format!("/proc/{pid}")).ok().map(|process| process.uid())
}

/// Whether process `pid` has the file open through which `file` is locked by `flock`. What may not be looked at counts
/// as no.
pub(super) fn holds(pid: u32, file: &Metadata) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.flatten().any(|open| {
        let same = fs::metadata(open.path()).is_ok_and(|it| (it.dev(), it.ino()) == (file.dev(), file.ino()));
        // Merely to have it open is not to hold it: the kernel says which descriptor has the lock (Linux 4.1).
        let info = format!("/proc/{pid}/fdinfo/{}", open.file_name().display());
        same && fs::read_to_string(info)
            .is_ok_and(|info| info.lines().any(|line| line.starts_with("lock:") && line.contains(" FLOCK ")))
    })
}

/// A process that another one started. What a tick runs on this machine has a group of its own and outlives the tick
/// unless it is killed with it.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    starttime: u64,
    /// Whether it leads a process group.
    leads: bool,
}

impl Child {
    /// Those of process `parent`.
    pub(super) fn of(parent: u32) -> Vec<Child> {
        let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let child = |pid: u32| {
            let stat = stat(pid).filter(|stat| stat.parent == parent)?;
            Some(Child { pid: number(pid)?, starttime: stat.starttime, leads: stat.group == pid })
        };
        pids.filter_map(child).collect()
    }

    /// Whether its pid is still its own.
    pub(super) fn is_there(&self) -> bool {
        let pid = u32::try_from(self.pid.as_raw_nonzero().get());
        pid.ok().and_then(stat).is_some_and(|now| now.starttime == self.starttime)
    }

    /// Kills it, and its process group if it leads one. Nothing but a system call.
    pub(super) fn kill(&self) {
        let _ =
            if self.leads { kill_process_group(self.pid, Signal::KILL) } else { kill_process(self.pid, Signal::KILL) };
    }
}

/// `pid` as system calls want it; absent for 0, which would mean a group.
pub(super) fn number(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// The time since boot, suspended time included, so that a laptop's sleep counts; no clock that is set moves it.
pub(super) fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_hides_nothing() {
        let text = "42 (a) R 1 (b 7) S 3 5 6 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 1239066 16 3";
        assert_eq!(parse(text), Some(Stat { parent: 3, group: 5, starttime: 1239066 }));
        for cut in ["", "42 (a", "42 (a) S 3 5", "42 (a) S x 5 6 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 1239066"] {
            assert_eq!(parse(cut), None, "{cut}");
        }
        let own = stat(std::process::id()).unwrap();
        assert!(own.starttime > 0 && own.parent == std::os::unix::process::parent_id());
        assert_eq!(stat(u32::MAX), None);
    }

    #[test]
    fn only_who_has_the_lock_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let open = || fs::File::create(dir.path().join("lock")).unwrap();
        let (held, other) = (open(), fs::File::create(dir.path().join("other")).unwrap());
        let meta = held.metadata().unwrap();
        assert!(!holds(std::process::id(), &meta), "open, not locked");
        other.lock().unwrap();
        assert!(!holds(std::process::id(), &meta), "another file is locked");
        held.lock().unwrap();
        assert!(holds(std::process::id(), &meta));
        assert!(!holds(1, &meta) && !holds(u32::MAX, &meta));
    }

    #[test]
    fn children_are_killed_with_their_groups_and_nobody_else_is() {
        let sleep = |group| Command::new("sh").args(["-c", "sleep 999 & wait"]).process_group(group).spawn().unwrap();
        let (mut leader, mut spared) = (sleep(0), sleep(0));
        let mut mine = Child::of(std::process::id());
        mine.retain(|child| [leader.id(), spared.id()].map(number).contains(&Some(child.pid)));
        assert_eq!((mine.len(), mine.iter().all(|child| child.leads)), (2, true));
        // As if the number had gone to somebody else meanwhile.
        let other = mine.iter_mut().find(|child| Some(child.pid) == number(spared.id())).unwrap();
        other.starttime -= 1;
        let grandchild = loop {
            if let [child] = Child::of(leader.id()).as_slice() {
                assert!(!child.leads);
                break child.pid.as_raw_nonzero();
            }
        };
        mine.iter().filter(|child| child.is_there()).for_each(Child::kill);
        assert!(!leader.wait().unwrap().success());
        let gone = || fs::read_to_string(format!("/proc/{grandchild}/stat")).map_or(true, |stat| stat.contains(") Z "));
        let began = std::time::Instant::now();
        while !gone() {
            assert!(began.elapsed().as_secs() < 10, "the grandchild lives on");
        }
        assert_eq!(spared.try_wait().unwrap(), None);
        kill_process_group(number(spared.id()).unwrap(), Signal::KILL).unwrap();
        spared.wait().unwrap();
    }
}
