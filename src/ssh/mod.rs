//! The only place that opens sockets to hosts.
//!
//! [`exec`] is a command and how it ended, [`local`] runs one on this machine. [`config`] asks `ssh -G` how a host is
//! reached, [`target`] is the answer as a [`Target`]; [`known_hosts`] reads and extends OpenSSH's files of host keys;
//! [`scan`] fetches a host's keys without logging in; [`trust`] decides what is new, known, changed or revoked.
//! [`unreached`] names each way in which a host could not be reached.

pub(crate) mod base64;
pub mod config;
pub(crate) mod dial;
pub mod exec;
pub mod known_hosts;
pub mod local;
pub mod scan;
pub mod target;
pub mod trust;
pub mod unreached;

pub use known_hosts::{KnownHosts, Verdict};
pub use scan::{HostKey, scan};
pub use target::Target;
pub use trust::{Judgement, Trust};
pub use unreached::Unreached;
