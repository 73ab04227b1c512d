//! The probe's program under each shell that is installed here: what it says is true, whatever it meets.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use factory::remote::probe::{self, Garbled, Program, Report, Request};
use factory::ssh::exec;

use super::support::program_file;

/// The shells that are installed here, each as the words that run a program text.
pub fn shells() -> Vec<Vec<&'static str>> {
    let known = [vec!["dash", "-c"], vec!["bash", "-c"], vec!["busybox", "sh", "-c"], vec!["/bin/sh", "-c"]];
    let there = |shell: &Vec<&str>| {
        let works = Command::new(shell[0]).args(&shell[1..]).arg(":").status().is_ok_and(|status| status.success());
        if !works {
            let _ = writeln!(std::io::stderr(), "left out: the probe under {0}, which is not installed", shell[0]);
        }
        works
    };
    known.into_iter().filter(there).collect()
}

/// Runs the program under one shell.
fn run(shell: &[&str], request: &Request, change: impl FnOnce(&mut Command)) -> Vec<u8> {
    let Program { script, stdin } = request.program().unwrap();
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    change(&mut command);
    let mut child = command.spawn().unwrap();
    // A program that was told all does not read.
    let _ = child.stdin.take().unwrap().write_all(&stdin);
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{shell:?}: {} {errors}", output.status);
    output.stdout
}

fn ask(shell: &[&str], request: &Request, change: impl FnOnce(&mut Command)) -> Report {
    probe::parse(&run(shell, request, change)).unwrap()
}

fn proc(path: &str) -> String {
    std::fs::read_to_string(Path::new("/proc").join(path)).unwrap()
}

fn meminfo(name: &str) -> u64 {
    let text = proc("meminfo");
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn each_shell_tells_the_truth_about_this_machine() {
    let home = tempfile::tempdir().unwrap();
    let request = Request { home: home.path().to_str().unwrap().into(), ..Request::default() };
    for shell in shells() {
        let uptime = |text: &str| text.split(' ').next().unwrap().parse::<f64>().unwrap();
        let before = uptime(&proc("uptime"));
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let report = ask(&shell, &request, |_| ());
        let after = uptime(&proc("uptime"));
        let mem = report.mem.unwrap();
        assert_eq!(mem.total, Some(meminfo("MemTotal:")), "{shell:?}");
        assert!(mem.available.unwrap() > 0 && mem.available <= mem.total, "{shell:?}: {mem:?}");
        assert_eq!(report.swap.unwrap().total, Some(meminfo("SwapTotal:")), "{shell:?}");
        assert_eq!(report.boot_id.as_deref(), Some(proc("sys/kernel/random/boot_id").trim()), "{shell:?}");
        assert_eq!(report.pids.unwrap().max, Some(proc("sys/kernel/pid_max").trim().parse().unwrap()), "{shell:?}");
        assert!((before..=after).contains(&report.uptime_s.unwrap()), "{shell:?}");
        assert!((report.clock.unwrap().0 - clock).abs() < 10.0, "{shell:?}");
        let status = proc("self/status");
        let mask = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed:")).unwrap();
        let allowed: u32 = mask.chars().filter_map(|c| c.to_digit(16)).map(u32::count_ones).sum();
        assert_eq!(report.cores, Some(u64::from(allowed)), "{shell:?}");
        let root = rustix::fs::statvfs("/").unwrap();
        let disks = report.disks.unwrap();
        assert_eq!((disks[0].path.as_str(), disks[0].total), ("/", Some(root.f_blocks * root.f_frsize)), "{shell:?}");
        assert!(disks[0].free.unwrap() < root.f_blocks * root.f_frsize);
        assert_eq!(report.runs, Some(vec![]), "{shell:?}");
        assert_eq!(report.found, Some(vec![]), "{shell:?}");
        assert_eq!(report.psi.is_some(), Path::new("/proc/pressure/cpu").exists(), "{shell:?}");
        let stat = report.cpu_ticks.unwrap();
        assert!(stat.total.unwrap() > 0 && stat.steal <= stat.total);
    }
}

#[test]
fn a_path_of_any_bytes_arrives_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let all: String = (1u8..=255).filter(|b| !b"/\n".contains(b)).map(char::from).collect();
    // A name is at most 255 bytes; the letters above 127 take two each.
    let names = [
        "$(touch pwned)",
        "`id`; x",
        " lead and trail ",
        "-rf",
        "'\"\\",
        "ünï",
        "*?[a-z]",
        all.get(..120).unwrap(),
        all.chars().skip(121).collect::<String>().get(..200).unwrap(),
    ]
    .map(|name| dir.path().join(name));
    for path in &names {
        std::fs::create_dir(path).unwrap();
    }
    let disks: Vec<String> = names.iter().map(|path| path.to_str().unwrap().to_owned()).collect();
    for shell in shells() {
        for home in &names {
            let halted = home.join("halt");
            std::fs::create_dir_all(&halted).unwrap();
            std::fs::write(halted.join("dev"), "").unwrap();
            let home = home.to_str().unwrap().to_owned();
            let report = ask(
                &shell,
                &Request { home: home.clone(), disks: disks.clone(), matches: vec![], ..Request::default() },
                |command| {
                    command.current_dir(dir.path());
                },
            );
            assert_eq!(report.home, Some(home), "{shell:?}");
            assert_eq!(report.found.unwrap().len(), 1, "{shell:?}");
            let seen = report.disks.unwrap();
            assert_eq!(seen.iter().map(|disk| &disk.path).collect::<Vec<_>>(), disks.iter().collect::<Vec<_>>());
            assert!(seen.iter().all(|disk| disk.free.is_some()), "{shell:?}: {seen:?}");
        }
        assert!(!dir.path().join("pwned").exists());
    }
}

#[test]
fn the_home_is_expanded_on_the_host() {
    let dir = tempfile::tempdir().unwrap();
    let at = |home: &str| {
        let request = Request { home: home.into(), ..Request::default() };
        ask(&["/bin/sh", "-c"], &request, |command| {
            command.env("HOME", dir.path());
        })
        .home
    };
    let path = dir.path().to_str().unwrap();
    assert_eq!(at("~"), Some(path.into()));
    assert_eq!(at("~/a b"), Some(format!("{path}/a b")));
    assert_eq!(at("/srv/~x"), Some("/srv/~x".into()));
    let request = Request::default();
    let report = ask(&["/bin/sh", "-c"], &request, |command| {
        command.env_remove("HOME");
    });
    assert_eq!(report.runs.is_some(), report.home.is_some());
}

#[test]
fn a_question_that_was_cut_off_is_refused() {
    let script = too_long().program().unwrap().script;
    for shell in shells() {
        for stdin in ["", "home ~\nmatch dev x", "home ~\nen"] {
            let mut command = Command::new(shell[0]);
            command.args(&shell[1..]).arg(&script).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(65), "{shell:?}");
            assert!(matches!(probe::parse(&output.stdout), Err(Garbled::Refused(_))), "{shell:?}");
        }
    }
}

/// A question that no command can hold.
fn too_long() -> Request {
    let matches = (0..1000).map(|i| ("dev".into(), format!("no such command line {i:09}"))).collect();
    Request { matches, ..Request::default() }
}

#[test]
fn a_question_too_long_for_a_command_goes_by_stdin() {
    for shell in shells() {
        let report = ask(&shell, &too_long(), |_| ());
        assert_eq!(report.running.unwrap()["dev"], 0, "{shell:?}");
        assert!(report.runs.is_some());
    }
    // As long as it may be it can still be sent.
    let mut request = too_long();
    while !request.program().unwrap().stdin.is_empty() {
        request.matches.pop();
    }
    assert!(request.matches.len() > 100, "{}", request.matches.len());
    let line = exec::line(request.program().unwrap().script.as_bytes()).unwrap();
    assert!(line.len() > 90 << 10, "{}", line.len());
    assert_eq!(ask(&["/bin/sh", "-c"], &request, |_| ()).running.unwrap()["dev"], 0);
}

#[test]
fn a_cut_program_is_no_program() {
    for request in [Request::default(), too_long()] {
        let Program { script, stdin } = request.program().unwrap();
        assert!(stdin.is_empty() == (request == Request::default()));
        assert!(script.len() < 20 << 10, "it is sent with every probe");
        assert!(script.is_ascii());
        let call = script.trim_end().rfind('\n').unwrap() + 1;
        let whole = script.rfind('}').unwrap();
        for cut in (0..call).step_by(331).chain(call..=whole) {
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(&script[..cut]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            let _ = child.stdin.take().unwrap().write_all(&stdin);
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.stdout, b"", "cut at {cut}");
        }
    }
}

#[test]
fn a_request_that_cannot_be_told_apart_is_refused() {
    let of = |home: &str, agent: &str, text: &str| {
        Request { home: home.into(), disks: vec![], matches: vec![(agent.into(), text.into())], ..Request::default() }
            .program()
    };
    let long = too_long().program().unwrap();
    assert!(String::from_utf8(long.stdin).unwrap().starts_with("home ~/.factory\nmatch dev no such command line 0"));
    let script = of("~/.factory", "dev", "dev-agent.sh 12").unwrap().script;
    assert!(!script.contains("dev-agent") && script.contains(r"\144\145\166\055\141"), "in octal alone");
    for path in ["", "relative", "~user/x", "./x"] {
        assert!(of(path, "dev", "x").is_err(), "{path}");
        assert!(Request { disks: vec![path.into()], ..Request::default() }.program().is_err(), "{path}");
    }
    for (home, agent, text) in [
        ("/a\nend", "dev", "x"),
        ("~", "", "x"),
        ("~", "d\u{e9}v", "x"),
        ("~", "d ev", "x"),
        ("~", "dev", ""),
        ("~", "dev", "a\0b"),
    ] {
        assert!(of(home, agent, text).is_err(), "{home:?} {agent:?} {text:?}");
    }
}

/// A program that lives until it is dropped, in a session of its own as one that cron started.
struct Process(std::process::Child);

impl Process {
    fn new(script: &str, text: &str) -> Process {
        let mut command = Command::new("setsid");
        command.args(["--wait", "sh", "-c", script, text]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        assert_eq!(line, "up\n");
        Process(child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It leads its session and group: what it started goes with it.
        let _ = rustix::process::kill_process_group(
            rustix::process::Pid::from_child(&self.0),
            rustix::process::Signal::KILL,
        );
        let _ = self.0.wait();
    }
}

#[test]
fn runs_are_counted_once_a_tree_and_never_the_probe_itself() {
    let me = format!("agent-of-{}", std::process::id());
    let text = |rest: &str| format!("{me} {rest}");
    let request = Request {
        home: "~".into(),
        disks: vec![],
        matches: vec![
            ("dev".into(), text("dev")),
            ("dev".into(), text("other name of dev")),
            ("review".into(), text("review")),
            ("probe".into(), text("probe")),
            ("none".into(), text("none")),
        ],
        ..Request::default()
    };
    let count = |shell: &[&str]| {
        let named = |command: &mut Command| {
            // The probe's own command line holds a text; BusyBox goes by its name, so there it keeps it.
            if shell[0] != "busybox" {
                std::os::unix::process::CommandExt::arg0(command, text("probe"));
            }
        };
        let running = ask(shell, &request, named).running.unwrap();
        ["dev", "review", "none", "probe"].map(|agent| running[agent])
    };
    for shell in shells() {
        assert_eq!(count(&shell), [0, 0, 0, 0], "{shell:?}");
    }
    let sleep = "echo up; sleep 60 & trap 'kill $!' TERM; wait";
    // The text stands in the shell, in a child of it and in a grandchild.
    let tree = r#"sh -c 'sh -c "echo up; sleep 60" "$0"; :' "$0"; :"#;
    let one = Process::new(sleep, &text("dev 12"));
    let two = Process::new(tree, &text("dev 13"));
    let three = Process::new(sleep, &text("other name of dev"));
    let _four = Process::new(sleep, &text("review\n  of a pull"));
    for shell in shells() {
        assert_eq!(count(&shell), [3, 1, 0, 0], "{shell:?}");
    }
    drop((one, two, three));
}

#[test]
fn what_stands_in_command_lines_of_probes_alone_is_nowhere() {
    let unique = format!("found-in-no-process-{}", std::process::id());
    // Words of the program itself, and of a question as it is written there.
    let texts = [
        unique.as_str(),
        "factory-probe 1",
        "Its question, an argument or",
        "[ $# -eq $((p + 1)) ] || return",
        "\\145\\156",
        "*",
        "$(:)",
    ];
    let matches = texts.iter().enumerate().map(|(i, text)| (format!("a{i}"), (*text).into())).collect();
    let request = Request { matches, ..Request::default() };
    let script = request.program().unwrap().script;
    for shell in shells() {
        // Two shells around the probe hold its program, in a session that is nobody's, as some login shells do; and
        // another probe looks at the same time.
        let around = "\"$@\" & \"$@\" >/dev/null; wait $!";
        let outer = ["--wait", "sh", "-c", around, "sh", "sh", "-c", "\"$@\"; exit $?", "sh"];
        let output =
            Command::new("setsid").args(outer).args(&shell).arg(&script).stdin(Stdio::null()).output().unwrap();
        let report = probe::parse(&output.stdout).unwrap();
        let counts: Vec<u64> = report.running.unwrap().into_values().collect();
        assert_eq!(counts[..5], [0; 5], "{shell:?}");
        assert_eq!(counts.len(), texts.len());
    }
}

#[test]
fn a_disk_that_never_answers_costs_seconds_and_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let df = dir.path().join("df");
    program_file(&df, "#!/bin/sh\ncase $* in */dead*) exec sleep 60 ;; esac\nPATH=${PATH#*:} exec df \"$@\"\n");
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let disks = ["/dead/1", "/", "/dead/2", "/dead/3"].map(String::from).to_vec();
    let begun = std::time::Instant::now();
    let home = dir.path().join("home").to_str().unwrap().to_owned();
    let request = Request { home, disks, matches: vec![], ..Request::default() };
    let report = ask(&["/bin/sh", "-c"], &request, |command| {
        command.env("PATH", path);
    });
    assert!(begun.elapsed().as_secs() < 30, "the dead ones are waited for side by side");
    let known: Vec<bool> = report.disks.unwrap().iter().map(|disk| disk.free.is_some()).collect();
    assert_eq!(known, [false, true, false, false]);
    assert!(report.runs.is_some());
}

#[test]
fn each_path_has_its_own_numbers_whatever_the_others_are() {
    let dir = tempfile::tempdir().unwrap();
    let full = |path: &str| rustix::fs::statvfs(path).map(|fs| (fs.f_blocks * fs.f_frsize, fs.f_files)).unwrap();
    let there = ["/dev", "/", "/proc", "/dev/shm", "/"].map(String::from).to_vec();
    let mut some = there.clone();
    some.insert(1, dir.path().join("missing").to_str().unwrap().into());
    // BusyBox's df may not know inodes, and others may fail in other ways.
    let stubborn = "#!/bin/sh\ncase $1 in -Pi) exit 1 ;; esac\nPATH=${PATH#*:} exec df \"$@\"\n";
    let short = "#!/bin/sh\nPATH=${PATH#*:} df \"$@\" | sed 2d\n";
    for (df, inodes) in [(None, true), (Some(stubborn), false), (Some(short), false)] {
        let path = dir.path().join("df");
        let _ = std::fs::remove_file(&path);
        if let Some(text) = df {
            program_file(&path, text);
        }
        let paths = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
        for (shell, disks) in shells().into_iter().flat_map(|shell| [(shell.clone(), &there), (shell, &some)]) {
            // It has a df of its own.
            if df.is_some() && shell[0] == "busybox" {
                continue;
            }
            let request = Request { disks: disks.clone(), ..Request::default() };
            let report = ask(&shell, &request, |command| {
                command.env("PATH", &paths);
            });
            let seen = report.disks.unwrap();
            for (disk, path) in seen.iter().zip(disks) {
                assert_eq!(&disk.path, path, "{shell:?}");
                let known = df != Some(short) && Path::new(path).exists();
                assert_eq!(disk.total, known.then(|| full(path).0), "{shell:?} {path} {df:?}");
                if !inodes || !known {
                    assert_eq!(disk.inodes_total, None, "{shell:?} {path} {df:?}");
                } else if let Some(total) = disk.inodes_total {
                    assert_eq!(total, full(path).1, "{shell:?} {path}");
                }
            }
            assert_eq!(seen.len(), disks.len());
        }
    }
}

/// Runs the probe with a home made by `make`, in the shell given.
fn with_home(shell: &[&str], make: impl FnOnce(&Path)) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let home: PathBuf = dir.path().join("home");
    std::fs::create_dir(&home).unwrap();
    make(&home);
    ask(shell, &Request { home: home.to_str().unwrap().into(), ..Request::default() }, |_| ())
}

#[test]
fn what_lies_in_the_home_is_told() {
    for shell in shells() {
        let report = with_home(&shell, |home| {
            for (name, text) in [("host-id", "a1b2\n"), ("fleet", "f00d"), ("epoch", "7 vps-1\n")] {
                std::fs::write(home.join(name), text).unwrap();
            }
            std::fs::create_dir(home.join("halt")).unwrap();
            std::fs::write(home.join("halt/dev"), "manual h2 anna%20b 2026-03-12T13:20:00Z - 7 -\n").unwrap();
            std::fs::write(home.join("halt/review@harb"), "").unwrap();
            std::fs::write(home.join("halt/line\nbreak"), "").unwrap();
            std::fs::create_dir_all(home.join("runs/20260312-a")).unwrap();
        });
        assert_eq!(report.host_id.as_deref(), Some("a1b2"), "{shell:?}");
        let fence = report.fence.unwrap();
        assert_eq!(
            (fence.fleet.as_deref(), fence.epoch, fence.holder.as_deref()),
            (Some("f00d"), Some(7), Some("vps-1"))
        );
        let found: Vec<_> = report.found.unwrap().into_iter().map(|f| (f.agent, f.repo, f.held, f.by)).collect();
        let want = [("dev", "*", true, Some("anna b")), ("review", "harb", true, None)];
        assert_eq!(found, want.map(|(a, r, h, by)| (a.into(), r.into(), h, by.map(Into::into))), "{shell:?}");
        let runs: Vec<_> = report.runs.unwrap().into_iter().map(|run| (run.token, run.state)).collect();
        assert_eq!(runs, [("20260312-a".into(), "CREATED".into())], "{shell:?}");
    }
}

#[test]
fn a_lock_that_is_held_is_a_run_that_lives() {
    for shell in shells() {
        let mut lock = None;
        let report = with_home(&shell, |home| {
            for token in ["held", "free", "ended"] {
                let run = home.join("runs").join(token);
                std::fs::create_dir_all(&run).unwrap();
                std::fs::write(
                    run.join("started"),
                    format!("1 2 {} 2026-03-12T13:18:47Z\n", proc("sys/kernel/random/boot_id").trim()),
                )
                .unwrap();
                std::fs::write(run.join("wrapper.lock"), "").unwrap();
            }
            std::fs::write(home.join("runs/ended/rc"), "137\n").unwrap();
            let file = std::fs::File::open(home.join("runs/held/wrapper.lock")).unwrap();
            file.lock().unwrap();
            lock = Some(file);
        });
        let runs: Vec<_> = report.runs.unwrap().into_iter().map(|run| (run.token, run.state)).collect();
        let want = [("ended", "DONE 137"), ("free", "CRASHED"), ("held", "RUNNING")];
        assert_eq!(runs, want.map(|(token, state)| (token.into(), state.into())), "{shell:?}");
    }
}

#[test]
fn a_pipe_or_a_huge_file_does_not_hold_the_probe_up() {
    for shell in shells() {
        let report = with_home(&shell, |home| {
            std::fs::create_dir_all(home.join("halt")).unwrap();
            std::fs::create_dir_all(home.join("runs/one")).unwrap();
            for name in ["epoch", "host-id", "halt/dev", "runs/one/started"] {
                assert!(Command::new("mkfifo").arg(home.join(name)).status().unwrap().success());
            }
            let huge = std::fs::File::create(home.join("halt/review")).unwrap();
            huge.set_len(1 << 40).unwrap();
        });
        assert_eq!((report.host_id, report.fence), (None, None), "{shell:?}");
        assert_eq!(report.found.unwrap().len(), 2, "{shell:?}");
        assert_eq!(report.runs.unwrap()[0].state, "UNKNOWN", "{shell:?}");
    }
}

#[test]
fn halts_that_lie_elsewhere_are_found_where_they_lie() {
    use factory::policy::hold::Sighting;
    use factory::remote::halt::HaltFile;
    use factory::remote::probe::Means;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir_all(dir.path().join("home/halt")).unwrap();
    std::fs::write(at("home/halt/dev"), "by hand\n").unwrap();
    std::fs::write(at("stop here"), "").unwrap();
    std::fs::write(at("on"), "x").unwrap();
    std::fs::write(at("off.factory-held"), "x").unwrap();
    let means = |agent: &str, repo: &str, name: &str, active| Means {
        agent: agent.into(),
        repo: repo.into(),
        path: at(name),
        active,
    };
    let means = vec![
        means("dev", "*", "stop here", false),
        means("dev", "harb", "not there", false),
        means("a", "*", "on", true),
        means("b", "*", "off", true),
        means("c", "harb", "gone", true),
    ];
    for shell in shells() {
        let request = Request { home: at("home"), means: means.clone(), ..Request::default() };
        let found = ask(&shell, &request, |_| ()).found.unwrap();
        let sighting = Sighting::of(&found);
        let files: Vec<(HaltFile, Vec<String>)> = sighting.files.into_iter().collect();
        let want = [(HaltFile::of("dev", "*"), vec!["by hand".to_owned()]), (HaltFile::Path(at("stop here")), vec![])];
        assert_eq!(files, want, "{shell:?}");
        let active: Vec<String> = sighting.active.iter().map(|(path, state)| format!("{path} {state:?}")).collect();
        let want = [("gone", "Gone"), ("off", "Hidden"), ("on", "Shown")];
        assert_eq!(active, want.map(|(name, state)| format!("{} {state}", at(name))), "{shell:?}");
    }
}

/// A `crontab` that lists this table; `None` for none at all.
fn crontab_in(dir: &Path, table: Option<&str>, says: &str) {
    let list = dir.join("table");
    let _ = std::fs::remove_file(&list);
    table.iter().for_each(|table| std::fs::write(&list, table).unwrap());
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = -l ] || exit 2\n[ -f {0} ] && exec cat {0}\necho {says} >&2\nexit 1\n",
        list.display()
    );
    program_file(&dir.join("bin/crontab"), &script);
}

#[test]
fn crontab_lines_are_counted_by_the_rules_of_the_editor() {
    use factory::remote::crontab::{Mark, look};
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home").to_str().unwrap().to_owned();
    let mark = |key: &str, text: &str| Mark { key: key.into(), text: text.into() };
    let crons = vec![
        mark("dev", "dev/dev-poll.sh"),
        mark("dev@harb", "a b"),
        mark("none", "nothing"),
        mark("takeover:x", "x.sh"),
    ];
    let held = "#factory:dev# 0 * * * * dev/dev-poll.sh\n";
    let tables = [
        String::new(),
        "FACTORY_ROOT=/srv\nPATH=/bin:dev/dev-poll.sh\n*/10 * * * * /srv/dev/dev-poll.sh\n".into(),
        format!("{held}{held}  5,15 1-3 * jan mon\t$ROOT/dev/dev-poll.sh >> log 2>&1 # a  b\n@reboot dev/dev-poll.sh"),
        // What only looks like one.
        "# 0 * * * * dev/dev-poll.sh\n \"x y\" = dev/dev-poll.sh\n'q'=dev/dev-poll.sh\n0 * * * dev/dev-poll.sh\n* * *\n\n\t\n#factory:dev# what dev/dev-poll.sh\n #factory:dev# 0 * * * * y\n#factory:# 0 * * * * y\n".into(),
        // Blocks, whole and not.
        format!("# BEGIN factory home\n0 * * * * x.sh\n{held}# END factory home \n-0 * * * * x.sh\n"),
        format!("# BEGIN factory home\n0 * * * * x.sh\n{held}# END factory away\n1 * * * * x.sh\n"),
        format!("# END factory home\n0 * * * * x.sh\n# BEGIN factory home\n1 * * * * x.sh\n# BEGIN factory home\n{held}# END factory home\n# BEGIN factory home\n2 * * * * x.sh"),
        "0 * * * * a b x.sh x.sh\r\n0 * * * * x.sh\n".into(),
    ];
    // Each shell, and BusyBox's awk.
    let path = std::env::var("PATH").unwrap();
    let bin = format!("{}/bin:{path}", dir.path().display());
    let mut ways: Vec<(Vec<&str>, String)> = shells().into_iter().map(|shell| (shell, bin.clone())).collect();
    if let Some(busybox) = path.split(':').map(|dir| Path::new(dir).join("busybox")).find(|path| path.exists()) {
        std::fs::create_dir_all(dir.path().join("awk")).unwrap();
        std::os::unix::fs::symlink(busybox, dir.path().join("awk/awk")).unwrap();
        ways.push((vec!["/bin/sh", "-c"], format!("{}/awk:{bin}", dir.path().display())));
    }
    for (shell, path) in ways {
        for table in &tables {
            crontab_in(dir.path(), Some(table), "");
            let request = Request { home: home.clone(), crons: crons.clone(), ..Request::default() };
            let report = ask(&shell, &request, |command| {
                command.env("PATH", &path);
            });
            let found = report.found.unwrap();
            let seen = |mark: &Mark| {
                let one = found.iter().find(|one| one.path.as_ref() == Some(&mark.key)).unwrap();
                assert_eq!(one.how, "cron");
                (one.live.unwrap() as usize, one.by.is_some())
            };
            let want: Vec<_> = look(table.as_bytes(), &crons).iter().map(|look| (look.live, look.held > 0)).collect();
            assert_eq!(crons.iter().map(seen).collect::<Vec<_>>(), want, "{shell:?}: {table:?}");
        }
        // Held under a key that nobody asked about: of an agent that was held so before.
        crontab_in(dir.path(), Some("#factory:old@harb# @daily x\n"), "");
        let there = |says: &str, crons: &[Mark], known: bool| {
            let request = Request { home: home.clone(), crons: crons.to_vec(), ..Request::default() };
            let report = ask(&shell, &request, |command| {
                command.env("PATH", &path);
            });
            let keys = report.found.unwrap().into_iter().map(|one| (one.agent, one.repo, one.held));
            let keys: Vec<_> = keys.collect();
            assert_eq!(!keys.is_empty(), known, "{shell:?}: {says}: {keys:?}");
            keys
        };
        let keys = there("", &crons[..1], true);
        assert!(keys.contains(&("old".into(), "harb".into(), true)), "{keys:?}");
        // Nobody asked, so nobody looks.
        there("", &[], false);
        for (says, known) in [
            ("no crontab for root", true),
            ("crontab: can\\'t open \\'root\\': No such file or directory", true),
            ("You \\(x\\) are not allowed to use this program \\(crontab\\)", false),
            ("crontab: can\\'t open \\'root\\': Permission denied", false),
        ] {
            crontab_in(dir.path(), None, says);
            there(says, &crons, known);
        }
    }
}
