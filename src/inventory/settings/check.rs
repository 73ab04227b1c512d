//! What one key alone cannot show: names that must exist, numbers that must be in order, keys that exclude each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{FactoryFile, Lease, Ledger};
use crate::error::{Diagnostic, SourceFile};
use crate::inventory::agents::{self, Agent, AgentKeys, Halt, Start, Work};
use crate::inventory::de::{Document, list, near, sentence, span_below};
use crate::inventory::units::{Bytes, Span};
use crate::inventory::yaml::{Node, Value};

/// The names that the templates of a command may use.
pub const TEMPLATE_NAMES: [&str; 8] = ["agent", "fleet", "host", "issue", "pull", "repo", "run", "task"];

/// Less memory than this for an agent is a forgotten unit.
const LEAST_MEMORY: Bytes = Bytes(1 << 20);

/// Collects problems at places below one node.
pub(crate) struct Check<'a> {
    pub(crate) source: &'a Arc<SourceFile>,
    pub(crate) root: &'a Arc<Node>,
    /// What the root is called in messages; empty for a file.
    pub(crate) name: &'a str,
    pub(crate) found: &'a mut Vec<Diagnostic>,
}

impl Check<'_> {
    /// The dotted name of `path` in messages.
    fn dotted(&self, path: &[&str]) -> String {
        let mut dotted = self.name.to_owned();
        let mut node = Some(self.root);
        for part in path {
            if let Some(Value::Sequence(items)) = node.map(|node| &node.value) {
                dotted.push_str(&format!("[{part}]"));
                node = part.parse::<usize>().ok().and_then(|index| items.get(index));
                continue;
            }
            let dot = if dotted.is_empty() { "" } else { "." };
            dotted.push_str(&format!("{dot}{part}"));
            node = node.and_then(|node| node.get(part));
        }
        dotted
    }

    /// An error at `path`: "`PATH`: MESSAGE".
    pub(crate) fn error(&mut self, path: &[&str], message: impl std::fmt::Display, help: impl Into<String>) {
        let message = sentence(&format!("`{}`", self.dotted(path)), &message.to_string());
        let at = span_below(self.root, path);
        self.found.push(Diagnostic::error(message).at(self.source, at).help(help));
    }

    /// A warning at `path`.
    pub(crate) fn warning(&mut self, path: &[&str], message: impl std::fmt::Display, help: impl Into<String>) {
        let message = sentence(&format!("`{}`", self.dotted(path)), &message.to_string());
        let at = span_below(self.root, path);
        self.found.push(Diagnostic::warning(message).at(self.source, at).help(help));
    }

    /// `name` must be one of `known`.
    pub(crate) fn known<'k>(
        &mut self,
        path: &[&str],
        what: &str,
        name: &str,
        known: impl Iterator<Item = &'k str> + Clone,
        make: &str,
    ) {
        if known.clone().any(|known| known == name) {
            return;
        }
        let all: Vec<&str> = known.clone().collect();
        let help = match near(name, known) {
            Some(meant) => format!("did you mean `{meant}`? else {make}"),
            None if all.is_empty() => make.to_owned(),
            None => format!("there is {}; else {make}", list(&all, "and")),
        };
        self.error(path, format!("there is no {what} `{name}`"), help);
    }

    /// `low` must not be above `high`.
    fn ordered(&mut self, low: (&[&str], Span), high: (&[&str], Span)) {
        if low.1 > high.1 {
            let at = if self.root_has(low.0) { low } else { high };
            let message =
                format!("`{}` ({}) is above `{}` ({})", self.dotted(low.0), low.1, self.dotted(high.0), high.1);
            let help = format!("make `{}` {} or more, or `{}` less", self.dotted(high.0), low.1, self.dotted(low.0));
            let span = span_below(self.root, at.0);
            self.found.push(Diagnostic::error(message).at(self.source, span).help(help));
        }
    }

    fn root_has(&self, path: &[&str]) -> bool {
        path.iter().try_fold(self.root, |node, name| node.get(name)).is_some()
    }

    /// The keys of one agent, written at `path`, which make it `agent`.
    pub(crate) fn agent(
        &mut self,
        path: &[&str],
        keys: &AgentKeys,
        agent: &Agent,
        agents: &BTreeSet<&str>,
        accounts: &BTreeSet<&str>,
    ) {
        let at = |key: &'static str| -> Vec<&str> { path.iter().copied().chain([key]).collect() };
        let inner = |key: &'static str, below: &'static str| -> Vec<&str> {
            path.iter().copied().chain([key, below]).collect()
        };
        if agent.start == Start::Cron && keys.command.is_some() {
            let help =
                "remove `command`, or write `start: factory` and let `factory takeover HOST` disable its crontab line";
            self.error(&at("command"), "an agent that cron starts is never launched by us", help);
        }
        if agent.start == Start::Cron && agent.match_text.is_none() {
            let at = if keys.start.is_some() { at("start") } else { path.to_vec() };
            let help = "add `match:` with a text that stands in its command line, such as `match: dev-agent.sh`";
            self.warning(&at, "without `match` the runs that cron starts cannot be found or counted", help);
        }
        if let Some(text) = &keys.match_text
            && text.trim().chars().count() < 4
        {
            let help = "write a longer part of its command line: a short text also finds what people run";
            self.error(&at("match"), format!("`{text}` is shorter than 4 characters"), help);
        }
        if let Some(Halt::Cron(text)) = &keys.halt {
            let path = inner("halt", "cron");
            if text.contains(['\n', '\0']) {
                self.error(&path, "a crontab line holds no line break", "write a text that stands in one line of it");
            } else if text.trim().chars().count() < 4 {
                let help = "write a longer part of the line: a hold disables every line that holds the text";
                self.warning(&path, format!("`{text}` is shorter than 4 characters"), help);
            }
        }
        if let Some(account) = &keys.account {
            let make = format!("add it to factory.yml: `accounts: {{{account}: {{max_runs: 1}}}}`");
            self.known(&at("account"), "account", account, accounts.iter().copied(), &make);
        }
        for (index, name) in keys.starts.iter().flatten().enumerate() {
            let index = index.to_string();
            let mut path = at("starts");
            path.push(&index);
            self.known(&path, "agent", name, agents.iter().copied(), "add it under `agents:` in factory.yml");
            if *name == agent.name {
                self.error(&path, "an agent cannot start itself", "remove it from the list");
            }
        }
        let needs = keys.needs.clone().unwrap_or_default();
        if let Some(memory) = needs.memory.filter(|memory| *memory < LEAST_MEMORY) {
            let help = format!("give the unit: `{}GiB` or `{}MiB`", memory.0.max(1), memory.0.max(1));
            let message = format!("{} bytes are too little for any program", memory.0);
            self.error(&inner("needs", "memory"), message, help);
        }
        if let Some(cpu) = needs.cpu.filter(|cpu| !(*cpu > 0.0 && *cpu <= 4096.0)) {
            let help = "write how many cores a run keeps busy, such as 1.5";
            self.error(&inner("needs", "cpu"), format!("`{cpu}` is no number of cores"), help);
        }
        let times = [("time_limit", keys.time_limit), ("every", keys.every)];
        for (key, _) in times.into_iter().filter(|(_, time)| time.is_some_and(|time| time.0.as_secs() < 1)) {
            self.error(&at(key), "must be 1s or more", "write it like `4h`");
        }
        if keys.every.is_some() && agent.work != Work::Schedule {
            self.error(
                &at("every"),
                "only an agent with `work: schedule` starts every so often",
                "remove it, or write `work: schedule`",
            );
        }
        for (index, word) in keys.command.iter().flat_map(|argv| &argv.0).enumerate() {
            let index = index.to_string();
            let mut path = at("command");
            path.push(&index);
            self.template(&path, word);
        }
    }

    /// The templates in `text`, at `path`, must be well formed.
    fn template(&mut self, path: &[&str], text: &str) {
        if !text.contains("{{") && !text.contains("{%") {
            return;
        }
        let environment = minijinja::Environment::new();
        match environment.template_from_str(text) {
            Err(error) => {
                let why = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
                let help = "write it like \"{{ issue.number }}\"";
                self.error(path, format!("the template `{}` cannot be read: {why}", text.escape_debug()), help);
            }
            Ok(template) => {
                let mut names: Vec<String> = template.undeclared_variables(false).into_iter().collect();
                names.sort();
                for name in names.iter().filter(|name| !TEMPLATE_NAMES.contains(&name.as_str())) {
                    let help = match near(name, TEMPLATE_NAMES) {
                        Some(meant) => format!("did you mean `{meant}`?"),
                        None => format!("a template may use {}", list(&TEMPLATE_NAMES, "and")),
                    };
                    self.error(path, format!("the template uses `{name}`, which is never set"), help);
                }
            }
        }
    }
}

/// Everything across the keys of `factory.yml`.
pub(super) fn factory(document: &Document, root: &Arc<Node>, file: &FactoryFile, found: &mut Vec<Diagnostic>) {
    let mut check = Check { source: &document.source, root, name: "", found };
    let agents: BTreeSet<&str> = agents::BUILT_IN.into_iter().chain(file.agents.keys().map(String::as_str)).collect();
    let accounts: BTreeSet<&str> = file.accounts.keys().map(String::as_str).collect();
    for (name, keys) in &file.agents {
        if keys.class.is_none() && agents::class_of(name).is_none() && !check.root_has(&["agents", name, "class"]) {
            let help = "add `class: dev`, `class: review` or `class: supervisor`: what is held first under pressure";
            check.error(&["agents", name], "lacks the key `class`", help);
        }
        check.agent(&["agents", name], keys, &Agent::new(name, keys.clone()), &agents, &accounts);
    }
    matches(&mut check, file);
    policy(&mut check, file);
    candidates(&mut check, file);
    wake(&mut check, file);
    ssh_and_alerts(&mut check, file);
    lease(&mut check, file);
}

/// A text that finds another agent's runs too would count and stop them twice.
fn matches(check: &mut Check<'_>, file: &FactoryFile) {
    let texts: Vec<(&String, &String)> =
        file.agents.iter().filter_map(|(name, keys)| Some((name, keys.match_text.as_ref()?))).collect();
    for (index, (name, text)) in texts.iter().enumerate() {
        let other = texts.iter().enumerate().find(|(at, (_, other))| {
            *at != index && other.contains(text.as_str()) && (other.len() > text.len() || *at < index)
        });
        if let Some((_, (other, _))) = other {
            let help = "write more of its command line, so that each run belongs to one agent";
            let message = format!("`{text}` also finds the runs of `{other}`");
            check.warning(&["agents", name, "match"], message, help);
        }
    }
}

fn policy(check: &mut Check<'_>, file: &FactoryFile) {
    for (path, message) in file.policy.check() {
        let path: Vec<&str> = std::iter::once("policy").chain(path.split('.')).collect();
        check.error(
            &path,
            message,
            "change it or its neighbour; a key that is left out has its default, and docs/inventory.md lists them",
        );
    }
}

fn candidates(check: &mut Check<'_>, file: &FactoryFile) {
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, name) in file.candidates.iter().enumerate() {
        let path = ["candidates", &index.to_string()];
        if name.trim().is_empty() {
            check.error(&path, "an empty name", "write the name of a host of hosts.yml");
        } else if first.insert(name, index).is_some() {
            check.error(&path, format!("`{name}` stands twice"), "remove one of the two");
        }
    }
    if first.len() > 1 && file.ledger == (Ledger::Sqlite {}) {
        let help =
            "add `ledger: {kind: git, url: ...}` or `ledger: {kind: etcd, endpoints: [...]}`, or keep one candidate";
        let message =
            format!("{} candidates cannot share the `sqlite` ledger: it is a file on one machine", first.len());
        check.error(&["candidates"], message, help);
    }
}

fn wake(check: &mut Check<'_>, file: &FactoryFile) {
    let wake = &file.wake;
    check.ordered((&["wake", "min"], wake.min), (&["wake", "max"], wake.max));
    check.ordered((&["wake", "running_min"], wake.running_min), (&["wake", "running_max"], wake.running_max));
    check.ordered((&["wake", "idle_min"], wake.idle_min), (&["wake", "idle_max"], wake.idle_max));
    check.ordered((&["wake", "deadline"], wake.deadline), (&["wake", "stuck"], wake.stuck));
    for (key, value) in [
        ("pipeline_first", wake.pipeline_first),
        ("pipeline_step", wake.pipeline_step),
        ("running_step", wake.running_step),
    ] {
        if !(value > 0.0 && value <= 10.0) {
            check.error(&["wake", key], format!("`{value}` is out of range"), "write a part of a time, such as 0.25");
        }
    }
    if !(wake.idle_growth >= 1.0 && wake.idle_growth <= 100.0) {
        check.error(
            &["wake", "idle_growth"],
            format!("`{}` is out of range", wake.idle_growth),
            "write a factor of 1 or more, such as 1.6",
        );
    }
    for (key, value) in [
        ("min", wake.min),
        ("max", wake.max),
        ("watch", wake.watch),
        ("watch_urgent", wake.watch_urgent),
        ("deadline", wake.deadline),
    ] {
        positive(check, &["wake", key], value);
    }
}

fn positive(check: &mut Check<'_>, path: &[&str], value: Span) {
    if value.0.is_zero() {
        check.error(path, "must be more than 0", "write it like `60s`, or leave the key out for the default");
    }
}

fn ssh_and_alerts(check: &mut Check<'_>, file: &FactoryFile) {
    let ssh = &file.ssh;
    check.ordered((&["ssh", "refused"], ssh.refused), (&["ssh", "refused_max"], ssh.refused_max));
    check.ordered((&["ssh", "connect"], ssh.connect), (&["ssh", "sweep"], ssh.sweep));
    for (key, value) in
        [("connect", ssh.connect), ("command", ssh.command), ("keepalive", ssh.keepalive), ("sweep", ssh.sweep)]
    {
        positive(check, &["ssh", key], value);
    }
    let forges = &file.forges;
    check.ordered((&["forges", "connect"], forges.connect), (&["forges", "call"], forges.call));
    check.ordered((&["forges", "call"], forges.call), (&["forges", "look"], forges.look));
    for (key, value) in [("connect", forges.connect), ("settled", forges.settled), ("facts", forges.facts)] {
        positive(check, &["forges", key], value);
    }
    for (key, value) in [("keepalive_misses", ssh.keepalive_misses), ("logins", ssh.logins), ("channels", ssh.channels)]
    {
        if value == 0 {
            check.error(&["ssh", key], "must be 1 or more", "leave the key out for the default");
        }
    }
    let guard = &file.guard;
    check.ordered((&["guard", "op"], guard.op), (&["guard", "lock_stuck"], guard.lock_stuck));
    check.ordered((&["guard", "stale"], guard.stale), (&["guard", "keep_runs"], guard.keep_runs));
    for (key, value) in
        [("payload", guard.payload), ("lock_wait", guard.lock_wait), ("op", guard.op), ("keep_runs", guard.keep_runs)]
    {
        positive(check, &["guard", key], value);
    }
    positive(check, &["alerts", "timeout"], file.alerts.timeout);
    check.ordered((&["alerts", "group_wait"], file.alerts.group_wait), (&["alerts", "repeat"], file.alerts.repeat));
}

fn lease(check: &mut Check<'_>, file: &FactoryFile) {
    let lease = Lease::new(&file.lease, &file.ledger);
    check.ordered((&["lease", "renew_after"], lease.renew_after), (&["lease", "renew_deadline"], lease.renew_deadline));
    check.ordered((&["lease", "renew_deadline"], lease.renew_deadline), (&["lease", "duration"], lease.duration));
    positive(check, &["lease", "renew_after"], lease.renew_after);
    if lease.reads == 0 {
        check.error(&["lease", "reads"], "must be 1 or more", "leave the key out for the default");
    }
}
