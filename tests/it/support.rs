//! A small builder for black-box tests: a directory of its own, an environment of its own, the real binary.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Settings by which this machine is never busy and never short of anything: what else it does, other tests say, is no
/// matter of a test's. Free swap is looked at only where memory is short.
pub const CALM: &str = "policy: {psi_cpu: {enter: {waiting: 100%, load: 1000}}, load: {enter: {soft: 1000, hard: 2000}}, \
    psi_io: {enter: {soft: 99%, hard: 100%}}, steal: {enter: {soft: 99%, hard: 100%}}, \
    psi_mem: {enter: {soft: 98%, hard: 99%, crit: 100%}}, \
    mem: {enter: {soft: {percent: 3%, bytes: 3MiB}, hard: {percent: 2%, bytes: 2MiB}, crit: {percent: 1%, bytes: 1MiB}}}, \
    disk: {enter: {soft: {percent: 3%, bytes: 3MiB}, hard: {percent: 2%, bytes: 2MiB}, crit: {percent: 1%, bytes: 1MiB}}}, \
    inodes: {enter: {soft: 0.3%, hard: 0.2%, crit: 0.1%}}, pids: {enter: {soft: 0.3%, hard: 0.2%, crit: 0.1%}}}\n";

/// A `factory.yml` with these settings beside the text.
pub fn calm(text: &str) -> String {
    format!("{CALM}{text}")
}

/// A `repos.yml` whose repos are on a forge that nobody answers for: who looks for work there finds out at once.
pub fn nowhere(text: &str) -> String {
    format!("{text}defaults: {{forge: {{kind: forgejo, url: 'http://127.0.0.1:9'}}}}\n")
}

/// A place where the binary runs: an inventory, a home and a state directory that nobody else uses.
pub struct Place {
    dir: tempfile::TempDir,
}

/// How a run of the binary ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    /// A place with these files below its inventory.
    pub fn new(files: &[(&str, &str)]) -> Place {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        for dir in ["home", "inventory"] {
            std::fs::create_dir(place.path(dir)).unwrap();
        }
        for (name, text) in files {
            place.write(name, text);
        }
        place
    }

    /// One whose inventory is this machine alone.
    pub fn this_machine() -> Place {
        Place::new(&[("hosts.yml", "all: {hosts: {this: {ansible_connection: local}}}\n"), ("factory.yml", CALM)])
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where the state lies when nothing else is said.
    pub fn state(&self) -> PathBuf {
        self.path("home/.local/state/factory/default")
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path("inventory").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The binary with nothing in its environment but HOME and PATH, standing in the place.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_factory"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.args(args).env_clear().env("HOME", self.path("home")).env("PATH", path).current_dir(self.dir.path());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        Ended::from(self.command(args).output().unwrap(), self.dir.path())
    }
}

impl Ended {
    /// The place's own path is told apart from run to run by nothing: it is shown as `PLACE`.
    pub fn from(output: Output, place: &Path) -> Ended {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&place.display().to_string(), "PLACE");
        Ended { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    #[track_caller]
    pub fn code(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// Writes a program, by a process of its own: what another thread's child holds open for writing cannot be run.
pub fn program_file(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut writer = Command::new("sh");
    writer.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(path).stdin(Stdio::piped());
    let mut writer = writer.spawn().unwrap();
    writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
}

/// Looks until there is something to see; fails after a time that no machine needs.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < Duration::from_secs(180), "{what}: not in three minutes");
        std::thread::sleep(Duration::from_millis(10));
    }
}
