//! The agents of an inventory as decisions look at them, each as one repo has it.

use std::collections::BTreeMap;

use crate::inventory::agents::{Agent, Class, class_of};
use crate::inventory::repos::Repos;
use crate::inventory::settings::Settings;

/// All agents.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    agents: BTreeMap<String, Agent>,
    /// By repo, for every repo.
    repos: BTreeMap<String, BTreeMap<String, Agent>>,
}

impl Roster {
    /// Those of an inventory.
    pub fn of(settings: &Settings, repos: &Repos) -> Roster {
        let repos = repos.repos.iter().map(|repo| (repo.name.clone(), repo.agents.clone())).collect();
        Roster { agents: settings.agents.clone(), repos }
    }

    /// The agent as `repo` has it, or as it is for all of them (`*`).
    pub fn agent(&self, agent: &str, repo: &str) -> Option<&Agent> {
        match self.repos.get(repo) {
            Some(agents) => agents.get(agent),
            None if repo == "*" => self.agents.get(agent),
            None => None,
        }
    }

    /// The same; what the inventory does not have any more at that repo counts as it is for all of them.
    pub fn known(&self, agent: &str, repo: &str) -> Option<&Agent> {
        self.agent(agent, repo).or_else(|| self.agents.get(agent))
    }

    /// All agents, as they are for all repos and as each repo has them.
    pub fn all(&self) -> impl Iterator<Item = &Agent> {
        self.agents.values().chain(self.repos.values().flat_map(BTreeMap::values))
    }

    /// The class of an agent; one that nobody knows any more counts as dev, the first to go.
    pub fn class(&self, agent: &str, repo: &str) -> Class {
        let known = self.known(agent, repo).map(|agent| agent.class);
        known.or_else(|| class_of(agent)).unwrap_or(Class::Dev)
    }

    /// The memory that is kept for a run, in bytes; 0 for an agent that nobody knows.
    pub fn memory(&self, agent: &str, repo: &str) -> u64 {
        self.known(agent, repo).map_or(0, |agent| agent.needs.memory.0)
    }

    /// The agents of which there are such texts.
    pub fn matched(&self) -> impl Iterator<Item = &str> {
        self.agents.values().filter(|agent| agent.match_text.is_some()).map(|agent| agent.name.as_str())
    }

    /// The text by which runs of an agent are found that we did not start.
    pub fn match_text(&self, agent: &str) -> Option<&str> {
        self.agents.get(agent)?.match_text.as_deref()
    }
}
