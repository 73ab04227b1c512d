//! The guard's program under each shell that is installed here: who may command a host, and what an answer means.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use factory::inventory::settings;
use factory::inventory::units::Span;
use factory::remote::guard::{self, Answer, Call, Drop, Op, Program, Word};
use factory::remote::halt::{HaltFile, HaltLine, Kind};

use super::support::program_file;

/// The fleet of most calls.
pub const FLEET: &str = "f1ee7";

/// The applets that stand for the programs of a system that has BusyBox alone, without a flock of its own.
const APPLETS: &str = "awk cat chmod chown cmp cp cut date dd df env head id ln mkdir mv od printf readlink rm setsid sh \
                       sha256sum sleep stat sync tail timeout tr wc";

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
        let login = Login { dir: tempfile::tempdir().unwrap(), shell, numbers: patient() };
        let bin = login.dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        // The shell of the wrapper and of the reaper.
        if shell == Shell::Bash {
            program_file(&bin.join("sh"), "#!/bin/sh\nexec bash --posix \"$@\"\n");
        }
        if shell == Shell::BusyBox {
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
        // By which a program in its PATH knows that the guard itself called it.
        command.env("GUARD", "1");
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.dir.path().join("bin").display()));
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

/// Numbers of a guard that waits long for what other programs do: how busy this machine is decides no answer. Who wants
/// the answer that a short time brings sets it.
pub fn patient() -> settings::Guard {
    let long = Span(Duration::from_secs(60));
    settings::Guard { started: long, op: long, ..settings::Guard::default() }
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

#[test]
fn the_fence_lets_in_the_same_holder_and_higher_epochs() {
    for shell in Shell::all() {
        for (epoch, holder, word) in [
            (6, "vps-1", Word::Fenced),
            (6, "vps-2", Word::Fenced),
            (7, "vps-1", Word::Done),
            (7, "vps-2", Word::Fenced),
            (7, "vps-", Word::Fenced),
            (8, "vps-1", Word::Done),
            (8, "vps-2", Word::Done),
            (10, "vps-2", Word::Done),
            (999_999_999_999_999, "vps-2", Word::Done),
        ] {
            let login = Login::new(shell);
            login.op(7, Op::Seal);
            let before = login.files();
            let answer = login.call(&call(FLEET, epoch, holder, halt(dev(), line(Kind::Auto, "a1"))));
            assert_eq!(answer.word, word, "{shell:?} {epoch} {holder}: {}", answer.detail);
            let obeys = if word == Word::Done { (epoch, holder) } else { (7, "vps-1") };
            assert_eq!(told(&answer).2, Some(obeys), "{shell:?}");
            assert_eq!(login.text("epoch").unwrap(), format!("{} {}\n", obeys.0, obeys.1), "{shell:?}");
            if word == Word::Fenced {
                assert_eq!(login.files(), before, "{shell:?}: a fenced call did something");
                assert_eq!(login.text("journal").unwrap().lines().count(), 1);
            }
        }
    }
}

#[test]
fn a_holder_of_any_name_holds() {
    for shell in Shell::all() {
        let login = Login::new(shell);
        for (epoch, holder) in (7u64..).zip(["a b", "-", "'\"\\", "ünï", "100%", "*", "$(touch pwned)"]) {
            for _ in 0..2 {
                let answer = login.call(&call(FLEET, epoch, holder, Op::Seal));
                assert_eq!(answer.word, Word::Done, "{shell:?} {holder}");
                assert_eq!(answer.fence.unwrap().holder.as_deref(), Some(holder));
            }
        }
        assert!(!login.dir.path().join("pwned").exists());
    }
}

#[test]
fn the_host_of_one_fleet_obeys_no_other_until_it_is_adopted() {
    for shell in Shell::all() {
        let login = Login::new(shell);
        login.op(7, halt(dev(), line(Kind::Manual, "a1")));
        let before = login.files();
        let drop = || resume(dev(), Drop::Line(Kind::Manual, "a1".into()));
        for op in [Op::Seal, halt(dev(), line(Kind::Auto, "b2")), drop(), Op::Repair] {
            let answer = login.call(&call("other", 99, "vps-9", op));
            assert_eq!(answer.word, Word::Foreign, "{shell:?}");
            assert!(answer.detail.contains(FLEET), "{}", answer.detail);
            assert_eq!(answer.fence.unwrap().epoch, Some(7));
            assert_eq!(login.files(), before, "{shell:?}");
        }
        // The other fleet's epochs are another count: 3 is not lower.
        let adopted = login.call(&call("other", 3, "vps-9", Op::Adopt));
        assert_eq!(told(&adopted), (Word::Done, "", Some((3, "vps-9"))), "{shell:?}");
        assert_eq!(adopted.fence.unwrap().fleet.as_deref(), Some("other"));
        assert_eq!(login.op(100, drop()).word, Word::Foreign, "{shell:?}");
        assert_eq!(login.call(&call("other", 3, "vps-9", drop())).word, Word::Done, "{shell:?}");
        // Adopting again changes nothing, and never lowers an epoch of the same fleet.
        let again = login.call(&call("other", 3, "vps-9", Op::Adopt));
        assert_eq!(told(&again).1, "unchanged", "{shell:?}");
        assert_eq!(login.call(&call("other", 2, "vps-9", Op::Adopt)).word, Word::Fenced, "{shell:?}");
        assert_eq!(login.text("epoch").unwrap(), "3 vps-9\n");
    }
}

/// Each way in which an epoch can be damaged; none is a file that is gone.
fn damaged() -> Vec<Option<&'static [u8]>> {
    let texts: [&[u8]; 17] = [
        b"",
        b"\n",
        b"7",
        b"7\n",
        b"7 \n",
        b"7 vps-1",
        b"07 vps-1\n",
        b"0 vps-1\n",
        b"x vps-1\n",
        b"-7 vps-1\n",
        b"+7 vps-1\n",
        b" 7 vps-1\n",
        b"7  vps-1\n",
        b"7 vps-1\nx\n",
        b"1\x002 vps-1\n",
        b"1234567890123456 vps-1\n",
        b"99999999999999999999 vps-1\n",
    ];
    texts.map(Some).into_iter().chain([None]).collect()
}

#[test]
fn a_damaged_epoch_stops_everything_until_it_is_repaired() {
    for shell in Shell::all() {
        for text in damaged() {
            let login = Login::new(shell);
            login.op(5, Op::Seal);
            login.op(12, halt(dev(), line(Kind::Manual, "a1")));
            let repair = |epoch| login.call(&call(FLEET, epoch, "vps-1", Op::Repair));
            assert_eq!(told(&repair(12)), (Word::Done, "unchanged", Some((12, "vps-1"))), "{shell:?}");
            match text {
                Some(text) => std::fs::write(login.at("epoch"), text).unwrap(),
                None => std::fs::remove_file(login.at("epoch")).unwrap(),
            }
            let before = login.files();
            let told_of = text.map(String::from_utf8_lossy);
            for (epoch, op) in [
                (1, resume(dev(), Drop::Foreign)),
                (12, Op::Seal),
                (13, Op::Adopt),
                (999_999_999_999_999, halt(dev(), line(Kind::Auto, "b2"))),
            ] {
                assert_eq!(login.op(epoch, op).word, Word::Corrupt, "{shell:?} {told_of:?} {epoch}");
            }
            assert_eq!(login.files(), before, "{shell:?} {told_of:?}");
            assert_eq!(told(&repair(3)), (Word::Done, "", Some((13, "vps-1"))), "{shell:?} {told_of:?}");
            assert_eq!(login.op(12, Op::Seal).word, Word::Fenced, "{shell:?}");
        }
        // What is no file at all.
        for make in ["mkdir", "mkfifo", "ln -s nowhere"] {
            let login = Login::new(shell);
            login.op(5, Op::Seal);
            std::fs::remove_file(login.at("epoch")).unwrap();
            let words: Vec<&str> = make.split(' ').collect();
            assert!(Command::new(words[0]).args(&words[1..]).arg(login.at("epoch")).status().unwrap().success());
            assert_eq!(login.op(6, Op::Seal).word, Word::Corrupt, "{shell:?} {make}");
            let repaired = login.op(20, Op::Repair);
            if make == "mkdir" {
                assert_eq!(told(&repaired), (Word::Failed, "cannot write epoch", None), "{shell:?}");
            } else {
                assert_eq!(told(&repaired).2, Some((21, "vps-1")), "{shell:?} {make}");
            }
        }
    }
}

#[test]
fn a_journal_has_a_bound_and_keeps_the_highest_epoch() {
    for shell in Shell::all() {
        let login = Login::new(shell);
        login.op(5, Op::Seal);
        let old = "2026-03-12T13:20:00Z 4 vps-1 halt done unchanged\n".repeat(25_000);
        // The highest stands in the half that goes.
        login.write("journal", &format!("2026-03-12T13:20:00Z 40 vps-1 seal done\n{old}cut shor"));
        login.op(5, Op::Seal);
        let journal = login.text("journal").unwrap();
        assert!(journal.len() < 600 << 10, "{shell:?}: {}", journal.len());
        let lines: Vec<&str> = journal.lines().collect();
        assert!(lines[0].ends_with(" 40 vps-1 trim done"), "{shell:?}: {}", lines[0]);
        assert!(lines[1].starts_with("2026-03-12T13:20:00Z 4 "), "{shell:?}: {}", lines[1]);
        assert_eq!(lines[lines.len() - 2], "cut shor", "{shell:?}");
        assert!(lines[lines.len() - 1].ends_with(" 5 vps-1 seal done"), "{shell:?}");
        std::fs::remove_file(login.at("epoch")).unwrap();
        assert_eq!(told(&login.op(5, Op::Repair)).2, Some((41, "vps-1")), "{shell:?}");
    }
}

#[test]
fn a_seal_lists_all_runs() {
    for shell in Shell::all() {
        let login = Login::new(shell);
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let started = format!("1 2 {} 2026-03-12T13:18:47Z\n", boot.trim());
        for (token, start) in [
            ("held", started.as_str()),
            ("free", &started),
            ("ended", &started),
            ("gone", "cancelled x\n"),
            ("new", ""),
        ] {
            login.write(&format!("runs/{token}/wrapper.lock"), "");
            if !start.is_empty() {
                login.write(&format!("runs/{token}/started"), start);
            }
        }
        login.write("runs/booted/started", "1 2 00000000-0000-0000-0000-000000000000 2026-03-12T13:18:47Z\n");
        login.write("runs/booted/wrapper.lock", "");
        login.write("runs/ended/rc", "137\n");
        let lock = std::fs::File::open(login.at("runs/held/wrapper.lock")).unwrap();
        lock.lock().unwrap();
        let runs: Vec<_> = login.op(7, Op::Seal).runs.into_iter().map(|run| (run.token, run.state)).collect();
        let want = [
            ("booted", "REBOOTED"),
            ("ended", "DONE 137"),
            ("free", "CRASHED"),
            ("gone", "CANCELLED"),
            ("held", "RUNNING"),
            ("new", "CREATED"),
        ];
        assert_eq!(runs, want.map(|(token, state)| (token.into(), state.into())), "{shell:?}");
        assert_eq!(login.op(7, halt(dev(), line(Kind::Auto, "a1"))).runs, [], "{shell:?}");
    }
}

#[test]
fn a_home_of_any_bytes_is_a_home() {
    for shell in Shell::all() {
        let login = Login::new(shell);
        let names = ["$(touch pwned)", "`id`; x", " lead and trail ", "-rf", "'\"\\", "ünï", "*?[a-z]", "\u{1}\t\r"];
        for name in names {
            for home in [format!("~/{name}/x"), format!("{}/y{name}", login.dir.path().display())] {
                let answer = login.call(&Call { home: home.clone(), ..call(FLEET, 7, "vps-1", Op::Seal) });
                assert_eq!(answer.word, Word::Done, "{shell:?} {home}: {}", answer.detail);
                let path = home.replacen('~', login.dir.path().to_str().unwrap(), 1);
                assert!(Path::new(&path).join("epoch").exists(), "{shell:?} {home}");
            }
        }
        assert!(!login.dir.path().join("pwned").exists());
    }
}

#[test]
fn a_home_where_locks_do_not_hold_is_refused_and_left_as_it_is() {
    // BusyBox's timeout starts its own applets, whatever stands before them in PATH.
    for shell in Shell::all().into_iter().filter(|shell| *shell != Shell::BusyBox) {
        let login = Login::new(shell);
        let bin = login.dir.path().join("shadow");
        std::fs::create_dir(&bin).unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        for (says, word) in [
            ("echo 6969", Word::Unfit),
            ("echo ff534d42", Word::Unfit),
            ("echo fe534d42", Word::Unfit),
            ("echo 1021997", Word::Unfit),
            ("echo 65735546", Word::Unfit),
            ("exit 1", Word::Unfit),
            ("sleep 60", Word::Unfit),
            ("echo ef53", Word::Done),
        ] {
            program_file(&bin.join("stat"), &format!("#!/bin/sh\n{says}\n"));
            let mut login = Login::new(shell);
            if says == "sleep 60" {
                login.numbers.op = Span(Duration::from_secs(1));
            }
            let program = login.program(&call(FLEET, 7, "vps-1", Op::Seal));
            let mut command = login.command(&program.script);
            command.env("PATH", &path);
            let answer = read(&feed(command, &program.stdin).wait_with_output().unwrap());
            assert_eq!(answer.word, word, "{shell:?} {says}: {}", answer.detail);
            assert_eq!(login.at("").exists(), word == Word::Done, "{shell:?} {says}");
        }
    }
}

#[test]
fn what_no_guard_could_do_is_refused_before_it_is_sent() {
    let numbers = settings::Guard::default();
    let refused = |change: &dyn Fn(&mut Call)| {
        let mut call = call(FLEET, 7, "vps-1", Op::Seal);
        change(&mut call);
        guard::program(&call, &numbers).is_err()
    };
    assert!(!refused(&|_| ()));
    for epoch in [0, 1_000_000_000_000_000, u64::MAX] {
        assert!(refused(&|call| call.epoch = epoch), "{epoch}");
    }
    for fleet in ["", "a b", "a'b", "a/b", "ünï"] {
        assert!(refused(&|call| call.fleet = fleet.into()), "{fleet}");
    }
    assert!(refused(&|call| call.holder = String::new()));
    for path in ["", "relative", "~user/x", "/a\nb", "/a\0b", "/", "~/", "/a/..", "/a/"] {
        assert!(refused(&|call| call.home = path.into()), "{path:?}");
        let file = HaltFile::Path(path.into());
        assert!(refused(&|call| call.op = halt(file.clone(), line(Kind::Auto, "a"))), "{path:?}");
        assert!(refused(&|call| call.op = Op::Halt { add: vec![], hide: vec![path.into()] }), "{path:?}");
        assert!(refused(&|call| call.op = Op::Resume { drop: vec![], show: vec![(path.into(), vec![])] }), "{path:?}");
    }
    for name in ["", ".", "..", ".hidden", "a/b", "/etc/passwd", "a\nb"] {
        let file = HaltFile::Home(name.into());
        assert!(refused(&|call| call.op = resume(file.clone(), Drop::Foreign)), "{name:?}");
    }
}

#[test]
fn a_caller_that_is_not_understood_changes_nothing() {
    for shell in Shell::all() {
        let login = Login::new(shell);
        let program = login.program(&call(FLEET, 7, "vps-1", halt(dev(), line(Kind::Auto, "a1"))));
        let (text, last) = program.script.trim_end_matches("\n}\n").rsplit_once('\n').unwrap();
        for last in [
            "guard".to_owned(),
            "guard f".to_owned(),
            "guard f 7 h".to_owned(),
            format!("{last} 'more'"),
            last.replace("'7'", "'07'"),
            last.replace("'7'", "'0'"),
            last.replace("'7'", "'1234567890123456'"),
            last.replace("'7'", "'7 '"),
            last.replace("'7'", "''"),
            last.replace("'halt'", "'unknown'"),
            last.replace("'halt'", "'resume'"),
            last.replace("'vps-1'", "'vps 1'"),
            last.replace("'vps-1'", "''"),
            last.replace(FLEET, "../x"),
        ] {
            let output =
                feed(login.command(&format!("{text}\n{last}\n}}\n")), &program.stdin).wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(64), "{shell:?} {last}");
            assert!(!login.at("").exists(), "{shell:?} {last}");
        }
        for payload in [
            "",
            "end",
            "file dev\nend\nend\n",
            "add auto a1 x\nend\n",
            "file ../x\nadd auto a1 x\nend\n",
            "file .x\nadd auto a1 x\nend\n",
            "file a/b\nadd auto a1 x\nend\n",
            "file /a/..\nadd auto a1 x\nend\n",
            "file dev\ndrop foreign\nend\n",
            "file dev\nadd other a1 x\nend\n",
            "hide dev\nend\n",
            "file dev\nadd auto a1 x\nend\nfile review\n",
            "file dev\nadd auto a1 x\n",
        ] {
            let output = feed(login.command(&program.script), &framed(payload)).wait_with_output().unwrap();
            // A payload of one line and no line break is `end` all the same.
            let want = if payload == "end" { 0 } else { 64 };
            assert_eq!(output.status.code(), Some(want), "{shell:?} {payload:?}");
            let _ = std::fs::remove_dir_all(login.at(""));
        }
    }
}

/// A payload with its first line.
pub fn framed(payload: &str) -> Vec<u8> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, payload.as_bytes());
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} {digest}\n{payload}", payload.len()).into_bytes()
}
