//! The laws of the algebra.

use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::wanted::Wanted;
use super::*;
use crate::remote::halt::HaltFile;

const HOSTS: [&str; 3] = ["b1", "b2", "b3"];
const REPOS: [&str; 2] = ["harb", "web"];
const ALL: [&str; 5] = ["dev", "review", "poll", "boss", "supervisor"];

fn pick(names: &'static [&'static str]) -> impl Strategy<Value = Pick> {
    let some = btree_set(select(names), 1..=names.len());
    let some = some.prop_map(|names| Pick::Names(names.into_iter().map(str::to_owned).collect()));
    prop_oneof![1 => Just(Pick::All), 2 => some]
}

/// A scope such as the command line makes: supervisors only with every agent.
pub fn scopes() -> impl Strategy<Value = Scope> {
    (pick(&HOSTS), pick(&REPOS), pick(&ALL), any::<bool>()).prop_map(|(hosts, repo, agent, supervisor)| {
        let supervisor = supervisor && agent == Pick::All;
        Scope { hosts, repo, agent, supervisor }
    })
}

/// A scope with a smaller, an equal or any other one: two at random are seldom inside each other.
fn pairs() -> impl Strategy<Value = (Scope, Scope)> {
    (scopes(), scopes(), 0u8..16).prop_map(|(a, b, mix)| {
        let part = |bit: u8, a: &Pick, b: &Pick| if mix & bit == 0 { a.clone() } else { b.clone() };
        let agent = part(4, &a.agent, &b.agent);
        let supervisor = agent == Pick::All && (if mix & 8 == 0 { &a } else { &b }).supervisor;
        (Scope { hosts: part(1, &a.hosts, &b.hosts), repo: part(2, &a.repo, &b.repo), agent, supervisor }, b)
    })
}

/// Each (host, agent, repo) where a launch would find a covering halt.
fn launches(scope: &Scope, model: &Model) -> BTreeSet<(String, String, String)> {
    let holds = [held("h", scope.clone())];
    let mut found = BTreeSet::new();
    for host in HOSTS.into_iter().chain(["later"]) {
        let wanted = Wanted::on(host, &holds, model);
        for agent in model.agents() {
            for repo in REPOS.into_iter().chain(["new"]) {
                let files = [HaltFile::of(agent, "*"), HaltFile::of(agent, repo)];
                if files.iter().any(|file| wanted.files.contains_key(file)) {
                    found.insert((host.to_owned(), agent.to_owned(), repo.to_owned()));
                }
            }
        }
    }
    found
}

/// The scope that `halt` or `resume` makes of flags, as far as our own flags go.
fn typed(flags: &str) -> Scope {
    let mut scope = Scope { supervisor: flags == "--all", ..Scope::everything() };
    let words = shlex::split(flags).unwrap();
    for pair in words.chunks(2).filter(|pair| pair.len() == 2) {
        let pick = match pair[1].as_str() {
            "all" => Pick::All,
            names => Pick::Names(names.split(',').map(str::to_owned).collect()),
        };
        match pair[0].as_str() {
            "--host" => scope.hosts = pick,
            "--repo" => scope.repo = pick,
            "--agent" => scope.agent = pick,
            other => panic!("{other}"),
        }
    }
    scope
}

/// What happens to a clock between two ticks.
#[derive(Clone, Debug)]
enum Step {
    /// Time goes by, in seconds.
    Wait(f64),
    /// The wall clock jumps, in seconds.
    Set(i64),
    /// The machine restarts, and is down so many seconds.
    Reboot(i64),
    /// A reading that was taken earlier comes late, by so many seconds.
    Late(f64),
    Tick,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = prop_oneof![
        3 => (0.0..200.0f64).prop_map(Step::Wait),
        1 => (-5_000i64..5_000).prop_map(Step::Set),
        1 => (0i64..500).prop_map(Step::Reboot),
        1 => (0.0..100.0f64).prop_map(Step::Late),
        4 => Just(Step::Tick),
    ];
    vec(one, 1..40)
}

proptest! {
    #[test]
    fn what_is_inside_meets_and_holds_nothing_more((a, b) in pairs(), c in scopes()) {
        let model = model(false);
        prop_assert!(a.inside(&a, is_supervisor) && a.meets(&a, is_supervisor));
        prop_assert_eq!(a.meets(&b, is_supervisor), b.meets(&a, is_supervisor));
        if a.inside(&b, is_supervisor) {
            prop_assert!(a.meets(&b, is_supervisor));
            prop_assert!(launches(&a, &model).is_subset(&launches(&b, &model)));
            prop_assert!(!b.inside(&c, is_supervisor) || a.inside(&c, is_supervisor));
            prop_assert!(!a.meets(&c, is_supervisor) || b.meets(&c, is_supervisor));
        }
        if a.inside(&b, is_supervisor) && b.inside(&a, is_supervisor) {
            prop_assert_eq!(launches(&a, &model), launches(&b, &model));
        }
    }

    #[test]
    fn the_flags_of_a_hold_lift_it_and_nothing_wider(scope in scopes(), other in scopes()) {
        let typed = typed(&scope.flags());
        // A resume of every agent lifts supervisors too.
        let lifts = Scope { supervisor: typed.agent == Pick::All, ..typed.clone() };
        prop_assert!(scope.inside(&lifts, is_supervisor), "{} is {typed:?}", scope.flags());
        prop_assert_eq!((&typed.hosts, &typed.repo, &typed.agent), (&scope.hosts, &scope.repo, &scope.agent));
        if !scope.supervisor || scope == Scope::everything() {
            prop_assert_eq!(&typed, &scope);
        }
        if other.inside(&lifts, is_supervisor) {
            let widest = Scope { supervisor: lifts.supervisor, ..scope };
            prop_assert!(other.inside(&widest, is_supervisor));
        }
    }

    #[test]
    fn a_resume_ends_just_what_is_inside(all in vec((scopes(), any::<bool>()), 0..8), of in scopes()) {
        let mut holds: Vec<Hold> = all.iter().enumerate().map(|(i, (scope, over))| {
            let ended = over.then(|| Ended { at: at(1), by: None });
            Hold { ended, ..held(&i.to_string(), scope.clone()) }
        }).collect();
        let before = holds.clone();
        let resumed = resume(&mut holds, &of, "bob@desk", at(9), is_supervisor);
        for (before, after) in before.iter().zip(&holds) {
            if before.ended.is_none() && before.scope.inside(&of, is_supervisor) {
                prop_assert!(resumed.ended.contains(after));
                prop_assert_eq!(after.ended.as_ref().map(|ended| ended.at), Some(at(9)));
                prop_assert_eq!(&Hold { ended: None, ..after.clone() }, before);
            } else {
                prop_assert_eq!(after, before);
                let meets = before.ended.is_none() && before.scope.meets(&of, is_supervisor);
                prop_assert_eq!(resumed.wider.contains(after), meets);
            }
        }
        prop_assert_eq!(before.len(), holds.len());
        let again = resume(&mut holds, &of, "bob@desk", at(10), is_supervisor);
        prop_assert_eq!(again, Resumed { ended: vec![], wider: resumed.wider });
    }

    #[test]
    fn a_hold_never_ends_before_both_clocks_say_so(seconds in 1.0..600.0f64, steps in steps(), start in 0.0..1e6f64) {
        let (mut wall, mut boots, mut up) = (0.0, 0, start);
        // The time that really went by with the machine up.
        let mut passed = 0.0;
        let mut holds = Vec::new();
        let clock = |boots: i32, up: f64| boot(&format!("boot-{boots}"), up);
        let now = |wall: f64| Timestamp::from_millisecond(1_700_000_000_000 + (wall * 1000.0).floor() as i64).unwrap();
        hold(&mut holds, &wish(scope("b1 * dev"), Some(seconds)), "1", now(wall), &clock(boots, up));
        let until = holds[0].until.clone().unwrap();
        for step in steps {
            let late = if let Step::Late(late) = &step { late.min(up) } else { 0.0 };
            match step {
                Step::Wait(by) => (wall, up, passed) = (wall + by, up + by, passed + by),
                Step::Set(by) => wall += by as f64,
                Step::Reboot(down) => (wall, boots, up) = (wall + down as f64, boots + 1, 0.0),
                Step::Late(_) | Step::Tick => {
                    let over = expire(&mut holds, now(wall), &clock(boots, up - late));
                    if !over.is_empty() {
                        prop_assert!(passed + 1e-6 >= seconds, "{passed} of {seconds} s");
                        prop_assert!(now(wall) >= until.at);
                        prop_assert_eq!(&over, &holds);
                        prop_assert_eq!(over[0].ended.as_ref().unwrap(), &Ended { at: now(wall), by: None });
                    }
                }
            }
        }
        // And it does end, once both have said so.
        expire(&mut holds, now(wall), &clock(boots, up));
        let wall = wall.max((until.at.as_millisecond() - 1_700_000_000_000) as f64 / 1000.0 + 1.0);
        expire(&mut holds, now(wall), &clock(boots, up + seconds + 1.0));
        prop_assert!(holds[0].ended.is_some());
    }

    #[test]
    fn a_hold_survives_as_json(scope in scopes(), length in option::of((0.0..1e9f64, 0.0..1e9f64)), reason in option::of(".*"),
                               lines in option::of(vec("[0-9a-f]{8}", 0..3)), ended in option::of(option::of(".{1,9}")),
                               by in ".*", nanos in any::<i32>()) {
        let since = Timestamp::from_nanosecond(1_700_000_000_000_000_000 + i128::from(nanos)).unwrap();
        let until = length.map(|(seconds, spent)| Until { at: since, seconds, spent, counted: boot("x", seconds) });
        let hold = Hold {
            id: "0123abcd".to_owned(), scope, by, since, until, reason,
            found: lines.map(|lines| Found { lines }),
            ended: ended.map(|by| Ended { at: since, by }),
        };
        let text = serde_json::to_string(&hold).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Hold>(&text).unwrap(), &hold, "{}", text);
        prop_assert_eq!(serde_json::from_value::<Hold>(serde_json::to_value(&hold).unwrap()).unwrap(), hold);
    }

    #[test]
    fn a_word_is_no_pick(word in ".*") {
        let pick = serde_json::from_value::<Pick>(serde_json::Value::String(word.clone()));
        prop_assert_eq!(pick.ok(), (word == "*").then_some(Pick::All));
    }
}
