//! Which halt files a host must show, for the holds that there are and the agents of the inventory.

use std::collections::{BTreeMap, BTreeSet};

use super::{Hold, Pick};
use crate::inventory::agents::{Agent, Class, Halt, class_of};
use crate::inventory::repos::Repos;
use crate::inventory::settings::Settings;
use crate::policy::takeover;
use crate::remote::crontab::Mark;
use crate::remote::halt::HaltFile;
use crate::remote::probe;

/// How an agent is told to hold still, beside its halt file in the factory's home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// A halt file elsewhere.
    File(String),
    /// A file that is renamed away.
    Active(String),
    /// Crontab lines that contain this text are commented out.
    Cron(String),
}

impl Means {
    fn of(agent: &str, halt: &Halt) -> Option<Means> {
        match halt {
            Halt::File(path) if *path == format!("~/.factory/halt/{agent}") => None,
            Halt::File(path) => Some(Means::File(path.clone())),
            Halt::ActiveFile(path) => Some(Means::Active(path.clone())),
            Halt::Cron(text) => Some(Means::Cron(text.clone())),
        }
    }

    /// The path of an `active_file`.
    pub(super) fn active(&self) -> Option<&str> {
        match self {
            Means::File(_) | Means::Cron(_) => None,
            Means::Active(path) => Some(path),
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

impl Unit {
    /// The crontab lines that are held while it is: the key under which they are is the name of the halt file in the home
    /// that stands for it.
    pub(super) fn mark(&self) -> Option<Mark> {
        match &self.means {
            Means::File(_) | Means::Active(_) => None,
            Means::Cron(text) => {
                Some(Mark { key: HaltFile::of(&self.agent, &self.repo).to_string(), text: text.clone() })
            }
        }
    }
}

/// The agents as holds see them.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// By name, its class.
    agents: BTreeMap<String, Class>,
    /// By name: the agents that start it, which are held with it.
    starters: BTreeMap<String, Vec<String>>,
    /// Those with means of their own.
    units: Vec<Unit>,
    /// The crontab lines that start what we start ourselves.
    taken: Vec<Mark>,
}

impl Model {
    /// The agents of an inventory.
    pub fn of(settings: &Settings, repos: &Repos) -> Model {
        let mut model = Model { taken: takeover::marks(settings, repos), ..Model::default() };
        for (name, agent) in &settings.agents {
            model.agents.insert(name.clone(), agent.class);
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
        self.agents.get(agent).copied().or_else(|| class_of(agent)) == Some(Class::Supervisor)
    }

    /// The names of the agents of a class.
    pub fn of_class(&self, class: Class) -> impl Iterator<Item = &str> {
        self.agents.iter().filter(move |(_, of)| **of == class).map(|(name, _)| name.as_str())
    }

    /// The agents with means of their own.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// Those that lie in files elsewhere than in the home, as a probe asks for them.
    pub fn means(&self) -> Vec<probe::Means> {
        let means = |unit: &Unit| {
            let (path, active) = match &unit.means {
                Means::File(path) => (path, false),
                Means::Active(path) => (path, true),
                Means::Cron(_) => return None,
            };
            Some(probe::Means { agent: unit.agent.clone(), repo: unit.repo.clone(), path: path.clone(), active })
        };
        self.units.iter().filter_map(means).collect()
    }

    /// The crontab lines that are looked for: those of agents that are held by them, and those that start what is ours to
    /// start.
    pub fn crons(&self) -> Vec<Mark> {
        self.units.iter().filter_map(Unit::mark).chain(self.taken.iter().cloned()).collect()
    }

    /// The crontab lines that `factory takeover` disables: of agents that we start ourselves.
    pub fn taken(&self) -> &[Mark] {
        &self.taken
    }

    /// The names of all agents.
    pub fn agents(&self) -> impl Iterator<Item = &str> {
        self.agents.keys().map(String::as_str)
    }

    /// The agents that `hold` holds: those of its scope, whoever starts one of them, and so on.
    fn held(&self, hold: &Hold) -> BTreeSet<String> {
        let mut held = match &hold.scope.agent {
            Pick::Names(names) => names.clone(),
            Pick::All => self.agents.keys().filter(|name| self.covers(hold, name)).cloned().collect(),
        };
        let mut open: Vec<String> = held.iter().cloned().collect();
        while let Some(agent) = open.pop() {
            for starter in self.starters.get(&agent).into_iter().flatten() {
                if held.insert(starter.clone()) {
                    open.push(starter.clone());
                }
            }
        }
        held
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
    /// The crontab lines that must be held.
    pub lines: BTreeSet<Mark>,
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
            let holds = wanted.by(&unit.covers);
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
                Means::Cron(_) => wanted.lines.extend(unit.mark()),
            }
        }
        wanted
    }

    /// The holds that any of these halt files stands for.
    pub(super) fn by<'f>(&self, files: impl IntoIterator<Item = &'f HaltFile>) -> Vec<&'a Hold> {
        let mut holds: Vec<&Hold> =
            files.into_iter().filter_map(|file| self.files.get(file)).flatten().copied().collect();
        holds.sort_by(|a, b| a.id.cmp(&b.id));
        holds.dedup_by(|a, b| a.id == b.id);
        holds
    }
}
