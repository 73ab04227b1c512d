//! Agents that fit on none of their hosts, whatever runs there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Limits, Memory, Reservations, Reserved, memory};
use crate::inventory::Inventory;
use crate::inventory::agents::{Agent, Start, Work};
use crate::inventory::repos::Repo;
use crate::inventory::units::Bytes;

/// An agent that can never be launched. Prints as one line with the numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The agent.
    pub agent: String,
    /// The repo, or `*`.
    pub repo: String,
    /// The sum on the host that lacks least, if nothing ran there.
    pub best: Memory,
}

/// For people.
impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = if self.repo == "*" { String::new() } else { format!(" of repo `{}`", self.repo) };
        let Memory { host, available, .. } = &self.best;
        write!(f, "agent `{}`{of} fits on none of its hosts, even if nothing else ran there; ", self.agent)?;
        write!(f, "on {host}: {} in all, {}", Bytes(*available), self.best.parts())
    }
}

/// The agents that we are to launch and whose `needs.memory` is too large for each of their hosts; `totals` is what the
/// hosts have, in bytes. Nothing is said of an agent that may run on a host whose memory is not known. An agent that many
/// repos have alike is told once.
pub fn unfit(inventory: &Inventory, totals: &BTreeMap<String, u64>) -> Vec<Unfit> {
    let reservations = Reservations::new(&inventory.settings, &inventory.repos);
    let repos = &inventory.repos;
    let admitted: BTreeMap<&str, BTreeSet<&str>> =
        repos.repos.iter().map(|repo| (&*repo.name, hosts(inventory, repo))).collect();
    let usable = inventory.hosts.iter().filter(|host| !host.problem && host.slots != Some(0));
    let limits: BTreeMap<&str, Limits> = usable
        .map(|host| {
            let may = |repo: &str| admitted.get(repo).is_some_and(|hosts| hosts.contains(&*host.name));
            (&*host.name, Limits::of(host, &reservations, may))
        })
        .collect();
    let alone = repos.repos.is_empty() && repos.broken.is_empty();
    let bare = inventory.settings.agents.values().filter(|agent| alone || agent.work == Work::Schedule);
    let at_repos = repos.repos.iter().flat_map(|repo| repo.agents.values().map(|agent| (&*repo.name, agent)));
    let mut told: BTreeSet<(&str, u64, Vec<&str>)> = BTreeSet::new();
    let mut unfit = Vec::new();
    for (repo, agent) in bare.map(|agent| ("*", agent)).chain(at_repos).filter(|(_, agent)| launched(agent)) {
        let own = admitted.get(repo);
        let here = limits.iter().filter(|(host, _)| own.is_none_or(|own| own.contains(*host)));
        let here: Vec<(&str, Limits)> = here.map(|(host, limits)| (*host, *limits)).collect();
        let sum = |(host, limits): &(&str, Limits)| {
            let total = *totals.get(*host)?;
            let (wanted, policy) = (Reserved::of(agent), &inventory.settings.policy);
            Some(memory((*host).to_owned(), total, total, &[], wanted, *limits, policy))
        };
        let sums: Option<Vec<Memory>> = here.iter().map(sum).collect();
        let best = sums.unwrap_or_default().into_iter().min_by_key(Memory::short);
        let Some(best) = best.filter(|best| best.short() > 0) else { continue };
        if told.insert((&agent.name, agent.needs.memory.0, here.into_iter().map(|(host, _)| host).collect())) {
            unfit.push(Unfit { agent: agent.name.clone(), repo: repo.to_owned(), best });
        }
    }
    unfit
}

/// The hosts where the agents of a repo may run.
fn hosts<'a>(inventory: &'a Inventory, repo: &Repo) -> BTreeSet<&'a str> {
    let all = match &repo.hosts {
        Some(pattern) => inventory.hosts.select(&pattern.value).unwrap_or_default(),
        None => inventory.hosts.iter().collect(),
    };
    all.into_iter().map(|host| &*host.name).collect()
}

/// Whether we are ever to launch it.
fn launched(agent: &Agent) -> bool {
    agent.start == Start::Factory && agent.command.is_some()
}
