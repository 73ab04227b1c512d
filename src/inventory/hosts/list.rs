//! The inventory as `ansible-inventory --list` prints it.

use std::collections::HashSet;

use serde_json::{Map, Value as Json};

use super::Hosts;
use super::groups::ALL;

/// `{"_meta": {"hostvars": {HOST: VARS}}, GROUP: {"children": [...], "hosts": [...]}, ...}`, keys sorted; with only the
/// hosts of `limit`, while all groups are listed as children, as `--limit` has it.
pub(super) fn json(hosts: &Hosts, limit: Option<&HashSet<&str>>) -> Json {
    let wanted = |name: &str| limit.is_none_or(|limit| limit.contains(name));
    let mut groups = std::collections::BTreeMap::new();
    let mut seen = HashSet::new();
    format(hosts, ALL, &wanted, &mut seen, &mut groups);
    let mut out = Map::new();
    let vars = hosts.iter().filter(|host| !host.vars.is_empty() && wanted(&host.name));
    let mut sorted: Vec<_> = vars.map(|host| (host.name.clone(), sorted_object(&host.vars))).collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut meta = Map::new();
    meta.insert("hostvars".to_owned(), Json::Object(sorted.into_iter().collect()));
    out.insert("_meta".to_owned(), Json::Object(meta));
    out.extend(groups);
    Json::Object(out)
}

fn format(
    hosts: &Hosts,
    index: usize,
    wanted: &dyn Fn(&str) -> bool,
    seen: &mut HashSet<usize>,
    out: &mut std::collections::BTreeMap<String, Json>,
) {
    let Some(group) = hosts.groups.groups.get(index) else { return };
    let name = |index: &usize| hosts.groups.groups.get(*index).map(|group| Json::from(group.name.as_str()));
    let mut about = Map::new();
    if !group.children.is_empty() {
        about.insert("children".to_owned(), group.children.iter().filter_map(name).collect());
    }
    let names = group.hosts.iter().filter_map(|host| hosts.groups.hosts.get(*host)).map(|host| host.name.as_str());
    let names: Vec<&str> = names.filter(|name| index != ALL && wanted(name)).collect();
    if !names.is_empty() {
        about.insert("hosts".to_owned(), Json::from(names));
    }
    for child in &group.children {
        if seen.insert(*child) {
            format(hosts, *child, wanted, seen, out);
        }
    }
    if !about.is_empty() {
        out.insert(group.name.clone(), Json::Object(about));
    }
}

fn sorted_object(map: &Map<String, Json>) -> Json {
    let mut entries: Vec<(String, Json)> = map.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Json::Object(entries.into_iter().collect())
}

fn sorted(value: &Json) -> Json {
    match value {
        Json::Object(map) => sorted_object(map),
        Json::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}
