//! Logging in: by keys of the agent, key files and certificates; never by a password.

pub(crate) mod identity;
mod refused;
pub mod settings;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context as Digest, SHA256};
use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode as _;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{Algorithm, Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{MethodKind, MethodSet};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::known_hosts::fingerprint;
use super::target::Target;
use super::verify::Verifier;
use identity::{KeyFiles, Private};
pub use refused::{Offered, Refused};

/// How long the agent may take to list its keys. It is on this machine; a forwarded one may be far away.
const AGENT: Duration = Duration::from_secs(5);

/// Who signs with a key.
#[derive(Clone)]
enum Source {
    File(Arc<PrivateKey>),
    Agent,
    /// An encrypted file that somebody may be asked about.
    Locked(PathBuf),
}

/// A key that may be offered.
#[derive(Clone)]
struct Candidate {
    key: PublicKey,
    certificate: Option<Certificate>,
    source: Source,
    /// Its file, or its comment in the agent.
    name: String,
}

/// All that there is to log in with.
pub(crate) struct Credentials {
    candidates: Vec<Candidate>,
    notes: Vec<String>,
    agent: Option<AgentClient<UnixStream>>,
}

/// How a login ended.
pub(crate) enum Outcome {
    /// The host lets the user in.
    In,
    /// It does not.
    Refused(Box<Refused>),
    /// It would take the key in this encrypted file.
    Locked(PathBuf),
    /// The connection went away.
    Gone,
}

impl Credentials {
    /// Collects them for `target`; encrypted files count only if `ask`, somebody can be asked.
    ///
    /// The order is ssh's, with one difference: keys that somebody chose for the host go before the other keys of the
    /// agent, since each key that is refused counts with sshd (MaxAuthTries) and with fail2ban.
    pub(crate) async fn collect(target: &Target, files: &KeyFiles, ask: bool) -> Credentials {
        let settings = &target.login;
        let mut notes = Vec::new();
        let mut agent = None;
        let mut held: Vec<AgentIdentity> = Vec::new();
        if let Some(path) = settings.agent.as_deref().filter(|_| !settings.off) {
            match list(path).await {
                Ok((client, identities)) => {
                    agent = Some(client);
                    held = identities;
                }
                Err(note) => notes.push(note),
            }
        }
        let in_agent = |key: &PublicKey| {
            held.iter().any(|identity| {
                matches!(identity, AgentIdentity::PublicKey { key: other, .. } if other.key_data() == key.key_data())
            })
        };
        let mut chosen: Vec<Candidate> = Vec::new();
        let more: Vec<Certificate> = settings
            .certificates
            .iter()
            .filter_map(|path| match identity::certificate_in(path) {
                Ok(certificate) => Some(certificate),
                Err(why) => {
                    notes.push(why.unwrap_or_else(|| format!("the certificate {} is not there", path.display())));
                    None
                }
            })
            .collect();
        for path in &settings.identities {
            let file = files.get(path);
            let name = path.display().to_string();
            if file.absent && settings.chosen {
                notes.push(format!("{name} is not there"));
            }
            notes.extend(file.note.clone());
            let agent_has = file.public.as_ref().is_some_and(in_agent);
            let source = match &file.private {
                _ if agent_has => Some(Source::Agent),
                Private::Open(key) => Some(Source::File(Arc::clone(key))),
                Private::Locked(_) => match files.unlocked(path) {
                    Some(Some(key)) => Some(Source::File(key)),
                    None if ask => Some(Source::Locked(path.clone())),
                    _ => {
                        notes.push(format!(
                            "{name} is encrypted and nobody gave its passphrase; load it: ssh-add {name}"
                        ));
                        None
                    }
                },
                Private::Absent => None,
            };
            let unlocked = match &source {
                Some(Source::File(key)) => Some(key.public_key().clone()),
                _ => None,
            };
            let Some(source) = source else { continue };
            let Some(key) = file.public.clone().or(unlocked) else {
                notes.push(format!("{name} needs {name}.pub beside it, since its own public half is encrypted too"));
                continue;
            };
            let certificates = file.certificate.iter().chain(&more).filter(|c| c.public_key() == key.key_data());
            for certificate in certificates {
                chosen.push(Candidate {
                    key: key.clone(),
                    certificate: Some(certificate.clone()),
                    source: source.clone(),
                    name: name.clone(),
                });
            }
            chosen.push(Candidate { key, certificate: None, source, name });
        }
        // A certificate of the agent belongs to its key: a file may name either.
        let named = |key: &PublicKey| chosen.iter().any(|have| have.key.key_data() == key.key_data());
        let mut others: Vec<Candidate> = Vec::new();
        for identity in &held {
            let (key, certificate) = match identity {
                AgentIdentity::PublicKey { key, .. } => (key.clone(), None),
                AgentIdentity::Certificate { certificate, .. } => {
                    (PublicKey::new(certificate.public_key().clone(), ""), Some(certificate.clone()))
                }
            };
            let double = certificate.is_none() && named(&key);
            if !double && (!settings.only || named(&key)) {
                let name = format!("in the agent: {}", shown(identity.comment()));
                others.push(Candidate { key, certificate, source: Source::Agent, name });
            }
        }
        let first = |candidate: &Candidate| matches!(candidate.source, Source::Agent) || settings.chosen;
        let (mut candidates, rest): (Vec<Candidate>, Vec<Candidate>) = chosen.iter().cloned().partition(first);
        candidates.extend(others);
        candidates.extend(rest);
        if settings.off {
            candidates.clear();
            notes.push("login by key is switched off by `PubkeyAuthentication no` in the ssh configuration".to_owned());
        }
        Credentials { candidates, notes, agent }
    }

    /// The stable name of an attempt with these: see [`Refused::id`].
    pub(crate) fn id(&self, target: &Target) -> String {
        let mut digest = Digest::new(&SHA256);
        digest.update(format!("{}\0{}\0", target.user, target.address()).as_bytes());
        let mut keys: Vec<String> = self
            .candidates
            .iter()
            .map(|candidate| match &candidate.certificate {
                Some(certificate) => format!("{} {}\0", fingerprint(&candidate.key), certificate.serial()),
                None => format!("{}\0", fingerprint(&candidate.key)),
            })
            .collect();
        keys.sort();
        keys.iter().for_each(|key| digest.update(key.as_bytes()));
        digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Logs in over `handle`.
    pub(crate) async fn login(mut self, handle: &mut Handle<Verifier>, target: &Target) -> Outcome {
        let id = self.id(target);
        let mut methods = MethodSet::empty();
        let mut offered = Vec::new();
        if let (Some(agent), Some(binding)) = (&mut self.agent, handle.agent_session_binding()) {
            // Only keys that are bound to a destination need it; an agent that does not know the request says no.
            let _ = agent.bind_session(binding, false).await;
        }
        if self.candidates.is_empty() {
            // It costs no try, and the answer says what the host would take.
            match handle.authenticate_none(target.user.clone()).await {
                Ok(AuthResult::Success) => return Outcome::In,
                Ok(AuthResult::Failure { remaining_methods, .. }) => methods = remaining_methods,
                Err(_) => return Outcome::Gone,
            }
        }
        let mut rsa: Option<Option<HashAlg>> = None;
        for candidate in std::mem::take(&mut self.candidates) {
            let hash = match candidate.key.algorithm() {
                Algorithm::Rsa { .. } => {
                    let taken = match rsa {
                        Some(taken) => taken,
                        None => match handle.best_supported_rsa_hash().await {
                            Ok(best) => *rsa.insert(best.unwrap_or(Some(HashAlg::Sha512))),
                            Err(_) => return Outcome::Gone,
                        },
                    };
                    let Some(hash) = taken else {
                        self.notes.push(format!(
                            "{} is not offered: the host takes RSA keys with SHA-1 alone, which is broken",
                            candidate.name
                        ));
                        continue;
                    };
                    Some(hash)
                }
                _ => None,
            };
            let kind = kind(&candidate, hash);
            if !target.login.allows(&kind) {
                self.notes
                    .push(format!("{} is not offered: `PubkeyAcceptedAlgorithms` leaves out {kind}", candidate.name));
                continue;
            }
            let result = self.offer(handle, &target.user, &candidate, hash).await;
            let source = candidate.name.clone();
            match result {
                Ok(AuthResult::Success) => return Outcome::In,
                Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
                    offered.push(Offered { kind, fingerprint: fingerprint(&candidate.key), source });
                    if partial_success {
                        self.notes.push("the host took the key and asks for more".to_owned());
                    }
                    methods = remaining_methods;
                    // Empty means that the connection ended, or that nothing is left to try.
                    if !methods.contains(&MethodKind::PublicKey) {
                        break;
                    }
                }
                Err(Unsigned::Locked(path)) => return Outcome::Locked(path),
                Err(Unsigned::Gone) => return Outcome::Gone,
                Err(Unsigned::Failed(why)) => {
                    self.notes.push(format!("{source} could not be used: {why}"));
                }
            }
        }
        if methods.is_empty() && handle.is_closed() && offered.is_empty() {
            return Outcome::Gone;
        }
        Outcome::Refused(Box::new(Refused {
            host: target.name.clone(),
            address: target.address(),
            user: target.user.clone(),
            methods: methods.iter().map(String::from).collect(),
            offered,
            notes: self.notes,
            said: None,
            id,
            towards: None,
        }))
    }

    async fn offer(
        &mut self,
        handle: &mut Handle<Verifier>,
        user: &str,
        candidate: &Candidate,
        hash: Option<HashAlg>,
    ) -> Result<AuthResult, Unsigned> {
        let gone = |_| Unsigned::Gone;
        match (&candidate.source, &candidate.certificate) {
            (Source::File(key), None) => {
                let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
                handle.authenticate_publickey(user, key).await.map_err(gone)
            }
            (Source::File(key), Some(certificate)) => {
                let mut signer = Signer::File(key);
                handle.authenticate_certificate_with(user, certificate.clone(), hash, &mut signer).await
            }
            (Source::Locked(path), certificate) => {
                let mut signer = Signer::Locked(path);
                match certificate {
                    None => handle.authenticate_publickey_with(user, candidate.key.clone(), hash, &mut signer).await,
                    Some(certificate) => {
                        handle.authenticate_certificate_with(user, certificate.clone(), hash, &mut signer).await
                    }
                }
            }
            (Source::Agent, certificate) => {
                let Some(agent) = &mut self.agent else { return Err(Unsigned::Failed("no agent".to_owned())) };
                // The agent holds the key alone where the certificate comes from a file.
                let mut signer = Signer::Agent(agent, candidate.key.clone());
                match certificate {
                    None => handle.authenticate_publickey_with(user, candidate.key.clone(), hash, &mut signer).await,
                    Some(certificate) => {
                        handle.authenticate_certificate_with(user, certificate.clone(), hash, &mut signer).await
                    }
                }
            }
        }
    }
}

/// The name of the signature algorithm that `candidate` is offered with.
fn kind(candidate: &Candidate, hash: Option<HashAlg>) -> String {
    let algorithm = match candidate.key.algorithm() {
        Algorithm::Rsa { .. } => Algorithm::Rsa { hash },
        algorithm => algorithm,
    };
    match candidate.certificate {
        Some(_) => algorithm.to_certificate_type(),
        None => algorithm.to_string(),
    }
}

/// Why there is no signature.
enum Unsigned {
    /// The key in this file is encrypted.
    Locked(PathBuf),
    /// The connection went away.
    Gone,
    /// The key or the agent failed.
    Failed(String),
}

impl From<russh::SendError> for Unsigned {
    fn from(_: russh::SendError) -> Unsigned {
        Unsigned::Gone
    }
}

enum Signer<'a> {
    File(&'a PrivateKey),
    Agent(&'a mut AgentClient<UnixStream>, PublicKey),
    Locked(&'a Path),
}

impl russh::Signer for Signer<'_> {
    type Error = Unsigned;

    async fn auth_sign(
        &mut self,
        identity: &AgentIdentity,
        hash: Option<HashAlg>,
        mut data: Vec<u8>,
    ) -> Result<Vec<u8>, Unsigned> {
        match self {
            Signer::Locked(path) => Err(Unsigned::Locked(path.to_owned())),
            Signer::File(key) => {
                sign(key, hash, &mut data).map_err(|cause| Unsigned::Failed(cause.to_string()))?;
                Ok(data)
            }
            Signer::Agent(agent, key) => {
                let failed = |cause: russh::keys::Error| match cause {
                    russh::keys::Error::AgentFailure => Unsigned::Failed("the ssh-agent does not sign".to_owned()),
                    cause => Unsigned::Failed(format!("the ssh-agent failed: {cause}")),
                };
                match agent.sign_request(identity, hash, data.clone()).await {
                    Err(russh::keys::Error::AgentFailure) if matches!(identity, AgentIdentity::Certificate { .. }) => {
                        let bare = AgentIdentity::PublicKey { key: key.clone(), comment: String::new() };
                        agent.sign_request(&bare, hash, data).await.map_err(failed)
                    }
                    signed => signed.map_err(failed),
                }
            }
        }
    }
}

/// Adds the signature of `data` to it, as the protocol wants it.
fn sign(key: &PrivateKey, hash: Option<HashAlg>, data: &mut Vec<u8>) -> Result<(), russh::keys::ssh_key::Error> {
    let signature = match key.key_data() {
        KeypairData::Rsa(rsa) => (rsa, hash).try_sign(data)?,
        keypair => keypair.try_sign(data)?,
    };
    let mut bytes = Vec::new();
    signature.encode(&mut bytes)?;
    bytes.encode(data)?;
    Ok(())
}

/// The agent at `path` and its keys.
async fn list(path: &Path) -> Result<(AgentClient<UnixStream>, Vec<AgentIdentity>), String> {
    let shown = path.display();
    let listed = timeout(AGENT, async {
        let mut agent = AgentClient::connect_uds(path).await?;
        let identities = agent.request_identities().await?;
        Ok::<_, russh::keys::Error>((agent, identities))
    });
    match listed.await {
        Ok(Ok(listed)) => Ok(listed),
        Ok(Err(cause)) => Err(format!("the ssh-agent at {shown} cannot be used: {cause}")),
        Err(_) => Err(format!("the ssh-agent at {shown} did not answer within {} s", AGENT.as_secs())),
    }
}

/// A comment of a key, printable and short.
fn shown(comment: &str) -> String {
    comment.chars().filter(|c| !c.is_control()).take(80).collect()
}
