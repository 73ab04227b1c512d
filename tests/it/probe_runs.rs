//! What the probe says of runs and of agents that factory did not start, on a machine of the lab, under each shell: the
//! numbers are those of ps, and nobody's text becomes another's.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use factory::remote::probe::{Report, Request};
use factory::remote::sample::{Matched, Run};

use super::lab::{self, Host};
use super::probe_shells::shells;
use super::support::until;

/// A run as the guard starts it: a session of its own, whose leader holds the locks and waits for the command.
const WRAPPER: &str = r#"
token=$1
shift
exec 8>>wrapper.lock 9>>tree.lock
flock -n 8 && flock -n 9 || exit 1
read -r stat </proc/$$/stat
start=$(echo "${stat##*) }" | cut -d' ' -f20)
echo "$$ $start $(cat /proc/sys/kernel/random/boot_id) 2026-11-26T06:00:00Z" >started.new
mv started.new started
FACTORY_RUN=$token "$@" >>out.log 2>>err.log 8>&-
code=$?
printf '%s\n2026-11-26T07:00:00Z\n' $code >rc
"#;

fn machine() -> Option<Host> {
    let host = lab::host()?;
    std::fs::create_dir_all(host.home().join(".factory/runs")).unwrap();
    std::fs::write(host.home().join("wrapper"), WRAPPER).unwrap();
    Some(host)
}

/// Starts a run whose command is this text of a shell's.
fn launch(host: &Host, token: &str, script: &str) {
    let dir = host.home().join(".factory/runs").join(token);
    std::fs::create_dir_all(&dir).unwrap();
    let spec =
        "fleet f\ntask harb#7\nrepo harb\nagent dev\nattempt 2\nby vps-1\nutc 2026-11-26T06:00:00Z\nlimit 60\narg sh\n";
    std::fs::write(dir.join("spec"), spec).unwrap();
    for log in ["out.log", "err.log"] {
        std::fs::write(dir.join(log), "").unwrap();
    }
    std::fs::write(dir.join("command"), script).unwrap();
    host.done(&format!(
        "cd {} && setsid sh ~/wrapper {token} sh ./command >/dev/null 2>&1 </dev/null &",
        dir.display()
    ));
    until("it starts", || std::fs::read(dir.join("started")).ok());
}

/// Resident kilobytes of every process of the host, by its id and command line, as ps has them; left out are ps itself,
/// what BusyBox's `timeout` leaves behind of a probe for a while, and the dead, whom the host's init does not bury.
fn processes(host: &Host) -> BTreeMap<u32, (u64, String)> {
    listed(&host.done(PS))
}

/// Lists processes for [`listed`].
pub const PS: &str = "exec ps axww -o pid= -o rss= -o args=";

pub fn listed(text: &str) -> BTreeMap<u32, (u64, String)> {
    let each = text.lines().map(|line| {
        let mut words = line.split_ascii_whitespace();
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        let (pid, rss) = (number(), number());
        (u32::try_from(pid).unwrap(), (rss, words.collect::<Vec<_>>().join(" ")))
    });
    let own = ["ps ax", "timeout -s KILL"];
    each.filter(|(_, (_, args))| !own.iter().any(|own| args.starts_with(own)) && !args.contains("<defunct>")).collect()
}

/// Clock ticks that these processes and their children have used.
fn ticks(host: &Host, pids: impl Iterator<Item = u32>) -> u64 {
    let files: String = pids.map(|pid| format!(" /proc/{pid}/stat")).collect();
    let fields = |line: &str| -> u64 {
        let fields: Vec<u64> =
            line.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(4).map(|f| f.parse().unwrap()).collect();
        fields.iter().sum()
    };
    host.done(&format!("cat{files}")).lines().map(fields).sum()
}

/// Says that a tree of so many processes, kilobytes and milliseconds is that of `pids`.
fn is_tree(host: &Host, told: (u64, u64, u64), pids: &BTreeMap<u32, (u64, String)>, what: &str) {
    assert_eq!(told.0, pids.len() as u64, "{what}: {pids:?}");
    let rss: u64 = pids.values().map(|(rss, _)| rss * 1024).sum();
    assert!(told.1.abs_diff(rss) <= rss / 50 + (256 << 10), "{what}: {} instead of {rss}: {pids:?}", told.1);
    assert_eq!(told.2, ticks(host, pids.keys().copied()) * 10, "{what}: {pids:?}");
}

fn run_of(report: &Report, token: &str) -> Run {
    report.runs.as_ref().unwrap().iter().find(|run| run.token == token).unwrap().clone()
}

/// 30 MB in one process, and work done by another that then stands still.
const HEAVY: &str = "{ head -c 30000000 /dev/zero; exec sleep 600; } | tail & \
                     sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; exec sleep 601' & ";

fn heavy_is_there(host: &Host) -> Option<()> {
    let all = processes(host);
    let has = |what: &dyn Fn(&(u64, String)) -> bool| all.values().any(what);
    (has(&|p| p.1 == "tail" && p.0 > 29_000) && has(&|p| p.1 == "sleep 600") && has(&|p| p.1 == "sleep 601"))
        .then_some(())
}

#[test]
fn a_run_is_its_session_its_token_and_what_is_below_them_measured_as_ps_measures() {
    let Some(host) = machine() else { return };
    let before = processes(&host);
    // A session of its own without the environment below one with it; one with it that has lost its parent; one with
    // neither in the run's session.
    let script = format!(
        "{HEAVY} setsid sh -c 'env -i setsid sleep 602; :' & (setsid sleep 603 &); env -i sleep 604 & echo begun; wait"
    );
    launch(&host, "20261126-tree", &script);
    launch(&host, "20261126-other", "exec sleep 605");
    until("it has begun", || heavy_is_there(&host));
    until("all sleep", || {
        (processes(&host).values().filter(|p| p.1.starts_with("sleep 60")).count() == 6).then_some(())
    });
    let mut tree = processes(&host);
    tree.retain(|pid, (_, args)| !before.contains_key(pid) && !args.contains("20261126-other") && args != "sleep 605");
    // What its group holds is of it too, whatever it has made of itself.
    host.done(
        "mount -t tmpfs none /sys/fs/cgroup && mkdir /sys/fs/cgroup/run && cd /sys/fs/cgroup/run && \
         printf 'low 0\noom 4\noom_kill 3\noom_group_kill 1\n' >memory.events && \
         { env -i setsid sleep 609 >/dev/null 2>&1 </dev/null & echo $! >cgroup.procs; } && \
         echo /sys/fs/cgroup/run >~/.factory/runs/20261126-tree/cgroup",
    );
    until("it is there", || {
        tree.extend(processes(&host).into_iter().filter(|(_, (_, args))| args == "sleep 609"));
        tree.values().any(|p| p.1 == "sleep 609").then_some(())
    });
    for shell in shells() {
        let report = host.probe_under(&shell, &Request { last: true, ..Request::default() });
        let run = run_of(&report, "20261126-tree");
        assert_eq!(run.oom_kills, Some(3), "{shell:?}");
        let told = (run.procs.unwrap(), run.rss.unwrap(), run.cpu_ms.unwrap());
        is_tree(&host, told, &tree, &format!("{shell:?}"));
        assert!(told.2 > 0 && told.1 > 30_000_000);
        assert_eq!((run.state.as_str(), run.agent.as_deref(), run.attempt), ("RUNNING", Some("dev"), Some(2)));
        assert_eq!((run.out, run.err, run.last.as_deref()), (Some(6), Some(0), Some("begun")), "{shell:?}");
        assert_eq!((run.critical, run.stopping), (Some(false), None), "{shell:?}");
        assert_eq!(run_of(&report, "20261126-other").procs, Some(2), "{shell:?}");
        assert_eq!(report.matched, None, "nothing was looked for");
    }
    // Its group is gone; its wrapper had counted.
    host.done("rm -r /sys/fs/cgroup/run && echo 4 >~/.factory/runs/20261126-tree/oom");
    for shell in shells() {
        let report = host.probe_under(&shell, &Request::default());
        assert_eq!(run_of(&report, "20261126-tree").oom_kills, Some(4), "{shell:?}");
    }
}

#[test]
fn a_run_of_ours_is_no_match_and_a_match_of_nobodys_is_measured_whole() {
    let Some(host) = machine() else { return };
    let dark = host.home().join("dark/dev");
    std::fs::create_dir_all(&dark).unwrap();
    // As such scripts do: a lock with a number in it, the work in another process group, a child of a child that is gone.
    let agent = format!(
        "echo $$ >lock\nexec timeout 7200 sh -c \"{{ {HEAVY} wait; }}\" &\nsh -c 'sleep 606 & sleep 607 &'\nwait\n",
        HEAVY = HEAVY.replace('$', "\\$")
    );
    std::fs::write(dark.join("dev-agent.sh"), agent).unwrap();
    launch(&host, "20261126-own", "sh -c 'sleep 605; :' dev/dev-agent.sh 11; :");
    // A run of another home is none of ours to count either.
    host.done(
        "FACTORY_RUN=20261126-elsewhere setsid sh -c 'sleep 608; :' dev/dev-agent.sh >/dev/null 2>&1 </dev/null &",
    );
    // What is not there yet would be taken for the agent's.
    until("the runs have begun", || {
        let all = processes(&host);
        ["sleep 605", "sleep 608"].iter().all(|args| all.values().any(|p| p.1 == *args)).then_some(())
    });
    let before = processes(&host);
    host.done(
        "cd ~/dark && setsid sh -c 'cd dev && bash ../dev/dev-agent.sh 12 >>log 2>&1; :' </dev/null >/dev/null 2>&1 &",
    );
    until("it has begun", || heavy_is_there(&host));
    until("its children", || {
        let all = processes(&host);
        all.values().any(|p| p.1 == "sleep 607").then_some(()).filter(|()| all.values().any(|p| p.1 == "sleep 605"))
    });
    let mut tree = processes(&host);
    tree.retain(|pid, _| !before.contains_key(pid));
    let groups = host.done("ps ax -o pgid=,args= | grep -e 'bash .*dev-agent.sh' -e 'timeout 7200' | grep -v grep | sed 's/ *\\([0-9]*\\) .*/\\1/' | sort -u | wc -l");
    assert_eq!(groups.trim(), "2", "the work is in a process group of its own");
    let request = Request {
        matches: [("dev", "dev/dev-agent.sh"), ("all", "dev/dev-"), ("none", "dev-agent.py")]
            .map(|(agent, text)| (agent.to_owned(), text.to_owned()))
            .to_vec(),
        ..Request::default()
    };
    let mut seen: Vec<Matched> = Vec::new();
    for shell in shells() {
        let report = host.probe_under(&shell, &request);
        let counts: Vec<(String, u64)> = report.running.clone().unwrap().into_iter().collect();
        assert_eq!(counts, [("all".into(), 0), ("dev".into(), 1), ("none".into(), 0)], "{shell:?}");
        let [one] = report.matched.clone().unwrap().try_into().unwrap();
        is_tree(&host, (one.procs, one.rss, one.cpu_ms), &tree, &format!("{shell:?}"));
        let (pid, stat) = (one.pid, host.done(&format!("cat /proc/{}/stat", one.pid)));
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        assert_eq!((one.sid, one.start.to_string().as_str(), one.uid), (pid, fields[19], 0), "{shell:?}");
        assert_eq!(one.command, "sh -c cd dev && bash ../dev/dev-agent.sh 12 >>log 2>&1; :", "{shell:?}");
        assert_eq!(run_of(&report, "20261126-own").procs, Some(4), "{shell:?}");
        seen.push(one);
    }
    // The script dies: what it leaves in the session is still of the run that the rest of it shows.
    let lock = std::fs::read_to_string(dark.join("lock")).unwrap();
    host.done(&format!("kill -STOP {}; kill -KILL {}", seen[0].pid, lock.trim()));
    let left = until("its end", || {
        let mut left = processes(&host);
        left.retain(|pid, _| !before.contains_key(pid));
        (left.len() < tree.len()).then_some(left)
    });
    assert_eq!(left.len(), tree.len() - 1, "{left:?}");
    for shell in shells() {
        let [one] = host.probe_under(&shell, &request).matched.unwrap().try_into().unwrap();
        assert_eq!((one.pid, one.procs), (seen[0].pid, left.len() as u64), "{shell:?}");
        assert!(one.rss > 30_000_000, "{shell:?}");
    }
}

#[test]
fn a_tool_that_is_missing_makes_numbers_unknown_and_not_zero() {
    let Some(host) = machine() else { return };
    launch(&host, "20261126-a", "echo begun; exec sleep 650");
    let request = Request { last: true, matches: vec![("dev".into(), "sleep 6".into())], ..Request::default() };
    let look = || {
        let report = host.probe(&request);
        (run_of(&report, "20261126-a"), report.running, report.matched)
    };
    until("it has begun", || (look().0.out == Some(6)).then_some(()));
    let (run, running, matched) = look();
    assert_eq!((run.procs, running.unwrap()["dev"], matched), (Some(2), 0, Some(vec![])));
    let take = |tool: &str| {
        host.done(&format!(
            ": >/mnt/none && chmod 644 /mnt/none && mount --bind /mnt/none $(readlink -f $(command -v {tool}))"
        ));
    };
    take("stat");
    let (run, ..) = look();
    assert_eq!((run.out, run.err, run.procs, run.last.as_deref()), (None, None, Some(2), Some("begun")));
    take("awk");
    let (run, running, matched) = look();
    assert_eq!((run.state.as_str(), run.agent.as_deref()), ("RUNNING", Some("dev")));
    assert_eq!((run.procs, run.rss, run.cpu_ms, run.last), (None, None, None, None));
    assert_eq!((running, matched), (None, None));
}

#[test]
fn thousands_of_leaked_agents_are_counted_and_the_first_of_them_told() {
    let Some(host) = machine() else { return };
    host.done("printf 'mkfifo /mnt/never; for i in $(seq 300); do setsid sh -c \"read x; :\" dev-agent.sh </mnt/never & done; exec sleep 660 >/mnt/never\n' >/mnt/leak");
    host.done("setsid sh /mnt/leak >/dev/null 2>&1 </dev/null &");
    until("they are there", || {
        (host.done("ps axww -o args | grep -c '[d]ev-agent.sh$' || :").trim() == "300").then_some(())
    });
    let request = Request { matches: vec![("dev".into(), "dev-agent.sh".into())], ..Request::default() };
    for shell in shells() {
        let report = host.probe_under(&shell, &request);
        assert_eq!(report.running.unwrap()["dev"], 300, "{shell:?}");
        let matched = report.matched.unwrap();
        assert!(matched.len() == 256 && matched.iter().all(|one| one.procs == 1 && one.rss > 0), "{shell:?}");
    }
}

#[test]
fn a_guard_that_holds_the_text_is_no_agent() {
    let Some(host) = machine() else { return };
    let call = super::guard::call("f", 1, "vps-1", factory::remote::guard::Op::Seal);
    let call = factory::remote::guard::Call { home: "/mnt/dev-agent.sh".into(), ..call };
    let script = factory::remote::guard::program(&call, &Default::default()).unwrap().script;
    let mut guard = host.command("setsid");
    guard.args(["sh", "-c", "sleep 615; :", &script]).stdout(Stdio::null());
    let mut guard = guard.spawn().unwrap();
    until("it is there", || host.sh("ps ax | grep '[s]leep 615'").status.success().then_some(()));
    assert!(host.done("ps axww -o args").contains("/mnt/dev-agent.sh"));
    let request = Request { matches: vec![("dev".into(), "dev-agent.sh".into())], ..Request::default() };
    for shell in shells() {
        assert_eq!(host.probe_under(&shell, &request).running.unwrap()["dev"], 0, "{shell:?}");
    }
    drop(host);
    let _ = guard.wait();
}

#[test]
fn a_person_at_a_terminal_is_never_counted_nor_what_they_started() {
    let Some(host) = machine() else { return };
    if !host.sh("command -v script").status.success() {
        return;
    }
    std::fs::write(host.home().join("dev-agent.sh"), "sleep 610 &\nsetsid sh -c 'sleep 611; :' dev-agent.sh &\nwait\n")
        .unwrap();
    std::fs::write(host.home().join("mine"), "cd && sh dev-agent.sh 12\n").unwrap();
    let mut person = host.command("script");
    person.args(["-qc", "sh ~/mine", "/dev/null"]).stdout(Stdio::null());
    let mut person = person.spawn().unwrap();
    until("they sit there", || {
        host.sh("ps ax -o tty,args | grep '^pts.*sh dev-agent[.]sh 12' && ps ax | grep '[s]leep 611'")
            .status
            .success()
            .then_some(())
    });
    let request = Request { matches: vec![("dev".into(), "dev-agent.sh".into())], ..Request::default() };
    for shell in shells() {
        let report = host.probe_under(&shell, &request);
        assert_eq!((report.running.unwrap()["dev"], report.matched), (0, Some(vec![])), "{shell:?}");
    }
    // The same program by cron, beside them.
    host.done("cd && setsid sh dev-agent.sh 13 >/dev/null 2>&1 </dev/null &");
    until("cron's", || host.sh("ps ax -o args | grep '^sh dev-agent[.]sh 13'").status.success().then_some(()));
    for shell in shells() {
        let [one] = host.probe_under(&shell, &request).matched.unwrap().try_into().unwrap();
        assert!(one.command == "sh dev-agent.sh 13", "{shell:?}: {one:?}");
    }
    drop(host);
    let _ = person.wait();
}

#[test]
fn no_command_line_environment_or_output_can_speak_for_another() {
    let Some(host) = machine() else { return };
    let heads = "x\n==> 1/cmdline <==\ndev-agent.sh\n==> ../dev/null <==\n==> /dev/null <==\n\n==> ./1/stat <==\n1 (a) S 0 0 20261126-a\n";
    host.done(&format!(
        "setsid env \"TEXT={heads}FACTORY_RUN=20261126-a\nend\nrun 20261126-z DONE 0\" sh -c 'sleep 620; :' '{heads}' >/dev/null 2>&1 </dev/null &"
    ));
    let all: String =
        (1..=255u8).filter(|b| ![b'\n', b'\'', b'\\', b'%'].contains(b)).map(|b| format!("\\{b:03o}")).collect();
    launch(
        &host,
        "20261126-a",
        &format!(
            "printf 'begun\\n{all}'; printf '\\000\\nend\\nbegin factory-probe 1\\nruns 9\\n==> ./20261126-b/out.log <==\\n'; exec sleep 621"
        ),
    );
    launch(&host, "20261126-b", "printf 'mine\\n\\n \\n'; printf 'later\\n' >&2; exec sleep 622");
    let request = Request { last: true, matches: vec![("dev".into(), "dev-agent.sh".into())], ..Request::default() };
    until("they have said it", || {
        host.sh("[ -s ~/.factory/runs/20261126-b/err.log ] && grep -q '^==> ' ~/.factory/runs/20261126-a/out.log")
            .status
            .success()
            .then_some(())
    });
    host.done("touch -d '1 minute ago' ~/.factory/runs/20261126-b/out.log");
    for shell in shells() {
        let report = host.probe_under(&shell, &request);
        let [one] = report.matched.clone().unwrap().try_into().unwrap();
        assert!(one.command.starts_with("sh -c sleep 620; : x ==> 1/cmdline <== dev-agent.sh ==>"), "{one:?}");
        assert_eq!((one.procs, report.running.clone().unwrap()["dev"]), (2, 1), "{shell:?}");
        let [a, b] = ["20261126-a", "20261126-b"].map(|token| run_of(&report, token));
        assert_eq!((a.procs, b.procs, report.runs.unwrap().len()), (Some(2), Some(2), 2), "{shell:?}");
        assert_eq!(a.last.as_deref(), Some("==> ./20261126-b/out.log <=="), "{shell:?}");
        assert_eq!(b.last.as_deref(), Some("later"), "{shell:?}: the younger of its two logs");
    }
    // Every byte as the last line.
    std::fs::write(host.home().join(".factory/runs/20261126-a/command"), "").unwrap();
    host.done(&format!("printf 'x\\n{all}\\n' >>~/.factory/runs/20261126-a/out.log"));
    for shell in shells() {
        let report = host.probe_under(&shell, &request);
        let last = run_of(&report, "20261126-a").last.unwrap();
        assert!(
            last.contains("~") && last.contains("!\"#$&") && !last.chars().any(char::is_control),
            "{shell:?}: {last:?}"
        );
    }
}

/// Makes a run that is over and whose tree is known to be empty.
fn over(host: &Host, token: &str) {
    let dir = host.home().join(".factory/runs").join(token);
    std::fs::create_dir_all(&dir).unwrap();
    let boot = host.done("cat /proc/sys/kernel/random/boot_id");
    for (name, text) in [
        ("spec", "fleet f\ntask harb#1\nrepo harb\nagent dev\nattempt 1\nlimit 60\n".to_owned()),
        ("started", format!("77 5 {} 2026-11-26T06:00:00Z\n", boot.trim())),
        ("rc", "3\n2026-11-26T07:00:00Z\n".to_owned()),
        ("out.log", "first\nlast words\n".to_owned()),
        ("err.log", String::new()),
        ("wrapper.lock", String::new()),
        ("tree.lock", String::new()),
        ("empty", String::new()),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
    }
}

#[test]
fn what_is_quite_over_is_told_by_its_day_and_costs_no_process() {
    let Some(host) = machine() else { return };
    over(&host, "20261120-0");
    over(&host, "20261125-1");
    launch(&host, "20261126-live", "echo up; exec sleep 630");
    std::fs::write(host.home().join(".factory/runs/20261126-live/critical"), "").unwrap();
    std::fs::write(host.home().join(".factory/runs/20261126-live/stop"), "anna%20b 2026-11-26T06:30:00Z 0 30\n")
        .unwrap();
    let request = |since: Option<&str>| Request { last: true, since: since.map(Into::into), ..Request::default() };
    for shell in shells() {
        let told = |since: Option<&str>| {
            let report = host.probe_under(&shell, &request(since));
            let live = run_of(&report, "20261126-live");
            assert_eq!((live.critical, live.stopping.as_deref()), (Some(true), Some("anna b")), "{shell:?}");
            ["20261120-0", "20261125-1"].map(|token| run_of(&report, token))
        };
        let state = |token: &str| Run { token: token.into(), state: "DONE 3".into(), ..Run::default() };
        assert_eq!(told(None), [state("20261120-0"), state("20261125-1")], "{shell:?}");
        // What it had within its own limits is told as long as it is there.
        std::fs::write(host.home().join(".factory/runs/20261120-0/oom"), "2\n").unwrap();
        let killed = Run { oom_kills: Some(2), ..state("20261120-0") };
        assert_eq!(told(None), [killed, state("20261125-1")], "{shell:?}");
        std::fs::remove_file(host.home().join(".factory/runs/20261120-0/oom")).unwrap();
        let [old, new] = told(Some("20261125"));
        assert_eq!(old, state("20261120-0"), "{shell:?}");
        let times = (new.started.unwrap().to_string(), new.ended.unwrap().to_string());
        assert_eq!(times, ("2026-11-26T06:00:00Z".into(), "2026-11-26T07:00:00Z".into()), "{shell:?}");
        assert_eq!((new.repo.as_deref(), new.out, new.err), (Some("harb"), Some(17), Some(0)), "{shell:?}");
        assert_eq!((new.last.as_deref(), new.procs), (Some("last words"), None), "{shell:?}");
        assert!(told(Some("0")).iter().all(|run| run.last.as_deref() == Some("last words")), "{shell:?}");
    }
    // A file that is not young, by the host's own clock.
    host.done("touch -d '10 minutes ago' ~/.factory/runs/20261126-live/critical");
    let live = run_of(&host.probe(&request(None)), "20261126-live");
    assert_eq!(live.critical, Some(false));

    if !Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        return;
    }
    let count = |shell: &[&str]| {
        let trace = host.home().join("trace");
        let mut strace =
            vec!["strace", "-f", "-qq", "-e", "trace=fork,vfork,clone,clone3", "-o", trace.to_str().unwrap()];
        strace.extend(shell);
        let report = host.probe_under(&strace, &request(Some("0")));
        let text = std::fs::read_to_string(trace).unwrap();
        // One whose caller was gone before it was over is told with `?`; it is begun again, or was told before.
        let begun = text.lines().filter(|line| {
            line.contains(" = ") && ![" = -1", " = ?", "unfinished"].iter().any(|none| line.contains(none))
        });
        (report.runs.unwrap().len(), begun.count())
    };
    let few: Vec<(usize, usize)> = shells().iter().map(|shell| count(shell)).collect();
    (0..200).for_each(|i| over(&host, &format!("20261124-{i}")));
    for (shell, few) in shells().iter().zip(few) {
        let many = count(shell);
        assert_eq!(many, (few.0 + 200, few.1), "{shell:?}: 200 runs that are over cost processes");
        assert!((5..40).contains(&many.1), "{shell:?}: {} processes", many.1);
    }
}
