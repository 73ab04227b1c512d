//! A host and a ledger in memory, and what may happen to them: after whatever happened, a few quiet ticks make the host
//! show just what is held, and no hold of a person is lost on the way.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::person::scope_of;
use super::super::wanted::Wanted;
use super::laws::scopes;
use super::*;
use crate::inventory::agents::Class;
use crate::policy::ladder::Standing;
use crate::remote::crontab::Edit;
use crate::remote::guard::{Drop, Op, Word};
use crate::remote::halt::{HaltFile, HaltLine, Kind};

/// How the guard fares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Guard {
    /// It does what it is told.
    Works,
    /// It does nothing.
    Fails,
    /// It does it, and the answer is lost.
    Unheard,
    /// The disk is full.
    Full,
}

/// What may happen.
#[derive(Clone, Debug)]
pub enum Step {
    Halt(Scope, Option<u16>),
    Resume(Scope),
    Tick,
    Wait(u16),
    /// The host cannot be reached, or can again.
    Reach(bool),
    Guard(Guard),
    /// The inventory has agents that come later, or has them no more.
    Later(bool),
    Touch(HaltFile),
    Write(HaltFile),
    /// A line of our form that another fleet, or a visitor, wrote, with an end or not.
    Stranger(HaltFile, Option<u16>),
    /// The ladder holds nothing, dev, or dev and review.
    Ladder(u8),
    Remove(HaltFile),
    /// Somebody takes the first line out.
    Behead(HaltFile),
    /// Somebody puts an `active_file` there, or takes away what is there of it.
    Active(&'static str, bool),
    /// Somebody edits the crontab: some lines start the agent, some are held.
    Lines(&'static str, Lines),
}

const ACTIVE: [&str; 2] = ["~/poll on", "/opt/supervisor.on"];

/// The keys of crontab lines; the last is of an agent that the inventory has no more.
const KEYS: [&str; 3] = ["nightly", "dev@web", "gone"];

/// Lines that start an agent, none of them held.
const LIVE: Lines = Lines { live: true, held: false };

fn files() -> impl Strategy<Value = HaltFile> {
    let home = [
        "dev",
        "dev@harb",
        "review",
        "poll",
        "boss",
        "supervisor",
        "unheard-of",
        "extra",
        "nightly",
        "dev@web",
        "gone",
        "dev~",
        "a@b@c",
    ];
    let path = ["~/review.halt", "/srv/harb.halt", "/nobody's"];
    prop_oneof![
        select(home.to_vec()).prop_map(|name| HaltFile::Home(name.to_owned())),
        select(path.to_vec()).prop_map(|path| HaltFile::Path(path.to_owned())),
    ]
}

/// Scopes that make holds overlap those of persons: one host, one agent.
fn near() -> impl Strategy<Value = Scope> {
    let narrow = select(["dev", "review", "poll", "nightly", "gone", "supervisor", "*", "**"].to_vec());
    let narrow = narrow.prop_map(|agent| scope(&format!("b1 * {agent}")));
    prop_oneof![narrow, scopes()]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let guard = select(vec![Guard::Works, Guard::Works, Guard::Fails, Guard::Unheard, Guard::Full]);
    let one = prop_oneof![
        4 => (near(), option::weighted(0.3, 1u16..300)).prop_map(|(scope, until)| Step::Halt(scope, until)),
        4 => near().prop_map(Step::Resume),
        12 => Just(Step::Tick),
        2 => (1u16..300).prop_map(Step::Wait),
        2 => prop_oneof![Just(true), Just(true), Just(false)].prop_map(Step::Reach),
        2 => guard.prop_map(Step::Guard),
        1 => any::<bool>().prop_map(Step::Later),
        3 => files().prop_map(Step::Touch),
        2 => files().prop_map(Step::Write),
        2 => (files(), option::weighted(0.4, 1u16..300)).prop_map(|(file, until)| Step::Stranger(file, until)),
        3 => (0_u8..3).prop_map(Step::Ladder),
        3 => files().prop_map(Step::Remove),
        1 => files().prop_map(Step::Behead),
        2 => (select(ACTIVE.to_vec()), any::<bool>()).prop_map(|(path, there)| Step::Active(path, there)),
        2 => (select(KEYS.to_vec()), any::<bool>(), any::<bool>())
            .prop_map(|(key, live, held)| Step::Lines(key, Lines { live, held })),
    ];
    vec(one, 1..40)
}

/// A host, and what the ledger says.
pub struct World {
    pub files: BTreeMap<HaltFile, Vec<String>>,
    /// Whether the `active_file` is there, and the renamed one.
    pub active: BTreeMap<String, (bool, bool)>,
    pub lines: BTreeMap<String, Lines>,
    pub holds: Vec<Hold>,
    pub shown: BTreeMap<String, Showing>,
    ladder: Standing,
    model: Model,
    seconds: i64,
    up: bool,
    pub guard: Guard,
    made: u32,
    /// What persons put there and nobody lifted since; an empty text for an empty file.
    persons: BTreeSet<(HaltFile, String)>,
}

impl World {
    pub fn new() -> World {
        World {
            files: BTreeMap::new(),
            active: ACTIVE.iter().map(|path| ((*path).to_owned(), (true, false))).collect(),
            lines: KEYS.iter().map(|key| ((*key).to_owned(), LIVE)).collect(),
            holds: Vec::new(),
            shown: BTreeMap::new(),
            ladder: Standing::default(),
            model: model(false),
            seconds: 0,
            up: true,
            guard: Guard::Works,
            made: 0,
            persons: BTreeSet::new(),
        }
    }

    fn id(&mut self) -> String {
        self.made += 1;
        format!("{:08x}", self.made)
    }

    fn sighting(&self) -> Sighting {
        let state = |(there, away): (bool, bool)| match (there, away) {
            (true, _) => Active::Shown,
            (false, true) => Active::Hidden,
            (false, false) => Active::Gone,
        };
        let active = self.active.iter().map(|(path, at)| (path.clone(), state(*at))).collect();
        Sighting { files: self.files.clone(), active, lines: self.lines.clone() }
    }

    fn clock(&self) -> BootClock {
        boot("a", self.seconds as f64)
    }

    /// The guard's work, as its documentation has it.
    fn call(&mut self, op: &Op) -> Option<Word> {
        if self.guard == Guard::Fails {
            return None;
        }
        let full = self.guard == Guard::Full;
        let word = match op {
            Op::Halt { add, hide } => {
                for (file, line) in add {
                    let lines = self.files.entry(file.clone()).or_default();
                    if !full {
                        lines.retain(|text| !is_line(text, line.kind, &line.id));
                        lines.push(line.render());
                    }
                }
                for path in hide {
                    let at = self.active.get_mut(path).unwrap();
                    *at = (false, at.0 || at.1);
                }
                if full && !add.is_empty() { Word::Degraded } else { Word::Done }
            }
            Op::Resume { drop, show } => {
                let mut after = self.files.clone();
                for (file, what) in drop {
                    let Some(lines) = after.get_mut(file) else { continue };
                    let before = lines.len();
                    match what {
                        Drop::Line(kind, id) => lines.retain(|text| !is_line(text, *kind, id)),
                        Drop::Foreign => lines.retain(|text| HaltLine::parse(text).is_some()),
                    }
                    if lines.is_empty() && (before > 0 || *what == Drop::Foreign) {
                        after.remove(file);
                    }
                }
                if full && after.iter().any(|(file, lines)| self.files.get(file) != Some(lines)) {
                    return Some(Word::Failed);
                }
                self.files = after;
                for (path, unless) in show {
                    let at = self.active.get_mut(path).unwrap();
                    if *at == (false, true) && !unless.iter().any(|file| self.files.contains_key(file)) {
                        *at = (true, false);
                    }
                }
                Word::Done
            }
            // No table fits on a full disk.
            Op::Cron(_) if full => Word::Failed,
            Op::Cron(Edit::Hold { wanted, ours }) => {
                for (key, lines) in &mut self.lines {
                    let any = lines.live || lines.held;
                    if wanted.iter().any(|mark| mark.key == *key) {
                        *lines = Lines { live: false, held: any };
                    } else if ours.contains(key) && lines.held {
                        *lines = LIVE;
                    }
                }
                Word::Done
            }
            other => panic!("{other:?}"),
        };
        (self.guard != Guard::Unheard).then_some(word)
    }

    /// What people hold, and what the ladder does.
    fn all(&self) -> Vec<Hold> {
        let auto = auto("b1", &self.ladder, &self.model, "b1");
        self.holds.iter().cloned().chain(auto).collect()
    }

    pub fn tick(&mut self) -> Option<Plan> {
        let clock = self.clock();
        expire(&mut self.holds, at(self.seconds), &clock);
        if !self.up {
            return None;
        }
        let plan = plan("b1", &self.all(), &self.model, &self.shown, &self.sighting(), 7, true);
        let mut shown = plan.shown.clone();
        for person in &plan.found {
            let id = self.id();
            person.record(&mut self.holds, &mut shown, &id, at(self.seconds), &clock);
        }
        for op in plan.ops() {
            if let Some(word) = self.call(&op) {
                plan.done(&op, word, &mut shown);
            }
        }
        self.shown = shown;
        // The record of a hold that is over goes once no host shows it.
        let remembered: BTreeSet<&str> = self.shown.keys().filter_map(|key| key.split(' ').next()).collect();
        self.holds.retain(|hold| hold.ended.is_none() || remembered.contains(hold.id.as_str()));
        Some(plan)
    }

    /// Puts a person's `text` at the end of a file, or makes an empty one.
    fn put(&mut self, file: &HaltFile, text: &str) {
        let is_new = !self.files.contains_key(file);
        let lines = self.files.entry(file.clone()).or_default();
        // Where a hold that stood for what a person had put there was lifted and the host has not followed, nobody can
        // tell new from old; nor what a full disk left of ours from a new empty file, where somebody took that away. And an
        // empty file where a hold is wanted is that hold.
        let showing = |id: &str| self.shown.get(&super::super::plan::key(id, file));
        let bare = |id: &str| text.is_empty() && showing(id).is_some_and(|showing| showing.bare);
        let pending = |hold: &Hold| {
            hold.ended.is_some() && if hold.found.is_some() { showing(&hold.id).is_some() } else { bare(&hold.id) }
        };
        let pending = self.holds.iter().any(pending) || super::super::ids().any(bare);
        if !text.is_empty() {
            lines.push(text.to_owned());
            if !pending {
                self.persons.insert((file.clone(), text.to_owned()));
            }
            self.fill(file);
        } else if is_new && !pending {
            self.persons.insert((file.clone(), String::new()));
        }
    }

    /// Who writes into an empty file that nobody has recorded takes it over.
    fn fill(&mut self, file: &HaltFile) {
        if !self.stands(file) {
            self.persons.remove(&(file.clone(), String::new()));
        }
    }

    /// Whether a hold stands for what a person put there.
    fn stands(&self, file: &HaltFile) -> bool {
        let scope = scope_of("b1", file, &self.model);
        let stands = |hold: &Hold| hold.found.is_some() && hold.ended.is_none() && Some(&hold.scope) == scope.as_ref();
        self.holds.iter().any(stands)
    }

    pub fn step(&mut self, step: &Step) {
        match step {
            Step::Halt(scope, length) => {
                let (id, clock) = (self.id(), self.clock());
                let wish = wish(scope.clone(), length.map(f64::from));
                let (id, _) = hold(&mut self.holds, &wish, &id, at(self.seconds), &clock);
                insist(&mut self.shown, &id);
                if length.is_some() {
                    // A person gave an end to what was found.
                    let model = &self.model;
                    self.persons
                        .retain(|(file, text)| !text.is_empty() || scope_of("b1", file, model).as_ref() != Some(scope));
                }
            }
            Step::Resume(scope) => {
                resume(&mut self.holds, scope, "bob@desk", at(self.seconds), |agent| self.model.is_supervisor(agent));
                let inside = |of: &Scope| of.inside(scope, |agent| self.model.is_supervisor(agent));
                // The hold that stands for it may be of the time before agents came that share its file, or went.
                let lifted = |file: &HaltFile| {
                    [false, true].iter().any(|later| scope_of("b1", file, &model(*later)).is_some_and(|of| inside(&of)))
                };
                self.persons.retain(|(file, _)| !lifted(file));
            }
            Step::Tick => {
                let found: Vec<Hold> = self.holds.iter().filter(|hold| hold.ended.is_none()).cloned().collect();
                if let Some(plan) = self.tick() {
                    self.check_tick(&plan, &found);
                }
            }
            Step::Wait(seconds) => self.seconds += i64::from(*seconds),
            Step::Reach(up) => self.up = *up,
            Step::Guard(guard) => self.guard = *guard,
            Step::Later(later) => self.model = model(*later),
            Step::Touch(file) => self.put(file, ""),
            Step::Write(file) => {
                let text = format!("stop, {}", self.id());
                self.put(file, &text);
            }
            Step::Stranger(file, length) => {
                let line = HaltLine {
                    kind: Kind::Manual,
                    id: format!("of-another-{}", self.id()),
                    by: "eve@far".to_owned(),
                    since: at(self.seconds),
                    until: length.map(|length| at(self.seconds + i64::from(length))),
                    epoch: 3,
                    reason: None,
                };
                if length.is_none() {
                    self.put(file, &line.render());
                } else {
                    self.files.entry(file.clone()).or_default().push(line.render());
                    self.fill(file);
                }
            }
            Step::Ladder(rungs) => {
                self.ladder = Standing::default();
                for class in [Class::Dev, Class::Review].into_iter().take(usize::from(*rungs)) {
                    self.ladder.adopt(class, at(self.seconds), "memory is short");
                }
            }
            Step::Remove(file) => {
                self.files.remove(file);
                self.persons.retain(|(of, _)| of != file);
            }
            Step::Behead(file) => {
                if let Some(lines) = self.files.get_mut(file).filter(|lines| lines.len() > 1) {
                    let text = lines.remove(0);
                    self.persons.remove(&(file.clone(), text));
                }
            }
            Step::Active(path, there) => {
                self.active.insert((*path).to_owned(), (*there, false));
            }
            Step::Lines(key, lines) => {
                self.lines.insert((*key).to_owned(), *lines);
            }
        }
        // An empty file where somebody else's hold is wanted is that hold.
        let all = self.all();
        let wanted = Wanted::on("b1", &all, &self.model);
        let lines =
            |file: &HaltFile, text: &str| self.files.get(file).is_some_and(|lines| lines.contains(&text.to_owned()));
        // Every text of a person is where it was.
        for (file, text) in self.persons.iter().filter(|(_, text)| !text.is_empty()) {
            assert!(lines(file, text), "{text} is gone from {file}: {:?}", self.files.get(file));
        }
        let keep: BTreeSet<_> = self
            .persons
            .iter()
            .filter(|(file, text)| !text.is_empty() || !wanted.files.contains_key(file) || self.stands(file))
            .cloned()
            .collect();
        self.persons = keep;
        for (file, _) in &self.persons {
            assert!(self.files.contains_key(file), "{file} is gone");
        }
    }

    /// What holds after every tick that the guard took part in.
    fn check_tick(&self, plan: &Plan, before: &[Hold]) {
        for hold in before.iter().filter(|hold| hold.until.is_none()) {
            let after = self.holds.iter().find(|after| after.id == hold.id).expect("no hold for good is lost");
            assert_eq!((&after.ended, &after.scope), (&None, &hold.scope));
        }
        if matches!(self.guard, Guard::Works | Guard::Unheard | Guard::Full) {
            let active: Vec<Hold> = before.iter().filter(|hold| self.holds.contains(hold)).cloned().collect();
            for (file, holds) in Wanted::on("b1", &active, &self.model).files {
                let given_up = |hold: &&Hold| {
                    self.shown.get(&super::super::plan::key(&hold.id, &file)).is_some_and(|showing| showing.given_up())
                };
                assert!(self.files.contains_key(&file) || holds.iter().all(given_up), "{file}: {plan:?}");
            }
        }
    }

    /// What holds after quiet ticks: the host shows what is held and nothing else, and there is nothing more to do.
    pub fn check_quiet(&mut self) {
        let all = self.all();
        let wanted = Wanted::on("b1", &all, &self.model);
        let given_up = |hold: &Hold, place: &str| {
            self.shown.get(&format!("{} {place}", hold.id)).is_some_and(|showing| showing.given_up())
        };
        for (file, holds) in &wanted.files {
            let lines = self.files.get(file);
            let scope = scope_of("b1", file, &self.model);
            for hold in holds.iter().filter(|hold| !given_up(hold, &file.to_string())) {
                let lines = lines.unwrap_or_else(|| panic!("{file} is not there for {hold:?}"));
                let stands = hold.found.is_some() && Some(&hold.scope) == scope.as_ref();
                let line = |text: &String| {
                    let line = HaltLine::parse(text);
                    let ids = hold.found.iter().flat_map(|found| &found.lines).chain([&hold.id]);
                    line.map_or(stands, |line| ids.into_iter().any(|id| *id == line.id))
                };
                assert!(lines.iter().any(line) || (lines.is_empty() && stands), "{hold:?} is not in {file}: {lines:?}");
            }
        }
        for (file, lines) in &self.files {
            let nobodys = scope_of("b1", file, &self.model).is_none();
            assert!(nobodys || wanted.files.contains_key(file), "nobody wants {file}: {lines:?}");
        }
        for unit in self.model.units().iter().filter(|unit| matches!(unit.means, Means::Active(_))) {
            let Means::Active(path) = &unit.means else { continue };
            let covered = unit.covers.iter().any(|file| self.files.contains_key(file));
            match (self.active[path], wanted.hidden.contains(path)) {
                ((true, _), true) => {
                    let holds = unit.covers.iter().filter_map(|file| wanted.files.get(file)).flatten();
                    assert!(holds.into_iter().all(|hold| given_up(hold, path)), "{path} is there");
                }
                ((false, true), false) => assert!(covered, "{path} is away for nobody"),
                ((false, false), false) => {
                    let lifted = |hold: &Hold| self.shown.contains_key(&format!("{} {path}", hold.id));
                    assert!(self.holds.iter().any(lifted), "nobody noticed that {path} is away");
                }
                _ => {}
            }
        }
        for unit in self.model.units() {
            let Means::Cron(_) = &unit.means else { continue };
            let key = HaltFile::of(&unit.agent, &unit.repo).to_string();
            let holds: Vec<&Hold> =
                unit.covers.iter().filter_map(|file| wanted.files.get(file)).flatten().copied().collect();
            let lines = self.lines[&key];
            let left = holds.iter().all(|hold| given_up(hold, &format!("crontab:{key}")));
            assert!(holds.is_empty() || !lines.live || left, "{key} is started: {lines:?}");
            let covered = unit.covers.iter().any(|file| self.files.contains_key(file));
            assert!(!holds.is_empty() || !lines.held || covered, "{key} is held for nobody");
        }
        let gone = HaltFile::of("gone", "*");
        let held = wanted.files.contains_key(&gone) || self.files.contains_key(&gone);
        assert!(held || !self.lines["gone"].held, "held for an agent that nobody knows any more");
        let again = plan("b1", &self.all(), &self.model, &self.shown, &self.sighting(), 7, true);
        assert!(again.ops().is_empty() && again.notes.is_empty() && again.found.is_empty(), "{again:?}");
        assert_eq!(again.shown, self.shown);
    }
}

fn is_line(text: &str, kind: Kind, id: &str) -> bool {
    HaltLine::parse(text).is_some_and(|line| line.kind == kind && line.id == id)
}

proptest! {
    #[test]
    fn whatever_happens_quiet_ticks_make_the_host_show_what_is_held(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        for step in [Step::Guard(Guard::Works), Step::Reach(true)] {
            world.step(&step);
        }
        // One finds, one ends what was over when it was found, one writes, and one takes out what had to stay until then.
        for _ in 0..4 {
            world.step(&Step::Tick);
        }
        world.check_quiet();
    }

    #[test]
    fn there_is_no_endless_fight(of in near(), file in files(), path in select(ACTIVE.to_vec()), guards in vec(any::<bool>(), 1..12)) {
        let mut world = World::new();
        world.step(&Step::Halt(of, None));
        world.tick();
        world.tick();
        let mut put_back = 0;
        for works in guards {
            world.step(&Step::Remove(file.clone()));
            world.active.insert(path.to_owned(), (true, false));
            KEYS.iter().for_each(|key| world.step(&Step::Lines(key, LIVE)));
            world.guard = if works { Guard::Works } else { Guard::Fails };
            let plan = world.tick().unwrap();
            prop_assert!(plan.found.is_empty());
            let writes = plan.add.iter().any(|(at, _)| *at == file) || !plan.hide.is_empty() || plan.lines.is_some();
            put_back += usize::from(writes && works);
        }
        prop_assert!(put_back <= 1, "{put_back}");
    }
}
