//! `repos.yml`: the repositories whose backlog is worked on, each read by itself, so that a broken one stands alone.

mod keys;
mod overlay;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

pub use keys::{
    Ci, EnvKey, EnvValue, Forge, Labels, Merge, PlainText, Protection, RESERVED, RepoKeys, ReposFile, Slug,
};

use super::agents::{Agent, AgentKeys};
use super::de::{self, Document};
use super::name;
use super::secret::SecretRef;
use super::settings::{Check, Placed, Settings};
use super::yaml::Node;
use crate::error::{Diagnostic, Diagnostics, Level, Place, SourceFile};

/// The repos of an inventory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Repos {
    /// Those that can be worked on, in the order of the file.
    pub repos: Vec<Repo>,
    /// The names of those that cannot, in the order of the file: each has an error among the problems.
    pub broken: Vec<String>,
}

/// One repo with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Repo {
    /// Its name in the inventory.
    pub name: String,
    /// Where its name stands.
    pub place: Place,
    /// OWNER/NAME on the forge.
    pub slug: String,
    /// The branch that pulls go to; `None` is the forge's default branch of the repo.
    pub branch: Option<String>,
    /// Where it is hosted.
    pub forge: Forge,
    /// The labels that say what state an issue is in.
    pub labels: Labels,
    /// Where the token that agents work with is kept.
    pub token: Option<SecretRef>,
    /// Where the token of the reviewing account is kept.
    pub review_token: Option<SecretRef>,
    /// The CI that judges pulls.
    pub ci: Ci,
    /// What the branch's protection must be.
    pub protection: Option<Protection>,
    /// The pattern of hosts where its agents may run, with its place; `None` is all hosts.
    pub hosts: Option<Placed<String>>,
    /// A directory below the inventory with practices of its own.
    pub practices: Option<String>,
    /// Environment variables of its runs.
    pub env: BTreeMap<EnvKey, EnvValue>,
    /// Every agent as it is for this repo.
    pub agents: BTreeMap<String, Agent>,
    /// Who merges approved green pulls.
    pub merge: Merge,
}

/// The top of the file: what is inside is read one by one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Top {
    #[serde(default, rename = "defaults")]
    _defaults: Option<BTreeMap<String, IgnoredAny>>,
    #[serde(default, rename = "repos", deserialize_with = "name::map")]
    _repos: BTreeMap<String, IgnoredAny>,
}

impl Repos {
    /// Reads `repos.yml`. An absent file is no repos and no problem. `None` when it is not YAML or cannot be read;
    /// what is wrong with a single repo only puts that repo among the broken ones.
    pub fn load(repos_yml: &Path, settings: &Settings, problems: &mut Diagnostics) -> Option<Repos> {
        match Document::open_if_there(repos_yml) {
            Ok(Some(document)) => Some(read(&document, settings, problems)),
            Ok(None) => Some(Repos::default()),
            Err(problem) => {
                problems.push(problem);
                None
            }
        }
    }

    /// [`Repos::load`] of a text.
    pub fn parse(source: Arc<SourceFile>, settings: &Settings, problems: &mut Diagnostics) -> Option<Repos> {
        match Document::parse(source) {
            Ok(document) => Some(read(&document, settings, problems)),
            Err(problem) => {
                problems.push(problem);
                None
            }
        }
    }

    /// The repo of that name, if it can be worked on.
    pub fn get(&self, name: &str) -> Option<&Repo> {
        self.repos.iter().find(|repo| repo.name == name)
    }
}

/// The problems found so far, each place and message once: repos share their defaults.
struct Found {
    all: Vec<Diagnostic>,
    seen: BTreeSet<(usize, usize, String)>,
    /// Places inside `defaults` that were told there.
    defaults: BTreeSet<(usize, usize)>,
}

impl Found {
    fn extend(&mut self, problems: Vec<Diagnostic>) {
        for problem in problems {
            let span = problem.place.as_ref().map_or((0, 0), |place| (place.span.start, place.span.end));
            if !self.defaults.contains(&span) && self.seen.insert((span.0, span.1, problem.message.clone())) {
                self.all.push(problem);
            }
        }
    }
}

fn read(document: &Document, settings: &Settings, problems: &mut Diagnostics) -> Repos {
    let mut out = Repos::default();
    let Some(root) = &document.root else { return out };
    let mut found = Found { all: Vec::new(), seen: BTreeSet::new(), defaults: BTreeSet::new() };
    found.extend(de::read::<Top>(document, root, "", root.span, true).problems);
    let defaults = document.get(&["defaults"]).filter(|node| node.as_mapping().is_some());
    if let Some(node) = defaults {
        let told = defaults_problems(document, node, settings);
        let spans = told.iter().filter_map(|problem| problem.place.as_ref());
        let spans: BTreeSet<_> = spans.map(|place| (place.span.start, place.span.end)).collect();
        found.extend(told);
        found.defaults = spans;
    }
    let mut slugs: BTreeMap<(String, String), String> = BTreeMap::new();
    let entries = document.get(&["repos"]).and_then(|node| node.as_mapping()).unwrap_or_default();
    for (key, value) in entries {
        let Some(name) = key.as_text() else { continue };
        let place = Place { source: Arc::clone(&document.source), span: key.span };
        let mut told = Vec::new();
        let repo = match name::check(name) {
            Ok(()) => one(document, name, &place, value, defaults, settings, &mut told),
            // Told above.
            Err(_) => None,
        };
        if let Some(repo) = &repo {
            let Forge::Forgejo { url } = &repo.forge;
            let known = (url.as_str().to_lowercase(), repo.slug.to_lowercase());
            if let Some(first) = slugs.get(&known) {
                let span = de::span_below(value, &["slug"]);
                told.push(
                    Diagnostic::error(format!("`repos.{name}.slug`: `{}` is the repo `{first}` already", repo.slug))
                        .at(&document.source, span)
                        .help("remove one of the two: each issue would be worked on twice"),
                );
            } else {
                slugs.insert(known, name.to_owned());
            }
        }
        let broken = told.iter().any(|problem| problem.level == Level::Error);
        found.extend(told);
        match repo.filter(|_| !broken) {
            Some(repo) => out.repos.push(repo),
            None => out.broken.push(name.to_owned()),
        }
    }
    found.all.sort_by_key(|problem| problem.place.as_ref().map_or(0, |place| place.span.start));
    de::conceal(&mut found.all);
    problems.extend(found.all);
    out
}

/// What is wrong with `defaults` by itself; keys that a repo completes may be missing.
fn defaults_problems(document: &Document, node: &Arc<Node>, settings: &Settings) -> Vec<Diagnostic> {
    let owner = document.span(&["defaults"]);
    let mut told = de::read::<RepoKeys>(document, node, "defaults", owner, true).problems;
    if let Some((key, _)) = node.as_mapping().and_then(|all| all.iter().find(|(key, _)| key.as_text() == Some("slug")))
    {
        told.push(
            Diagnostic::error("`defaults.slug`: a slug belongs to one repo")
                .at(&document.source, key.span)
                .help("write `slug` in the repo itself"),
        );
    }
    // Without a slug nothing comes of the reading above, so the agents are read by themselves.
    if let Some(agents) = node.get("agents").filter(|agents| agents.as_mapping().is_some()) {
        for (key, value) in agents.as_mapping().unwrap_or_default() {
            let Some(name) = key.as_text() else { continue };
            let path = format!("defaults.agents.{name}");
            let reading = de::read::<AgentKeys>(document, value, &path, key.span, true);
            if let Some(keys) = reading.value {
                let mut check = Check { source: &document.source, root: node, name: "defaults", found: &mut told };
                agent(&mut check, name, &keys, settings);
            }
        }
    }
    told
}

/// Checks the keys of an agent in a repo or in the defaults; the agent as it is there.
fn agent(check: &mut Check<'_>, name: &str, keys: &AgentKeys, settings: &Settings) -> Option<Agent> {
    let names: BTreeSet<&str> = settings.agents.keys().map(String::as_str).collect();
    let accounts: BTreeSet<&str> = settings.accounts.keys().map(String::as_str).collect();
    let Some(base) = settings.agents.get(name) else {
        check.known(&["agents", name], "agent", name, names.iter().copied(), "make it under `agents:` in factory.yml");
        return None;
    };
    let agent = base.overlaid(keys.clone());
    check.agent(&["agents", name], keys, &agent, &names, &accounts);
    Some(agent)
}

/// Reads one repo over the defaults.
fn one(
    document: &Document,
    name: &str,
    place: &Place,
    value: &Arc<Node>,
    defaults: Option<&Arc<Node>>,
    settings: &Settings,
    told: &mut Vec<Diagnostic>,
) -> Option<Repo> {
    let path = format!("repos.{name}");
    // An empty repo (`harb:`) is read over the defaults too, so that it says what it lacks.
    let empty = Arc::new(Node { value: super::yaml::Value::Mapping(Vec::new()), span: place.span, tag: None });
    let own = if value.is_null() { &empty } else { value };
    let merged = match defaults {
        Some(defaults) => overlay::overlay(&without_slug(defaults), own),
        None => Arc::clone(own),
    };
    let reading = de::read::<RepoKeys>(document, &merged, &path, place.span, false);
    told.extend(reading.problems);
    let keys = reading.value?;
    let mut check = Check { source: &document.source, root: &merged, name: &path, found: told };
    let mut agents = settings.agents.clone();
    for (name, over) in &keys.agents {
        if let Some(agent) = agent(&mut check, name, over, settings) {
            agents.insert(name.clone(), agent);
        }
    }
    labels(&mut check, &keys.labels);
    if keys.token.is_some() && keys.token == keys.review_token {
        let help = "give the token of a second account: a forge lets nobody approve their own pulls";
        check.warning(&["review_token"], "is the same token as `token`", help);
    }
    let hosts = keys.hosts.map(|value| Placed {
        value,
        place: Place { source: Arc::clone(&document.source), span: de::span_below(&merged, &["hosts"]) },
    });
    Some(Repo {
        name: name.to_owned(),
        place: place.clone(),
        slug: keys.slug.0,
        branch: keys.branch,
        forge: keys.forge,
        labels: keys.labels,
        token: keys.token,
        review_token: keys.review_token,
        ci: keys.ci,
        protection: keys.protection,
        hosts,
        practices: keys.practices,
        env: keys.env,
        agents,
        merge: keys.merge,
    })
}

/// The defaults without a slug, which was told.
fn without_slug(defaults: &Arc<Node>) -> Arc<Node> {
    let entries = defaults.as_mapping().unwrap_or_default();
    let entries = entries.iter().filter(|(key, _)| key.as_text() != Some("slug")).cloned().collect();
    Arc::new(Node { value: super::yaml::Value::Mapping(entries), span: defaults.span, tag: defaults.tag.clone() })
}

/// Two states cannot have the same label.
fn labels(check: &mut Check<'_>, labels: &Labels) {
    let all = [
        ("ready", &labels.ready),
        ("active", &labels.active),
        ("blocked", &labels.blocked),
        ("unclear", &labels.unclear),
    ];
    for (index, (key, label)) in all.iter().enumerate() {
        if let Some((first, _)) = all.iter().take(index).find(|(_, other)| other == label) {
            let message = format!("`{label}` is the label for `{first}` already");
            check.error(&["labels", key], message, "give each state a label of its own");
        }
    }
}

#[cfg(test)]
mod tests;
