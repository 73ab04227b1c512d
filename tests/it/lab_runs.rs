//! Runs on real hosts, over a real sshd: reboots, full disks, logins that leak, units with limits.

use std::process::{Command, Stdio};

use factory::remote::guard::{self, Answer, Job, Op, Secrets, Stop, Stopped, Word};
use factory::remote::probe::{self, Request};
use factory::ssh::exec;

use super::guard::{FLEET, call, feed, patient, read};
use super::lab::{Lab, Machine};
use super::runs::{script, stop, token, told, until};

/// Calls the guard over ssh; the connection ends with its answer.
#[track_caller]
fn ask(lab: &Lab, user: &str, host: &Machine, op: Op) -> Answer {
    let program = guard::program(&call(FLEET, 7, "vps-1", op), &patient()).unwrap();
    let line = String::from_utf8(exec::line(program.script.as_bytes()).unwrap()).unwrap();
    let ssh = lab.ssh_as(user, host, &line);
    // It takes no input with -n, which is for those who have none.
    let mut command = lab.command("ssh");
    command.args(ssh.get_args().filter(|arg| *arg != "-n" && *arg != "ssh").skip_while(|arg| *arg != "-F"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    read(&feed(command, &program.stdin).wait_with_output().unwrap())
}

fn launch(lab: &Lab, host: &Machine, job: Job) -> (Word, String) {
    let answer = ask(lab, "root", host, Op::Launch(Box::new(job)));
    let (word, state) = told(&answer);
    (word, if state.is_empty() { answer.detail.clone() } else { state.to_owned() })
}

fn state(lab: &Lab, host: &Machine, token: &str) -> String {
    let answer = ask(lab, "root", host, Op::Seal);
    answer.runs.into_iter().find(|run| run.token == token).map(|run| run.state).unwrap_or_default()
}

/// What a file on the host says.
fn text(host: &Machine, path: &str) -> String {
    String::from_utf8(host.sh(&format!("cat {path}")).stdout).unwrap()
}

#[test]
fn a_run_outlives_its_connection_and_not_its_host() {
    let Some(lab) = Lab::new(1) else { return };
    let host = lab.host(0);
    let (one, over) = (token(), token());
    assert_eq!(launch(&lab, host, script(&over, "exit 4")).0, Word::Done);
    assert_eq!(launch(&lab, host, script(&one, "echo x >>began; exec sleep 300")), (Word::Done, "RUNNING".into()));
    until("it ends", || state(&lab, host, &over) == "DONE 4");
    // Nobody but the two of us is left of the call.
    until("the connection is gone", || host.done("ps -eo args=").lines().all(|line| !line.contains("guard ")));
    assert_eq!(state(&lab, host, &one), "RUNNING");
    host.reboot();
    assert_eq!((state(&lab, host, &one), state(&lab, host, &over)), ("REBOOTED".into(), "DONE 4".into()));
    assert_eq!(launch(&lab, host, script(&one, "echo x >>began")), (Word::Exists, "REBOOTED".into()));
    let stopped = ask(&lab, "root", host, Op::Stop(stop(Stopped::Run(one.clone()), 0, 0)));
    assert_eq!((told(&stopped), stopped.detail.as_str()), ((Word::Done, "REBOOTED"), "unchanged"));
    assert_eq!(ask(&lab, "root", host, Op::Gc { fetched: vec![] }).word, Word::Done);
    assert_eq!(text(host, "/root/began"), "x\n");
    assert_eq!(state(&lab, host, &one), "REBOOTED");
}

#[test]
fn nothing_of_a_login_leaks_into_a_run() {
    let Some(lab) = Lab::new(1) else { return };
    let host = lab.host(0);
    host.sshd_config("SetEnv LEAK_SSHD=1\n");
    host.home_file("factory", ".bashrc", "export LEAK_BASH=1 LC_ALL=C\numask 000\n");
    host.home_file("factory", ".ssh/environment", "LEAK_FILE=1\n");
    let one = token();
    let mut job = script(&one, "env >environment; umask >>environment; id -un >>environment");
    job.secrets = Secrets([("SECRET".to_owned(), "s3cret".to_owned().into())].into());
    assert_eq!(ask(&lab, "factory", host, Op::Launch(Box::new(job))).word, Word::Done);
    until("it ends", || host.sh(&format!("cat /home/factory/.factory/runs/{one}/rc")).status.success());
    let environment = text(host, "/home/factory/environment");
    assert!(
        !environment.contains("LEAK") && !environment.contains("LC_ALL") && !environment.contains("SSH_"),
        "{environment}"
    );
    for line in
        ["USER=factory", "LOGNAME=factory", "HOME=/home/factory", "LANG=C.UTF-8", "SECRET=s3cret", "0022", "factory"]
    {
        assert!(environment.lines().any(|other| other == line), "{line} is not in {environment}");
    }
    // Its files are its user's alone, and the secret is in none.
    let found =
        host.sh("rm /home/factory/environment; grep -rl s3cret /home /root /tmp /run /var/log /var/lib 2>/dev/null");
    assert_eq!(String::from_utf8(found.stdout).unwrap(), "");
    let open = host.done("find /home/factory/.factory/runs -perm /077");
    assert_eq!(open, "");
}

#[test]
fn a_full_disk_starts_nothing_or_once_and_keeps_how_it_ended() {
    let Some(lab) = Lab::new(1) else { return };
    let host = lab.host(0);
    let (before, during, cancelled, stopped) = (token(), token(), token(), token());
    let waits = "until [ -e /tmp/go ]; do sleep 0.1; done; exit 6";
    for one in [&before, &stopped] {
        assert_eq!(launch(&lab, host, script(one, waits)).1, "RUNNING");
    }
    host.small_disk("/tmp", "1m");
    host.fill_disk("/root");
    let answer = ask(&lab, "root", host, Op::Launch(Box::new(script(&during, "echo x >>/tmp/began"))));
    assert!(matches!(answer.word, Word::Failed | Word::Unsure), "{answer:?}");
    // What tightens is done all the same.
    let answer = ask(&lab, "root", host, Op::Cancel { token: cancelled.clone() });
    assert!(matches!(answer.word, Word::Done | Word::Degraded | Word::Failed), "{answer:?}");
    let is_cancelled = answer.word != Word::Failed;
    let end = Stop { by: "anna".into(), ..stop(Stopped::Run(stopped.clone()), 0, 1) };
    let answer = ask(&lab, "root", host, Op::Stop(end));
    assert!(matches!(answer.word, Word::Stopping | Word::Degraded), "{answer:?}");
    until("it is stopped", || state(&lab, host, &stopped) == "DONE 143");
    host.done(": >/tmp/go");
    until("the other ends", || state(&lab, host, &before) == "DONE 6");
    host.free_disk("/root");
    let again = launch(&lab, host, script(&during, "echo x >>/tmp/began"));
    assert!(matches!(again.0, Word::Done | Word::Exists), "{again:?}");
    until("it ends", || state(&lab, host, &during) == "DONE 0");
    assert_eq!(text(host, "/tmp/began"), "x\n");
    let late = launch(&lab, host, script(&cancelled, "echo x >>/tmp/late")).1;
    assert_eq!(late == "CANCELLED", is_cancelled, "{late}");
}

/// A user's manager, as a login with linger has one.
const MANAGER: &str = r"
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /run/systemd/system /var/lib/systemd/linger /run/user/7700
: >/var/lib/systemd/linger/factory
group=/sys/fs/cgroup/GROUP
mkdir $group $group/manager $group/login
chown -R factory $group /run/user/7700
chmod 700 /run/user/7700
(
    echo 0 >$group/manager/cgroup.procs
    exec setpriv --reuid factory --regid factory --clear-groups \
        env XDG_RUNTIME_DIR=/run/user/7700 HOME=/home/factory setsid /lib/systemd/systemd --user --unit=basic.target
) </dev/null >/dev/null 2>&1 &
i=0
until [ -S /run/user/7700/systemd/private ]; do
    i=$((i + 1))
    [ $i -lt 200 ] || exit
    sleep 0.1
done
";

#[test]
fn a_run_is_in_a_unit_with_limits_where_there_is_a_users_manager() {
    let Some(lab) = Lab::new(1) else { return };
    let host = lab.host(0);
    let group = format!("factory-{}", std::process::id());
    let made = host.sh(&MANAGER.replace("GROUP", &group));
    if !made.status.success() || Command::new("systemd-run").arg("--version").output().is_err() {
        eprintln!("left out: a unit with limits, since a user's systemd does not run here");
        return;
    }
    // A login's processes are beside the manager, below what is the user's.
    let ask = |op: Op| {
        let program = guard::program(&call(FLEET, 7, "vps-1", op), &patient()).unwrap();
        let mut command = host.command("sh");
        let login = format!(
            "echo 0 >/sys/fs/cgroup/{group}/login/cgroup.procs; exec setpriv --reuid factory --regid factory --clear-groups \
             env -i HOME=/home/factory PATH=\"$PATH\" sh -c \"$0\""
        );
        command.args(["-c", &login, &program.script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        read(&feed(command, &program.stdin).wait_with_output().unwrap())
    };
    let one = token();
    let mut job = script(
        &one,
        "env >/home/factory/env; cat /proc/self/oom_score_adj >/home/factory/oom; \
        trap '' TERM; env -i setsid sleep 300 7>&- >&- 2>&- & sleep 0.3; exec sleep 300",
    );
    job.memory = 1 << 30;
    job.env.insert("A".into(), "b".into());
    assert_eq!(told(&ask(Op::Launch(Box::new(job)))), (Word::Done, "RUNNING"));
    let home = format!("/home/factory/.factory/runs/{one}");
    until("it is up", || host.sh("cat /home/factory/oom").stdout.len() > 1);
    let show = format!(
        "XDG_RUNTIME_DIR=/run/user/7700 systemctl --user show factory-{one}.scope -p MemoryHigh -p MemoryMax -p TasksMax"
    );
    let shown = String::from_utf8(host.sh_as("factory", &show).stdout).unwrap();
    let mut shown: Vec<&str> = shown.lines().collect();
    shown.sort_unstable();
    assert_eq!(shown, ["MemoryHigh=1073741824", "MemoryMax=1610612736", "TasksMax=4096"]);
    assert_eq!(text(host, "/home/factory/oom"), "0\n");
    let environment = text(host, "/home/factory/env");
    assert!(
        environment.contains("A=b\n") && !environment.contains("XDG_") && !environment.contains("INVOCATION"),
        "{environment}"
    );
    let at = text(host, &format!("{home}/cgroup"));
    assert!(
        at.starts_with(&format!("/sys/fs/cgroup/{group}/")) && at.ends_with(&format!("/factory-{one}.scope\n")),
        "{at}"
    );

    // One that has left session, environment and lock is still in the group: told of, and ended.
    until("both are up", || text(host, &format!("{}/cgroup.procs", at.trim())).lines().count() == 2);
    let first = text(host, &format!("{home}/started"));
    host.done(&format!("kill -KILL $(ps -o pid= --ppid {} | head -1)", first.split(' ').next().unwrap()));
    until("the run ends", || text(host, &format!("{home}/rc")).starts_with("137\n"));
    assert_eq!(ask(Op::Seal).runs[0].state, "DONE 137 LEFTOVER");
    // A call waits for a moment only, which may be too short to die in.
    until("all of it is killed", || {
        let answer = ask(Op::Stop(stop(Stopped::Run(one.clone()), 0, 0)));
        assert_eq!(told(&answer).1.trim_end_matches(" LEFTOVER"), "DONE 137");
        assert!(matches!(answer.word, Word::Done | Word::Stopping), "{answer:?}");
        answer.word == Word::Done
    });
    assert_eq!(host.sh("ps -eo args= | grep '^sleep 300'").stdout, b"");

    // A manager that takes no unit costs the run nothing but its limits.
    let program = "#!/bin/sh\nexit 1\n";
    let other = token();
    let mut job = script(&other, "cat /proc/self/oom_score_adj >/home/factory/oom");
    job.memory = 1 << 30;
    host.write("/usr/bin/systemd-run", program);
    assert_eq!(ask(Op::Launch(Box::new(job))).word, Word::Done);
    until("it ends", || text(host, &format!("/home/factory/.factory/runs/{other}/rc")).starts_with("0\n"));
    assert_eq!(text(host, "/home/factory/oom"), "500\n");
}

/// In the place of systemd-run: every unit is had, and of a unit's limits nothing.
const UNITS: &str =
    "#!/bin/sh\nwhile [ \"$1\" != -- ]; do [ \"$1\" != true ] || exit 0; shift; done\nshift\nexec \"$@\"\n";

#[test]
fn the_kills_within_a_runs_own_limits_are_known_when_its_unit_is_gone() {
    let Some(lab) = Lab::new(1) else { return };
    let host = lab.host(0);
    host.done("mkdir -p /run/user/0 /var/lib/systemd/linger && : >/var/lib/systemd/linger/root && mkdir /root/group");
    host.done("ssh-agent -a /run/user/0/bus >/dev/null");
    host.write("/usr/bin/systemd-run", UNITS);
    host.done("chmod 755 /usr/bin/systemd-run");
    let (killed, well) = (token(), token());
    for (one, kills, code) in [(&killed, 2, 137), (&well, 0, 0)] {
        let text = format!(
            "echo /root/group >$FACTORY_HOME/runs/$FACTORY_RUN/cgroup; \
             printf 'oom 9\noom_kill {kills}\n' >/root/group/memory.events; exit {code}"
        );
        let mut job = script(one, &text);
        job.memory = 1 << 30;
        assert_eq!(launch(&lab, host, job).0, Word::Done);
        until("it ends", || state(&lab, host, one) == format!("DONE {code}"));
    }
    host.done("rm -r /root/group");
    let output = host.sh(&Request::default().program().unwrap().script);
    let report = probe::parse(&output.stdout).unwrap();
    let kills = |token: &str| report.runs.iter().flatten().find(|run| run.token == token).unwrap().oom_kills;
    assert_eq!((kills(&killed), kills(&well)), (Some(2), None));
}
