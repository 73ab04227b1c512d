//! The guard when things go wrong: cut, killed, stopped, cut off, contended.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use factory::remote::guard::{self, Call, Drop, Op, Word};
use factory::remote::halt::{HaltFile, Kind};

use super::guard::{FLEET, Login, Shell, call, dev, feed, framed, halt, line, read, resume, short};
use super::support::program_file;

fn example() -> Call {
    call(FLEET, 7, "vps-1", halt(dev(), line(Kind::Manual, "a1")))
}

/// Runs the text in `$cut` and each shorter one, as `sh -c` would; prints how long those were that said or did anything.
/// `$far` is as many `?` as are cut off at once when the text is shorter than `$near`.
const CUTS: &str = r#"while [ "$cut" ]; do
  (eval "$cut") <input >output 2>/dev/null
  [ ! -s output ] && [ ! -e .factory ] || { echo ${#cut}; exit 1; }
  if [ ${#cut} -gt "$near" ]; then cut=${cut%?}; else cut=${cut%$far}; fi
  [ ${#cut} -ge ${#far} ] || cut=
done"#;

#[test]
fn a_cut_program_does_nothing() {
    std::thread::scope(|scope| {
        for shell in Shell::all() {
            scope.spawn(move || {
                let login = Login::new(shell);
                let program = login.program(&example());
                let script = program.script.as_str();
                assert!(script.len() < 90 << 10 && script.is_ascii(), "it is sent with every call");
                std::fs::write(login.dir.path().join("input"), &program.stdin).unwrap();
                // All of it is in one pair of braces, so that one shell at every byte does for the far parts.
                let far = if shell == Shell::Dash { "?" } else { "???????????" };
                let near = (script.len() - 500).to_string();
                let cuts = |cut: &str| {
                    let output =
                        login.command(CUTS).env("cut", cut).env("near", &near).env("far", far).output().unwrap();
                    String::from_utf8(output.stdout).unwrap()
                };
                // Without its last line break it is whole.
                assert_eq!(cuts(&script[..script.len() - 2]), "", "{shell:?}");
                assert_eq!(cuts(script), format!("{}\n", script.len()), "{shell:?}");
                assert!(login.at("halt/dev").exists());
            });
        }
    });
}

#[test]
fn a_payload_that_is_cut_or_changed_does_nothing() {
    for shell in Shell::all() {
        let login = Login::new(shell);
        let program = login.program(&example());
        let refused = |stdin: &[u8], what: &str| {
            let output = feed(login.command(&program.script), stdin).wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(65), "{shell:?}: {what}");
            assert_eq!(read(&output).word, Word::Payload, "{shell:?}: {what}");
            assert!(!login.at("").exists(), "{shell:?}: {what}");
        };
        for cut in 0..program.stdin.len() {
            refused(&program.stdin[..cut], &format!("cut at {cut}"));
        }
        for at in (0..program.stdin.len()).step_by(5) {
            for byte in [program.stdin[at] ^ 1, 0, b'\n'] {
                let mut stdin = program.stdin.clone();
                if stdin[at] != byte {
                    stdin[at] = byte;
                    refused(&stdin, &format!("{byte} at {at}"));
                }
            }
        }
        refused(&[program.stdin.as_slice(), b"\n"].concat(), "more");
        refused(&framed("file dev\n")[1..], "no length");
    }
}

#[test]
fn a_payload_that_never_ends_is_given_up() {
    for shell in Shell::all() {
        let mut login = Login::new(shell);
        login.numbers.payload = factory::inventory::units::Span(Duration::from_secs(1));
        let program = login.program(&example());
        let mut child = login.command(&program.script).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&program.stdin[..20]).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(read(&output).word, Word::Payload, "{shell:?}");
        assert!(!login.at("").exists(), "{shell:?}");
        std::mem::drop(stdin);
    }
}

#[test]
fn a_lost_connection_does_not_stop_the_change() {
    for shell in Shell::all() {
        let login = Login::new(shell);
        let program = login.program(&example());
        let mut child = login.command(&program.script).spawn().unwrap();
        std::mem::drop((child.stdout.take(), child.stderr.take()));
        child.stdin.take().unwrap().write_all(&program.stdin).unwrap();
        let _ = child.wait().unwrap();
        assert_eq!(login.text("halt/dev").unwrap().lines().count(), 1, "{shell:?}");
        assert_eq!(login.text("journal").unwrap().lines().count(), 1, "{shell:?}");
        assert_eq!(login.op(7, halt(dev(), line(Kind::Manual, "a1"))).detail, "unchanged", "{shell:?}");
    }
}

/// What a killed call may leave: each file as before it or as after it.
fn either(
    now: &BTreeMap<String, Vec<u8>>,
    old: &BTreeMap<String, Vec<u8>>,
    new: &BTreeMap<String, Vec<u8>>,
    what: &str,
) {
    // What a rename or a link was about to bring into place, which no reader looks at.
    let beside = |name: &str| name.ends_with(".new") || name.contains("/.factory-new.");
    for name in old.keys().chain(new.keys()).chain(now.keys().filter(|name| !beside(name))) {
        // Made once, and random.
        if name == "host-id" && !old.contains_key(name) {
            let whole =
                now.get(name).is_none_or(|text| text.ends_with(b"\n") && text.split(|b| *b == b' ').count() == 3);
            assert!(whole, "{what}: {name} is half made");
            continue;
        }
        let have = now.get(name);
        assert!(have == old.get(name) || have == new.get(name), "{what}: {name} is {have:?}");
    }
}

/// A login with a past: an epoch, a halt file with a person's text, a file to hide.
fn with_past(shell: Shell) -> Login {
    let login = Login::new(shell);
    login.op(7, halt(dev(), line(Kind::Manual, "old")));
    let text = login.text("halt/dev").unwrap();
    login.write("halt/dev", &format!("{text}a person's"));
    login.write("active", "active");
    login
}

fn past_call() -> Call {
    let add = vec![(dev(), line(Kind::Auto, "a1")), (HaltFile::of("review", "*"), line(Kind::Auto, "a1"))];
    call(FLEET, 8, "vps-1", Op::Halt { add, hide: vec!["~/.factory/active".into()] })
}

/// Kills a call at each step of the kinds named, until it comes through; gives how many steps there were.
fn kill_at_each(shell: Shell, fresh: bool, strace: &[&str], steps: &str, stride: usize) -> usize {
    let (make, call): (fn(Shell) -> Login, Call) =
        if fresh { (Login::new, example()) } else { (with_past, past_call()) };
    let state = |login: &Login| login.files().into_iter().collect::<BTreeMap<_, _>>();
    let new = {
        let login = make(shell);
        assert_eq!(login.call(&call).word, Word::Done);
        state(&login)
    };
    // Numbers count up within each process; there is no process with more.
    let login = make(shell);
    let old = state(&login);
    for step in (1 + shell as usize..).step_by(stride) {
        let _ = std::fs::remove_dir_all(login.at(""));
        old.iter().for_each(|(name, text)| login.write(name, std::str::from_utf8(text).unwrap()));
        let program = login.program(&call);
        let inject = format!("inject={steps}:signal=KILL:when={step}");
        let log = login.dir.path().join("strace").display().to_string();
        let before = [&["strace"], strace, &["-qq", "-o", &log, "-e", &inject]].concat();
        let output = feed(login.command_in(&before, &program.script), &program.stdin).wait_with_output().unwrap();
        let what = format!("{shell:?}, {steps} {step}, {}", output.status);
        let killed = std::fs::read_to_string(&log).unwrap().contains("killed by SIGKILL");
        if !output.status.success() || killed {
            either(&state(&login), &old, &new, &what);
        }
        // Whatever it left, the next call ends in the state that was asked for, and no stray is left.
        assert_eq!(login.call(&call).word, Word::Done, "{what}");
        let mut after = state(&login);
        // Random; that it stays is looked at above.
        after.insert("host-id".into(), new["host-id"].clone());
        // A second name of a file that is made once stays until that name is needed again.
        after.retain(|name, _| !name.ends_with(".new"));
        assert_eq!(after, new, "{what}");
        if !killed {
            return step;
        }
    }
    0
}

#[test]
fn a_call_killed_at_any_step_leaves_the_old_or_the_new_and_the_next_one_succeeds() {
    if !Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        let _ = writeln!(std::io::stderr(), "left out: the guard killed at every step, since strace does not run here");
        return;
    }
    for shell in Shell::all() {
        for fresh in [false, true] {
            let stride = if shell == Shell::Dash { 1 } else { 5 } * if fresh { 2 } else { 1 };
            // The shell itself, at what it asks of the kernel to change something or to start something.
            let own = "openat,write,clone,clone3,fork,vfork,dup2,dup3,close,fcntl";
            let steps = kill_at_each(shell, fresh, &[], own, stride * 4);
            assert!(steps > 30, "{shell:?}: only {steps} steps were seen");
            // What it started, each at its own steps.
            let theirs = "openat,write,rename,renameat,renameat2,link,linkat,unlink,unlinkat,fsync,mkdir,execve";
            let steps = kill_at_each(shell, fresh, &["-f"], theirs, stride);
            assert!(steps > 10, "{shell:?}: only {steps} steps were seen");
        }
    }
}

/// A directory of programs that stand before the others in PATH; `date` says so in a file and then stands still for
/// as long as the login is there.
fn stall(login: &Login) -> String {
    let bin = login.dir.path().join("stall");
    std::fs::create_dir(&bin).unwrap();
    program_file(&bin.join("date"), "#!/bin/sh\n: >\"$HOME/stalled\"\nwhile [ -d \"$HOME\" ]; do sleep 1; done\n");
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(180), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A call that stands still while it has the lock. Its own date is the stalling one, so not under BusyBox, whose
/// timeout starts its own.
fn stalled(login: &Login) -> std::process::Child {
    let path = stall(login);
    let mut slow = login.numbers.clone();
    slow.op = factory::inventory::units::Span(Duration::from_secs(600));
    let program = guard::program(&example(), &slow).unwrap();
    let mut command = login.command(&program.script);
    command.env("PATH", path).stdout(Stdio::null()).stderr(Stdio::null());
    let child = feed(command, &program.stdin);
    until("the call takes the lock", || login.dir.path().join("stalled").exists());
    child
}

fn signal(child: &std::process::Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

#[test]
fn a_call_that_has_the_lock_for_a_short_while_is_left_in_peace() {
    for shell in Shell::all().into_iter().filter(|shell| *shell != Shell::BusyBox) {
        let mut login = Login::new(shell);
        let mut holder = stalled(&login);
        short(&mut login.numbers, 0.5, 600.0);
        let answer = login.op(8, Op::Seal);
        assert_eq!(answer.word, Word::Busy, "{shell:?}");
        assert!(!login.at("epoch").exists() && holder.try_wait().unwrap().is_none(), "{shell:?}");
        // One of a known name is named.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", holder.id())).unwrap();
        let start = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap();
        login.write("guard.lock.holder", &format!("{} {start} launch 2026-03-12T13:20:00Z\n", holder.id()));
        let detail = login.op(8, Op::Seal).detail;
        let want = format!("process {} (launch since 2026-03-12T13:20:00Z) holds the lock", holder.id());
        assert_eq!(detail, want, "{shell:?}");
        // An old name of another process is not.
        login.write("guard.lock.holder", &format!("{} {start}1 launch 2026-03-12T13:20:00Z\n", holder.id()));
        assert_eq!(login.op(8, Op::Seal).detail, "another process holds the lock", "{shell:?}");
        holder.kill().unwrap();
        holder.wait().unwrap();
    }
}

#[test]
fn a_stopped_call_loses_the_lock_and_who_waits_does_not() {
    for shell in Shell::all().into_iter().filter(|shell| *shell != Shell::BusyBox) {
        let mut login = Login::new(shell);
        let mut holder = stalled(&login);
        signal(&holder, rustix::process::Signal::STOP);
        // Of those who wait none has it for so long, however slow this machine is.
        short(&mut login.numbers, 180.0, 8.0);
        let waiting: Vec<_> = (0..3).map(|_| login.start(&call(FLEET, 8, "vps-2", Op::Seal))).collect();
        for one in waiting {
            assert_eq!(read(&one.wait_with_output().unwrap()).word, Word::Done, "{shell:?}");
        }
        assert_eq!(holder.wait().unwrap().signal(), Some(9), "{shell:?}");
        assert_eq!(login.text("journal").unwrap().lines().count(), 3, "{shell:?}");
        assert!(!login.at("halt/dev").exists());
    }
}

#[test]
fn all_who_hold_a_lock_for_too_long_are_ended_together() {
    for shell in Shell::all() {
        let mut login = Login::new(shell);
        login.op(7, Op::Seal);
        // The lock is its child's too, as a guard's that let its child keep the descriptor; and a name that says nothing.
        login.write("guard.lock.holder", "");
        let script = "exec 8>>\"$0\"; flock -n 8 || exit 1; echo up; sleep 100; :";
        let mut holder = Command::new("bash");
        holder.args(["-c", script]).arg(login.at("guard.lock")).stdout(Stdio::piped());
        let mut holder = holder.spawn().unwrap();
        let mut up = [0; 3];
        let mut stdout = holder.stdout.take().unwrap();
        stdout.read_exact(&mut up).unwrap();
        short(&mut login.numbers, 120.0, 1.0);
        assert_eq!(login.op(8, Op::Seal).word, Word::Done, "{shell:?}");
        assert_eq!(holder.wait().unwrap().signal(), Some(9), "{shell:?}");
        // The child's end of the pipe is closed: it is gone.
        assert_eq!(stdout.read_to_end(&mut Vec::new()).unwrap(), 0, "{shell:?}");
    }
}

#[test]
fn a_holder_that_cannot_be_ended_is_told_of() {
    if !rustix::process::geteuid().is_root() {
        let _ = writeln!(std::io::stderr(), "left out: a lock held by another user's process, which needs root");
        return;
    }
    for shell in Shell::all() {
        let mut login = Login::new(shell);
        login.op(7, Op::Seal);
        std::fs::set_permissions(login.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert!(Command::new("chown").args(["-R", "65534"]).arg(login.dir.path()).status().unwrap().success());
        let lock = std::fs::File::open(login.at("guard.lock")).unwrap();
        lock.lock().unwrap();
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let start = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap();
        let me = std::process::id();
        login.write("guard.lock.holder", &format!("{me} {start} launch 2026-03-12T13:20:00Z\n"));
        for (stuck, word) in [(0.01, Word::Stuck), (1e6, Word::Busy)] {
            short(&mut login.numbers, 0.3, stuck);
            let program = login.program(&call(FLEET, 8, "vps-1", Op::Seal));
            let before = ["setpriv", "--reuid", "65534", "--clear-groups"];
            let output = feed(login.command_in(&before, &program.script), &program.stdin).wait_with_output().unwrap();
            let answer = read(&output);
            assert_eq!(answer.word, word, "{shell:?} {}", answer.detail);
            assert!(answer.detail.contains(&format!("process {me} (launch since")), "{}", answer.detail);
        }
    }
}

/// Numbers that look random and come again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[test]
fn two_holders_who_race_and_die_leave_one_holder_an_epoch_and_no_way_back() {
    for shell in Shell::all() {
        let login = Login::new(shell);
        login.op(1, Op::Seal);
        let over = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            let watch = scope.spawn(|| {
                let mut seen: Vec<String> = vec!["1 vps-1\n".into()];
                while !over.load(Ordering::Relaxed) {
                    let now = login.text("epoch").expect("the epoch was gone for a moment");
                    if seen.last() != Some(&now) {
                        seen.push(now);
                    }
                    std::thread::sleep(Duration::from_micros(200));
                }
                seen
            });
            let race = |holder: &'static str, seed| {
                let login = &login;
                move || {
                    let mut dice = Dice(seed);
                    let mut accepted = Vec::new();
                    for round in 0..30 {
                        // Both want the same next epoch, or come with one that is past.
                        let now = login.text("epoch").unwrap();
                        let now: u64 = now.split(' ').next().unwrap().parse().unwrap();
                        let epoch = (now + dice.below(3)).saturating_sub(dice.below(2)).max(1);
                        let name = format!("{holder}{round}");
                        let op = if dice.below(2) == 0 { Op::Seal } else { halt(dev(), line(Kind::Manual, &name)) };
                        let mut child = login.start(&call(FLEET, epoch, holder, op));
                        if dice.below(2) == 0 {
                            std::thread::sleep(Duration::from_millis(dice.below(60)));
                            child.kill().unwrap();
                        }
                        let output = child.wait_with_output().unwrap();
                        let status = output.status.code().unwrap_or(-1);
                        let Ok(answer) = guard::parse(&output.stdout, status) else { continue };
                        assert!(matches!(answer.word, Word::Done | Word::Fenced), "{answer:?}");
                        if answer.word == Word::Done {
                            accepted.push((epoch, holder));
                            let fence = answer.fence.unwrap();
                            assert_eq!((fence.epoch, fence.holder.as_deref()), (Some(epoch), Some(holder)));
                        }
                    }
                    accepted
                }
            };
            let (one, two) = (scope.spawn(race("one", 1)), scope.spawn(race("two", 2)));
            let (one, two) = (one.join(), two.join());
            over.store(true, Ordering::Relaxed);
            let accepted = [one.unwrap(), two.unwrap()].concat();
            (watch.join().unwrap(), accepted)
        });
        let (seen, accepted) = seen;
        let parse = |text: &str| {
            let (epoch, holder) = text.trim_end().split_once(' ').unwrap();
            (epoch.parse::<u64>().unwrap(), holder.to_owned())
        };
        let watched: Vec<_> = seen.iter().map(|text| parse(text)).collect();
        let noted: Vec<_> = login
            .text("journal")
            .unwrap()
            .lines()
            .map(|line| {
                let fields: Vec<&str> = line.split(' ').collect();
                (fields[1].parse::<u64>().unwrap(), fields[2].to_owned())
            })
            .collect();
        for way in [&watched, &noted] {
            assert!(way.is_sorted_by_key(|(epoch, _)| *epoch), "{shell:?}: {way:?}");
        }
        let mut holders: BTreeMap<u64, String> = BTreeMap::new();
        let accepted = accepted.into_iter().map(|(epoch, holder)| (epoch, holder.to_owned()));
        for (epoch, holder) in watched.into_iter().chain(noted).chain(accepted) {
            let first = holders.entry(epoch).or_insert_with(|| holder.clone());
            assert_eq!(*first, holder, "{shell:?}: epoch {epoch} had two holders");
        }
        assert!(holders.len() > 5, "{shell:?}: nothing was raced for: {holders:?}");
    }
}

#[test]
fn two_who_make_a_new_host_at_once_agree_on_its_id() {
    for shell in Shell::all() {
        let login = Login::new(shell);
        let both: Vec<_> = (0..4).map(|_| login.start(&call(FLEET, 7, "vps-1", Op::Seal))).collect();
        let ids: Vec<_> = both
            .into_iter()
            .map(|one| read(&one.wait_with_output().unwrap()))
            .inspect(|answer| assert_eq!(answer.word, Word::Done, "{shell:?}"))
            .map(|answer| answer.host_id.unwrap())
            .collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{shell:?}: {ids:?}");
        assert_eq!(login.text("host-id").unwrap(), format!("{}\n", ids[0]));
        // Nothing but the file itself changes an id: not another fleet, not a repair.
        login.call(&call("other", 1, "vps-2", Op::Adopt));
        std::fs::remove_file(login.at("epoch")).unwrap();
        login.call(&call("other", 1, "vps-2", Op::Repair));
        let last = login.call(&call("other", 20, "vps-2", resume(dev(), Drop::Foreign)));
        assert_eq!(last.host_id.as_ref(), Some(&ids[0]), "{shell:?}");
    }
}

#[test]
fn an_adoption_killed_between_its_two_files_is_mended_by_the_next() {
    for shell in Shell::all() {
        let login = Login::new(shell);
        let adopt = |fleet: &str, epoch| login.call(&call(fleet, epoch, "vps-2", Op::Adopt));
        // The first file is written, the second is not: nobody may command it.
        login.op(7, Op::Seal);
        login.write("epoch", "adopt other\n");
        assert_eq!(login.op(8, Op::Seal).word, Word::Corrupt, "{shell:?}");
        assert_eq!(login.call(&call("other", 3, "vps-2", Op::Seal)).word, Word::Foreign, "{shell:?}");
        assert_eq!(adopt("other", 3).word, Word::Done, "{shell:?}");
        // Both are, and the epoch is not.
        login.write("epoch", "adopt other\n");
        assert_eq!(login.call(&call("other", 3, "vps-2", Op::Seal)).word, Word::Corrupt, "{shell:?}");
        let adopted = adopt("other", 3);
        assert_eq!((adopted.word, adopted.fence.unwrap().epoch), (Word::Done, Some(3)), "{shell:?}");
        assert!(Path::new(&login.at("fleet")).exists());
    }
}
