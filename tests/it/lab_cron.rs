//! Crontabs of real hosts, over sshd, by the hand: what cron runs and what it does not, and who loses what when several
//! edit at once.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use factory::inventory::settings;
use factory::ledger::Document;
use factory::remote::crontab::{Edit, Mark, edit, look};
use factory::remote::guard::{Answer, Op, Word};
use factory::ssh::config::Wanted;
use factory::ssh::{Fleet, Options, Reach};
use factory::tick::hand::{Hand, Place, Stopped};

use super::crontab::{HEADER, block, hold, release};
use super::lab::{Lab, Machine};
use super::support::until;
use super::transport::wait;

/// The user whose crontab it is.
const USER: &str = "factory";

fn lab(user: &str) -> Option<Lab> {
    let lab = Lab::new(1)?;
    lab.inventory();
    let ssh = lab.home().join(".ssh");
    let text = format!(
        "Host h1\n  HostName {}\nHost *\n  User {user}\n  IdentityFile {}\n  IdentityAgent none\n  \
         UserKnownHostsFile {}\n  GlobalKnownHostsFile none\n",
        lab.host(0).reach(),
        ssh.join("id_ed25519").display(),
        ssh.join("known_hosts").display(),
    );
    std::fs::write(ssh.join("config"), text).unwrap();
    Some(lab)
}

/// Edits as the tick does, over a connection of its own.
fn edits(lab: &Lab, edits: &[Edit]) -> Vec<Result<Answer, Stopped>> {
    let home = lab.home();
    lab.on_network(|| {
        wait(async {
            let options = Options { home: Some(home), ..Options::default() };
            let fleet = Fleet::new(options).await.unwrap();
            let hand = Hand::new(&fleet, &settings::Guard::default(), Duration::from_secs(30), "vps-1");
            let place = Place { name: "h1".into(), reach: Reach::Ssh(Wanted::named("h1")), home: "~/.factory".into() };
            let mut document = Document::new("vps-1", 7).unwrap();
            document.fleet = "f1ee7".into();
            let mut answers = Vec::new();
            for edit in edits {
                answers.push(hand.call(&place, &document, Op::Cron(edit.clone())).await);
            }
            fleet.close().await;
            answers
        })
    })
}

#[track_caller]
fn done(lab: &Lab, edit: Edit) {
    let answer = edits(lab, &[edit]).remove(0).unwrap_or_else(|stopped| panic!("{stopped}"));
    assert_eq!(answer.word, Word::Done);
}

/// The user's table as cron has it, without the three lines that the program puts first.
fn table(host: &Machine, user: &str) -> Option<Vec<u8>> {
    let file = host.crontab(user)?;
    assert!(file.starts_with(HEADER), "{}", String::from_utf8_lossy(&file));
    let third = file.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(2).unwrap().0;
    Some(file[third + 1..].to_vec())
}

/// As the user does it.
fn install(host: &Machine, user: &str, text: &[u8]) {
    host.write("/tmp/by-hand", text);
    host.done(&format!("chmod 644 /tmp/by-hand && crontab -u {user} /tmp/by-hand && rm /tmp/by-hand"));
}

#[test]
fn cron_starts_no_line_that_is_held_and_each_that_is_released() {
    for user in ["root", USER] {
        let Some(lab) = lab(user) else { return };
        let host = lab.host(0);
        let jobs =
            b"* * * * * echo x >>/tmp/dev-poll\n* * * * * echo x >>/tmp/other\r\n* * * * * echo caf\xe9 >>/tmp/last\n";
        install(host, user, jobs);
        // A table of the system's with its field for the user: only root's login may touch it.
        host.write(
            "/etc/cron.d/factory-x",
            "* * * * * root echo x >>/tmp/dev-poll.sys\n* * * * * root echo x >>/tmp/sys\n",
        );
        done(&lab, hold("dev-poll"));
        let count = |file: &str| host.sh(&format!("cat /tmp/{file}")).stdout.iter().filter(|b| **b == b'\n').count();
        // Cron may have started what it read before.
        until("the second of a minute", || {
            let second: u32 = host.done("date +%S").trim().trim_start_matches('0').parse().unwrap_or(0);
            (3..50).contains(&second).then_some(())
        });
        let before = [count("dev-poll"), count("dev-poll.sys"), count("last"), count("sys")];
        let more = |file: &str, than: usize| {
            let began = Instant::now();
            while count(file) <= than {
                assert!(began.elapsed() < Duration::from_secs(150), "{file}: cron has not come");
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        more("last", before[2]);
        more("sys", before[3]);
        // Whatever it starts in a minute it starts at once.
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(count("dev-poll"), before[0], "{user}: it was held");
        if user == "root" {
            assert_eq!(count("dev-poll.sys"), before[1], "it was held");
        } else {
            assert!(count("dev-poll.sys") > before[1], "it is root's");
        }
        done(&lab, release());
        assert_eq!(table(host, user).unwrap(), jobs, "{user}");
        more("dev-poll", before[0]);
        more("dev-poll.sys", before[1]);
    }
}

#[test]
fn who_may_not_use_crontab_is_told_and_nothing_is_changed() {
    let Some(lab) = lab(USER) else { return };
    let host = lab.host(0);
    install(host, USER, b"* * * * * dev-poll.sh\n");
    host.write("/etc/cron.deny", "factory\n");
    let Err(Stopped::Refused(answer)) = edits(&lab, &[hold("dev-poll")]).remove(0) else { panic!("it was done") };
    assert_eq!(answer.word, Word::Failed);
    assert!(answer.detail.contains("not allowed to use this program"), "{}", answer.detail);
    assert_eq!(table(host, USER).unwrap(), b"* * * * * dev-poll.sh\n");
    host.done("rm /etc/cron.deny");
    // What is not certain is told in the words of the table.
    install(host, USER, b"# BEGIN factory home\n* * * * * dev-poll.sh\n");
    let Err(Stopped::Crontab(why)) = edits(&lab, &[hold("dev-poll")]).remove(0) else { panic!("it was done") };
    assert_eq!(why, "user: line 1 (# BEGIN factory home) begins a block that does not end");
    assert_eq!(table(host, USER).unwrap(), b"# BEGIN factory home\n* * * * * dev-poll.sh\n");
}

#[test]
fn a_connection_killed_in_mid_write_leaves_the_old_table_or_the_new_one() {
    let Some(lab) = lab(USER) else { return };
    let host = lab.host(0);
    let old = b"# caf\xe9\r\n* * * * * dev-poll.sh\n";
    host.done("cp /usr/bin/sync /usr/bin/sync.kept");
    host.write("/usr/bin/sync", "#!/bin/sh\n>>/tmp/syncs\necho x >>/tmp/syncs\nsleep 0.3\nexec sync.kept \"$@\"\n");
    for syncs in [1, 2, 4] {
        install(host, USER, old);
        host.done(&format!("rm -rf /tmp/syncs ~{USER}/.factory/cron"));
        std::thread::scope(|scope| {
            let calling = scope.spawn(|| edits(&lab, &[hold("dev-poll")]));
            until("the guard at work", || {
                (host.sh("cat /tmp/syncs").stdout.len() >= 2 * syncs || calling.is_finished()).then_some(())
            });
            host.done("for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in sshd*) kill -9 ${p#/proc/} ;; esac; done; :");
            let answer = calling.join().unwrap().remove(0);
            assert!(answer.is_err() || syncs > 2, "the connection was there");
        });
        let now = table(host, USER).unwrap();
        assert!(now == old || now == edit(old, &hold("dev-poll")).unwrap(), "{}", String::from_utf8_lossy(&now));
        host.sshd_config("");
        // A guard that still goes on keeps the next one waiting.
        done(&lab, hold("dev-poll"));
        assert_eq!(table(host, USER).unwrap(), edit(old, &hold("dev-poll")).unwrap());
    }
}

/// How long people and controllers edit at once; `CRON_RACE` in seconds makes it shorter or longer.
fn race() -> Duration {
    let seconds = std::env::var("CRON_RACE").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(60))
}

#[test]
fn two_controllers_and_a_person_lose_no_line_of_anyone() {
    let Some(lab) = lab(USER) else { return };
    let host = lab.host(0);
    let jobs = b"MAILTO=\"\"\n# caf\xe9\r\n1 1 1 1 * dev-poll.sh\n1 1 1 1 *\treview-poll.sh \n".as_slice();
    install(host, USER, jobs);
    // A person who takes a copy, thinks, adds a line and saves; within a second that would be no change to crontab.
    let editor = "#!/bin/sh\nsleep $1\nshift\necho \"# line $LINE of anna\" >>\"$1\"\ntouch -d '5 seconds' \"$1\"\n";
    host.write("/usr/bin/think", editor);
    host.done("chmod 755 /usr/bin/think");
    let review = Edit::Hold {
        wanted: vec![Mark { key: "review".into(), text: "review-poll".into() }],
        ours: vec!["review".into()],
    };
    let review_off = Edit::Hold { wanted: Vec::new(), ours: vec!["review".into()] };
    let (over, saved) = (AtomicBool::new(false), AtomicU32::new(0));
    let (one, two) = std::thread::scope(|scope| {
        let controller = |turns: Vec<Edit>| {
            let (lab, over) = (&lab, &over);
            move || {
                let (mut done, mut conflicts) = (0, 0);
                while !over.load(Ordering::Relaxed) {
                    for answer in edits(lab, &turns) {
                        match answer {
                            Ok(answer) => {
                                assert_eq!(answer.word, Word::Done);
                                done += 1;
                            }
                            Err(Stopped::Refused(answer)) if answer.word == Word::Conflict => {
                                assert!(!answer.detail.is_empty());
                                conflicts += 1;
                            }
                            Err(Stopped::Refused(answer)) if answer.word == Word::Busy => {}
                            Err(stopped) => panic!("{stopped}"),
                        }
                    }
                }
                (done, conflicts)
            }
        };
        let one = scope.spawn(controller(vec![hold("dev-poll"), release()]));
        let two = scope.spawn(controller(vec![review, block(&["@hourly true"]), review_off, block(&[])]));
        let (over, saved) = (&over, &saved);
        scope.spawn(move || {
            let began = Instant::now();
            for turn in 0u32.. {
                if began.elapsed() > race() {
                    break;
                }
                let line = saved.load(Ordering::Relaxed) + 1;
                // Long enough to be seen at it by a controller on a slow machine, which looks once a second then.
                let think = 15 + turn * 7 % 8;
                let mut command = host.command("setpriv");
                command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--init-groups", "--"]);
                command.args(["crontab", "-e"]).env("VISUAL", format!("think {}.{}", think / 10, think % 10));
                command.env("LINE", line.to_string()).env("HOME", "/home/factory").stdin(Stdio::null());
                let output = command.output().unwrap();
                assert!(output.status.success(), "{output:?}");
                assert!(String::from_utf8_lossy(&output.stderr).contains("installing new crontab"), "{output:?}");
                saved.store(line, Ordering::Relaxed);
                // It is there, whatever we do at the same time.
                let table = table(host, USER).unwrap();
                let text = format!("# line {line} of anna\n");
                assert!(String::from_utf8_lossy(&table).contains(&text), "{line} was lost at once");
                std::thread::sleep(Duration::from_millis(u64::from(turn * 37 % 100) * 10));
            }
            over.store(true, Ordering::Relaxed);
        });
        (one.join(), two.join())
    });
    let ((one, one_conflicts), (two, two_conflicts)) = (one.unwrap(), two.unwrap());
    let saved = saved.load(Ordering::Relaxed);
    assert!(
        one > 2 && two > 2 && saved > 3,
        "{one} and {two} edits, {saved} lines, {one_conflicts} and {two_conflicts} conflicts"
    );
    // Once all is quiet, all that is ours goes, and what stays is what the others wrote: every line, once, in order.
    done(&lab, Edit::Leave);
    let lines: String = (1..=saved).map(|line| format!("# line {line} of anna\n")).collect();
    let table = table(host, USER).unwrap();
    let want = [jobs, lines.as_bytes()].concat();
    assert_eq!(String::from_utf8_lossy(&table), String::from_utf8_lossy(&want));
    assert_eq!(table, want);
    assert_eq!(look(&table, &[Mark { key: "dev".into(), text: "poll".into() }])[0].live, 2);
}
