//! Coming and going on real hosts: crontabs that start what is ours to start, hosts that are given back, the entry that
//! wakes factory, and backups.

use std::io::{Read, Write};
use std::process::{Output, Stdio};

use serde_json::Value;

use super::cron_holds::{TABLE, held_lines, install, lab, same, spool};
use super::lab::{Lab, Machine};
use super::lab_halt::{factory, files, held, names};
use super::order;

/// The same agents, ours to start by now; poll is halted by a file that it looks for.
const OURS: &str = "fleet: lab\nssh: {connect: 15s, command: 30s}\nagents:\n  \
    dev: {match: dev-agent.sh, halt: {cron: dev/dev-poll.sh}, command: [dev]}\n  \
    review: {match: review/review-poll, command: [review]}\n  \
    poll: {class: dev, start: cron, match: factory-poll.sh, halt: {active_file: ~/poll.on}}\n";

const TAKEN: [(&str, &str); 3] =
    [("6,16,26 *", "takeover:dev"), ("  @reboot", "takeover:dev"), ("3,13,23", "takeover:review")];

fn json(output: &str) -> Value {
    serde_json::from_str(output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

#[test]
fn a_takeover_shows_what_it_does_and_is_reversible() {
    let Some(lab) = lab(1, OURS) else { return };
    let host = lab.host(0);
    let (check, _) = factory(&lab, 0, &["inventory", "check"]);
    assert!(
        check.contains("its crontab starts `dev`")
            && check.contains("and 1 more")
            && check.contains("factory takeover h1"),
        "{check}"
    );
    // What launching asks: how many lines start what is ours.
    let sample = |lab: &Lab| {
        let sample = json(&factory(lab, 0, &["probe", "-o", "json"]).0)["samples"][0].clone();
        let sample: factory::remote::sample::Sample = serde_json::from_value(sample).unwrap();
        ["dev", "review", "poll"].map(|agent| factory::policy::takeover::started(&sample, agent))
    };
    assert_eq!(sample(&lab), [Some(2), Some(1), None]);

    let (shown, _) = factory(&lab, 0, &["takeover", "h1", "--check"]);
    for (line, key) in TAKEN {
        assert!(shown.lines().any(|one| one.starts_with(&format!("+#factory:{key}# {line}"))), "{shown}");
    }
    same(host, TABLE);
    assert!(!host.sh("[ -e ~/.factory ]").status.success(), "a check leaves nothing there");
    assert!(!lab.home().join(".local").exists(), "nor here");
    // Nobody is there to be asked.
    let (_, stderr) = factory(&lab, 2, &["takeover", "h1"]);
    assert!(stderr.contains("--yes"), "{stderr}");
    same(host, TABLE);

    let (stdout, _) = factory(&lab, 0, &["takeover", "h1", "--yes"]);
    assert!(stdout.contains("taken over"), "{stdout}");
    same(host, &held_lines(&TAKEN));
    assert_eq!(sample(&lab), [Some(0), Some(0), None]);
    let (again, _) = factory(&lab, 0, &["takeover", "h1", "-o", "json"]);
    assert_eq!(json(&again)["hosts"][0]["diff"], Value::Null, "{again}");
    assert!(!factory(&lab, 0, &["inventory", "check"]).0.contains("its crontab starts"));

    // Holds come and go, and what was taken over stays so.
    for verb in ["halt", "resume"] {
        factory(&lab, 0, &[verb, "--host", "h1", "--agent", "dev"]);
        factory(&lab, 0, &["run"]);
        same(host, &held_lines(&TAKEN));
    }
    let (stdout, _) = factory(&lab, 0, &["takeover", "h1", "--release", "--yes", "-o", "json"]);
    let released = json(&stdout);
    assert_eq!((&released["kind"], &released["hosts"][0]["why"]), (&"release".into(), &Value::Null), "{released}");
    same(host, TABLE);

    // A hold that has disabled some lines before does not start them again when it ends.
    factory(&lab, 0, &["halt", "--host", "h1", "--agent", "dev"]);
    same(host, &held_lines(&[("6,16,26 *", "dev"), ("  @reboot", "dev")]));
    factory(&lab, 0, &["takeover", "h1", "--yes"]);
    factory(&lab, 0, &["resume", "--host", "h1"]);
    same(host, &held_lines(&TAKEN));
    // And one that goes on keeps them disabled when the takeover ends.
    factory(&lab, 0, &["halt", "--host", "h1", "--agent", "dev"]);
    factory(&lab, 0, &["takeover", "h1", "--release", "--yes"]);
    same(host, &held_lines(&[("6,16,26 *", "dev"), ("  @reboot", "dev")]));
    factory(&lab, 0, &["resume", "--host", "h1"]);
    same(host, TABLE);
}

#[test]
fn what_cannot_be_taken_over_is_told_and_the_others_are() {
    let Some(lab) = lab(3, OURS) else { return };
    lab.host(0).sshd_down();
    // Nobody can tell what is in a block that does not end.
    let half = [TABLE, b"# BEGIN factory lab\n"].concat();
    install(lab.host(1), &half);
    let (stdout, _) = factory(&lab, 1, &["takeover", "all", "--yes"]);
    assert!(stdout.contains("h1: ") && stdout.contains("begins a block that does not end"), "{stdout}");
    same(lab.host(1), &half);
    same(lab.host(2), &held_lines(&TAKEN));
    let (_, _) = factory(&lab, 4, &["leave", "-l", "h1", "--yes"]);
    factory(&lab, 1, &["leave", "-l", "h2", "--yes"]);
    let document = order::document(&lab.home().join(".local/state/factory/lab")).unwrap();
    assert!(document.hosts.values().all(|entry| entry.left.is_none()), "{:?}", document.hosts);
}

#[test]
fn a_host_that_is_left_is_as_it_was_and_nothing_is_changed_there_until_it_is_taken_up_again() {
    let settings = OURS.replace(
        "dev: {match: dev-agent.sh, halt: {cron: dev/dev-poll.sh}, command: [dev]}",
        "dev: {start: cron, match: dev-agent.sh, halt: {cron: dev/dev-poll.sh}}",
    );
    let Some(lab) = lab(2, &settings) else { return };
    let (one, two) = (lab.host(0), lab.host(1));
    for host in [one, two] {
        host.done("echo yes >poll.on && mkdir -p .factory/halt && echo mine >.factory/halt/supervisor");
    }
    one.write("/root/dev-agent.sh", "#!/bin/sh\nexec 2>/dev/null\nwhile sleep 1; do :; done\n");
    one.done("setsid sh /root/dev-agent.sh </dev/null >/dev/null 2>&1 &");
    factory(&lab, 0, &["takeover", "all", "--yes"]);
    factory(&lab, 0, &["halt", "--host", "all"]);
    factory(&lab, 0, &["run"]);
    let busy = held_lines(&[("6,16,26 *", "dev"), ("  @reboot", "dev"), ("3,13,23", "takeover:review")]);
    [one, two].iter().for_each(|host| same(host, &busy));
    assert!(!one.sh("[ -e poll.on ]").status.success());

    let before = files(one);
    let (shown, _) = factory(&lab, 0, &["leave", "-l", "h1", "--check"]);
    assert!(
        shown.contains("-#factory:dev# 6,16,26") && shown.contains("release dev, poll, review, ~/poll.on"),
        "{shown}"
    );
    assert!(shown.contains("still there: 1 of agent dev"), "{shown}");
    same(one, &busy);
    assert_eq!(files(one), before);

    let (stdout, _) = factory(&lab, 0, &["leave", "-l", "h1", "--yes", "-o", "json"]);
    let left = json(&stdout);
    assert_eq!((&left["kind"], &left["hosts"][0]["why"]), (&"leave".into(), &Value::Null), "{left}");
    assert!(left["hosts"][0]["still"].to_string().contains("agent dev"), "{left}");
    // To the byte, with the block of another supervisor.
    let gone = |host: &Machine| {
        same(host, TABLE);
        assert_eq!(
            (names(host), host.done("cat poll.on .factory/halt/supervisor")),
            (vec!["supervisor".to_owned()], "yes\nmine\n".to_owned())
        );
    };
    gone(one);
    same(two, &busy);

    // Nobody changes it, whatever is held.
    for _ in 0..2 {
        let (stdout, _) = factory(&lab, 0, &["run"]);
        assert!(stdout.contains("h1: nothing is changed: it was left by"), "{stdout}");
        gone(one);
    }
    let (stdout, _) = factory(&lab, 1, &["halt", "--host", "all", "--agent", "review"]);
    assert!(stdout.contains("factory takeover h1") && names(two).contains(&"review".to_owned()), "{stdout}");
    gone(one);
    let (status, _) = factory(&lab, 0, &["status"]);
    assert!(status.contains("h1 was left"), "{status}");
    assert_eq!(json(&factory(&lab, 0, &["status", "-o", "json"]).0)["left"], serde_json::json!(["h1"]));
    let (again, _) = factory(&lab, 0, &["leave", "-l", "h1"]);
    assert!(again.contains("it was left already"), "{again}");

    // Taken up again, its holds come back with the next tick, and nobody is said to have taken them away.
    factory(&lab, 0, &["takeover", "h1", "--yes"]);
    let (_, stderr) = factory(&lab, 0, &["run"]);
    assert!(!stderr.contains("put back"), "{stderr}");
    assert!(names(one).contains(&"dev".to_owned()) && !one.sh("[ -e poll.on ]").status.success());
    same(one, &busy);
    factory(&lab, 0, &["resume", "--all"]);
    assert!(held(&lab).is_empty());
}

/// A controller with cron: a host of the lab whose inventory is itself alone.
struct Controller<'a>(&'a Machine);

impl Controller<'_> {
    fn new<'a>(lab: &'a Lab, repos: &str) -> Controller<'a> {
        let host = lab.host(0);
        host.done("mkdir -p '/root/in 100%'");
        host.write("/root/in 100%/hosts.yml", "all: {hosts: {this: {ansible_connection: local}}}\n");
        host.write("/root/in 100%/factory.yml", "fleet: own\n");
        host.write("/root/in 100%/repos.yml", repos);
        Controller(host)
    }

    fn factory(&self, env: &[(&str, &str)], args: &[&str]) -> Output {
        let mut command = self.0.command("/usr/local/bin/factory");
        command.args(["-i", "/root/in 100%"]).args(args).envs(env.iter().copied()).output().unwrap()
    }

    #[track_caller]
    fn ended(&self, code: i32, env: &[(&str, &str)], args: &[&str]) -> (String, String) {
        let output = self.factory(env, args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}\n{stdout}\n{stderr}");
        (stdout, stderr)
    }
}

#[test]
fn the_entry_is_installed_only_where_a_tick_works_from_cron_and_then_cron_runs_it() {
    let Some(lab) = lab(1, OURS) else { return };
    let repos = "repos: {harb: {slug: a/harb, ci: none, forge: {kind: forgejo, url: 'http://127.0.0.1:9'}, token: {env: HARB_TOKEN}}}\n";
    let own = Controller::new(&lab, repos);
    let token = [("HARB_TOKEN", "secret-of-harb")];
    let (_, stderr) = own.ended(1, &token, &["cron", "install", "--yes"]);
    assert!(stderr.contains("repo harb: token") && stderr.contains("HARB_TOKEN"), "{stderr}");
    assert!(!stderr.contains("secret-of-harb"), "{stderr}");
    same(own.0, TABLE);
    // Set in the crontab, above our block, it is there.
    let table = [b"HARB_TOKEN=secret-of-harb\n", TABLE].concat();
    install(own.0, &table);
    let (shown, _) = own.ended(0, &[], &["cron", "install", "--check"]);
    assert!(shown.contains("+# BEGIN factory own") && !shown.contains("secret-of-harb"), "{shown}");
    same(own.0, &table);
    own.ended(0, &[], &["cron", "install", "--yes"]);
    let installed = String::from_utf8_lossy(&spool(own.0)).into_owned();
    let line = "* * * * * /usr/local/bin/factory -q -i '/root/in 100\\%' run --if-due >/dev/null 2>>/root/.local/state/factory/own/cron.log";
    assert!(installed.ends_with(&format!("# BEGIN factory own\n{line}\n# END factory own\n")), "{installed}");
    assert!(spool(own.0).starts_with(&table));
    let (again, _) = own.ended(0, &[], &["cron", "install"]);
    assert!(again.contains("as it should be"), "{again}");
    let (show, _) = own.ended(0, &[], &["cron", "show"]);
    assert!(show.contains("ours") && show.contains("run --if-due") && show.contains(".user.first"), "{show}");

    // While another tick is running it is silent.
    own.0.done("mkdir -p .local/state/factory/own && exec 7>>.local/state/factory/own/lock && flock 7 && (exec sleep 90 >/dev/null 2>&1 &)");
    let (stdout, stderr) = own.ended(0, &[], &["run", "--if-due"]);
    assert_eq!((stdout.as_str(), stderr.as_str()), ("", ""));
    own.ended(5, &[], &["run"]);
    own.0.done("kill $(pidof sleep)");

    // Cron does the rest.
    let ticks = || own.0.sh("sqlite3 x 2>/dev/null; cat .local/state/factory/own/cron.log").stdout;
    let began = std::time::Instant::now();
    while !own.factory(&[], &["status"]).status.success() {
        assert!(began.elapsed().as_secs() < 130, "cron started no tick: {}", String::from_utf8_lossy(&ticks()));
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    let log = own.0.done("cat .local/state/factory/own/cron.log");
    assert!(
        log.lines().all(|line| line.contains("harb: nothing is known of its forge")),
        "nothing else is wrong: {log}"
    );

    own.ended(0, &[], &["cron", "install", "--remove", "--yes"]);
    same(own.0, &table);
    let (nothing, _) = own.ended(0, &[], &["cron", "install", "--remove"]);
    assert!(nothing.contains("no entry of ours"), "{nothing}");
    // Who leaves the machine takes the entry out too, and is told what that means.
    own.ended(0, &[], &["cron", "install", "--yes"]);
    let (shown, _) = own.ended(0, &[], &["leave", "-l", "all", "--yes"]);
    assert!(shown.contains("nothing wakes factory from its crontab any more"), "{shown}");
    same(own.0, &table);
}

#[test]
fn a_log_that_has_grown_is_turned_over() {
    let place = super::support::Place::this_machine();
    let log = place.path("cron.log");
    std::fs::write(&log, "x".repeat((1 << 20) + 1)).unwrap();
    for kept in [true, true] {
        let to = std::fs::OpenOptions::new().append(true).create(true).open(&log).unwrap();
        assert!(place.command(&["-q", "run", "--if-due"]).stderr(to).status().unwrap().success());
        assert_eq!(place.path("cron.log.old").exists(), kept);
    }
    assert!(std::fs::metadata(&log).unwrap().len() < 1000);
}

#[test]
fn a_takeover_whose_result_cannot_be_seen_is_no_success() {
    let place = super::support::Place::this_machine();
    place.write("factory.yml", &super::support::calm("agents: {dev: {match: no-such-poll.sh, command: [dev]}}\n"));
    // Its table can be read once, and not again.
    let calls = place.path("calls");
    let text = format!(
        "#!/bin/sh\n[ ! -e {0} ] || {{ echo x >>{0}; [ $(wc -l <{0}) -le 1 ] || {{ echo You may not >&2; exit 1; }}; }}\n",
        calls.display()
    );
    super::support::program_file(&place.path("bin/crontab"), &text);
    let path = format!("{}:{}", place.path("bin").display(), std::env::var("PATH").unwrap());
    let run = |args: &[&str]| {
        let output = place.command(args).env("PATH", &path).output().unwrap();
        super::support::Ended::from(output, &place.path(""))
    };
    run(&["leave", "-l", "this", "--yes"]).code(0);
    std::fs::write(&calls, "").unwrap();
    let told = run(&["takeover", "this", "--yes"]).code(1).stderr;
    assert!(
        told.contains("this: whether its crontab still starts them is not known: crontab -l: You may not"),
        "{told}"
    );
    run(&["leave", "-l", "this", "--yes"]);
    std::fs::remove_file(&calls).unwrap();
    run(&["leave", "-l", "this", "--yes"]);
    run(&["takeover", "this", "--yes"]).code(0);
}

#[test]
fn backups_are_listed_and_put_back() {
    let Some(lab) = lab(1, super::cron_holds::SETTINGS) else { return };
    let host = lab.host(0);
    let (none, _) = factory(&lab, 0, &["cron", "show", "h1"]);
    assert!(none.contains("starts") && none.contains("review/review-poll.sh") && !none.contains("BACKUP"), "{none}");
    factory(&lab, 1, &["cron", "restore", "h1", "--yes"]);
    factory(&lab, 0, &["halt", "--host", "h1", "--agent", "dev"]);
    factory(&lab, 0, &["halt", "--host", "h1", "--agent", "review"]);
    let shown = json(&factory(&lab, 0, &["cron", "show", "h1", "-o", "json"]).0)["hosts"][0].clone();
    let backups: Vec<String> =
        shown["backups"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
    assert!(backups.len() == 2 && backups[0].ends_with(".user.first") && backups[1].ends_with(".user"), "{backups:?}");
    let of = |what: &str| shown["lines"].as_array().unwrap().iter().filter(|line| line["what"] == what).count();
    assert_eq!((of("held"), of("starts"), of("ours")), (3, 0, 1), "{shown}");

    let all = [("6,16,26 *", "dev"), ("  @reboot", "dev"), ("3,13,23", "review")];
    same(host, &held_lines(&all));
    let (check, _) = factory(&lab, 0, &["cron", "restore", "h1", "--check"]);
    assert!(check.contains("-#factory:review# 3,13,23"), "{check}");
    same(host, &held_lines(&all));
    factory(&lab, 3, &["cron", "restore", "h9"]);
    factory(&lab, 1, &["cron", "restore", "h1", "20200101T000000Z.user"]);
    factory(&lab, 0, &["cron", "restore", "h1", &backups[1], "--yes"]);
    same(host, &held_lines(&all[..2]));
    factory(&lab, 0, &["cron", "restore", "h1", "--yes"]);
    same(host, TABLE);
    // A hold that is wanted is put back, as after any hand in the crontab.
    factory(&lab, 0, &["run"]);
    same(host, &held_lines(&all));
}

#[test]
fn what_a_person_saves_while_a_question_stands_is_not_overwritten() {
    let Some(lab) = lab(1, super::cron_holds::SETTINGS) else { return };
    let host = lab.host(0);
    factory(&lab, 0, &["halt", "--host", "h1", "--agent", "dev"]);
    let mut command = lab.command("script");
    command.args(["-qec", "factory cron restore h1", "/dev/null"]).env("FACTORY_INVENTORY", "/root/inventory");
    let mut asking = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut answer, mut out) = (asking.stdin.take().unwrap(), asking.stdout.take().unwrap());
    let mut told = Vec::new();
    while !String::from_utf8_lossy(&told).contains("Put it back on h1?") {
        let mut part = [0; 4096];
        let count = out.read(&mut part).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&told));
        told.extend(&part[..count]);
    }
    let mut saved = spool(host);
    saved.extend(b"5 5 * * * a-line-of-a-person\n");
    install(host, &saved);
    answer.write_all(b"y\n").unwrap();
    out.read_to_end(&mut told).unwrap();
    let told = String::from_utf8_lossy(&told);
    assert_eq!(asking.wait().unwrap().code(), Some(1), "{told}");
    assert!(told.contains("changed by somebody else meanwhile"), "{told}");
    same(host, &saved);
    drop(answer);
}
