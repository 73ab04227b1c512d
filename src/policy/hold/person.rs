//! Holds that people make on a host itself: how they are told from ours, and recorded.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::plan::Showing;
use super::wanted::{Means, Model};
use super::{BootClock, Found, Hold, Pick, Scope, Until};
use crate::inventory::name;
use crate::remote::halt::{HaltFile, HaltLine};

/// A hold that a person made on the host itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// What it holds: one host, and what the file is for.
    pub scope: Scope,
    /// Where it was found.
    pub file: String,
    /// Ids of lines of our form among it of which no ledger of ours knows.
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

impl Person {
    /// What the lines of our form of which no ledger of ours knows, and else the first text, say about the hold.
    pub(super) fn of(
        scope: Scope,
        file: String,
        lines: Vec<String>,
        strangers: &[&HaltLine],
        text: Option<&str>,
    ) -> Person {
        let first = strangers.first();
        let until = strangers.iter().map(|line| line.until).collect::<Option<Vec<_>>>();
        Person {
            scope,
            file,
            lines,
            by: first.map(|line| line.by.clone()),
            since: first.map(|line| line.since),
            // Text has no end.
            until: until.filter(|_| text.is_none()).and_then(|all| all.into_iter().max()),
            reason: first.and_then(|line| line.reason.clone()).or_else(|| plain(text?)),
        }
    }

    /// Records it as a hold, with `id`; where there is one of the same scope, that one stands for it from now on. Notes
    /// in `shown`, the host's, that it was seen, so that it can be lifted at once. Gives back the hold's id.
    pub fn record(
        &self,
        holds: &mut Vec<Hold>,
        shown: &mut BTreeMap<String, Showing>,
        id: &str,
        now: Timestamp,
        clock: &BootClock,
    ) -> String {
        let id = match holds.iter_mut().find(|hold| hold.ended.is_none() && hold.scope == self.scope) {
            Some(same) => {
                let lines = &mut same.found.get_or_insert_default().lines;
                lines.extend(self.lines.iter().filter(|id| !lines.contains(id)).cloned().collect::<Vec<_>>());
                same.id.clone()
            }
            None => {
                let until = self.until.map(|at| Until {
                    at,
                    seconds: at.duration_since(now).as_secs_f64().max(0.0),
                    spent: 0.0,
                    counted: clock.clone(),
                });
                holds.push(Hold {
                    id: id.to_owned(),
                    scope: self.scope.clone(),
                    by: self.by.clone().unwrap_or_else(|| format!("somebody@{}", self.scope.hosts)),
                    since: self.since.unwrap_or(now),
                    until,
                    reason: self.reason.clone(),
                    found: Some(Found { lines: self.lines.clone() }),
                    ended: None,
                });
                id.to_owned()
            }
        };
        shown.insert(format!("{id} {}", self.file), Showing::default());
        id
    }
}

/// What a person holds who makes `file`; none for a name that no agent can have, such as an editor's backup.
pub(super) fn scope_of(host: &str, file: &HaltFile, model: &Model) -> Option<Scope> {
    let name = match file {
        HaltFile::Home(name) => name,
        HaltFile::Path(path) => return scope_by(host, &Means::File(path.clone()), model),
    };
    let (agent, repo) = name.split_once('@').map_or((name.as_str(), None), |(agent, repo)| (agent, Some(repo)));
    let named = name::check(agent).is_ok() && repo.is_none_or(|repo| name::check(repo).is_ok());
    let repo = repo.map_or(Pick::All, Pick::one);
    named.then(|| Scope { hosts: Pick::one(host), repo, agent: Pick::one(agent), supervisor: false })
}

/// What a person holds by these means, which several agents may share; none when nobody has them.
pub(super) fn scope_by(host: &str, means: &Means, model: &Model) -> Option<Scope> {
    let of: Vec<_> = model.units().iter().filter(|unit| unit.means == *means).collect();
    let names = |names: BTreeSet<&String>| Pick::Names(names.into_iter().cloned().collect());
    let repo = match of.iter().any(|unit| unit.repo == "*") {
        true => Pick::All,
        false => names(of.iter().map(|unit| &unit.repo).collect()),
    };
    let agent = names(of.iter().map(|unit| &unit.agent).collect());
    (!of.is_empty()).then(|| Scope { hosts: Pick::one(host), repo, agent, supervisor: false })
}

/// A person's text as a reason: one line, at most 200 characters, nothing that moves a cursor.
fn plain(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    Some(text).filter(|text| !text.is_empty())
}
