//! Making a fleet's connections: one a host, through its jump hosts, not too many at once, again where that may help.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::super::algorithms::preferred;
use super::super::config::Wanted;
use super::super::connection::{Connection, Making, NotBegun, Stop};
use super::super::dial::{Wire, reach, resolve};
use super::super::failed::Failed;
use super::super::gate::{Gates, Pass};
use super::super::jump;
use super::super::known_hosts::KnownHosts;
use super::super::login::identity::{Stamp, stamp, unlock};
use super::super::scan::{HostKey, Opening, fetch, fetch_over};
use super::super::target::Target;
use super::super::unreached::Unreached;
use super::{Accepted, Fleet};
use crate::error::Result;

/// The first wait between two attempts; it doubles up to [`MAX_WAIT`], and half of it is chance.
const WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(2);

/// How often a passphrase is asked for before the key counts as not to be had.
const ASKED: usize = 3;

/// A connection in the making, and whether it was made just now. Boxed, since a hop needs one in turn.
type Connecting<'a> = Pin<Box<dyn Future<Output = std::result::Result<(Arc<Connection>, bool), Failed>> + Send + 'a>>;

impl Fleet {
    /// The connection at the end of `route`.
    pub(super) fn connection<'a>(&'a self, route: &'a [Wanted]) -> Connecting<'a> {
        Box::pin(async move {
            let asked = Instant::now();
            let slot = {
                let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(slots.entry(route.to_vec()).or_default())
            };
            let mut slot = slot.lock().await;
            if let Some(connection) = slot.connection.as_ref().filter(|connection| connection.is_usable()) {
                return Ok((Arc::clone(connection), false));
            }
            slot.connection = None;
            // Who waited while another failed gets the same failure: it would not be otherwise a moment later.
            if let Some((at, failed)) = &slot.failed
                && *at >= asked
            {
                return Err(failed.clone());
            }
            match self.connect(route).await {
                Ok(connection) => {
                    let connection = Arc::new(connection);
                    slot.connection = Some(Arc::clone(&connection));
                    slot.failed = None;
                    Ok((connection, true))
                }
                Err(failed) => {
                    slot.failed = Some((Instant::now(), failed.clone()));
                    Err(failed)
                }
            }
        })
    }

    /// Connects, again where that may help at once.
    async fn connect(&self, route: &[Wanted]) -> std::result::Result<Connection, Failed> {
        let Some((wanted, before)) = route.split_last() else { return Err(Failed::config(jump::circle(route))) };
        let target = self.target(wanted).await?;
        target.check_login().map_err(Failed::config)?;
        let mut left = self.0.options.connect;
        let mut tries = 0;
        loop {
            let mut spent = Duration::ZERO;
            match self.attempt(before, &target, left, &mut spent).await {
                Ok(connection) => {
                    if let Some(added) = connection.added.clone() {
                        let accepted = Accepted { host: target.name.clone(), added };
                        self.0.accepted.lock().unwrap_or_else(PoisonError::into_inner).push(accepted);
                    }
                    return Ok(connection);
                }
                // It counts as no attempt, and happens once for each key file.
                Err(Stop::Locked(path)) => {
                    self.unlock(&path).await;
                    left = self.0.options.connect;
                    continue;
                }
                Err(Stop::Failed(failed)) => {
                    tries += 1;
                    left = left.saturating_sub(spent);
                    if !failed.transient() || tries > self.0.options.retries || left.is_zero() {
                        return Err(failed);
                    }
                }
            }
            tokio::time::sleep(wait(tries)).await;
        }
    }

    /// Connects once, within `left`; tells how much of it was `spent`, without the waiting for others.
    async fn attempt(
        &self,
        before: &[Wanted],
        target: &Arc<Target>,
        left: Duration,
        spent: &mut Duration,
    ) -> std::result::Result<Connection, Stop> {
        let options = &self.0.options;
        let given = options.connect;
        let known = self.known(target).map_err(|error| Stop::Failed(Failed::unverified(error)))?;
        let (name, port) = target.known_as();
        let known = known.narrowed(name, port);
        let preferred =
            preferred(target, &known.holdings(name, port)).map_err(|error| Stop::Failed(Failed::config(error)))?;
        let unreached = |why| Stop::Failed(Failed::unreached(target, why));
        let making = |deadline| Making {
            target,
            known,
            preferred,
            accept_new: options.accept_new,
            keepalive: options.keepalive,
            keepalive_max: options.keepalive_max,
            channels: options.channels.max(1),
            files: &self.0.files,
            ask: options.ask_passphrase.is_some(),
            deadline,
            given,
        };
        let (result, pass, begun) = match before.last() {
            Some(hop) => {
                let (through, _) =
                    self.connection(before).await.map_err(|failed| Stop::Failed(failed.towards(&target.name)))?;
                let names: Vec<String> = before.iter().map(|hop| format!("{hop:?}")).collect();
                let (pass, _fork) = self.enter(&self.0.hops, &names.join(" ")).await;
                let begun = Instant::now();
                let deadline = begun + left;
                let result = match through.pass_on(&target.host, target.port, deadline).await {
                    Ok(stream) => Connection::make(stream, making(deadline)).await,
                    Err(not) => Err(unreached(not_passed_on(not, hop, &through, given))),
                };
                (result, pass, begun)
            }
            None => {
                let lookup = self.0.lookups.acquire().await;
                let asked = Instant::now();
                let addresses = resolve(target, asked + left, given).await.map_err(unreached)?;
                drop(lookup);
                let left = left.saturating_sub(asked.elapsed());
                let place = addresses.first().map(ToString::to_string).unwrap_or_default();
                let (pass, _fork) = self.enter(&self.0.sshds, &place).await;
                let begun = Instant::now();
                let deadline = begun + left;
                let result = match reach(&addresses, deadline, given).await {
                    Ok(stream) => Connection::make(stream, making(deadline)).await,
                    Err(why) => Err(unreached(why)),
                };
                (result, pass, begun)
            }
        };
        *spent = begun.elapsed();
        if matches!(&result, Err(Stop::Failed(failed)) if failed.transient()) {
            pass.turned_away();
        }
        result
    }

    async fn enter<'a>(&'a self, gates: &Gates, place: &str) -> (Pass, Option<tokio::sync::SemaphorePermit<'a>>) {
        // In this order: who waits for one busy sshd must not keep the others from theirs.
        let pass = gates.at(place).enter().await;
        (pass, self.0.forks.acquire().await.ok())
    }

    /// The keys of a host, fetched without logging in there, also from behind jump hosts (each verified and logged in
    /// to), with how the host is reached: what [`super::super::trust::judge`] wants.
    ///
    /// # Errors
    /// The host, or a hop on the way, was not reached; ssh's configuration cannot be had or is not honoured.
    pub async fn scan(&self, wanted: &Wanted) -> std::result::Result<(Arc<Target>, Vec<HostKey>), Failed> {
        let route = self.route(wanted).await?;
        let target = self.target(wanted).await?;
        target.check_login().map_err(Failed::config)?;
        let timeout = self.0.options.connect;
        let keys = match route.split_last() {
            Some((_, before @ [.., hop])) => {
                let (through, _) = self.connection(before).await.map_err(|failed| failed.towards(&target.name))?;
                let (through, target) = (&*through, &*target);
                let open = |deadline| -> Opening<'_> {
                    Box::pin(async move {
                        let stream = through.pass_on(&target.host, target.port, deadline).await;
                        stream.map(Wire::new).map_err(|not| not_passed_on(not, hop, through, timeout))
                    })
                };
                fetch_over(timeout, &open).await
            }
            _ => fetch(&target, timeout).await,
        };
        match keys {
            Ok(keys) => Ok((target, keys)),
            Err(why) => Err(Failed::unreached(&target, why)),
        }
    }

    /// The known host keys for `target`; each list of files is read once, and again when one has changed.
    fn known(&self, target: &Target) -> Result<Arc<KnownHosts>> {
        let files = target.known_hosts_files();
        let now: Vec<Stamp> = files.iter().map(|file| stamp(file)).collect();
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, hosts)) = known.get(&files)
            && *then == now
        {
            return Ok(Arc::clone(hosts));
        }
        let hosts = Arc::new(KnownHosts::load(&files)?);
        known.insert(files, (now, Arc::clone(&hosts)));
        Ok(hosts)
    }

    /// Asks for the passphrase of the key in `path`, once a process.
    async fn unlock(&self, path: &Path) {
        let _one_at_a_time = self.0.prompts.lock().await;
        let files = &self.0.files;
        if files.unlocked(path).is_some() {
            return;
        }
        let mut key = None;
        if let (Some(ask), Some(text)) = (&self.0.options.ask_passphrase, files.get(path).locked()) {
            for _ in 0..ASKED {
                let (ask, text, path) = (Arc::clone(ask), Arc::clone(&text), path.to_owned());
                // A person takes time, and so does the key derivation: neither may hold up the other hosts.
                let tried = tokio::task::spawn_blocking(move || ask(&path).map(|phrase| unlock(&text, &phrase))).await;
                match tried {
                    Ok(Some(Some(open))) => {
                        key = Some(Arc::new(open));
                        break;
                    }
                    Ok(Some(None)) => {}
                    Ok(None) | Err(_) => break,
                }
            }
        }
        files.keep(path, key);
    }
}

fn not_passed_on(not: NotBegun, hop: &Wanted, through: &Connection, given: Duration) -> Unreached {
    let cause = match not {
        NotBegun::Denied(why) => why,
        NotBegun::Gone => format!("its connection went away ({})", through.why()),
        NotBegun::Silent => {
            through.retire();
            format!("no answer within {given:?}")
        }
    };
    Unreached::NotPassedOn { hop: hop.name.clone(), cause }
}

/// The wait before the next attempt after `tries`: doubled each time, half of it chance, so that many who were turned
/// away together do not come back together.
fn wait(tries: u32) -> Duration {
    let full = WAIT.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(MAX_WAIT);
    let mut random = [0; 2];
    // Without random bytes the wait is the same each time, which only costs time.
    let _ = aws_lc_rs::rand::fill(&mut random);
    full / 2 + full.mul_f64(f64::from(u16::from_ne_bytes(random)) / f64::from(u16::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_have_a_bound() {
        for tries in 1..40 {
            let full = (WAIT * (1 << (tries - 1).min(10))).min(MAX_WAIT);
            for _ in 0..20 {
                assert!((full / 2..=full).contains(&wait(tries)), "{tries}");
            }
        }
    }
}
