//! Agents that we start, on hosts whose crontab starts them too: which lines these are, and under which keys they are
//! disabled.

use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::agents::{Agent, Halt, Start};
use crate::inventory::repos::Repos;
use crate::inventory::settings::Settings;
use crate::remote::crontab::key::{self, Key};
use crate::remote::crontab::{Mark, What, shown};
use crate::remote::guard::Table;
use crate::remote::sample::Sample;

/// The texts by which the crontab lines that start `agent` are known: its `halt: {cron}` and its `match`.
fn texts(agent: &Agent) -> impl Iterator<Item = &str> {
    let held_by = match &agent.halt {
        Halt::Cron(text) => Some(text.as_str()),
        Halt::File(_) | Halt::ActiveFile(_) => None,
    };
    held_by.into_iter().chain(agent.match_text.as_deref()).filter(|text| !text.is_empty())
}

/// The crontab lines that start agents which are ours to start, everywhere or at one repo. A text by which an agent that
/// cron is to start is known stands for that one.
pub fn marks(settings: &Settings, repos: &Repos) -> Vec<Mark> {
    let all = || settings.agents.values().chain(repos.repos.iter().flat_map(|repo| repo.agents.values()));
    let of = |start: Start| all().filter(move |agent| agent.start == start);
    let theirs: BTreeSet<&str> = of(Start::Cron).flat_map(texts).collect();
    let mut marks: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for agent in of(Start::Factory) {
        marks.entry(&agent.name).or_default().extend(texts(agent).filter(|text| !theirs.contains(*text)));
    }
    let mark = |agent: &str, text: &str| Mark { key: key::taken(agent), text: text.to_owned() };
    marks.iter().flat_map(|(agent, texts)| texts.iter().map(move |text| mark(agent, text))).collect()
}

/// The lines of a host's crontabs that start `agent`, which is ours to start: while there are any, it is not launched
/// there. `marks` are those of [`marks`].
pub fn still_started(tables: &[(Table, Vec<u8>)], marks: &[Mark], agent: &str) -> Vec<String> {
    let own: Vec<Mark> = marks.iter().filter(|mark| mark.key == key::taken(agent)).cloned().collect();
    let lines = tables.iter().flat_map(|(_, table)| shown(table, &own));
    lines.filter(|line| matches!(line.what, What::Live(_))).map(|line| line.text).collect()
}

/// Whether cron starts an agent that is ours to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starts {
    /// It does not.
    No,
    /// By so many lines.
    By(u64),
    /// Nobody knows: a crontab could not be read. Cron goes by it all the same.
    Unread,
}

/// Whether the crontabs of a host start `agent`, which is ours to start, as a sample says. `marks` are those of [`marks`]:
/// for each of them a sample has a number, unless a crontab could not be read.
pub fn starts(sample: &Sample, marks: &[Mark], agent: &str) -> Starts {
    match started(sample, agent) {
        Some(0) => Starts::No,
        Some(lines) => Starts::By(lines),
        None if marks.iter().any(|mark| mark.key == key::taken(agent)) => Starts::Unread,
        None => Starts::No,
    }
}

/// How many crontab lines start `agent`, which is ours to start, as a sample says; none when it does not: no line of a
/// crontab is looked for by such a text, or the crontabs could not be read.
pub fn started(sample: &Sample, agent: &str) -> Option<u64> {
    let mut of = sample.found.iter().flatten().filter(|one| one.how == "cron" && one.agent == agent);
    of.find(|one| one.path.as_deref().is_some_and(|key| Key::of(key).taken))?.live
}
