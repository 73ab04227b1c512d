//! The pressure ladder on real hosts: what is short is what is held and stopped, in that order, and what is well again is
//! released in the reverse order. What counts is what the host shows: its files, its crontab, its processes.

use std::cell::Cell;
use std::path::Path;

use serde_json::Value;

use super::lab::{self, Lab, Machine};
use super::lab_halt::{factory, files, names, state};
use super::order;
use super::support;

/// Bounds of the transport and the guard that no host reaches which is there, however busy this machine is. The numbers of
/// the ladder are the defaults, but for those that count the controller's own time.
pub const SETTINGS: &str = "fleet: lab\nssh: {connect: 15s, command: 30s}\n\
    guard: {payload: 20s, lock_wait: 20s, op: 10s, started: 20s, kill_after: 2s}\n\
    policy: {miss_pace: 0s}\n\
    agents:\n\
    \x20 dev: {command: [sh, /root/agent.sh, dev], needs: {memory: 1MiB}}\n\
    \x20 review: {command: [sh, /root/agent.sh, review], needs: {memory: 1MiB}}\n\
    \x20 nightly: {class: dev, start: cron, match: /root/nightly.sh, halt: {cron: /root/nightly.sh}}\n";

/// A crontab with lines of other people's around the one that starts an agent.
const CRONTAB: &str =
    "# mine\nMAILTO=\"\"\n17 3 * * * /usr/bin/true\n*/10 * * * * sh /root/nightly.sh >>/root/log 2>&1\n@reboot  true\n";

pub fn until(what: &str, is: impl Fn() -> bool) {
    support::until(what, || is().then_some(()));
}

pub struct Place {
    pub lab: Lab,
    /// The uptime of every host, in seconds: observed time goes on without waiting.
    up: Cell<u64>,
}

impl Place {
    pub fn new(count: usize) -> Option<Place> {
        let lab = Lab::new(count)?;
        std::fs::write(lab.inventory().join("factory.yml"), SETTINGS).unwrap();
        for host in lab.hosts() {
            // It uses some memory, says that it began, and works on; a child of its in another process group does too.
            host.write(
                "/root/agent.sh",
                "echo \"$1 $FACTORY_RUN\" >>/root/began\nx=$(head -c 3000000 /dev/zero | tr '\\0' x)\n\
                 setsid sleep 1234 & sleep 1234\n",
            );
            host.write("/root/table", CRONTAB);
            host.done("crontab /root/table");
        }
        let place = Place { lab, up: Cell::new(200_000) };
        place.well();
        Some(place)
    }

    /// One host that is well, with a dev agent at work.
    pub fn at_work() -> Option<Place> {
        let place = Place::new(1)?;
        place.settle();
        place.launch("h1", "dev");
        until("it works", || lives(place.host(0), "dev") >= 2);
        Some(place)
    }

    /// A host that is cut off costs three seconds from now on.
    fn hurry(&self) {
        let settings = SETTINGS.replace("connect: 15s", "connect: 3s");
        std::fs::write(self.lab.home().join("inventory/factory.yml"), settings).unwrap();
    }

    pub fn host(&self, index: usize) -> &Machine {
        self.lab.host(index)
    }

    pub fn well(&self) {
        self.lab.hosts().iter().for_each(|host| host.set_memory(8192, 6000));
    }

    pub fn wait(&self, seconds: u64) {
        self.up.set(self.up.get() + seconds);
        for host in self.lab.hosts() {
            host.set("uptime", &format!("{}.00 1000.00\n", self.up.get()));
        }
    }

    /// A tick that cannot be written down, of a host with so much memory; what it told.
    fn unwritten(&self, seconds: u64, available: u64) -> (String, String) {
        self.wait(seconds);
        self.host(0).set_memory(8192, available);
        factory(&self.lab, 1, &["run"])
    }

    /// So many seconds go by, then there is a tick.
    pub fn tick(&self, seconds: u64) -> Value {
        self.wait(seconds);
        let (stdout, _) = factory(&self.lab, 0, &["run", "-o", "json"]);
        serde_json::from_str(&stdout).unwrap()
    }

    /// A tick of a host with so much memory, in MiB; its modes after it, as `RUN HOLD` for dev and review.
    pub fn look(&self, seconds: u64, available: u64) -> String {
        self.host(0).set_memory(8192, available);
        modes(&self.tick(seconds), 0)
    }

    /// Ticks until the ladder of a new host has seen it well for long enough.
    pub fn settle(&self) {
        assert_eq!(modes(&self.tick(60), 0), "HOLD RUN", "a host without a history");
        self.tick(60);
        assert_eq!(modes(&self.tick(60), 0), "RUN RUN");
    }

    pub fn launch(&self, host: &str, agent: &str) -> String {
        factory(&self.lab, 0, &["launch", "--host", host, "--agent", agent]).0.trim().to_owned()
    }

    pub fn events(&self) -> Vec<Value> {
        let (stdout, _) = factory(&self.lab, 0, &["events", "-o", "jsonl"]);
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub fn modes(tick: &Value, host: usize) -> String {
    let ladder = &tick["hosts"][host]["ladder"];
    let survive = if ladder["survive"] == true { " SURVIVE" } else { "" };
    format!("{} {}{survive}", ladder["dev"].as_str().unwrap(), ladder["review"].as_str().unwrap())
}

/// How many processes of agents of a class live on a host, by its own process table; what a class began is in the file
/// that they write.
pub fn lives(host: &Machine, class: &str) -> usize {
    let tokens = host.done(&format!("sed -n 's/^{class} //p' /root/began 2>/dev/null || :"));
    let script = "for p in /proc/[0-9]*; do tr '\\0' '\\n' <$p/environ 2>/dev/null | grep '^FACTORY_RUN='; done; :";
    let alive = host.done(script);
    tokens.lines().map(|token| alive.lines().filter(|line| line.ends_with(token)).count()).sum()
}

fn crontab(host: &Machine) -> String {
    host.done("crontab -l")
}

#[test]
fn what_is_short_is_held_and_stopped_by_degrees_and_comes_back_in_the_reverse_order() {
    let Some(place) = Place::new(1) else { return };
    let host = place.host(0);
    place.settle();
    let (dev, review) = (place.launch("h1", "dev"), place.launch("h1", "review"));
    until("both work", || lives(host, "dev") >= 2 && lives(host, "review") >= 2);

    for _ in 0..3 {
        assert_eq!(place.look(60, 2500), "RUN RUN");
    }
    assert_eq!((names(host), crontab(host)), (vec![], CRONTAB.to_owned()), "nothing is touched");

    // Soft: the second sample holds dev, two minutes of it hold review. What runs goes on.
    assert_eq!(place.look(60, 1100), "RUN RUN");
    assert_eq!(place.look(60, 1100), "HOLD RUN");
    assert_eq!(names(host), ["dev", "nightly"]);
    assert!(files(host)["dev"].starts_with("auto ladder-dev solo "), "{:?}", files(host));
    let held = CRONTAB.replace("*/10", "#factory:nightly# */10");
    assert_eq!(crontab(host), held, "one line is held, all others are to the byte what they were");
    assert_eq!(place.look(60, 1100), "HOLD HOLD");
    assert_eq!(names(host), ["dev", "nightly", "review"]);
    assert!(lives(host, "dev") >= 2 && lives(host, "review") >= 2, "a hold ends nothing");
    assert_eq!(factory(&place.lab, 6, &["launch", "--host", "h1", "--agent", "review"]).0, "");

    assert_eq!(place.look(60, 600), "HOLD HOLD", "one hard sample");
    // What would be done is told, and not done.
    place.wait(60);
    let (would, _) = factory(&place.lab, 0, &["run", "--check"]);
    for told in ["h1: would move dev from HOLD to STOP: hard: memory 600MiB", &format!("h1: would stop {dev} (dev, ")] {
        assert!(would.contains(told), "{told}: {would}");
    }
    assert!(lives(host, "dev") >= 2);
    assert_eq!(place.look(0, 600), "STOP HOLD");
    until("dev is gone, children and all", || lives(host, "dev") == 0);
    assert!(lives(host, "review") >= 2);
    let (status, _) = factory(&place.lab, 0, &["status"]);
    for told in ["STOP", "hard: memory 600MiB free, below 655.4MiB", "next: dev back to HOLD after 1m more below hard"]
    {
        assert!(status.contains(told), "{told}: {status}");
    }

    // Crit with no dev left.
    assert_eq!(place.look(60, 250), "STOP STOP");
    until("review is gone", || lives(host, "review") == 0);
    assert_eq!(place.look(60, 250), "STOP STOP");
    place.look(60, 250);
    assert_eq!(place.look(60, 250), "STOP STOP SURVIVE");
    assert_eq!(names(host), ["dev", "nightly", "review", "supervisor"]);
    assert_eq!(place.tick(20)["tick"]["missed"], 0, "it still looks");

    // What a person lifts is what a person holds.
    let before = files(host);
    let (_, told) = factory(&place.lab, 0, &["resume", "--all"]);
    assert!(told.contains("pressure still holds") && told.contains("that ends by itself"), "{told}");
    assert_eq!(files(host), before);
    // A person holds dev now; that outlives the recovery.
    factory(&place.lab, 0, &["halt", "--host", "h1", "--agent", "dev", "--reason", "mine"]);
    let steps = ["STOP STOP", "STOP HOLD", "HOLD HOLD", "HOLD RUN", "HOLD RUN", "RUN RUN"];
    for (index, want) in steps.iter().enumerate() {
        assert_eq!(place.look(60, 6000), *want, "step {index} of the recovery");
    }
    assert_eq!(names(host), ["dev"]);
    assert!(files(host)["dev"].starts_with("manual ") && files(host)["dev"].lines().count() == 1, "{:?}", files(host));
    factory(&place.lab, 0, &["resume", "--host", "h1"]);
    assert_eq!((names(host), crontab(host)), (vec![], CRONTAB.to_owned()), "all is as it was, to the byte");

    // Both were stopped once, for a reason that everybody can read.
    let stops: Vec<String> = place
        .events()
        .iter()
        .filter(|event| event["what"] == "stop")
        .map(|event| event["message"].to_string())
        .collect();
    assert_eq!(stops.len(), 2, "{stops:?}");
    assert!(stops[0].contains(&dev) && stops[1].contains(&review), "{stops:?}");
}

#[test]
fn what_waits_for_memory_is_short_of_it_and_what_only_gets_slower_holds_and_stops_nobody() {
    let Some(place) = Place::at_work() else { return };
    let host = place.host(0);
    let line =
        |kind: &str, short: f64, long: f64| format!("{kind} avg10={short:.2} avg60={long:.2} avg300=0.00 total=0\n");
    let waits = |name: &str, some: f64, full: f64| {
        host.set(&format!("pressure/{name}"), &format!("{}{}", line("some", some, some), line("full", full, full)));
    };
    let ticks = |times: usize| (0..times).map(|_| modes(&place.tick(60), 0)).collect::<Vec<_>>();
    // Disks on which everybody waits hold reviews too, which would wait there as well.
    waits("io", 80.0, 65.0);
    assert_eq!(ticks(4), ["RUN RUN", "HOLD RUN", "HOLD HOLD", "HOLD HOLD"]);
    waits("io", 0.0, 0.0);
    assert_eq!(ticks(5)[4], "RUN RUN");
    // Processors hold dev alone, and only if the load says so too.
    waits("cpu", 95.0, 0.0);
    assert_eq!(ticks(3), ["RUN RUN"; 3]);
    host.set("loadavg", "7.00 5.00 3.00 1/100 1\n");
    assert_eq!(ticks(3), ["RUN RUN", "HOLD RUN", "HOLD RUN"]);
    waits("cpu", 0.0, 0.0);
    host.set("loadavg", "0.50 0.50 0.50 1/100 1\n");
    assert_eq!(ticks(5)[4], "RUN RUN");
    assert!(lives(host, "dev") >= 2, "nobody was stopped");
    // Where everybody waits for memory it is short, whatever is free.
    waits("memory", 60.0, 25.0);
    assert_eq!(ticks(2), ["HOLD RUN", "STOP RUN"]);
    until("it is stopped", || lives(host, "dev") == 0);
}

#[test]
fn an_agent_that_cron_started_is_stopped_with_its_tree_and_a_critical_one_is_left() {
    let Some(place) = Place::new(1) else { return };
    let host = place.host(0);
    place.settle();
    host.write("/root/nightly.sh", "sleep 1234 & sleep 1234\n");
    host.done("setsid sh /root/nightly.sh >/dev/null 2>&1 </dev/null &");
    let nightly =
        || host.done("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '").matches("/root/nightly.sh").count();
    until("it runs", || nightly() == 1);
    let dev = place.launch("h1", "dev");
    until("dev works", || lives(host, "dev") >= 2);
    let critical = format!("/root/.factory/runs/{dev}/critical");
    host.done(&format!("touch {critical}"));
    for want in ["HOLD RUN", "STOP RUN"] {
        assert_eq!(&place.look(60, 250)[..want.len()], want);
    }
    until("the one that cron started is gone", || nightly() == 0);
    assert!(lives(host, "dev") >= 2, "it asked not to be stopped now");
    place.look(60, 250);
    assert!(lives(host, "dev") >= 2);
    host.done(&format!("rm {critical}"));
    place.look(60, 250);
    until("now it goes", || lives(host, "dev") == 0);
}

#[test]
fn one_agent_is_stopped_at_a_time_the_one_furthest_over_its_reservation_first() {
    let Some(place) = Place::new(1) else { return };
    let host = place.host(0);
    place.settle();
    let small = place.launch("h1", "dev");
    host.done("sed -i s/3000000/60000000/ /root/agent.sh");
    let large = place.launch("h1", "dev");
    until("both work", || lives(host, "dev") >= 4);
    until("it is as large as it gets", || {
        host.done("cat /proc/[0-9]*/status 2>/dev/null | sed -n 's/^VmRSS: *//p'").lines().any(|rss| {
            rss.split_whitespace().next().and_then(|kib| kib.parse().ok()).is_some_and(|kib: u64| kib > 50_000)
        })
    });
    place.look(60, 250);
    place.look(20, 250);
    let alive = |token: &str| {
        let (stdout, _) = factory(&place.lab, 0, &["probe", "-l", "h1", "-o", "json"]);
        let probe: Value = serde_json::from_str(&stdout).unwrap();
        let runs = probe["samples"][0]["runs"].as_array().unwrap().clone();
        runs.iter().any(|run| run["token"] == token && run["state"] == "RUNNING")
    };
    until("the large one is gone", || !alive(&large));
    place.look(20, 250);
    place.look(20, 250);
    assert!(alive(&small), "not before a minute has gone by");
    place.look(20, 250);
    until("the small one goes too", || !alive(&small));
}

#[test]
fn a_host_that_was_cut_off_moves_nothing_and_comes_back_held() {
    let Some(place) = Place::new(2) else { return };
    place.settle();
    let host = place.host(0);
    place.tick(60);
    let dev = place.launch("h1", "dev");
    until("dev works", || lives(host, "dev") >= 2);
    place.hurry();
    place.lab.cut(host);
    for _ in 0..2 {
        assert_eq!(modes(&place.tick(60), 0), "RUN RUN");
    }
    assert_eq!(place.events().iter().filter(|event| event["what"] == "unreachable").count(), 0);
    let third = place.tick(60);
    assert_eq!(
        (modes(&third, 0), &third["hosts"][0]["ladder"]["unreachable"]),
        ("RUN RUN".to_owned(), &Value::Bool(true))
    );
    place.tick(60);
    assert_eq!(place.events().iter().filter(|event| event["what"] == "unreachable").count(), 1, "told once");
    let (status, _) = factory(&place.lab, 0, &["status"]);
    assert!(status.contains("h1 is out of reach: what runs there is unknown, not dead"), "{status}");
    assert_eq!((names(host).len(), lives(host, "dev") >= 2), (0, true));

    place.lab.mend(host);
    assert_eq!(modes(&place.tick(60), 0), "HOLD RUN");
    assert!(files(host)["dev"].contains("out%20of%20reach"), "{:?}", files(host));
    place.tick(60);
    assert_eq!(modes(&place.tick(60), 0), "RUN RUN", "two minutes of good time");
    assert_eq!(names(host).len(), 0);
    factory(&place.lab, 0, &["stop", &dev]);
}

#[test]
fn when_no_remote_host_answers_it_is_this_machine_that_is_cut_off() {
    let Some(place) = Place::new(2) else { return };
    let hosts = place.lab.home().join("inventory/hosts.yml");
    let text = std::fs::read_to_string(&hosts).unwrap();
    std::fs::write(&hosts, format!("{text}    here: {{ansible_connection: local}}\n")).unwrap();
    place.tick(60);
    place.tick(60);
    place.tick(60);
    // One that is asked alone and says nothing tells nothing about this machine, and nobody knows whether it was missed.
    place.hurry();
    place.lab.cut(place.host(0));
    factory(&place.lab, 0, &["run", "-l", "h1"]);
    assert!(!place.events().iter().any(|event| event["what"] == "cut off"));
    place.lab.mend(place.host(0));
    place.tick(60);
    let before = place.events().len();
    place.lab.hosts().iter().for_each(|host| place.lab.cut(host));
    for _ in 0..4 {
        let tick = place.tick(60);
        assert_eq!((modes(&tick, 0), modes(&tick, 1)), ("RUN RUN".to_owned(), "RUN RUN".to_owned()));
        assert_ne!(tick["hosts"][2]["level"], 4, "this machine is decided on all the same");
        assert!(tick["hosts"][2]["ladder"]["dev"].is_string());
    }
    let events = place.events().split_off(before);
    let count = |what: &str| events.iter().filter(|event| event["what"] == what).count();
    assert_eq!((count("cut off"), count("missed"), count("unreachable")), (1, 0, 0), "{events:?}");
    let (told, _) = factory(&place.lab, 0, &["events", "--samples", "-l", "h1", "-o", "jsonl"]);
    assert_eq!(told.matches("\"cut_off\":true").count(), 5, "four, and the one that was asked alone: {told}");
    place.lab.hosts().iter().for_each(|host| place.lab.mend(host));
    assert_eq!(modes(&place.tick(60), 0), "RUN RUN", "nobody was missed, so nobody is held for it");

    // It proves nothing either: a host that was held, and well for a minute before that, has to be well anew.
    place.look(60, 1100);
    assert_eq!(place.look(60, 1100), "HOLD RUN");
    assert_eq!(place.look(60, 6000), "HOLD RUN");
    place.lab.hosts().iter().for_each(|host| place.lab.cut(host));
    assert_eq!(place.look(60, 6000), "HOLD RUN");
    place.lab.hosts().iter().for_each(|host| place.lab.mend(host));
    // The kernel remembers for a moment that nobody was there.
    until("they can be reached", || place.lab.factory(&["probe"]).status.success());
    for want in ["HOLD RUN", "HOLD RUN", "RUN RUN"] {
        let tick = place.tick(60);
        assert_eq!(modes(&tick, 0), want, "{}", tick["hosts"][0]);
    }
}

#[test]
fn a_reboot_in_the_middle_of_a_halt_changes_nothing_about_it() {
    let Some(place) = Place::new(1) else { return };
    place.settle();
    let host = place.host(0);
    place.look(60, 1100);
    assert_eq!(place.look(60, 1100), "HOLD RUN");
    let before = (files(host), crontab(host));
    host.reboot();
    assert_eq!((files(host), crontab(host)), before);
    place.up.set(0);
    // It is well, and that must last anew from its first sample on.
    assert_eq!(place.look(30, 6000), "HOLD RUN");
    assert_eq!((files(host), crontab(host)), before);
    assert_eq!(place.look(60, 6000), "HOLD RUN");
    assert_eq!(place.look(60, 6000), "RUN RUN");
    assert_eq!((names(host).len(), crontab(host)), (0, CRONTAB.to_owned()));
}

#[test]
fn a_full_disk_of_the_controllers_stops_neither_halts_nor_stops_and_is_made_up_for() {
    let Some(place) = Place::at_work() else { return };
    let host = place.host(0);
    // The state goes to a small disk of its own, with all that was known; no room is left on it, nor a reserve.
    let script = "cd ~/.local/state/factory && rm -f lab/reserve && cp -a lab kept && mount -t tmpfs -o size=3m tmpfs lab && \
                  cp -a kept/. lab/ && cat /dev/zero >lab/filler; :";
    let made = place.lab.sh(script);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let run = |seconds: u64, available: u64| {
        let (stdout, stderr) = place.unwritten(seconds, available);
        assert!(stderr.contains("full"), "{stdout}{stderr}");
        stdout
    };
    // A rung is not remembered, so each tick takes the step that its sample asks for.
    let told = run(60, 250);
    assert!(told.contains("done: hold dev"), "{told}");
    assert_eq!(names(host), ["dev", "nightly"]);
    let told = run(60, 250);
    assert!(told.contains("done: stop "), "{told}");
    until("dev is gone", || lives(host, "dev") == 0);
    // However long it lasts.
    factory(&place.lab, 1, &["launch", "--host", "h1", "--agent", "dev"]);
    host.write("/root/nightly.sh", "sleep 1234 & sleep 1234\n");
    host.done("setsid sh /root/nightly.sh >/dev/null 2>&1 </dev/null &");
    run(900, 250);
    let nightly =
        || host.done("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '").matches("/root/nightly.sh").count();
    until("what cron started meanwhile is gone", || nightly() == 0);
    // Nothing is loosened without a ledger, nor said to be.
    for _ in 0..4 {
        let told = run(60, 6000);
        assert!(!told.contains("move "), "{told}");
    }
    assert_eq!(names(host), ["dev", "nightly"]);
    // There is room again: what was held is known, and released by and by.
    place.lab.sh("rm ~/.local/state/factory/lab/filler");
    let first = modes(&place.tick(60), 0);
    assert!(first.starts_with("HOLD") || first.starts_with("STOP"), "{first}");
    for _ in 0..8 {
        place.tick(60);
    }
    assert_eq!((modes(&place.tick(60), 0).as_str(), names(host).len()), ("RUN RUN", 0));
    assert_eq!(crontab(host), CRONTAB);
    assert!(!Path::new(&state(&place.lab).join("pending.jsonl")).exists());
}

#[test]
fn where_nothing_can_be_written_the_looks_of_one_tick_still_stop_one_agent_a_minute() {
    let Some(place) = Place::new(1) else { return };
    std::fs::write(
        place.lab.home().join("inventory/factory.yml"),
        format!("{SETTINGS}wake: {{watch: 24s, watch_urgent: 6s}}\n"),
    )
    .unwrap();
    let host = place.host(0);
    place.settle();
    place.launch("h1", "dev");
    until("it works", || lives(host, "dev") >= 3);
    let one = lives(host, "dev");
    place.launch("h1", "dev");
    until("both work", || lives(host, "dev") == 2 * one);
    let script = "cd ~/.local/state/factory && rm -f lab/reserve && cp -a lab kept && mount -t tmpfs -o size=3m tmpfs lab && \
                  cp -a kept/. lab/ && cat /dev/zero >lab/filler; :";
    assert!(place.lab.sh(script).status.success());
    place.unwritten(60, 250);
    // Long after what the ledger last said, so that its paces are over: then there are three looks, 6 s apart.
    place.wait(900);
    let told = factory(&place.lab, 1, &["run", "--if-due"]);
    assert!(told.0.contains("done: stop "), "{told:?}");
    until("one is gone", || lives(host, "dev") <= one);
    assert_eq!(lives(host, "dev"), one, "and only one");
}

#[test]
fn without_a_ledger_what_tightens_goes_on_and_is_merged_once_there_is_one_again() {
    let Some(place) = Place::at_work() else { return };
    let host = place.host(0);
    let (ledger, kept) = (state(&place.lab).join("ledger.db"), state(&place.lab).join("kept"));
    std::fs::copy(&ledger, &kept).unwrap();
    std::fs::write(&ledger, "this is no ledger any more").unwrap();
    let blind = |seconds: u64, available: u64| place.unwritten(seconds, available).0;
    // Each host says itself whom it obeys; what was decided before is known from the file that waits.
    let told = blind(60, 600);
    assert!(told.contains("done: hold dev") && lives(host, "dev") >= 2, "{told}");
    let told = blind(60, 600);
    assert!(told.contains("move dev from HOLD to STOP"), "{told}");
    until("dev is gone", || lives(host, "dev") == 0);
    assert_eq!(names(host), ["dev", "nightly", "review"]);
    for _ in 0..4 {
        blind(60, 6000);
    }
    assert_eq!(names(host), ["dev", "nightly", "review"], "nothing is loosened");
    let pending = std::fs::read_to_string(state(&place.lab).join("pending.jsonl")).unwrap();
    assert!(pending.contains("\"kind\":\"standing\"") && pending.contains("\"host\":\"h1\""), "{pending}");

    std::fs::copy(&kept, &ledger).unwrap();
    assert!(modes(&place.tick(60), 0).starts_with("STOP") || modes(&place.tick(0), 0).starts_with("HOLD"));
    assert!(!state(&place.lab).join("pending.jsonl").exists());
    for _ in 0..8 {
        place.tick(60);
    }
    assert_eq!(
        (modes(&place.tick(60), 0).as_str(), names(host).len(), crontab(host).as_str()),
        ("RUN RUN", 0, CRONTAB)
    );
}

#[test]
fn the_reserve_is_let_go_of_on_a_full_disk_and_what_is_decided_is_written() {
    let Some(host) = lab::host() else { return };
    host.done("mkdir -p ~/inventory ~/state");
    host.done("echo 'all: {hosts: {lab: {ansible_connection: local}}}' >~/inventory/hosts.yml; echo '{}' >~/inventory/factory.yml");
    host.done("mount -t tmpfs -o size=24m tmpfs ~/state");
    let (inventory, state) = (host.home().join("inventory"), host.home().join("state"));
    let run = || {
        let output = host.factory(&["-i", inventory.to_str().unwrap(), "--state", state.to_str().unwrap(), "run"]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(run().0, Some(0));
    assert_eq!(host.done("stat -c %s ~/state/reserve"), "8388608\n");
    host.done("cat /dev/zero >~/state/filler 2>/dev/null; :");
    host.set_memory(8192, 250);
    let (code, stderr) = run();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("is full: the 8MiB that were kept there"), "{stderr}");
    let read = order::document(&host.home().join("state"));
    host.done("test ! -e ~/state/reserve && test -e ~/.factory/halt/dev");
    drop(read);
    host.done("rm ~/state/filler");
    assert_eq!(run().0, Some(0));
    assert_eq!(host.done("stat -c %s ~/state/reserve"), "8388608\n", "it is kept again");
}

#[test]
fn a_newcomers_first_ticks_touch_nothing() {
    let Some(place) = Place::new(1) else { return };
    let host = place.host(0);
    let spool = host.crontab("root");
    for _ in 0..3 {
        place.tick(60);
    }
    assert_eq!((host.crontab("root"), names(host).len()), (spool, 0));
    host.done("test ! -e ~/.factory");
}

#[test]
fn under_hard_pressure_a_tick_of_crons_goes_on_looking_at_the_hosts_that_are_in_trouble() {
    let Some(lab) = Lab::new(2) else { return };
    let settings = format!("{SETTINGS}wake: {{watch: 24s, watch_urgent: 6s}}\n");
    std::fs::write(lab.inventory().join("factory.yml"), settings).unwrap();
    factory(&lab, 0, &["run"]);
    lab.host(0).set_memory(8192, 600);
    let samples = |host: &str| {
        let (stdout, _) = factory(&lab, 0, &["events", "--samples", "-l", host, "-o", "jsonl"]);
        stdout.lines().count()
    };
    // By hand it is one look.
    factory(&lab, 0, &["run"]);
    assert_eq!((samples("h1"), samples("h2")), (2, 2));
    factory(&lab, 0, &["run", "--if-due"]);
    assert_eq!((samples("h1"), samples("h2")), (5, 3), "at once, and after 6 and 12 s");
    // Each look counts and is written down; steps are 20 s apart all the same.
    let (status, _) = factory(&lab, 0, &["status"]);
    assert!(status.contains("dev agents are held by pressure"), "{status}");
    lab.host(0).set_memory(8192, 6000);
    factory(&lab, 0, &["run", "--if-due"]);
    assert_eq!((samples("h1"), samples("h2")), (6, 4), "all is well: one look");
}

#[test]
fn a_host_that_hangs_keeps_nobody_from_looking_again_at_one_under_hard_pressure() {
    let Some(lab) = Lab::new(3) else { return };
    // To connect takes the silent one longer than a tick goes on looking.
    let settings = SETTINGS.replace("connect: 15s", "connect: 22s");
    let settings = format!("{settings}wake: {{watch: 24s, watch_urgent: 6s}}\n");
    std::fs::write(lab.inventory().join("factory.yml"), settings).unwrap();
    factory(&lab, 0, &["run"]);
    // A host whose id was never seen is not changed before all have answered.
    factory(&lab, 0, &["halt", "--all"]);
    lab.host(0).set_memory(8192, 600);
    lab.host(1).freeze();
    let samples = |host: &str| -> Vec<Value> {
        let (stdout, _) = factory(&lab, 0, &["events", "--samples", "-l", host, "-o", "jsonl"]);
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (stdout, _) = factory(&lab, 0, &["run", "--if-due", "-o", "json"]);
    let tick: Value = serde_json::from_str(&stdout).unwrap();
    let counts = ["h1", "h2", "h3"].map(|host| samples(host).len());
    assert_eq!(counts, [5, 2, 2], "at once, after 6 and 12 s, and after 18, when no other tick can; the others once");
    // The others answered while it was silent: that is a miss, and nobody was cut off.
    assert!(samples("h2")[1]["missing"].is_string() || samples("h2")[0]["missing"].is_string());
    let levels: Vec<&Value> = (0..3).map(|host| &tick["hosts"][host]["level"]).collect();
    assert_eq!(levels, [&Value::from(2), &Value::from(4), &Value::from(0)]);
    assert_eq!((&tick["tick"]["hosts"], &tick["tick"]["missed"]), (&Value::from(3), &Value::from(1)));
    let (events, _) = factory(&lab, 0, &["events", "-o", "jsonl"]);
    assert!(events.contains("\"what\":\"missed\"") && !events.contains("cut off"), "{events}");
}

#[test]
fn a_host_under_hard_pressure_that_fails_to_answer_once_is_looked_at_again() {
    let Some(lab) = Lab::new(2) else { return };
    let settings = format!("{SETTINGS}wake: {{watch: 24s, watch_urgent: 6s}}\n");
    std::fs::write(lab.inventory().join("factory.yml"), settings).unwrap();
    lab.host(0).set_memory(8192, 600);
    factory(&lab, 0, &["run"]);
    lab.host(0)
        .login_shell("root", "#!/bin/sh\n[ ! -e /root/fail ] || { rm /root/fail; exit 1; }\nexec /bin/sh \"$@\"\n");
    lab.host(0).done(": >/root/fail");
    factory(&lab, 0, &["run", "--if-due"]);
    let (told, _) = factory(&lab, 0, &["events", "--samples", "-l", "h1", "-o", "jsonl"]);
    let missing: Vec<bool> =
        told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["missing"].is_string()).collect();
    assert_eq!(missing, [false, true, false, false], "{told}");
}

/// A founder sleeps while memory leaks on beefy-2.
#[test]
fn a_night_in_which_memory_leaks_reads_like_a_report() {
    let Some(place) = Place::new(3) else { return };
    let names = ["vps-1", "beefy-1", "beefy-2"];
    let line = |(name, host): (&&str, &Machine)| {
        format!(
            "    {name}: {{ansible_host: {}, ansible_user: root, ansible_ssh_private_key_file: /root/.ssh/id_ed25519}}\n",
            host.address
        )
    };
    let hosts: String = names.iter().zip(place.lab.hosts()).map(line).collect();
    let dir = place.lab.home().join("inventory");
    std::fs::write(dir.join("hosts.yml"), format!("all:\n  hosts:\n{hosts}")).unwrap();
    for _ in 0..3 {
        place.tick(60);
    }
    let leaking = place.host(2);
    let token = place.launch("beefy-2", "dev");
    until("it works", || lives(leaking, "dev") >= 2);
    let other = place.launch("beefy-1", "dev");
    until("it works", || lives(place.host(1), "dev") >= 2);
    // Fifteen minutes. The agent eats a quarter of a gigabyte a minute; what it had comes back with its end.
    let (mut free, mut seconds, mut lowest) = (2600_u64, 0, 6000);
    while seconds < 900 {
        let step = if free < 655 { 20 } else { 60 };
        seconds += step;
        free = if lives(leaking, "dev") > 0 { free.saturating_sub(250 * step / 60).max(200) } else { 6000 };
        lowest = lowest.min(free);
        leaking.set_memory(8192, free);
        place.tick(step);
    }
    let (events, _) = factory(&place.lab, 0, &["events"]);
    let told: Vec<&str> = events.lines().filter(|line| line.contains("beefy-2")).collect();
    let at =
        |what: &str| told.iter().position(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {events}"));
    let story = [
        at("memory"),
        at("dev agents are held: soft"),
        at("dev agents are stopped, one at a time"),
        at(&format!("told to stop: {token}")),
        at("dev agents are not stopped any more, only held"),
        at("dev agents may start again, after"),
    ];
    assert!(story.is_sorted(), "{story:?}\n{events}");
    assert_eq!(events.matches("told to stop").count(), 1, "one agent was enough: {events}");
    assert!(!events.lines().any(|line| line.contains("beefy-1") && line.contains("agents are")), "{events}");
    assert_eq!((lives(place.host(1), "dev") >= 2, self::names(leaking).len()), (true, 0));
    assert!(lowest < 655, "it was short");
    factory(&place.lab, 0, &["stop", &other]);
    if std::env::var_os("SHOW").is_some() {
        use std::io::Write;
        let _ = std::io::stderr().write_all(events.as_bytes());
    }
}
