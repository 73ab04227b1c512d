//! The ways out of what a host refuses: another fleet's host becomes ours, a lost ledger takes up its fleet again, a lost
//! epoch is made anew.

use std::sync::Arc;

use jiff::Timestamp;

use super::Progress;
use super::hand::{Acted, Place};
use super::lead::{boot_clock, lead};
use super::manual::Order;
use crate::error::{Error, Result};
use crate::ledger::{Change, Document, Ledger};
use crate::policy::claim::strays;
use crate::remote::guard::Op;
use crate::remote::sample::{Fence, Sample};

/// What came of it.
#[derive(Debug)]
pub struct Adopted {
    /// The fleet that the hosts obey now.
    pub fleet: String,
    /// The epoch of who leads.
    pub epoch: u64,
    /// By host, in the order of the inventory.
    pub hosts: Vec<(String, Acted)>,
}

impl Order<'_> {
    /// One sample of each of these hosts, in the order of the inventory.
    pub async fn look_at(&self, names: &[String], report: &dyn Fn(&Progress)) -> Vec<Sample> {
        self.samples(|name| names.iter().any(|wanted| wanted == name), report).await
    }

    /// Makes these hosts ours, at an epoch above every one that they have seen.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn adopt(&self, samples: &[Sample], places: Vec<Place>) -> Result<Adopted> {
        let ledger = Arc::new(Ledger::open(&self.state)?);
        lead(&ledger, &self.me, Timestamp::now(), &boot_clock()).await?;
        let highest = fences(samples).filter_map(|(_, fence)| fence.epoch).max().unwrap_or(0);
        self.above(&ledger, highest).await?;
        self.all(&ledger, places, Op::Adopt).await
    }

    /// Takes up the fleet that all these hosts obey, for a ledger that was lost, and raises every fence above theirs.
    ///
    /// # Errors
    /// When the ledger is not empty, the hosts obey several fleets or none, or one of them did not answer: it could have
    /// seen a higher epoch.
    pub async fn take_up(&self, samples: &[Sample], places: Vec<Place>) -> Result<Adopted> {
        let silent: Vec<&str> =
            samples.iter().filter(|sample| sample.missing.is_some()).map(|sample| sample.host.as_str()).collect();
        if !silent.is_empty() {
            return Err(Error::new(crate::exit::Exit::Unreachable, format!("{} did not answer", silent.join(", ")))
                .help("all hosts must be heard; take those that are gone for good out of the inventory"));
        }
        let mut fleets: Vec<String> = fences(samples).filter_map(|(_, fence)| fence.fleet.clone()).collect();
        fleets.sort();
        fleets.dedup();
        let [fleet] = fleets.as_slice() else {
            return Err(match fleets.is_empty() {
                true => Error::failed("none of the hosts obeys a fleet yet")
                    .help("there is nothing to take up: `factory run` begins anew"),
                false => Error::failed(format!("the hosts obey {} fleets", fleets.len()))
                    .help("adopt those that are to be yours one by one: `factory host adopt HOST`"),
            });
        };
        let highest = fences(samples).filter_map(|(_, fence)| fence.epoch).max().unwrap_or(0);
        let ledger = Arc::new(Ledger::open(&self.state)?);
        ledger
            .change(|old| {
                let mut document = old.map_or_else(|| Document::new(&self.me, 1), |old| Ok(old.clone()))?;
                // Holds made since the loss are kept; hosts of its own it must not have.
                let used = document.hosts.values().any(|entry| entry.id.is_some() && !entry.doubted);
                if document.fleet != *fleet && used {
                    return Err(Error::failed("this ledger is not empty: it has hosts of its own")
                        .help("adopt the hosts one by one: `factory host adopt HOST`"));
                }
                fleet.clone_into(&mut document.fleet);
                document.acquire(&self.me, highest)?;
                // What runs there holds its task from now on.
                for sample in samples {
                    let runs = sample.runs.as_deref().unwrap_or_default();
                    let strays = strays(&document.claims, &sample.host, fleet, runs, Timestamp::now());
                    for (_, task, claim) in strays {
                        document.claims.entry(task).or_insert(claim);
                    }
                }
                Ok(Change::To(document, ()))
            })
            .await?;
        self.all(&ledger, places, Op::Seal).await
    }

    /// Gives each host whose epoch is lost or damaged a new one, and raises our own to the highest of these.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn repair(&self, places: Vec<Place>) -> Result<Adopted> {
        let ledger = Arc::new(Ledger::open(&self.state)?);
        lead(&ledger, &self.me, Timestamp::now(), &boot_clock()).await?;
        let mut repaired = self.all(&ledger, places, Op::Repair).await?;
        let highest = repaired.hosts.iter().filter_map(|(_, acted)| acted.epoch).max().unwrap_or(0);
        // The host's new epoch is ours: from now on we lead at it.
        repaired.epoch = self.above(&ledger, highest.saturating_sub(1)).await?;
        Ok(repaired)
    }

    /// Leads at an epoch above `seen`; gives it.
    async fn above(&self, ledger: &Ledger, seen: u64) -> Result<u64> {
        let (_, epoch) = ledger
            .change(|old| {
                let mut document = old.map_or_else(|| Document::new(&self.me, 1), |old| Ok(old.clone()))?;
                if document.lease.epoch > seen {
                    return Ok(Change::Nothing(document.lease.epoch));
                }
                let epoch = document.acquire(&self.me, seen)?;
                Ok(Change::To(document, epoch))
            })
            .await?;
        Ok(epoch)
    }

    async fn all(&self, ledger: &Arc<Ledger>, places: Vec<Place>, op: Op) -> Result<Adopted> {
        let missing = || Error::failed("the ledger is empty after a write");
        let (_, document) = ledger.read().await?.ok_or_else(missing)?;
        let hosts = self.act(ledger, &document, places, move |_, _| vec![op.clone()]).await;
        let (_, document) = ledger.read().await?.ok_or_else(missing)?;
        Ok(Adopted { fleet: document.fleet, epoch: document.lease.epoch, hosts })
    }
}

fn fences(samples: &[Sample]) -> impl Iterator<Item = (&str, &Fence)> {
    samples.iter().filter_map(|sample| Some((sample.host.as_str(), sample.fence.as_ref()?)))
}
