//! A login that the host refused.

use crate::error::Error;
use crate::exit::Exit;

/// A key that was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Its type: `ssh-ed25519`, for a certificate `ssh-ed25519-cert-v01@openssh.com`.
    pub kind: String,
    /// Its fingerprint, `SHA256:...`.
    pub fingerprint: String,
    /// Its file, or its comment in the agent.
    pub source: String,
}

/// A login that the host refused: never tried again by itself, since fail2ban and its like count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The host's name.
    pub host: String,
    /// Where it was reached: `host:port`.
    pub address: String,
    /// The user.
    pub user: String,
    /// The methods that the host would take: `publickey`, `password`. Empty if it did not say.
    pub methods: Vec<String>,
    /// The keys that were offered, in their order.
    pub offered: Vec<Offered>,
    /// Keys that were not offered and why; what the agent did.
    pub notes: Vec<String>,
    /// What the host said when it hung up.
    pub said: Option<String>,
    /// A stable name of this attempt, 64 hexadecimal digits: it changes with the user, the address and the keys that
    /// there are. A caller keeps it so as not to try again before one of these has changed.
    pub id: String,
    /// The host that was to be reached through this one.
    pub towards: Option<String>,
}

impl Refused {
    /// As the error of a verb, with what to do.
    pub fn to_error(&self) -> Error {
        let mut error = Error::new(Exit::Unreachable, self.to_string());
        for offered in &self.offered {
            error =
                error.because(Line(format!("offered {} {} ({})", offered.kind, offered.fingerprint, offered.source)));
        }
        for note in &self.notes {
            error = error.because(Line(note.clone()));
        }
        let user = &self.user;
        error.help(match self.offered.first() {
            None => format!(
                "there is no key to offer: name one by `ansible_ssh_private_key_file` or `IdentityFile`, or load one: \
                 ssh-add; then bring it there: ssh-copy-id {user}@{}",
                self.host
            ),
            Some(_) => format!(
                "put one of these keys into ~{user}/.ssh/authorized_keys there, or set `ansible_user` or \
                 `ansible_ssh_private_key_file`; the sshd there logs why it refused. It is not tried again for a while"
            ),
        })
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "host `{}` ({}): the login as `{}` was refused", self.host, self.address, self.user)?;
        match self.offered.len() {
            0 => f.write_str(", no key was offered")?,
            1 => f.write_str(", 1 key was offered")?,
            n => write!(f, ", {n} keys were offered")?,
        }
        if !self.methods.is_empty() {
            write!(f, " (it takes {})", self.methods.join(", "))?;
        }
        if let Some(said) = &self.said {
            write!(f, ": {said}")?;
        }
        match &self.towards {
            Some(towards) => write!(f, ", on the way to `{towards}`"),
            None => Ok(()),
        }
    }
}

/// A cause that is only words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Line(String);
