//! What to do on one host so that it shows the holds that there are, given what was seen there: pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::person::{Person, scope_by, scope_of};
use super::sighting::{Active, Sighting};
use super::wanted::{Means, Model, Wanted};
use super::{Ended, Hold, ids};
use crate::remote::crontab::Edit;
use crate::remote::crontab::key::Key;
use crate::remote::guard::{Drop, Op, Word};
use crate::remote::halt::{HaltFile, HaltLine, Kind};

/// A hold that was there and is gone again is put back once; the second time running somebody means it.
const GIVEN_UP: u32 = 2;

/// What is known of a hold in a place of a host, such as a halt file, where it is or was to be seen. The ledger keeps it
/// as one number: `gone`, and a million more where it is `bare`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "u32", into = "u32")]
pub struct Showing {
    /// How often running it was gone: 0 it is there, 1 it was put back and not seen since, 2 it is given up.
    pub gone: u32,
    /// We made the file and a full disk took no line: as long as none was seen there, the file is ours all the same. Any
    /// other empty file is a person's.
    pub bare: bool,
}

const BARE: u32 = 1_000_000;

impl From<u32> for Showing {
    fn from(number: u32) -> Showing {
        Showing { gone: number % BARE, bare: number >= BARE }
    }
}

impl From<Showing> for u32 {
    fn from(Showing { gone, bare }: Showing) -> u32 {
        gone % BARE + if bare { BARE } else { 0 }
    }
}

impl Showing {
    /// There, and gone so often running before.
    pub fn after(gone: u32) -> Showing {
        Showing { gone, bare: false }
    }

    /// Whether somebody took it away so often that it is left so.
    pub fn given_up(self) -> bool {
        self.gone >= GIVEN_UP
    }
}

/// What to do, and what was learned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Lines to write.
    pub add: Vec<(HaltFile, HaltLine)>,
    /// `active_file`s to rename away.
    pub hide: Vec<String>,
    /// What is to become of crontab lines, where something is.
    pub lines: Option<Edit>,
    /// What to take out.
    pub drop: Vec<(HaltFile, Drop)>,
    /// `active_file`s to rename back, each unless one of these is there.
    pub show: Vec<(String, Vec<HaltFile>)>,
    /// What people put there by hand and no hold stands for yet.
    pub found: Vec<Person>,
    /// What is worth telling.
    pub notes: Vec<Note>,
    /// What was seen of each hold, as the ledger keeps it, by `ID FILE`.
    pub shown: BTreeMap<String, Showing>,
    /// Keys of `shown` that go once what is to be taken out is out.
    pub cleared: Vec<String>,
    /// Keys of `shown` as they are once what is to be written is written.
    written: BTreeMap<String, Written>,
    /// The same once `lines` is done.
    edited: BTreeMap<String, u32>,
}

/// A key of `shown` to be.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Written {
    times: u32,
    /// An empty file is enough: there was none before.
    anew: bool,
}

/// Something about a hold that is worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// It was gone from this file and is put back.
    PutBack {
        /// The hold.
        id: String,
        /// The file.
        file: String,
    },
    /// It was gone again: it is left so, and somebody must look.
    GivenUp {
        /// The hold.
        id: String,
        /// The file.
        file: String,
    },
}

impl Plan {
    /// The calls of the guard that do it, the tightening one first.
    pub fn ops(&self) -> Vec<Op> {
        let mut ops = Vec::new();
        let halts = !self.add.is_empty() || !self.hide.is_empty();
        if halts {
            ops.push(Op::Halt { add: self.add.clone(), hide: self.hide.clone() });
        }
        if !self.drop.is_empty() || !self.show.is_empty() {
            ops.push(Op::Resume { drop: self.drop.clone(), show: self.show.clone() });
        }
        if let Some(edit) = &self.lines {
            let tightens = matches!(edit, Edit::Hold { wanted, .. } if !wanted.is_empty());
            // What only lets go must not keep files from going, where a crontab is not to be edited.
            ops.insert(if tightens { usize::from(halts) } else { ops.len() }, Op::Cron(edit.clone()));
        }
        ops
    }

    /// Notes in `shown`, which was this plan's, what `op` did as the guard answered `word`. Without an answer there is
    /// nothing to note: the next look at the host tells.
    pub fn done(&self, op: &Op, word: Word, shown: &mut BTreeMap<String, Showing>) {
        match (op, word) {
            (Op::Halt { .. }, Word::Done | Word::Degraded) => {
                let bare = word == Word::Degraded;
                let surely = self.written.iter().filter(|(_, written)| !bare || written.anew);
                shown.extend(surely.map(|(key, written)| (key.clone(), Showing { gone: written.times, bare })));
            }
            (Op::Cron(_), Word::Done) => {
                shown.extend(self.edited.iter().map(|(key, times)| (key.clone(), Showing::after(*times))));
            }
            (Op::Resume { .. }, Word::Done) => self.cleared.iter().for_each(|key| {
                shown.remove(key);
            }),
            _ => {}
        }
    }
}

/// The line that stands for `hold` in a halt file.
pub fn line(hold: &Hold, epoch: u64) -> HaltLine {
    HaltLine {
        kind: hold.kind(),
        id: hold.id.clone(),
        by: hold.by.clone(),
        since: hold.since,
        until: hold.until.as_ref().map(|until| until.at),
        epoch,
        reason: hold.reason.clone(),
    }
}

/// The key under which the ledger remembers that a host showed a hold in a file.
pub fn key(id: &str, file: &HaltFile) -> String {
    key_at(id, &file.to_string())
}

fn key_at(id: &str, place: &str) -> String {
    format!("{id} {place}")
}

/// Takes up again, on the host that `shown` is of, a hold that was given up there: a person asked for it anew.
pub fn insist(shown: &mut BTreeMap<String, Showing>, id: &str) {
    let of = |key: &str| key.split_once(' ').is_some_and(|(of, _)| of == id);
    shown.retain(|key, showing| !(showing.given_up() && of(key)));
}

/// What to do on `host`, where `holds` are those of people and what the ladder holds there. `shown` is what earlier plans
/// learned of it; `epoch` goes into new lines. Only where the ladder has `decided` do lines of its that are not wanted go.
pub fn plan(
    host: &str,
    holds: &[Hold],
    model: &Model,
    shown: &BTreeMap<String, Showing>,
    sighting: &Sighting,
    epoch: u64,
    decided: bool,
) -> Plan {
    let wanted = Wanted::on(host, holds, model);
    let files: BTreeSet<&HaltFile> = wanted.files.keys().chain(sighting.files.keys()).collect();
    let mut look = Look { host, holds, model, shown, epoch, decided, plan: Plan::default() };
    for file in files {
        let want = wanted.files.get(file).map_or(&[][..], Vec::as_slice);
        match sighting.files.get(file) {
            Some(lines) => look.there(file, lines, want),
            None => want.iter().for_each(|hold| look.missing(file, hold, true)),
        }
    }
    let active: BTreeSet<&str> = model.units().iter().filter_map(|unit| unit.means.active()).collect();
    for path in active {
        look.active(path, &wanted, sighting);
    }
    look.crontabs(&wanted, sighting);
    look.plan
}

/// One look at a host.
struct Look<'a> {
    host: &'a str,
    holds: &'a [Hold],
    model: &'a Model,
    /// As earlier plans left it.
    shown: &'a BTreeMap<String, Showing>,
    epoch: u64,
    decided: bool,
    plan: Plan,
}

impl Look<'_> {
    /// A halt file that is there, with the holds that are wanted in it.
    fn there(&mut self, file: &HaltFile, lines: &[String], want: &[&Hold]) {
        let (mut ours, mut texts) = (Vec::new(), Vec::new());
        for text in lines {
            match HaltLine::parse(text) {
                Some(line) => ours.push(line),
                None => texts.push(text.as_str()),
            }
        }
        let (empty, foreign) = (lines.is_empty(), !texts.is_empty());
        let holds = self.holds;
        let scope = scope_of(self.host, file, self.model);
        let stands = |hold: &Hold| hold.found.is_some() && scope.as_ref() == Some(&hold.scope);
        let has = |hold: &Hold, id: &String| {
            stands(hold) && hold.found.as_ref().is_some_and(|found| found.lines.contains(id))
        };
        let here = |hold: &Hold| want.iter().any(|wanted| std::ptr::eq(*wanted, hold));

        // Lines of a hold that is over, or that does not hold here any more, go. Those of which no ledger of ours knows
        // are somebody's, and only a resume or their own time ends them.
        let mut strangers: Vec<&HaltLine> = Vec::new();
        for line in &ours {
            if line.kind == Kind::Auto {
                // The ladder takes up what it does not know before anything is planned: what it does not want is over.
                if self.decided && !want.iter().any(|hold| hold.kind() == Kind::Auto && hold.id == line.id) {
                    self.plan.drop.push((file.clone(), Drop::Line(Kind::Auto, line.id.clone())));
                    self.clear(key(&line.id, file));
                }
                continue;
            }
            let over = |ended: &Ended| ended.by.is_some() || line.until.is_some_and(|until| until <= ended.at);
            let known =
                |hold: &&Hold| hold.id == line.id || (has(hold, &line.id) && hold.ended.as_ref().is_none_or(over));
            let known: Vec<&Hold> = holds.iter().filter(known).collect();
            if known.is_empty() {
                strangers.push(line);
            } else if !known.iter().any(|hold| here(hold)) {
                self.plan.drop.push((file.clone(), Drop::Line(Kind::Manual, line.id.clone())));
                known.iter().for_each(|hold| self.clear(key(&hold.id, file)));
            }
        }

        // What a person put there: of a hold that is known, of one that was lifted and not cleared yet, or new. An empty
        // file may also be what a full disk left of a hold that is not wanted any more.
        let standing = holds.iter().any(|hold| hold.ended.is_none() && stands(hold));
        let mut person = foreign || (empty && want.is_empty());
        // What a full disk took of the ladder's line, which is not wanted any more.
        let showing = |id: &str| self.shown.get(&key(id, file)).copied().filter(|showing| !showing.given_up());
        let bare = |id: &str| empty && showing(id).is_some_and(|showing| showing.bare);
        if let Some(id) = ids().find(|id| self.decided && want.is_empty() && bare(id)) {
            self.plan.drop.push((file.clone(), Drop::Foreign));
            self.clear(key(id, file));
            person = false;
        }
        if !strangers.is_empty() || (person && !standing) {
            let left = |hold: &&Hold| {
                let followed = |of: &Hold| showing(&of.id).is_some() && lifted(of);
                !here(hold) && if stands(hold) { followed(hold) } else { bare(&hold.id) }
            };
            match (holds.iter().find(left).filter(|_| strangers.is_empty()), &scope) {
                (Some(hold), _) => {
                    self.plan.drop.push((file.clone(), Drop::Foreign));
                    self.clear(key(&hold.id, file));
                }
                (None, Some(scope)) => {
                    let ids = strangers.iter().map(|line| line.id.clone()).collect();
                    let text = texts.first().copied();
                    self.plan.found.push(Person::of(scope.clone(), file.to_string(), ids, &strangers, text));
                }
                (None, None) => {}
            }
        }

        // An empty file where a hold is wanted is that hold: a full disk took no more. It gets its lines when it can.
        let fill = empty && want.iter().any(|hold| !stands(hold));
        for hold in want {
            let by_hand = stands(hold) && (foreign || ours.iter().any(|line| has(hold, &line.id)));
            // A person's empty file, into which the line of another hold went: nobody took anything away.
            let had = |hold: &Hold| ours.iter().any(|line| line.id == hold.id && line.kind == hold.kind());
            let filled = stands(hold)
                && hold.found.as_ref().is_some_and(|found| found.lines.is_empty())
                && want.iter().any(|other| other.id != hold.id && had(other));
            if empty || by_hand || filled || had(hold) {
                let bare = !had(hold) && bare(&hold.id);
                self.plan.shown.insert(key(&hold.id, file), Showing { gone: 0, bare });
                if fill || (filled && !by_hand && !had(hold)) {
                    self.plan.add.push((file.clone(), line(hold, self.epoch)));
                }
            } else {
                self.missing(file, hold, false);
            }
        }

        // What keeps the file there stays until all that is wanted shows: a full disk may take no line, and then the
        // file would go with the last of the others.
        if !empty && self.plan.add.iter().any(|(to, _)| to == file) {
            self.plan.drop.retain(|(from, _)| from != file);
            let place = format!(" {file}");
            self.plan.cleared.retain(|key| !key.ends_with(&place));
        }
    }

    /// A line that ought to be there and is not. `anew`: nor is the file.
    fn missing(&mut self, file: &HaltFile, hold: &Hold, anew: bool) {
        let place = file.to_string();
        if let Some(times) = self.due(hold, &place) {
            self.plan.written.insert(key_at(&hold.id, &place), Written { times, anew });
            self.plan.add.push((file.clone(), line(hold, self.epoch)));
        }
    }

    /// How often running a hold that does not show was gone, where it is to be written: never seen there, it is due; seen
    /// before, somebody took it away.
    fn due(&mut self, hold: &Hold, place: &str) -> Option<u32> {
        let key = key_at(&hold.id, place);
        let (id, file) = (hold.id.clone(), place.to_owned());
        match self.shown.get(&key).copied() {
            None => Some(0),
            Some(Showing { gone: 0, .. }) => {
                self.plan.notes.push(Note::PutBack { id, file });
                self.plan.shown.insert(key, Showing::default());
                Some(1)
            }
            Some(showing) => {
                if !showing.given_up() {
                    self.plan.notes.push(Note::GivenUp { id, file });
                }
                self.plan.shown.insert(key, Showing::after(GIVEN_UP));
                None
            }
        }
    }

    /// An `active_file`. To be away is to show each hold of the agents that have it.
    fn active(&mut self, path: &str, wanted: &Wanted, sighting: &Sighting) {
        let means = Means::Active(path.to_owned());
        let units = self.model.units().iter().filter(|unit| unit.means == means);
        let covers: BTreeSet<&HaltFile> = units.flat_map(|unit| &unit.covers).collect();
        let want = wanted.by(covers.iter().copied());
        match sighting.active.get(path) {
            // Nobody looked.
            None => self.keep_all(path),
            Some(Active::Shown) => {
                for hold in want {
                    let Some(times) = self.due(hold, path) else { continue };
                    self.plan.written.insert(key_at(&hold.id, path), Written { times, anew: true });
                    if !self.plan.hide.iter().any(|hidden| hidden == path) {
                        self.plan.hide.push(path.to_owned());
                    }
                }
            }
            Some(_) if !want.is_empty() => {
                self.plan.shown.extend(want.iter().map(|hold| (key_at(&hold.id, path), Showing::default())));
            }
            Some(Active::Hidden) => {
                if self.all_gone(covers.iter().copied(), sighting) {
                    self.plan.show.push((path.to_owned(), covers.into_iter().cloned().collect()));
                }
            }
            Some(Active::Gone) => {
                let Some(scope) = scope_by(self.host, &means, self.model) else { return };
                let left = |hold: &&Hold| {
                    let seen = self.shown.contains_key(&key_at(&hold.id, path));
                    seen && hold.found.is_some() && hold.scope == scope && lifted(hold)
                };
                match self.holds.iter().find(left) {
                    // Nobody has put the file back: that is the person's to do.
                    Some(hold) => self.keep(key_at(&hold.id, path)),
                    None => {
                        let text = format!("{path} is not there");
                        self.plan.found.push(Person::of(scope, path.to_owned(), Vec::new(), &[], Some(&text)));
                    }
                }
            }
        }
    }

    /// Crontab lines. One order says for all of them what is to be held, so that lines which several agents share are
    /// held for as long as one of these is; what is to stay as it is, whatever that is, is left out of it.
    fn crontabs(&mut self, wanted: &Wanted, sighting: &Sighting) {
        let (mut hold, mut ours, mut busy) = (Vec::new(), Vec::new(), false);
        let model = self.model;
        for unit in model.units() {
            let Some(mark) = unit.mark() else { continue };
            let place = format!("crontab:{}", mark.key);
            let Some(lines) = sighting.lines.get(&mark.key) else {
                // Nobody looked.
                self.keep_all(&place);
                continue;
            };
            let want = wanted.by(&unit.covers);
            if want.is_empty() {
                // The ladder's line, say, goes on holding it.
                if lines.held && self.all_gone(&unit.covers, sighting) {
                    (busy, _) = (true, ours.push(mark.key));
                }
                continue;
            }
            if lines.live {
                let mut due = false;
                for hold in want {
                    let Some(times) = self.due(hold, &place) else { continue };
                    self.plan.edited.insert(key_at(&hold.id, &place), times);
                    due = true;
                }
                if !due {
                    continue;
                }
                busy = true;
            } else if lines.held {
                self.plan.shown.extend(want.iter().map(|hold| (key_at(&hold.id, &place), Showing::default())));
            } else {
                // There are none: nobody took anything away.
                let known = want.iter().map(|hold| key_at(&hold.id, &place));
                known
                    .filter(|key| self.shown.contains_key(key))
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|key| self.keep(key));
            }
            ours.push(mark.key.clone());
            hold.push(mark);
        }
        for (key, lines) in &sighting.lines {
            let known = model.units().iter().filter_map(super::Unit::mark).any(|mark| mark.key == *key);
            let Key { agent, repo, taken } = Key::of(key);
            let covers = [HaltFile::of(agent, "*"), HaltFile::of(agent, repo)];
            // Of an agent that is held in another way by now.
            let free = wanted.by(&covers).is_empty() && self.all_gone(&covers, sighting);
            if lines.held && !known && !taken && free {
                (busy, _) = (true, ours.push(key.clone()));
            }
        }
        self.plan.lines = busy.then_some(Edit::Hold { wanted: hold, ours });
    }

    /// Whether none of these halt files is there once what is to be taken out is out.
    fn all_gone<'f>(&self, files: impl IntoIterator<Item = &'f HaltFile>, sighting: &Sighting) -> bool {
        let goes = |file: &HaltFile| self.plan.drop.iter().any(|(from, _)| from == file);
        files.into_iter().all(|file| !sighting.files.contains_key(file) || goes(file))
    }

    /// Goes on remembering all that is known of a place.
    fn keep_all(&mut self, place: &str) {
        let of = |key: &&String| key.split_once(' ').is_some_and(|(_, of)| of == place);
        let known = self.shown.iter().filter(|(key, _)| of(key));
        self.plan.shown.extend(known.map(|(key, showing)| (key.clone(), *showing)));
    }

    /// Goes on remembering `key`.
    fn keep(&mut self, key: String) {
        let showing = self.shown.get(&key).copied().unwrap_or_default();
        self.plan.shown.insert(key, showing);
    }

    /// Goes on remembering `key` until what it is of is taken out.
    fn clear(&mut self, key: String) {
        self.keep(key.clone());
        self.plan.cleared.push(key);
    }
}

/// Whether somebody ended it, not its time.
fn lifted(hold: &Hold) -> bool {
    hold.ended.as_ref().is_some_and(|ended| ended.by.is_some())
}
