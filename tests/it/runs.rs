//! Runs under each shell that is installed here: launched, told of, stopped and forgotten.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use factory::inventory::units::Span;
use factory::remote::guard::{Answer, Drop as Lift, Job, Op, Secrets, Stop, Stopped, Word};
use factory::remote::halt::{HaltFile, Kind};
use rustix::process::{Pid, Signal, kill_process};

use super::guard::{FLEET, Login, Shell, call, dev, feed, halt, line, read, resume, walk};
use super::support::program_file;

/// A token that no other test has: whoever has it in its environment is of the run.
pub fn token() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let day = jiff::Timestamp::now().strftime("%Y%m%d");
    format!("{day}-{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

pub fn job(token: &str, argv: &[&str]) -> Job {
    Job {
        token: token.into(),
        task: "harb#12".into(),
        repo: "harb".into(),
        agent: "dev".into(),
        attempt: 1,
        argv: argv.iter().map(|arg| (*arg).to_owned()).collect(),
        dir: None,
        env: BTreeMap::new(),
        secrets: Secrets::default(),
        time_limit: Duration::from_secs(600),
        memory: 0,
        means: vec![],
        practices: None,
    }
}

/// A job of one shell text.
pub fn script(token: &str, text: &str) -> Job {
    job(token, &["/bin/sh", "-c", text])
}

/// Looks until it is so; fails after a time that no machine needs.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(180), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A login whose runs end with it.
pub struct Runs(pub Login);

impl std::ops::Deref for Runs {
    type Target = Login;
    fn deref(&self) -> &Login {
        &self.0
    }
}

impl Runs {
    pub fn new(shell: Shell) -> Runs {
        Runs(Login::new(shell))
    }

    #[track_caller]
    pub fn launch(&self, job: Job) -> Answer {
        self.op(7, Op::Launch(Box::new(job)))
    }

    #[track_caller]
    pub fn cancel(&self, token: &str) -> Answer {
        self.op(7, Op::Cancel { token: token.into() })
    }

    #[track_caller]
    pub fn stop(&self, token: &str, drain: u64, kill_after: u64) -> Answer {
        let what = Stopped::Run(token.into());
        self.op(7, Op::Stop(stop(what, drain, kill_after)))
    }

    /// Stops a run at once; its state. A call waits for a moment only, which on a slow machine may be too short to die in:
    /// then it is asked for again.
    #[track_caller]
    pub fn ended_now(&self, token: &str) -> String {
        let mut answer = self.stop(token, 0, 0);
        until("all of it is killed", || {
            if answer.word == Word::Stopping {
                answer = self.stop(token, 0, 0);
            }
            answer.word != Word::Stopping
        });
        let (word, state) = told(&answer);
        assert_eq!(word, Word::Done, "{}", answer.detail);
        state.to_owned()
    }

    /// The state of one run, by a seal.
    #[track_caller]
    pub fn state(&self, token: &str) -> String {
        let answer = self.op(7, Op::Seal);
        assert_eq!(answer.word, Word::Done, "{}", answer.detail);
        answer.runs.iter().find(|run| run.token == token).map(|run| run.state.clone()).unwrap_or_default()
    }

    pub fn run(&self, token: &str, name: &str) -> Option<String> {
        self.text(&format!("runs/{token}/{name}"))
    }

    /// The state of a run that has ended; what was killed with it may take a moment to die.
    #[track_caller]
    pub fn ended(&self, token: &str) -> String {
        until("the run ends", || self.run(token, "rc").is_some());
        until("all of it ends", || !self.state(token).ends_with("LEFTOVER"));
        self.state(token)
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        let Ok(runs) = std::fs::read_dir(self.at("runs")) else { return };
        for run in runs.flatten() {
            let Some(token) = run.file_name().to_str().map(str::to_owned) else { continue };
            for pid in alive(&token) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

pub fn stop(what: Stopped, drain: u64, kill_after: u64) -> Stop {
    Stop {
        what,
        by: "anna b".into(),
        drain: Duration::from_secs(drain),
        kill_after: Duration::from_secs(kill_after),
        critical: false,
    }
}

/// The processes in whose environment the token stands.
pub fn alive(token: &str) -> Vec<Pid> {
    let want = format!("FACTORY_RUN={token}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(environ) = std::fs::read(entry.path().join("environ")) else { continue };
        if environ.split(|b| *b == 0).any(|one| one == want.as_bytes()) {
            found.extend(Pid::from_raw(pid));
        }
    }
    found
}

/// The one run that an answer tells of.
#[track_caller]
pub fn told(answer: &Answer) -> (Word, &str) {
    let state = answer.runs.first().map_or("", |run| run.state.as_str());
    assert!(answer.runs.len() < 2);
    (answer.word, state)
}

#[test]
fn a_run_is_launched_once_and_its_end_is_told() {
    for shell in Shell::all() {
        let runs = Runs::new(shell);
        let one = token();
        let text = "echo out; echo err >&2; while [ ! -e go ]; do sleep 0.05; done; echo more; exit 7";
        assert_eq!(told(&runs.launch(script(&one, text))), (Word::Done, "RUNNING"), "{shell:?}");
        assert_eq!(told(&runs.launch(script(&one, text))), (Word::Exists, "RUNNING"), "{shell:?}");
        assert_eq!(told(&runs.cancel(&one)), (Word::Exists, "RUNNING"), "{shell:?}");
        std::fs::write(runs.dir.path().join("go"), "").unwrap();
        assert_eq!(runs.ended(&one), "DONE 7", "{shell:?}");
        assert_eq!(told(&runs.launch(script(&one, text))), (Word::Exists, "DONE 7"), "{shell:?}");
        assert_eq!(runs.run(&one, "out.log").as_deref(), Some("out\nmore\n"), "{shell:?}");
        assert_eq!(runs.run(&one, "err.log").as_deref(), Some("err\n"), "{shell:?}");
        let spec = runs.run(&one, "spec").unwrap();
        for line in
            ["fleet f1ee7", "task harb#12", "repo harb", "agent dev", "attempt 1", "limit 600", "by vps-1", "arg -c"]
        {
            assert!(spec.lines().any(|other| other == line), "{shell:?}: {line} is not in {spec}");
        }
        until("it is seen to be empty", || runs.run(&one, "empty").is_some());
    }
}

#[test]
fn a_run_sees_what_it_was_given_and_nothing_else() {
    let ignored = |status: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap()
    };
    // No shell can undo what was ignored before it began. SIGPIPE is ignored by this process only, not by its children.
    let before = ignored(&std::fs::read_to_string("/proc/self/status").unwrap()) & !(1 << 12);
    for shell in Shell::all() {
        let runs = Runs::new(shell);
        let one = token();
        let awkward: String =
            (1u8..128).map(char::from).chain("ünï \u{1f600} $(x) `x` \\\" '' \n\n'\n".chars()).collect();
        let secret = format!("s3cret-{one}-{awkward}");
        let text = "printf %s \"$PLAIN\" >plain; printf %s \"$SECRET\" >secret; printf %s \"$1\" >arg; tr '\\0' '\\n' \
                    </proc/self/environ >environ; pwd >where; grep SigIgn /proc/self/status >ignored; \
                    ls /proc/self/fd >fds; umask >umask; : >ready; while [ ! -e go ]; do sleep 0.05; done";
        let mut job = job(&one, &["sh", "-c", text, "sh", &awkward]);
        std::fs::create_dir(runs.dir.path().join("a dir")).unwrap();
        job.dir = Some("~/a dir".into());
        job.env = [("PLAIN".to_owned(), awkward.clone()), ("run".to_owned(), "x".to_owned())].into();
        job.secrets = Secrets([("SECRET".to_owned(), secret.clone().into())].into());
        assert!(!format!("{job:?}").contains("s3cret"));
        let call = call(FLEET, 7, "vps-1", Op::Launch(Box::new(job)));
        let program = runs.program(&call);
        assert!(!program.script.contains("s3cret") && !format!("{program:?}").contains("s3cret"));
        let mut command = runs.command(&program.script);
        command.env("LEAK", "1").env("LC_ALL", "C").env("FACTORY_RUN", "other");
        assert_eq!(told(&read(&feed(command, &program.stdin).wait_with_output().unwrap())), (Word::Done, "RUNNING"));
        let at = runs.dir.path().join("a dir");
        until("the agent is ready", || at.join("ready").exists());

        let text = |name: &str| std::fs::read_to_string(at.join(name)).unwrap();
        assert!(text("plain") == awkward && text("arg") == awkward && text("secret") == secret, "{shell:?}");
        let environ = text("environ");
        let names: Vec<&str> = environ.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        for name in ["LEAK", "LC_ALL", "GUARD", "OLDPWD"] {
            assert!(!names.contains(&name), "{shell:?}: {name} leaked in");
        }
        let home = runs.dir.path().display().to_string();
        for (name, want) in [
            ("HOME", home.as_str()),
            ("FACTORY_RUN", &one),
            ("FACTORY_HOME", &format!("{home}/.factory")),
            ("LANG", "C.UTF-8"),
            ("SHELL", "/bin/sh"),
            ("run", "x"),
            ("PATH", &format!("{home}/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")),
        ] {
            assert!(environ.lines().any(|line| line == format!("{name}={want}")), "{shell:?}: {name} in {environ}");
        }
        let me = Command::new("id").arg("-un").output().unwrap().stdout;
        let me = String::from_utf8(me).unwrap();
        for name in ["USER", "LOGNAME"] {
            assert!(environ.lines().any(|line| line == format!("{name}={}", me.trim())), "{shell:?}: {environ}");
        }
        assert_eq!(text("where"), format!("{}\n", at.display()));
        assert_eq!(ignored(&text("ignored")) & !before, 0, "{shell:?}");
        assert_eq!(text("umask").trim(), "0022", "{shell:?}");
        // Its three, the lock of its tree, and the directory that ls reads; a shell cannot close those of two digits.
        let fds: Vec<_> = ["0", "1", "2", "3", "7"].into();
        assert_eq!(text("fds").lines().filter(|fd| fd.len() == 1).collect::<Vec<_>>(), fds, "{shell:?}");

        // The wrapper has let go of what it was told them by.
        let stdin = std::fs::read_link(format!("/proc/{}/fd/0", wrapper(&runs, &one).as_raw_nonzero())).unwrap();
        assert_eq!(stdin.to_str(), Some("/dev/null"), "{shell:?}");
        // The secret is in the agent's memory, in what it wrote itself, and nowhere else.
        std::fs::remove_file(at.join("secret")).unwrap();
        std::fs::remove_file(at.join("environ")).unwrap();
        let mark = format!("s3cret-{one}");
        let holds = |bytes: &[u8]| bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
        walk(runs.dir.path(), &mut |path| {
            if path.file_name().is_some_and(|name| name != "guard.lock") {
                assert!(!holds(&std::fs::read(path).unwrap()), "{shell:?}: the secret is in {}", path.display());
            }
        });
        let own = alive(&one);
        assert!(!own.is_empty());
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let file = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
            assert!(!holds(&file("cmdline")), "{shell:?}: the secret is in the arguments of {pid}");
            let is_own = Pid::from_raw(pid).is_some_and(|pid| own.contains(&pid) || alive(&one).contains(&pid));
            assert!(is_own || !holds(&file("environ")), "{shell:?}: the secret is in the environment of {pid}");
        }
        std::fs::write(at.join("go"), "").unwrap();
        assert_eq!(runs.ended(&one), "DONE 0", "{shell:?}");
    }
}

#[test]
fn what_cannot_be_started_says_so() {
    for shell in Shell::all() {
        let runs = Runs::new(shell);
        std::fs::write(runs.dir.path().join("plain"), "").unwrap();
        let home = runs.dir.path().display().to_string();
        let plain = format!("{home}/plain");
        for (argv, dir, code, why) in [
            (vec!["true"], Some("/nowhere"), 127, "cannot enter the working directory /nowhere".to_owned()),
            (vec!["true"], Some("~/plain"), 126, format!("cannot enter the working directory {plain}")),
            (vec!["no-such"], None, 127, format!("cannot start no-such in {home}: it is not in PATH")),
            (vec!["./no-such"], None, 127, format!("cannot start ./no-such in {home}: it is not there")),
            (vec![&plain], None, 126, format!("cannot start {plain} in {home}: it is not executable")),
            (vec!["/"], None, 126, format!("cannot start / in {home}: it is not executable")),
        ] {
            let one = token();
            let mut job = job(&one, &argv);
            job.dir = dir.map(str::to_owned);
            assert_eq!(runs.launch(job).word, Word::Done, "{shell:?}");
            assert_eq!(runs.ended(&one), format!("DONE {code}"), "{shell:?} {argv:?}");
            let err = runs.run(&one, "err.log").unwrap();
            assert!(err.starts_with(&format!("factory: {why}")), "{shell:?}: {err}");
        }
    }
}

#[test]
fn what_is_held_is_not_launched() {
    for shell in Shell::all() {
        let runs = Runs::new(shell);
        let home = runs.dir.path().to_owned();
        let own = "~/a halt %41 'file'";
        std::fs::write(home.join("active"), "").unwrap();
        let one = token();
        let mut held = job(&one, &["true"]);
        held.means = vec![(false, own.into()), (true, "~/active".into())];
        let file = |name: &str| home.join(name.trim_start_matches("~/"));
        for (name, made) in
            [(".factory/halt/dev", true), (".factory/halt/dev@harb", true), (own, true), ("~/active", false)]
        {
            let set = |there: bool| {
                std::fs::create_dir_all(home.join(".factory/halt")).unwrap();
                if there { std::fs::write(file(name), "").unwrap() } else { std::fs::remove_file(file(name)).unwrap() }
            };
            set(made);
            let answer = runs.launch(held.clone());
            assert_eq!(told(&answer), (Word::Held, ""), "{shell:?} {name}");
            assert!(answer.detail.contains(file(name).to_str().unwrap()), "{shell:?}: {}", answer.detail);
            assert!(!runs.at(&format!("runs/{one}")).exists(), "{shell:?}");
            set(!made);
        }
        // Of another agent, and for another repo.
        for name in ["review", "dev@other", "dev2"] {
            runs.write(&format!("halt/{name}"), "");
        }
        assert_eq!(runs.launch(held).word, Word::Done, "{shell:?}");
        assert_eq!(runs.ended(&one), "DONE 0", "{shell:?}");
    }
}

fn day(ago: i64) -> String {
    let at = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * ago);
    at.strftime("%Y%m%d").to_string()
}

#[test]
fn a_token_has_a_real_day_that_is_not_long_ago() {
    for shell in Shell::all() {
        let runs = Runs::new(shell);
        let of = |day: &str| format!("{day}{}", token().split_off(8));
        for (day, word) in [
            (day(0), Word::Done),
            (day(13), Word::Done),
            (day(16), Word::Stale),
            ("20240229".into(), Word::Stale),
            ("20000229".into(), Word::Stale),
            ("20251231".into(), Word::Stale),
            ("20260229".into(), Word::Usage),
            ("21000229".into(), Word::Usage),
            ("20261301".into(), Word::Usage),
            ("20260431".into(), Word::Usage),
            ("20260400".into(), Word::Usage),
            ("20260008".into(), Word::Usage),
        ] {
            let one = of(&day);
            let answer = runs.launch(job(&one, &["true"]));
            assert_eq!(answer.word, word, "{shell:?} {one}: {}", answer.detail);
            assert_eq!(runs.at(&format!("runs/{one}")).exists(), word == Word::Done, "{shell:?} {one}");
        }
    }
}

/// Makes the wrapper's `ln` wait for the file `go`, and says so in the file `stalled`.
fn stall(runs: &Runs) {
    let text = "#!/bin/sh\nif [ ! \"$GUARD\" ]; then : >\"$HOME/stalled\"\nwhile [ ! -e \"$HOME/go\" ]; do sleep 0.05; done\n\
                fi\nPATH=/usr/bin:/bin exec ln \"$@\"\n";
    let _ = std::fs::remove_file(runs.dir.path().join("bin/ln"));
    program_file(&runs.dir.path().join("bin/ln"), text);
}

#[test]
fn what_is_halted_or_cancelled_while_its_launch_is_in_flight_never_begins() {
    // BusyBox calls its own ln.
    for shell in Shell::all().into_iter().filter(|shell| *shell != Shell::BusyBox) {
        let act = |way: &str, runs: &Runs, one: &str| match way {
            "halt" => runs.op(7, halt(dev(), line(Kind::Manual, "a1"))),
            "cancel" => runs.cancel(one),
            _ => runs.stop(one, 0, 30),
        };
        for way in ["halt", "cancel", "stop"] {
            let mut runs = Runs::new(shell);
            stall(&runs);
            runs.0.numbers.started = Span(Duration::from_millis(200));
            let (one, other) = (token(), token());
            let launched = told(&runs.launch(script(&one, "echo x >>began"))).0;
            assert_eq!(launched, Word::Unsure, "{shell:?} {way}");
            // One that the halt does not cover goes on.
            let mut free = script(&other, "echo x >>other");
            free.agent = "review".into();
            assert_eq!(told(&runs.launch(free)).0, Word::Unsure, "{shell:?} {way}");
            until("the wrapper is about to begin", || runs.dir.path().join("stalled").exists());
            assert_eq!(act(way, &runs, &one).word, Word::Done, "{shell:?} {way}");
            std::fs::write(runs.dir.path().join("go"), "").unwrap();
            assert_eq!(runs.ended(&other), "DONE 0", "{shell:?} {way}");
            runs.op(7, resume(dev(), Lift::Foreign));
            runs.op(7, resume(dev(), Lift::Line(Kind::Manual, "a1".into())));
            assert_eq!(
                told(&runs.launch(script(&one, "echo x >>began"))),
                (Word::Exists, "CANCELLED"),
                "{shell:?} {way}"
            );
            assert_eq!(runs.state(&one), "CANCELLED");
            assert!(!runs.dir.path().join("began").exists(), "{shell:?}: a run began after {way}");
        }
    }
}

/// The wrapper of a run, by its `started`.
pub fn wrapper(runs: &Runs, token: &str) -> Pid {
    let started = runs.run(token, "started").unwrap();
    Pid::from_raw(started.split(' ').next().unwrap().parse().unwrap()).unwrap()
}

#[test]
fn a_run_whose_wrapper_was_killed_is_crashed_and_never_launched_again() {
    for shell in Shell::all() {
        let runs = Runs::new(shell);
        let one = token();
        assert_eq!(told(&runs.launch(script(&one, "echo x >>began; sleep 300"))).1, "RUNNING", "{shell:?}");
        until("it is up", || runs.dir.path().join("began").exists());
        // It does not end by being told to.
        kill_process(wrapper(&runs, &one), Signal::TERM).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(runs.state(&one), "RUNNING", "{shell:?}");
        kill_process(wrapper(&runs, &one), Signal::KILL).unwrap();
        until("the kernel frees its lock", || runs.state(&one) != "RUNNING");
        assert_eq!(runs.state(&one), "CRASHED LEFTOVER", "{shell:?}");
        assert_eq!(told(&runs.launch(script(&one, "echo x >>began"))), (Word::Exists, "CRASHED LEFTOVER"), "{shell:?}");
        assert_eq!(runs.ended_now(&one), "CRASHED", "{shell:?}");
        assert_eq!(told(&runs.launch(script(&one, "echo x >>began"))), (Word::Exists, "CRASHED"), "{shell:?}");
        assert_eq!(std::fs::read_to_string(runs.dir.path().join("began")).unwrap(), "x\n", "{shell:?}");
        assert!(alive(&one).is_empty());
    }
}

#[test]
fn a_time_limit_holds_without_a_controller_and_without_a_wrapper() {
    for shell in Shell::all() {
        let mut runs = Runs::new(shell);
        runs.0.numbers.kill_after = Span(Duration::from_secs(1));
        let (one, deaf, orphan) = (token(), token(), token());
        for (token, text) in
            [(&one, "exec sleep 300"), (&deaf, "trap '' TERM; sleep 300; sleep 300"), (&orphan, "sleep 300")]
        {
            let mut job = script(token, text);
            job.time_limit = Duration::from_secs(2);
            assert_eq!(told(&runs.launch(job)).1, "RUNNING", "{shell:?}");
        }
        kill_process(wrapper(&runs, &orphan), Signal::KILL).unwrap();
        until("both are ended", || runs.run(&one, "empty").is_some() && runs.run(&deaf, "empty").is_some());
        assert_eq!((runs.state(&one).as_str(), runs.state(&deaf).as_str()), ("DONE 143", "DONE 137"), "{shell:?}");
        assert!(runs.run(&one, "stop").unwrap().starts_with("time%20limit "), "{shell:?}");
        until("the rest of the other is ended", || runs.state(&orphan) == "CRASHED");
        assert!(alive(&one).is_empty() && alive(&deaf).is_empty() && alive(&orphan).is_empty());
    }
}

#[test]
fn what_is_over_is_forgotten_in_time_and_never_launched_again() {
    for shell in Shell::all() {
        let mut runs = Runs::new(shell);
        let (one, other, alive, gone) = (token(), token(), token(), token());
        for (token, text) in [(&one, "echo abc; echo x >>began"), (&other, "echo abc"), (&alive, "echo abc; sleep 300")]
        {
            assert_eq!(runs.launch(script(token, text)).word, Word::Done, "{shell:?}");
        }
        runs.cancel(&gone);
        runs.ended(&one);
        runs.ended(&other);
        let gc = |runs: &Runs, fetched: Vec<(String, u64, u64)>| {
            let answer = runs.op(7, Op::Gc { fetched });
            assert_eq!(answer.word, Word::Done, "{shell:?} {}", answer.detail);
            answer.detail
        };
        let logs = |runs: &Runs, token: &str| runs.run(token, "out.log").is_some();
        // All of the first, not all of the others.
        gc(&runs, vec![(one.clone(), 4, 0), (other.clone(), 3, 9), (alive.clone(), 4, 0)]);
        assert_eq!((logs(&runs, &one), logs(&runs, &other), logs(&runs, &alive)), (false, true, true), "{shell:?}");
        assert_eq!((runs.state(&one), runs.state(&gone)), ("DONE 0".into(), "CANCELLED".into()), "{shell:?}");
        assert_eq!(told(&runs.launch(script(&one, "echo x >>began"))), (Word::Exists, "DONE 0"), "{shell:?}");
        assert_eq!(gc(&runs, vec![]), "unchanged", "{shell:?}");
        // However much was fetched: more than an environment or an argument takes.
        let many = token();
        runs.launch(script(&many, "echo abc"));
        runs.ended(&many);
        let others = (0..6000).map(|i| (format!("{}-{i:012}", day(0)), 1_000_000, 1_000_000));
        gc(&runs, others.chain([(many.clone(), 4, 0)]).collect());
        assert!(!logs(&runs, &many), "{shell:?}");
        // Never fetched, and old.
        runs.0.numbers.keep_logs = Span(Duration::ZERO);
        runs.0.numbers.keep_runs = Span(Duration::ZERO);
        std::thread::sleep(Duration::from_millis(1100));
        gc(&runs, vec![]);
        assert_eq!((logs(&runs, &other), logs(&runs, &alive)), (false, true), "{shell:?}");
        assert_eq!((runs.state(&one), runs.state(&alive)), ("DONE 0".into(), "RUNNING".into()), "{shell:?}");

        // What could be launched again if it were forgotten stays; what cannot goes.
        let old = |name: &str| format!("{}-{name}", day(20));
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let started = format!("1 2 {} 2026-03-12T13:18:47Z\n", boot.trim());
        for name in ["done", "crashed", "never"] {
            runs.write(&format!("runs/{}/spec", old(name)), "agent dev\nrepo harb\n");
            runs.write(&format!("runs/{}/wrapper.lock", old(name)), "");
            if name != "never" {
                runs.write(&format!("runs/{}/started", old(name)), &started);
            }
        }
        runs.write(&format!("runs/{}/rc", old("done")), "0\n2026-03-12T13:18:47Z\n");
        runs.write("runs/another-thing/file", "");
        std::thread::sleep(Duration::from_millis(1100));
        gc(&runs, vec![]);
        std::thread::sleep(Duration::from_millis(1100));
        gc(&runs, vec![]);
        let mut left: Vec<_> =
            std::fs::read_dir(runs.at("runs")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        let mut want: Vec<std::ffi::OsString> =
            [&one, &other, &alive, &gone, &many].into_iter().map(|token| token.clone().into()).collect();
        want.push("another-thing".into());
        want.sort();
        assert_eq!(left, want, "{shell:?}");
        for name in ["done", "crashed", "never"] {
            assert_eq!(told(&runs.launch(script(&old(name), "echo x >>began"))).0, Word::Stale, "{shell:?}");
        }
        assert_eq!(std::fs::read_to_string(runs.dir.path().join("began")).unwrap(), "x\n", "{shell:?}");
    }
}

#[test]
fn a_look_through_the_runs_that_was_not_made_whole_is_no_clean_one() {
    // BusyBox starts its own awk, whatever is in PATH.
    for shell in Shell::all().into_iter().filter(|shell| *shell != Shell::BusyBox) {
        let runs = Runs::new(shell);
        let one = token();
        runs.launch(script(&one, "echo abc"));
        runs.ended(&one);
        let awk = runs.dir.path().join("bin/awk");
        let text = "#!/bin/sh\ncase $* in *keep_runs=*) exit 126 ;; esac\nexec /usr/bin/awk \"$@\"\n";
        super::support::program_file(&awk, text);
        let answer = runs.op(7, Op::Gc { fetched: vec![(one.clone(), 4, 0)] });
        assert_eq!((answer.word, answer.detail.as_str()), (Word::Failed, "cannot look through the runs"), "{shell:?}");
        assert!(runs.run(&one, "out.log").is_some(), "{shell:?}");
    }
}

#[test]
fn a_halt_for_all_repos_covers_each_and_an_unknown_file_is_a_halt() {
    // The name of a halt file is its agent and its repo; both are as the launch names them.
    let runs = Runs::new(Shell::Dash);
    runs.op(7, halt(HaltFile::of("dev", "harb"), line(Kind::Auto, "a1")));
    let one = token();
    let mut other = job(&one, &["true"]);
    other.repo = "*".into();
    assert_eq!(runs.launch(other).word, Word::Done);
    assert_eq!(told(&runs.launch(job(&token(), &["true"]))).0, Word::Held);
    assert_eq!(runs.ended(&one), "DONE 0");
}
