//! `hosts.yml` as Ansible reads it: hosts, groups, variables and patterns, equal to ansible-core's own answers.
//!
//! Bounds, so that no file can fill the memory: 100,000 hosts, 10,000 groups nested 255 deep, and a million values
//! in the variables of all hosts.

mod address;
mod check;
mod document;
mod files;
pub(crate) mod glob;
mod graph;
mod groups;
mod host;
mod list;
mod pattern;
mod precedence;
mod ranges;
mod settings;
mod template;
mod vars;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

pub use host::{DEFAULT_HOME, Host};
pub use settings::Connection;

use crate::error::{Diagnostic, Diagnostics, Level, Result};
use crate::inventory::yaml;
use groups::{ALL, Groups};
use vars::{Var, VarSet};

/// How many values the variables of all hosts may hold together: each host has its own copy.
const MAX_VALUES: u64 = 1_000_000;

/// The hosts and groups of one inventory.
pub struct Hosts {
    pub(self) groups: Groups,
    /// In the order of `groups.hosts`.
    hosts: Vec<Host>,
    /// Ansible's order: that of the group `all`.
    order: Vec<usize>,
}

impl std::fmt::Debug for Hosts {
    /// The names alone.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|host| &host.name)).finish()
    }
}

impl Hosts {
    /// Reads `hosts_yml` and the `group_vars/` and `host_vars/` beside it; every problem goes to `problems`, each once.
    ///
    /// `None` when Ansible would not read it either, or it passes a bound. What only factory minds (a password, a vault
    /// value, a wrong `factory_slots`) is an error in `problems` too, but the inventory comes back, so that it can be
    /// listed; hosts whose settings are wrong have [`Host::problem`] set.
    pub fn load(hosts_yml: &Path, problems: &mut Diagnostics) -> Option<Hosts> {
        let mut found = Diagnostics::default();
        let mut later = Diagnostics::default();
        let hosts = load(hosts_yml, &mut found, &mut later);
        found.extend(later);
        problems.extend(unique(found));
        hosts
    }

    /// All hosts in Ansible's order: those of the group `all`, then of the groups below it, level by level.
    pub fn iter(&self) -> impl Iterator<Item = &Host> {
        self.order.iter().filter_map(|index| self.hosts.get(*index))
    }

    /// The host `name`.
    pub fn get(&self, name: &str) -> Option<&Host> {
        self.hosts.get(self.groups.host(name)?)
    }

    /// How many hosts there are.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The names of all groups, `all` and `ungrouped` first, else in the order of the file.
    pub fn group_names(&self) -> impl Iterator<Item = &str> {
        self.groups.groups.iter().map(|group| group.name.as_str())
    }

    /// The hosts that `pattern` selects, in the order of `ansible PATTERN --list-hosts`.
    ///
    /// Names, groups, globs, `~regex`, lists with commas or colons, `:&group`, `:!group`, `name[0]`, `name[-1]`,
    /// `name[0:2]`, `@file`. Unlike with Ansible, the patterns `localhost`, `127.0.0.1` and `::1` match only when one
    /// of the three stands in the inventory: factory makes up no host, since it could be a second name of one that is
    /// there.
    ///
    /// # Errors
    /// When nothing matches or the pattern is none: [`crate::exit::Exit::Inventory`], with what was perhaps meant.
    pub fn select(&self, pattern: &str) -> Result<Vec<&Host>> {
        let found = pattern::select(self, pattern)?;
        Ok(found.into_iter().filter_map(|index| self.hosts.get(index)).collect())
    }

    /// What `ansible-inventory --list` prints, without `_meta.profile`; infinities and not-a-number, which Ansible
    /// prints as no JSON, are text.
    pub fn list_json(&self) -> serde_json::Value {
        list::json(self, None)
    }

    /// What `ansible-inventory --list --limit PATTERN` prints, in the same way.
    ///
    /// # Errors
    /// As [`Hosts::select`].
    pub fn list_json_of(&self, pattern: &str) -> Result<serde_json::Value> {
        let names: HashSet<&str> = self.select(pattern)?.into_iter().map(|host| host.name.as_str()).collect();
        Ok(list::json(self, Some(&names)))
    }

    /// What `ansible-inventory --graph` prints, without the last line break.
    pub fn graph(&self) -> String {
        graph::text(self)
    }
}

/// Reads everything; what Ansible minds too goes to `problems`, what only we mind to `later`.
fn load(path: &Path, problems: &mut Diagnostics, later: &mut Diagnostics) -> Option<Hosts> {
    let source = keep(yaml::read(path), problems)?;
    if source.text.starts_with("$ANSIBLE_VAULT") {
        let span = crate::error::Span { line: 1, column: 1, start: 0, end: source.text.len() };
        problems.push(check::vault(&crate::error::Place { source, span }));
        return None;
    }
    let Some(root) = keep(yaml::parse_ansible(&source), problems)? else {
        problems.push(
            Diagnostic::error(format!("{} is empty", path.display()))
                .help("write `all:` and below it `hosts:`, or let `factory init` write an inventory"),
        );
        return None;
    };
    let source = yaml::masked(&source, &root);
    let mut groups = document::read(&root, &source, problems);
    if problems.has_errors() {
        return None;
    }
    if let Err(cycle) = groups.reconcile() {
        let path = cycle.names.join("` > `");
        let mut problem = match cycle.names.len() {
            1 => Diagnostic::error(format!("the group `{path}` lies too deep")).help("nest groups at most 255 deep"),
            _ => Diagnostic::error(format!("groups contain one another in a circle: `{path}`"))
                .help("take one of them out of the `children:` of the other"),
        };
        if let Some(span) = cycle.span.filter(|span| span.line > 0) {
            problem = problem.at(&source, span);
        }
        problems.push(problem);
        return None;
    }
    namesakes(&groups, &source, problems);
    let folder = path.parent().unwrap_or(Path::new(""));
    let group_files = read_files(folder, "group_vars", &group_names(&groups), problems, later);
    let host_files = read_files(folder, "host_vars", &host_names(&groups), problems, later);
    if problems.has_errors() {
        return None;
    }
    let (mut definitions, mut refused) = (HashSet::new(), HashSet::new());
    let inline = groups.groups.iter().map(|group| &group.vars).chain(groups.hosts.iter().map(|host| &host.vars));
    for (name, var) in inline.chain(&group_files).chain(&host_files).flat_map(VarSet::iter) {
        if definitions.insert(Arc::as_ptr(var)) {
            let problem = check::definition(name, var);
            if problem.as_ref().is_some_and(|problem| problem.level == Level::Error) {
                refused.insert(Arc::as_ptr(var));
            }
            later.extend(problem);
        }
    }
    resolve(groups, &Files { groups: group_files, hosts: host_files }, &refused, problems, later)
}

/// What `group_vars/` and `host_vars/` set, in the order of the groups and of the hosts.
struct Files {
    groups: Vec<VarSet>,
    hosts: Vec<VarSet>,
}

/// Merges the variables of every host and reads its settings.
fn resolve(
    groups: Groups,
    files: &Files,
    refused: &HashSet<*const Var>,
    problems: &mut Diagnostics,
    later: &mut Diagnostics,
) -> Option<Hosts> {
    let members: minijinja::value::Value = groups
        .groups
        .iter()
        .enumerate()
        .map(|(index, group)| {
            let names = groups.hosts_of(index).into_iter().filter_map(|host| groups.hosts.get(host));
            (group.name.clone(), names.map(|host| host.name.clone()).collect::<minijinja::value::Value>())
        })
        .collect();
    let none = VarSet::default();
    let mut values = 0u64;
    let mut hosts = Vec::with_capacity(groups.hosts.len());
    for (index, entry) in groups.hosts.iter().enumerate() {
        let own = files.hosts.get(index).unwrap_or(&none);
        let vars = Arc::new(precedence::effective(&groups, &files.groups, entry, own));
        values = vars.iter().fold(values, |sum, (_, var)| sum.saturating_add(var.size));
        if values > MAX_VALUES {
            problems.push(
                Diagnostic::error(format!("the variables of all hosts hold more than {MAX_VALUES} values"))
                    .help("a large variable of a large group is copied to each of its hosts: move data elsewhere"),
            );
            return None;
        }
        let mut names: Vec<String> = groups
            .order_of(entry)
            .into_iter()
            .filter_map(|group| groups.groups.get(group).map(|group| group.name.clone()))
            .collect();
        names.sort_unstable();
        let scope = template::Scope::new(&entry.name, &names, &members, &vars);
        let mut wrong = Diagnostics::default();
        let settings = settings::read(&vars, &scope, &mut wrong);
        let secret = vars.iter().any(|(_, var)| refused.contains(&Arc::as_ptr(var)));
        let problem = wrong.has_errors() || secret;
        later.extend(wrong);
        hosts.push(Host::new(&entry.name, names, vars, settings, problem));
    }
    let order = groups.hosts_of(ALL);
    Some(Hosts { groups, hosts, order })
}

fn group_names(groups: &Groups) -> Vec<String> {
    groups.groups.iter().map(|group| group.name.clone()).collect()
}

fn host_names(groups: &Groups) -> Vec<String> {
    groups.hosts.iter().map(|host| host.name.clone()).collect()
}

/// The variables from `kind` beside hosts.yml for each of `names`.
fn read_files(
    folder: &Path,
    kind: &str,
    names: &[String],
    problems: &mut Diagnostics,
    later: &mut Diagnostics,
) -> Vec<VarSet> {
    let folder = folder.join(kind);
    if !folder.is_dir() {
        return Vec::new();
    }
    let known: HashSet<&str> = names.iter().map(String::as_str).collect();
    let what = kind.trim_end_matches("_vars");
    for (stem, path) in files::strangers(&folder, |name| known.contains(name)) {
        let help = match near(&stem, names.iter().map(String::as_str)) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("name it after a {what}, or remove it"),
        };
        problems.push(
            Diagnostic::warning(format!("{} is not read: there is no {what} `{stem}`", path.display())).help(help),
        );
    }
    names.iter().map(|name| files::read(&folder, name, problems, later)).collect()
}

/// The one of `names` that `text` is perhaps meant to be.
fn near<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |name: &str| {
        // In a short name one slip weighs too much for the other measure.
        let slip = text.len() > 2 && strsim::osa_distance(text, name) == 1;
        if slip { 1.0 } else { strsim::jaro_winkler(text, name) }
    };
    let scored = names.filter(|name| *name != text).map(|name| (likeness(name), name));
    scored.filter(|(score, _)| *score > 0.85).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

/// Warns of names that are both a host and a group, as Ansible does.
fn namesakes(groups: &Groups, source: &Arc<crate::error::SourceFile>, problems: &mut Diagnostics) {
    for host in groups.hosts.iter().filter(|host| groups.group(&host.name).is_some()) {
        problems.push(
            Diagnostic::warning(format!("`{}` is both a host and a group", host.name))
                .at(source, host.span)
                .help("Ansible puts the host's variables on the group: rename one of them"),
        );
    }
}

fn keep<T>(result: std::result::Result<T, Diagnostic>, problems: &mut Diagnostics) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

/// The problems without those that say the same of the same place: a group's variable reaches many hosts.
fn unique(problems: Diagnostics) -> impl Iterator<Item = Diagnostic> {
    let mut seen = HashSet::new();
    problems.into_iter().filter(move |problem| {
        let place = problem.place.as_ref().map(|place| (place.source.path.clone(), place.span.start));
        seen.insert((place, problem.message.clone()))
    })
}

#[cfg(test)]
mod tests;
