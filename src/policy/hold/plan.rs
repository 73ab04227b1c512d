//! What to do on one host so that it shows the holds that there are, given what was seen there: pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::wanted::{Means, Model, Wanted};
use super::{Hold, Pick, Scope};
use crate::inventory::name;
use crate::remote::guard::{Drop, Op};
use crate::remote::halt::{HaltFile, HaltLine, Kind};
use crate::remote::sample::Found;

/// A hold that was there and is gone again is put back once; the second time running somebody means it.
const GIVE_UP: u32 = 2;

/// What a host shows of holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sighting {
    /// Halt files with their lines, none for an empty file.
    pub files: BTreeMap<HaltFile, Vec<String>>,
    /// `active_file`s.
    pub active: BTreeMap<String, Active>,
}

/// What is there of an `active_file`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Active {
    /// The file: the agent may run.
    Shown,
    /// It was renamed away by us.
    Hidden,
    /// Neither: somebody took it away.
    Gone,
}

impl Sighting {
    /// What a sample's `found` says.
    pub fn of(found: &[Found]) -> Sighting {
        let mut sighting = Sighting::default();
        for one in found {
            match (one.how.as_str(), &one.path) {
                ("file", path) => {
                    let file = path
                        .as_ref()
                        .map_or_else(|| HaltFile::of(&one.agent, &one.repo), |p| HaltFile::Path(p.clone()));
                    sighting.files.entry(file).or_default().extend(one.line.clone());
                }
                ("active_file", Some(path)) => {
                    let state = match (one.held, &one.by) {
                        (false, _) => Active::Shown,
                        (true, Some(_)) => Active::Hidden,
                        (true, None) => Active::Gone,
                    };
                    sighting.active.insert(path.clone(), state);
                }
                _ => {}
            }
        }
        sighting
    }
}

/// What to do, and what was learned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Lines to write.
    pub add: Vec<(HaltFile, HaltLine)>,
    /// `active_file`s to rename away.
    pub hide: Vec<String>,
    /// What to take out.
    pub drop: Vec<(HaltFile, Drop)>,
    /// `active_file`s to rename back, each unless one of these is there.
    pub show: Vec<(String, Vec<HaltFile>)>,
    /// What people put there by hand and no hold stands for yet.
    pub found: Vec<Person>,
    /// What is worth telling.
    pub notes: Vec<Note>,
    /// What was seen of each hold, as the ledger keeps it: `ID FILE`, and how often running it was gone again.
    pub shown: BTreeMap<String, u32>,
    /// Keys of `shown` that go once what is to be taken out is out.
    pub cleared: Vec<String>,
}

/// A hold that a person made on the host itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// What it holds.
    pub scope: Scope,
    /// Where it was found.
    pub file: String,
    /// Ids of lines of our form among it, which no ledger of ours knows.
    pub lines: Vec<String>,
    /// Who, where a line says so.
    pub by: Option<String>,
    /// Since when, where a line says so.
    pub since: Option<Timestamp>,
    /// Until when, where a line says so.
    pub until: Option<Timestamp>,
    /// Why: what a line says, or the text that stands there.
    pub reason: Option<String>,
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
        if !self.add.is_empty() || !self.hide.is_empty() {
            ops.push(Op::Halt { add: self.add.clone(), hide: self.hide.clone() });
        }
        if !self.drop.is_empty() || !self.show.is_empty() {
            ops.push(Op::Resume { drop: self.drop.clone(), show: self.show.clone() });
        }
        ops
    }
}

/// The line that stands for `hold` in a halt file.
pub fn line(hold: &Hold, epoch: u64) -> HaltLine {
    HaltLine {
        kind: Kind::Manual,
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
    format!("{id} {file}")
}

/// What to do on `host`. `shown` is what earlier plans learned of it; `epoch` goes into new lines.
pub fn plan(
    host: &str,
    holds: &[Hold],
    model: &Model,
    shown: &BTreeMap<String, u32>,
    sighting: &Sighting,
    epoch: u64,
) -> Plan {
    let wanted = Wanted::on(host, holds, model);
    let mut plan = Plan::default();
    let nothing = Vec::new();
    let files: BTreeSet<&HaltFile> = wanted.files.keys().chain(sighting.files.keys()).collect();
    for file in files {
        let want = wanted.files.get(file).unwrap_or(&nothing);
        match sighting.files.get(file) {
            Some(lines) => there(host, file, lines, want, holds, shown, model, epoch, &mut plan),
            None => want.iter().for_each(|hold| missing(file, hold, shown, epoch, &mut plan)),
        }
    }
    let mut asked = BTreeSet::new();
    for unit in model.units() {
        let Means::Active(path) = &unit.means else { continue };
        let Some(state) = sighting.active.get(path).filter(|_| asked.insert(path)) else { continue };
        let hidden = wanted.hidden.contains(path);
        match state {
            Active::Shown if hidden => plan.hide.push(path.clone()),
            Active::Hidden if !hidden => plan.show.push((path.clone(), unit.covers.clone())),
            Active::Gone if !hidden => {
                let ours = |hold: &&Hold| hold.ended.is_some() && shown.contains_key(&format!("{} {path}", hold.id));
                match holds.iter().find(ours) {
                    // Lifted, but nobody has put the file back: that is the person's to do.
                    Some(hold) => keep(&mut plan, shown, format!("{} {path}", hold.id)),
                    None => plan.found.push(Person {
                        scope: scope(host, &unit.agent, &unit.repo),
                        file: path.clone(),
                        lines: Vec::new(),
                        by: None,
                        since: None,
                        until: None,
                        reason: Some(format!("{path} is not there")),
                    }),
                }
            }
            Active::Gone => {
                let holds = wanted_by(&wanted, &unit.covers).into_iter().filter(|hold| hold.found.is_some());
                plan.shown.extend(holds.map(|hold| (format!("{} {path}", hold.id), 0)));
            }
            _ => {}
        }
    }
    plan
}

fn wanted_by<'a>(wanted: &Wanted<'a>, covers: &[HaltFile]) -> Vec<&'a Hold> {
    covers.iter().filter_map(|file| wanted.files.get(file)).flatten().copied().collect()
}

/// Goes on remembering `key`.
fn keep(plan: &mut Plan, shown: &BTreeMap<String, u32>, key: String) {
    let times = shown.get(&key).copied().unwrap_or(0);
    plan.shown.insert(key, times);
}

/// A line that ought to be there and is not: never seen, it is due; seen before, somebody took it away.
fn missing(file: &HaltFile, hold: &Hold, shown: &BTreeMap<String, u32>, epoch: u64, plan: &mut Plan) {
    let key = key(&hold.id, file);
    let Some(before) = shown.get(&key) else {
        plan.add.push((file.clone(), line(hold, epoch)));
        return;
    };
    let (gone, id, at) = ((before + 1).min(GIVE_UP + 1), hold.id.clone(), file.to_string());
    match gone {
        ..GIVE_UP => {
            plan.notes.push(Note::PutBack { id, file: at });
            plan.add.push((file.clone(), line(hold, epoch)));
        }
        GIVE_UP => plan.notes.push(Note::GivenUp { id, file: at }),
        _ => {}
    }
    plan.shown.insert(key, gone);
}

/// A halt file that is there.
#[allow(clippy::too_many_arguments)]
fn there(
    host: &str,
    file: &HaltFile,
    lines: &[String],
    want: &[&Hold],
    holds: &[Hold],
    shown: &BTreeMap<String, u32>,
    model: &Model,
    epoch: u64,
    plan: &mut Plan,
) {
    let parsed: Vec<(&String, Option<HaltLine>)> = lines.iter().map(|text| (text, HaltLine::parse(text))).collect();
    let ids = || parsed.iter().filter_map(|(_, line)| line.as_ref()).filter(|line| line.kind == Kind::Manual);
    let texts: Vec<&String> = parsed.iter().filter(|(_, line)| line.is_none()).map(|(text, _)| *text).collect();
    let (empty, foreign) = (lines.is_empty(), !texts.is_empty());

    // Lines that stand for a hold which is over, or which does not hold here any more, go. Those of which no ledger of
    // ours knows are somebody's.
    let mut strangers: Vec<&HaltLine> = Vec::new();
    for line in ids() {
        let knows = |hold: &&Hold| {
            let named = hold.id == line.id;
            named || hold.found.as_ref().is_some_and(|found| found.lines.contains(&line.id) && covers(hold, host, file))
        };
        let here = |hold: &&Hold| want.iter().any(|wanted| std::ptr::eq(*wanted, *hold));
        let known: Vec<&Hold> = holds.iter().filter(knows).collect();
        if known.is_empty() {
            strangers.push(line);
        } else if !known.iter().any(here) {
            plan.drop.push((file.clone(), Drop::Line(Kind::Manual, line.id.clone())));
            for hold in known {
                keep(plan, shown, key(&hold.id, file));
                plan.cleared.push(key(&hold.id, file));
            }
        }
    }

    // What a person put there: of a hold that is known, of one that was lifted and not cleared yet, or new. An empty
    // file may also be what a full disk left of a hold that was lifted since.
    let person = foreign || (empty && want.is_empty());
    let known = want.iter().any(|hold| hold.found.is_some());
    if !strangers.is_empty() || (person && !known) {
        let lifted = |hold: &&Hold| {
            hold.ended.is_some() && (empty || hold.found.is_some()) && shown.contains_key(&key(&hold.id, file))
        };
        match holds.iter().find(lifted).filter(|_| strangers.is_empty()) {
            Some(hold) => {
                plan.drop.push((file.clone(), Drop::Foreign));
                keep(plan, shown, key(&hold.id, file));
                plan.cleared.push(key(&hold.id, file));
            }
            None => plan.found.extend(found(host, file, model, &strangers, &texts)),
        }
    }

    // An empty file where a hold is wanted is that hold: a full disk took no more. It gets its lines as soon as it can.
    let fill = empty && want.iter().any(|hold| hold.found.is_none());
    for hold in want {
        let by_hand = hold
            .found
            .as_ref()
            .is_some_and(|found| foreign || empty || ids().any(|line| found.lines.contains(&line.id)));
        let shows = empty || by_hand || ids().any(|line| line.id == hold.id);
        // A person's empty file, into which the line of another hold went: nobody took anything away.
        let filled = hold.found.as_ref().is_some_and(|found| found.lines.is_empty())
            && want.iter().any(|other| other.id != hold.id && ids().any(|line| line.id == other.id));
        if !shows && filled {
            plan.shown.insert(key(&hold.id, file), 0);
            plan.add.push((file.clone(), line(hold, epoch)));
        } else if shows {
            plan.shown.insert(key(&hold.id, file), 0);
            if fill {
                plan.add.push((file.clone(), line(hold, epoch)));
            }
        } else {
            missing(file, hold, shown, epoch, plan);
        }
    }
}

/// Whether `hold` holds what `file` is for, over or not; a file at a path of its own is taken for any agent's.
fn covers(hold: &Hold, host: &str, file: &HaltFile) -> bool {
    let HaltFile::Home(name) = file else { return hold.scope.hosts.has(host) };
    let (agent, repo) = name.split_once('@').unwrap_or((name, "*"));
    let repo = match &hold.scope.repo {
        Pick::All => repo == "*",
        names => names.has(repo),
    };
    hold.scope.hosts.has(host) && repo && hold.scope.holds_agent(agent, false)
}

/// The hold that a person made with `file`; none for a name that no agent can have, such as an editor's backup.
fn found(host: &str, file: &HaltFile, model: &Model, strangers: &[&HaltLine], texts: &[&String]) -> Option<Person> {
    let (agent, repo) = match file {
        HaltFile::Home(name) => name.split_once('@').unwrap_or((name, "*")),
        HaltFile::Path(path) => {
            let unit = model.units().iter().find(|unit| unit.means == Means::File(path.clone()))?;
            (unit.agent.as_str(), unit.repo.as_str())
        }
    };
    if name::check(agent).is_err() || (repo != "*" && name::check(repo).is_err()) {
        return None;
    }
    let first = strangers.first();
    Some(Person {
        scope: scope(host, agent, repo),
        file: file.to_string(),
        lines: strangers.iter().map(|line| line.id.clone()).collect(),
        by: first.map(|line| line.by.clone()),
        since: first.map(|line| line.since),
        until: first.and_then(|line| line.until),
        reason: first.and_then(|line| line.reason.clone()).or_else(|| texts.first().map(|text| plain(text))),
    })
}

/// One agent on one host, at one repo or at all (`*`).
fn scope(host: &str, agent: &str, repo: &str) -> Scope {
    let repo = if repo == "*" { Pick::All } else { Pick::one(repo) };
    Scope { hosts: Pick::one(host), repo, agent: Pick::one(agent), supervisor: false }
}

/// A person's text as a reason: one line, at most 200 characters, nothing that moves a cursor.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
