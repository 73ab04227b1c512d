//! What the runs of each agent are promised, as each repo has the agent.

use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::agents::{Agent, Class, Start, Work};
use crate::inventory::repos::Repos;
use crate::inventory::settings::Settings;
use crate::policy::roster::Roster;

/// What one run is promised: its agent's `needs`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reserved {
    /// The rung of its agent.
    pub class: Class,
    /// Memory, in bytes.
    pub memory: u64,
    /// Cores that it keeps busy.
    pub cpu: f64,
}

impl Reserved {
    /// That of an agent.
    pub fn of(agent: &Agent) -> Reserved {
        Reserved { class: agent.class, memory: agent.needs.memory.0, cpu: agent.needs.cpu }
    }
}

/// The reservations of all agents of an inventory.
#[derive(Clone, Debug)]
pub struct Reservations {
    roster: Roster,
    /// The largest reservation of a review that can run, by repo; `*` for one that runs without a repo, or that cron
    /// starts.
    reviews: BTreeMap<String, u64>,
    /// The agents whose runs are also found by their command line.
    matched: BTreeSet<String>,
    /// That of a run of which nobody knows the agent: as much as any.
    largest: Reserved,
}

impl Reservations {
    /// Those of an inventory.
    pub fn new(settings: &Settings, repos: &Repos) -> Reservations {
        let roster = Roster::of(settings, repos);
        let mut reviews: BTreeMap<String, u64> = BTreeMap::new();
        let bare = settings
            .agents
            .values()
            .filter(|agent| repos.repos.is_empty() || agent.start == Start::Cron || agent.work == Work::Schedule);
        let at_repos =
            repos.repos.iter().flat_map(|repo| repo.agents.values().map(|agent| (repo.name.as_str(), agent)));
        for (repo, agent) in bare.map(|agent| ("*", agent)).chain(at_repos) {
            // The built-in one without a command never runs: nothing is kept for it.
            if agent.class == Class::Review && (agent.start == Start::Cron || agent.command.is_some()) {
                let known = reviews.entry(repo.to_owned()).or_default();
                *known = (*known).max(agent.needs.memory.0);
            }
        }
        let largest = Reserved {
            class: Class::Dev,
            memory: roster.all().map(|agent| agent.needs.memory.0).max().unwrap_or_default(),
            cpu: roster.all().map(|agent| agent.needs.cpu).fold(0.0, f64::max),
        };
        let matched = settings.agents.values().filter(|agent| agent.match_text.is_some());
        let matched = matched.map(|agent| agent.name.clone()).collect();
        Reservations { roster, reviews, matched, largest }
    }

    /// That of a run. What the inventory does not have any more at that repo counts as for all repos, and what it does not
    /// have at all, or whose agent is not known, as the largest there is.
    pub fn of_run(&self, repo: Option<&str>, agent: Option<&str>) -> Reserved {
        let known = agent.and_then(|agent| self.roster.known(agent, repo.unwrap_or("*")));
        known.map_or(self.largest, Reserved::of)
    }

    /// The largest reservation of a review, in bytes, over the repos of which `may` says that they run on the host; 0
    /// where no review can run.
    pub fn review(&self, may: impl Fn(&str) -> bool) -> u64 {
        let here = self.reviews.iter().filter(|(repo, _)| *repo == "*" || may(repo));
        here.map(|(_, memory)| *memory).max().unwrap_or_default()
    }

    /// The agents whose runs are also found by their command line.
    pub(super) fn matched(&self) -> impl Iterator<Item = &str> {
        self.matched.iter().map(String::as_str)
    }
}
