//! Which halt files a host must show, for the holds that there are and the agents of the inventory.

use std::collections::{BTreeMap, BTreeSet};

use super::{Hold, Pick};
use crate::inventory::agents::{Agent, Class, Halt, class_of};
use crate::inventory::repos::Repos;
use crate::inventory::settings::Settings;
use crate::remote::halt::HaltFile;
use crate::remote::probe;

/// How an agent is told to hold still, beside its halt file in the factory's home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// A halt file elsewhere.
    File(String),
    /// A file that is renamed away.
    Active(String),
}

impl Means {
    fn of(agent: &str, halt: &Halt) -> Option<Means> {
        match halt {
            Halt::File(path) if *path == format!("~/.factory/halt/{agent}") => None,
            Halt::File(path) => Some(Means::File(path.clone())),
            Halt::ActiveFile(path) => Some(Means::Active(path.clone())),
            // Crontab lines are edited by an op of their own.
            Halt::Cron(_) => None,
        }
    }

    /// The path on the host, absolute or with `~/`.
    pub fn path(&self) -> &str {
        match self {
            Means::File(path) | Means::Active(path) => path,
        }
    }
}

/// An agent with means of its own, at every repo or at one that has others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The agent.
    pub agent: String,
    /// The repo, or `*`.
    pub repo: String,
    /// Its means.
    pub means: Means,
    /// The halt files in the factory's home of which each holds it.
    pub covers: Vec<HaltFile>,
}

/// The agents as holds see them.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// By name: whether it is of class supervisor.
    agents: BTreeMap<String, bool>,
    /// By name: the agents that start it, which are held with it.
    starters: BTreeMap<String, Vec<String>>,
    /// Those with means of their own.
    units: Vec<Unit>,
}

impl Model {
    /// The agents of an inventory.
    pub fn of(settings: &Settings, repos: &Repos) -> Model {
        let mut model = Model::default();
        for (name, agent) in &settings.agents {
            model.agents.insert(name.clone(), agent.class == Class::Supervisor);
            for started in &agent.starts {
                model.starters.entry(started.clone()).or_default().push(name.clone());
            }
            let unit = |repo: &str, halt: &Halt, covers: Vec<HaltFile>| {
                Means::of(name, halt).map(|means| Unit { agent: name.clone(), repo: repo.to_owned(), means, covers })
            };
            model.units.extend(unit("*", &agent.halt, vec![HaltFile::of(name, "*")]));
            let others = |repo: &&crate::inventory::repos::Repo| {
                repo.agents.get(name).is_some_and(|over: &Agent| over.halt != agent.halt)
            };
            for repo in repos.repos.iter().filter(others) {
                let covers = vec![HaltFile::of(name, "*"), HaltFile::of(name, &repo.name)];
                model.units.extend(repo.agents.get(name).and_then(|over| unit(&repo.name, &over.halt, covers)));
            }
        }
        model
    }

    /// Whether an agent of that name is of class supervisor.
    pub fn is_supervisor(&self, agent: &str) -> bool {
        self.agents.get(agent).copied().unwrap_or_else(|| class_of(agent) == Some(Class::Supervisor))
    }

    /// The agents with means of their own.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The same, as a probe asks for them.
    pub fn means(&self) -> Vec<probe::Means> {
        let means = |unit: &Unit| probe::Means {
            agent: unit.agent.clone(),
            repo: unit.repo.clone(),
            path: unit.means.path().to_owned(),
            active: matches!(unit.means, Means::Active(_)),
        };
        self.units.iter().map(means).collect()
    }

    /// The names of all agents.
    pub fn agents(&self) -> impl Iterator<Item = &str> {
        self.agents.keys().map(String::as_str)
    }

    /// The agents that `hold` holds: those of its scope, and whoever starts one of them.
    fn held(&self, hold: &Hold) -> BTreeSet<String> {
        let named = match &hold.scope.agent {
            Pick::Names(names) => names.clone(),
            Pick::All => self.agents.keys().filter(|name| self.covers(hold, name)).cloned().collect(),
        };
        let starters = named.iter().filter_map(|name| self.starters.get(name)).flatten().cloned().collect();
        &named | &starters
    }

    fn covers(&self, hold: &Hold, agent: &str) -> bool {
        hold.scope.holds_agent(agent, self.is_supervisor(agent))
    }
}

/// What a host must show.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// The halt files, and the holds that each stands for.
    pub files: BTreeMap<HaltFile, Vec<&'a Hold>>,
    /// The `active_file`s that must be away.
    pub hidden: BTreeSet<String>,
}

impl<'a> Wanted<'a> {
    /// What `host` must show for those of `holds` that are not over.
    pub fn on(host: &str, holds: &'a [Hold], model: &Model) -> Wanted<'a> {
        let mut wanted = Wanted::default();
        for hold in holds.iter().filter(|hold| hold.ended.is_none() && hold.scope.hosts.has(host)) {
            let repos = match &hold.scope.repo {
                Pick::All => BTreeSet::from(["*".to_owned()]),
                Pick::Names(names) => names.clone(),
            };
            for agent in model.held(hold) {
                for repo in &repos {
                    wanted.files.entry(HaltFile::of(&agent, repo)).or_default().push(hold);
                }
            }
        }
        for unit in &model.units {
            let mut holds: Vec<&Hold> =
                unit.covers.iter().filter_map(|file| wanted.files.get(file)).flatten().copied().collect();
            holds.dedup_by_key(|hold| &hold.id);
            match &unit.means {
                _ if holds.is_empty() => {}
                Means::File(path) => {
                    let at = wanted.files.entry(HaltFile::Path(path.clone())).or_default();
                    at.extend(holds);
                    at.sort_by(|a, b| a.id.cmp(&b.id));
                    at.dedup_by_key(|hold| &hold.id);
                }
                Means::Active(path) => {
                    wanted.hidden.insert(path.clone());
                }
            }
        }
        wanted
    }
}
