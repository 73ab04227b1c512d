//! What one file says of another: patterns that must match hosts, candidates that must be hosts.

use super::Inventory;
use super::repos::Repo;
use super::settings::Placed;
use crate::error::{Diagnostic, Diagnostics, Error};

/// Checks what the files say of each other. A repo whose pattern matches no host joins the broken ones; says whether
/// the rest can be used.
pub(super) fn check(inventory: &mut Inventory, problems: &mut Diagnostics) -> bool {
    let hosts = &inventory.hosts;
    let repos = &mut inventory.repos;
    repos.repos.retain(|repo| {
        let Some(Placed { value, place }) = &repo.hosts else { return true };
        let Err(error) = hosts.select(value) else { return true };
        problems.push(placed(format!("`repos.{}.hosts`: {error}", repo.name), place, &error));
        repos.broken.push(repo.name.clone());
        false
    });
    let mut usable = true;
    for Placed { value, place } in &inventory.settings.candidates {
        if hosts.get(value).is_some() {
            continue;
        }
        let help = match hosts.select(value) {
            Ok(_) => "candidates are hosts by name: a group or a pattern cannot lead".to_owned(),
            Err(error) => error.advice().unwrap_or("name a host of hosts.yml").to_owned(),
        };
        let message = format!("`candidates`: there is no host `{value}` in hosts.yml");
        problems.push(Diagnostic::error(message).at(&place.source, place.span).help(help));
        usable = false;
    }
    usable
}

impl Inventory {
    /// Whether the agents of `repo` may run on `host`, by the repo's `hosts`.
    pub fn admits(&self, repo: &Repo, host: &str) -> bool {
        repo.hosts
            .as_ref()
            .is_none_or(|hosts| self.hosts.select(&hosts.value).is_ok_and(|all| all.iter().any(|one| one.name == host)))
    }
}

/// Repos whose runs share a login on some host can read each other's environment: the kernel shows it to its owner.
pub fn shared_logins(inventory: &Inventory) -> Vec<Diagnostic> {
    let mut shared = Vec::new();
    for host in inventory.hosts.iter() {
        let repos = inventory.repos.repos.iter().filter(|repo| inventory.admits(repo, &host.name));
        let names: Vec<&str> = repos.map(|repo| repo.name.as_str()).collect();
        if names.len() > 1 && !shared.iter().any(|(known, _)| *known == names) {
            shared.push((names, host.name.as_str()));
        }
    }
    let told = shared.into_iter().map(|(names, host)| {
        Diagnostic::warning(format!("the repos {} share a login on {host}", names.join(", "))).help(
            "their runs can read each other's tokens; where they must not, give them hosts with different ansible_user",
        )
    });
    told.collect()
}

fn placed(message: String, place: &crate::error::Place, error: &Error) -> Diagnostic {
    let problem = Diagnostic::error(message).at(&place.source, place.span);
    match error.advice() {
        Some(advice) => problem.help(advice),
        None => problem,
    }
}
