//! Where a host is looked up and reached.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::config::Config;
use super::known_hosts::{self, KnownHosts};
use super::login::settings::Settings;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Which addresses of a host may be used (`AddressFamily`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// All of them.
    #[default]
    Any,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

impl Family {
    /// Whether `address` may be used.
    pub fn takes(self, address: &SocketAddr) -> bool {
        match self {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        }
    }
}

/// Where a host is looked up and reached: the inventory's values over those of ssh_config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The host's name in the inventory; messages use it.
    pub name: String,
    /// The name or address to connect to (`HostName`).
    pub host: String,
    /// The port to connect to.
    pub port: u16,
    /// The user to log in as.
    pub user: String,
    /// The name under which its keys are held instead of `host` and `port` (`HostKeyAlias`).
    pub host_key_alias: Option<String>,
    /// The user's files of host keys; the first is the one that is added to. None at all after `none`.
    pub user_known_hosts: Vec<PathBuf>,
    /// The system's files of host keys.
    pub global_known_hosts: Vec<PathBuf>,
    /// Whether names that are added are hashed (`HashKnownHosts`).
    pub hash_known_hosts: bool,
    /// The hosts to go through, first hop first (`ProxyJump`), as in ssh_config.
    pub proxy_jump: Option<String>,
    /// The command whose standard input and output are the connection (`ProxyCommand`).
    pub proxy_command: Option<String>,
    /// Which addresses may be used.
    pub family: Family,
    /// With which keys to log in.
    pub login: Settings,
    /// All that ssh said.
    pub config: Config,
}

impl Target {
    /// A host reached at `host` and `port` with nothing from ssh_config and no file of host keys.
    pub fn bare(name: &str, host: &str, port: u16) -> Target {
        Target {
            name: name.to_owned(),
            host: host.to_owned(),
            port,
            user: String::new(),
            host_key_alias: None,
            user_known_hosts: Vec::new(),
            global_known_hosts: Vec::new(),
            hash_known_hosts: false,
            proxy_jump: None,
            proxy_command: None,
            family: Family::Any,
            login: Settings::default(),
            config: Config::default(),
        }
    }

    /// The name and port under which its keys are held: HostKeyAlias, which takes no port, else HostName and port.
    pub fn known_as(&self) -> (&str, u16) {
        match &self.host_key_alias {
            Some(alias) => (alias, known_hosts::PORT),
            None => (&self.host, self.port),
        }
    }

    /// `host:port`, with brackets round an IPv6 address: for messages.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The files of host keys, the user's first.
    pub fn known_hosts_files(&self) -> Vec<PathBuf> {
        self.user_known_hosts.iter().chain(&self.global_known_hosts).cloned().collect()
    }

    /// The host keys in its files.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn known_hosts(&self) -> Result<KnownHosts> {
        KnownHosts::load(&self.known_hosts_files())
    }

    /// Whether it can be asked for its keys as ssh_config wants it: directly.
    ///
    /// # Errors
    /// A directive that is not honoured, named with its value: to pass it over could reach or trust another host than
    /// `ssh` would. [`Exit::Unreachable`].
    pub fn check_directives(&self) -> Result<()> {
        let through = match (&self.proxy_jump, &self.proxy_command) {
            (Some(jump), _) => ("ProxyJump", jump),
            (None, Some(command)) => ("ProxyCommand", command),
            (None, None) => return self.check_login(),
        };
        Err(self.not_honoured(through.0, through.1).help(format!(
            "only hosts that are reached directly can be asked for their keys; log in once by `ssh {}` and compare \
             the fingerprint it shows",
            self.name
        )))
    }

    /// Whether it can be connected to and logged in to as ssh_config wants it; jump hosts are gone through.
    ///
    /// # Errors
    /// As [`Target::check_directives`].
    pub fn check_login(&self) -> Result<()> {
        if let (None, Some(command)) = (&self.proxy_jump, &self.proxy_command) {
            return Err(self.not_honoured("ProxyCommand", command).help(format!(
                "say `ProxyJump HOST` instead of a ProxyCommand for `{}` in ~/.ssh/config; each jump host is then \
                 verified too",
                self.host
            )));
        }
        let unhonoured = self.config.unhonoured().map(|(directive, value)| (directive, value.to_owned()));
        let Some((directive, value)) = unhonoured.or_else(|| self.login.unusable.clone()) else { return Ok(()) };
        Err(self.not_honoured(directive, &value).help(format!(
            "take `{directive}` out for this host in ~/.ssh/config (see `ssh -G {}`), or override it in the inventory \
             by ansible_ssh_common_args",
            self.host
        )))
    }

    fn not_honoured(&self, directive: &str, value: &str) -> Error {
        Error::new(
            Exit::Unreachable,
            format!(
                "host `{}`: its ssh configuration has `{directive} {value}`, which is not honoured here",
                self.name
            ),
        )
    }
}
