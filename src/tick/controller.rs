//! What this process itself uses. The supervisor has no guard in front of it, so it must be seen to stay small.

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::journal::Controller;

/// This process's memory and CPU time; 0 where the system does not tell.
pub fn usage() -> Controller {
    let pid = std::process::id();
    let unknown = Controller { pid, ..Controller::default() };
    let Ok(mut system) = System::new() else { return unknown };
    let what = ProcessRefreshKind::nothing().with_memory().with_cpu();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[Pid::from_u32(pid)]), false, what);
    let process = system.process(Pid::from_u32(pid));
    process.map_or(unknown, |process| Controller {
        pid,
        rss: process.memory(),
        cpu_s: process.accumulated_cpu_time() as f64 / 1000.0,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_uses_something() {
        let usage = super::usage();
        assert_eq!(usage.pid, std::process::id());
        assert!(usage.rss > 1 << 20, "{usage:?}");
    }
}
