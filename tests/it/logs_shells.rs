//! What hosts send of logs, under each shell that is installed here: every byte once, whatever is done to the files.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use factory::remote::logs::{Book, External, Fetched, How, Mask, Question, Stream};
use factory::remote::probe::{self, Program, Report, Request};
use jiff::Timestamp;

use crate::guard::Shell;
use crate::support::program_file;

/// No cap that a test reaches by chance.
const CAP: u64 = 8 << 20;

/// A host's home, with runs that were made by hand.
pub struct Home {
    dir: tempfile::TempDir,
    shell: Shell,
}

impl Home {
    pub fn new(shell: Shell) -> Home {
        let home = Home { dir: tempfile::tempdir().unwrap(), shell };
        std::fs::create_dir(home.path("runs")).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn append(&self, name: &str, bytes: &[u8]) {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(bytes).unwrap();
    }

    /// A run with this state, as `DONE 0` or `RUNNING`.
    fn run(&self, token: &str, out: &[u8], err: &[u8]) {
        self.write(&format!("runs/{token}/spec"), "fleet f\nagent dev\nrepo my%20harb\narg x\n");
        self.write(&format!("runs/{token}/started"), "1 2 boot 2026-03-12T13:20:00Z\n");
        self.write(&format!("runs/{token}/out.log"), out);
        self.write(&format!("runs/{token}/err.log"), err);
    }

    fn end(&self, token: &str) {
        self.write(&format!("runs/{token}/rc"), "0\n2026-03-12T14:20:00Z\n");
    }

    fn shell(&self, program: &Program) -> Command {
        let words: &[&str] = match self.shell {
            Shell::Dash => &["dash", "-c"],
            Shell::Bash => &["bash", "--posix", "-c"],
            Shell::BusyBox => &["busybox", "sh", "-c"],
        };
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(&program.script).env("HOME", self.dir.path()).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, program: &Program) -> Child {
        let mut child = self.shell(program).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(&program.stdin);
        child
    }

    /// The answer of the program of its own.
    fn ask(&self, question: &Question) -> Report {
        self.answer(&question.program(self.dir.path().to_str().unwrap()).unwrap())
    }

    fn answer(&self, program: &Program) -> Report {
        let output = self.start(program).wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{:?}", String::from_utf8_lossy(&output.stderr));
        probe::parse(&output.stdout).unwrap()
    }

    /// One look, as a tick takes it: gives what was taken, by stream, or by path and generation.
    fn look(&self, book: &mut Book, files: &[External], mask: &Mask) -> Vec<(String, Vec<u8>)> {
        let now = Timestamp::now();
        let question = Question { run_cap: CAP, host_cap: 4 * CAP, ..book.question(files, None, now) };
        let report = self.ask(&question);
        let pieces = book.take(report.logs.unwrap(), files, &report.runs.unwrap(), mask, now);
        let name = |piece: &factory::remote::logs::Piece| match piece.cursor.token.as_str() {
            "" => format!("{}", piece.cursor.generation),
            token => format!("{token} {}", piece.cursor.stream),
        };
        pieces.iter().filter(|piece| !piece.bytes.is_empty()).map(|piece| (name(piece), piece.bytes.clone())).collect()
    }

    fn external(&self, name: &str) -> Vec<External> {
        vec![External { agent: "dev".into(), repo: "*".into(), path: self.path(name).to_str().unwrap().into() }]
    }
}

fn every_byte() -> Vec<u8> {
    (0..=255).chain(*b"\nend\n\nbegin factory-probe 1\nlogs 0\nend\n+\n").cycle().take(70_000).collect()
}

fn question(cap: u64) -> Question {
    Question { run_cap: cap, host_cap: 4 * cap, ..Question::default() }
}

fn parts(fetched: &Fetched) -> Vec<(&str, Stream, u64, usize, u64)> {
    let of = |part: &factory::remote::logs::RunPart| (part.offset, part.bytes.len(), part.size);
    let all = fetched.runs.iter().map(|part| (part.token.as_str(), part.stream, of(part)));
    all.map(|(token, stream, (offset, length, size))| (token, stream, offset, length, size)).collect()
}

#[test]
fn every_byte_of_a_run_comes_as_it_is_and_once() {
    for shell in Shell::all() {
        let home = Home::new(shell);
        let all = every_byte();
        home.run("20260312-a", &all[..66_000], b"");
        home.run("20260312-b", b"short", &all);
        let mut book = Book::default();
        let got = home.look(&mut book, &[], &Mask::default());
        let want = [
            ("20260312-a out".into(), all[..66_000].to_vec()),
            ("20260312-b err".into(), all.clone()),
            ("20260312-b out".into(), b"short".to_vec()),
        ];
        assert!(
            got == want,
            "{shell:?}: {:?}",
            got.iter().map(|(name, bytes)| (name, bytes.len())).collect::<Vec<_>>()
        );
        assert_eq!(home.look(&mut book, &[], &Mask::default()), [], "{shell:?}");
        home.append("runs/20260312-a/out.log", &all[66_000..]);
        home.append("runs/20260312-a/err.log", b"\0");
        home.end("20260312-a");
        let want = [("20260312-a err".into(), b"\0".to_vec()), ("20260312-a out".into(), all[66_000..].to_vec())];
        assert!(home.look(&mut book, &[], &Mask::default()) == want, "{shell:?}");
        let cursor = book.cursors().next().unwrap().clone();
        assert_eq!(
            (cursor.agent.as_deref(), cursor.repo.as_deref(), cursor.done),
            (Some("dev"), Some("my harb"), true)
        );
    }
}

#[test]
fn the_probe_sends_the_same_with_its_own_answer() {
    for shell in Shell::all() {
        let home = Home::new(shell);
        home.run("20260312-a", &every_byte(), b"e");
        let mut request = Request { home: home.dir.path().to_str().unwrap().into(), ..Request::default() };
        let plain = home.answer(&request.program().unwrap());
        assert_eq!(plain.logs, None);
        request.logs = Some(question(CAP));
        let program = request.program().unwrap();
        let report = home.answer(&program);
        assert!(report.mem.is_some() && report.runs.unwrap().len() == 1, "{shell:?}");
        let logs = report.logs.unwrap();
        let want = [("20260312-a", Stream::Err, 0, 1, 1), ("20260312-a", Stream::Out, 0, 70_000, 70_000)];
        assert_eq!(parts(&logs), want, "{shell:?}");
        assert!(logs.runs[1].bytes == every_byte(), "{shell:?}");
        assert!(program.script.len() < 32 << 10, "it is sent with every probe: {}", program.script.len());
    }
}

#[test]
fn caps_hold_and_each_log_gets_its_turn() {
    for shell in Shell::all() {
        let home = Home::new(shell);
        let big = vec![b'x'; 900_000];
        for i in 0..12 {
            home.run(&format!("20260312-{i}"), &big, &big);
        }
        let mut seen = std::collections::BTreeSet::new();
        for turn in 0..24 {
            // The least that is allowed.
            let asked = Question { turn, run_cap: 1, host_cap: 1, ..Question::default() };
            let logs = home.ask(&asked).logs.unwrap();
            let sent: usize = logs.runs.iter().map(|part| part.bytes.len()).sum();
            assert!(sent <= asked.most() && sent > 3 * 65_536, "{shell:?}: {sent}");
            assert!(logs.runs.iter().all(|part| part.size == 900_000 && part.bytes.len() != 1), "{shell:?}");
            let some = logs.runs.iter().filter(|part| !part.bytes.is_empty());
            seen.extend(some.map(|part| (part.token.clone(), part.stream)));
        }
        assert_eq!(seen.len(), 24, "{shell:?}");
    }
}

#[test]
fn a_file_that_shrinks_or_is_no_file_gives_nothing() {
    for shell in Shell::all() {
        let home = Home::new(shell);
        home.run("20260312-a", b"abc", b"");
        let token = "20260312-a".to_owned();
        let at = factory::remote::logs::RunAt { token, out: 9, err: 0, done: false };
        let asked = Question { runs: vec![at.clone()], ..question(CAP) };
        let logs = home.ask(&asked).logs.unwrap();
        assert_eq!(parts(&logs)[1], ("20260312-a", Stream::Out, 9, 0, 3), "{shell:?}");
        let done = Question { runs: vec![factory::remote::logs::RunAt { done: true, ..at }], ..question(CAP) };
        let report = home.ask(&done);
        assert_eq!((report.runs, parts(&report.logs.unwrap()).len()), (Some(vec![]), 0), "{shell:?}");
        // Named pipes would be read for ever.
        for name in ["out.log", "err.log", "spec"] {
            let path = home.path(&format!("runs/20260312-a/{name}"));
            std::fs::remove_file(&path).unwrap();
            assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        }
        let fifo = home.external("runs/20260312-a/out.log");
        let files = Book::default().question(&fifo, None, Timestamp::now()).files;
        let logs = home.ask(&Question { files, ..question(CAP) }).logs.unwrap();
        assert_eq!((parts(&logs).len(), logs.files.len()), (0, 0), "{shell:?}");
    }
}

#[test]
fn a_log_that_is_changed_while_it_is_sent_shifts_no_other() {
    for shell in Shell::all() {
        let home = Home::new(shell);
        let all = every_byte();
        home.run("20260312-a", &all, b"");
        home.run("20260312-b", b"bbb", b"");
        // Between the look and the sending: `dd` empties the log that it is to read.
        let bin = home.path("bin");
        let log = home.path("runs/20260312-a/out.log");
        program_file(&bin.join("dd"), &format!("#!/bin/sh\n: >'{}'\nexec /bin/dd \"$@\"\n", log.display()));
        let program = question(CAP).program(home.dir.path().to_str().unwrap()).unwrap();
        let mut command = home.shell(&program);
        if shell == Shell::BusyBox {
            // It prefers its own applets.
            continue;
        }
        command.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
        let output = command.output().unwrap();
        let logs = probe::parse(&output.stdout).unwrap().logs.unwrap();
        assert!(logs.short, "{shell:?}");
        let want = [0, 0, 0, 3];
        assert_eq!(logs.runs.iter().map(|part| part.bytes.len()).collect::<Vec<_>>(), want, "{shell:?}");
        assert_eq!(logs.runs[3].bytes, b"bbb", "{shell:?}");
    }
}

#[test]
fn a_cut_program_or_question_does_nothing() {
    let home = Home::new(Shell::Dash);
    home.run("20260312-a", b"abc", b"");
    let program = question(CAP).program(home.dir.path().to_str().unwrap()).unwrap();
    let call = program.script.trim_end().rfind('\n').unwrap() + 1;
    let whole = program.script.rfind('}').unwrap();
    for cut in (0..call).step_by(211).chain(call..=whole) {
        let cut = Program { script: program.script[..cut].to_owned(), stdin: Vec::new() };
        assert_eq!(home.start(&cut).wait_with_output().unwrap().stdout, b"", "{}", cut.script.len());
    }
    assert!(program.script.is_ascii() && !program.script.contains("20260312"));
    for bad in ["a b", "", "../x"] {
        assert!(Question { only: Some(bad.into()), ..question(CAP) }.program("~").is_err(), "{bad}");
    }
    assert!(question(CAP).program("relative").is_err());
}

#[test]
fn only_the_run_that_was_asked_for_is_looked_at() {
    for shell in Shell::all() {
        let home = Home::new(shell);
        home.run("20260312-a", b"a", b"");
        home.run("20260312-ab", b"b", b"");
        home.end("20260312-ab");
        let report = home.ask(&Question { only: Some("20260312-ab".into()), ..question(CAP) });
        let states: Vec<(String, String)> =
            report.runs.unwrap().into_iter().map(|run| (run.token, run.state)).collect();
        assert_eq!(states, [("20260312-ab".to_owned(), "DONE 0".to_owned())], "{shell:?}");
        assert_eq!(report.logs.unwrap().runs.len(), 2, "{shell:?}");
    }
}

fn rename(home: &Home, from: &str, to: &str) {
    std::fs::rename(home.path(from), home.path(to)).unwrap();
}

#[test]
fn log_files_are_followed_through_renaming_and_truncation() {
    for shell in Shell::all() {
        for scheme in [".old", ".1", "-20260312"] {
            let home = Home::new(shell);
            let files = home.external("dev/a log");
            let old = format!("dev/a log{scheme}");
            let mut book = Book::default();
            let mut look = || {
                let got = home.look(&mut book, &files, &Mask::default());
                got.into_iter()
                    .map(|(name, bytes)| format!("{name} {}", String::from_utf8(bytes).unwrap()))
                    .collect::<Vec<_>>()
            };
            let nothing: [&str; 0] = [];
            assert_eq!(look(), nothing, "there is none yet");
            home.write("dev/a log", "one\n");
            assert_eq!(look(), ["0 one\n"], "{shell:?} {scheme}");
            assert_eq!(look(), nothing);
            home.append("dev/a log", b"two\n");
            rename(&home, "dev/a log", &old);
            assert_eq!(look(), ["0 two\n"], "{shell:?} {scheme}: the new one is not there yet");
            home.append(&old, b"late\n");
            home.write("dev/a log", "three\n");
            assert_eq!(look(), ["0 late\n", "1 three\n"], "{shell:?} {scheme}");
            home.append(&old, b"later\n");
            home.append("dev/a log", b"four\n");
            let mut got = look();
            got.sort();
            assert_eq!(got, ["0 later\n", "1 four\n"], "{shell:?} {scheme}");
            // Emptied, and begun again.
            home.write("dev/a log", "x\n");
            assert_eq!(look(), ["2 x\n"], "{shell:?} {scheme}");
            // Emptied and longer at once: only its beginning tells.
            home.write("dev/a log", "y\nand more\n");
            assert_eq!(look(), ["3 y\nand more\n"], "{shell:?} {scheme}");
            assert_eq!(look(), nothing, "{shell:?} {scheme}");
            // Renamed with nothing left to read, and made again.
            std::fs::remove_file(home.path(&old)).unwrap();
            rename(&home, "dev/a log", &old);
            home.write("dev/a log", "z\n");
            assert_eq!(look(), ["4 z\n"], "{shell:?} {scheme}");
        }
        // Two generations that nobody saw in between.
        for names in [["l.1", "l.2"], ["l-20260313", "l-20260312"]] {
            let home = Home::new(shell);
            let files = home.external("l");
            let mut book = Book::default();
            home.write("l", "one\n");
            assert_eq!(home.look(&mut book, &files, &Mask::default()).len(), 1);
            home.append("l", b"more\n");
            rename(&home, "l", names[1]);
            home.write(names[0], "two\n");
            home.write("l", "three\n");
            let got = home.look(&mut book, &files, &Mask::default());
            let want = [("0", "more\n"), ("1", "two\n"), ("2", "three\n")];
            assert_eq!(
                got,
                want.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())),
                "{shell:?} {names:?}"
            );
        }
    }
}

#[test]
fn a_log_file_that_is_renamed_while_it_is_written_fast_is_told_line_by_line() {
    for shell in Shell::all() {
        let home = Home::new(shell);
        let files = home.external("agent.log");
        // As the dark factory's scripts do it: each line opens the file, which is renamed at 100 KB.
        let path = home.path("agent.log").display().to_string();
        let writer = format!(
            "i=0; while [ $i -lt 6000 ]; do i=$((i+1)); echo \"[2026-03-12 13:18:47 UTC] line $i of a log that is written fast\" >>'{path}'; \
             [ $((i % 1500)) -ne 0 ] || {{ mv '{path}' '{path}.old'; >'{path}.to'; \
             while [ -e '{path}.to' ]; do sleep 0.05; done; }}; done"
        );
        // What was renamed before the first look is not asked for.
        home.write("agent.log", "");
        home.write("agent.log.old", "an older log\n");
        let (mut book, mut by_generation) = (Book::default(), std::collections::BTreeMap::<u32, Vec<u8>>::new());
        assert_eq!(home.look(&mut book, &files, &Mask::default()), []);
        let mut writing = Command::new("sh").args(["-c", &writer]).spawn().unwrap();
        let mut ended = false;
        // Between two renames there is a whole look; without it a generation would be gone that nobody saw.
        let renamed = home.path("agent.log.to");
        loop {
            let was_renamed = renamed.exists();
            let got = home.look(&mut book, &files, &Mask::default());
            if was_renamed {
                std::fs::remove_file(&renamed).unwrap();
            }
            let none = got.is_empty();
            for (generation, bytes) in got {
                by_generation.entry(generation.parse().unwrap()).or_default().extend(bytes);
            }
            if ended && none {
                break;
            }
            ended |= writing.try_wait().unwrap().is_some();
        }
        let text = String::from_utf8(by_generation.into_values().flatten().collect()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let want: Vec<String> =
            (1..=6000).map(|i| format!("[2026-03-12 13:18:47 UTC] line {i} of a log that is written fast")).collect();
        assert!(lines == want, "{shell:?}: {} lines, {:?} to {:?}", lines.len(), lines.first(), lines.last());
    }
}

#[test]
fn caps_stop_in_a_generation_and_not_between_two() {
    for shell in Shell::all() {
        let home = Home::new(shell);
        let files = home.external("l");
        let (mut book, all) = (Book::default(), every_byte().repeat(4));
        home.write("l", "x");
        assert_eq!(home.look(&mut book, &files, &Mask::default()).len(), 1);
        home.append("l", &all);
        rename(&home, "l", "l.old");
        home.write("l", "new");
        let mut got: Vec<Vec<u8>> = vec![b"x".to_vec()];
        for _ in 0..20 {
            let now = Timestamp::now();
            let logs = home.ask(&book.question(&files, None, now)).logs.unwrap();
            let sent: usize = logs.files.iter().map(|part| part.bytes.len()).sum();
            assert!(sent <= 2 * 65_537, "{shell:?}: {sent}");
            for piece in book.take(logs, &files, &[], &Mask::default(), now) {
                let generation = piece.cursor.generation as usize;
                got.resize(got.len().max(generation + 1), Vec::new());
                got[generation].extend(piece.bytes);
            }
        }
        assert!(got == [[b"x".to_vec(), all].concat(), b"new".to_vec()], "{shell:?}");
    }
}

#[test]
fn finished_runs_that_are_there_whole_cost_no_process() {
    let home = Home::new(Shell::Dash);
    for i in 0..200 {
        home.run(&format!("20260312-{i}"), b"out\n", b"err\n");
        home.end(&format!("20260312-{i}"));
    }
    let mut book = Book::default();
    assert_eq!(home.look(&mut book, &[], &Mask::default()).len(), 400);
    let question = Question { run_cap: CAP, host_cap: CAP, ..book.question(&[], None, Timestamp::now()) };
    assert!(question.runs.iter().all(|run| run.done));
    // Each command but those that stand at the beginning of the program leaves a mark.
    let program = question.program(home.dir.path().to_str().unwrap()).unwrap();
    assert!(program.stdin.is_empty(), "it goes with the command");
    let bin = home.path("bin");
    for name in ["stat", "head", "tail", "dd", "sha256sum", "flock"] {
        let text = format!("#!/bin/sh\necho {name} >>'{}'\n", home.path("marks").display());
        program_file(&bin.join(name), &text);
    }
    let mut command = home.shell(&program);
    command.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
    let report = probe::parse(&command.output().unwrap().stdout).unwrap();
    assert_eq!((report.runs, parts(&report.logs.unwrap()).len()), (Some(vec![]), 0));
    assert!(!home.path("marks").exists(), "{}", std::fs::read_to_string(home.path("marks")).unwrap());
}

#[test]
fn no_path_stands_in_the_arguments_of_a_process() {
    let home = Home::new(Shell::Dash);
    home.run("20260312-dev-agent", &every_byte(), b"");
    home.write("dev-agent.log", every_byte());
    let files = Book::default().question(&home.external("dev-agent.log"), None, Timestamp::now()).files;
    let program = Question { files, ..question(CAP) }.program(home.dir.path().to_str().unwrap()).unwrap();
    let trace = home.path("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-s", "4096", "-e", "trace=execve", "-o"]).arg(&trace).args([
        "dash",
        "-c",
        &program.script,
    ]);
    let Ok(output) = strace.env("HOME", home.dir.path()).output() else { return };
    let logs = probe::parse(&output.stdout).unwrap().logs.unwrap();
    assert_eq!((logs.files[0].how, logs.files[0].bytes.len(), logs.runs[1].bytes.len()), (How::New, 70_000, 70_000));
    let trace = std::fs::read_to_string(trace).unwrap();
    assert!(trace.contains("stat") && !trace.contains("dev-agent"), "{trace}");
}

#[test]
fn a_secret_over_two_looks_is_hidden() {
    for shell in Shell::all() {
        let home = Home::new(shell);
        let mask = Mask::new([secrecy::SecretString::from("s3cret-t0ken".to_owned())]);
        let mut book = Book::default();
        home.run("20260312-a", b"token=s3cret-", b"");
        let mut got = Vec::new();
        for more in [&b""[..], b"t0k", b"en and s3c", b"", b"ret", b" s3cret-t0ke"] {
            home.append("runs/20260312-a/out.log", more);
            got.extend(home.look(&mut book, &[], &mask).into_iter().flat_map(|(_, bytes)| bytes));
        }
        home.end("20260312-a");
        got.extend(home.look(&mut book, &[], &mask).into_iter().flat_map(|(_, bytes)| bytes));
        assert_eq!(String::from_utf8(got).unwrap(), "token=************ and s3cret ***********", "{shell:?}");
        assert!(book.cursors().all(|cursor| cursor.done), "{shell:?}");
    }
}
