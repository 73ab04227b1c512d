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
        // A run that has not begun may have its place there already.
        let mut sample = looked.sample.clone();
        sample.runs.iter_mut().for_each(|runs| runs.retain(|run| run.token != claim.token));
        let reserved = |claim: &Claim| self.reservations.of_run(Some(&claim.repo), Some(&claim.agent));
        let limits = self.limits(&claim.host)?;
        let shown = |claim: &Claim| sample.runs.iter().flatten().any(|run| run.token == claim.token);
        // What was claimed since the host was looked at, or is lost: nobody can tell that it does not run there.
        let others = document.claims.values().filter(|other| other.host == claim.host && other.token != claim.token);
        let claimed = others.filter(|other| !shown(other)).map(|other| Live::placed(reserved(other)));
        running(&sample, &self.reservations)
            .and_then(|mut live| {
                live.extend(claimed);
                room(&sample, looked.age(), &live, reserved(claim), limits, self.policy())
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::error::Diagnostics;
    use crate::inventory::locate::{Found, Location};
    use crate::policy::claim;
    use crate::remote::sample::{Mem, Run};

    fn inventory() -> Inventory {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            ("hosts.yml", "all: {hosts: {one: {factory_slots: 1}, two: {}}}\n"),
            ("repos.yml", "repos: {harb: {slug: a/harb, ci: none}, away: {slug: a/away, ci: none, hosts: two}}\n"),
            ("factory.yml", "agents: {dev: {command: [run], needs: {memory: 1GiB}}}\n"),
        ];
        files.iter().for_each(|(name, text)| std::fs::write(dir.path().join(name), text).unwrap());
        let at = dir.path().to_path_buf();
        let location = Location { hosts_yml: at.join("hosts.yml"), dir: at, found: Found::Named };
        Inventory::load(location, &mut Diagnostics::default()).unwrap()
    }

    fn claim(token: &str) -> Claim {
        Claim { token: token.to_owned(), host: "one".to_owned(), ..claim::tests::claim(false) }
    }

    #[test]
    fn a_run_that_is_about_to_begin_is_not_in_its_own_way() {
        let (inventory, mut document) = (inventory(), Document::new("solo", 1).unwrap());
        let capacity = Capacity::of(&inventory);
        let mut sample = Sample::unknown("one", Timestamp::UNIX_EPOCH);
        (sample.boot_id, sample.uptime_s, sample.cores) = (Some("a".to_owned()), Some(9.0), Some(4));
        sample.mem = Some(Mem { total: Some(4 << 30), available: Some(2 << 30) });
        sample.runs = Some(vec![Run { token: "t1".to_owned(), state: "CREATED".to_owned(), ..Run::default() }]);
        let looked = Looked { sample, asked: boot_clock().seconds };
        let fits = |document: &Document, token: &str| capacity.fits(document, &claim(token), &looked);
        fits(&document, "t1").unwrap();
        assert!(fits(&document, "t2").is_err());
        document.claims.insert("harb#7".to_owned(), claim("t1"));
        fits(&document, "t1").unwrap();
        document.claims.insert("harb#8".to_owned(), claim("t3"));
        assert!(fits(&document, "t1").is_err(), "the slot is another one's");
    }

    #[test]
    fn a_new_ledger_knows_a_host_once_it_was_heard_or_left() {
        let (inventory, mut document) = (inventory(), Document::new("solo", 1).unwrap());
        let capacity = Capacity::of(&inventory);
        assert_eq!(capacity.unknown(&document, "harb"), ["one", "two"]);
        assert_eq!(capacity.unknown(&document, "away"), ["two"]);
        document.hosts.entry("two".to_owned()).or_default().heard = true;
        assert_eq!((capacity.unknown(&document, "harb"), capacity.all_known(&document)), (vec!["one"], false));
        let left = crate::ledger::Left { at: Timestamp::UNIX_EPOCH, by: "anna".to_owned() };
        document.hosts.entry("one".to_owned()).or_default().left = Some(left);
        assert!(capacity.unknown(&document, "harb").is_empty() && capacity.all_known(&document));
    }
}
