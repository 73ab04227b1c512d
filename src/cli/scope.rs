//! The flags that say what a hold is about, shared by `halt` and `resume`.

use std::collections::BTreeSet;

use super::context::Context;
use crate::error::{Error, Result};
use crate::inventory::Inventory;
use crate::policy::hold::{Hold, Pick, Scope};

/// What is held or released; at least one of these.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "What (at least one)")]
pub(super) struct ScopeArgs {
    /// Hosts: names, groups, patterns; `all` also means hosts to come
    #[arg(long, value_name = "PATTERN")]
    pub host: Option<String>,
    /// Repos by name
    #[arg(long, value_name = "REPO", value_delimiter = ',')]
    pub repo: Vec<String>,
    /// Agents by name; without it all of them but those of class supervisor
    #[arg(long, value_name = "AGENT", value_delimiter = ',')]
    pub agent: Vec<String>,
    /// Everything everywhere, the supervisor too
    #[arg(long, conflicts_with_all = ["host", "repo", "agent"])]
    pub all: bool,
}

impl ScopeArgs {
    /// The scope, hosts by the names that they have now. `held` are names that count although the inventory does not
    /// have them any more.
    ///
    /// # Errors
    /// Exit 2 without any flag; exit 3 for a name that nothing has.
    pub fn scope(&self, context: &Context, inventory: &Inventory, held: &[Hold]) -> Result<Scope> {
        let limit = context.global.limit.as_deref();
        if self.all && limit.is_none() {
            return Ok(Scope::everything());
        }
        if !self.all && self.host.is_none() && self.repo.is_empty() && self.agent.is_empty() && limit.is_none() {
            return Err(Error::usage("which hosts, repos or agents?")
                .help("name at least one: `--host PATTERN`, `--repo NAME`, `--agent NAME`; or `--all`"));
        }
        // A variable of a script that is not set must not stand for every host.
        if [self.host.as_deref(), limit].into_iter().flatten().any(|pattern| pattern.trim().is_empty()) {
            return Err(Error::usage("an empty pattern names no host").help("`--host all` names every host"));
        }
        let mut hosts = hosts(self.host.as_deref(), inventory, held)?;
        if let Some(limit) = limit {
            let only = names(inventory.hosts.select(limit)?.iter().map(|host| host.name.clone()));
            hosts = match hosts {
                Pick::All => Pick::Names(only),
                Pick::Names(named) => Pick::Names(&named & &only),
            };
            if hosts == Pick::Names(BTreeSet::new()) {
                return Err(Error::inventory(format!("`--limit {limit}` leaves none of these hosts")));
            }
        }
        let known = inventory.repos.repos.iter().map(|repo| &repo.name).chain(&inventory.repos.broken);
        let repo = pick("repo", &self.repo, known, held.iter().map(|hold| &hold.scope.repo))?;
        let agents = inventory.settings.agents.keys();
        let agent = pick("agent", &self.agent, agents, held.iter().map(|hold| &hold.scope.agent))?;
        Ok(Scope { hosts, repo, agent, supervisor: self.all })
    }

    /// The flags again, to be sent to another machine.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut flag = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
        self.host.iter().for_each(|host| flag("--host", host));
        self.repo.iter().for_each(|repo| flag("--repo", repo));
        self.agent.iter().for_each(|agent| flag("--agent", agent));
        if self.all {
            words.push("--all".to_owned());
        }
        words
    }
}

fn names(names: impl Iterator<Item = String>) -> BTreeSet<String> {
    names.collect()
}

fn hosts(pattern: Option<&str>, inventory: &Inventory, held: &[Hold]) -> Result<Pick> {
    let Some(pattern) = pattern else { return Ok(Pick::All) };
    if matches!(pattern.trim(), "all" | "*") {
        return Ok(Pick::All);
    }
    let selected = inventory.hosts.select(pattern);
    let gone =
        |name: &&str| held.iter().any(|hold| matches!(&hold.scope.hosts, Pick::Names(names) if names.contains(*name)));
    match selected {
        Ok(hosts) => Ok(Pick::Names(names(hosts.iter().map(|host| host.name.clone())))),
        Err(_) if pattern.split(',').map(str::trim).all(|name| gone(&name)) => {
            Ok(Pick::Names(names(pattern.split(',').map(|name| name.trim().to_owned()))))
        }
        Err(error) => Err(error),
    }
}

fn pick<'a>(
    what: &str,
    wanted: &[String],
    known: impl Iterator<Item = &'a String>,
    held: impl Iterator<Item = &'a Pick>,
) -> Result<Pick> {
    if wanted.is_empty() {
        return Ok(Pick::All);
    }
    let known: Vec<&String> = known.collect();
    let held: BTreeSet<&String> = held
        .filter_map(|pick| match pick {
            Pick::Names(names) => Some(names),
            Pick::All => None,
        })
        .flatten()
        .collect();
    for name in wanted.iter().filter(|name| !held.contains(name)) {
        self::known(what, name, known.iter().map(|name| name.as_str()))?;
    }
    Ok(Pick::Names(wanted.iter().cloned().collect()))
}

/// A name must be one of `known`.
///
/// # Errors
/// Exit 3 with what may be meant.
pub(super) fn known<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Result<()> {
    let known: Vec<&str> = known.collect();
    if known.contains(&name) {
        return Ok(());
    }
    let distance = |known: &&&str| strsim::damerau_levenshtein(known, name);
    let help = match known.iter().filter(|known| distance(known) <= 2).min_by_key(distance) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("the inventory has no {what}s"),
        None => format!("the inventory has {}", known.join(", ")),
    };
    Err(Error::inventory(format!("no {what} is called `{name}`")).help(help))
}
