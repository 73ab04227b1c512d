//! One connection to one host: keys exchanged, host verified, user logged in.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use russh::client::{self, Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelOpenFailure, Disconnect, Preferred, SshId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::dial::{Guard, Stream, Wire};
use super::failed::Failed;
use super::known_hosts::{Added, KnownHosts};
use super::login::identity::KeyFiles;
use super::login::{Credentials, Outcome};
use super::scan::{failure, silent};
use super::target::Target;
use super::unreached::{Phase, Unreached};
use super::verify::{Sight, Verifier};

/// Messages of a channel that wait to be read; with 32 KiB each at most 2 MiB a channel.
const BUFFERED: usize = 64;

/// How a connection is to be made.
pub(crate) struct Making<'a> {
    pub(crate) target: &'a Arc<Target>,
    /// The lines of known_hosts for this host.
    pub(crate) known: KnownHosts,
    pub(crate) preferred: Preferred,
    pub(crate) accept_new: bool,
    pub(crate) keepalive: Duration,
    pub(crate) keepalive_max: usize,
    /// The most sessions at once.
    pub(crate) channels: usize,
    pub(crate) files: &'a KeyFiles,
    /// Somebody can be asked for a passphrase.
    pub(crate) ask: bool,
    /// When it must be done, and how long it was given in all, for messages.
    pub(crate) deadline: Instant,
    pub(crate) given: Duration,
}

/// Why there is no connection.
pub(crate) enum Stop {
    Failed(Failed),
    /// The host would take the key in this encrypted file.
    Locked(PathBuf),
}

/// A connection that is logged in. When the last one who holds it lets go, it ends, whatever the host does.
pub(crate) struct Connection {
    handle: Handle<Verifier>,
    channels: Arc<Semaphore>,
    width: Mutex<usize>,
    ahead: Mutex<Option<Open>>,
    sight: Sight,
    retired: AtomicBool,
    /// A host key that was new.
    pub(crate) added: Option<Added>,
    _guard: Guard,
}

/// A session that has been opened, and its place among those of the connection.
pub(crate) struct Open {
    pub(crate) channel: Channel<Msg>,
    pub(crate) _permit: OwnedSemaphorePermit,
}

impl Open {
    /// Whether the host has closed it meanwhile, as sshd does by `ChannelTimeout`: nothing is sent over it then.
    async fn was_closed(&mut self) -> bool {
        loop {
            let message = tokio::select! {
                biased;
                message = self.channel.wait() => message,
                () = std::future::ready(()) => return false,
            };
            if matches!(message, None | Some(ChannelMsg::Close)) {
                return true;
            }
        }
    }
}

/// Why a command was not begun on a connection.
#[derive(Debug)]
pub(crate) enum NotBegun {
    /// The connection has gone.
    Gone,
    /// The host did not answer.
    Silent,
    /// The host says no to this.
    Denied(String),
}

impl Connection {
    /// Makes one over `stream`.
    pub(crate) async fn make(stream: impl Stream + 'static, making: Making<'_>) -> Result<Connection, Stop> {
        let Making { target, channels, deadline, given, .. } = making;
        let unreached = |why| Stop::Failed(Failed::unreached(target, why));
        let wire = Wire::new(stream);
        let (heard, guard, sight) = (wire.heard(), wire.guard(), Sight::default());
        let config = client::Config {
            client_id: SshId::Standard(concat!("SSH-2.0-factory_", env!("CARGO_PKG_VERSION")).into()),
            preferred: making.preferred,
            channel_buffer_size: BUFFERED,
            keepalive_interval: Some(making.keepalive),
            keepalive_max: making.keepalive_max,
            nodelay: true,
            ..client::Config::default()
        };
        let verifier = Verifier {
            target: Arc::clone(target),
            known: making.known,
            accept_new: making.accept_new,
            sight: sight.clone(),
        };
        let connected = timeout_at(deadline, client::connect_stream(Arc::new(config), wire, verifier)).await;
        let phase = if heard.is_ssh() { Phase::KeyExchange } else { Phase::Banner };
        let mut handle = match connected {
            Ok(Ok(handle)) => handle,
            Err(_) => {
                return Err(unreached(silent(&heard).unwrap_or(Unreached::TimedOut { phase, after: given })));
            }
            Ok(Err(cause)) => {
                return Err(match sight.with(|seen| seen.refusal.take()) {
                    Some(refusal) => Stop::Failed(Failed::unverified(refusal)),
                    None => unreached(failure(cause, &heard, phase, given)),
                });
            }
        };
        let login = async {
            let credentials = Credentials::collect(target, making.files, making.ask).await;
            credentials.login(&mut handle, target).await
        };
        match timeout_at(deadline, login).await {
            Ok(Outcome::In) => {}
            Ok(Outcome::Locked(path)) => return Err(Stop::Locked(path)),
            Ok(Outcome::Refused(mut refused)) => {
                refused.said = sight.with(|seen| seen.said.take());
                if refused.methods.is_empty() && refused.said.is_none() && handle.is_closed() {
                    return Err(unreached(Unreached::Closed { phase: Phase::Login }));
                }
                return Err(Stop::Failed(Failed::Refused(Arc::new(*refused))));
            }
            Ok(Outcome::Gone) => return Err(unreached(Unreached::Closed { phase: Phase::Login })),
            Err(_) => return Err(unreached(Unreached::TimedOut { phase: Phase::Login, after: given })),
        }
        Ok(Connection {
            handle,
            channels: Arc::new(Semaphore::new(channels)),
            width: Mutex::new(channels),
            ahead: Mutex::default(),
            added: sight.with(|seen| seen.added.take()),
            sight,
            retired: AtomicBool::new(false),
            _guard: guard,
        })
    }

    /// Whether another command may be sent over it.
    pub(crate) fn is_usable(&self) -> bool {
        !self.retired.load(Ordering::Relaxed) && !self.handle.is_closed()
    }

    /// Nobody else is to use it: a command on it did not end, or the host does not answer. It ends with its last user.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Why it ended, in words.
    pub(crate) fn why(&self) -> String {
        self.sight.with(|seen| seen.ended.clone()).unwrap_or_else(|| "it was closed".to_owned())
    }

    /// A session: the one that was opened ahead, else a new one within `patience`.
    pub(crate) async fn open(&self, patience: Duration) -> Result<Open, NotBegun> {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut open) = ahead
            && !open.was_closed().await
        {
            return Ok(open);
        }
        loop {
            let Ok(permit) = Arc::clone(&self.channels).acquire_owned().await else { return Err(NotBegun::Gone) };
            // The others that were there when it was asked may have ended by the time it says no.
            let alone = self.channels.available_permits() + 1 >= *self.width();
            match timeout(patience, self.handle.channel_open_session()).await {
                Ok(Ok(channel)) => return Ok(Open { channel, _permit: permit }),
                Ok(Err(russh::Error::ChannelOpenFailure(why))) if alone => {
                    return Err(NotBegun::Denied(format!("a session ({})", words(&why))));
                }
                Ok(Err(russh::Error::ChannelOpenFailure(_))) => {
                    // MaxSessions is lower than ours: wait for one of the others.
                    let mut width = self.width();
                    if *width > 1 {
                        *width -= 1;
                        permit.forget();
                    }
                }
                Ok(Err(_)) => return Err(NotBegun::Gone),
                Err(_) => {
                    self.retire();
                    return Err(NotBegun::Silent);
                }
            }
        }
    }

    fn width(&self) -> MutexGuard<'_, usize> {
        self.width.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session for the next command, unless there is one.
    pub(crate) async fn open_ahead(&self, patience: Duration) {
        let there = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if !there
            && self.is_usable()
            && let Ok(open) = self.open(patience).await
        {
            self.ahead.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(open);
        }
    }

    /// A stream to `host` and `port` as seen from this host.
    pub(crate) async fn pass_on(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<impl Stream + 'static, NotBegun> {
        let opening = self.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0);
        match timeout_at(deadline, opening).await {
            Ok(Ok(channel)) => Ok(channel.into_stream()),
            Ok(Err(russh::Error::ChannelOpenFailure(why))) => Err(NotBegun::Denied(words(&why))),
            Ok(Err(_)) => Err(NotBegun::Gone),
            Err(_) => Err(NotBegun::Silent),
        }
    }

    /// Says goodbye and waits until the host has hung up, at most for `patience`.
    pub(crate) async fn close(&self, patience: Duration) {
        self.retire();
        let _ = timeout(patience, async {
            if self.handle.disconnect(Disconnect::ByApplication, "", "").await.is_ok() {
                while !self.handle.is_closed() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        })
        .await;
    }
}

fn words(why: &ChannelOpenFailure) -> String {
    match why {
        ChannelOpenFailure::AdministrativelyProhibited => "it is not allowed there".to_owned(),
        ChannelOpenFailure::ConnectFailed => "it answers that it cannot open it".to_owned(),
        ChannelOpenFailure::UnknownChannelType => "it does not know how".to_owned(),
        ChannelOpenFailure::ResourceShortage => "it has no room".to_owned(),
        ChannelOpenFailure::Other { reason, .. } => {
            reason.chars().filter(|c| !c.is_control()).take(80).collect::<String>()
        }
    }
}
