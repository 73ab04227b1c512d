//! One server: its connections, its budget of calls and its wish to be left alone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::Semaphore;

use super::bucket::{Bucket, Empty};
use super::failure::Why;
use super::http::Client;
use super::token::Token;
use crate::error::{Error, Result};
use crate::inventory::url::Url;

/// The bounds of every call to a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// How long making a connection may take, with the look-up of the name and TLS.
    pub connect: Duration,
    /// How long a call may take from its first byte to the last one of the answer.
    pub whole: Duration,
    /// How long a call may wait to be made: for earlier ones to end, and for the bucket.
    pub patience: Duration,
    /// The largest answer, in bytes.
    pub body: usize,
    /// The most pages of a list.
    pub pages: u32,
    /// The most calls at once.
    pub at_once: usize,
    /// Calls a second, over all repos.
    pub rate: f64,
    /// The calls that may follow each other at once.
    pub burst: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect: Duration::from_secs(10),
            whole: Duration::from_secs(30),
            patience: Duration::from_secs(60),
            body: 8 << 20,
            pages: 100,
            at_once: 6,
            rate: 10.0,
            burst: 100.0,
        }
    }
}

/// One server: its connections, and what it is asked over all repos and tokens.
pub struct Host {
    pub(super) base: reqwest::Url,
    pub(super) shown: String,
    pub(super) client: reqwest::Client,
    pub(super) limits: Limits,
    pub(super) permits: Semaphore,
    begun: Instant,
    gate: Mutex<Gate>,
}

/// Whether a call may be made now.
struct Gate {
    bucket: Bucket,
    /// Until when it asks to be left alone.
    shut: Option<(Timestamp, String)>,
}

impl Gate {
    fn open(&self) -> Result<(), Why> {
        match self.shut.as_ref().filter(|(until, _)| *until > Timestamp::now()) {
            Some((until, said)) => Err(Why::Busy { until: *until, said: said.clone() }),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("shown", &self.shown).field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Host {
    /// The server whose front page is at `url`. Nothing is sent yet.
    ///
    /// # Errors
    /// Exit 3: the address cannot be one of a server's front page. Exit 1: this machine has no certificates to check a
    /// server by.
    pub fn new(url: &Url, limits: Limits) -> Result<Arc<Host>> {
        let base = reqwest::Url::parse(url.as_str())
            .ok()
            .filter(|base| base.has_host() && base.query().is_none() && base.fragment().is_none())
            .ok_or_else(|| {
                Error::inventory("the address of a forge or a CI cannot be used")
                    .help("write the address of its front page, like `https://codeberg.org`")
            })?;
        let shown = origin(&base);
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("factory/", env!("CARGO_PKG_VERSION")))
            // Where a redirect leads is no API: it is told, and no token goes there.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(limits.connect)
            .timeout(limits.whole)
            .pool_max_idle_per_host(limits.at_once);
        if base.scheme() == "http" {
            // No certificate is ever looked at, so a machine without any can do this too.
            builder = builder.tls_certs_only([]);
        }
        if base.host_str().is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127.")) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            Error::failed(format!("cannot speak HTTPS to {shown}"))
                .because(error)
                .help("install the certificates that servers are checked by: apt-get install ca-certificates")
        })?;
        let bucket = Bucket::new(limits.rate, limits.burst);
        let permits = Semaphore::new(limits.at_once.max(1));
        let gate = Mutex::new(Gate { bucket, shut: None });
        Ok(Arc::new(Host { base, shown, client, limits, permits, begun: Instant::now(), gate }))
    }

    /// Its scheme and host, as it is shown.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Calls to it with this token, or with none.
    ///
    /// # Errors
    /// Exit 3: the token cannot be sent unchanged.
    pub fn client(self: &Arc<Self>, token: Option<&SecretString>) -> Result<Client> {
        let token = token.map(|token| Token::new(token, &self.shown)).transpose()?;
        Ok(Client::new(Arc::clone(self), token))
    }

    /// Waits until a call may be made.
    pub(super) async fn admitted(&self) -> Result<(), Why> {
        let wait = {
            let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
            gate.open()?;
            let taken = gate.bucket.take(self.begun.elapsed().as_secs_f64(), self.limits.patience);
            taken.map_err(|Empty(wait)| Why::Busy {
                until: later(Timestamp::now(), Duration::try_from_secs_f64(wait).unwrap_or_default()),
                said: "our own budget of calls is used up".to_owned(),
            })?
        };
        if wait.is_zero() {
            return Ok(());
        }
        tokio::time::sleep(wait).await;
        // It may have asked to be left alone meanwhile.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).open()
    }

    /// Until when it asks to be left alone, if it does.
    pub fn rests_until(&self) -> Option<Timestamp> {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.shut.as_ref().map(|(until, _)| *until).filter(|until| *until > Timestamp::now())
    }

    /// Lets nobody call it for that time; gives when it ends.
    pub(super) fn shut(&self, pause: Duration, said: &str) -> Timestamp {
        let until = later(Timestamp::now(), pause);
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        // A longer time that was asked for before counts on.
        let until = gate.shut.as_ref().map_or(until, |(before, _)| until.max(*before));
        gate.shut = Some((until, said.to_owned()));
        until
    }
}

fn later(now: Timestamp, time: Duration) -> Timestamp {
    now.checked_add(time).unwrap_or(Timestamp::MAX)
}

/// Scheme, host and port.
pub(super) fn origin(url: &reqwest::Url) -> String {
    url.origin().ascii_serialization()
}
