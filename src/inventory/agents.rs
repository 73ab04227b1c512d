//! Agents: what is started, where it stands on the ladder, and what it needs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::argv::Argv;
use super::de::words;
use super::name;
use super::units::{Bytes, Span};

/// The agents that exist without being named.
pub const BUILT_IN: [&str; 3] = ["dev", "review", "supervisor"];

/// The rung of the ladder that an agent stands on: under pressure dev is held first, the supervisor last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Implements issues; heavy; the first to be held.
    Dev,
    /// Reviews pull requests; light.
    Review,
    /// Keeps the others healthy; the last to be held.
    Supervisor,
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Class::Dev => "dev",
            Class::Review => "review",
            Class::Supervisor => "supervisor",
        })
    }
}

/// Who starts an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// We do.
    #[default]
    Factory,
    /// A crontab does: we halt, adopt and count its runs, and never launch it.
    Cron,
}

/// What an agent works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Issues that are ready.
    ReadyIssues,
    /// Pull requests whose CI has finished green.
    GreenPulls,
    /// Nothing in particular: it runs every so often.
    Schedule,
}

/// How an agent is told to hold still, besides our never launching it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "one:halt", rename_all = "snake_case")]
#[schemars(rename = "Halt")]
pub enum Halt {
    /// This file exists while it is held.
    File(#[serde(deserialize_with = "words::filled")] String),
    /// The crontab lines that contain this text are commented out while it is held.
    Cron(#[serde(deserialize_with = "words::filled")] String),
    /// This file is renamed to `PATH.factory-held` while it is held: its presence means that the agent may run.
    ActiveFile(#[serde(deserialize_with = "words::filled")] String),
}

/// What a run needs of its host, as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NeedsKeys {
    /// Memory kept for a run, such as `2.5GiB`. Default: 3GiB for class dev, 1GiB for class review, else 512MiB.
    pub memory: Option<Bytes>,
    /// Cores that a run keeps busy, such as 1.5. Default: 1.5 for class dev, else 0.5.
    pub cpu: Option<f64>,
}

/// The keys of an agent, as written: in `factory.yml`, and for one repo in `repos.yml`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Agent")]
pub struct AgentKeys {
    /// The rung of the ladder: `dev`, `review` or `supervisor`. Default: the agent's name, where it is one of these.
    pub class: Option<Class>,
    /// Who starts it: `factory`, or `cron` (then we halt, adopt and count it, never launch it). Default `factory`.
    pub start: Option<Start>,
    /// What it works on: `ready-issues`, `green-pulls` or `schedule`. Default: by class.
    pub work: Option<Work>,
    /// With `work: schedule`, how long from one start to the next. Default 10m.
    pub every: Option<Span>,
    /// A program and its arguments; each may hold `{{ ... }}`: `[bash, dev/dev-agent.sh, "{{ issue.number }}"]`. Never
    /// a shell string. Only with `start: factory`.
    pub command: Option<Argv>,
    /// The working directory on the host. Default: the home directory of the login.
    pub dir: Option<String>,
    /// What a run needs of its host.
    pub needs: Option<NeedsKeys>,
    /// The account whose budget a run counts against: one of `accounts`. Default: none.
    #[serde(default, deserialize_with = "name::optional")]
    pub account: Option<String>,
    /// How long a run may take before it is stopped. Default 4h.
    pub time_limit: Option<Span>,
    /// How long a run may go on once its host is to be emptied. Default 2h.
    pub drain: Option<Span>,
    /// How to find runs that we did not start: fixed text in the command line of a process. Default: none.
    #[serde(rename = "match")]
    pub match_text: Option<String>,
    /// Log files on the host to follow, besides the output of our own runs; a relative path is below `dir`. Default:
    /// none.
    pub logs: Option<Vec<String>>,
    /// How it is told to hold still: `{file: PATH}`, `{cron: TEXT}` or `{active_file: PATH}`. Default: the file
    /// `~/.factory/halt/AGENT`.
    pub halt: Option<Halt>,
    /// The agents that this one starts by itself: it is held whenever one of these is. Default: none.
    #[serde(default, deserialize_with = "name::optional_list")]
    pub starts: Option<Vec<String>>,
}

/// What a run needs of its host.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Needs {
    /// Memory kept for a run.
    pub memory: Bytes,
    /// Cores that a run keeps busy.
    pub cpu: f64,
}

/// An agent with every default filled in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// The rung of the ladder.
    pub class: Class,
    /// Who starts it.
    pub start: Start,
    /// What it works on.
    pub work: Work,
    /// From one start to the next, with [`Work::Schedule`].
    pub every: Span,
    /// A program and its arguments, templates as written; `None` where there is nothing to launch.
    pub command: Option<Vec<String>>,
    /// The working directory on the host; `None` is the home directory.
    pub dir: Option<String>,
    /// What a run needs of its host.
    pub needs: Needs,
    /// The account whose budget a run counts against.
    pub account: Option<String>,
    /// How long a run may take.
    pub time_limit: Span,
    /// How long a run may go on once its host is to be emptied.
    pub drain: Span,
    /// Fixed text in the command line of runs that we did not start.
    pub match_text: Option<String>,
    /// Log files on the host to follow.
    pub logs: Vec<String>,
    /// How it is told to hold still.
    pub halt: Halt,
    /// The agents that it starts by itself.
    pub starts: Vec<String>,
    /// What was written, so that a repo can overlay it.
    #[serde(skip)]
    keys: AgentKeys,
}

impl Agent {
    /// The agent that `keys` describe; a class that is neither written nor the name counts as dev, the first to be
    /// held.
    pub fn new(name: &str, keys: AgentKeys) -> Agent {
        let class = keys.class.or_else(|| class_of(name)).unwrap_or(Class::Dev);
        let start = keys.start.unwrap_or_default();
        let work = keys.work.unwrap_or(match class {
            Class::Dev => Work::ReadyIssues,
            Class::Review => Work::GreenPulls,
            Class::Supervisor => Work::Schedule,
        });
        let (memory, cpu) = match class {
            Class::Dev => (Bytes(3 << 30), 1.5),
            Class::Review => (Bytes(1 << 30), 0.5),
            Class::Supervisor => (Bytes(512 << 20), 0.5),
        };
        let needs = keys.needs.clone().unwrap_or_default();
        let hours = |hours: u64| Span(std::time::Duration::from_secs(hours * 3600));
        Agent {
            name: name.to_owned(),
            class,
            start,
            work,
            every: keys.every.unwrap_or(Span(std::time::Duration::from_secs(600))),
            command: keys.command.clone().map(|argv| argv.0).filter(|_| start == Start::Factory),
            dir: keys.dir.clone(),
            needs: Needs { memory: needs.memory.unwrap_or(memory), cpu: needs.cpu.unwrap_or(cpu) },
            account: keys.account.clone(),
            time_limit: keys.time_limit.unwrap_or(hours(4)),
            drain: keys.drain.unwrap_or(hours(2)),
            match_text: keys.match_text.clone(),
            logs: keys.logs.clone().unwrap_or_default(),
            halt: keys.halt.clone().unwrap_or_else(|| Halt::File(format!("~/.factory/halt/{name}"))),
            starts: keys.starts.clone().unwrap_or_default(),
            keys,
        }
    }

    /// This agent as one repo has it: `over` wins key by key.
    #[must_use]
    pub fn overlaid(&self, over: AgentKeys) -> Agent {
        let base = self.keys.clone();
        let needs = match (base.needs, over.needs) {
            (Some(base), Some(over)) => {
                Some(NeedsKeys { memory: over.memory.or(base.memory), cpu: over.cpu.or(base.cpu) })
            }
            (base, over) => over.or(base),
        };
        let keys = AgentKeys {
            class: over.class.or(base.class),
            start: over.start.or(base.start),
            work: over.work.or(base.work),
            every: over.every.or(base.every),
            command: over.command.or(base.command),
            dir: over.dir.or(base.dir),
            needs,
            account: over.account.or(base.account),
            time_limit: over.time_limit.or(base.time_limit),
            drain: over.drain.or(base.drain),
            match_text: over.match_text.or(base.match_text),
            logs: over.logs.or(base.logs),
            halt: over.halt.or(base.halt),
            starts: over.starts.or(base.starts),
        };
        Agent::new(&self.name, keys)
    }
}

/// The class that a name has by itself.
pub fn class_of(name: &str) -> Option<Class> {
    match name {
        "dev" => Some(Class::Dev),
        "review" => Some(Class::Review),
        "supervisor" => Some(Class::Supervisor),
        _ => None,
    }
}

/// `keys` with the agents that exist without being named.
pub fn with_built_in(keys: BTreeMap<String, AgentKeys>) -> BTreeMap<String, Agent> {
    let mut keys = keys;
    for name in BUILT_IN {
        keys.entry(name.to_owned()).or_default();
    }
    keys.into_iter().map(|(name, keys)| (name.clone(), Agent::new(&name, keys))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_agents_have_the_documented_reservations() {
        let agents = with_built_in(BTreeMap::new());
        let memory: Vec<String> = agents.values().map(|agent| agent.needs.memory.to_string()).collect();
        assert_eq!(agents.keys().collect::<Vec<_>>(), ["dev", "review", "supervisor"]);
        assert_eq!(memory, ["3GiB", "1GiB", "512MiB"]);
        assert!(agents.values().all(|agent| agent.start == Start::Factory && agent.command.is_none()));
        let dev = &agents["dev"];
        // As the docstrings of the keys say.
        assert_eq!([dev.time_limit, dev.drain, dev.every].map(|span| span.to_string()), ["4h", "2h", "10m"]);
        assert_eq!((dev.needs.cpu, agents["review"].needs.cpu, agents["supervisor"].needs.cpu), (1.5, 0.5, 0.5));
        assert_eq!(agents["dev"].halt, Halt::File("~/.factory/halt/dev".to_owned()));
    }

    #[test]
    fn a_repo_overlays_key_by_key() {
        let base = AgentKeys {
            dir: Some("~/x".to_owned()),
            needs: Some(NeedsKeys { memory: Some(Bytes(1 << 30)), cpu: Some(2.0) }),
            ..AgentKeys::default()
        };
        let over =
            AgentKeys { needs: Some(NeedsKeys { memory: Some(Bytes(4 << 30)), cpu: None }), ..AgentKeys::default() };
        let agent = Agent::new("dev", base).overlaid(over);
        assert_eq!((agent.needs.memory, agent.needs.cpu), (Bytes(4 << 30), 2.0));
        assert_eq!(agent.dir.as_deref(), Some("~/x"));
        // A class of its own brings that class's reservation, since none was written.
        let review = Agent::new("dev", AgentKeys::default())
            .overlaid(AgentKeys { class: Some(Class::Review), ..AgentKeys::default() });
        assert_eq!(review.needs.memory, Bytes(1 << 30));
    }
}
