//! What changes the whole kernel, and so every test beside it: a program of its own, which runs alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A control group that may use 40 MiB; it goes with this value.
struct Limited(PathBuf);

impl Limited {
    /// None, with one line that says so, where such a group cannot be had.
    fn new() -> Option<Limited> {
        let dir = Path::new("/sys/fs/cgroup/memory").join(format!("factory-test-{}", std::process::id()));
        let made = std::fs::create_dir(&dir)
            .and_then(|()| std::fs::write(dir.join("memory.limit_in_bytes"), (40 << 20).to_string()));
        if let Err(error) = made {
            println!("left out: a real shortage of memory; needs root and a memory controller: {error}");
            return None;
        }
        Some(Limited(dir))
    }

    /// Runs what eats memory until the kernel ends it.
    fn eat(&self) {
        let script = "echo $$ >\"$1\"/cgroup.procs && exec tail </dev/zero";
        let mut eater = Command::new("sh");
        eater.args(["-c", script, "sh"]).arg(&self.0).stdin(Stdio::null()).stdout(Stdio::null());
        let status = eater.status().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}");
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// The one host of a tick, and the level of its signal `oom` with what is said of it.
fn oom(home: &Path) -> (u64, String) {
    let mut run = Command::new(env!("CARGO_BIN_EXE_factory"));
    run.args(["run", "-o", "json", "-i"]).arg(home.join("inventory")).env_clear().env("HOME", home);
    run.env("PATH", std::env::var_os("PATH").unwrap());
    let output = run.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tick: Value = serde_json::from_slice(&output.stdout).unwrap();
    let signals = tick["hosts"][0]["severities"]["signals"].as_array().unwrap().clone();
    let signal = signals.iter().find(|signal| signal["signal"] == "oom").unwrap();
    (signal["level"].as_u64().unwrap(), signal["text"].as_str().unwrap().to_owned())
}

#[test]
fn a_process_that_the_kernel_kills_for_memory_is_seen_once() {
    let Some(limited) = Limited::new() else { return };
    let home = tempfile::tempdir().unwrap();
    let inventory = home.path().join("inventory");
    std::fs::create_dir(&inventory).unwrap();
    std::fs::write(inventory.join("hosts.yml"), "all: {hosts: {this: {ansible_connection: local}}}\n").unwrap();
    // What else keeps this machine busy is no matter here.
    let calm = "policy: {psi_cpu: {enter: {waiting: 100%, load: 1000}}, load: {enter: {soft: 1000, hard: 2000}}}\n";
    std::fs::write(inventory.join("factory.yml"), calm).unwrap();
    assert_eq!(oom(home.path()).0, 0);
    limited.eat();
    let (level, told) = oom(home.path());
    assert_eq!(level, 1, "{told}");
    assert!(told.contains("1 process killed for want of memory"), "{told}");
    assert_eq!(oom(home.path()).0, 0, "for that sample alone");
    assert!(!home.path().join(".factory/halt").exists(), "one soft sample holds nothing");
}
