//! How a fleet makes its connections, and what is given to it and comes from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::super::exec::MAX_LINE;
use super::super::known_hosts::Added;

/// Asks a person for the passphrase of the key file at this path; `None`: nobody wants to give it. It may wait for as
/// long as the person does: no connection is held meanwhile.
pub type Ask = Arc<dyn Fn(&Path) -> Option<SecretString> + Send + Sync>;

/// How connections are made and kept.
#[derive(Clone)]
pub struct Options {
    /// How long name, TCP, banner, key exchange and login may take together.
    pub connect: Duration,
    /// After this silence of a host it is asked whether it is still there.
    pub keepalive: Duration,
    /// After so many questions without an answer the connection is given up.
    pub keepalive_max: usize,
    /// How many connections may be in the making in all.
    pub forks: usize,
    /// How many may be in the making to one sshd (address and port), and through one jump host: beyond 10 that have
    /// not logged in, sshd's default MaxStartups turns callers away.
    pub per_sshd: usize,
    /// How often connecting is tried again, where that may help at once.
    pub retries: u32,
    /// How many commands may run on one connection at once; sshd's default MaxSessions is 10.
    pub channels: usize,
    /// The longest command that is sent, in bytes, with its quotes; a longer one is refused.
    pub max_command: usize,
    /// Take in the key of a host of which none is known, and report it: see [`Fleet::accepted`].
    pub accept_new: bool,
    /// Asks for the passphrases of encrypted keys; without it they are used through the agent alone.
    pub ask_passphrase: Option<Ask>,
    /// Open the session of a host's next command after each command: the next one then costs one round trip, not two.
    pub open_ahead: bool,
    /// The user's home directory, for `~/.ssh`.
    pub home: Option<PathBuf>,
}

impl Default for Options {
    /// The numbers of the design, and `$HOME`.
    fn default() -> Options {
        Options {
            connect: Duration::from_secs(10),
            keepalive: Duration::from_secs(15),
            keepalive_max: 3,
            forks: 20,
            per_sshd: 8,
            retries: 7,
            channels: 8,
            max_command: MAX_LINE,
            accept_new: false,
            ask_passphrase: None,
            open_ahead: false,
            home: std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("connect", &self.connect)
            .field("keepalive", &self.keepalive)
            .field("keepalive_max", &self.keepalive_max)
            .field("forks", &self.forks)
            .field("per_sshd", &self.per_sshd)
            .field("retries", &self.retries)
            .field("channels", &self.channels)
            .field("max_command", &self.max_command)
            .field("accept_new", &self.accept_new)
            .field("ask_passphrase", &self.ask_passphrase.is_some())
            .field("open_ahead", &self.open_ahead)
            .field("home", &self.home)
            .finish()
    }
}

/// Which stream a chunk of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
}

/// A command whose output is handed over as it comes.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    /// The POSIX shell program, whole: any bytes but NUL.
    pub script: &'a [u8],
    /// What it reads.
    pub stdin: Vec<u8>,
    /// How long it may take.
    pub timeout: Duration,
}

/// A host key that was taken in because of [`Options::accept_new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The host's name.
    pub host: String,
    /// Where it stands now.
    pub added: Added,
}
