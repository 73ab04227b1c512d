//! The algebra of holds by a table and by its laws, and what a host is told against a model of one.

mod algebra;
mod host;
mod laws;
mod plans;

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;

use super::*;
use crate::error::{Diagnostics, SourceFile};
use crate::inventory::repos::Repos;
use crate::inventory::settings::Settings;

/// Every way to be halted: by the file in the home (dev, boss), by one elsewhere (review), by an `active_file` (poll,
/// supervisor), by crontab lines (nightly), by others at one repo (dev at harb and web); poll starts dev and review, boss
/// starts poll.
const AGENTS: &str = "
  review: {halt: {file: ~/review.halt}}
  poll: {class: dev, start: cron, starts: [dev, review], halt: {active_file: ~/poll on}}
  nightly: {class: review, start: cron, halt: {cron: bin/nightly}}
  boss: {class: supervisor, start: cron, starts: [poll]}
  supervisor: {halt: {active_file: /opt/supervisor.on}}
";

/// Agents that come later; twin has the halt file of review.
const LATER: &str = "
  twin: {class: dev, halt: {file: ~/review.halt}}
  extra: {class: review}
";

fn source(path: &str, text: String) -> Arc<SourceFile> {
    Arc::new(SourceFile { path: path.into(), text })
}

/// The model of [`AGENTS`], and with those that come [`LATER`].
fn model(later: bool) -> Model {
    static MODELS: LazyLock<[Model; 2]> = LazyLock::new(|| [parsed(AGENTS), parsed(&format!("{AGENTS}{LATER}"))]);
    MODELS[usize::from(later)].clone()
}

fn parsed(agents: &str) -> Model {
    let mut problems = Diagnostics::default();
    let settings = Settings::parse(source("factory.yml", format!("agents:{agents}")), &mut problems).0.unwrap();
    let repos = "repos:\n  harb: {slug: o/harb, agents: {dev: {halt: {file: /srv/harb.halt}}}}\n  web: {slug: o/web, agents: {dev: {halt: {cron: web.sh}}}}\n";
    let text = format!("defaults: {{forge: {{kind: forgejo, url: 'https://codeberg.org'}}}}\n{repos}");
    let repos = Repos::parse(source("repos.yml", text), &settings, &mut problems).unwrap();
    assert_eq!(repos.broken, Vec::<String>::new(), "{problems:?}");
    Model::of(&settings, &repos)
}

/// `HOSTS REPO AGENT`, each `*` or names with commas; `**` as the agent is `*` with the supervisors.
fn scope(text: &str) -> Scope {
    let pick = |text: &str| match text {
        "*" | "**" => Pick::All,
        "-" => Pick::Names(Default::default()),
        names => Pick::Names(names.split(',').map(str::to_owned).collect()),
    };
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [hosts, repo, agent] = parts[..] else { panic!("{text}") };
    Scope { hosts: pick(hosts), repo: pick(repo), agent: pick(agent), supervisor: agent == "**" }
}

fn is_supervisor(agent: &str) -> bool {
    matches!(agent, "supervisor" | "boss")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn boot(boot_id: &str, seconds: f64) -> BootClock {
    BootClock { boot_id: boot_id.to_owned(), seconds }
}

fn wish(scope: Scope, seconds: Option<f64>) -> Wish {
    Wish { scope, by: "ann@desk".to_owned(), seconds, reason: None }
}

/// A hold for good of that scope.
fn held(id: &str, scope: Scope) -> Hold {
    let mut holds = Vec::new();
    hold(&mut holds, &wish(scope, None), id, at(0), &boot("a", 0.0));
    holds.remove(0)
}
