//! Runs when things go wrong: callers race and die, wrappers are killed, many look on.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use factory::inventory::units::Span;
use factory::remote::guard::{self, Op, Word};
use factory::remote::probe;
use rustix::process::{Signal, kill_process};

use super::guard::{FLEET, Shell, call, feed};
use super::runs::{Runs, alive, script, stop, token, told, until, wrapper};
use super::support::program_file;

/// Numbers that look random and come again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// A run that says that it began, twice if its practices are not whole, and is soon over.
fn marks(token: &str) -> guard::Job {
    let text = "echo $$ >>began.$FACTORY_RUN; [ \"$(wc -l <\"$FACTORY_PRACTICES\")\" -eq 900 ] || \
                echo torn >>began.$FACTORY_RUN; sleep 0.1";
    guard::Job { practices: Some("a rule\n".repeat(900)), ..script(token, text) }
}

/// How often a run began.
fn beginnings(runs: &Runs, token: &str) -> usize {
    std::fs::read_to_string(runs.dir.path().join(format!("began.{token}"))).map_or(0, |text| text.lines().count())
}

#[test]
fn of_many_callers_who_die_at_random_none_starts_a_run_twice() {
    let shells = Shell::all();
    let homes: Vec<Runs> = shells.iter().map(|shell| Runs::new(*shell)).collect();
    let tokens: Vec<String> = (0..50).map(|_| token()).collect();
    let home = |at: usize| &homes[at % homes.len()];
    let killed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for seed in 0..6u64 {
            let (tokens, killed) = (&tokens, &killed);
            scope.spawn(move || {
                let mut dice = Dice(seed);
                for (at, one) in tokens.iter().enumerate() {
                    let launch = Op::Launch(Box::new(marks(one)));
                    let mut child = home(at).start(&call(FLEET, 7, "vps-1", launch));
                    // The guard, or the wrapper, dies in half of the calls.
                    if dice.below(2) == 0 {
                        std::thread::sleep(Duration::from_millis(dice.below(200)));
                        killed.fetch_add(1, Ordering::Relaxed);
                        if dice.below(3) > 0 {
                            child.kill().unwrap();
                        } else if home(at).run(one, "started").is_some() {
                            let _ = kill_process(wrapper(home(at), one), Signal::KILL);
                        }
                    }
                    child.wait_with_output().unwrap();
                }
            });
        }
    });
    assert!(killed.load(Ordering::Relaxed) > 100);
    for (at, one) in tokens.iter().enumerate() {
        let answer = home(at).launch(marks(one));
        assert!(matches!(answer.word, Word::Done | Word::Exists), "{one}: {:?} {}", answer.word, answer.detail);
        until("the run is over", || !matches!(home(at).state(one).as_str(), "RUNNING" | "CRASHED LEFTOVER"));
        let state = home(at).state(one);
        let count = beginnings(home(at), one);
        assert!(matches!(state.as_str(), "DONE 0" | "CRASHED"), "{one}: {state}");
        assert!(count == 1 || count == 0 && state == "CRASHED", "{one}: {state}, and began {count} times");
        let left: Vec<_> = std::fs::read_dir(home(at).at(&format!("runs/{one}"))).unwrap().flatten().collect();
        assert!(!left.iter().any(|entry| entry.file_name() == ".job"), "{one}: its secrets were left");
    }
}

#[test]
fn of_a_launch_and_a_cancel_that_race_one_wins() {
    let (launched, cancelled) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let shells = Shell::all();
    // Whether the launch won, which has this lead over the cancel, in ms.
    let race = |shell: Shell, lead: i64, runs: &Runs| {
        let one = token();
        let launch = || runs.start(&call(FLEET, 7, "vps-1", Op::Launch(Box::new(marks(&one)))));
        let cancel = || runs.start(&call(FLEET, 7, "vps-1", Op::Cancel { token: one.clone() }));
        let wait = || std::thread::sleep(Duration::from_millis(lead.unsigned_abs()));
        let children = if lead < 0 {
            let cancel = cancel();
            wait();
            [launch(), cancel]
        } else {
            let launch = launch();
            wait();
            [launch, cancel()]
        };
        let answers = children.map(|one| super::guard::read(&one.wait_with_output().unwrap()));
        let [launch, cancel] = answers.each_ref().map(told);
        match (launch, cancel) {
            ((Word::Done, _), (Word::Exists, state)) => {
                assert_ne!(state, "CANCELLED");
                launched.fetch_add(1, Ordering::Relaxed);
                until("it is over", || runs.run(&one, "rc").is_some());
                assert_eq!(beginnings(runs, &one), 1);
                true
            }
            ((Word::Exists, "CANCELLED"), (Word::Done, "CANCELLED")) => {
                cancelled.fetch_add(1, Ordering::Relaxed);
                assert_eq!(runs.run(&one, "rc"), None);
                assert_eq!(beginnings(runs, &one), 0);
                false
            }
            other => panic!("{shell:?}: {one}: {other:?}"),
        }
    };
    std::thread::scope(|scope| {
        for shell in &shells {
            scope.spawn(|| {
                let runs = Runs::new(*shell);
                // How long each takes on the way is this machine's matter: the lead goes to where either may win, in
                // steps that grow as long as one of them always does.
                let (mut lead, mut step, mut last) = (0, 1, true);
                for _ in 0..=100 / shells.len() {
                    let won = race(*shell, lead, &runs);
                    step = if won == last { step * 2 } else { 1 };
                    lead = (lead + if won { -step } else { step }).clamp(-2000, 2000);
                    last = won;
                }
            });
        }
    });
    let (launched, cancelled) = (launched.into_inner(), cancelled.into_inner());
    assert!(launched > 10 && cancelled > 10, "there was no race: {launched} against {cancelled}");
}

fn strace_runs() -> bool {
    let works =
        Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success());
    if !works {
        let _ = writeln!(std::io::stderr(), "left out: killing at every step, since strace does not run here");
    }
    works
}

/// Runs a guard under strace until it has ended. With those that it starts, strace would wait for what is detached too: it
/// is ended itself, and they go on untraced.
fn traced(runs: &Runs, log: &std::path::Path, inject: &str, follow: bool, program: &guard::Program) -> bool {
    let _ = std::fs::remove_file(log);
    let mut before = vec!["strace", "-q", "-o", log.to_str().unwrap(), "-e", inject];
    if follow {
        before.push("-f");
    }
    let mut command = runs.command_in(&before, &program.script);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut strace = feed(command, &program.stdin);
    let said = || std::fs::read_to_string(log).unwrap_or_default();
    // The first line is the guard's own: its process id, if there are others too.
    let over = || {
        let said = said();
        let mut lines = said.lines().map(|line| line.split_ascii_whitespace());
        let guard = lines.next().and_then(|mut line| line.next());
        guard.is_some() && lines.any(|mut line| line.next() == guard && line.next() == Some("+++"))
    };
    until("the guard ends", || strace.try_wait().unwrap().is_some() || follow && over());
    let _ = strace.kill();
    strace.wait().unwrap();
    said().contains("killed by SIGKILL")
}

/// Calls `kill` with one step after the other until it kills nobody: first of the shell alone, then of all that it starts;
/// of these, some have more steps than are worth a call.
fn each_step(stride: usize, kill: impl Fn(usize, bool) -> bool) -> usize {
    let alone = (1..400).step_by(stride).take_while(|step| kill(*step, false)).count();
    alone + (1..60).step_by(stride).take_while(|step| kill(*step, true)).count()
}

const STEPS: &str = "openat,write,rename,renameat,renameat2,link,linkat,unlink,unlinkat,fsync,syncfs,mkdir,execve,setsid,\
                     clone,clone3,fork,vfork,flock,dup2,dup3";

/// Every step of a guard that launches, and of those that it starts, is its last; the next launch does what is still to
/// be done, and nothing twice.
#[test]
fn a_guard_killed_at_any_step_of_a_launch_leaves_what_another_launch_mends() {
    if !strace_runs() {
        return;
    }
    for shell in Shell::all() {
        let runs = Runs::new(shell);
        runs.op(7, Op::Seal);
        let log = runs.dir.path().join("strace");
        let seen = each_step(if shell == Shell::Dash { 6 } else { 41 }, |step, follow| {
            let one = token();
            let program = runs.program(&call(FLEET, 7, "vps-1", Op::Launch(Box::new(marks(&one)))));
            let inject = format!("inject={STEPS}:signal=SIGKILL:when={step}");
            let killed = traced(&runs, &log, &inject, follow, &program);
            let what = format!("{shell:?}, step {step}, follow {follow}");
            let answer = runs.launch(marks(&one));
            let (word, state) = told(&answer);
            assert!(matches!(word, Word::Done | Word::Exists), "{what}: {word:?} {}", answer.detail);
            assert_ne!(state, "CREATED", "{what}");
            until(&what, || !matches!(runs.state(&one).as_str(), "RUNNING" | "CRASHED LEFTOVER" | "CREATED"));
            let (state, count) = (runs.state(&one), beginnings(&runs, &one));
            // Among what is followed is the wrapper.
            let crashed = follow && state == "CRASHED" && count < 2;
            assert!(crashed || state == "DONE 0" && count == 1, "{what}: {state}, began {count} times");
            assert_eq!(runs.run(&one, ".job"), None, "{what}");
            killed
        });
        assert!(seen > 1, "{shell:?}: only {seen} steps were seen");
    }
}

/// The wrapper and all that it starts, killed at every step of theirs.
#[test]
fn a_wrapper_killed_at_any_step_never_runs_its_command_twice() {
    if !strace_runs() {
        return;
    }
    // BusyBox starts its own sh, whatever stands before it in PATH.
    for shell in Shell::all().into_iter().filter(|shell| *shell != Shell::BusyBox) {
        let mut runs = Runs::new(shell);
        let patient = runs.numbers.started;
        runs.op(7, Op::Seal);
        let home = runs.dir.path().display().to_string();
        // The sh that the guard starts is the wrapper; those that the wrapper starts go on unharmed.
        let strace = Command::new("sh").args(["-c", "command -v strace"]).output().unwrap().stdout;
        let strace = String::from_utf8(strace).unwrap();
        let real = if shell == Shell::Bash { "bash --posix" } else { "dash" };
        let _ = std::fs::remove_file(runs.dir.path().join("bin/sh"));
        let text = format!(
            "#!/bin/dash\ncase $3 in */runs/*) [ -e '{home}/inject' ] || exec {real} \"$@\"\nread -r how <'{home}/inject'\n\
             rm -f '{home}/inject'\nexec {} -qq -o '{home}/strace' -e \"$how\" {real} \"$@\" ;; esac\nexec {real} \"$@\"\n",
            strace.trim()
        );
        program_file(&runs.dir.path().join("bin/sh"), &text);
        let (mut step, mut ends) = (1, BTreeMap::<String, usize>::new());
        let stride = if shell == Shell::Dash { 4 } else { 23 };
        loop {
            let one = token();
            std::fs::write(runs.dir.path().join("inject"), format!("inject={STEPS}:signal=SIGKILL:when={step}\n"))
                .unwrap();
            let what = format!("{shell:?}, step {step}");
            let _ = std::fs::remove_file(runs.dir.path().join("strace"));
            // Whoever was killed before it began says nothing, and is waited for no longer than this.
            runs.0.numbers.started = Span(Duration::from_millis(1500));
            let first = told(&runs.launch(marks(&one))).0;
            assert!(matches!(first, Word::Done | Word::Unsure), "{what}: {first:?}");
            until(&what, || std::fs::read_to_string(runs.dir.path().join("strace")).is_ok());
            runs.0.numbers.started = patient;
            let again = runs.launch(marks(&one));
            assert!(matches!(again.word, Word::Done | Word::Exists), "{what}: {:?} {}", again.word, again.detail);
            until(&what, || !matches!(runs.state(&one).as_str(), "RUNNING" | "CRASHED LEFTOVER" | "DONE 0 LEFTOVER"));
            let (state, count) = (runs.state(&one), beginnings(&runs, &one));
            assert!(count == 1 || count == 0 && state == "CRASHED", "{what}: {state}, began {count} times");
            assert!(matches!(state.as_str(), "DONE 0" | "CRASHED"), "{what}: {state}");
            *ends.entry(format!("{first:?} {state}")).or_default() += 1;
            let killed = std::fs::read_to_string(runs.dir.path().join("strace")).unwrap().contains("killed by SIGKILL");
            if !killed {
                break;
            }
            step += stride;
            assert!(step < 2000, "{what}: there is no end");
        }
        assert!(ends.len() > 1, "{shell:?}: {ends:?}");
    }
}

#[test]
fn a_guard_killed_at_any_step_of_a_stop_leaves_what_another_stop_mends() {
    if !strace_runs() {
        return;
    }
    for shell in Shell::all() {
        let runs = Runs::new(shell);
        runs.op(7, Op::Seal);
        let log = runs.dir.path().join("strace");
        let seen = each_step(if shell == Shell::Dash { 12 } else { 61 }, |step, follow| {
            let one = token();
            assert_eq!(told(&runs.launch(script(&one, "exec sleep 300"))).1, "RUNNING");
            let what = factory::remote::guard::Stopped::Run(one.clone());
            let program = runs.program(&call(FLEET, 7, "vps-1", Op::Stop(stop(what, 0, 1))));
            let inject = format!("inject={STEPS}:signal=SIGKILL:when={step}");
            let killed = traced(&runs, &log, &inject, follow, &program);
            let what = format!("{shell:?}, step {step}, follow {follow}");
            let word = told(&runs.stop(&one, 0, 1)).0;
            assert!(matches!(word, Word::Done | Word::Stopping), "{what}: {word:?}");
            until(&what, || runs.run(&one, "empty").is_some());
            let state = runs.state(&one);
            assert!(matches!(state.as_str(), "DONE 143" | "DONE 137"), "{what}: {state}");
            assert!(alive(&one).is_empty(), "{what}");
            killed
        });
        assert!(seen > 1, "{shell:?}: only {seen} steps were seen");
    }
}

/// Whoever looks, by the probe or by a seal, sees what is: a run of which it is known that it goes on is RUNNING, one that
/// has ended well is DONE, and in between nothing else is seen.
#[test]
fn many_who_look_on_never_see_what_is_not() {
    for shell in Shell::all() {
        let runs = Runs::new(shell);
        let over = AtomicBool::new(false);
        let seen: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());
        let tokens: Vec<String> = (0..8).map(|_| token()).collect();
        let request = probe::Request { home: runs.at("").display().to_string(), ..probe::Request::default() };
        let request = probe::Request { home: request.home.trim_end_matches('/').to_owned(), ..request };
        let program = request.program().unwrap();
        let looks = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let before: Vec<String> = tokens.iter().map(|one| phase(&runs, one)).collect();
                        // A hundred who look at once leave time to others only if they are nice.
                        let look = runs.command_in(&["nice", "-n", "19"], &program.script);
                        let output = feed(look, &program.stdin).wait_with_output().unwrap();
                        let after: Vec<String> = tokens.iter().map(|one| phase(&runs, one)).collect();
                        let report = probe::parse(&output.stdout).unwrap();
                        looks.fetch_add(1, Ordering::Relaxed);
                        for run in report.runs.unwrap() {
                            let at = tokens.iter().position(|one| *one == run.token).unwrap();
                            // What it was before and after is all that it may be.
                            let may = |state: &str| {
                                let order = ["CREATED", "RUNNING", "DONE 5"];
                                let place = |state: &str| order.iter().position(|one| *one == state).unwrap();
                                order.contains(&state)
                                    && (place(&before[at])..=place(&after[at])).contains(&place(state))
                            };
                            if !may(&run.state) {
                                let told = format!("{} between {} and {}", run.state, before[at], after[at]);
                                seen.lock().unwrap().push((run.token, told));
                            }
                        }
                    }
                });
            }
            for one in &tokens {
                assert_eq!(told(&runs.launch(script(one, "sleep 0.3; exit 5"))).0, Word::Done, "{shell:?}");
            }
            for one in &tokens {
                until("it ends", || runs.run(one, "rc").is_some());
            }
            until("they looked on", || looks.load(Ordering::Relaxed) > 200);
            over.store(true, Ordering::Relaxed);
        });
        let seen = seen.into_inner().unwrap();
        assert!(seen.is_empty(), "{shell:?}: {seen:?}");
    }
}

/// Where it takes long until what the wrapper starts has left its session: not even then is that taken for what the command
/// has left.
#[test]
fn what_a_wrapper_starts_to_end_itself_is_not_left_over() {
    for shell in Shell::all().into_iter().filter(|shell| *shell != Shell::BusyBox) {
        let runs = Runs::new(shell);
        runs.op(7, Op::Seal);
        let setsid = Command::new("sh").args(["-c", "command -v setsid"]).output().unwrap().stdout;
        let setsid = String::from_utf8(setsid).unwrap();
        let slow = runs.dir.path().join("slow");
        let text = format!("#!/bin/sh\n[ ! -e {} ] || sleep 1\nexec {} \"$@\"\n", slow.display(), setsid.trim());
        program_file(&runs.dir.path().join("bin/setsid"), &text);
        let one = token();
        assert_eq!(told(&runs.launch(script(&one, "sleep 1; exit 5"))).0, Word::Done, "{shell:?}");
        std::fs::write(&slow, "").unwrap();
        until("it ends", || runs.run(&one, "rc").is_some());
        for _ in 0..5 {
            assert_eq!(runs.state(&one), "DONE 5", "{shell:?}");
        }
    }
}

/// What a run surely is, by its files alone.
fn phase(runs: &Runs, token: &str) -> String {
    if runs.run(token, "rc").is_some() {
        return "DONE 5".into();
    }
    if runs.run(token, "started").is_some() { "RUNNING".into() } else { "CREATED".into() }
}
