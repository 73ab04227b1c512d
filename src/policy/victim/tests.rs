//! Who is counted and who is to stop, over random hosts.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::error::{Diagnostics, SourceFile};
use crate::inventory::policy::Policy;
use crate::inventory::repos::Repos;
use crate::inventory::settings::Settings;
use crate::policy::ladder::{Action, Look, Seen, Up};
use crate::policy::severity::Level;
use crate::remote::sample::{Matched, Run};

const CLASSES: [Class; 3] = [Class::Dev, Class::Review, Class::Supervisor];
/// `poll` is a dev agent, and found by its command line; nobody knows `gone` any more.
const AGENTS: [&str; 5] = ["dev", "review", "supervisor", "poll", "gone"];
const KILL: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(60));

static ROSTER: LazyLock<Roster> = LazyLock::new(|| {
    let mut problems = Diagnostics::default();
    let text = "agents:\n  poll: {class: dev, match: bin/poll, start: cron}\n".to_owned();
    let source = Arc::new(SourceFile { path: "factory.yml".into(), text });
    let settings = Settings::parse(source, &mut problems).0.unwrap();
    Roster::of(&settings, &Repos::default())
});

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn run(token: &str, agent: Option<&str>, state: &str) -> Run {
    Run { token: token.to_owned(), agent: agent.map(str::to_owned), state: state.to_owned(), ..Run::default() }
}

/// The login is 1000.
fn matched(pid: u32, agent: &str, rss: u64, started: Option<Timestamp>) -> Matched {
    let agent = agent.to_owned();
    let (start, sid, uid, procs, cpu_ms, command) = (7, pid, 1000, 1, 0, String::new());
    Matched { agent, pid, start, started, sid, uid, procs, rss, cpu_ms, command }
}

/// A host, and which of its agents were told to stop and when, in observed time.
#[derive(Clone, Debug)]
struct Case {
    sample: Sample,
    told: BTreeMap<String, f64>,
    refused: BTreeMap<String, f64>,
    t: f64,
}

fn case() -> impl Strategy<Value = Case> {
    let states = ["RUNNING", "RUNNING", "UNKNOWN", "CREATED", "DONE 0", "CRASHED", "CRASHED LEFTOVER"];
    let agent = || prop::sample::select(AGENTS.to_vec());
    // Few values, so that many are alike.
    let rss = || (0_u64..8).prop_map(|gib| gib << 30);
    let started = || option::of((0_i64..4).prop_map(at));
    let told = || option::weighted(0.3, (0_u32..100).prop_map(f64::from));
    let own =
        (option::of(agent()), prop::sample::select(states.to_vec()), option::of(rss()), option::of(any::<bool>()));
    let own = vec((own, started(), told()), 0..6);
    let found = vec((agent(), rss(), started(), told(), told(), prop::bool::weighted(0.2)), 0..6);
    let more = vec((agent(), 0_u64..4), 0..3);
    (own, found, more, 0_u32..200).prop_map(|(own, found, more, t)| {
        let (told, refused) = (BTreeMap::new(), BTreeMap::new());
        let mut case = Case { sample: Sample::unknown("a", at(0)), told, refused, t: f64::from(t) };
        case.sample.uid = Some(1000);
        let mut runs = Vec::new();
        for (index, ((agent, state, rss, critical), started, told)) in own.into_iter().enumerate() {
            let token = format!("run-{index}");
            case.told.extend(told.map(|told| (token.clone(), told)));
            runs.push(Run { rss, critical, started, ..run(&token, agent, state) });
        }
        let (mut all, mut list) = (BTreeMap::from([("poll".to_owned(), 0)]), Vec::new());
        for (index, (agent, rss, started, told, refused, anothers)) in found.into_iter().enumerate() {
            let mut one = matched(index as u32, agent, rss, started);
            one.uid += u32::from(anothers);
            case.told.extend(told.map(|told| (one.token(), told)));
            case.refused.extend(refused.filter(|_| told.is_none()).map(|refused| (one.token(), refused)));
            *all.entry(agent.to_owned()).or_default() += 1;
            list.push(one);
        }
        // It counts more than it lists.
        for (agent, more) in more {
            *all.entry(agent.to_owned()).or_default() += more;
        }
        (case.sample.runs, case.sample.matched, case.sample.running) = (Some(runs), Some(list), Some(all));
        case
    })
}

impl Case {
    /// Where its host stands: time went on, and agents were told when their time came.
    fn standing(&self) -> Standing {
        let mut standing = Standing::unknown();
        let all = self.told.iter().map(|one| (one, true)).chain(self.refused.iter().map(|one| (one, false)));
        let mut all: Vec<_> = all.filter(|((_, at), _)| **at <= self.t).collect();
        all.sort_by(|a, b| a.0.1.total_cmp(b.0.1));
        look(&mut standing, 0.0, 0);
        for ((token, at), told) in all {
            look(&mut standing, *at, 0);
            match told {
                true => standing.told(token.clone()),
                false => standing.refused(token.clone()),
            }
        }
        look(&mut standing, self.t, 0);
        standing
    }
}

/// A sample of a host that is well, or at that level, at that uptime.
fn look(standing: &mut Standing, uptime: f64, inc: usize) -> Option<Action> {
    let up = Up { boot_id: "b".to_owned(), uptime };
    let seen = Some(Seen { up, inc: Level::ALL[inc], cmp: Level::Ok, slow: false, dev: 1, review: 1 });
    standing.look(&Policy::default(), &Look { at: uptime, seen }, at(0), "").action
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_one_to_stop_is_the_furthest_above_what_is_kept_for_it_then_the_youngest(case in case()) {
        let (standing, all) = (case.standing(), running(&case.sample, &ROSTER));
        for class in CLASSES {
            let one = victim(&case.sample, &ROSTER, class, &standing);
            let may = all.iter().filter(|other| {
                let told = case.told.get(&other.token).is_some_and(|told| *told <= case.t);
                // A process that was found is told of by the text by which it was.
                let known = other.token.starts_with("run-") || other.agent == "poll";
                other.class == class && other.critical != Some(true) && !told && known
            });
            let may: Vec<_> = may.collect();
            prop_assert_eq!(one.is_some(), !may.is_empty());
            let Some(one) = one else { continue };
            prop_assert!(may.contains(&&one), "{one:?} may not be stopped");
            let refused = |one: &Running| case.refused.get(&one.token).is_some_and(|refused| *refused <= case.t);
            prop_assert!(!refused(&one) || may.iter().all(|other| refused(other)), "{one:?} before one that minds");
            for other in may.iter().filter(|other| other.token != one.token && refused(other) == refused(&one)) {
                prop_assert!(one.over() >= other.over(), "{one:?} before {other:?}");
                prop_assert!(one.over() > other.over() || one.started >= other.started, "{one:?} before {other:?}");
            }
        }
    }

    #[test]
    fn what_lives_is_counted_once_and_what_outlived_kill_is_not(case in case()) {
        let standing = case.standing();
        let class = |agent: Option<&str>| match agent {
            Some("review") => Class::Review,
            Some("supervisor") => Class::Supervisor,
            _ => Class::Dev,
        };
        let outlived = |token: &str| {
            let since = case.told.get(token).or(case.refused.get(token));
            since.is_some_and(|since| *since <= case.t && case.t - since >= 90.0)
        };
        for of in CLASSES {
            let runs = case.sample.runs.iter().flatten().filter(|run| {
                let lives = matches!(run.state.as_str(), "RUNNING" | "UNKNOWN" | "CRASHED LEFTOVER");
                let gone = outlived(&run.token) && run.critical == Some(false);
                lives && class(run.agent.as_deref()) == of && !gone
            });
            let counted = case.sample.running.iter().flatten().filter(|(agent, _)| class(Some(agent)) == of);
            let counted: u64 = counted.map(|(_, n)| n).sum();
            let gone = case.sample.matched.iter().flatten();
            let gone = gone.filter(|one| class(Some(&one.agent)) == of && (one.uid != 1000 || outlived(&one.token())));
            let gone = gone.count();
            let want = runs.count() + counted as usize - gone;
            prop_assert_eq!(count(&case.sample, &ROSTER, of, &standing, KILL) as usize, want);
        }
    }
}

#[test]
fn a_dev_process_that_survives_kill_stands_in_the_way_of_reviews_no_longer_than_its_grace() {
    let mut sample = Sample::unknown("a", at(0));
    sample.runs = Some(vec![Run { critical: Some(false), ..run("stuck", Some("dev"), "RUNNING") }]);
    (sample.running, sample.matched) = (Some([("poll".to_owned(), 0)].into()), Some(vec![]));
    let mut standing = Standing::unknown();
    let count = |standing: &Standing| count(&sample, &ROSTER, Class::Dev, standing, KILL);
    look(&mut standing, 0.0, 0);
    assert_eq!((count(&standing), victim(&sample, &ROSTER, Class::Dev, &standing).is_some()), (1, true));
    standing.told("stuck".to_owned());
    assert!(victim(&sample, &ROSTER, Class::Dev, &standing).is_none(), "nobody is told twice");
    look(&mut standing, 60.0, 0);
    // Time that nobody saw does not count: after a gap it goes on where it was.
    for uptime in [1000.0, 1029.9] {
        look(&mut standing, uptime, 0);
        assert_eq!(count(&standing), 1, "at {uptime}");
    }
    look(&mut standing, 1030.0, 0);
    assert_eq!(count(&standing), 0);
}

#[test]
fn a_host_that_says_nothing_of_an_agent_is_not_without_it() {
    let mut sample = Sample::unknown("a", at(0));
    sample.runs = Some(vec![run("old", Some("long gone"), "RUNNING"), run("bare", None, "UNKNOWN")]);
    sample.running = Some([("review".to_owned(), 300), ("poll".to_owned(), 0)].into());
    sample.matched = Some((0..256).map(|pid| matched(pid, "review", 0, None)).collect());
    let standing = Standing::default();
    let count = |class| count(&sample, &ROSTER, class, &standing, KILL);
    // What nobody knows is dev, the first to go; what was counted beyond the list counts.
    assert_eq!((count(Class::Dev), count(Class::Review), count(Class::Supervisor)), (2, 300, 0));
    // Where there are as many bytes above as in another, the one that never began is not the youngest.
    let mut two = Sample::unknown("a", at(0));
    two.matched = Some(vec![matched(1, "poll", 9, Some(at(5))), matched(2, "poll", 9, None)]);
    assert_eq!(victim(&two, &ROSTER, Class::Dev, &standing).unwrap().token, "pid:1:7");
}

#[test]
fn what_cannot_be_stopped_stands_in_nobodys_way() {
    let mut sample = Sample::unknown("a", at(0));
    let mut theirs = matched(1, "poll", 9 << 30, None);
    theirs.uid = 0;
    sample.runs = Some(vec![run("own", Some("dev"), "RUNNING")]);
    sample.matched = Some(vec![theirs, matched(2, "poll", 8 << 30, None), matched(3, "poll", 7 << 30, None)]);
    (sample.running, sample.uid) = (Some([("poll".to_owned(), 3)].into()), Some(1000));
    let mut standing = Standing::unknown();
    look(&mut standing, 0.0, 0);
    let next = |standing: &Standing| victim(&sample, &ROSTER, Class::Dev, standing).map(|one| one.token).unwrap();
    let count = |standing: &Standing| count(&sample, &ROSTER, Class::Dev, standing, KILL);
    assert_eq!((next(&standing).as_str(), count(&standing)), ("pid:2:7", 3), "another user's is not ours to stop");
    standing.refused("pid:2:7".to_owned());
    assert_eq!((next(&standing).as_str(), count(&standing)), ("pid:3:7", 3), "a refusal leads to the next one");
    standing.refused("pid:3:7".to_owned());
    assert_eq!(next(&standing), "own");
    standing.refused("own".to_owned());
    standing.refused("pid:2:7".to_owned());
    assert_eq!(next(&standing), "pid:3:7", "then to whom was refused least often");
    // What is refused for as long as KILL takes does not count any more; a run of ours does.
    look(&mut standing, 90.0, 0);
    assert_eq!(count(&standing), 1);
    standing.forget(|token| token == "own");
    assert_eq!(count(&standing), 3);
    standing.told("own".to_owned());
    assert!(standing.refused.is_empty(), "it obeys");
    // Nobody knows whose they are.
    sample.uid = None;
    assert_eq!(victim(&sample, &ROSTER, Class::Dev, &standing).unwrap().token, "pid:1:7");
}
