//! One host: what Ansible knows of it, and what factory reads of that.

use serde_json::{Map, Value as Json};

use super::settings::{Connection, Settings};
use super::vars::VarSet;
use crate::error::Place;
use crate::inventory::units::Bytes;

/// Where factory keeps its files on a host unless `factory_home` says otherwise.
pub const DEFAULT_HOME: &str = "~/.factory";

/// A host of the inventory.
#[derive(Clone)]
pub struct Host {
    /// Its name in the inventory.
    pub name: String,
    /// The groups that it is in, at any depth, sorted by name, without `all`: Ansible's `group_names`.
    pub groups: Vec<String>,
    /// Every variable that reaches it, as `ansible-inventory --list` prints them.
    pub vars: Map<String, Json>,
    /// How it is reached: `ansible_connection`.
    pub connection: Connection,
    /// Name or address to connect to: `ansible_host`, else its name. An IPv6 address has no brackets.
    pub address: String,
    /// `ansible_port`; when not set, `~/.ssh/config` and then 22 decide.
    pub port: Option<u16>,
    /// `ansible_user`; when not set, `~/.ssh/config` and then the login name decide.
    pub user: Option<String>,
    /// `ansible_ssh_private_key_file`, as written: it may begin with `~/`.
    pub key_file: Option<String>,
    /// `ansible_ssh_common_args`, as written.
    pub ssh_common_args: Option<String>,
    /// `ansible_ssh_extra_args`, as written.
    pub ssh_extra_args: Option<String>,
    /// `factory_home`, as written: from `/` or `~/`.
    pub home: String,
    /// `factory_slots`: how many agents may run at once.
    pub slots: Option<u32>,
    /// `factory_labels`.
    pub labels: Vec<String>,
    /// `factory_reserve`: memory kept free.
    pub reserve: Option<Bytes>,
    /// `factory_disks`: paths to watch, from `/` or `~/`.
    pub disks: Vec<String>,
    /// A variable that we read is wrong, so the host must not be used; it still stands in lists and graphs.
    pub problem: bool,
    pub(super) written: std::sync::Arc<VarSet>,
}

impl std::fmt::Debug for Host {
    /// Without the values of variables, which may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("name", &self.name).field("groups", &self.groups).finish_non_exhaustive()
    }
}

impl Host {
    pub(super) fn new(
        name: &str,
        groups: Vec<String>,
        written: std::sync::Arc<VarSet>,
        read: Settings,
        problem: bool,
    ) -> Host {
        Host {
            name: name.to_owned(),
            groups,
            vars: written.iter().map(|(name, var)| (name.to_owned(), var.value.clone())).collect(),
            connection: read.connection,
            address: read.address.unwrap_or_else(|| name.to_owned()),
            port: read.port,
            user: read.user,
            key_file: read.key_file,
            ssh_common_args: read.common_args,
            ssh_extra_args: read.extra_args,
            home: read.home.unwrap_or_else(|| DEFAULT_HOME.to_owned()),
            slots: read.slots,
            labels: read.labels,
            reserve: read.reserve,
            disks: read.disks,
            problem,
            written,
        }
    }

    /// Where the variable `name` of this host was written: the place that won.
    pub fn place(&self, name: &str) -> Option<&Place> {
        self.written.get(name).map(|var| &var.place)
    }
}
