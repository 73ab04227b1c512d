//! Commands on many hosts: one connection a host, shared by all who need it.

mod connect;
mod options;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::config::{Asker, Wanted};
use super::connection::{Connection, NotBegun};
use super::exec::{Command, Ended, Output, line_within};
use super::failed::Failed;
use super::gate::Gates;
use super::jump;
use super::known_hosts::KnownHosts;
use super::login::Credentials;
use super::login::identity::{KeyFiles, Stamp};
use super::reach::Reach;
use super::session;
use super::target::Target;
use super::unreached::{Phase, Unreached};
use crate::error::Result;
pub use options::{Accepted, Ask, From, Job, Options};

/// Name lookups at once: each may hold a thread.
const LOOKUPS: usize = 16;

/// `ssh -G` at once: 4.6 ms of CPU each.
const ASKERS: usize = 4;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Commands on hosts, over connections that are made when first needed, shared and kept. Cheap to clone.
#[derive(Clone)]
pub struct Fleet(Arc<Inner>);

struct Inner {
    options: Options,
    asker: OnceCell<Asker>,
    askers: Semaphore,
    targets: Mutex<HashMap<Wanted, Arc<OnceCell<Arc<Target>>>>>,
    known: Mutex<HashMap<Vec<PathBuf>, Read>>,
    files: KeyFiles,
    slots: Mutex<HashMap<Vec<Wanted>, Arc<tokio::sync::Mutex<Slot>>>>,
    sshds: Gates,
    hops: Gates,
    forks: Semaphore,
    lookups: Semaphore,
    prompts: tokio::sync::Mutex<()>,
    accepted: Mutex<Vec<Accepted>>,
    goodbyes: Mutex<JoinSet<()>>,
}

/// Known host keys, and the state that their files had then.
type Read = (Vec<Stamp>, Arc<KnownHosts>);

/// The place of one host's connection. Who connects holds it, the others wait for the outcome.
#[derive(Default)]
struct Slot {
    connection: Option<Arc<Connection>>,
    failed: Option<(Instant, Failed)>,
}

impl Fleet {
    /// A fleet without any connection. Nothing is looked at before the first command.
    ///
    /// # Errors
    /// None now; there may be options that make no sense.
    pub async fn new(options: Options) -> Result<Fleet> {
        Ok(Fleet(Arc::new(Inner {
            asker: OnceCell::new(),
            askers: Semaphore::new(ASKERS),
            targets: Mutex::default(),
            known: Mutex::default(),
            files: KeyFiles::default(),
            slots: Mutex::default(),
            sshds: Gates::new(options.per_sshd),
            hops: Gates::new(options.per_sshd),
            forks: Semaphore::new(options.forks.max(1)),
            lookups: Semaphore::new(LOOKUPS),
            prompts: tokio::sync::Mutex::default(),
            accepted: Mutex::default(),
            goodbyes: Mutex::default(),
            options,
        })))
    }

    /// Runs `command` on the host and gives back how it ended, with the first `max_output` bytes of each stream.
    ///
    /// The time-out counts from when the command is sent; connecting has its own ([`Options::connect`]).
    ///
    /// # Errors
    /// Why it was certainly not begun. A connection that is lost later is [`Ended::Lost`], which is no error here.
    pub async fn exec(&self, wanted: &Wanted, command: Command<'_>) -> std::result::Result<Output, Failed> {
        self.run(&Reach::Ssh(wanted.clone()), command).await
    }

    /// The same with output handed to `sink` as it comes, in chunks of at most 32 KiB. The sink must not wait: all other
    /// commands on the same host wait with it.
    ///
    /// # Errors
    /// As [`Fleet::exec`].
    pub async fn stream(
        &self,
        wanted: &Wanted,
        job: Job<'_>,
        sink: &mut (dyn FnMut(From, &[u8]) + Send),
    ) -> std::result::Result<Ended, Failed> {
        let line = line_within(job.script, self.0.options.max_command).map_err(Failed::config)?;
        let route = self.route(wanted).await?;
        let mut stdin = job.stdin;
        let mut again = true;
        loop {
            let (connection, fresh) = self.connection(&route).await?;
            let begun = match connection.open(self.0.options.connect).await {
                Ok(open) => session::run(&connection, open, &line, &mut stdin, job.timeout, sink).await,
                Err(not) => Err(not),
            };
            let not = match begun {
                Ok(ended) => {
                    self.prepare_next(&connection);
                    return Ok(ended);
                }
                Err(not) => not,
            };
            let why = match not {
                NotBegun::Denied(what) => Unreached::Denied { what },
                NotBegun::Gone => Unreached::Closed { phase: Phase::Session },
                NotBegun::Silent => Unreached::TimedOut { phase: Phase::Session, after: self.0.options.connect },
            };
            let denied = matches!(why, Unreached::Denied { .. });
            if !denied {
                connection.retire();
            }
            // Nothing was sent. A connection that was kept may have gone stale: then a new one, once.
            if denied || fresh || !again {
                return Err(Failed::unreached(&self.target(wanted).await?, why));
            }
            again = false;
        }
    }

    /// A stable name of what a login at the host would use: user, address and keys, the same as in
    /// [`super::login::Refused::id`]. A caller that remembers a refusal compares it before it tries again.
    ///
    /// # Errors
    /// ssh's configuration cannot be had.
    pub async fn login_id(&self, wanted: &Wanted) -> std::result::Result<String, Failed> {
        let target = self.target(wanted).await?;
        let credentials = Credentials::collect(&target, &self.0.files, self.0.options.ask_passphrase.is_some()).await;
        Ok(credentials.id(&target))
    }

    /// How the host is reached, as ssh's configuration and the inventory have it; asked once a process.
    ///
    /// # Errors
    /// ssh's configuration cannot be had.
    pub async fn target(&self, wanted: &Wanted) -> std::result::Result<Arc<Target>, Failed> {
        let inner = &self.0;
        let cell = {
            let mut targets = inner.targets.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(targets.entry(wanted.clone()).or_default())
        };
        let ask = async {
            let _permit = inner.askers.acquire().await;
            let home = inner.options.home.clone();
            let asker = inner.asker.get_or_try_init(|| Asker::with(Path::new("ssh"), home, super::config::TIMEOUT));
            asker.await?.ask(wanted).await.map(Arc::new)
        };
        cell.get_or_try_init(|| ask).await.cloned().map_err(Failed::config)
    }

    /// The host keys that were taken in so far, because of [`Options::accept_new`].
    pub fn accepted(&self) -> Vec<Accepted> {
        self.0.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets go of a host that is not needed again: goodbye is said in the background, at most a second, unless somebody
    /// else uses the connection or goes through it to another host. A later command connects anew. Who sweeps over many
    /// hosts calls it after each, since a connection costs 100 KB.
    ///
    /// To be called inside the runtime.
    pub fn release(&self, reach: &Reach) {
        let Reach::Ssh(wanted) = reach else { return };
        self.0.targets.lock().unwrap_or_else(PoisonError::into_inner).remove(wanted);
        let mut connections = Vec::new();
        {
            let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let routes: Vec<_> = slots.keys().filter(|route| route.last() == Some(wanted)).cloned().collect();
            for route in routes {
                let shared = slots.keys().any(|other| other.len() > route.len() && other.starts_with(&route));
                // Who waits for it, or is about to, has it too.
                if !shared && slots.get(&route).is_some_and(|slot| Arc::strong_count(slot) == 1) {
                    let slot = slots.remove(&route).and_then(Arc::into_inner);
                    connections.extend(slot.and_then(|slot| slot.into_inner().connection).and_then(Arc::into_inner));
                }
            }
        }
        let mut goodbyes = self.0.goodbyes.lock().unwrap_or_else(PoisonError::into_inner);
        while goodbyes.try_join_next().is_some() {}
        for connection in connections {
            goodbyes.spawn(async move { connection.close(GOODBYE).await });
        }
    }

    /// Says goodbye to all hosts, at most a second in all, and ends every connection, also those of hosts that do not
    /// answer. Without it connections end when the last clone goes.
    pub async fn close(self) {
        let slots: Vec<_> = {
            let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.drain().collect()
        };
        // The longest routes first: a jump host must outlive what goes through it.
        let mut routes: Vec<(usize, Arc<Connection>)> = Vec::new();
        for (route, slot) in slots {
            if let Ok(mut slot) = slot.try_lock()
                && let Some(connection) = slot.connection.take()
            {
                routes.push((route.len(), connection));
            }
        }
        let deepest = routes.iter().map(|(length, _)| *length).max().unwrap_or_default();
        let until = Instant::now() + GOODBYE;
        for length in (1..=deepest).rev() {
            let mut goodbyes = JoinSet::new();
            for (_, connection) in routes.extract_if(.., |(have, _)| *have == length) {
                goodbyes.spawn(async move {
                    connection.close(until.saturating_duration_since(Instant::now())).await;
                });
            }
            while goodbyes.join_next().await.is_some() {}
        }
        let mut released = std::mem::take(&mut *self.0.goodbyes.lock().unwrap_or_else(PoisonError::into_inner));
        let _ = timeout_at(until, async { while released.join_next().await.is_some() {} }).await;
    }

    fn prepare_next(&self, connection: &Arc<Connection>) {
        if self.0.options.open_ahead {
            let (connection, patience) = (Arc::clone(connection), self.0.options.connect);
            tokio::spawn(async move { connection.open_ahead(patience).await });
        }
    }

    /// The hosts to go through, and last the host itself.
    async fn route(&self, wanted: &Wanted) -> std::result::Result<Vec<Wanted>, Failed> {
        // From the host backwards: the first hop of each list may have hops of its own, as in ssh.
        let mut back = vec![wanted.clone()];
        let mut next = wanted.clone();
        loop {
            let target = self.target(&next).await.map_err(|failed| self.towards(failed, &next, wanted))?;
            let hops = jump::hops(&target).map_err(Failed::config)?;
            let Some(first) = hops.first().cloned() else { break };
            for hop in hops.into_iter().rev() {
                let circle = back.contains(&hop);
                back.push(hop);
                if circle || back.len() > jump::MAX_HOPS + 1 {
                    return Err(Failed::config(jump::circle(&back)));
                }
            }
            next = first;
        }
        back.reverse();
        Ok(back)
    }

    fn towards(&self, failed: Failed, at: &Wanted, wanted: &Wanted) -> Failed {
        if at == wanted { failed } else { failed.towards(&wanted.name) }
    }
}
