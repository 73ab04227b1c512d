//! What the guard does to files: halt files line by line, files renamed away, and both on a full disk.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use factory::remote::guard::{Answer, Call, Drop, Op, Word};
use factory::remote::halt::{HaltFile, HaltLine, Kind};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::guard::{FLEET, Login, Shell, call, dev, feed, halt, line, read, resume};
use super::lab;

/// One thing done to a halt file.
#[derive(Clone, Debug)]
enum Step {
    /// By the guard: these lines, each by its kind, id and reason.
    Add(Vec<(Kind, String, String)>),
    /// By the guard.
    Drop(Vec<Drop>),
    /// By a person: this text behind what is there.
    Append(Vec<u8>),
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Auto), Just(Kind::Manual)]
}

/// Few ids, so that they meet.
fn id() -> impl Strategy<Value = String> {
    "[a-c]".prop_map(|id| format!("{id}0"))
}

fn step() -> impl Strategy<Value = Step> {
    let reason = prop_oneof![Just("x".to_owned()), "[ -~]{0,12}", "\\PC{0,6}"];
    let drop = prop_oneof![
        3 => (kind(), id()).prop_map(|(kind, id)| Drop::Line(kind, id)),
        1 => Just(Drop::Foreign),
    ];
    let ours = || (kind(), id()).prop_map(|(kind, id)| line(kind, &id).render());
    let text = prop_oneof![
        4 => "[ -~]{0,20}\n?".prop_map(String::into_bytes),
        1 => ours().prop_map(String::into_bytes),
        1 => ours().prop_map(|line| format!(" {line}\n").into_bytes()),
        1 => Just(b"manual a0 then stop\nauto  b0\n\n".to_vec()),
        1 => Just(b"manual a0 x 2026-13-12T13:20:00Z - 7 -\nauto a0 x 2026-03-12T13:20:00Z - 1234567890123456 -\n".to_vec()),
        2 => proptest::collection::vec(1u8..=255, 0..20),
    ];
    prop_oneof![
        4 => proptest::collection::vec((kind(), id(), reason), 1..3).prop_map(Step::Add),
        4 => proptest::collection::vec(drop, 1..3).prop_map(Step::Drop),
        2 => text.prop_map(Step::Append),
    ]
}

/// The lines of a file, each with its line break if it has one.
fn lines(content: &[u8]) -> Vec<&[u8]> {
    content.split_inclusive(|byte| *byte == b'\n').collect()
}

/// Kind and id of a line of our form.
fn ours(line: &[u8]) -> Option<(Kind, String)> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    HaltLine::parse(std::str::from_utf8(line).ok()?).map(|line| (line.kind, line.id))
}

/// What the file must be after a step of the guard's.
fn model(content: Option<Vec<u8>>, step: &Step) -> Option<Vec<u8>> {
    match step {
        Step::Append(text) => Some([content.unwrap_or_default(), text.clone()].concat()),
        Step::Add(added) => {
            let mut wanted: Vec<HaltLine> = Vec::new();
            for (kind, id, reason) in added {
                let new = HaltLine { reason: Some(reason.clone()), ..line(*kind, id) };
                match wanted.iter_mut().find(|have| (have.kind, &have.id) == (*kind, id)) {
                    Some(have) => *have = new,
                    None => wanted.push(new),
                }
            }
            let mut kept: Vec<Vec<u8>> = Vec::new();
            for old in lines(&content.unwrap_or_default()) {
                let same = |line: &HaltLine| ours(old) == Some((line.kind, line.id.clone()));
                match wanted.iter().find(|line| same(line)) {
                    None => kept.push(old.to_vec()),
                    Some(line) => {
                        let text = format!("{}\n", line.render()).into_bytes();
                        if !kept.contains(&text) {
                            kept.push(text);
                        }
                    }
                }
            }
            let open = kept.pop_if(|last| !last.ends_with(b"\n"));
            for line in wanted {
                let text = format!("{}\n", line.render()).into_bytes();
                if !kept.contains(&text) {
                    kept.push(text);
                }
            }
            Some([kept.concat(), open.unwrap_or_default()].concat())
        }
        Step::Drop(drops) => {
            let goes = |line: &&[u8]| match ours(line) {
                Some((kind, id)) => drops.contains(&Drop::Line(kind, id)),
                None => drops.contains(&Drop::Foreign),
            };
            let kept: Vec<u8> = lines(&content?).into_iter().filter(|line| !goes(line)).collect::<Vec<_>>().concat();
            (!kept.is_empty()).then_some(kept)
        }
    }
}

fn op(file: &HaltFile, step: &Step) -> Option<Op> {
    match step {
        Step::Append(_) => None,
        Step::Add(added) => {
            let line = |(kind, id, reason): &(Kind, String, String)| HaltLine {
                reason: Some(reason.clone()),
                ..line(*kind, id)
            };
            Some(Op::Halt { add: added.iter().map(|item| (file.clone(), line(item))).collect(), hide: vec![] })
        }
        Step::Drop(drops) => {
            Some(Op::Resume { drop: drops.iter().map(|drop| (file.clone(), drop.clone())).collect(), show: vec![] })
        }
    }
}

#[test]
fn a_halt_file_holds_what_was_put_into_it_and_all_else_stays() {
    for shell in Shell::all() {
        let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
        let login = Login::new(shell);
        runner
            .run(&proptest::collection::vec(step(), 1..8), |steps| {
                let file = HaltFile::of("dev", "harb");
                let at = login.at("halt/dev@harb");
                let _ = std::fs::remove_file(&at);
                let mut want = None;
                for step in &steps {
                    want = model(want, step);
                    let Some(op) = op(&file, step) else {
                        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
                        std::fs::write(&at, want.as_ref().unwrap()).unwrap();
                        continue;
                    };
                    let before = std::fs::metadata(&at).ok().map(|meta| (meta.ino(), meta.mtime_nsec()));
                    let content = std::fs::read(&at).ok();
                    prop_assert_eq!(login.op(7, op.clone()).word, Word::Done);
                    prop_assert_eq!(std::fs::read(&at).ok(), want.clone(), "{:?} {:?}", shell, step);
                    if content == want {
                        let after = std::fs::metadata(&at).ok().map(|meta| (meta.ino(), meta.mtime_nsec()));
                        prop_assert_eq!(before, after, "it was written again");
                    }
                }
                let strays = std::fs::read_dir(login.at("halt")).map_or(0, Iterator::count);
                prop_assert_eq!(strays, usize::from(want.is_some()));
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn a_halt_done_twice_changes_nothing_the_second_time() {
    for shell in Shell::all() {
        let login = Login::new(shell);
        let op = || halt(dev(), line(Kind::Manual, "a1"));
        assert_eq!(login.op(7, op()).detail, "");
        let stamp =
            || std::fs::metadata(login.at("halt/dev")).map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec()));
        let before = stamp().unwrap();
        assert_eq!(login.op(7, op()).detail, "unchanged");
        assert_eq!(stamp().unwrap(), before, "{shell:?}");
    }
}

#[test]
fn what_awk_could_not_carry_is_left_alone() {
    for shell in Shell::all() {
        let login = Login::new(shell);
        login.op(7, Op::Seal);
        for (name, make) in [
            ("nul", "printf 'a\\0b\\n' >"),
            ("nul-last", "printf 'a\\0' >"),
            ("huge", "truncate -s 1T"),
            ("dir", "mkdir"),
            ("pipe", "mkfifo"),
        ] {
            std::fs::create_dir_all(login.at("halt")).unwrap();
            let at = login.at(&format!("halt/{name}"));
            let script = format!("{make} \"$0\"");
            assert!(Command::new("sh").args(["-c", &script]).arg(at).status().unwrap().success());
            let file = HaltFile::Home(name.into());
            let two = vec![(file.clone(), line(Kind::Auto, "a1")), (dev(), line(Kind::Auto, "a1"))];
            let answer = login.op(7, Op::Halt { add: two, hide: vec![] });
            assert!(answer.word == Word::Failed && answer.detail.contains(name), "{shell:?} {name}: {answer:?}");
            if name.starts_with("nul") {
                let text = std::fs::read(login.at(&format!("halt/{name}"))).unwrap();
                assert!(text.starts_with(b"a\0"), "{shell:?} {name}: a byte was lost");
            }
            // The other file is done all the same.
            assert!(login.at("halt/dev").exists(), "{shell:?} {name}");
            assert!(login.at(&format!("halt/{name}")).exists());
            login.op(7, resume(dev(), Drop::Line(Kind::Auto, "a1".into())));
        }
    }
}

#[test]
fn a_halt_file_may_lie_elsewhere_and_be_a_link() {
    for shell in Shell::all() {
        let login = Login::new(shell);
        let dir = login.dir.path();
        let own = HaltFile::Path("~/my app/new/halt 'it'".into());
        assert_eq!(login.op(7, halt(own.clone(), line(Kind::Auto, "a1"))).word, Word::Done);
        let at = dir.join("my app/new/halt 'it'");
        assert_eq!(std::fs::read_to_string(&at).unwrap().lines().count(), 1, "{shell:?}");
        assert_eq!(login.op(7, resume(own, Drop::Line(Kind::Auto, "a1".into()))).word, Word::Done);
        assert_eq!(std::fs::read_dir(at.parent().unwrap()).unwrap().count(), 0, "{shell:?}");
        // A killed guard's file beside is taken away by the next; another's that lives is not.
        std::fs::write(dir.join("my app/.factory-new.4194999"), "").unwrap();
        std::fs::write(dir.join("my app/.factory-new.1"), "").unwrap();
        std::fs::write(dir.join("target"), "mine\n").unwrap();
        std::os::unix::fs::symlink("../target", dir.join("my app/link")).unwrap();
        let link = HaltFile::Path(format!("{}/my app/link", dir.display()));
        assert_eq!(login.op(7, halt(link, line(Kind::Auto, "a1"))).word, Word::Done);
        assert!(std::fs::symlink_metadata(dir.join("my app/link")).unwrap().is_symlink(), "{shell:?}");
        assert_eq!(std::fs::read_to_string(dir.join("target")).unwrap().lines().count(), 2, "{shell:?}");
        let beside = HaltFile::Path("~/my app/other".into());
        assert_eq!(login.op(7, halt(beside, line(Kind::Auto, "a1"))).word, Word::Done);
        assert!(!dir.join("my app/.factory-new.4194999").exists(), "{shell:?}");
        assert!(dir.join("my app/.factory-new.1").exists(), "{shell:?}");
    }
}

/// A file and its content; none = it is not there.
type Pair = (Option<&'static str>, Option<&'static str>);

#[test]
fn a_file_is_renamed_away_and_back_and_nothing_of_a_person_is_lost() {
    for shell in Shell::all() {
        let login = Login::new(shell);
        let dir = login.dir.path();
        let (path, held) = (dir.join("active it"), dir.join("active it.factory-held"));
        let set = |path: &Path, text: Option<&str>| {
            let _ = std::fs::remove_file(path);
            if let Some(text) = text {
                std::fs::write(path, text).unwrap();
            }
        };
        let now = || [&path, &held].map(|path| std::fs::read_to_string(path).ok());
        let name = || "~/active it".to_owned();
        let check = |op: Op, before: Pair, after: Pair, detail: &str| {
            set(&path, before.0);
            set(&held, before.1);
            let answer = login.op(7, op);
            assert_eq!((answer.word, answer.detail.as_str()), (Word::Done, detail), "{shell:?} {before:?}");
            assert_eq!(now(), [after.0, after.1].map(|text| text.map(str::to_owned)), "{shell:?} {before:?}");
        };
        let hide = || Op::Halt { add: vec![], hide: vec![name()] };
        check(hide(), (Some("a"), None), (None, Some("a")), "");
        check(hide(), (None, Some("a")), (None, Some("a")), "unchanged");
        check(hide(), (None, None), (None, None), "unchanged");
        check(hide(), (Some("a"), Some("a")), (None, Some("a")), "");
        let kept = format!("{}.1 is kept", held.display());
        check(hide(), (Some("new"), Some("old")), (None, Some("new")), &kept);
        check(hide(), (Some("newer"), Some("new")), (None, Some("newer")), &kept.replace(".1 ", ".2 "));
        let aside = [1, 2].map(|n| std::fs::read_to_string(format!("{}.{n}", held.display())).unwrap());
        assert_eq!(aside, ["old", "new"], "{shell:?}");

        let show = |unless: &[HaltFile]| Op::Resume { drop: vec![], show: vec![(name(), unless.to_vec())] };
        check(show(&[]), (None, Some("a")), (Some("a"), None), "");
        check(show(&[]), (Some("a"), None), (Some("a"), None), "unchanged");
        check(show(&[]), (None, None), (None, None), "unchanged");
        check(show(&[]), (Some("new"), Some("old")), (Some("new"), Some("old")), "unchanged");
        let other = HaltFile::Path(format!("{}/other", dir.display()));
        let both = [HaltFile::of("dev", "harb"), other.clone()];
        check(show(&both), (None, Some("a")), (Some("a"), None), "");
        std::fs::write(dir.join("other"), "").unwrap();
        check(show(&both), (None, Some("a")), (None, Some("a")), "unchanged");
        // As they are afterwards: the same call takes the last halt file away.
        let last = Op::Resume { drop: vec![(other, Drop::Foreign)], show: vec![(name(), both.to_vec())] };
        check(last, (None, Some("a")), (Some("a"), None), "");
        // A program and a text of the same bytes are not the same.
        let op = |path: &Path| Command::new("chmod").arg("755").arg(path).status().unwrap().success();
        set(&path, Some("a"));
        set(&held, Some("a"));
        assert!(op(&path));
        login.op(7, hide());
        assert_eq!(std::fs::metadata(&held).unwrap().mode() & 0o777, 0o755, "{shell:?}");
    }
}

/// A machine's own calls, in a mount namespace of its own.
pub fn on(host: &lab::Host, shell: &[&str], call: &Call) -> Answer {
    let program = factory::remote::guard::program(call, &super::guard::patient()).unwrap();
    let mut command = host.command(shell[0]);
    command.args(&shell[1..]).arg(&program.script);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    read(&feed(command, &program.stdin).wait_with_output().unwrap())
}

#[test]
fn a_full_disk_keeps_what_is_there_and_still_halts() {
    for shell in [&["dash", "-c"][..], &["bash", "--posix", "-c"], &["busybox", "sh", "-c"]] {
        let Some(host) = lab::host() else { return };
        let home = host.home().join(".factory").display().to_string();
        host.done(&format!("mkdir {home} && mount -t tmpfs -o size=64k tmpfs {home}"));
        let of = |epoch, op| on(&host, shell, &call(FLEET, epoch, "vps-1", op));
        let text = |name: &str| {
            let output = host.sh(&format!("cat {home}/{name}"));
            output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
        };
        let (dev, review) = (dev(), HaltFile::of("review", "*"));
        let two = || vec![(dev.clone(), line(Kind::Auto, "b2")), (review.clone(), line(Kind::Auto, "b2"))];
        assert_eq!(of(7, halt(dev.clone(), line(Kind::Manual, "a1"))).word, Word::Done);
        host.done(&format!("printf 'mine' >>{home}/halt/dev"));
        let before = text("halt/dev").unwrap();
        host.sh(&format!("cat /dev/zero >{home}/filler"));

        // What was there is there, what halts is there, and the fence could not rise.
        let answer = of(8, Op::Halt { add: two(), hide: vec![] });
        assert_eq!(answer.word, Word::Degraded, "{shell:?} {}", answer.detail);
        assert_eq!(answer.fence.unwrap().epoch, Some(7));
        assert_eq!(text("halt/dev").unwrap(), before, "{shell:?}");
        assert_eq!(text("halt/review").as_deref(), Some(""), "{shell:?}");
        assert_eq!(text("epoch").as_deref(), Some("7 vps-1\n"));
        assert_eq!(of(6, Op::Halt { add: two(), hide: vec![] }).word, Word::Fenced, "a full disk opened the fence");
        assert_eq!(of(7, halt(dev.clone(), line(Kind::Manual, "a1"))).detail, "unchanged", "{shell:?}");
        // What loosens waits for the fence; at the epoch as it is, what needs no room is done.
        let drop = |file: &HaltFile, kind, id: &str| resume(file.clone(), Drop::Line(kind, id.into()));
        assert_eq!(of(8, drop(&review, Kind::Auto, "b2")).word, Word::Failed, "{shell:?}");
        assert_eq!(text("halt/review").as_deref(), Some(""), "{shell:?}");
        assert_eq!(of(7, drop(&dev, Kind::Manual, "a1")).word, Word::Failed, "{shell:?}");
        assert_eq!(text("halt/dev").unwrap(), before, "{shell:?}");
        assert_eq!(of(7, drop(&review, Kind::Auto, "b2")).word, Word::Done, "{shell:?}");
        assert_eq!(text("halt/review"), None, "{shell:?}");

        host.done(&format!("rm {home}/filler"));
        assert_eq!(of(8, Op::Halt { add: two(), hide: vec![] }).word, Word::Done, "{shell:?}");
        let wrote = line(Kind::Auto, "b2").render();
        let (first, last) = before.rsplit_once('\n').unwrap();
        assert_eq!(text("halt/dev").unwrap(), format!("{first}\n{wrote}\n{last}"), "{shell:?}");
        assert_eq!(text("halt/review").unwrap(), format!("{wrote}\n"), "{shell:?}");
        assert_eq!(text("epoch").as_deref(), Some("8 vps-1\n"));
    }
}

#[test]
fn a_new_host_whose_disk_is_full_is_halted_too() {
    let Some(host) = lab::host() else { return };
    let home = host.home().join(".factory").display().to_string();
    host.done(&format!("mkdir {home} && mount -t tmpfs -o size=64k tmpfs {home}; mkdir {home}/halt"));
    host.sh(&format!("cat /dev/zero >{home}/filler"));
    let answer = on(&host, &["sh", "-c"], &call(FLEET, 7, "vps-1", halt(dev(), line(Kind::Auto, "a1"))));
    assert_eq!((answer.word, answer.fence, answer.host_id), (Word::Degraded, None, None), "{}", answer.detail);
    host.done(&format!("[ -e {home}/halt/dev ] && rm {home}/filler"));
    let answer = on(&host, &["sh", "-c"], &call(FLEET, 7, "vps-1", halt(dev(), line(Kind::Auto, "a1"))));
    assert_eq!((answer.word, answer.fence.unwrap().epoch), (Word::Done, Some(7)));
    assert!(answer.host_id.is_some());
    assert_eq!(host.done(&format!("cat {home}/halt/dev")), format!("{}\n", line(Kind::Auto, "a1").render()));
}

#[test]
fn busybox_alone_is_enough_but_for_flock() {
    let Some(host) = lab::host() else { return };
    host.done("cp $(command -v flock) /mnt/real-flock");
    if !host.busybox_only() {
        return;
    }
    let of = |op| on(&host, &["sh", "-c"], &call(FLEET, 7, "vps-1", op));
    let answer = of(Op::Seal);
    assert_eq!((answer.word, answer.detail.as_str()), (Word::Unfit, "flock is missing"));
    assert!(!host.home().join(".factory").exists());
    host.done(
        "printf '#!/bin/sh\\ncase $* in *-w*) exit 1 ;; esac\\nexec /mnt/real-flock \"$@\"\\n' >/mnt/bin/flock && chmod 755 /mnt/bin/flock",
    );
    assert_eq!(of(Op::Seal).word, Word::Done);
    assert_eq!(of(halt(dev(), line(Kind::Auto, "a1"))).word, Word::Done);
    assert_eq!(of(halt(dev(), line(Kind::Auto, "a1"))).detail, "unchanged");
    assert!(host.home().join(".factory/halt/dev").exists());
    assert_eq!(of(resume(dev(), Drop::Line(Kind::Auto, "a1".into()))).word, Word::Done);
    assert!(!host.home().join(".factory/halt/dev").exists());
}
