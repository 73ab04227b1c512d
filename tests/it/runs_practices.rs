//! The practices of a run on its host, under each shell that is installed here: the file beside it, to the byte.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use factory::inventory::units::Span;
use factory::remote::guard::{Job, Op, Secrets, Word, program};

use super::guard::{FLEET, Shell, call};
use super::guard_files::on;
use super::lab;
use super::runs::{Runs, script, token, told, until};

/// A run that keeps what it was given, and says where it lay.
fn keeps(token: &str, practices: Option<&str>) -> Job {
    let text = "printf %s \"${FACTORY_PRACTICES-unset}\" >path; [ ! \"$FACTORY_PRACTICES\" ] || cat \"$FACTORY_PRACTICES\" >copy; : >ready";
    Job { practices: practices.map(str::to_owned), ..script(token, text) }
}

/// Whatever a shell, a program or our own forms could take for something else.
fn awkward() -> Vec<String> {
    let all: String = (1u8..=127).map(char::from).chain("ünï \u{1f600}\u{feff}\u{85}\u{2028}".chars()).collect();
    let repeated = ["'", "\"", "\\", "$", "`", "%", "&", "\t", "\r", "x "].map(|one| one.repeat(3));
    vec![
        all,
        repeated.join("\n"),
        "## Quotes\n\n'a' \"b\" `c` $(touch pwned) ${HOME} $x \\ \\n \\\\n \\c \\0101 \\x41 %s %% !! ~ * ?\n"
            .to_owned(),
        "end\nend\n\ntoken 20260312-x\njob='x'\nlimit 1\npractices x\nbegin factory-guard 1\nEOF\n'\n}\n\n".to_owned(),
        "one\r\ntwo\r\n\r\n".to_owned(),
        "no line break at the end".to_owned(),
        "\n".to_owned(),
        "\n\n\nfirst lines are empty, and last ones\n\n\n".to_owned(),
        " -n -e \\".to_owned(),
        "-n".to_owned(),
        "\\".repeat(9),
    ]
}

#[test]
fn practices_lie_beside_the_run_to_the_byte() {
    for shell in Shell::all() {
        let runs = Runs::new(shell);
        for practices in awkward() {
            let one = token();
            let shown: String = practices.chars().take(40).collect();
            let answer = runs.launch(keeps(&one, Some(&practices)));
            assert_eq!(answer.word, Word::Done, "{shell:?} {shown:?}: {}", answer.detail);
            assert_eq!(runs.ended(&one), "DONE 0", "{shell:?} {shown:?}");
            assert!(runs.run(&one, "practices.md").unwrap() == practices, "{shell:?} {shown:?}");
            let file = |name: &str| std::fs::read_to_string(runs.dir.path().join(name)).unwrap();
            let at = runs.at(&format!("runs/{one}/practices.md"));
            assert_eq!(file("path"), at.display().to_string(), "{shell:?}");
            assert!(file("copy") == practices, "{shell:?} {shown:?}");
            assert_eq!(std::fs::metadata(&at).unwrap().mode() & 0o7777, 0o600, "{shell:?}");
            assert!(!runs.dir.path().join("pwned").exists(), "{shell:?} {shown:?}");
        }
        // Without any there is neither.
        let one = token();
        assert_eq!(runs.launch(keeps(&one, None)).word, Word::Done, "{shell:?}");
        assert_eq!(runs.ended(&one), "DONE 0", "{shell:?}");
        assert_eq!(std::fs::read_to_string(runs.dir.path().join("path")).unwrap(), "unset", "{shell:?}");
        assert_eq!(runs.run(&one, "practices.md"), None, "{shell:?}");
    }
}

#[test]
fn a_million_bytes_arrive_whatever_they_are() {
    for shell in Shell::all() {
        let mut runs = Runs::new(shell);
        for (name, practices) in [
            ("text", "A sentence with `code`, \"quotes\" and it's over.\n".repeat((1 << 20) / 49)),
            ("one line", "x".repeat(1 << 20)),
            ("line breaks", "\n".repeat(1 << 20)),
            ("backslashes", "\\".repeat(1 << 20)),
        ] {
            let one = token();
            let launch = Op::Launch(Box::new(keeps(&one, Some(&practices))));
            let program = program(&call(FLEET, 7, "vps-1", launch), &runs.numbers).unwrap();
            assert!(program.script.len() < 120 << 10, "{}", program.script.len());
            let mut command = runs.command(&program.script);
            // What a login has exported would make the environment of each program too long.
            for exported in ["practices", "payload", "line", "value", "text", "job", "head"] {
                command.env(exported, "exported by the login");
            }
            let output = super::guard::feed(command, &program.stdin).wait_with_output().unwrap();
            assert_eq!(told(&super::guard::read(&output)).0, Word::Done, "{shell:?} {name}");
            assert_eq!(runs.ended(&one), "DONE 0", "{shell:?} {name}");
            assert!(runs.run(&one, "practices.md").unwrap() == practices, "{shell:?} {name}");
        }
        // The most that there may be beside secrets and arguments.
        runs.0.numbers.started = Span(Duration::from_secs(5));
        let one = token();
        let mut full = keeps(&one, Some(&"\n".repeat(1 << 20)));
        full.secrets = Secrets([("SECRET".to_owned(), "s".repeat(100_000).into())].into());
        assert_eq!(runs.launch(full).word, Word::Done, "{shell:?}");
        assert_eq!(runs.ended(&one), "DONE 0", "{shell:?}");
    }
}

#[test]
fn a_launch_again_leaves_them_as_they_are_and_gc_takes_them_with_the_run() {
    for shell in Shell::all() {
        let mut runs = Runs::new(shell);
        let (one, other) = (token(), token());
        for token in [&one, &other] {
            assert_eq!(runs.launch(keeps(token, Some("first\n"))).word, Word::Done, "{shell:?}");
            assert_eq!(runs.ended(token), "DONE 0", "{shell:?}");
        }
        assert_eq!(told(&runs.launch(keeps(&one, Some("second\n")))), (Word::Exists, "DONE 0"), "{shell:?}");
        assert_eq!(told(&runs.launch(keeps(&one, None))), (Word::Exists, "DONE 0"), "{shell:?}");
        assert_eq!(runs.run(&one, "practices.md").as_deref(), Some("first\n"), "{shell:?}");
        // With the logs, which go when they have been fetched; the run's slot stays.
        let gc = |runs: &Runs, fetched| assert_eq!(runs.op(7, Op::Gc { fetched }).word, Word::Done, "{shell:?}");
        until("it is seen to be empty", || runs.run(&one, "empty").is_some() && runs.run(&other, "empty").is_some());
        gc(&runs, vec![(one.clone(), 0, 0)]);
        assert_eq!(runs.run(&one, "practices.md"), None, "{shell:?}");
        assert_eq!(runs.run(&other, "practices.md").as_deref(), Some("first\n"), "{shell:?}");
        assert_eq!(told(&runs.launch(keeps(&one, Some("second\n")))), (Word::Exists, "DONE 0"), "{shell:?}");
        assert_eq!(runs.run(&one, "practices.md"), None, "{shell:?}");
        runs.0.numbers.keep_logs = Span(Duration::ZERO);
        std::thread::sleep(Duration::from_millis(1100));
        gc(&runs, vec![]);
        assert_eq!(runs.run(&other, "practices.md"), None, "{shell:?}");
    }
}

#[test]
fn on_a_full_disk_no_run_begins_without_them() {
    for shell in [&["dash", "-c"][..], &["bash", "--posix", "-c"], &["busybox", "sh", "-c"]] {
        let Some(host) = lab::host() else { return };
        let home = host.home().join(".factory").display().to_string();
        host.done(&format!("mkdir {home} && mount -t tmpfs -o size=256k tmpfs {home}"));
        let one = token();
        let launch = |practices: &str| {
            let job = keeps(&one, Some(practices));
            on(&host, shell, &call(FLEET, 7, "vps-1", Op::Launch(Box::new(job))))
        };
        let run = format!("{home}/runs/{one}");
        let answer = launch(&"a rule\n".repeat(60_000));
        assert_eq!(answer.word, Word::Failed, "{shell:?}");
        assert_eq!(answer.detail, format!("cannot write {run}/practices.md"), "{shell:?}");
        host.done(&format!("cd {run} && [ ! -e started ] && [ ! -e practices.md ] && [ ! -e .practices ]"));
        // The same run begins once there is room.
        assert_eq!(launch("a rule\n").word, Word::Done, "{shell:?}");
        until("it ends", || host.sh(&format!("cat {run}/rc")).status.success());
        assert_eq!(host.done(&format!("cat {run}/practices.md ~/copy")), "a rule\na rule\n", "{shell:?}");
    }
}

#[test]
fn what_cannot_be_given_is_refused_before_it_is_sent() {
    let refused = |job: Job| {
        let call = call(FLEET, 7, "vps-1", Op::Launch(Box::new(job)));
        program(&call, &Default::default()).map(drop).unwrap_err()
    };
    assert!(refused(keeps(&token(), Some("a\0b"))).to_string().contains("NUL"));
    for name in ["FACTORY_PRACTICES", "FACTORY_RUN", "FACTORY_HOME"] {
        let mut job = keeps(&token(), Some("a rule\n"));
        job.env = [(name.to_owned(), "/etc/passwd".to_owned())].into();
        assert!(refused(job).to_string().contains(name), "{name}");
    }
}
