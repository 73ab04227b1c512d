//! Deciding about the host key in the middle of a connection, and hearing how the connection ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use russh::Channel;
use russh::client::{self, ChannelOpenHandle, DisconnectReason, Msg, Session};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{PublicKey, PublicKeyOrCertificate};

use super::known_hosts::{self, Added, KnownHosts, Verdict};
use super::login::settings::list;
use super::scan::HostKey;
use super::target::Target;
use super::trust;
use crate::error::Error;

/// What was seen of a connection from inside.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Why the host was not accepted.
    pub(crate) refusal: Option<Error>,
    /// The key that was new and has been added.
    pub(crate) added: Option<Added>,
    /// Why the connection ended, in words.
    pub(crate) ended: Option<String>,
    /// What the host itself said when it hung up.
    pub(crate) said: Option<String>,
}

/// [`Seen`], shared with the connection's own task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight(Arc<Mutex<Seen>>);

impl Sight {
    /// Looks at it, or changes it.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The part of a connection that verifies the host. It opens nothing that the host asks for.
pub(crate) struct Verifier {
    pub(crate) target: Arc<Target>,
    /// The lines for this host alone.
    pub(crate) known: KnownHosts,
    /// Add a key where none is held.
    pub(crate) accept_new: bool,
    pub(crate) sight: Sight,
}

impl Verifier {
    fn judge(&self, shown: &PublicKeyOrCertificate) -> Result<(), Error> {
        let (name, port) = self.target.known_as();
        let key = shown.public_key();
        self.check_size(&key)?;
        let (verdict, bad) = match shown.certificate() {
            None => (self.known.lookup(name, port, &key), None),
            Some(certificate) => {
                let algorithm = certificate.signature().algorithm();
                let allowed = list(self.target.config.get("CASignatureAlgorithms"));
                if !allowed.is_empty() && !allowed.iter().any(|name| name == algorithm.as_str()) {
                    return Err(Error::new(
                        crate::exit::Exit::Unreachable,
                        format!(
                            "host `{}`: its certificate is signed by {algorithm}, which `CASignatureAlgorithms` leaves out",
                            self.target.name
                        ),
                    )
                    .help("sign the host's key anew: ssh-keygen -s CA -h -t rsa-sha2-512 -n HOST -I ID KEY.pub"));
                }
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                self.known.lookup_certificate(name, port, certificate, now)
            }
        };
        let host_key = HostKey::new(key);
        let refusal = match verdict {
            Verdict::Known { .. } => return Ok(()),
            Verdict::Unknown if self.accept_new && bad.is_none() => return self.add(&host_key.key),
            Verdict::Unknown => trust::unknown(&self.target, &host_key),
            Verdict::Changed { lines } => trust::changed(&self.target, &host_key, &lines),
            Verdict::Revoked { lines, held } => trust::revoked(&self.target, &host_key, &lines, &held),
        };
        Err(match bad {
            Some(bad) => refusal.because(NoUse(bad)),
            None => refusal,
        })
    }

    /// `RequiredRSASize`.
    fn check_size(&self, key: &PublicKey) -> Result<(), Error> {
        let least = self.target.config.get("RequiredRSASize").and_then(|bits| bits.parse::<u32>().ok()).unwrap_or(1024);
        match key.key_data() {
            KeyData::Rsa(rsa) if rsa.key_size() < least => Err(Error::new(
                crate::exit::Exit::Unreachable,
                format!("host `{}`: its RSA key has {} bits, fewer than {least}", self.target.name, rsa.key_size()),
            )
            .help("give the host a new key (on it: ssh-keygen -A), or lower `RequiredRSASize` in ~/.ssh/config")),
            _ => Ok(()),
        }
    }

    fn add(&self, key: &PublicKey) -> Result<(), Error> {
        let (name, port) = self.target.known_as();
        let file = trust::writable(&self.target)?;
        let added = known_hosts::add(&file, name, port, key, self.target.hash_known_hosts)?;
        self.sight.with(|seen| seen.added = Some(added));
        Ok(())
    }
}

/// Why the host's certificate was of no use.
#[derive(Debug, thiserror::Error)]
#[error("its certificate does not help: {0}")]
struct NoUse(known_hosts::BadCertificate);

impl client::Handler for Verifier {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        match self.judge(shown) {
            Ok(()) => Ok(true),
            Err(refusal) => {
                self.sight.with(|seen| seen.refusal = Some(refusal));
                Ok(false)
            }
        }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                let said: String = info.message.chars().filter(|c| !c.is_control()).take(200).collect();
                self.sight.with(|seen| {
                    seen.ended = Some(format!("the host hung up: {said}"));
                    seen.said = Some(said);
                });
                Ok(())
            }
            DisconnectReason::Error(cause) => {
                let why = match &cause {
                    russh::Error::KeepaliveTimeout => "the host stopped answering".to_owned(),
                    russh::Error::Disconnect | russh::Error::HUP => "the host closed it".to_owned(),
                    russh::Error::IO(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => {
                        "the host closed it".to_owned()
                    }
                    cause => cause.to_string(),
                };
                self.sight.with(|seen| seen.ended = Some(why));
                Err(cause)
            }
        }
    }

    // A host may ask to open channels towards us. Nothing was forwarded, so none is wanted; a handle that is dropped
    // says no.

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }
}
