//! `factory.yml`: agents, accounts, policy, wake, candidates, ledger, alerts and every number.

mod alerts;
mod check;
mod ledger;
mod timing;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use alerts::{Alerts, Heartbeat, Sink};
pub(crate) use check::Check;
pub use ledger::{Lease, LeaseKeys, Ledger};
pub use timing::{Forges, Guard, Logs, Ssh, Wake, WakeMode};

use super::agents::{self, Agent, AgentKeys};
use super::de::{self, Document, words};
use super::name;
use super::policy::Policy;
use super::units::Span;
use crate::error::{Diagnostics, Place, SourceFile};

/// So many seconds.
pub(crate) fn seconds(seconds: u64) -> Span {
    Span(Duration::from_secs(seconds))
}

/// A value with its place, for what can only be checked against other files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

/// A budget that runs on all hosts share, since they use one credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// How many runs may use it at once, over all hosts.
    #[serde(deserialize_with = "words::at_least_one")]
    #[schemars(range(min = 1))]
    pub max_runs: u32,
}

/// The keys of `factory.yml`, as written.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "factory.yml")]
pub struct FactoryFile {
    /// The name of this set of hosts and repos: names the state directory and our block in crontabs.
    #[serde(default = "fleet", deserialize_with = "name::text")]
    #[schemars(with = "name::Name")]
    pub fleet: String,
    /// The agents by name. `dev`, `review` and `supervisor` exist by default.
    #[serde(default, deserialize_with = "name::map")]
    #[schemars(with = "BTreeMap<name::Name, AgentKeys>")]
    pub agents: BTreeMap<String, AgentKeys>,
    /// Budgets per credential, over all hosts: `claude-main: {max_runs: 2}`.
    #[serde(default, deserialize_with = "name::map")]
    #[schemars(with = "BTreeMap<name::Name, Account>")]
    pub accounts: BTreeMap<String, Account>,
    /// The numbers of the pressure ladder.
    #[serde(default)]
    pub policy: Policy,
    /// When to look again.
    #[serde(default)]
    pub wake: Wake,
    /// The inventory hosts that may lead. Default: this machine alone.
    #[serde(default)]
    pub candidates: Vec<String>,
    /// The store of the shared document: `{kind: sqlite}`, `{kind: git, url: ...}` or `{kind: etcd, endpoints: [...]}`.
    #[serde(default)]
    pub ledger: Ledger,
    /// Who is told, how often, and the dead man's switch.
    #[serde(default)]
    pub alerts: Alerts,
    /// Connections to hosts.
    #[serde(default)]
    pub ssh: Ssh,
    /// Calls to forges and CI servers.
    #[serde(default)]
    pub forges: Forges,
    /// What changes a host.
    #[serde(default)]
    pub guard: Guard,
    /// The logs that are kept here.
    #[serde(default)]
    pub logs: Logs,
    /// The lease of the leader.
    #[serde(default)]
    pub lease: LeaseKeys,
}

fn fleet() -> String {
    "default".to_owned()
}

/// `factory.yml` with every default filled in; [`Default`] is what an empty one means.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names the state directory and our block in crontabs.
    pub fleet: String,
    /// The agents by name, the built-in ones among them.
    pub agents: BTreeMap<String, Agent>,
    /// Budgets per credential.
    pub accounts: BTreeMap<String, Account>,
    /// The numbers of the pressure ladder.
    pub policy: Policy,
    /// When to look again.
    pub wake: Wake,
    /// The inventory hosts that may lead, each with its place; empty: this machine.
    pub candidates: Vec<Placed<String>>,
    /// The store of the shared document.
    pub ledger: Ledger,
    /// Who is told.
    pub alerts: Alerts,
    /// Connections to hosts.
    pub ssh: Ssh,
    /// Calls to forges and CI servers.
    pub forges: Forges,
    /// What changes a host.
    pub guard: Guard,
    /// The logs that are kept here.
    pub logs: Logs,
    /// The lease of the leader, its defaults by the kind of ledger.
    pub lease: Lease,
}

impl Default for Settings {
    fn default() -> Self {
        Settings::new(FactoryFile { fleet: fleet(), ..FactoryFile::default() }, Vec::new())
    }
}

impl Settings {
    /// Reads `factory.yml`. An empty or absent file is every default; `None` when it is not YAML or has any error, all
    /// of which are in `problems` then. Warnings do not prevent it.
    pub fn load(factory_yml: &Path, problems: &mut Diagnostics) -> Option<Settings> {
        let (settings, whole) = Settings::read(factory_yml, problems);
        settings.filter(|_| whole)
    }

    /// [`Settings::load`] that gives what could be read of a file with errors too, so that `repos.yml` can be checked
    /// against it in the same go; whether it is whole comes second. Never act on one that is not.
    pub fn read(factory_yml: &Path, problems: &mut Diagnostics) -> (Option<Settings>, bool) {
        match Document::open_if_there(factory_yml) {
            Ok(Some(document)) => Settings::from_document(&document, problems),
            Ok(None) => (Some(Settings::default()), true),
            Err(problem) => {
                problems.push(problem);
                (None, false)
            }
        }
    }

    /// [`Settings::read`] of a text.
    pub fn parse(source: Arc<SourceFile>, problems: &mut Diagnostics) -> (Option<Settings>, bool) {
        match Document::parse(source) {
            Ok(document) => Settings::from_document(&document, problems),
            Err(problem) => {
                problems.push(problem);
                (None, false)
            }
        }
    }

    fn from_document(document: &Document, problems: &mut Diagnostics) -> (Option<Settings>, bool) {
        let Some(root) = &document.root else { return (Some(Settings::default()), true) };
        let reading = de::read::<FactoryFile>(document, root, "", root.span, false);
        let Some(file) = reading.value else {
            let mut found = reading.problems;
            de::conceal(&mut found);
            problems.extend(found);
            return (None, false);
        };
        let mut found = reading.problems;
        check::factory(document, root, &file, &mut found);
        found.sort_by_key(|problem| problem.place.as_ref().map_or(0, |place| place.span.start));
        de::conceal(&mut found);
        let whole = found.iter().all(|problem| problem.level != crate::error::Level::Error);
        problems.extend(found);
        let mut seen = BTreeSet::new();
        let candidates = file
            .candidates
            .iter()
            .enumerate()
            .filter(|(_, name)| seen.insert((*name).clone()))
            .map(|(index, name)| Placed {
                value: name.clone(),
                place: document.place(&["candidates", &index.to_string()]),
            })
            .collect();
        (Some(Settings::new(file, candidates)), whole)
    }

    fn new(file: FactoryFile, candidates: Vec<Placed<String>>) -> Settings {
        Settings {
            fleet: file.fleet,
            agents: agents::with_built_in(file.agents),
            accounts: file.accounts,
            policy: file.policy,
            wake: file.wake,
            candidates,
            lease: Lease::new(&file.lease, &file.ledger),
            ledger: file.ledger,
            alerts: file.alerts,
            ssh: file.ssh,
            forges: file.forges,
            guard: Guard { critical: file.policy.critical, ..file.guard },
            logs: file.logs,
        }
    }
}

#[cfg(test)]
mod tests;
