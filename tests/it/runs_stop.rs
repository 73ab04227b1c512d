//! Runs, and processes that we did not start, that are told to stop: what ends with them, when, and what is left alone.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use factory::inventory::units::Span;
use factory::remote::guard::{Op, Stopped, Word};
use factory::remote::halt::Kind;
use rustix::process::{Pid, Signal, kill_process};

use super::guard::{Shell, dev, halt, line};
use super::runs::{Runs, alive, script, stop, token, told, until};

#[test]
fn a_run_that_is_told_to_stop_ends_and_a_grace_keeps_nobody_waiting() {
    for shell in Shell::all() {
        let mut runs = Runs::new(shell);
        runs.0.numbers.lock_wait = Span(Duration::from_secs(5));
        // It takes its time, and cleans up.
        let (kind, rude) = (token(), token());
        let text = "trap 'sleep 0.2; echo clean >>out; exit 3' TERM; : >up; while :; do sleep 0.1; done";
        assert_eq!(told(&runs.launch(script(&kind, text))), (Word::Done, "RUNNING"), "{shell:?}");
        let text = "trap '' TERM; : >deaf; while :; do sleep 0.1; done";
        assert_eq!(told(&runs.launch(script(&rude, text))), (Word::Done, "RUNNING"), "{shell:?}");
        until("both are up", || ["up", "deaf"].iter().all(|name| runs.dir.path().join(name).exists()));
        assert_eq!(told(&runs.stop(&rude, 0, 40)), (Word::Stopping, "RUNNING"), "{shell:?}");
        assert_eq!(told(&runs.stop(&kind, 0, 40)), (Word::Stopping, "RUNNING"), "{shell:?}");
        assert_eq!(runs.op(7, halt(dev(), line(Kind::Manual, "a1"))).word, Word::Done, "{shell:?}");
        assert_eq!(runs.ended(&kind), "DONE 3", "{shell:?}");
        assert_eq!(
            std::fs::read_to_string(runs.dir.path().join("out")).unwrap(),
            "clean\n",
            "{shell:?}: TERM came once"
        );
        assert_eq!(runs.state(&rude), "RUNNING", "{shell:?}");
        let stop = runs.run(&rude, "stop").unwrap();
        assert!(stop.starts_with("anna%20b 20") && stop.contains("Z 0 40\n"), "{stop}");
        // The same again does not begin anew; a shorter one takes its place.
        assert_eq!(told(&runs.stop(&rude, 0, 40)), (Word::Stopping, "RUNNING"), "{shell:?}");
        assert_eq!(runs.run(&rude, "stop").unwrap(), stop, "{shell:?}");
        assert_eq!(told(&runs.stop(&rude, 0, 1)), (Word::Stopping, "RUNNING"), "{shell:?}");
        assert_eq!(runs.ended(&rude), "DONE 137", "{shell:?}");
        let again = runs.stop(&rude, 0, 1);
        assert_eq!((told(&again), again.detail.as_str()), ((Word::Done, "DONE 137"), "unchanged"), "{shell:?}");
    }
}

#[test]
fn a_drain_and_a_critical_file_put_the_end_off() {
    for shell in Shell::all() {
        let runs = Runs::new(shell);
        let (slow, busy, done) = (token(), token(), token());
        for one in [&slow, &busy] {
            let text = "[ ! \"$CRITICAL\" ] || : >\"$FACTORY_HOME/runs/$FACTORY_RUN/critical\"; : >\"$FACTORY_RUN\"; exec sleep 300";
            let mut job = script(one, text);
            if one == &busy {
                job.env.insert("CRITICAL".into(), "1".into());
            }
            assert_eq!(told(&runs.launch(job)), (Word::Done, "RUNNING"), "{shell:?}");
            until("it is up", || runs.dir.path().join(one).exists());
        }
        let waits = "until [ -e go ]; do sleep 0.05; done";
        assert_eq!(told(&runs.launch(script(&done, waits))), (Word::Done, "RUNNING"), "{shell:?}");
        let critical = |critical| {
            let mut stop = stop(Stopped::Run(busy.clone()), 0, 0);
            stop.critical = critical;
            told(&runs.op(7, Op::Stop(stop))).0
        };
        assert_eq!(told(&runs.stop(&slow, 600, 0)).0, Word::Stopping, "{shell:?}");
        assert_eq!(told(&runs.stop(&done, 600, 0)).0, Word::Stopping, "{shell:?}");
        assert_eq!(critical(true), Word::Stopping, "{shell:?}");
        std::fs::write(runs.dir.path().join("go"), "").unwrap();
        assert_eq!(runs.ended(&done), "DONE 0", "{shell:?}: a drain lets it end by itself");
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!((runs.state(&slow).as_str(), runs.state(&busy).as_str()), ("RUNNING", "RUNNING"), "{shell:?}");
        // An old one asks for nothing more.
        let old = std::time::SystemTime::now() - Duration::from_secs(301);
        let file = std::fs::File::options().write(true).open(runs.at(&format!("runs/{busy}/critical"))).unwrap();
        file.set_modified(old).unwrap();
        assert_eq!(runs.ended(&busy), "DONE 137", "{shell:?}");
        assert_eq!(runs.ended_now(&slow), "DONE 137", "{shell:?}");
    }
}

#[test]
fn how_long_a_critical_file_puts_the_end_off_is_the_policys_to_say() {
    for shell in Shell::all() {
        let mut runs = Runs::new(shell);
        let (short, long) = (token(), token());
        for one in [&short, &long] {
            let text = ": >\"$FACTORY_HOME/runs/$FACTORY_RUN/critical\"; : >\"$FACTORY_RUN\"; exec sleep 300";
            assert_eq!(told(&runs.launch(script(one, text))), (Word::Done, "RUNNING"), "{shell:?}");
            until("it is up", || runs.dir.path().join(one).exists());
            // Six minutes old: by the default it asks for nothing more.
            let file = std::fs::File::options().write(true).open(runs.at(&format!("runs/{one}/critical"))).unwrap();
            file.set_modified(std::time::SystemTime::now() - Duration::from_secs(360)).unwrap();
        }
        for (one, minutes) in [(&short, 5), (&long, 10)] {
            runs.0.numbers.critical = Span(Duration::from_secs(60 * minutes));
            let mut stop = stop(Stopped::Run(one.clone()), 0, 0);
            stop.critical = true;
            assert_eq!(told(&runs.op(7, Op::Stop(stop))).0, Word::Stopping, "{shell:?}");
        }
        assert_eq!(runs.ended(&short), "DONE 137", "{shell:?}");
        assert_eq!(runs.state(&long), "RUNNING", "{shell:?}");
        assert_eq!(told(&runs.stop(&long, 0, 0)), (Word::Done, "DONE 137"), "{shell:?}");
    }
}

/// Programs that get away from who started them, each as the text of a script; with it what is left when the script ends.
fn escapes() -> Vec<(&'static str, String, bool)> {
    let mut all = vec![
        ("ignores TERM", "trap '' TERM; : >up; while :; do sleep 0.1; done".to_owned(), false),
        ("forks twice", "(trap '' TERM; (sleep 300 & : >up) & wait); exit 0".to_owned(), true),
        ("setsid", "setsid sh -c 'trap \"\" TERM; : >up; while :; do sleep 0.1; done' & exit 0".to_owned(), true),
        ("closes its descriptors", "setsid sh -c ': >up; exec sleep 300' 7>&- >&- 2>&- <&- & exit 0".to_owned(), true),
        ("leaves a pipe open", "sleep 300 | cat & : >up; exit 0".to_owned(), true),
        ("waits in another group", ": >up; timeout 300 sleep 300".to_owned(), false),
        ("clears its environment", "env -i sh -c ': >up; exec sleep 300' 7>&- & exit 0".to_owned(), true),
    ];
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok_and(|out| out.status.success());
    let python =
        "import os,subprocess\nsubprocess.Popen(['sleep','300'],start_new_session=True,close_fds=True)\nopen('up','w')";
    let node = "require('child_process').spawn('sleep',['300'],{detached:true,stdio:'ignore'}).unref();\
                require('fs').writeFileSync('up','')";
    for (program, flag, text) in [("/usr/bin/python3", "-c", python), ("/usr/bin/node", "-e", node)] {
        if there(program) {
            all.push((program, format!("{program} {flag} \"{text}\""), true));
        } else {
            let _ = writeln!(std::io::stderr(), "left out: children of {program}, which is not installed");
        }
    }
    all
}

#[test]
fn whatever_a_run_leaves_is_told_of_and_ended() {
    for shell in Shell::all() {
        let runs = Runs::new(shell);
        let all: Vec<_> = escapes().into_iter().map(|(name, text, leaves)| (token(), name, text, leaves)).collect();
        for (one, name, text, _) in &all {
            let dir = runs.dir.path().join(one);
            std::fs::create_dir(&dir).unwrap();
            let mut job = script(one, text);
            job.dir = Some(dir.display().to_string());
            assert_eq!(told(&runs.launch(job)).0, Word::Done, "{shell:?} {name}");
        }
        for (one, name, _, leaves) in &all {
            until(name, || runs.dir.path().join(one).join("up").exists());
            until(name, || !leaves || runs.run(one, "rc").is_some());
        }
        let states =
            || runs.op(7, Op::Seal).runs.into_iter().map(|run| (run.token, run.state)).collect::<BTreeMap<_, _>>();
        let now = states();
        for (one, name, _, leaves) in &all {
            assert_eq!(now[one], if *leaves { "DONE 0 LEFTOVER" } else { "RUNNING" }, "{shell:?} {name}");
            assert_eq!(runs.run(one, "empty"), None, "{shell:?} {name}");
        }
        assert_eq!(told(&runs.launch(script(&all[1].0, "echo x"))), (Word::Exists, "DONE 0 LEFTOVER"), "{shell:?}");
        for (one, name, ..) in &all {
            assert_eq!(told(&runs.stop(one, 0, 1)).0, Word::Stopping, "{shell:?} {name}");
        }
        for (one, name, ..) in &all {
            until(name, || runs.run(one, "empty").is_some());
        }
        let now = states();
        for (one, name, ..) in &all {
            assert!(now[one].starts_with("DONE ") && !now[one].ends_with("LEFTOVER"), "{shell:?} {name}: {}", now[one]);
            assert!(alive(one).is_empty(), "{shell:?} {name}");
        }
    }
}

/// A process as cron starts one: leads its session, has no terminal, and a child in another process group.
fn foreign(dir: &std::path::Path, text: &str) -> (std::process::Child, u64) {
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", text]).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.spawn().unwrap();
    until("it is up", || dir.join("up").exists());
    let start = began(child.id());
    (child, start)
}

fn began(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap()
}

#[test]
fn a_process_that_we_did_not_start_goes_with_its_session_and_tree() {
    for shell in Shell::all() {
        let runs = Runs::new(shell);
        let dir = tempfile::tempdir().unwrap();
        let mark = format!("dev-agent.sh-{}", token());
        // The script cleans up and ends; its model call lives on in a group of its own and hears nothing.
        let text = format!(
            "trap 'echo cleaned >>log; exit' TERM; MARK={mark} timeout 7200 sh -c 'trap \"\" TERM; : >up; while :; do \
             sleep 0.1; done # model' & setsid sleep 7201 & wait # {mark}"
        );
        let (mut child, start) = foreign(dir.path(), &text);
        let pid = child.id();
        let asked = |pid, start, text: &str, grace| {
            let what = Stopped::Process { pid, start, text: text.into() };
            let ask = || runs.op(7, Op::Stop(stop(what.clone(), 0, grace)));
            let mut answer = ask();
            // At once is as soon as this machine comes to it.
            until("all of it is killed", || {
                if grace == 0 && answer.word == Word::Stopping {
                    answer = ask();
                }
                grace > 0 || answer.word != Word::Stopping
            });
            (answer.word, answer.detail)
        };
        let tree = || {
            let out = Command::new("ps").args(["-eo", "pid=,args="]).output().unwrap();
            let out = String::from_utf8(out.stdout).unwrap();
            let of_it = |line: &str| line.contains(&mark) || line.contains("sleep 7201") || line.contains("# model");
            out.lines().filter(|line| of_it(line)).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(asked(pid, start + 1, &mark, 1), (Word::Done, "unchanged".into()), "{shell:?}");
        let (word, detail) = asked(pid, start, "another-text", 1);
        assert_eq!(word, Word::Failed, "{shell:?}");
        assert!(detail.contains("is another"), "{detail}");
        assert!(tree().len() >= 3 && child.try_wait().unwrap().is_none());
        assert_eq!(asked(pid, start, &mark, 1).0, Word::Stopping, "{shell:?}");
        child.wait().unwrap();
        until("all of it is gone", || tree().is_empty());
        assert_eq!(std::fs::read_to_string(dir.path().join("log")).unwrap(), "cleaned\n", "{shell:?}");
        assert_eq!(asked(pid, start, &mark, 1), (Word::Done, "unchanged".into()), "{shell:?}");

        // At once.
        std::fs::remove_file(dir.path().join("up")).unwrap();
        let (mut child, start) = foreign(dir.path(), &text);
        let pid = child.id();
        let reaped = std::thread::spawn(move || child.wait().unwrap());
        let (word, detail) = asked(pid, start, &mark, 0);
        assert_eq!(word, Word::Done, "{shell:?}");
        if detail == "unchanged" {
            // It was asked for again, and the one by which the rest is known was dead by then.
            until("all of it is gone", || tree().is_empty());
        }
        assert!(tree().is_empty(), "{shell:?}: {:?}", tree());
        reaped.join().unwrap();

        // A daemon, and another job of its session, are not the agent's.
        std::fs::remove_file(dir.path().join("up")).unwrap();
        let jobs = format!("sleep 7202 & sh -c 'echo $$ >job; : >up; sleep 7203; : {mark}' & wait");
        let (mut daemon, _) = foreign(dir.path(), &jobs);
        let pid: u32 = std::fs::read_to_string(dir.path().join("job")).unwrap().trim().parse().unwrap();
        assert_eq!(asked(pid, began(pid), &mark, 0).0, Word::Done, "{shell:?}");
        let left = Command::new("ps").args(["-o", "args=", "-s", &daemon.id().to_string()]).output().unwrap().stdout;
        let left = String::from_utf8(left).unwrap();
        assert!(
            daemon.try_wait().unwrap().is_none()
                && left.contains("sleep 7202")
                && left.lines().all(|line| line.trim() != "sleep 7203"),
            "{left}"
        );
        let _ = Command::new("sh").args(["-c", &format!("kill -9 -{}", daemon.id())]).status().unwrap();
        daemon.wait().unwrap();

        // One of our own is stopped by its token.
        let one = token();
        assert_eq!(told(&runs.launch(script(&one, "echo $$ >pid; sleep 300"))).1, "RUNNING");
        until("it is up", || runs.dir.path().join("pid").metadata().is_ok_and(|data| data.len() > 1));
        let pid = std::fs::read_to_string(runs.dir.path().join("pid")).unwrap().trim().parse().unwrap();
        let (word, detail) = asked(pid, began(pid), "sleep 300", 1);
        assert_eq!((word, detail), (Word::Failed, format!("process {pid} is of run {one}")), "{shell:?}");
        assert_eq!(runs.state(&one), "RUNNING", "{shell:?}");
    }
}

#[test]
fn a_persons_own_process_of_the_same_name_is_left_alone() {
    if Command::new("script").arg("--version").output().is_err() {
        let _ = writeln!(std::io::stderr(), "left out: a person's own process, since script is not installed");
        return;
    }
    for shell in Shell::all() {
        let runs = Runs::new(shell);
        let mark = format!("dev-agent.sh-{}", token());
        let text = format!("sh -c 'echo $$ >pid; sleep 300; : # {mark}'");
        let mut person = Command::new("script");
        person.args(["-qc", &text, "/dev/null"]).current_dir(runs.dir.path()).stdout(Stdio::null());
        let mut person = person.stdin(Stdio::piped()).spawn().unwrap();
        until("it is up", || runs.dir.path().join("pid").metadata().is_ok_and(|data| data.len() > 1));
        let pid: u32 = std::fs::read_to_string(runs.dir.path().join("pid")).unwrap().trim().parse().unwrap();
        let what = Stopped::Process { pid, start: began(pid), text: mark.clone() };
        let answer = runs.op(7, Op::Stop(stop(what, 0, 0)));
        assert_eq!(answer.word, Word::Failed, "{shell:?}");
        assert!(answer.detail.contains("has a terminal"), "{}", answer.detail);
        std::thread::sleep(Duration::from_millis(300));
        assert!(person.try_wait().unwrap().is_none() && std::fs::exists(format!("/proc/{pid}")).unwrap(), "{shell:?}");
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
        person.kill().unwrap();
        person.wait().unwrap();
    }
}
