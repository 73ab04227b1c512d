//! Fetching a host's keys: connect, exchange keys, look, hang up; never a login.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, Handler};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{AlgorithmKind, Preferred};
use tokio::time::{Instant, timeout_at};

use super::dial::{Heard, Wire, dial};
use super::known_hosts::fingerprint;
use super::target::Target;
use super::unreached::{Phase, Unreached};
use crate::error::Result;

/// How long connecting to a host may take: name, TCP, banner and key exchange together.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// The host keys that are asked for, one connection each, as a server shows only one key to a connection. `ssh-rsa`
/// with SHA-1 is not among them, nor DSA.
const FAMILIES: [&[Algorithm]; 3] = [
    &[Algorithm::Ed25519],
    &[
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    ],
    &[Algorithm::Rsa { hash: Some(HashAlg::Sha512) }, Algorithm::Rsa { hash: Some(HashAlg::Sha256) }],
];

/// What sshd says before it closes a connection that it does not want now.
const TURNED_AWAY: [&str; 2] = ["Exceeded MaxStartups", "Not allowed at this time"];

/// A key that a host has shown, and proven to own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    /// The key.
    pub key: PublicKey,
    /// Its fingerprint as ssh-keygen prints it: `SHA256:...`.
    pub fingerprint: String,
}

impl HostKey {
    /// With its fingerprint.
    pub fn new(key: PublicKey) -> HostKey {
        HostKey { fingerprint: fingerprint(&key), key }
    }

    /// The key's type as in known_hosts: `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa`.
    pub fn kind(&self) -> String {
        self.key.algorithm().to_string()
    }
}

/// Fetches the keys of `target`: Ed25519, ECDSA and RSA, those that it has, in that order.
///
/// Each kind of key needs a connection of its own, one after the other, since sshd drops callers who come at once;
/// each has `timeout` for everything, and the first that fails ends the scan.
///
/// # Errors
/// The host was not reached, with what to do; it is reached only through other hosts; or it has no key of these kinds
/// ([`crate::exit::Exit::Unreachable`]).
pub async fn scan(target: &Target, timeout: Duration) -> Result<Vec<HostKey>> {
    target.check_directives()?;
    fetch(target, timeout).await.map_err(|unreached| unreached.to_error(target))
}

/// The same as [`scan`] with a typed failure; directives that are not honoured are not looked at.
///
/// # Errors
/// Why the host was not reached.
pub async fn fetch(target: &Target, timeout: Duration) -> Result<Vec<HostKey>, Unreached> {
    fetch_over(timeout, &|deadline| Box::pin(async move { Ok(Wire::new(dial(target, deadline, timeout).await?)) }))
        .await
}

/// A connection that is being opened until a deadline.
pub(crate) type Opening<'a> = Pin<Box<dyn Future<Output = Result<Wire, Unreached>> + Send + 'a>>;

/// The same over connections that `open` opens, one for each kind of key.
pub(crate) async fn fetch_over<'a>(
    timeout: Duration,
    open: &(dyn Fn(Instant) -> Opening<'a> + Sync),
) -> Result<Vec<HostKey>, Unreached> {
    let mut keys = Vec::new();
    let mut offered = Vec::new();
    for family in FAMILIES {
        let deadline = Instant::now() + timeout;
        let shown = match open(deadline).await {
            Ok(wire) => show(wire, family, deadline, timeout).await,
            Err(unreached) => Err(unreached),
        };
        match shown {
            Ok(key) => keys.push(HostKey::new(key)),
            Err(Unreached::NoCommon { what, theirs }) if what == HOST_KEY => offered = theirs,
            Err(unreached) => return Err(unreached),
        }
    }
    if keys.is_empty() {
        return Err(Unreached::NoCommon { what: HOST_KEY.to_owned(), theirs: offered });
    }
    Ok(keys)
}

const HOST_KEY: &str = "host key type";

/// Exchanges keys once and takes the key that the server shows for `algorithms`.
async fn show(
    wire: Wire,
    algorithms: &'static [Algorithm],
    deadline: Instant,
    timeout: Duration,
) -> Result<PublicKey, Unreached> {
    // Whatever the server does, nothing of this connection outlives the question.
    let _guard = wire.guard();
    let heard = wire.heard();
    let config = client::Config {
        preferred: Preferred { key: Cow::Borrowed(algorithms), ..Preferred::DEFAULT },
        nodelay: true,
        ..client::Config::default()
    };
    let shown = Shown::default();
    let ended = timeout_at(deadline, client::connect_stream(Arc::new(config), wire, shown.clone())).await;
    if let Some(key) = shown.take() {
        return Ok(key);
    }
    let phase = if heard.is_ssh() { Phase::KeyExchange } else { Phase::Banner };
    Err(match ended {
        Err(_) => silent(&heard).unwrap_or(Unreached::TimedOut { phase, after: timeout }),
        Ok(Ok(_)) => Unreached::Protocol { cause: "it showed no host key".to_owned() },
        Ok(Err(cause)) => failure(cause, &heard, phase, timeout),
    })
}

/// What answered instead of an SSH server, if anything did.
pub(crate) fn silent(heard: &Heard) -> Option<Unreached> {
    let said = heard.first_line().filter(|_| !heard.is_ssh())?;
    if TURNED_AWAY.iter().any(|line| said.starts_with(line)) {
        return Some(Unreached::Busy { said });
    }
    Some(Unreached::NotSsh { said })
}

pub(crate) fn failure(cause: russh::Error, heard: &Heard, phase: Phase, timeout: Duration) -> Unreached {
    if let russh::Error::NoCommonAlgo { kind, theirs, .. } = cause {
        let what = match kind {
            AlgorithmKind::Kex => "key exchange",
            AlgorithmKind::Key => HOST_KEY,
            AlgorithmKind::Cipher => "cipher",
            AlgorithmKind::Compression => "compression",
            AlgorithmKind::Mac => "MAC",
        };
        return Unreached::NoCommon { what: what.to_owned(), theirs };
    }
    if let Some(other) = silent(heard) {
        return other;
    }
    match cause {
        russh::Error::IO(cause) => match cause.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected => Unreached::Reset { phase },
            ErrorKind::UnexpectedEof => Unreached::Closed { phase },
            _ => Unreached::Protocol { cause: cause.to_string() },
        },
        russh::Error::Disconnect | russh::Error::HUP => Unreached::Closed { phase },
        russh::Error::InactivityTimeout | russh::Error::ConnectionTimeout | russh::Error::Elapsed(_) => {
            Unreached::TimedOut { phase, after: timeout }
        }
        cause => Unreached::Protocol { cause: cause.to_string() },
    }
}

/// Keeps the key that the server shows, and says no to it, which ends the connection before any login.
#[derive(Clone, Debug, Default)]
struct Shown(Arc<Mutex<Option<PublicKey>>>);

impl Shown {
    fn take(&self) -> Option<PublicKey> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Handler for Shown {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.public_key());
        Ok(false)
    }
}
