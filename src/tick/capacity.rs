//! Whether a host has room for one more run, by what the inventory allows and by what the host shows.

use std::time::Duration;

use super::lead::boot_clock;
use crate::error::{Error, Result};
use crate::inventory::Inventory;
use crate::inventory::policy::Policy;
use crate::ledger::Document;
use crate::policy::claim::Claim;
use crate::policy::room::{Limits, Live, Reservations, room, running};
use crate::remote::sample::Sample;

fn is_known(document: &Document, host: &str) -> bool {
    document.hosts.get(host).is_some_and(|entry| entry.left.is_some() || entry.heard)
}

/// What an inventory says of the room on its hosts.
pub struct Capacity<'a> {
    inventory: &'a Inventory,
    reservations: Reservations,
}

/// What a host showed.
#[derive(Clone, Debug)]
pub struct Looked {
    /// It.
    pub sample: Sample,
    /// When it was asked, by the controller's boot clock, in seconds.
    pub asked: f64,
}

impl Looked {
    /// How old it is.
    pub fn age(&self) -> Duration {
        Duration::try_from_secs_f64(boot_clock().seconds - self.asked).unwrap_or_default()
    }
}

impl<'a> Capacity<'a> {
    /// That of `inventory`.
    pub fn of(inventory: &'a Inventory) -> Capacity<'a> {
        Capacity { inventory, reservations: Reservations::new(&inventory.settings, &inventory.repos) }
    }

    /// The numbers to judge by.
    pub fn policy(&self) -> &Policy {
        &self.inventory.settings.policy
    }

    /// Whether every host has been looked at under this ledger, or given up: then it knows all that runs.
    pub fn all_known(&self, document: &Document) -> bool {
        self.inventory.hosts.iter().all(|host| is_known(document, &host.name))
    }

    /// The hosts where agents of `repo` may run and which nobody looked at under this ledger.
    pub fn unknown(&self, document: &Document, repo: &str) -> Vec<&str> {
        let Some(repo) = self.inventory.repos.get(repo) else { return Vec::new() };
        let names = self.inventory.hosts.iter().map(|host| host.name.as_str());
        names.filter(|name| self.inventory.admits(repo, name) && !is_known(document, name)).collect()
    }

    /// Whether the host of `claim` has room for its run. Other claims of `document` there count, so that of two launches
    /// at once the second sees the first.
    ///
    /// # Errors
    /// Exit 1 with the numbers when it has not, or nobody can tell; exit 3 when the inventory has no such host.
    pub fn fits(&self, document: &Document, claim: &Claim, looked: &Looked) -> Result<()> {
        let Looked { sample, .. } = looked;
        let reserved = |claim: &Claim| self.reservations.of_run(Some(&claim.repo), Some(&claim.agent));
        let limits = self.limits(&claim.host)?;
        let shown = |claim: &Claim| sample.runs.iter().flatten().any(|run| run.token == claim.token);
        // What was claimed since the host was looked at, or is lost: nobody can tell that it does not run there.
        let others = document.claims.values().filter(|other| other.host == claim.host && other.token != claim.token);
        let claimed = others.filter(|other| !shown(other)).map(|other| Live::placed(reserved(other)));
        running(sample, &self.reservations)
            .and_then(|mut live| {
                live.extend(claimed);
                room(sample, looked.age(), &live, reserved(claim), limits, self.policy())
            })
            .map_err(|no_room| Error::failed(no_room.to_string()).help(no_room.help(&claim.agent)))
    }

    /// What the host allows.
    fn limits(&self, host: &str) -> Result<Limits> {
        let may = |repo: &str| self.inventory.repos.get(repo).is_some_and(|repo| self.inventory.admits(repo, host));
        let known =
            self.inventory.hosts.get(host).ok_or_else(|| Error::inventory(format!("there is no host `{host}`")))?;
        Ok(Limits::of(known, &self.reservations, may))
    }
}
