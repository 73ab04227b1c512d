//! Runs over real hosts: what a cut connection, a reboot or a lost answer leaves is finished by the next tick, once.

use std::path::PathBuf;

use serde_json::Value;

use super::lab::{Lab, Machine};
use super::lab_halt::{factory, state};
use super::order;
use super::support::{nowhere, until};

/// What a value may be made of: quotes of every kind, what shells and templates take apart, and no letter of ASCII alone.
const AWKWARD: &str = r##"a'b"c\d$(e)`f`${HOME}!g#h;i&j|k<l>m*n?o[p]{q}~r%s^t=u,v:w@x ü€ -y"##;

/// Time-outs that no host reaches which is there, however busy this machine is.
const PATIENT: &str =
    "ssh: {connect: 15s, command: 20s}\nguard: {payload: 20s, lock_wait: 20s, op: 10s, started: 20s, kill_after: 2s}\n";

/// Short ones, for hosts that are cut off.
const SHORT: &str = "ssh: {connect: 3s, command: 6s}\nguard: {payload: 3s, lock_wait: 5s, op: 5s, kill_after: 2s}\n";

const SETTINGS: &str = "fleet: lab\n\
    agents:\n  dev: {command: [sh, /root/agent.sh, '{{ issue.number }}'], needs: {memory: 64MiB, cpu: 0.1}}\n";

/// Hosts whose agents say that they began, in the file `began`, and then sleep, or do what their last argument says.
fn lab(count: usize, times: &str) -> Option<Lab> {
    let lab = Lab::new(count)?;
    let dir = lab.inventory();
    std::fs::write(dir.join("factory.yml"), format!("{SETTINGS}{times}")).unwrap();
    std::fs::write(dir.join("kept"), AWKWARD).unwrap();
    std::fs::set_permissions(dir.join("kept"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(
        dir.join("repos.yml"),
        nowhere("repos: {harb: {slug: a/harb, ci: none, env: {KEPT: {file: kept}}}}\n"),
    )
    .unwrap();
    for host in lab.hosts() {
        host.write(
            "/root/agent.sh",
            "echo \"$FACTORY_RUN $$ $*\" >>/root/began\nfor word do :; done\n\
             case $word in soon) sleep 2 ;; *) exec sleep 100 ;; esac\n",
        );
    }
    Some(lab)
}

fn began(host: &Machine) -> Vec<String> {
    host.done("cat /root/began 2>/dev/null || :").lines().map(str::to_owned).collect()
}

/// How many agents run on a host, by its own process table.
fn agents(host: &Machine) -> usize {
    let found = host.done("for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null; echo; done");
    found.lines().filter(|line| line.trim() == "sleep 100").count()
}

fn launch(lab: &Lab, code: i32, host: &str, issue: &str) -> (String, String) {
    factory(lab, code, &["launch", "--host", host, "--repo", "harb", "--agent", "dev", "--issue", issue])
}

fn claims(lab: &Lab) -> Vec<(String, String, bool)> {
    let claims = order::document(&state(lab)).map(|document| document.claims).unwrap_or_default();
    claims.into_iter().map(|(task, claim)| (task, claim.token, claim.started)).collect()
}

fn run_state(lab: &Lab, host: &str, token: &str) -> String {
    let (stdout, _) = factory(lab, 0, &["probe", "-l", host, "-o", "json"]);
    let probe: Value = serde_json::from_str(&stdout).unwrap();
    let runs = probe["samples"][0]["runs"].as_array().unwrap().clone();
    let run = runs.iter().find(|run| run["token"] == token).map(|run| run["state"].as_str().unwrap().to_owned());
    run.unwrap_or_default()
}

#[test]
fn a_run_goes_on_without_the_connection_that_started_it_and_ends_when_it_is_stopped() {
    let Some(lab) = lab(2, PATIENT) else { return };
    let token = launch(&lab, 0, "h1", "1").0.trim().to_owned();
    assert_eq!((began(lab.host(0)).len(), agents(lab.host(0)), agents(lab.host(1))), (1, 1, 0));
    // The session of sshd that started it is long gone.
    lab.cut(lab.host(0));
    lab.mend(lab.host(0));
    assert_eq!(agents(lab.host(0)), 1);
    let (stdout, _) = factory(&lab, 0, &["stop", &token]);
    assert!(stdout.contains("stopped"), "{stdout}");
    assert_eq!((agents(lab.host(0)), claims(&lab).len()), (0, 0));
}

#[test]
fn a_host_that_is_cut_off_before_the_start_begins_nothing() {
    let Some(lab) = lab(1, SHORT) else { return };
    factory(&lab, 0, &["run"]);
    lab.cut(lab.host(0));
    launch(&lab, 4, "h1", "1");
    assert!(claims(&lab).is_empty(), "it was certainly not begun");
    lab.mend(lab.host(0));
    factory(&lab, 0, &["run"]);
    assert!(began(lab.host(0)).is_empty());
    launch(&lab, 0, "h1", "1");
    until("the run", || (began(lab.host(0)).len() == 1).then_some(()));
}

#[test]
fn a_host_whose_answer_is_lost_after_the_start_is_found_to_run_it() {
    let Some(lab) = lab(1, SHORT) else { return };
    factory(&lab, 0, &["run"]);
    let host = lab.host(0);
    // A slow disk, so that there is time between the start and the answer.
    host.done("mv /usr/bin/sync /usr/bin/sync.real");
    host.write("/usr/bin/sync", "#!/bin/sh\nsleep 0.3\nexec sync.real \"$@\"\n");
    host.done("chmod 755 /usr/bin/sync");
    let mut command = lab.command("factory");
    command.args(["launch", "--host", "h1", "--repo", "harb", "--agent", "dev", "--issue", "1"]);
    command.env("FACTORY_INVENTORY", "/root/inventory");
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    until("the run's directory", || (!host.done("ls /root/.factory/runs 2>/dev/null || :").is_empty()).then_some(()));
    lab.cut_replies(host);
    let output = child.wait_with_output().unwrap();
    let code = output.status.code().unwrap();
    // Where the answer was faster than the cut, it is simply known.
    assert!([0, 4].contains(&code), "{code}: {}", String::from_utf8_lossy(&output.stderr));
    until("the run", || (began(host).len() == 1).then_some(()));
    lab.mend(host);
    until("the tick that sees it", || {
        factory(&lab, 0, &["run"]);
        claims(&lab).iter().all(|(_, _, started)| *started).then_some(())
    });
    let known = claims(&lab);
    assert_eq!((known.len(), began(host).len(), agents(host)), (1, 1, 1), "{known:?}");
    assert!(began(host)[0].starts_with(&known[0].1));
    // Another launch of the same issue is refused, also after that.
    launch(&lab, 1, "h1", "1");
}

#[test]
fn a_reboot_ends_a_run_and_frees_its_task() {
    let Some(lab) = lab(1, PATIENT) else { return };
    let token = launch(&lab, 0, "h1", "1").0.trim().to_owned();
    factory(&lab, 0, &["run"]);
    lab.host(0).reboot();
    until("the host is back", || lab.ssh(lab.host(0), "true").status.success().then_some(()));
    assert_eq!(run_state(&lab, "h1", &token), "REBOOTED");
    factory(&lab, 0, &["run"]);
    assert!(claims(&lab).is_empty());
    let (events, _) = factory(&lab, 0, &["events"]);
    assert!(events.contains("was ended by a reboot of its host"), "{events}");
    // The same token never again, the same issue yes.
    launch(&lab, 0, "h1", "1");
    until("the second run", || (began(lab.host(0)).len() == 2).then_some(()));
    assert_eq!(agents(lab.host(0)), 1);
}

#[test]
fn a_host_that_is_away_keeps_its_claims_and_finishes_them_later() {
    let Some(lab) = lab(2, SHORT) else { return };
    let token = launch(&lab, 0, "h1", "1").0.trim().to_owned();
    let soon =
        factory(&lab, 0, &["launch", "--host", "h1", "--repo", "harb", "--agent", "dev", "--issue", "2", "--", "soon"]);
    until("its end", || (run_state(&lab, "h1", soon.0.trim()) == "DONE 0").then_some(()));
    lab.cut(lab.host(0));
    for _ in 0..2 {
        factory(&lab, 0, &["run"]);
        assert_eq!(claims(&lab).len(), 2, "silence moves nothing");
    }
    launch(&lab, 1, "h2", "1");
    lab.mend(lab.host(0));
    factory(&lab, 0, &["run"]);
    let known = claims(&lab);
    assert!(known.len() == 1 && known[0].1 == token, "{known:?}");
}

#[test]
fn a_secret_reaches_its_run_unchanged_and_nobody_else() {
    let Some(lab) = lab(1, PATIENT) else { return };
    let host = lab.host(0);
    let agent = "printf '%s' \"$KEPT\" | sha256sum >/root/sum\nsleep 100 &\necho began >>/root/began\nwait\n";
    host.write("/root/agent.sh", agent);
    factory(&lab, 0, &["-vvv", "run"]);
    let args = ["-vvv", "launch", "--host", "h1", "--repo", "harb", "--agent", "dev", "--issue", "1"];
    let (stdout, stderr) = factory(&lab, 0, &args);
    until("the run", || (began(host).len() == 1).then_some(()));
    let sum = factory::remote::guard::sha256(AWKWARD.as_bytes());
    assert_eq!(host.done("cut -d ' ' -f 1 /root/sum").trim(), sum);
    let token = stdout.lines().next().unwrap().to_owned();
    let mut told = format!("{stdout}{stderr}");
    for args in [
        &["-vvv", "run"][..],
        &["status", "-o", "json"],
        &["events", "--samples", "-o", "jsonl"],
        &["events"],
        &["probe", "-o", "json"],
        &["-vvv", "stop", &token, "--now"],
    ] {
        let (stdout, stderr) = factory(&lab, 0, args);
        told.push_str(&format!("{stdout}{stderr}"));
    }
    // A part of it that no quoting changes, and the whole.
    let parts = ["ü€ -y", AWKWARD];
    assert!(parts.iter().all(|part| !told.contains(part)), "told");
    let has = |path: &PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_default();
        parts.iter().any(|part| bytes.windows(part.len()).any(|window| window == part.as_bytes()))
    };
    // Every file of the controller's, but the one that the inventory names.
    let mut found = Vec::new();
    super::guard::walk(&lab.home(), &mut |path| found.extend(Some(path.to_owned()).filter(has)));
    assert_eq!(found, [lab.home().join("inventory/kept")]);
    // Every file of the host's own, and what its processes were started with.
    let root = PathBuf::from(format!("/proc/{}/root", host.pid()));
    let mut found = Vec::new();
    for dir in ["root", "tmp", "run", "var/log", "var/spool", "home"] {
        super::guard::walk(&root.join(dir), &mut |path| found.extend(Some(path.to_owned()).filter(has)));
    }
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn what_runs_is_started_with_nothing_secret() {
    let Some(lab) = lab(1, PATIENT) else { return };
    let host = lab.host(0);
    launch(&lab, 0, "h1", "1");
    until("the run", || (agents(host) == 1).then_some(()));
    let part = "ü€ -y".as_bytes();
    let all = std::fs::read_dir(format!("/proc/{}/root/proc", host.pid())).unwrap().flatten();
    let processes = all.map(|entry| entry.path()).filter(|path| path.join("cmdline").exists());
    let (mut inside, mut outside) = (0, Vec::new());
    for process in processes {
        let holds = |file: &str| {
            std::fs::read(process.join(file)).is_ok_and(|bytes| bytes.windows(part.len()).any(|window| window == part))
        };
        assert!(!holds("cmdline"), "{process:?}");
        match (holds("environ"), std::fs::read_to_string(process.join("cmdline")).unwrap_or_default()) {
            (true, line) if line.starts_with("sleep\0") => inside += 1,
            (true, line) => outside.push(line),
            (false, _) => {}
        }
    }
    assert_eq!((inside, outside), (1, Vec::<String>::new()), "only the agent has it");
}
