//! Which value of a variable a host gets, of the many places that may set it.

use super::groups::{ALL, Entry, Groups};
use super::vars::VarSet;

/// Names that `ansible-inventory` keeps to itself, whoever sets them.
const INTERNAL: [&str; 33] = [
    "ansible_async_path",
    "ansible_collection_name",
    "ansible_config_file",
    "ansible_dependent_role_names",
    "ansible_diff_mode",
    "ansible_facts",
    "ansible_forks",
    "ansible_inventory_sources",
    "ansible_limit",
    "ansible_play_batch",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_play_role_names",
    "ansible_playbook_python",
    "ansible_role_name",
    "ansible_role_names",
    "ansible_run_tags",
    "ansible_skip_tags",
    "ansible_verbosity",
    "ansible_version",
    "inventory_dir",
    "inventory_file",
    "inventory_hostname",
    "inventory_hostname_short",
    "groups",
    "group_names",
    "hostvars",
    "playbook_dir",
    "play_hosts",
    "role_name",
    "role_names",
    "role_path",
    "role_uuid",
];

/// Whether a variable of this name is Ansible's own and not shown.
pub(super) fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// The variables of `host`, each from the place that wins, from weak to strong: `all` in `hosts.yml`, its other groups
/// there (by depth, priority and name), `group_vars/all`, `group_vars/` of the others, the host in `hosts.yml`,
/// `host_vars/`.
pub(super) fn effective(groups: &Groups, group_files: &[VarSet], host: &Entry, host_files: &VarSet) -> VarSet {
    let order = groups.order_of(host);
    let mut vars = VarSet::default();
    let inline = |index: &usize| groups.groups.get(*index).map(|group| &group.vars);
    let everywhere = std::iter::once(&ALL);
    let layers = everywhere
        .clone()
        .chain(&order)
        .filter_map(inline)
        .chain(everywhere.chain(&order).filter_map(|index| group_files.get(*index)))
        .chain([&host.vars, host_files]);
    for layer in layers {
        vars.merge(layer);
    }
    vars.retain(|name| !is_internal(name));
    vars
}
