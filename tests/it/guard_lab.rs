//! The guard over a real sshd: the program as it is sent, its input, its answer and its exit status.

use std::path::Path;

use factory::inventory::settings;
use factory::inventory::units::Span;
use factory::remote::guard::{self, Answer, Call, Drop, Op, Word};
use factory::remote::halt::Kind;
use factory::remote::probe;
use factory::ssh::Fleet;
use factory::ssh::exec::{Command, Ended};

use super::guard::{FLEET, call, dev, halt, line, patient, resume};
use super::transport::{LONG, Room, wait, web};

async fn exec(fleet: &Fleet, call: &Call) -> Answer {
    let program = guard::program(call, &patient()).unwrap();
    let command = Command { script: &program.script, stdin: program.stdin, timeout: LONG, max_output: 1 << 20 };
    let output = fleet.exec(&web(), command).await.unwrap();
    let Ended::Exited(status) = output.ended else { panic!("{:?}", output.ended) };
    guard::parse(&output.stdout, status).unwrap()
}

#[test]
fn a_host_is_halted_and_resumed_over_ssh_and_the_probe_sees_it() {
    let Some(room) = Room::new("the guard over SSH", "") else { return };
    let home = room.path("factory 'home'").display().to_string();
    let of = |epoch, op| Call { home: home.clone(), ..call(FLEET, epoch, "vps-1", op) };
    wait(async {
        let fleet = room.fleet().await;
        let sealed = exec(&fleet, &of(7, Op::Seal)).await;
        assert_eq!((sealed.word, sealed.fence.unwrap().epoch), (Word::Done, Some(7)));
        assert_eq!(exec(&fleet, &of(7, halt(dev(), line(Kind::Manual, "a1")))).await.word, Word::Done);
        let text = std::fs::read_to_string(room.path("factory 'home'/halt/dev")).unwrap();
        assert_eq!(text, format!("{}\n", line(Kind::Manual, "a1").render()));
        assert_eq!(exec(&fleet, &of(6, resume(dev(), Drop::Foreign))).await.word, Word::Fenced);

        let request = probe::Request { home: home.clone(), ..probe::Request::default() };
        let program = request.program().unwrap();
        let command = Command { script: &program.script, stdin: program.stdin, timeout: LONG, max_output: 1 << 20 };
        let report = probe::parse(&fleet.exec(&web(), command).await.unwrap().stdout).unwrap();
        let after = exec(&fleet, &of(7, Op::Seal)).await;
        assert_eq!(report.host_id, after.host_id);
        assert_eq!(report.fence, after.fence);
        let found = report.found.unwrap();
        assert_eq!((found[0].agent.as_str(), found[0].by.as_deref()), ("dev", Some("anna b")));

        let last = exec(&fleet, &of(7, resume(dev(), Drop::Line(Kind::Manual, "a1".into())))).await;
        assert_eq!((last.word, last.detail.as_str()), (Word::Done, ""));
        assert!(!room.path("factory 'home'/halt/dev").exists());
        fleet.close().await;
    });
}

/// Whether another process has this file open.
fn opened(path: &Path) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let others = processes.filter(|entry| {
        entry.file_name().to_str().and_then(|pid| pid.parse::<u32>().ok()).is_some_and(|pid| pid != std::process::id())
    });
    let open = others.filter_map(|entry| std::fs::read_dir(entry.path().join("fd")).ok()).flatten().flatten();
    open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|file| file == path)
}

/// What a lost connection leaves is not half a change: the guard had its payload, and goes on.
#[test]
fn a_connection_that_is_lost_after_the_payload_does_not_undo_the_change() {
    let Some(room) = Room::new("the guard over a lost connection", "") else { return };
    let home = room.path("home/.factory");
    std::fs::create_dir_all(&home).unwrap();
    // The lock is held, so that the call waits while its connection goes.
    let lock = std::fs::File::create(home.join("guard.lock")).unwrap();
    lock.lock().unwrap();
    let call =
        Call { home: home.display().to_string(), ..call(FLEET, 7, "vps-1", halt(dev(), line(Kind::Auto, "a1"))) };
    let long = Span(std::time::Duration::from_secs(600));
    let program = guard::program(&call, &settings::Guard { lock_wait: long, lock_stuck: long, ..patient() }).unwrap();
    wait(async {
        let fleet = room.fleet().await;
        let command = Command { script: &program.script, stdin: program.stdin, timeout: LONG, max_output: 1 << 20 };
        let host = web();
        // Once it is at the lock, it has its payload.
        let waits = async {
            while !opened(&home.join("guard.lock")) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            over = fleet.exec(&host, command) => panic!("{over:?}"),
            () = waits => {}
        }
        fleet.close().await;
    });
    assert!(!home.join("epoch").exists());
    lock.unlock().unwrap();
    let begun = std::time::Instant::now();
    while !home.join("journal").exists() && begun.elapsed().as_secs() < 120 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(std::fs::read_to_string(home.join("halt/dev")).unwrap().lines().count(), 1);
}
