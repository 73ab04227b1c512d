//! `factory ps` on hosts of the lab: its rows are what runs there, by one exec a host.

use std::process::Stdio;

use factory::remote::guard::{self, Op, Word};
use serde_json::Value;

use super::lab::{self, Lab, Machine};
use super::probe_runs::{PS, listed};
use super::support::until;

/// An agent as cron starts it in the field: it keeps a lock with its number, works in another process group, and has a
/// child that lost its parent.
const AGENT: &str = r#"#!/bin/bash
if [ "$1" = 12 ]; then
    [ -e /tmp/dev-agent.lock ] && exit
    echo $$ >/tmp/dev-agent.lock
fi
set -m
timeout 7200 sh -c "{ head -c 30000000 /dev/zero; exec sleep 70$1; } | tail" &
sh -c "sleep 71$1 &"
wait
"#;

/// The row of a token; the one that begins with it.
#[track_caller]
fn row<'a>(rows: &'a Value, token: &str) -> &'a Value {
    let all = rows["runs"].as_array().unwrap();
    let mut found = all.iter().filter(|row| row["token"].as_str().unwrap().starts_with(token));
    match (found.next(), found.next()) {
        (Some(row), None) => row,
        _ => panic!("not one row {token}: {rows:#}"),
    }
}

/// Says that the numbers of a row are those of the processes on the host whose line of ps `ours` knows.
#[track_caller]
fn is_measured(row: &Value, host: &Machine, ours: impl Fn(&str) -> bool) {
    let text = host.done("exec ps axww -o pid= -o rss= -o sid= -o tty= -o args=");
    let ours: String = text.lines().filter(|line| ours(line)).map(|line| format!("{line}\n")).collect();
    let tree = listed(&ours);
    assert_eq!(row["procs"].as_u64().unwrap(), tree.len() as u64, "{row:#} {tree:?}");
    let (rss, told) = (tree.values().map(|(rss, _)| rss * 1024).sum::<u64>(), row["rss"].as_u64().unwrap());
    assert!(rss > 30_000_000 && told.abs_diff(rss) <= rss / 50 + (256 << 10), "{told} instead of {rss}: {tree:?}");
}

/// The launch of a run whose command is this text of a shell's.
fn call_of(token: &str, text: &str) -> guard::Call {
    let job = Box::new(super::runs::script(token, text));
    guard::Call { home: "~/.factory".into(), ..super::guard::call("f", 1, "vps-1", Op::Launch(job)) }
}

/// Makes 200 runs that are over, the last of them an hour ago.
fn over(host: &Machine) {
    host.done(
        "mkdir -p ~/.factory/runs && cd ~/.factory/runs && boot=$(cat /proc/sys/kernel/random/boot_id) && i=0 && \
         for ago in $(seq 1 200); do \
           at=$(date -u -d \"$ago hours ago\" +%Y%m%d) utc=$(date -u -d \"$ago hours ago\" +%Y-%m-%dT%H:%M:%SZ); \
           mkdir $at-over.$ago && cd $at-over.$ago && : >wrapper.lock && : >tree.lock && : >empty && : >err.log && \
           printf 'fleet f\\ntask harb#%s\\nrepo harb\\nagent dev\\nattempt 1\\n' $ago >spec && \
           echo \"77 5 $boot $utc\" >started && printf '3\\n%s\\n' $utc >rc && echo \"ended as $ago\" >out.log && cd .. || exit; \
         done",
    );
}

#[test]
fn every_run_and_every_agent_of_cron_is_told_by_one_exec_a_host() {
    let Some(lab) = Lab::new(3) else { return };
    let (one, two, three) = (lab.host(0), lab.host(1), lab.host(2));
    let inventory = lab.inventory();
    let factory_yml = "fleet: lab\nagents: {dev: {start: cron, match: dev/dev-agent.sh}}\n";
    std::fs::write(inventory.join("factory.yml"), factory_yml).unwrap();
    two.done("mkdir -p /root/dark/dev");
    two.write("/root/dark/dev/dev-agent.sh", AGENT);
    two.done("echo '* * * * * cd /root/dark && bash dev/dev-agent.sh 12 >> dev/dev-agent.log 2>&1' | crontab -");
    // A person runs the same by hand.
    let mut person = lab.command("ssh");
    person.args(["-tt", "h2", "cd dark && bash dev/dev-agent.sh 13"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut person = person.spawn().unwrap();
    three.sshd_down();

    over(one);
    let token = format!("{}-live", jiff::Timestamp::now().strftime("%Y%m%d"));
    let text = "echo begun; { head -c 30000000 /dev/zero; exec sleep 700; } | tail & (setsid sleep 701 &); wait";
    let call = call_of(&token, text);
    let program = guard::program(&call, &super::guard::patient()).unwrap();
    let mut shell = one.command("sh");
    shell.args(["-c", &program.script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let answer = super::guard::read(&super::guard::feed(shell, &program.stdin).wait_with_output().unwrap());
    assert_eq!(answer.word, Word::Done, "{}", answer.detail);
    let there = |host: &Machine, what: &[&str]| {
        let all = listed(&host.done(PS));
        let has = |text: &str| all.values().any(|(_, args)| args == text);
        (all.values().any(|(rss, args)| args == "tail" && *rss > 29_000) && what.iter().all(|text| has(text)))
            .then_some(())
    };
    until("the run", || there(one, &["sleep 700", "sleep 701"]));
    // A minute may pass until cron wakes.
    let began = std::time::Instant::now();
    while there(two, &["sleep 7012", "sleep 7112", "sleep 7013", "sleep 7113"]).is_none() {
        assert!(began.elapsed().as_secs() < 120, "cron did not start it: {}", two.done(PS));
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    one.login_shell("root", "#!/bin/sh\necho >>/root/execs\nexec /bin/sh \"$@\"\n");

    let ended = lab.factory(&["ps", "-o", "json"]);
    assert_eq!(ended.status.code(), Some(4), "{}", String::from_utf8_lossy(&ended.stderr));
    let rows: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!((&rows["v"], &rows["kind"]), (&Value::from(1), &Value::from("ps")));
    assert_eq!(one.done("wc -l </root/execs").trim(), "1", "one exec");
    assert_eq!(rows["unknown"].as_array().unwrap().len(), 1, "{rows:#}");
    assert_eq!(rows["unknown"][0]["host"], "h3");

    let run = row(&rows, &token);
    for (key, value) in [
        ("host", "h1"),
        ("state", "RUNNING"),
        ("repo", "harb"),
        ("agent", "dev"),
        ("task", "harb#12"),
        ("last", "begun"),
    ] {
        assert_eq!(run[key], value, "{run:#}");
    }
    let leader = one.done(&format!("cut -d' ' -f1 ~/.factory/runs/{token}/started"));
    is_measured(run, one, |line| {
        line.split_ascii_whitespace().nth(2) == Some(leader.trim()) || line.ends_with("sleep 701")
    });

    let agent = row(&rows, "pid:");
    assert_eq!((&agent["host"], &agent["agent"], &agent["matched"]), (&"h2".into(), &"dev".into(), &true.into()));
    assert!(agent["command"].as_str().unwrap().contains("dev/dev-agent.sh 12"), "{agent:#}");
    let sid = agent["sid"].to_string();
    is_measured(agent, two, |line| line.split_ascii_whitespace().nth(2) == Some(sid.as_str()));
    let terminals = two.done("ps axww -o tty= -o args= | grep -c '^pts.*dev-agent[.]sh 13' || :");
    assert_ne!(terminals.trim(), "0", "the person is still there");
    let age = jiff::Timestamp::now().as_second()
        - agent["started"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    assert!((-5..600).contains(&age), "{age}");

    // Those of the last day, the latest first; all of them when asked, by one exec again.
    let over = |rows: &Value| -> Vec<String> {
        let over = rows["runs"].as_array().unwrap().iter().filter(|row| row["state"] == "DONE 3");
        over.map(|row| row["last"].as_str().unwrap().to_owned()).collect()
    };
    let day: Vec<String> = (1..24).map(|ago| format!("ended as {ago}")).collect();
    assert_eq!(over(&rows)[..23], day);
    assert!(over(&rows).len() <= 24);
    let all = lab.factory(&["ps", "--all", "-l", "h1,h2", "-o", "jsonl"]);
    assert_eq!(all.status.code(), Some(0), "{}", String::from_utf8_lossy(&all.stderr));
    let text = String::from_utf8(all.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 202);
    assert!(lines.iter().all(|line| line["kind"] == "run" && line["v"] == 1));
    assert_eq!(one.done("wc -l </root/execs").trim(), "2");

    // For people: what lives is above what is over, and who is silent is below.
    let table = lab.factory(&["ps"]);
    assert_eq!(table.status.code(), Some(4));
    let text = String::from_utf8(table.stdout).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_ascii_whitespace().collect()).collect();
    assert_eq!(lines[0], ["HOST", "TOKEN", "AGENT", "REPO", "STATE", "AGE", "RSS", "CPU", "LAST"]);
    assert_eq!(lines[1][..5], ["h1", token.as_str(), "dev", "harb", "running"], "{text}");
    assert_eq!(lines[1].last(), Some(&"begun"));
    assert_eq!((lines[2][0], lines[2][3]), ("h2", "-"), "{text}");
    assert!(text.lines().nth(2).unwrap().contains("  $ "), "{text}");
    assert!(text.lines().nth(3).unwrap().contains("done 3, 1h"), "{text}");
    assert!(text.lines().last().unwrap().starts_with("h3: unknown: "), "{text}");
    assert!(String::from_utf8_lossy(&table.stderr).contains("older runs not shown"));

    // By its session it goes, all of it, and the person stays.
    two.done("crontab -r");
    two.done(&format!("pkill -KILL -s {sid}"));
    until("it is gone", || {
        let ended = lab.factory(&["ps", "-l", "h2", "-o", "json"]);
        let rows: Value = serde_json::from_slice(&ended.stdout).unwrap();
        rows["runs"].as_array().unwrap().is_empty().then_some(())
    });
    assert!(there(two, &["sleep 7013", "sleep 7113"]).is_some());
    drop(lab);
    let _ = person.wait();
}

#[test]
fn a_run_that_died_or_left_something_is_told_so() {
    let Some(host) = lab::host() else { return };
    host.done("mkdir -p ~/inventory ~/.factory/runs");
    let file = |name: &str, text: &str| std::fs::write(host.home().join("inventory").join(name), text).unwrap();
    file("hosts.yml", "all: {hosts: {this: {ansible_connection: local}}}\n");
    file("factory.yml", "{}\n");
    let inventory = host.home().join("inventory");
    let ps = |args: &[&str]| {
        let ended = host.factory(&[&["ps", "-i", inventory.to_str().unwrap()], args].concat());
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (ended.status.code(), text(ended.stdout), text(ended.stderr))
    };
    let (code, table, told) = ps(&[]);
    assert_eq!((code, table.as_str()), (Some(0), ""), "{told}");
    assert!(told.contains("nothing runs on 1 host"), "{told}");

    let day = jiff::Timestamp::now().strftime("%Y%m%d").to_string();
    let launch = |name: &str, text: &str| {
        let call = call_of(&format!("{day}-{name}"), text);
        let program = guard::program(&call, &super::guard::patient()).unwrap();
        let mut shell = host.command("sh");
        shell.args(["-c", &program.script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let answer = super::guard::read(&super::guard::feed(shell, &program.stdin).wait_with_output().unwrap());
        assert_eq!(answer.word, Word::Done, "{}", answer.detail);
    };
    launch("a", "exec sleep 720");
    launch("b", "echo out of luck >&2; setsid sleep 721 & exit 7");
    launch("c", "exec sleep 722");
    until("b is over", || std::fs::read(host.home().join(format!(".factory/runs/{day}-b/rc"))).ok());
    until("they run", || {
        host.sh("ps ax | grep '[s]leep 721' && ps ax | grep '[s]leep 722'").status.success().then_some(())
    });
    host.done(&format!("kill -KILL $(cut -d' ' -f1 ~/.factory/runs/{day}-c/started)"));
    until("the wrapper is dead", || {
        let (_, text, _) = ps(&["-o", "json"]);
        (row(&serde_json::from_str(&text).unwrap(), &format!("{day}-c"))["state"] != "RUNNING").then_some(())
    });
    let (code, table, _) = ps(&[]);
    assert_eq!(code, Some(0), "{table}");
    let line = |name: &str| table.lines().find(|line| line.contains(&format!("{day}-{name}"))).unwrap();
    assert!(line("a").contains("  running  "), "{table}");
    assert!(line("b").contains("  done 7, leftover  ") && line("b").ends_with("  out of luck"), "{table}");
    assert!(line("c").contains("  crashed, leftover  "), "{table}");
    // A terminal shows a row on a line, cut at its edge.
    if host.sh("command -v script").status.success() {
        launch("d", &format!("echo {}; exec sleep 723", "0123456789".repeat(15)));
        until("d speaks", || {
            host.sh(&format!("[ -s ~/.factory/runs/{day}-d/out.log ]")).status.success().then_some(())
        });
        let (_, piped, _) = ps(&[]);
        assert!(piped.contains(&"0123456789".repeat(15)));
        let command = format!("stty cols 120; {} ps -i {}", env!("CARGO_BIN_EXE_factory"), inventory.display());
        let mut script = host.command("script");
        let output: std::process::Output =
            script.args(["-qc", &command, "/dev/null"]).env("TERM", "xterm").env("NO_COLOR", "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
        let row = text.lines().find(|line| line.contains(&format!("{day}-d"))).unwrap();
        assert!(row.ends_with("...") && (100..=120).contains(&row.chars().count()), "{row}");
    }
}
