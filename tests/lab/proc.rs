//! What a lab's machine shows in `/proc` until a test says otherwise.

use std::path::{Path, PathBuf};

/// A quiet machine with 8 GiB, 4 times as much as it needs. Unset files would show those of the machine under the test,
/// which the test beside it moves.
const QUIET: [(&str, &str); 9] = [
    ("meminfo", MEMINFO),
    ("loadavg", "0.10 0.20 0.30 1/100 4242\n"),
    (
        "stat",
        "cpu  1000 0 500 98000 100 0 0 0 0 0\ncpu0 1000 0 500 98000 100 0 0 0 0 0\nctxt 1\nbtime 1700000000\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n",
    ),
    ("vmstat", "pswpin 0\nallocstall_normal 0\npgmajfault 7\noom_kill 0\n"),
    ("pressure/cpu", PRESSURE),
    ("pressure/memory", PRESSURE),
    ("pressure/io", PRESSURE),
    ("sys/kernel/random/boot_id", "11111111-2222-4333-8444-555555555555\n"),
    ("sys/kernel/pid_max", "32768\n"),
];

const MEMINFO: &str = "MemTotal:        8388608 kB\nMemFree:         6291456 kB\nMemAvailable:    6291456 kB\nBuffers:               0 kB\nCached:                0 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\n";
const PRESSURE: &str =
    "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";

/// The files of one machine, in a directory that has the shape of `/proc`.
pub struct Proc {
    dir: PathBuf,
}

impl Proc {
    /// Writes those of a quiet machine below `dir`, as far as this kernel has such files: others cannot be set.
    pub fn quiet(dir: PathBuf) -> Proc {
        let proc = Proc { dir };
        for (name, text) in QUIET {
            proc.add(name, text);
        }
        proc
    }

    /// Adds a file, if this kernel has one of that name.
    pub fn add(&self, name: &str, text: &str) {
        if Path::new("/proc").join(name).exists() {
            let file = self.dir.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
    }

    /// Whether a file of that name is there to be shown.
    pub fn has(&self, name: &str) -> bool {
        self.dir.join(name).exists()
    }

    /// Sets a file, by its path in `/proc`.
    pub fn set(&self, name: &str, text: &str) {
        assert!(self.has(name), "the lab does not set /proc/{name}");
        // In place: a bind mount goes on showing a file that was replaced.
        std::fs::write(self.dir.join(name), text).unwrap();
    }

    /// Takes a file away; whoever shows it goes on showing the last text.
    pub fn forget(&self, name: &str) {
        let _ = std::fs::remove_file(self.dir.join(name));
    }

    /// The quiet machine's files that are there, parted by spaces.
    pub fn names(&self) -> String {
        let names: Vec<&str> = QUIET.iter().map(|(name, _)| *name).filter(|name| self.has(name)).collect();
        names.join(" ")
    }
}

/// A `meminfo` with this total and available memory, in MiB, and no swap.
pub fn meminfo(total: u64, available: u64) -> String {
    let line = |name: &str, mib: u64| format!("{:<16}{:>8} kB\n", format!("{name}:"), mib * 1024);
    let rest = MEMINFO.split_once("Buffers").unwrap().1;
    let lines = [line("MemTotal", total), line("MemFree", available), line("MemAvailable", available)].concat();
    format!("{lines}Buffers{rest}")
}
