//! What a plan says, case by case: what a property found, or cannot say.

use std::collections::BTreeMap;

use super::super::plan::line;
use super::host::{Guard, Step, World};
use super::*;
use crate::inventory::agents::Class;
use crate::policy::ladder::Standing;
use crate::remote::crontab::{Edit, Mark};
use crate::remote::guard::{Drop, Op, Word};
use crate::remote::halt::{HaltFile, Kind};
use crate::remote::sample;

fn file(name: &str) -> HaltFile {
    HaltFile::Home(name.to_owned())
}

fn sighting(files: &[(&str, &[&str])]) -> Sighting {
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    let active = BTreeMap::from([("~/poll on".to_owned(), Active::Shown)]);
    Sighting {
        files: files.iter().map(|(name, texts)| (file(name), lines(texts))).collect(),
        active,
        ..Sighting::default()
    }
}

fn plan_of(holds: &[Hold], shown: &[(&str, u32)], seen: &Sighting) -> Plan {
    let shown = shown.iter().map(|(key, times)| ((*key).to_owned(), Showing::after(*times))).collect();
    plan("b1", holds, &model(false), &shown, seen, 7, true)
}

/// A world in which these steps were taken.
fn world(steps: &[Step]) -> World {
    let mut world = World::new();
    steps.iter().for_each(|step| world.step(step));
    world
}

/// What the ladder holds when it holds dev.
fn ladder() -> Vec<Hold> {
    let mut standing = Standing::default();
    assert!(standing.adopt(Class::Dev, Timestamp::UNIX_EPOCH, "memory is short"));
    auto("b1", &standing, &model(false), "b1")
}

#[test]
fn the_ladders_lines_and_those_of_people_leave_each_other_alone() {
    let person = [held("h", scope("b1 * dev"))];
    let (mine, auto) = (line(&person[0], 7).render(), line(&ladder()[0], 7).render());
    let both: Vec<Hold> = person.iter().cloned().chain(ladder()).collect();
    let dev = |plan: &Plan| plan.drop.iter().filter(|(at, _)| *at == file("dev")).cloned().collect::<Vec<_>>();
    let adds = |plan: &Plan| plan.add.iter().filter(|(at, _)| *at == file("dev")).count();
    // Each is added beside the other, and neither is taken for the other or for a stranger's.
    for (there, missing) in [(&mine, &auto), (&auto, &mine)] {
        let plan = plan_of(&both, &[], &sighting(&[("dev", &[there])]));
        assert_eq!((adds(&plan), dev(&plan), plan.found.len()), (1, vec![], 0));
        let (_, line) = plan.add.iter().find(|(at, _)| *at == file("dev")).unwrap();
        assert_eq!(&line.render(), missing);
    }
    // One ends: the other stays.
    let seen = sighting(&[("dev", &[&mine, &auto])]);
    let over = plan_of(&person, &[("ladder-dev dev", 0), ("h dev", 0)], &seen);
    assert_eq!(dev(&over), [(file("dev"), Drop::Line(Kind::Auto, "ladder-dev".to_owned()))]);
    let lifted = Hold { ended: Some(Ended { at: at(9), by: Some("bob".to_owned()) }), ..person[0].clone() };
    let holds: Vec<Hold> = [lifted].into_iter().chain(ladder()).collect();
    let lifted = plan_of(&holds, &[("ladder-dev dev", 0), ("h dev", 0)], &seen);
    assert_eq!(dev(&lifted), [(file("dev"), Drop::Line(Kind::Manual, "h".to_owned()))]);
    // A line of the ladder's that a person forged is the ladder's to take out; one of a person's with its id is not.
    let forged = "manual ladder-dev eve 2026-01-01T00:00:00Z - 7 -";
    assert_eq!(plan_of(&[], &[], &sighting(&[("dev", &[forged])])).found.len(), 1);
    // What a full disk left of the ladder's file goes with its hold; an empty file where its line was seen is a person's.
    let empty = |bare| {
        let shown = BTreeMap::from([("ladder-dev dev".to_owned(), Showing { gone: 0, bare })]);
        let plan = plan("b1", &[], &model(false), &shown, &sighting(&[("dev", &[])]), 7, true);
        (dev(&plan), plan.found.len())
    };
    assert_eq!(empty(true), (vec![(file("dev"), Drop::Foreign)], 0));
    assert_eq!(empty(false), (vec![], 1));
}

fn notes(plan: &Plan) -> Vec<&str> {
    plan.notes.iter().map(|note| if matches!(note, Note::PutBack { .. }) { "put back" } else { "given up" }).collect()
}

#[test]
fn a_hold_that_is_gone_is_put_back_once_and_then_given_up() {
    let boss = [held("h", scope("b1 * boss"))];
    let (none, there) = (sighting(&[]), line(&boss[0], 7).render());
    for (before, told, after) in [
        (None, vec![], None),
        (Some(0), vec!["put back"], Some(0)),
        (Some(1), vec!["given up"], Some(2)),
        (Some(2), vec![], Some(2)),
    ] {
        let shown: Vec<(&str, u32)> = before.map(|times| ("h boss", times)).into_iter().collect();
        let plan = plan_of(&boss, &shown, &none);
        assert_eq!((notes(&plan), plan.shown.get("h boss").copied()), (told, after.map(Showing::after)), "{before:?}");
        assert_eq!(plan.ops().len(), usize::from(before < Some(1)), "{before:?}");
        // Seen again, it counts anew.
        let plan = plan_of(&boss, &shown, &sighting(&[("boss", &[&there])]));
        assert_eq!((plan.ops().len(), plan.shown["h boss"].gone, plan.notes), (0, 0, vec![]));
    }
}

#[test]
fn only_what_the_guard_did_counts() {
    let boss = [held("h", scope("b1 * boss"))];
    let after = |shown: &[(&str, u32)], seen: &Sighting, word| {
        let plan = plan_of(&boss, shown, seen);
        let mut shown = plan.shown.clone();
        plan.ops().iter().for_each(|op: &Op| plan.done(op, word, &mut shown));
        shown.get("h boss").map(|showing| (showing.gone, showing.bare))
    };
    let none = sighting(&[]);
    assert_eq!(after(&[], &none, Word::Done), Some((0, false)));
    assert_eq!(after(&[], &none, Word::Failed), None);
    assert_eq!(after(&[], &none, Word::Degraded), Some((0, true)), "the empty file is the hold");
    assert_eq!(after(&[("h boss", 0)], &none, Word::Done), Some((1, false)));
    assert_eq!(after(&[("h boss", 0)], &none, Word::Busy), Some((0, false)), "what was not put back is no fight");
    let text = sighting(&[("boss", &["mine"])]);
    assert_eq!(after(&[], &text, Word::Degraded), None, "no line fits into a file on a full disk");
    assert_eq!(after(&[], &text, Word::Done), Some((0, false)));
}

#[test]
fn a_given_up_hold_is_taken_up_when_a_person_asks_again() {
    let boss = scope("b1 * boss");
    let mut world = world(&[Step::Halt(boss.clone(), None), Step::Tick]);
    for _ in 0..4 {
        world.step(&Step::Remove(file("boss")));
        world.step(&Step::Tick);
    }
    assert!(world.files.is_empty());
    world.step(&Step::Halt(boss, None));
    world.step(&Step::Tick);
    assert!(world.files.contains_key(&file("boss")));
}

#[test]
fn a_found_hold_can_be_lifted_before_the_next_tick_and_a_new_touch_is_a_new_hold() {
    let touch = Step::Touch(file("boss"));
    let mut world = world(&[touch.clone(), Step::Tick]);
    let [found] = &world.holds[..] else { panic!("{:?}", world.holds) };
    assert_eq!(
        (found.scope.clone(), found.by.as_str(), found.id.clone()),
        (scope("b1 * boss"), "somebody@b1", "00000001".to_owned())
    );
    world.step(&Step::Resume(scope("b1 * boss")));
    world.step(&Step::Tick);
    assert!(world.files.is_empty());
    world.step(&Step::Tick);
    assert!(world.holds.is_empty());
    world.step(&touch);
    world.step(&Step::Tick);
    assert_eq!(world.holds.iter().map(|hold| hold.ended.is_none()).collect::<Vec<_>>(), [true]);
}

#[test]
fn a_touch_that_came_while_the_host_was_down_outlives_the_lifting_of_another_hold() {
    let boss = scope("b1 * boss");
    let mut world = world(&[
        Step::Halt(boss.clone(), None),
        Step::Tick,
        Step::Reach(false),
        Step::Resume(boss.clone()),
        Step::Write(file("boss")),
        Step::Reach(true),
        Step::Tick,
    ]);
    assert_eq!(world.files[&file("boss")], ["stop, 00000002"]);
    assert!(world.holds.iter().any(|hold| hold.ended.is_none() && hold.scope == boss && hold.found.is_some()));
    world.step(&Step::Tick);
    world.check_quiet();
}

#[test]
fn time_ends_our_line_but_not_what_a_person_wrote_beside_it() {
    let boss = scope("b1 * boss");
    let mut world = world(&[Step::Halt(boss, Some(60)), Step::Tick, Step::Write(file("boss")), Step::Tick]);
    assert_eq!(world.holds.len(), 1, "the hold of the same scope stands for it");
    for step in [Step::Wait(61), Step::Tick, Step::Tick] {
        world.step(&step);
    }
    assert_eq!(world.files[&file("boss")], ["stop, 00000002"]);
    let [hold] = &world.holds[..] else { panic!("{:?}", world.holds) };
    assert_eq!((&hold.until, hold.reason.as_deref()), (&None, Some("stop, 00000002")));
}

#[test]
fn what_is_lifted_stays_until_what_is_wanted_shows() {
    let boss = scope("b1 * boss");
    let mut world = world(&[
        Step::Stranger(file("boss"), None),
        Step::Tick,
        Step::Resume(boss.clone()),
        Step::Halt(boss.clone(), None),
        Step::Guard(Guard::Full),
        Step::Tick,
        Step::Tick,
    ]);
    assert_eq!(world.files[&file("boss")].len(), 1, "no room for ours, so theirs stays");
    for step in [Step::Guard(Guard::Works), Step::Tick, Step::Tick, Step::Tick] {
        world.step(&step);
    }
    assert!(world.files[&file("boss")][0].starts_with("manual 00000003 ann@desk "));
    assert_eq!(world.files[&file("boss")].len(), 1);
    world.check_quiet();
}

#[test]
fn an_active_file_that_comes_back_is_renamed_once_more_and_then_left() {
    let poll = [held("h", scope("b1 * poll"))];
    let shows = [line(&poll[0], 7).render()];
    let lines: Vec<&str> = shows.iter().map(String::as_str).collect();
    let seen = sighting(&[("poll", &lines), ("boss", &lines)]);
    for (before, hides) in [(None, true), (Some(0), true), (Some(1), false), (Some(2), false)] {
        let shown: Vec<(&str, u32)> = before.map(|times| ("h ~/poll on", times)).into_iter().collect();
        let plan = plan_of(&poll, &shown, &seen);
        assert_eq!(!plan.hide.is_empty(), hides, "{before:?}");
    }
    // Nobody looked: what is known stays known.
    let blind = Sighting { active: BTreeMap::new(), ..seen };
    let plan = plan_of(&poll, &[("h ~/poll on", 1)], &blind);
    assert_eq!((plan.shown["h ~/poll on"].gone, plan.ops().len()), (1, 0));
}

#[test]
fn an_active_file_stays_away_while_the_ladder_holds_the_agent() {
    let dev = ladder();
    let auto = line(&dev[0], 7).render();
    let hidden = |files: &[(&str, &[&str])]| Sighting {
        active: BTreeMap::from([("~/poll on".to_owned(), Active::Hidden)]),
        ..sighting(files)
    };
    let all = Wanted::on("b1", &dev, &model(false)).files;
    assert!(all.contains_key(&file("poll")), "whoever starts dev is held with it");
    let files = all.keys().map(|file| (file.clone(), vec![auto.clone()])).collect();
    assert_eq!(plan_of(&dev, &[], &Sighting { files, ..hidden(&[]) }).ops(), []);
    // Once it is over: the line goes, and the file comes back.
    let over = plan_of(&[], &[("ladder-dev poll", 0)], &hidden(&[("poll", &[&auto])]));
    assert_eq!(over.drop, [(file("poll"), Drop::Line(Kind::Auto, "ladder-dev".to_owned()))]);
    assert_eq!(over.show, [("~/poll on".to_owned(), vec![file("poll")])]);
    assert_eq!(plan_of(&[], &[], &hidden(&[])).show, [("~/poll on".to_owned(), vec![file("poll")])]);
}

#[test]
fn crontab_lines_that_come_back_are_held_once_more_and_then_left() {
    let nightly = [held("h", scope("b1 * nightly")), held("i", scope("b1 web dev"))];
    let mark = |key: &str, text: &str| Mark { key: key.to_owned(), text: text.to_owned() };
    let (dev, night) = (mark("dev@web", "web.sh"), mark("nightly", "bin/nightly"));
    let plan = |shown: &[(&str, u32)], dev: Lines, night: Lines| {
        let files =
            [("nightly", &nightly[0]), ("boss@web", &nightly[1]), ("dev@web", &nightly[1]), ("poll@web", &nightly[1])];
        let files = files.map(|(name, hold)| (file(name), vec![line(hold, 7).render()]));
        let lines = BTreeMap::from([("dev@web".to_owned(), dev), ("nightly".to_owned(), night)]);
        let seen = Sighting { files: files.into(), lines, ..sighting(&[]) };
        plan_of(&nightly, shown, &seen)
    };
    let (live, kept, none) = (Lines { live: true, held: false }, Lines { live: false, held: true }, Lines::default());
    let ours = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
    let both = Edit::Hold { wanted: vec![dev.clone(), night.clone()], ours: ours(&["dev@web", "nightly"]) };
    for (before, told, edit) in [
        (None, vec![], Some(both.clone())),
        (Some(0), vec!["put back"], Some(both.clone())),
        (Some(1), vec!["given up"], None),
        (Some(2), vec![], None),
    ] {
        let shown: Vec<(&str, u32)> = before.map(|times| ("h crontab:nightly", times)).into_iter().collect();
        let plan = plan(&shown, kept, live);
        assert_eq!((notes(&plan), &plan.lines), (told, &edit), "{before:?}");
    }
    // What was given up stays as it is, also when others are held.
    let plan_of_dev = plan(&[("h crontab:nightly", 2)], live, live);
    assert_eq!(plan_of_dev.lines, Some(Edit::Hold { wanted: vec![dev], ours: ours(&["dev@web"]) }));
    // Where there are no such lines nothing is to be done.
    let nothing = plan(&[], none, kept);
    assert_eq!((nothing.ops().len(), nothing.shown["h crontab:nightly"].gone), (0, 0));
    assert_eq!(plan(&[("i crontab:dev@web", 2)], none, kept).shown["i crontab:dev@web"].gone, 2);
    // Only what was done counts.
    let put_back = plan(&[("h crontab:nightly", 0)], kept, live);
    for (word, times) in [(Word::Done, 1), (Word::Failed, 0)] {
        let mut shown = put_back.shown.clone();
        put_back.ops().iter().for_each(|op| put_back.done(op, word, &mut shown));
        assert_eq!(shown["h crontab:nightly"].gone, times);
    }
    // Nobody looked: what is known stays known.
    let blind = plan_of(&nightly, &[("h crontab:nightly", 1)], &sighting(&[]));
    assert_eq!((blind.shown["h crontab:nightly"].gone, blind.lines), (1, None));
}

#[test]
fn crontab_lines_stay_held_while_the_ladder_or_a_person_holds_the_agent() {
    let kept = |key: &str| BTreeMap::from([(key.to_owned(), Lines { live: false, held: true })]);
    let seen = |key: &str, files: &[(&str, &[&str])]| Sighting { lines: kept(key), ..sighting(files) };
    let auto = line(&ladder()[0], 7).render();
    for (key, name) in
        [("nightly", "nightly"), ("dev@web", "dev"), ("dev@web", "dev@web"), ("gone@x", "gone"), ("gone@x", "gone@x")]
    {
        if name == "dev" {
            assert_eq!(plan_of(&ladder(), &[], &seen(key, &[(name, &[&auto])])).lines, None, "{key}");
        }
        assert_eq!(plan_of(&[], &[], &seen(key, &[(name, &["mine"])])).lines, None, "{key}");
        let free = Edit::Hold { wanted: vec![], ours: vec![key.to_owned()] };
        assert_eq!(plan_of(&[], &[], &seen(key, &[])).lines, Some(free), "{key}");
    }
    // Those of agents that we start ourselves are no hold's business.
    assert_eq!(plan_of(&[], &[], &seen("takeover:dev", &[])).lines, None);
}

#[test]
fn names_that_no_agent_can_have_are_left_alone() {
    for name in ["dev~", ".dev.swp", "dev@", "@harb", "dev@a@b", "de v", "#dev#", "dev@*"] {
        let plan = plan_of(&[], &[], &sighting(&[(name, &["x"])]));
        assert_eq!((plan.found.len(), plan.ops().len()), (0, 0), "{name}");
    }
    assert_eq!(plan_of(&[], &[], &sighting(&[("dev@harb", &[])])).found[0].scope, scope("b1 harb dev"));
}

#[test]
fn a_file_that_agents_share_holds_them_all() {
    let both = model(true);
    let path = HaltFile::Path("~/review.halt".to_owned());
    let seen = Sighting { files: BTreeMap::from([(path, vec![])]), ..Sighting::default() };
    let plan = plan("b1", &[], &both, &BTreeMap::new(), &seen, 7, true);
    assert_eq!(plan.found[0].scope, scope("b1 * review,twin"));
}

#[test]
fn what_a_stranger_says_is_recorded() {
    let text = |id: &str, until: &str| format!("manual {id} eve@far 2026-01-01T00:00:00Z {until} 3 a%20b");
    let (one, two) = (text("x1", "2026-01-01T01:00:00Z"), text("x2", "2026-01-01T02:00:00Z"));
    let (mut holds, mut shown, now) = (Vec::new(), BTreeMap::new(), at(0));
    let record = |plan: &Plan, id: &str, holds: &mut Vec<Hold>, shown: &mut BTreeMap<String, Showing>| {
        plan.found[0].record(holds, shown, id, now, &boot("a", 0.0))
    };
    let plan = plan_of(&holds, &[], &sighting(&[("boss", &[&one, &two])]));
    assert_eq!(record(&plan, "h", &mut holds, &mut shown), "h");
    let hold = &holds[0];
    assert_eq!((hold.by.as_str(), hold.reason.as_deref()), ("eve@far", Some("a b")));
    assert_eq!(hold.until.as_ref().map(|until| until.at), "2026-01-01T02:00:00Z".parse().ok(), "the later one");
    assert_eq!(shown, BTreeMap::from([("h boss".to_owned(), Showing::default())]));
    // One more line is of the same hold.
    let three = text("x3", "-");
    let plan = plan_of(&holds, &[("h boss", 0)], &sighting(&[("boss", &[&one, &two, &three])]));
    assert_eq!(record(&plan, "h2", &mut holds, &mut shown), "h");
    assert_eq!(holds[0].found, Some(Found { lines: vec!["x1".into(), "x2".into(), "x3".into()] }));
    // Text beside lines that end has no end itself.
    let plan = plan_of(&[], &[], &sighting(&[("boss", &[&one, "mine"])]));
    assert_eq!(plan.found[0].until, None);
}

#[test]
fn a_sample_is_read() {
    let found =
        |agent: &str, how: &str, held: bool, by: Option<&str>, path: Option<&str>, line: Option<&str>| sample::Found {
            agent: agent.into(),
            repo: "*".into(),
            how: how.into(),
            held,
            by: by.map(Into::into),
            path: path.map(Into::into),
            live: (how == "cron").then_some(2),
            line: line.map(Into::into),
        };
    let seen = Sighting::of(&[
        found("dev", "file", true, None, None, Some("one")),
        found("dev", "file", true, None, None, Some("two")),
        found("boss", "file", true, None, None, None),
        found("review", "file", true, None, Some("~/review.halt"), None),
        found("a", "active_file", false, None, Some("/a"), None),
        found("b", "active_file", true, Some("us"), Some("/b"), None),
        found("c", "active_file", true, None, Some("/c"), None),
        found("d", "cron", false, None, Some("d"), None),
        found("e", "cron", false, Some("factory"), Some("e@harb"), None),
        found("f", "unheard-of", true, None, None, None),
    ]);
    let files = [
        (file("boss"), vec![]),
        (file("dev"), vec!["one".to_owned(), "two".to_owned()]),
        (HaltFile::Path("~/review.halt".to_owned()), vec![]),
    ];
    assert_eq!(seen.files, BTreeMap::from(files));
    let active = [("/a", Active::Shown), ("/b", Active::Hidden), ("/c", Active::Gone)];
    assert_eq!(seen.active, active.map(|(path, state)| (path.to_owned(), state)).into());
    let lines = [("d", Lines { live: true, held: false }), ("e@harb", Lines { live: true, held: true })];
    assert_eq!(seen.lines, lines.map(|(key, lines)| (key.to_owned(), lines)).into());
}
