//! Logs over a real network that breaks: nothing is lost, nothing comes twice.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::lab::{Lab, Machine};

const RUN: &str = "/root/.factory/runs/20260312-a";

/// A run made by hand that writes random bytes for so many tenths of a second, and then ends.
fn run(host: &Machine, tenths: u32) -> Child {
    let script = format!(
        "mkdir -p {RUN}; cd {RUN}; : >wrapper.lock; : >out.log; : >err.log
         echo 'agent dev' >spec
         echo '1 2 b00t 2026-03-12T13:20:00Z' >started
         exec flock wrapper.lock sh -c 'i=0
           while [ $i -lt {tenths} ]; do
             head -c 3000 /dev/urandom >>out.log; printf \"\\nend\\n+\\n\\nbegin factory-probe 1\\n\" >>out.log
             head -c 200 /dev/urandom >>err.log; sleep 0.1; i=$((i + 1))
           done
           echo 0 >rc.new; echo 2026-03-12T14:20:00Z >>rc.new; mv rc.new rc'"
    );
    let child = host.command("sh").args(["-c", &script]).spawn().unwrap();
    let began = Instant::now();
    while !host.sh(&format!("test -s {RUN}/out.log")).status.success() {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not begin");
    }
    child
}

fn follow(lab: &Lab, stream: &str) -> Child {
    let mut command = lab.command("factory");
    command.args(["logs", "-q", "-f", "--stream", stream, "20260312-a"]).env("FACTORY_INVENTORY", "/root/inventory");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn following_over_a_cut_and_a_new_sshd_loses_and_repeats_nothing() {
    let Some(lab) = Lab::new(1) else { return };
    let host = lab.host(0);
    lab.inventory();
    std::fs::write(lab.home().join("inventory/factory.yml"), "ssh: {connect: 3s, keepalive: 2s}\n").unwrap();
    let mut writer = run(host, 300);
    // What comes is read all the time, else the pipes fill.
    let read = |child: Child| std::thread::spawn(move || child.wait_with_output().unwrap());
    let (out, err) = (read(follow(&lab, "out")), read(follow(&lab, "err")));
    std::thread::sleep(Duration::from_secs(4));
    lab.cut(host);
    std::thread::sleep(Duration::from_secs(10));
    lab.mend(host);
    std::thread::sleep(Duration::from_secs(4));
    // Its sessions end as well.
    host.sh("for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in sshd*) kill -9 ${p#/proc/} ;; esac; done");
    std::thread::sleep(Duration::from_secs(2));
    host.sshd_config("");
    assert!(writer.wait().unwrap().success());
    let (out, err) = (out.join().unwrap(), err.join().unwrap());
    assert_eq!((out.status.code(), err.status.code()), (Some(0), Some(0)), "{}", String::from_utf8_lossy(&out.stderr));
    let file = |name: &str| host.sh(&format!("cat {RUN}/{name}.log")).stdout;
    let (want_out, want_err) = (file("out"), file("err"));
    assert!(want_out.len() > 900_000 && want_err.len() == 60_000, "{} {}", want_out.len(), want_err.len());
    assert!(out.stdout == want_out, "{} of {}", out.stdout.len(), want_out.len());
    assert!(err.stderr == want_err, "{} of {}", err.stderr.len(), want_err.len());
}

#[test]
fn ticks_that_miss_a_host_go_on_where_they_were() {
    let Some(lab) = Lab::new(2) else { return };
    lab.inventory();
    std::fs::write(lab.home().join("inventory/factory.yml"), "ssh: {connect: 2s, command: 3s}\n").unwrap();
    let host = lab.host(1);
    let mut writer = run(host, 60);
    // Once it is fetched it goes from the run.
    host.done(&format!("ln {RUN}/out.log /root/kept"));
    for round in 0..30 {
        if round == 2 {
            lab.cut(host);
        }
        if round == 4 {
            lab.mend(host);
        }
        assert_eq!(lab.factory(&["run", "-q"]).status.code(), Some(0));
        if round > 4 && writer.try_wait().unwrap().is_some() {
            break;
        }
    }
    // Now that all is there, nothing is cut short by a machine that is slow.
    assert!(writer.wait().unwrap().success());
    std::fs::write(lab.home().join("inventory/factory.yml"), "{}\n").unwrap();
    for _ in 0..3 {
        lab.factory(&["run", "-q"]);
    }
    let want = host.sh("cat /root/kept").stdout;
    let kept = lab.factory(&["logs", "--offline", "20260312-a"]);
    assert!(kept.stdout == want && want.len() > 180_000, "{} of {}", kept.stdout.len(), want.len());
    // Told of the host that does not answer, and of what is kept of it all the same.
    lab.cut(host);
    let told = lab.factory(&["logs", "--since", "1h"]);
    assert_eq!(told.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&told.stderr).contains("h2"), "{}", String::from_utf8_lossy(&told.stderr));
    assert!(String::from_utf8_lossy(&told.stdout).contains("h2 a | "));
}
