//! Which agents run on a host, and which of them is to stop first. Pure.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::time::Duration;

use jiff::Timestamp;

use super::ladder::Standing;
use super::roster::Roster;
use crate::inventory::agents::Class;
use crate::remote::guard::Stopped;
use crate::remote::sample::Sample;

/// One agent that runs on a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// What `factory ps` calls it.
    pub token: String,
    /// How the guard is told of it; none for one that it could not be sure of.
    pub what: Option<Stopped>,
    /// Which agent it is; `-` where its host does not say.
    pub agent: String,
    /// For which repo; `*` for all.
    pub repo: String,
    /// Its class.
    pub class: Class,
    /// Resident memory of its tree in bytes.
    pub rss: Option<u64>,
    /// What is kept for it, in bytes.
    pub reserved: u64,
    /// When it began.
    pub started: Option<Timestamp>,
    /// It asks not to be stopped now; none where its host does not say.
    pub critical: Option<bool>,
}

impl Running {
    /// Bytes above what is kept for it; negative below. One of which nothing is known uses nothing.
    pub fn over(&self) -> i128 {
        i128::from(self.rss.unwrap_or(0)) - i128::from(self.reserved)
    }
}

/// Every agent that a sample shows to live: runs of ours that are not over, or left something behind, and those that were
/// found, but for another user's, which our login may not stop.
pub fn running(sample: &Sample, roster: &Roster) -> Vec<Running> {
    let runs = sample.runs.iter().flatten().filter(|run| !run.over() && run.state != "CREATED");
    let own = runs.map(|run| {
        let (agent, repo) = (run.agent.as_deref().unwrap_or("-"), run.repo.as_deref().unwrap_or("*"));
        Running {
            token: run.token.clone(),
            what: Some(Stopped::Run(run.token.clone())),
            agent: agent.to_owned(),
            repo: repo.to_owned(),
            class: roster.class(agent, repo),
            rss: run.rss,
            reserved: roster.memory(agent, repo),
            started: run.started,
            critical: run.critical,
        }
    });
    let ours = sample.matched.iter().flatten().filter(|one| sample.uid.is_none_or(|uid| uid == one.uid));
    let matched = ours.map(|one| Running {
        token: one.token(),
        what: roster.match_text(&one.agent).map(|text| Stopped::Process {
            pid: one.pid,
            start: one.start,
            text: text.to_owned(),
        }),
        agent: one.agent.clone(),
        repo: "*".to_owned(),
        class: roster.class(&one.agent, "*"),
        rss: Some(one.rss),
        reserved: roster.memory(&one.agent, "*"),
        started: one.started,
        critical: Some(false),
    });
    own.chain(matched).collect()
}

/// How many agents of a class run. Of those that were found a sample counts more than it tells of; one that has outlived
/// KILL for long does not count any more ([`Standing::outlived`]). Where nobody could count those
/// that were looked for, there may be one.
pub fn count(sample: &Sample, roster: &Roster, class: Class, standing: &Standing, kill: (Duration, Duration)) -> u32 {
    let of = running(sample, roster);
    let stays = |one: &Running| postponed(one) || !standing.outlived(&one.token, kill.0, kill.1);
    let counted = of.iter().filter(|one| one.class == class && stays(one)).count();
    let all: u64 =
        sample.running.iter().flatten().filter(|(agent, _)| roster.class(agent, "*") == class).map(|(_, n)| n).sum();
    let told = sample.matched.iter().flatten().filter(|one| roster.class(&one.agent, "*") == class).count();
    let more = all.saturating_sub(told as u64);
    let least = u64::from(!is_counted(sample, roster, class));
    u32::try_from((counted as u64).saturating_add(more).max(least)).unwrap_or(u32::MAX)
}

/// Whether a sample says how many agents of a class run that we did not start: a host under load may fail to count them.
pub fn is_counted(sample: &Sample, roster: &Roster, class: Class) -> bool {
    let known = |agent: &str| {
        sample.matched.is_some() && sample.running.as_ref().is_some_and(|running| running.contains_key(agent))
    };
    roster.matched().all(|agent| roster.class(agent, "*") != class || known(agent))
}

/// Whether the end of an agent that was told to stop may still be put off: it asks for time, or nobody knows.
pub fn postponed(one: &Running) -> bool {
    one.critical != Some(false)
}

/// The agent of a class that is to stop: not critical, the one least often refused by its host, of these the furthest
/// above what is kept for it, the youngest. None where each one left was told already, or is critical.
pub fn victim(sample: &Sample, roster: &Roster, class: Class, standing: &Standing) -> Option<Running> {
    let may = |one: &Running| {
        one.class == class
            && one.critical != Some(true)
            && one.what.is_some()
            && !standing.told.contains_key(&one.token)
    };
    let candidates = running(sample, roster).into_iter().filter(may);
    candidates.max_by_key(|one| {
        let refused = standing.refused.get(&one.token).map_or(0, |refused| refused.times);
        (Reverse(refused), one.over(), one.started, Reverse(one.token.clone()))
    })
}
