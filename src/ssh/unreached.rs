//! Each way in which a host could not be reached or spoken to.

use std::net::SocketAddr;
use std::time::Duration;

use super::target::Target;
use crate::error::Error;
use crate::exit::Exit;

/// How far a connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Its name was being looked up.
    Name,
    /// TCP was being connected.
    Connect,
    /// The server's first line was awaited.
    Banner,
    /// Keys were being exchanged.
    KeyExchange,
    /// The user was being logged in.
    Login,
    /// A session was being opened; no command had been sent.
    Session,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Phase::Name => "while its name was being looked up",
            Phase::Connect => "while connecting",
            Phase::Banner => "before it said anything as an SSH server",
            Phase::KeyExchange => "during the key exchange",
            Phase::Login => "during the login",
            Phase::Session => "before a command was sent",
        })
    }
}

/// Why a host was not reached. Nothing has begun on the host in any of these cases.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unreached {
    /// The name has no address.
    #[error("the name `{host}` has no address")]
    Unresolved {
        /// The name that was looked up.
        host: String,
        /// What the resolver said.
        cause: String,
    },
    /// Nobody listens there.
    #[error("{at} refused the connection")]
    Refused {
        /// The address.
        at: SocketAddr,
    },
    /// The network does not lead there.
    #[error("{at} cannot be reached: {cause}")]
    NoRoute {
        /// The address.
        at: SocketAddr,
        /// What the kernel said.
        cause: String,
    },
    /// It took too long.
    #[error("timed out after {after:?} {phase}")]
    TimedOut {
        /// How far it had come.
        phase: Phase,
        /// How long it was given.
        after: Duration,
    },
    /// The connection was reset.
    #[error("the connection was reset {phase}")]
    Reset {
        /// How far it had come.
        phase: Phase,
    },
    /// The server closed the connection.
    #[error("the connection was closed {phase}")]
    Closed {
        /// How far it had come.
        phase: Phase,
    },
    /// sshd has too many callers who have not logged in (`MaxStartups`), or a penalty for this address.
    #[error("the SSH server turned us away: {said}")]
    Busy {
        /// Its line.
        said: String,
    },
    /// Something else than an SSH server answers there.
    #[error("no SSH server answers there; it says `{said}`")]
    NotSsh {
        /// Its first line, shortened, without control characters.
        said: String,
    },
    /// The server offers nothing that is accepted here.
    #[error("the SSH server offers no acceptable {what} (it has {})", theirs.join(", "))]
    NoCommon {
        /// Of what: a key exchange, a cipher, a host key type.
        what: String,
        /// What it offers.
        theirs: Vec<String>,
    },
    /// The jump host did not pass the connection on.
    #[error("jump host `{hop}` does not reach it: {cause}")]
    NotPassedOn {
        /// The jump host's name.
        hop: String,
        /// What it answered.
        cause: String,
    },
    /// The server has the login and yet denies a session, or to run a command.
    #[error("the SSH server denies {what}")]
    Denied {
        /// What it denies.
        what: String,
    },
    /// The server broke the protocol, or its signature does not hold.
    #[error("the SSH server and this program do not understand each other: {cause}")]
    Protocol {
        /// What went wrong.
        cause: String,
    },
}

impl Unreached {
    /// Whether another attempt may help at once: the connection broke or was turned away before anything was said.
    pub fn transient(&self) -> bool {
        matches!(
            self,
            Unreached::Busy { .. }
                | Unreached::Reset { phase: Phase::Connect | Phase::Banner | Phase::KeyExchange }
                | Unreached::Closed { phase: Phase::Connect | Phase::Banner }
        )
    }

    /// As the error of a verb that was about `target`, with what to do.
    pub fn to_error(&self, target: &Target) -> Error {
        let error = Error::new(Exit::Unreachable, format!("host `{}` ({}): {self}", target.name, target.address()));
        match self {
            Unreached::Unresolved { cause, .. } => error.because(Said(cause.clone())).help(format!(
                "check `ansible_host` of `{}` in the inventory, or `HostName` in ~/.ssh/config",
                target.name
            )),
            Unreached::Refused { .. } => error.help(format!(
                "check that sshd runs there and listens on port {}; another port is `ansible_port`",
                target.port
            )),
            Unreached::NoRoute { .. } => error.help("check the network, VPN and firewall between here and there"),
            Unreached::TimedOut { phase: Phase::Name, .. } => error.help("check this machine's name server"),
            Unreached::TimedOut { phase: Phase::Connect, .. } => {
                error.help("the host is down, or a firewall drops the packets; check both")
            }
            Unreached::TimedOut { phase: Phase::Login, .. } => error.help(
                "the machine answers but the login does not end: it may be out of memory, its name or user service may \
                 hang, or an ssh-agent here waits for somebody",
            ),
            Unreached::TimedOut { .. } => error.help(
                "the machine answers but its SSH server does not: it may be frozen, out of memory, or another program \
                 listens there",
            ),
            Unreached::Reset { .. } | Unreached::Closed { .. } | Unreached::Busy { .. } => error.help(
                "try again; if it stays, look at MaxStartups, firewall and fail2ban there, and at the log of its sshd",
            ),
            Unreached::NotSsh { .. } => error.help(format!(
                "port {} belongs to another program; sshd's port is `ansible_port` in the inventory",
                target.port
            )),
            Unreached::NoCommon { .. } => error.help("update the SSH server there; SHA-1 and DSA are not accepted"),
            Unreached::NotPassedOn { hop, .. } => error.help(format!(
                "try it from there: ssh {hop} nc -vz {} {}; a jump host needs `AllowTcpForwarding yes` in its sshd",
                target.host, target.port
            )),
            Unreached::Denied { .. } => error.help(
                "look at MaxSessions, ForceCommand and PermitTTY in its sshd_config, and at the options of the key in \
                 ~/.ssh/authorized_keys there",
            ),
            Unreached::Protocol { .. } => {
                error.help(format!("compare with: ssh -v -p {} {}", target.port, target.host))
            }
        }
    }
}

/// A cause that is only words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);
