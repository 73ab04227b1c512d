//! `hosts.yml` -> groups and hosts, by the rules of Ansible's own YAML inventory.

use std::sync::Arc;

use serde_json::Value as Json;

use super::groups::{Groups, MAX_GROUPS, MAX_LINKS};
use super::vars::{self, Var};
use super::{address, ranges};
use crate::error::{Diagnostic, Diagnostics, SourceFile, Span};
use crate::inventory::yaml::{Entry, Node, Value, yaml11};

/// How many times ranges may name a host and set a variable on one, all told: beyond it a file of a few lines would
/// fill the memory.
const MAX_STEPS: usize = 2_000_000;

/// The keys of a group.
const SECTIONS: [&str; 3] = ["hosts", "children", "vars"];

/// Reads the document `root` of `source` into groups and hosts, not yet reconciled. Every problem goes to `problems`;
/// an error among them means that Ansible would not read the file.
pub(super) fn read(root: &Node, source: &Arc<SourceFile>, problems: &mut Diagnostics) -> Groups {
    let mut reader = Reader { source, problems, groups: Groups::new(), steps: 0, full: false };
    let shape = "a hosts.yml begins with `all:` and, below it, `hosts:`, `children:` or `vars:`";
    let Some(entries) = root.as_mapping() else {
        reader.error(format!("expected groups, found {}", root.kind()), root.span, shape);
        return reader.groups;
    };
    if entries.is_empty() {
        reader.error("the inventory is empty".to_owned(), root.span, shape);
    }
    if let Some(plugin) = root.get("plugin").filter(|plugin| !vars::is_falsy(plugin)) {
        let help =
            "only YAML inventories of hosts and groups are read; print it once with `ansible-inventory --list --yaml`";
        reader.error("this configures an Ansible inventory plugin".to_owned(), plugin.span, help);
        return reader.groups;
    }
    for (name, data) in entries {
        reader.group(name, data, false);
    }
    reader.groups
}

struct Reader<'a> {
    source: &'a Arc<SourceFile>,
    problems: &'a mut Diagnostics,
    groups: Groups,
    steps: usize,
    /// A bound was passed and told: the rest is not read.
    full: bool,
}

impl Reader<'_> {
    fn error(&mut self, message: String, span: Span, help: &str) {
        self.problems.push(Diagnostic::error(message).at(self.source, span).help(help));
    }

    fn warning(&mut self, message: String, span: Span, help: &str) {
        self.problems.push(Diagnostic::warning(message).at(self.source, span).help(help));
    }

    fn refuse(&mut self, refusal: yaml11::Refusal) {
        self.error(refusal.message, refusal.span, "write it as Ansible reads it, or quote it to make it text");
    }

    /// Counts work that a few lines can ask for; false once there is too much.
    fn step(&mut self, count: usize, span: Span) -> bool {
        self.steps = self.steps.saturating_add(count);
        if self.steps > MAX_STEPS && !self.full {
            self.full = true;
            let message = format!("more than {MAX_STEPS} hosts and host variables");
            self.error(message, span, "look at the ranges: one of them stands for far more hosts than you have");
        }
        !self.full
    }

    /// Reads the group `name`; its index, or `None` when it is none.
    fn group(&mut self, name: &Node, data: &Node, child: bool) -> Option<usize> {
        if self.full {
            return None;
        }
        let (text, is_text) = match yaml11::key(name) {
            Ok(key) => key,
            Err(refusal) => {
                self.refuse(refusal);
                return None;
            }
        };
        let empty = data.is_null();
        if !empty && data.as_mapping().is_none() {
            let message = format!("`{text}` is not a group: it holds {}", data.kind());
            let help = "below a group stand `hosts:`, `children:` and `vars:`";
            // Ansible skips it, and then does not find the child that it skipped.
            if child {
                self.error(message, data.span, help);
            } else {
                self.warning(message, name.span, help);
            }
            return None;
        }
        if !is_text {
            self.error(format!("the group name `{text}` is not text"), name.span, "put it in quotes");
            return None;
        }
        if text.is_empty() {
            self.error("a group without a name".to_owned(), name.span, "give it one");
            return None;
        }
        let new = self.groups.group(&text).is_none();
        let index = self.groups.add_group(&text, Some(name.span));
        if new && !is_identifier(&text) {
            self.problems.push(
                Diagnostic::warning(format!("the group name `{text}` is not a valid variable name"))
                    .at(self.source, name.span)
                    .help("Ansible warns of it: use letters, digits and `_`, not beginning with a digit"),
            );
        }
        if self.groups.groups.len() > MAX_GROUPS {
            self.full = true;
            self.error(format!("more than {MAX_GROUPS} groups"), name.span, "use fewer groups");
            return None;
        }
        for (key, section) in data.as_mapping().unwrap_or_default() {
            self.section(index, &text, key, section);
        }
        Some(index)
    }

    fn section(&mut self, group: usize, name: &str, key: &Node, section: &Node) {
        let word = key.as_text().unwrap_or_default();
        if section.is_null() || self.full {
            return;
        }
        if !SECTIONS.contains(&word) {
            let help = match super::near(word, SECTIONS.into_iter()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "below a group stand `hosts:`, `children:` and `vars:`; Ansible skips the rest".to_owned(),
            };
            self.warning(format!("unknown key `{word}` in the group `{name}`"), key.span, &help);
            return;
        }
        let null = Node { value: Value::Scalar { text: String::new(), plain: true }, span: section.span, tag: None };
        let lone: [Entry; 1];
        let entries = match &section.value {
            Value::Mapping(entries) => entries.as_slice(),
            // `hosts: web1` is short for `hosts: {web1: }`.
            Value::Scalar { text, plain }
                if matches!(yaml11::scalar(text, *plain, section.tag.as_deref()), Ok(yaml11::Scalar::Text(_))) =>
            {
                lone = [(Arc::new(section.clone()), Arc::new(null))];
                &lone
            }
            _ => {
                let message = format!("`{word}` of the group `{name}` is {}, and must be a mapping", section.kind());
                let help = match (word, &section.value) {
                    ("hosts" | "children", Value::Sequence(_)) => "write `name:` instead of `- name`",
                    _ => "write `name: value` below it",
                };
                self.error(message, section.span, help);
                return;
            }
        };
        for entry in entries {
            match word {
                "vars" => self.group_var(group, entry),
                "children" => {
                    if let Some(child) = self.group(&entry.0, &entry.1, true) {
                        self.groups.link(group, child, entry.0.span);
                    }
                    if self.groups.link_count() > MAX_LINKS && !self.full {
                        self.full = true;
                        let message = format!("more than {MAX_LINKS} groups within groups");
                        self.error(message, entry.0.span, "use fewer");
                    }
                }
                _ => self.host(group, entry),
            }
        }
    }

    fn var(&mut self, entry: &Entry) -> Option<(String, Arc<Var>)> {
        match vars::read(entry, self.source) {
            Ok((name, var)) => Some((name, Arc::new(var))),
            Err(refusal) => {
                self.refuse(refusal);
                None
            }
        }
    }

    fn group_var(&mut self, group: usize, entry: &Entry) {
        let Some((name, var)) = self.var(entry) else { return };
        self.set_group_var(group, &name, var);
    }

    fn set_group_var(&mut self, group: usize, name: &str, var: Arc<Var>) {
        if name != "ansible_group_priority" {
            if let Some(group) = self.groups.groups.get_mut(group) {
                group.vars.set(name, var);
            }
            return;
        }
        match (priority(&var.value), self.groups.groups.get_mut(group)) {
            (Some(number), Some(group)) => group.priority = number,
            _ => self.problems.push(
                Diagnostic::error("`ansible_group_priority` is not a whole number")
                    .at(&var.place.source, var.place.span)
                    .help("among groups of one depth the higher number wins; the default is 1"),
            ),
        }
    }

    fn host(&mut self, group: usize, (key, data): &Entry) {
        let (pattern, is_text) = match yaml11::key(key) {
            Ok(key) => key,
            Err(refusal) => return self.refuse(refusal),
        };
        if !is_text {
            return self.error(format!("the host name `{pattern}` is not text"), key.span, "put it in quotes");
        }
        let (name, port) = address::parse(&pattern).unwrap_or((&pattern, None));
        let names = match ranges::expand(name) {
            Ok(names) => names,
            Err(why) => {
                let help = "a range is `[1:10]`, `[01:10]`, `[a:f]` or `[0:10:2]`, the end included";
                return self.error(format!("the host name `{pattern}`: {why}"), key.span, help);
            }
        };
        if names.is_empty() {
            let message = format!("the range in `{pattern}` stands for no host");
            self.warning(message, key.span, "its begin lies after its end");
        }
        let entries = match data.as_mapping() {
            Some(entries) => entries,
            None if vars::is_falsy(data) => &[],
            None => {
                let message = format!("the variables of `{pattern}` are {}, and must be a mapping", data.kind());
                return self.error(message, data.span, "write `name: value` below the host");
            }
        };
        let port = match port.map(str::parse::<u64>) {
            None | Some(Ok(0)) => None,
            Some(Ok(port)) => Some(Arc::new(Var {
                value: Json::from(port),
                place: crate::error::Place { source: Arc::clone(self.source), span: key.span },
                key: crate::error::Place { source: Arc::clone(self.source), span: key.span },
                size: 1,
            })),
            Some(Err(_)) => {
                return self.error(format!("`{pattern}` has no valid port"), key.span, "ports end at 65535");
            }
        };
        let vars: Vec<(String, Arc<Var>)> = entries.iter().filter_map(|entry| self.var(entry)).collect();
        if !self.step(names.len().saturating_mul(vars.len() + 1), key.span) {
            return;
        }
        for name in names {
            if name.is_empty() {
                return self.error("a host without a name".to_owned(), key.span, "give it one");
            }
            let (host, new) = self.groups.add_host(&name, group, key.span);
            if self.groups.hosts.len() > ranges::MAX_HOSTS {
                self.full = true;
                let message = format!("more than {} hosts", ranges::MAX_HOSTS);
                return self.error(message, key.span, "look at the ranges");
            }
            // A name that is a group too: Ansible sets the variables on the group.
            let namesake = self.groups.group(&name);
            if let Some(port) = port.as_ref().filter(|_| new)
                && let Some(host) = self.groups.hosts.get_mut(host)
            {
                host.vars.set("ansible_port", Arc::clone(port));
            }
            for (variable, var) in &vars {
                match namesake {
                    Some(group) => self.set_group_var(group, variable, Arc::clone(var)),
                    None => {
                        if let Some(host) = self.groups.hosts.get_mut(host) {
                            host.vars.set(variable, Arc::clone(var));
                        }
                    }
                }
            }
        }
    }
}

/// A group's priority as Python's `int` reads it.
fn priority(value: &Json) -> Option<i64> {
    match value {
        Json::Bool(truth) => Some(i64::from(*truth)),
        Json::String(text) => text.trim().parse().ok(),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Some(whole),
            // Python cuts the fraction off; what a float cannot say exactly is no priority.
            None => number.as_f64().filter(|float| float.abs() < 9e15).map(|float| float.trunc() as i64),
        },
        _ => None,
    }
}

/// Whether Ansible takes `name` for a variable name: letters, digits and `_`, not beginning with a digit.
fn is_identifier(name: &str) -> bool {
    !name.starts_with(char::is_numeric) && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}
