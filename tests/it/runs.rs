//! Runs under each shell that is installed here: launched, told of, stopped and forgotten.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
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
            [&one, &other, &alive, &gone].into_iter().map(|token| token.clone().into()).collect();
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
