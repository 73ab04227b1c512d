//! The JSON Schemas accept what the types accept, and refuse what they refuse.

use std::path::Path;
use std::sync::Arc;

use factory::error::{Diagnostics, SourceFile};
use factory::inventory::repos::Repos;
use factory::inventory::schema::{Kind, schema};
use factory::inventory::settings::Settings;
use factory::inventory::yaml::{self, Node, Value as Yaml};
use factory::inventory::{hosts::Hosts, starter};
use serde_json::{Map, Value};

/// The examples of the manual, every key of both files among them.
const FACTORY: &str = r#"
fleet: home
agents:
  dev:
    class: dev
    start: factory
    work: ready-issues
    command: [bash, dev/dev-agent.sh, "{{ issue.number }}"]
    dir: ~/dark-factory
    needs: {memory: 2.5GiB, cpu: 1.5}
    account: claude-main
    time_limit: 4h
    drain: 2h
    match: dev-agent.sh
    logs: [dev/dev-agent.log]
    halt: {file: ~/.factory/halt/dev}
  supervisor: {start: cron, match: factory-poll.sh, halt: {cron: factory-poll.sh}, starts: [dev, review], every: 10m}
  review: {halt: {active_file: state/.review-active}}
accounts: {claude-main: {max_runs: 2}}
policy:
wake: {mode: gate, min: 60s, max: 15m}
candidates: [vps-1, vps-2]
ledger: {kind: git, url: git@codeberg.org:me/ledger.git, token: {file: ledger-token}}
alerts:
  sinks:
    - {kind: ntfy, url: https://ntfy.sh/x, token: {env: NTFY}}
    - {kind: webhook, url: {env: HOOK}, secret: {command: [pass, show, hook]}}
    - {kind: matrix, url: https://matrix.test, room: "!a:b", token: {env: MATRIX}}
    - {kind: slack, url: {file: slack}}
  heartbeat: {url: {env: BEAT}}
  group_wait: 30
lease: {duration: 1h}
"#;

const REPOS: &str = "
defaults:
  forge: {kind: forgejo, url: https://codeberg.org}
  labels: {ready: backlog, active: in-progress, blocked: blocked, unclear: underspecified}
  ci: {kind: woodpecker, url: http://127.0.0.1:8000}
repos:
  harb:
    slug: johba/harb
    branch: master
    token: {env: HARB_TOKEN}
    ci: {repo_id: 2, workers: 2, token: {env: WOODPECKER_TOKEN}}
    protection: {required_approvals: 1, status_checks: [ci/woodpecker/pr/*], merge_whitelist: [review-bot]}
    hosts: builders
    practices: practices/harb
    review_token: {env: REVIEW_BOT_TOKEN}
    env: {CODEBERG_REPO: johba/harb, N: 7, T: {env: HARB_TOKEN}}
    agents: {dev: {needs: {memory: 4GiB}}}
    merge: factory
  other: {slug: a/b, ci: none, token: }
  acts: {slug: a/c, ci: {kind: actions, workers: 3}}
  told: {slug: a/d, ci: statuses}
";

/// A node as the value that a schema sees.
fn json(node: &Node) -> Value {
    match &node.value {
        Yaml::Scalar { .. } if node.is_null() => Value::Null,
        Yaml::Scalar { text, plain: true } => match text.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => match serde_json::from_str::<Value>(text) {
                Ok(number @ Value::Number(_)) => number,
                _ => Value::from(text.as_str()),
            },
        },
        Yaml::Scalar { text, .. } => Value::from(text.as_str()),
        Yaml::Sequence(items) => items.iter().map(|item| json(item)).collect(),
        Yaml::Mapping(entries) => {
            let pairs = entries.iter().map(|(key, value)| (key.as_text().unwrap().to_owned(), json(value)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
    }
}

fn source(text: &str) -> Arc<SourceFile> {
    Arc::new(SourceFile { path: "file.yml".into(), text: text.to_owned() })
}

/// What the schema says of a text.
fn by_schema(kind: Kind, text: &str) -> Vec<String> {
    let validator = jsonschema::validator_for(&schema(kind)).expect("the schema is a schema");
    let node = yaml::parse(&source(text)).unwrap();
    let value = node.map_or_else(|| Value::Object(Map::new()), |node| json(&node));
    validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// What the types say of it.
fn by_type(kind: Kind, text: &str) -> Vec<String> {
    let mut problems = Diagnostics::default();
    match kind {
        Kind::Repos => drop(Repos::parse(source(text), &Settings::default(), &mut problems)),
        _ => drop(Settings::parse(source(text), &mut problems)),
    }
    problems.iter().map(|problem| problem.message.clone()).collect()
}

#[test]
fn the_examples_of_the_manual_pass_both() {
    for (kind, text) in [(Kind::Factory, FACTORY), (Kind::Repos, REPOS), (Kind::Factory, ""), (Kind::Repos, "")] {
        assert_eq!(by_type(kind, text), Vec::<String>::new());
        assert_eq!(by_schema(kind, text), Vec::<String>::new());
    }
    let vars = "factory_home: ~/.factory\nfactory_slots: 2\nfactory_labels: [big]\nfactory_reserve: 2GiB\nfactory_disks: [/]\nansible_user: me\n";
    assert_eq!(by_schema(Kind::HostVars, vars), Vec::<String>::new());
    assert!(!by_schema(Kind::HostVars, "factory_slots: many\n").is_empty());
}

#[test]
fn both_refuse_the_same_mistakes() {
    let mistakes = [
        (Kind::Factory, "flet: x\n"),
        (Kind::Factory, "fleet: [x]\n"),
        (Kind::Factory, "fleet: -x\n"),
        (Kind::Factory, "agents: {dev: {clas: dev}}\n"),
        (Kind::Factory, "agents: {dev: {class: devv}}\n"),
        (Kind::Factory, "agents: {dev: {command: bash x}}\n"),
        (Kind::Factory, "agents: {dev: {command: []}}\n"),
        (Kind::Factory, "agents: {a b: {class: dev}}\n"),
        (Kind::Factory, "agents: {dev: {needs: {memory: 3 parsecs}}}\n"),
        (Kind::Factory, "agents: {dev: {halt: {file: a, cron: b}}}\n"),
        (Kind::Factory, "accounts: {main: {}}\n"),
        (Kind::Factory, "accounts: {main: {max_runs: 0}}\n"),
        (Kind::Factory, "ledger: {kind: git}\n"),
        (Kind::Factory, "ledger: {kind: etcd, endpoints: []}\n"),
        (Kind::Factory, "ledger: {kind: sqlite, url: x}\n"),
        (Kind::Factory, "wake: {mode: never}\n"),
        (Kind::Factory, "wake: {min: soon}\n"),
        (Kind::Factory, "alerts: {sinks: [{kind: pager}]}\n"),
        (Kind::Factory, "policy: {memm: 1}\n"),
        (Kind::Repos, "repos: {a: {branch: m}}\n"),
        (Kind::Repos, "repos: {a: {slug: a}}\n"),
        (Kind::Repos, "repos: {a: {slug: a/b, token: hunter2}}\n"),
        (Kind::Repos, "repos: {a: {slug: a/b, token: {evn: X}}}\n"),
        (Kind::Repos, "repos: {a: {slug: a/b, ci: off}}\n"),
        (Kind::Repos, "repos: {a: {slug: a/b, ci: {kind: none, url: \"http://h\"}}}\n"),
        (Kind::Repos, "repos: {a: {slug: a/b, ci: {kind: actions, workers: 0}}}\n"),
        (Kind::Repos, "repos: {a: {slug: a/b, ci: {kind: actions, token: {env: T}}}}\n"),
        (Kind::Repos, "repos: {a: {slug: a/b, ci: {kind: statuses, workers: 2}}}\n"),
        (Kind::Repos, "repos: {a: {slug: a/b, env: {1A: x}}}\n"),
        (Kind::Repos, "defaults: {slug: a/b}\n"),
        (Kind::Repos, "defaults: {forge: {kind: forgejo, url: codeberg.org}}\n"),
    ];
    for (kind, text) in mistakes {
        assert!(!by_type(kind, text).is_empty(), "the types accept {text}");
        assert!(!by_schema(kind, text).is_empty(), "the schema accepts {text}");
    }
}

/// Every `default` in a schema is itself valid there, and is what the types take for it.
#[test]
fn the_defaults_are_valid() {
    fn walk(value: &Value, root: &Value, found: &mut usize) {
        match value {
            Value::Object(map) => {
                if let Some(default) = map.get("default").filter(|default| !default.is_null()) {
                    let mut here = value.clone();
                    here.as_object_mut().unwrap().insert("$defs".into(), root["$defs"].clone());
                    let errors: Vec<String> = jsonschema::validator_for(&here)
                        .unwrap()
                        .iter_errors(default)
                        .map(|error| format!("{default}: {error}"))
                        .collect();
                    assert_eq!(errors, Vec::<String>::new());
                    *found += 1;
                }
                map.iter().filter(|(key, _)| *key != "default").for_each(|(_, value)| walk(value, root, found));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, root, found)),
            _ => {}
        }
    }
    let mut found = 0;
    for kind in Kind::ALL {
        let schema = schema(kind);
        walk(&schema, &schema, &mut found);
    }
    assert!(found > 50, "{found}");
}

#[test]
fn the_starter_and_the_shipped_inventory_are_without_a_problem() {
    let dir = tempfile::tempdir().unwrap();
    starter::write(dir.path()).unwrap();
    for dir in [dir.path(), &Path::new(env!("CARGO_MANIFEST_DIR")).join("inventory")] {
        let mut problems = Diagnostics::default();
        let settings = Settings::load(&dir.join("factory.yml"), &mut problems).unwrap();
        let repos = Repos::load(&dir.join("repos.yml"), &settings, &mut problems).unwrap();
        let hosts = Hosts::load(&dir.join("hosts.yml"), &mut problems).unwrap();
        assert_eq!(problems.iter().map(|problem| &problem.message).collect::<Vec<_>>(), Vec::<&String>::new());
        assert_eq!(repos.repos.len() + repos.broken.len(), 0);
        assert_eq!(hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["localhost"]);
        // What the starter writes out is what would hold without it.
        let bare = Settings::default();
        assert_eq!((settings.fleet, settings.wake, settings.ledger), (bare.fleet, bare.wake, bare.ledger));
    }
}

#[test]
fn the_starter_is_right_with_every_comment_removed_too() {
    // An example is a comment that is YAML: `# key:`, `# - item`; prose is not.
    for (name, text) in starter::FILES.iter().filter(|(name, _)| name.ends_with(".yml")) {
        let lines = text.lines().map(|line| {
            let body = line.trim_start();
            let example = body.strip_prefix("# ").filter(|rest| {
                let key: String = rest.trim_start().chars().take_while(|c| !matches!(c, ':' | ' ')).collect();
                let after = rest.trim_start().get(key.len()..).unwrap_or_default();
                let key_like =
                    key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-[]1:".contains(c));
                (key_like && after.starts_with(':') && !line.starts_with("# After")) || rest.starts_with("- {")
            });
            match example {
                Some(rest) => format!("{}{rest}", &line[..line.len() - body.len()]),
                None if body.starts_with('#') => String::new(),
                None => line.to_owned(),
            }
        });
        let mut text = lines.collect::<Vec<_>>().join("\n") + "\n";
        if *name == "factory.yml" {
            // Of the two ledgers one can stay.
            text = text.replace("ledger: {kind: sqlite}\n", "");
        }
        assert!(text.contains("slug:") || text.contains("command:") || text.contains("builders:"), "{text}");
        let mut problems = Diagnostics::default();
        match *name {
            "factory.yml" => {
                let (settings, whole) = Settings::parse(source(&text), &mut problems);
                let settings = settings.unwrap();
                assert!(whole && settings.agents["review"].command.is_some(), "{problems:#?}");
                assert!(settings.alerts.heartbeat.is_some() && settings.alerts.sinks.len() == 1);
                assert_eq!(by_schema(Kind::Factory, &text), Vec::<String>::new());
            }
            "repos.yml" => {
                let repos = Repos::parse(source(&text), &Settings::default(), &mut problems).unwrap();
                assert_eq!(repos.repos.len(), 1, "{problems:#?}");
                assert_eq!(by_schema(Kind::Repos, &text), Vec::<String>::new());
            }
            _ => {
                let dir = tempfile::tempdir().unwrap();
                std::fs::write(dir.path().join("hosts.yml"), &text).unwrap();
                let hosts = Hosts::load(&dir.path().join("hosts.yml"), &mut problems).unwrap();
                let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
                assert_eq!(names, ["localhost", "vps-1", "beefy-1", "beefy-2", "beefy-3"], "{problems:#?}");
            }
        }
        assert!(!problems.has_errors(), "{name}: {problems:#?}\n{text}");
    }
}
