//! Runs by hand on this machine: what is launched is what runs, once, and what is stopped is gone.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use factory::ledger::{Change, Document, Ledger};
use factory::policy::claim::{self, Claim};
use jiff::Timestamp;

use super::order;
use super::support::{Ended, Place, calm, nowhere, program_file, until};

/// An agent that says that it began, and goes on as its last argument says.
const AGENT: &str = r#"
echo "$FACTORY_RUN $$ $*" >>"$BEGAN"
for word do :; done
case $word in
quick) echo out; echo err >&2 ;;
fails) exit 7 ;;
tells) echo "my token is $KEPT, keep it"; exec sleep 50 ;;
stubborn) trap '' TERM; setsid sh -c 'trap "" TERM; sleep 50 & wait' & sleep 50 & wait; wait ;;
*) exec sleep 50 ;;
esac
"#;

/// What an agent of a test needs: this machine has it, whatever else runs here.
const SMALL: &str = "needs: {memory: 16MiB, cpu: 0.01}";

/// A place with one host, this machine, and agents that can be launched. Whatever runs at the end is killed.
pub struct Works(pub Place);

impl Works {
    pub fn new() -> Works {
        let place = Place::new(&[]);
        let began = place.path("began").display().to_string();
        std::fs::write(place.path("agent.sh"), AGENT).unwrap();
        let agent = place.path("agent.sh").display().to_string();
        place.write("hosts.yml", "all: {hosts: {one: {ansible_connection: local}, far: {ansible_host: 192.0.2.1}}}\n");
        place.write(
            "factory.yml",
            &calm(&format!(
                "guard: {{kill_after: 2s, started: 60s, op: 60s}}\naccounts: {{main: {{max_runs: 2}}}}\nagents:\n  \
                 dev: {{command: [sh, {agent}, '{{{{ issue.number }}}}'], account: main, drain: 1h, {SMALL}}}\n  \
                 review: {{command: [sh, {agent}], work: schedule, {SMALL}}}\n  \
                 old: {{class: dev, start: cron, match: old-poll.sh, {SMALL}}}\n  idle: {{class: dev}}\n"
            )),
        );
        place.write(
            "repos.yml",
            &nowhere(&format!(
                "repos:\n  harb: {{slug: a/harb, ci: none, hosts: one, env: {{BEGAN: {began}, KEPT: {{file: kept}}}}}}\n  \
                 away: {{slug: a/away, ci: none, hosts: far, env: {{BEGAN: {began}}}}}\n"
            )),
        );
        place.write("kept", "hunter2 'and' \"more\" $x\n");
        let kept = place.path("inventory/kept");
        std::fs::set_permissions(kept, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        Works(place)
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        self.0.run(args)
    }

    /// Launches, and gives the token.
    #[track_caller]
    pub fn launch(&self, args: &[&str]) -> String {
        let words: Vec<&str> = ["launch", "--host", "one", "--repo", "harb"].iter().chain(args).copied().collect();
        self.run(&words).code(0).stdout.trim().to_owned()
    }

    /// The runs that began, as they say themselves: `TOKEN PID ARGUMENTS`.
    pub fn began(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.path("began")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub fn document(&self) -> Document {
        order::document(&self.0.state()).unwrap()
    }

    /// The state that `factory` finds of a run on the host.
    #[track_caller]
    pub fn state(&self, token: &str) -> String {
        let json = self.run(&["probe", "-l", "one", "-o", "json"]).code(0).json();
        let runs = json["samples"][0]["runs"].as_array().unwrap().clone();
        let run = runs.iter().find(|run| run["token"] == token).unwrap_or_else(|| panic!("{runs:?}"));
        run["state"].as_str().unwrap().to_owned()
    }

    /// Puts a claim into the ledger, as a controller that died right after it left it.
    pub fn claim(&self, task: &str, claim: &Claim) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ledger = Ledger::open(&self.0.state()).unwrap();
        let put = ledger.change(|old| {
            let mut document = old.cloned().unwrap();
            document.claims.insert(task.to_owned(), claim.clone());
            Ok(Change::To(document, ()))
        });
        runtime.block_on(put).unwrap();
    }

    pub fn events(&self) -> String {
        self.run(&["events"]).code(0).stdout
    }
}

impl Drop for Works {
    /// Ends what this test started, known by what its environment says.
    fn drop(&mut self) {
        let mine = format!("BEGAN={}\0", self.0.path("began").display()).into_bytes();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let pid = entry.file_name().to_string_lossy().parse::<i32>();
            if let (true, Ok(pid)) = (environment.windows(mine.len()).any(|part| part == mine), pid) {
                let _ = rustix::process::kill_process(
                    rustix::process::Pid::from_raw(pid).unwrap(),
                    rustix::process::Signal::KILL,
                );
            }
        }
    }
}

/// Whether a process lives, and is no zombie.
pub fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

fn pid(line: &str) -> &str {
    line.split(' ').nth(1).unwrap()
}

#[test]
fn a_launch_runs_what_the_inventory_says_and_a_tick_sees_its_end() {
    let works = Works::new();
    let token = works.launch(&["--agent", "dev", "--issue", "12"]);
    let today = Timestamp::now().strftime("%Y%m%d-").to_string();
    assert!(token.starts_with(&today) && token.len() == today.len() + 12, "{token}");
    let line = until("the run", || works.began().pop());
    assert!(line.starts_with(&format!("{token} ")) && line.ends_with(" 12"), "{line}");
    let claim = &works.document().claims["harb#12"];
    assert!(claim.token == token && claim.started && claim.host == "one", "{claim:?}");
    // Its own environment, and nothing of ours.
    let environment = std::fs::read_to_string(format!("/proc/{}/environ", pid(&line))).unwrap();
    assert!(environment.contains("\0KEPT=hunter2 'and' \"more\" $x\0"), "{environment:?}");
    assert!(!environment.contains("CARGO"), "{environment:?}");

    let quick = works.launch(&["--agent", "dev", "--", "quick"]);
    until("its end", || (works.state(&quick) == "DONE 0").then_some(()));
    works.run(&["run", "-l", "one"]).code(0);
    let claims = works.document().claims;
    assert_eq!(claims.keys().collect::<Vec<_>>(), ["harb#12"], "the one that is done is gone");
    assert!(works.events().contains(&format!("run {quick} of dev at harb is done")), "{}", works.events());
    let fails = works.launch(&["--agent", "review", "--", "fails"]);
    until("its end", || (works.state(&fails) == "DONE 7").then_some(()));
    works.run(&["run", "-l", "one"]).code(0);
    assert!(works.events().contains("failed with exit status 7"), "{}", works.events());
    // Nothing that ended was started again.
    assert_eq!(works.began().len(), 3);
}

#[test]
fn an_issue_is_worked_on_once_and_a_budget_is_kept() {
    let works = Works::new();
    let token = works.launch(&["--agent", "dev", "--issue", "3"]);
    let again = works.run(&["launch", "--host", "one", "--repo", "harb", "--agent", "dev", "--issue", "3"]).code(1);
    assert!(again.stderr.contains("harb#3 is worked on already") && again.stderr.contains(&token), "{}", again.stderr);
    works.launch(&["--agent", "dev", "--issue", "4"]);
    let spent = works.run(&["launch", "--host", "one", "--repo", "harb", "--agent", "dev", "--issue", "5"]).code(1);
    assert!(spent.stderr.contains("account `main` has 2 runs already"), "{}", spent.stderr);
    // Another agent has another account.
    works.launch(&["--agent", "review"]);
    until("three runs", || (works.began().len() == 3).then_some(()));
    works.run(&["stop", &token, "--now"]).code(0);
    works.launch(&["--agent", "dev", "--issue", "3"]);
    until("a fourth", || (works.began().len() == 4).then_some(()));
    assert_eq!(works.document().claims.len(), 3);
}

#[test]
fn what_is_held_does_not_begin_whoever_holds_it() {
    let works = Works::new();
    let dev = ["launch", "--host", "one", "--repo", "harb", "--agent", "dev", "--", "quick"];
    works.run(&["halt", "--host", "one", "--agent", "dev"]).code(0);
    let held = works.run(&dev).code(6);
    assert!(held.stderr.contains("factory resume --host one --agent dev"), "{}", held.stderr);
    works.run(&["resume", "--host", "one"]).code(0);
    // A person's own file, of which no tick knows.
    let halt = works.0.path("home/.factory/halt");
    std::fs::create_dir_all(&halt).unwrap();
    std::fs::write(halt.join("dev@harb"), "").unwrap();
    let held = works.run(&dev).code(6);
    assert!(held.stderr.contains("dev@harb"), "{}", held.stderr);
    assert!(works.document().claims.is_empty());
    std::fs::remove_file(halt.join("dev@harb")).unwrap();
    // Not even the tick that finds the claim of a launch that was cut off begins it.
    works.run(&["run", "-l", "one"]).code(0);
    assert!(works.began().is_empty(), "{:?}", works.began());
    works.launch(&["--agent", "dev", "--", "quick"]);
    until("the one that may", || (works.began().len() == 1).then_some(()));
}

#[test]
fn what_cannot_be_launched_is_refused_before_anything_is_done() {
    let works = Works::new();
    let base = ["launch", "--host", "one"];
    for (code, args, told) in [
        (3, &["--agent", "dve", "--repo", "harb"][..], "did you mean `dev`?"),
        (3, &["--agent", "dev", "--repo", "hrab"], "did you mean `harb`?"),
        (3, &["--agent", "old", "--repo", "harb"], "cron starts agent `old`"),
        (3, &["--agent", "idle", "--repo", "harb"], "has no `command`"),
        (3, &["--agent", "dev", "--repo", "away", "--issue", "1"], "may not run on one"),
        (2, &["--agent", "dev", "--repo", "harb"], "needs an issue"),
        (2, &["--agent", "dev"], "for which repo"),
        (2, &["--agent", "dev", "--issue", "1"], "--repo"),
        (2, &["--agent", "dev", "--repo", "harb", "--issue", "0"], "--issue"),
    ] {
        let ended = works.run(&[&base[..], args].concat()).code(code);
        assert!(ended.stderr.contains(told), "{args:?}: {}", ended.stderr);
    }
    let many = works.run(&["launch", "--host", "all", "--repo", "harb", "--agent", "dev", "--issue", "1"]).code(2);
    assert!(many.stderr.contains("names 2 hosts"), "{}", many.stderr);
    works.0.write("kept", "");
    let secret = works.run(&["launch", "--host", "one", "--repo", "harb", "--agent", "dev", "--issue", "1"]).code(3);
    assert!(secret.stderr.contains("the variable KEPT"), "{}", secret.stderr);
    assert!(order::document(&works.0.state()).is_none_or(|document| document.claims.is_empty()));
    assert!(works.began().is_empty() && !works.0.path("home/.factory/runs").exists());
}

#[test]
fn check_shows_the_command_without_its_secrets_and_starts_nothing() {
    let works = Works::new();
    let args = ["launch", "--host", "one", "--repo", "harb", "--agent", "dev", "--issue", "12", "--check"];
    let shown = works.run(&args).code(0);
    for part in ["would launch on one: sh ", "agent.sh 12", "KEPT=(secret)", "for at most 4h", "16MiB"] {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }
    let json = works.run(&[&args[..], &["-o", "json"]].concat()).code(0);
    assert_eq!(json.json()["argv"][2], "12");
    assert!(!format!("{}{}{}{}", shown.stdout, shown.stderr, json.stdout, json.stderr).contains("hunter2"));
    assert!(works.began().is_empty() && !works.0.state().exists() && !works.0.path("home/.factory").exists());
}

#[test]
fn a_stopped_run_is_gone_with_all_that_it_started() {
    let works = Works::new();
    let token = works.launch(&["--agent", "review", "--", "stubborn"]);
    let line = until("the run", || works.began().pop());
    // Its child in a session of its own, which ignores TERM as well.
    let mine = format!("FACTORY_RUN={token}\0").into_bytes();
    let tree = || {
        let all = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let ours = all.filter(|path| {
            let environment = std::fs::read(path.join("environ")).unwrap_or_default();
            environment.windows(mine.len()).any(|part| part == mine)
        });
        ours.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).filter(|pid| lives(pid)).count()
    };
    until("its tree", || (tree() >= 4).then_some(()));
    let told = works.run(&["stop", &token, "--host", "one"]).code(0);
    assert!(told.stdout.contains("stopped"), "{}", told.stdout);
    assert!(!lives(pid(&line)), "{line}");
    assert_eq!(tree(), 0);
    assert!(works.document().claims.is_empty());
    assert!(works.run(&["stop", &token, "--host", "one"]).code(0).stdout.contains("over"));
    works.run(&["stop", "20260101-nothing", "--host", "one"]).code(3);
    works.run(&["stop", "no token", "--host", "one"]).code(2);
}

#[test]
fn a_run_that_drains_goes_on_and_is_told_so() {
    let works = Works::new();
    let token = works.launch(&["--agent", "dev", "--issue", "1"]);
    let line = until("the run", || works.began().pop());
    let told = works.run(&["stop", &token, "--drain", "--host", "one"]).code(0);
    assert!(told.stdout.contains("draining") && told.stdout.contains("1h"), "{}", told.stdout);
    let stop = works.0.path("home/.factory/runs").join(&token).join("stop");
    assert!(std::fs::read_to_string(stop).unwrap().contains(" 3600 2"));
    assert!(lives(pid(&line)));
    // Sooner than that after all.
    works.run(&["stop", &token, "--now", "--host", "one"]).code(0);
    assert!(!lives(pid(&line)));
}

#[test]
fn a_halt_that_stops_ends_only_what_it_holds() {
    let works = Works::new();
    let dev = works.launch(&["--agent", "dev", "--issue", "1"]);
    let review = works.launch(&["--agent", "review"]);
    until("both", || (works.began().len() == 2).then_some(()));
    let told = works.run(&["halt", "--host", "one", "--agent", "dev", "--stop"]).code(0);
    assert!(told.stdout.contains(&dev) && !told.stdout.contains(&review), "{}", told.stdout);
    let stop = |token: &str| works.0.path("home/.factory/runs").join(token).join("stop").exists();
    assert!(stop(&dev) && !stop(&review));
    // A hold alone ends nothing.
    works.run(&["halt", "--host", "one"]).code(0);
    assert!(!stop(&review) && works.began().iter().all(|line| lives(pid(line))));
}

#[test]
fn a_host_without_room_is_refused_with_the_numbers() {
    let works = Works::new();
    let factory = std::fs::read_to_string(works.0.path("inventory/factory.yml")).unwrap();
    let dev = ["launch", "--host", "one", "--repo", "harb", "--agent", "dev", "--issue"];
    let refused = |issue: &str, parts: &[&str]| {
        let ended = works.run(&[&dev[..], &[issue]].concat()).code(1);
        assert!(parts.iter().all(|part| ended.stderr.contains(part)), "{parts:?}: {}", ended.stderr);
    };
    // A run that may take more than there is.
    let huge = |agent: &str| {
        let line = factory.lines().find(|line| line.trim_start().starts_with(&format!("{agent}:"))).unwrap();
        works.0.write("factory.yml", &factory.replace(line, &line.replace("16MiB", "4096TiB")));
    };
    huge("dev");
    refused("1", &["not enough memory on one: ", "4096TiB needed", "16MiB kept for reviews", " short"]);
    refused("1", &["it would not fit if nothing ran there: lower `needs.memory` of agent `dev` or of the agents"]);
    assert!(works.document().claims.is_empty() && works.began().is_empty());
    let check = works.run(&["inventory", "check", "-l", "one"]).code(3);
    let told = format!("{}{}", check.stdout, check.stderr);
    assert!(
        told.contains("agent `dev` of repo `harb` fits on none of its hosts") && told.contains("on one: "),
        "{told}"
    );
    // `far`, where `away` runs, was not asked.
    assert!(!told.contains("repo `away` fits"), "{told}");
    // What runs there may still grow that large, and a review is to come.
    works.0.write("factory.yml", &factory);
    let review = works.launch(&["--agent", "review"]);
    huge("review");
    refused("1", &["promised to 1 run, ", "16MiB needed, ", " kept free: 4096TiB short"]);
    works.0.write("factory.yml", &factory);
    works.run(&["stop", &review, "--now"]).code(0);
    huge("review");
    refused("1", &["4096TiB kept for reviews"]);
    // Processors: a run beside another one.
    works.0.write("factory.yml", &factory.replace("0.01", "4096"));
    works.launch(&["--agent", "dev", "--issue", "1"]);
    refused("2", &["not enough processors on one: 4096 promised to 1 run, 4096 needed"]);
    // Slots.
    works.0.write("factory.yml", &factory);
    let hosts = std::fs::read_to_string(works.0.path("inventory/hosts.yml")).unwrap();
    let slots = |count: &str| {
        let local = format!("ansible_connection: local, factory_slots: {count}");
        works.0.write("hosts.yml", &hosts.replace("ansible_connection: local", &local));
    };
    slots("1");
    refused("2", &["no slot free on one: 1 run, `factory_slots` is 1", "or raise `factory_slots`"]);
    slots("2");
    works.launch(&["--agent", "dev", "--issue", "2"]);
    // What was claimed and has not begun, and what is lost, takes its slot.
    slots("3");
    let (task, made) = left_behind(3, true);
    works.claim(&task, &made);
    let full = works.run(&["launch", "--host", "one", "--repo", "harb", "--agent", "review"]).code(1);
    assert!(full.stderr.contains("no slot free on one: 3 runs"), "{}", full.stderr);
}

#[test]
fn of_many_launches_at_once_as_many_begin_as_there_are_slots() {
    let works = Works::new();
    works.0.write(
        "hosts.yml",
        "all: {hosts: {one: {ansible_connection: local, factory_slots: 2}, far: {ansible_host: 192.0.2.1}}}\n",
    );
    works.run(&["run", "-l", "one"]).code(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let ended = works.run(&["launch", "--host", "one", "--repo", "harb", "--agent", "review"]);
                if ended.code != Some(0) {
                    assert!(ended.stderr.contains("no slot free on one: 2 runs"), "{}", ended.stderr);
                }
            });
        }
    });
    until("two runs", || (works.began().len() == 2).then_some(()));
    assert_eq!(works.document().claims.len(), 2);
}

pub fn left_behind(task_issue: u64, started: bool) -> (String, Claim) {
    let token = claim::token(Timestamp::now(), &format!("{task_issue:012x}"));
    let made = Claim {
        token: token.clone(),
        host: "one".to_owned(),
        repo: "harb".to_owned(),
        agent: "dev".to_owned(),
        attempt: 1,
        by: "anna".to_owned(),
        at: Timestamp::now(),
        issue: Some(task_issue),
        args: vec!["quick".to_owned()],
        unclaimed: false,
        started,
        told: None,
    };
    (claim::task("harb", Some(task_issue), &token), made)
}

#[test]
fn a_launch_that_was_cut_off_goes_on_once() {
    let works = Works::new();
    works.run(&["run", "-l", "one"]).code(0);
    let (task, made) = left_behind(7, false);
    works.claim(&task, &made);
    let would = works.run(&["run", "-l", "one", "--check"]).code(0);
    assert!(would.stdout.contains(&format!("one: would launch run {}", made.token)), "{}", would.stdout);
    assert!(works.began().is_empty());
    works.run(&["run", "-l", "one"]).code(0);
    let line = until("the run", || works.began().pop());
    assert!(line.starts_with(&made.token) && line.ends_with(" 7 quick"), "{line}");
    until("its end", || (works.state(&made.token) == "DONE 0").then_some(()));
    // Its end is seen even when nobody had noted that it began.
    works.claim(&task, &made);
    works.run(&["run", "-l", "one"]).code(0);
    works.run(&["run", "-l", "one"]).code(0);
    assert!(works.document().claims.is_empty());
    assert_eq!(works.began().len(), 1);
}

#[test]
fn a_cut_off_launch_that_is_held_meanwhile_is_cancelled_for_good() {
    let works = Works::new();
    works.run(&["halt", "--host", "one", "--agent", "dev"]).code(0);
    let (task, made) = left_behind(8, false);
    works.claim(&task, &made);
    works.run(&["run", "-l", "one"]).code(0);
    assert!(works.document().claims.is_empty());
    assert_eq!(works.state(&made.token), "CANCELLED");
    assert!(works.events().contains("was cancelled before it began: hold "), "{}", works.events());
    works.run(&["resume", "--host", "one", "--agent", "dev"]).code(0);
    works.claim(&task, &made);
    works.run(&["run", "-l", "one"]).code(0);
    assert!(works.began().is_empty() && works.document().claims.is_empty());
}

#[test]
fn a_run_that_its_host_does_not_know_keeps_its_task_until_somebody_says_so() {
    let works = Works::new();
    works.run(&["run", "-l", "one"]).code(0);
    let (task, made) = left_behind(9, true);
    works.claim(&task, &made);
    for _ in 0..2 {
        works.run(&["run", "-l", "one"]).code(0);
        assert_eq!(works.document().claims[&task].token, made.token);
    }
    let told = works.events().matches("is not known to its host any more").count();
    assert_eq!(told, 1, "told once: {}", works.events());
    works.run(&["stop", &made.token, "--host", "one"]).code(0);
    assert!(works.document().claims.is_empty());
    assert_eq!(works.state(&made.token), "CANCELLED", "it can never begin");
}

#[test]
fn a_lost_ledger_takes_up_the_runs_that_there_are() {
    let works = Works::new();
    let token = works.launch(&["--agent", "dev", "--issue", "5"]);
    until("the run", || works.began().pop());
    works.run(&["run", "-l", "one"]).code(0);
    std::fs::remove_file(works.0.state().join("ledger.db")).unwrap();
    let hosts = "all: {hosts: {one: {ansible_connection: local}}}\n";
    works.0.write("hosts.yml", hosts);
    works.0.write("repos.yml", &nowhere("repos: {harb: {slug: a/harb, ci: none}}\n"));
    works.run(&["host", "adopt", "--all", "-y"]).code(0);
    works.run(&["run"]).code(0);
    let claim = &works.document().claims["harb#5"];
    assert!(claim.token == token && claim.started && claim.agent == "dev", "{claim:?}");
    let again = works.run(&["launch", "--host", "one", "--repo", "harb", "--agent", "dev", "--issue", "5"]).code(1);
    assert!(again.stderr.contains("worked on already"), "{}", again.stderr);
    assert_eq!(works.began().len(), 1);
}

#[test]
fn a_tick_leaves_a_launch_that_is_under_way_to_whoever_launches() {
    let works = Works::new();
    works.run(&["run", "-l", "one"]).code(0);
    let (task, made) = left_behind(6, false);
    works.claim(&task, &made);
    let lock = std::fs::OpenOptions::new().create(true).append(true).open(works.0.state().join("launch.lock")).unwrap();
    lock.lock_shared().unwrap();
    works.run(&["run", "-l", "one"]).code(0);
    assert!(works.began().is_empty() && works.document().claims.contains_key(&task));
    // A child that another thread has just started may hold it open for a moment.
    lock.unlock().unwrap();
    drop(lock);
    works.run(&["run", "-l", "one"]).code(0);
    until("the run", || works.began().pop());
}

#[test]
fn many_launches_at_once_of_one_issue_make_one_run() {
    let works = Works::new();
    works.run(&["run", "-l", "one"]).code(0);
    let won = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let args = ["launch", "--host", "one", "--repo", "harb", "--agent", "dev", "--issue", "2"];
                let ended = works.run(&args);
                match ended.code {
                    Some(0) => assert!(!won.swap(true, Ordering::SeqCst), "two won"),
                    Some(1) => assert!(ended.stderr.contains("worked on already"), "{}", ended.stderr),
                    code => panic!("{code:?}: {}", ended.stderr),
                }
            });
        }
    });
    assert!(won.load(Ordering::SeqCst));
    until("the run", || works.began().pop());
    assert_eq!(works.began().len(), 1);
}

#[test]
fn a_secret_that_a_run_says_is_not_told_on() {
    let works = Works::new();
    let token = works.launch(&["--agent", "dev", "--", "tells"]);
    let log = works.0.path("home/.factory/runs").join(&token).join("out.log");
    until("what it says", || std::fs::read_to_string(&log).is_ok_and(|text| text.ends_with("keep it\n")).then_some(()));
    works.run(&["run", "-l", "one"]).code(0);
    let shown = works.run(&["ps", "-l", "one"]).code(0).stdout;
    assert!(shown.contains("my token is ****") && shown.contains("****, keep it"), "{shown}");
    let mut told = shown;
    for args in
        [&["ps", "-l", "one", "-o", "json"][..], &["logs", &token], &["logs", "-l", "one", "-o", "json"], &["events"]]
    {
        let ended = works.run(args);
        told.push_str(&format!("{}{}", ended.stdout, ended.stderr));
    }
    assert!(!told.contains("hunter2") && told.contains("keep it"), "{told}");
}

#[test]
fn what_was_fetched_of_a_run_that_is_over_goes_from_its_host_and_stays_here() {
    let works = Works::new();
    works.run(&["run", "-l", "one"]).code(0);
    let token = works.launch(&["--agent", "dev", "--", "quick"]);
    let log = works.0.path("home/.factory/runs").join(&token).join("out.log");
    until("its end", || (works.state(&token) == "DONE 0").then_some(()));
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "out\n");
    until("the ticks that fetch it and clean up", || {
        works.run(&["run", "-l", "one"]).code(0);
        (!log.exists()).then_some(())
    });
    let logs = works.run(&["logs", &token, "--offline", "-q"]).code(0);
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("out\n", "err\n"));
    // What keeps it from running again is still there.
    assert_eq!(works.state(&token), "DONE 0");
    let (task, mut made) = left_behind(1, false);
    made.token.clone_from(&token);
    works.claim(&task, &made);
    works.run(&["run", "-l", "one"]).code(0);
    assert_eq!(works.began().len(), 1);
    assert!(works.document().claims.is_empty());
}

/// What cron would start, and what a person would: an agent that factory did not start, whose model call goes on in another
/// process group of its session when the script itself is ended.
#[test]
fn an_agent_that_factory_did_not_start_is_stopped_wholly_and_a_person_s_is_not_touched() {
    let works = Works::new();
    let script = works.0.path("old-poll.sh");
    let calls = works.0.path("calls");
    let text = format!(
        "trap 'exit 0' TERM\necho $$ >>{0}\nset -m\ntimeout 50 sleep 49 & echo $! >>{0}\nwait\n",
        calls.display()
    );
    std::fs::write(&script, text).unwrap();
    let mark = format!("BEGAN={}", works.0.path("began").display());
    let start = |words: &[&str]| {
        let mut command = std::process::Command::new(words[0]);
        command.args(&words[1..]).arg(&script).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        let (key, value) = mark.split_once('=').unwrap();
        command.env(key, value).env("TERM", "dumb");
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let pids = || std::fs::read_to_string(&calls).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    let mut child = start(&["setsid", "-w", "sh"]);
    until("cron's agent", || (pids().len() == 2).then_some(()));
    let theirs = pids();
    // A person runs the same at a terminal.
    let mut person = std::process::Command::new("script");
    person.args(["-qc", "sh \"$TYPED\"", "/dev/null"]).env("TYPED", &script).env("BEGAN", works.0.path("began"));
    let mut person = person.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    until("the person's", || (pids().len() == 4).then_some(()));
    let persons = pids().split_off(2);

    let ps = works.run(&["ps", "-l", "one", "-o", "json"]).code(0).json();
    let runs = ps["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
    let token = runs[0]["token"].as_str().unwrap();
    assert!(token.starts_with(&format!("pid:{}:", theirs[0])) && runs[0]["agent"] == "old", "{runs:?}");
    let told = works.run(&["stop", token, "--host", "one"]).code(0);
    assert!(told.stdout.contains("stopped"), "{}", told.stdout);
    until("all of it ends", || (!theirs.iter().any(|pid| lives(pid))).then_some(()));
    assert!(persons.iter().all(|pid| lives(pid)), "the person's lives: {persons:?}");
    // Not by name either.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", persons[0])).unwrap();
    let start_time = stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap();
    works.run(&["stop", &format!("pid:{}:{start_time}", persons[0]), "--host", "one", "--now"]).code(3);
    assert!(persons.iter().all(|pid| lives(pid)));
    let _ = (child.kill(), child.wait(), person.kill(), person.wait());
}

#[test]
fn a_host_whose_lock_is_held_frees_no_task_and_an_old_token_does() {
    let works = Works::new();
    works.0.write(
        "factory.yml",
        &std::fs::read_to_string(works.0.path("inventory/factory.yml"))
            .unwrap()
            .replace("{kill_after: 2s,", "{kill_after: 2s, lock_wait: 1s, lock_stuck: 10min,"),
    );
    works.run(&["run", "-l", "one"]).code(0);
    works.launch(&["--agent", "review", "--", "quick"]);
    let (task, made) = left_behind(4, false);
    works.claim(&task, &made);
    // Another call has the lock: nobody knows whether it is the one that was cut off.
    let lock = works.0.path("home/.factory/guard.lock");
    let held = works.0.path("held");
    let script = format!("echo >{}; exec sleep 600", held.display());
    let mut other = std::process::Command::new("flock");
    other.arg(&lock).args(["sh", "-c", &script]);
    let mut other = std::os::unix::process::CommandExt::process_group(&mut other, 0).spawn().unwrap();
    until("the lock is held", || held.exists().then_some(()));
    works.run(&["run", "-l", "one"]).code(0);
    assert_eq!(works.document().claims[&task].token, made.token);
    let group = rustix::process::Pid::from_child(&other);
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    other.wait().unwrap();
    // A token of long ago is launched no more.
    let old = Claim { token: "20260101-00000000000a".to_owned(), ..made.clone() };
    works.claim(&task, &old);
    works.run(&["run", "-l", "one"]).code(0);
    assert!(!works.document().claims.contains_key(&task), "{}", works.events());
    assert!(works.events().contains("was cancelled before it began: its day is more than 14 days ago"));
    assert!(works.began().iter().all(|line| !line.starts_with(&old.token)));
}

#[test]
fn beside_a_crontab_that_cannot_be_read_nothing_is_launched() {
    let works = Works::new();
    let settings = std::fs::read_to_string(works.0.path("inventory/factory.yml")).unwrap();
    works.0.write("factory.yml", &settings.replace("dev: {command:", "dev: {match: no-such-poll.sh, command:"));
    // A daemon goes by a table whether its owner may read it or not.
    let table = works.0.path("table");
    let text = format!("#!/bin/sh\ncat {} 2>/dev/null || {{ echo You may not >&2; exit 1; }}\n", table.display());
    program_file(&works.0.path("bin/crontab"), &text);
    let path = format!("{}:{}", works.0.path("bin").display(), std::env::var("PATH").unwrap());
    let run =
        |args: &[&str]| Ended::from(works.0.command(args).env("PATH", &path).output().unwrap(), &works.0.path(""));
    let launch = ["launch", "--host", "one", "--repo", "harb", "--agent", "dev", "--issue", "12", "--", "quick"];
    let refused = run(&launch).code(1).stderr;
    assert!(refused.contains("the crontab of one cannot be read"), "{refused}");
    // Of which no line is known starts all the same.
    run(&["launch", "--host", "one", "--repo", "harb", "--agent", "review", "--", "quick"]).code(0);
    let (task, made) = left_behind(7, false);
    works.claim(&task, &made);
    run(&["run", "-l", "one"]).code(0);
    assert!(works.document().claims.contains_key(&task));
    let told = "waits to be begun until the crontab of one, which may start agent `dev` too, can be read";
    assert!(works.events().contains(told), "{}", works.events());
    until("the review", || (works.began().len() == 1).then_some(()));

    std::fs::write(&table, "* * * * * sh no-such-poll.sh\n").unwrap();
    let refused = run(&launch).code(1).stderr;
    assert!(refused.contains("still starts agent `dev`"), "{refused}");
    std::fs::write(&table, "").unwrap();
    run(&["run", "-l", "one"]).code(0);
    until("what waited", || works.began().iter().any(|line| line.starts_with(&made.token)).then_some(()));
    run(&launch).code(0);
}

#[test]
fn a_host_that_is_left_while_its_launch_is_under_way_begins_nothing() {
    let works = Works::new();
    works.run(&["run", "-l", "one"]).code(0);
    // A launch reads its secrets when it has read the ledger, and before it claims.
    let (asked, go) = (works.0.path("asked"), works.0.path("go"));
    let script = format!(": >{}; until [ -e {} ]; do sleep 0.01; done; echo kept", asked.display(), go.display());
    let repos = std::fs::read_to_string(works.0.path("inventory/repos.yml")).unwrap();
    let slow = format!("KEPT: {{command: [sh, -c, '{script}']}}");
    works.0.write("repos.yml", &repos.replace("KEPT: {file: kept}", &slow));
    works.run(&["inventory", "allow", "inventory"]).code(0);
    let mut command = works
        .0
        .command(&["launch", "--host", "one", "--repo", "harb", "--agent", "dev", "--issue", "12", "--", "quick"]);
    let launch = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    until("its secrets are asked for", || asked.exists().then_some(()));
    assert!(works.document().claims.is_empty());
    works.run(&["leave", "-l", "one", "--yes"]).code(0);
    std::fs::write(&go, "").unwrap();
    let ended = Ended::from(launch.wait_with_output().unwrap(), &works.0.path("")).code(1);
    assert!(ended.stderr.contains("one: it was left by"), "{}", ended.stderr);
    assert!(works.began().is_empty() && works.document().claims.is_empty());
}
