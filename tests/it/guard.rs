//! The guard's program under each shell that is installed here: who may command a host, and what an answer means.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use factory::inventory::settings;
use factory::inventory::units::Span;
use factory::remote::guard::{self, Answer, Call, Drop, Op, Program, Word};
use factory::remote::halt::{HaltFile, HaltLine, Kind};

/// The fleet of most calls.
pub const FLEET: &str = "f1ee7";

/// The applets that stand for the programs of a system that has BusyBox alone, without a flock of its own.
const APPLETS: &str = "awk cat cmp cp cut date dd df head id ln mkdir mv od printf readlink rm setsid sh sha256sum sleep \
                       stat sync tail timeout tr wc";

/// A shell, and the programs that go with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    Dash,
    Bash,
    BusyBox,
}

impl Shell {
    fn words(self) -> &'static [&'static str] {
        match self {
            Shell::Dash => &["dash", "-c"],
            Shell::Bash => &["bash", "--posix", "-c"],
            Shell::BusyBox => &["busybox", "sh", "-c"],
        }
    }

    /// Those that are installed here; a line for each other.
    pub fn all() -> Vec<Shell> {
        let there = |shell: &Shell| {
            let words = shell.words();
            let works = Command::new(words[0]).args(&words[1..]).arg(":").status().is_ok_and(|status| status.success());
            if !works {
                let _ = writeln!(std::io::stderr(), "left out: the guard under {}, which is not installed", words[0]);
            }
            works
        };
        [Shell::Dash, Shell::Bash, Shell::BusyBox].into_iter().filter(there).collect()
    }
}

/// A login on a host, as sshd would give one: a home directory of its own and a shell.
pub struct Login {
    pub dir: tempfile::TempDir,
    pub shell: Shell,
    pub numbers: settings::Guard,
}

impl Login {
    pub fn new(shell: Shell) -> Login {
        let login = Login { dir: tempfile::tempdir().unwrap(), shell, numbers: settings::Guard::default() };
        if shell == Shell::BusyBox {
            let bin = login.dir.path().join("bin");
            std::fs::create_dir(&bin).unwrap();
            let which = Command::new("sh").args(["-c", "command -v busybox; command -v flock"]).output().unwrap();
            let found = String::from_utf8(which.stdout).unwrap();
            let [busybox, flock] = found.lines().collect::<Vec<_>>().try_into().unwrap();
            for applet in APPLETS.split_ascii_whitespace() {
                std::os::unix::fs::symlink(busybox, bin.join(applet)).unwrap();
            }
            let wrapper = format!("#!/bin/sh\ncase $* in *-w*) exit 1 ;; esac\nexec {flock} \"$@\"\n");
            program_file(&bin.join("flock"), &wrapper);
        }
        login
    }

    /// A path below the factory's home.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(".factory").join(name)
    }

    /// The text of a file below the factory's home; none where there is none.
    pub fn text(&self, name: &str) -> Option<String> {
        std::fs::read(self.at(name)).ok().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.at(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn program(&self, call: &Call) -> Program {
        guard::program(call, &self.numbers).unwrap()
    }

    /// What runs a program text as sshd would.
    pub fn command(&self, script: &str) -> Command {
        self.command_in(&[], script)
    }

    /// The same, started by another program.
    pub fn command_in(&self, before: &[&str], script: &str) -> Command {
        let words: Vec<&str> = before.iter().chain(self.shell.words()).copied().collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(script).env("HOME", self.dir.path()).current_dir(self.dir.path());
        if self.shell == Shell::BusyBox {
            let path = std::env::var("PATH").unwrap();
            command.env("PATH", format!("{}:{path}", self.dir.path().join("bin").display()));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts a call; its input has been given.
    pub fn start(&self, call: &Call) -> Child {
        let program = self.program(call);
        feed(self.command(&program.script), &program.stdin)
    }

    #[track_caller]
    pub fn call(&self, call: &Call) -> Answer {
        read(&self.start(call).wait_with_output().unwrap())
    }

    /// A call of the fleet by `vps-1`.
    #[track_caller]
    pub fn op(&self, epoch: u64, op: Op) -> Answer {
        self.call(&call(FLEET, epoch, "vps-1", op))
    }

    /// Every file below the factory's home with its content, but those that only tell what was done.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        walk(&self.at(""), &mut |path| {
            let name = path.strip_prefix(self.at("")).unwrap().to_str().unwrap().to_owned();
            if !["guard.lock", "guard.lock.holder", "journal"].contains(&name.as_str()) {
                found.push((name, std::fs::read(path).unwrap()));
            }
        });
        found.sort();
        found
    }
}

pub fn walk(dir: &Path, each: &mut dyn FnMut(&Path)) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, each) } else { each(&path) }
    }
}

/// Writes a program.
pub fn program_file(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

/// Starts a command and gives it its whole input.
pub fn feed(mut command: Command, stdin: &[u8]) -> Child {
    let mut child = command.spawn().unwrap();
    // Who does not read it to its end refuses.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child
}

/// The answer of a call that said nothing besides.
#[track_caller]
pub fn read(output: &Output) -> Answer {
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    guard::parse(&output.stdout, output.status.code().unwrap_or(-1))
        .unwrap_or_else(|garbled| panic!("{garbled}: {} {text} {errors}", output.status))
}

pub fn call(fleet: &str, epoch: u64, holder: &str, op: Op) -> Call {
    Call { home: "~/.factory".into(), fleet: fleet.into(), epoch, holder: holder.into(), op }
}

pub fn line(kind: Kind, id: &str) -> HaltLine {
    let since = "2026-03-12T13:20:00Z".parse().unwrap();
    HaltLine {
        kind,
        id: id.into(),
        by: "anna b".into(),
        since,
        until: None,
        epoch: 7,
        reason: Some("a 'reason' \\n %".into()),
    }
}

pub fn dev() -> HaltFile {
    HaltFile::of("dev", "*")
}

pub fn halt(file: HaltFile, line: HaltLine) -> Op {
    Op::Halt { add: vec![(file, line)], hide: vec![] }
}

pub fn resume(file: HaltFile, drop: Drop) -> Op {
    Op::Resume { drop: vec![(file, drop)], show: vec![] }
}

pub fn short(numbers: &mut settings::Guard, wait: f64, stuck: f64) {
    numbers.lock_wait = Span(Duration::from_secs_f64(wait));
    numbers.lock_stuck = Span(Duration::from_secs_f64(stuck));
}

/// Word, detail, and the epoch and holder that the host obeys.
fn told(answer: &Answer) -> (Word, &str, Option<(u64, &str)>) {
    let fence = answer.fence.as_ref();
    (answer.word, &answer.detail, fence.and_then(|fence| Some((fence.epoch?, fence.holder.as_deref()?))))
}

#[test]
fn a_host_is_sealed_halted_and_resumed() {
    for shell in Shell::all() {
        let login = Login::new(shell);
        let sealed = login.op(7, Op::Seal);
        assert_eq!(told(&sealed), (Word::Done, "", Some((7, "vps-1"))), "{shell:?}");
        assert_eq!(login.text("epoch").unwrap(), "7 vps-1\n");
        assert_eq!(login.text("fleet").unwrap(), format!("{FLEET}\n"));
        let id = login.text("host-id").unwrap();
        assert_eq!(sealed.host_id.as_deref(), Some(id.trim_end()));
        let words: Vec<&str> = id.trim_end().split(' ').collect();
        assert!(words.len() == 3 && words[0].len() == 32 && words[0].bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        assert_eq!(words[2], rustix::process::getuid().as_raw().to_string());

        let held = line(Kind::Manual, "0a1b2c3d");
        assert_eq!(told(&login.op(7, halt(dev(), held.clone()))), (Word::Done, "", Some((7, "vps-1"))));
        assert_eq!(login.text("halt/dev").unwrap(), format!("{}\n", held.render()), "{shell:?}");
        assert_eq!(told(&login.op(7, halt(dev(), held.clone()))).1, "unchanged");
        let drop = || resume(dev(), Drop::Line(Kind::Manual, "0a1b2c3d".into()));
        assert_eq!(told(&login.op(8, drop())), (Word::Done, "", Some((8, "vps-1"))), "{shell:?}");
        assert_eq!(login.text("halt/dev"), None);
        assert_eq!(told(&login.op(8, drop())), (Word::Done, "unchanged", Some((8, "vps-1"))), "{shell:?}");
        assert_eq!(login.text("host-id").unwrap(), id);
        let journal = login.text("journal").unwrap();
        let lines: Vec<&str> = journal.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        let want = ["7 vps-1 seal done", "7 vps-1 halt done", "7 vps-1 halt done unchanged", "8 vps-1 resume done"];
        assert_eq!(lines[..4], want, "{shell:?}");
    }
}
