//! The ledger where the machine fails: killed at every step of a write, a full disk, a disk that cannot be written.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use factory::ledger::Ledger;

use crate::ledger::{HELPER, count_on_pages, helper_command, succeeds};
use crate::ledger_conformance::{count, counted, wait};

/// What a write asks the kernel for: whatever changes the disk, and the locks and looks between.
const CALLS: [&str; 13] = [
    "openat",
    "pwrite64",
    "write",
    "fsync",
    "fdatasync",
    "ftruncate",
    "unlink",
    "renameat2",
    "flock",
    "fcntl",
    "pread64",
    "close",
    "lseek",
];

fn left_out(why: &str) {
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    assert!(std::env::var_os("LAB").is_none_or(|lab| lab != "must"), "{test}: {why}");
    eprintln!("{test}: left out: {why}; `make tools` as root installs it");
}

/// Whether strace is there and may trace.
fn traces() -> bool {
    Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success())
}

/// How many were counted in `state`; 0 when there is no document yet.
fn look(state: &Path) -> u32 {
    wait(Ledger::open(state).unwrap().read()).unwrap().map_or(0, |(_, document)| counted(&document))
}

/// Kills a writer at each of its calls of each kind, in directories with `before` counted. Gives how often the old and
/// the new document was there afterwards.
fn kill_at_every_step(before: u32) -> BTreeMap<u32, usize> {
    let mut seen = BTreeMap::new();
    for call in CALLS {
        for nth in 1.. {
            assert!(nth < 200, "{call} has no end");
            let dir = tempfile::tempdir().unwrap();
            let state = dir.path();
            for _ in 0..before {
                wait(Ledger::open(state).unwrap().change(count_on_pages)).unwrap();
            }
            let mut strace = helper_command("strace", "count on pages", state);
            strace.args(["-f", "-qq", "-o", "/dev/null"]);
            // Only calls that are about the ledger: those of a program's start are no part of a write.
            for name in ["", "/ledger.db", "/ledger.db-journal", "/ledger.db.new", "/ledger.db.new-journal"] {
                strace.arg("-P").arg(format!("{}{name}", state.display()));
            }
            strace.arg(format!("--inject={call}:signal=SIGKILL:when={nth}"));
            let output = strace.arg(std::env::current_exe().unwrap()).args(HELPER).output().unwrap();
            let after = look(state);
            if output.status.success() {
                assert_eq!(after, before + 1, "{call} {nth}: written and lost");
                break;
            }
            let text = || String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.signal(), Some(9), "{call} {nth}: {} {}", output.status, text());
            assert!(after == before || after == before + 1, "{call} {nth}: {after} after {before}");
            *seen.entry(after).or_default() += 1;
            // Nothing is in the way of the next one, and nothing is left lying about.
            let next = wait(Ledger::open(state).unwrap().change(count_on_pages)).unwrap().1;
            assert_eq!(next, after + 1, "{call} {nth}");
            let names: Vec<_> = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["ledger.db"], "{call} {nth}");
        }
    }
    seen
}

#[test]
fn a_write_killed_at_any_step_leaves_the_old_or_the_new_document() {
    if !traces() {
        return left_out("strace is not there or may not trace");
    }
    let seen = kill_at_every_step(1);
    eprintln!("killed a write: {seen:?}");
    assert!(seen.len() == 2 && seen[&1] >= 15, "{seen:?}");
}

#[test]
fn a_first_document_killed_at_any_step_is_there_or_not() {
    if !traces() {
        return left_out("strace is not there or may not trace");
    }
    let seen = kill_at_every_step(0);
    eprintln!("killed a first write: {seen:?}");
    assert!(seen.len() == 2 && seen[&0] >= 20, "{seen:?}");
}

/// Runs the helper's `work` where a small file system, that nobody else sees, lies over the directory.
fn on_a_small_disk(work: &str) {
    if !rustix::process::geteuid().is_root() {
        return left_out("only root can mount");
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=64k,nr_inodes=16 tmpfs \"$LEDGER_STATE\" && exec \"$THIS\" \"$@\"";
    let mut unshare = helper_command("unshare", work, dir.path());
    succeeds(unshare.args(["-m", "sh", "-c", mount, "sh"]).args(HELPER).spawn().unwrap());
}

fn fill(state: &Path) {
    // The error is what is wanted: it is full.
    fs::write(state.join("ballast"), vec![0; 1 << 20]).unwrap_err();
}

#[test]
fn a_full_disk_is_told_and_the_old_document_stays_readable() {
    on_a_small_disk("full disk");
}

/// The part of that test that stands on the small disk.
pub fn on_a_full_disk(state: &Path) {
    let ledger = Ledger::open(state).unwrap();
    let full = |what: &str| {
        let error = wait(ledger.change(count)).unwrap_err();
        assert!(error.with_causes().contains("the disk is full"), "{what}: {}", error.with_causes());
        assert!(error.advice().unwrap().contains("make room"), "{what}");
    };
    fill(state);
    full("the first document");
    assert!(wait(ledger.read()).unwrap().is_none());
    assert_eq!(fs::read_dir(state).unwrap().count(), 1, "leftovers");
    fs::remove_file(state.join("ballast")).unwrap();
    wait(ledger.change(count)).unwrap();
    let bytes = fs::read(state.join("ledger.db")).unwrap();

    fill(state);
    full("a change");
    assert_eq!(look(state), 1);
    fs::remove_file(state.join("ballast")).unwrap();
    // Space, but not an inode: the journal cannot be made.
    let inodes: Vec<_> =
        (0..).map(|n| state.join(format!("inode-{n}"))).take_while(|p| fs::write(p, "").is_ok()).collect();
    full("no inode");
    assert_eq!(look(state), 1);
    assert!(fs::read(state.join("ledger.db")).unwrap() == bytes);
    inodes.iter().for_each(|path| fs::remove_file(path).unwrap());
    assert_eq!(wait(ledger.change(count)).unwrap().1, 2, "with room all is well again");
    assert_eq!(fs::read_dir(state).unwrap().count(), 1);
}

#[test]
fn a_disk_that_cannot_be_written_can_be_read() {
    on_a_small_disk("read-only disk");
}

/// The part of that test that stands on the small disk.
pub fn on_a_read_only_disk(state: &Path) {
    let ledger = Ledger::open(state).unwrap();
    let mount = |how: &str| {
        let status = Command::new("mount").args(["-o", how]).arg(state).status().unwrap();
        assert!(status.success());
    };
    let refused = || {
        let error = wait(ledger.change(count)).unwrap_err();
        assert!(
            error.to_string().contains("cannot write the ledger") && error.to_string().contains("ledger.db"),
            "{error}"
        );
        assert!(!error.with_causes().contains("damaged"), "{}", error.with_causes());
        assert!(error.advice().unwrap().contains("must be able to read and write"), "{error}");
    };
    mount("remount,ro");
    assert!(wait(ledger.read()).unwrap().is_none());
    refused();
    mount("remount,rw");
    wait(ledger.change(count)).unwrap();
    mount("remount,ro");
    assert_eq!(look(state), 1);
    refused();
    mount("remount,rw");
    assert_eq!(wait(ledger.change(count)).unwrap().1, 2);
}
