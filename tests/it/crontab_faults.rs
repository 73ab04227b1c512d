//! Crontabs when things go wrong in mid-write: the old table or the new one stands, whole.

use std::io::Write as _;
use std::process::Command;

use factory::remote::crontab::edit;
use factory::remote::guard::{CronWrite, Op, Table, Word, sha256};

use super::crontab::{STRANGE, Spool, hold};
use super::guard::{FLEET, Shell, call, feed};

/// The table, held.
fn held() -> Vec<u8> {
    edit(STRANGE, &hold("dev-poll.sh")).unwrap()
}

fn write() -> Op {
    Op::CronWrite(CronWrite { table: Table::User, before: sha256(STRANGE), content: held() })
}

/// The table of a spool whose guard was ended is the old or the new one, and the next edit comes through.
#[track_caller]
fn whole(spool: &Spool, after: &str) {
    let now = spool.spool();
    let now = now.as_deref();
    assert!(now == Some(STRANGE) || now == Some(&held()), "{after}: {:?}", now.map(String::from_utf8_lossy));
    let words = spool.edit(&hold("dev-poll.sh"));
    assert!(words.is_empty() || words == [Ok(Word::Done)], "{after}: {words:?}");
    assert_eq!(spool.spool().unwrap(), held(), "{after}");
    // Before it was changed it was saved.
    let backups = spool.backups();
    assert!(backups.iter().any(|(name, bytes)| name.ends_with(".user.first") && bytes == STRANGE), "{after}");
    assert!(backups.iter().all(|(name, bytes)| bytes == STRANGE || name.ends_with(".new")), "{after}: {backups:?}");
}

#[test]
fn a_guard_killed_at_any_step_leaves_the_old_table_or_the_new_one() {
    if !Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        let _ =
            writeln!(std::io::stderr(), "left out: a crontab's guard killed at every step: strace does not run here");
        return;
    }
    std::thread::scope(|scope| {
        for (shell, busybox) in [(Shell::Dash, false), (Shell::Bash, false), (Shell::BusyBox, true)] {
            if !Shell::all().contains(&shell) {
                continue;
            }
            scope.spawn(move || {
                let Some(spool) = Spool::new(shell, busybox) else { return };
                // All steps of the shell are many; those of a program that it starts are few.
                let own = "openat,write,clone,clone3,fork,vfork,dup2,dup3,fcntl";
                let theirs =
                    "openat,write,rename,renameat,renameat2,unlink,unlinkat,fsync,execve,chown,fchown,utimensat";
                // Each shell begins elsewhere; with `CRASH=every` none leaves out a step.
                let every = std::env::var_os("CRASH").is_some_and(|crash| crash == "every");
                for (flags, steps, stride) in [("-q", own, 40), ("-f", theirs, 6)] {
                    let (first, stride) = if every { (1, 1) } else { (1 + shell as usize * stride / 3, stride) };
                    let mut kills = 0;
                    for step in (first..).step_by(stride) {
                        let _ = std::fs::remove_dir_all(spool.login.at("cron"));
                        spool.install(STRANGE);
                        let inject = format!("inject={steps}:signal=KILL:when={step}");
                        let log = spool.login.dir.path().join("strace").display().to_string();
                        let before = ["strace", flags, "-qq", "-o", &log, "-e", &inject];
                        let (command, stdin) = spool.command_in(&before, &call(FLEET, 7, "vps-1", write()));
                        let output = feed(command, &stdin).wait_with_output().unwrap();
                        let killed = std::fs::read_to_string(&log).unwrap().contains("killed by SIGKILL");
                        whole(&spool, &format!("{} {steps} {step}: {}", spool.name, output.status));
                        if !killed {
                            break;
                        }
                        kills += 1;
                    }
                    assert!(kills > 2, "{}: only {kills} steps were seen", spool.name);
                }
            });
        }
    });
}

#[test]
fn on_a_full_disk_the_old_table_stands() {
    for spool in Spool::all() {
        let name = &spool.name;
        // The spool is full.
        spool.install(STRANGE);
        spool
            .host
            .done("mount -o remount,size=8k /var/spool/cron && cat /dev/zero >/var/spool/cron/fill 2>/dev/null || :");
        let before = spool.file();
        let answer = spool.op(write());
        assert_eq!(answer.word, Word::Failed, "{name}: {}", answer.detail);
        let told = ["crontab refuses it: ", "crontab did not take "].iter().any(|told| answer.detail.starts_with(told));
        assert!(told && answer.detail.contains("No space left"), "{name}: {}", answer.detail);
        assert_eq!(spool.file(), before, "{name}");
        spool.host.done("rm /var/spool/cron/fill && mount -o remount,size=1m /var/spool/cron");
        let answer = spool.op(write());
        assert_eq!(answer.word, Word::Done, "{name}: {}", answer.detail);

        // The home is full: nothing is done without a backup.
        spool.install(STRANGE);
        let home = spool.login.at("cron").display().to_string();
        spool
            .host
            .done(&format!("mount -t tmpfs -o size=8k tmpfs {home} && cat /dev/zero >{home}/fill 2>/dev/null || :"));
        let answer = spool.op(write());
        assert_eq!(answer.word, Word::Failed, "{name}: {}", answer.detail);
        assert!(answer.detail.starts_with("cannot write "), "{name}: {}", answer.detail);
        assert_eq!(spool.spool().unwrap(), STRANGE, "{name}");
        // Reading goes on.
        assert_eq!(spool.user(), STRANGE, "{name}");
        spool.host.done(&format!("rm {home}/fill"));
        let answer = spool.op(write());
        assert_eq!(answer.word, Word::Done, "{name}: {}", answer.detail);
        assert_eq!(spool.spool().unwrap(), held(), "{name}");

        // A system table's directory is full.
        spool.host.write("/etc/cron.d/factory-x", b"* * * * * root dev-poll.sh\n");
        spool.host.done("mount -o remount,size=8k /etc/cron.d && cat /dev/zero >/etc/cron.d/fill.x 2>/dev/null || :");
        let words = spool.edit(&hold("dev-poll.sh"));
        assert_eq!(words, [Ok(Word::Failed)], "{name}");
        assert_eq!(
            spool.host.done("cd /etc/cron.d && cat factory-x && ls -A"),
            "* * * * * root dev-poll.sh\nfactory-x\nfill.x\n"
        );
    }
}
