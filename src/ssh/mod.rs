//! The only place that opens sockets to hosts.
//!
//! [`exec`] is a command and how it ended, [`reach`] the way to a host, [`local`] runs one on this machine. [`config`] reads
//! ssh_config, or asks `ssh -G` where it is unsure, how a host is reached; [`target`] is the answer as a [`Target`]; [`known_hosts`] reads and extends OpenSSH's files of host keys;
//! [`scan`] fetches a host's keys without logging in; [`trust`] decides what is new, known, changed or revoked.
//! [`unreached`] names each way in which a host could not be reached.
//!
//! [`fleet`] runs commands over connections that it makes, shares and keeps; [`login`] is how it logs in, [`failed`] why
//! a command was not begun. Beneath it: `connection` is one, `verify` decides about its host key in the middle of it,
//! `session` is one command on it, `jump` the hosts on the way, `gate` how many are in the making. [`each`] does the same
//! work for many hosts.

mod algorithms;
pub(crate) mod base64;
pub mod config;
mod connection;
pub(crate) mod dial;
mod each;
pub mod exec;
pub mod failed;
pub mod fleet;
mod gate;
mod jump;
pub mod known_hosts;
pub mod local;
pub mod login;
pub mod reach;
pub mod scan;
mod session;
pub mod target;
mod tokens;
pub mod trust;
pub mod unreached;
mod verify;

pub use each::each;
pub use failed::Failed;
pub use fleet::{Fleet, Options};
pub use known_hosts::{KnownHosts, Verdict};
pub use reach::Reach;
pub use scan::{HostKey, scan};
pub use target::Target;
pub use trust::{Judgement, Trust};
pub use unreached::Unreached;
