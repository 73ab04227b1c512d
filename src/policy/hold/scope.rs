//! What a hold is about: hosts, repo and agent, and how two of these lie to each other.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Some of a kind by name, or `*`: all of it, also what comes later. In JSON `"*"` or a list of names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pick {
    /// `*`.
    All,
    /// These.
    Names(BTreeSet<String>),
}

impl Pick {
    /// One by name.
    pub fn one(name: impl Into<String>) -> Pick {
        Pick::Names(BTreeSet::from([name.into()]))
    }

    /// Whether `name` is among them.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Pick::All => true,
            Pick::Names(names) => names.contains(name),
        }
    }

    /// Whether all of them are among `other`, also those to come.
    pub fn inside(&self, other: &Pick) -> bool {
        match (self, other) {
            (_, Pick::All) => true,
            (Pick::All, Pick::Names(_)) => false,
            (Pick::Names(names), Pick::Names(others)) => names.is_subset(others),
        }
    }

    /// Whether any is among both.
    pub fn meets(&self, other: &Pick) -> bool {
        match (self, other) {
            (Pick::All, Pick::All) => true,
            (Pick::All, Pick::Names(names)) | (Pick::Names(names), Pick::All) => !names.is_empty(),
            (Pick::Names(names), Pick::Names(others)) => !names.is_disjoint(others),
        }
    }
}

/// `*`, or the names with commas.
impl std::fmt::Display for Pick {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pick::All => f.write_str("*"),
            Pick::Names(names) => f.write_str(&names.iter().map(String::as_str).collect::<Vec<_>>().join(",")),
        }
    }
}

impl Serialize for Pick {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Pick::All => serializer.serialize_str("*"),
            Pick::Names(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Pick {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pick, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Word(String),
            Names(BTreeSet<String>),
        }
        match Form::deserialize(deserializer)? {
            Form::Word(word) if word == "*" => Ok(Pick::All),
            Form::Word(word) => Err(de::Error::custom(format_args!("`{word}` is neither `*` nor a list of names"))),
            Form::Names(names) => Ok(Pick::Names(names)),
        }
    }
}

/// What is held.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Host names.
    pub hosts: Pick,
    /// Repos.
    pub repo: Pick,
    /// Agents; `*` is all but those of class supervisor.
    pub agent: Pick,
    /// With every agent, those of class supervisor too: only `--all` holds them so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub supervisor: bool,
}

impl Scope {
    /// Everything, supervisors too: `--all`.
    pub fn everything() -> Scope {
        Scope { hosts: Pick::All, repo: Pick::All, agent: Pick::All, supervisor: true }
    }

    /// Whether it holds this agent, which is of class supervisor or not.
    pub fn holds_agent(&self, agent: &str, supervisor: bool) -> bool {
        match &self.agent {
            Pick::All => self.supervisor || !supervisor,
            Pick::Names(names) => names.contains(agent),
        }
    }

    /// Whether everything that it holds, now and later, is in `other`.
    pub fn inside(&self, other: &Scope, is_supervisor: impl Fn(&str) -> bool) -> bool {
        let agents = match (&self.agent, &other.agent) {
            (Pick::All, Pick::All) => other.supervisor || !self.supervisor,
            (Pick::All, Pick::Names(_)) => false,
            (Pick::Names(names), _) => names.iter().all(|name| other.holds_agent(name, is_supervisor(name))),
        };
        agents && self.hosts.inside(&other.hosts) && self.repo.inside(&other.repo)
    }

    /// Whether anything is held by both.
    pub fn meets(&self, other: &Scope, is_supervisor: impl Fn(&str) -> bool) -> bool {
        let agents = match (&self.agent, &other.agent) {
            (Pick::All, Pick::All) => true,
            (Pick::Names(names), _) => names.iter().any(|name| other.holds_agent(name, is_supervisor(name))),
            (Pick::All, Pick::Names(names)) => names.iter().any(|name| self.holds_agent(name, is_supervisor(name))),
        };
        agents && self.hosts.meets(&other.hosts) && self.repo.meets(&other.repo)
    }

    /// The flags that name it, as a person types them.
    pub fn flags(&self) -> String {
        // Each name by itself: the comma between them needs no quotes.
        let quoted = |name: &String| shlex::try_quote(name).map_or(name.clone(), |quoted| quoted.into_owned());
        let flag = |flag: &str, pick: &Pick| match pick {
            Pick::All => None,
            Pick::Names(names) => Some(format!("--{flag} {}", names.iter().map(quoted).collect::<Vec<_>>().join(","))),
        };
        let flags = [flag("host", &self.hosts), flag("repo", &self.repo), flag("agent", &self.agent)];
        let flags: Vec<String> = flags.into_iter().flatten().collect();
        match (flags.is_empty(), self.supervisor) {
            (true, true) => "--all".to_owned(),
            (true, false) => "--host all".to_owned(),
            (false, _) => flags.join(" "),
        }
    }
}

/// For people: `agent dev of repo harb on beefy-1,beefy-2`.
impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.agent, self.supervisor) {
            (Pick::All, true) => f.write_str("every agent, the supervisor too,")?,
            (Pick::All, false) => f.write_str("every agent")?,
            (names, _) => write!(f, "agent {names}")?,
        }
        if let Pick::Names(_) = &self.repo {
            write!(f, " of repo {}", self.repo)?;
        }
        match &self.hosts {
            Pick::All => f.write_str(" on every host"),
            hosts => write!(f, " on {hosts}"),
        }
    }
}
