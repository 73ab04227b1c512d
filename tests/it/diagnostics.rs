//! What a person reads after a mistake in `factory.yml` or `repos.yml`: each kind of mistake as it is shown.

use std::fmt::Write as _;
use std::sync::Arc;

use factory::error::{Diagnostics, SourceFile};
use factory::inventory::repos::Repos;
use factory::inventory::settings::Settings;
use factory::render::diagnostic::{Style, diagnostic};

fn source(path: &str, text: &str) -> Arc<SourceFile> {
    Arc::new(SourceFile { path: path.into(), text: text.to_owned() })
}

fn shown(problems: Diagnostics) -> String {
    let mut out = String::new();
    for problem in problems {
        let _ = writeln!(out, "{}", diagnostic(&problem, Style::PLAIN).trim_end());
    }
    out
}

/// What is told of a `factory.yml`.
fn factory(text: &str) -> String {
    let mut problems = Diagnostics::default();
    let (_, whole) = Settings::parse(source("inventory/factory.yml", text), &mut problems);
    assert_eq!(whole, !problems.has_errors(), "{text}");
    shown(problems)
}

/// What is told of a `repos.yml` beside an empty `factory.yml`.
fn repos(text: &str) -> String {
    let mut problems = Diagnostics::default();
    Repos::parse(source("inventory/repos.yml", text), &Settings::default(), &mut problems);
    shown(problems)
}

/// One snapshot a group: every case with its input's file and what is shown.
macro_rules! mistakes {
    ($($test:ident: $read:ident { $($name:literal => $text:expr,)* })*) => {$(
        #[test]
        fn $test() {
            let mut out = String::new();
            $(
                let told = $read($text);
                assert!(!told.is_empty(), "nothing is told of: {}", $name);
                let _ = write!(out, "# {}\n{told}\n", $name);
            )*
            insta::assert_snapshot!(out);
        }
    )*};
}

mistakes! {
    keys: factory {
        "a slip in a key" => "agents:\n  dev:\n    time_limt: 4h\n",
        "a key that is not near any" => "alerts:\n  colour: red\n",
        "a key of the file itself" => "fleet: home\ncandidate: [a]\n",
        "a dash for an underscore" => "agents:\n  dev: {time-limit: 4h}\n",
        "a key twice" => "fleet: a\nwake: {min: 60s}\nfleet: b\n",
        "a key missing" => "accounts:\n  claude-main: {}\n",
        "an agent of another name without a class" => "agents:\n  fixer:\n    command: [sh, fix.sh]\n",
        "an unknown key beside a kind" => "ledger: {kind: sqlite, path: /x}\n",
    }
    values: factory {
        "a list where text is wanted" => "fleet: [home]\n",
        "text where a list is wanted" => "candidates: vps-1\n",
        "text where a mapping is wanted" => "wake: gate\n",
        "nothing where text is wanted" => "fleet:\n",
        "a bad unit of memory" => "agents: {dev: {needs: {memory: 3G}}}\n",
        "no unit of memory" => "agents: {dev: {needs: {memory: 3}}}\n",
        "a bad unit of time" => "agents: {dev: {time_limit: 4 hours}}\n",
        "a negative number" => "accounts: {main: {max_runs: -1}}\n",
        "zero" => "accounts: {main: {max_runs: 0}}\n",
        "a number too big" => "accounts: {main: {max_runs: 99999999999}}\n",
        "a leading zero" => "accounts: {main: {max_runs: 007}}\n",
        "a number in quotes" => "accounts: {main: {max_runs: \"2\"}}\n",
        "a word for a number" => "accounts: {main: {max_runs: two}}\n",
        "a slip in a word" => "agents: {dev: {class: dve}}\n",
        "a word that is not near any" => "wake: {mode: cron}\n",
        "a bad name" => "agents:\n  dev agent: {class: dev}\n",
        "a name with a dash before it" => "fleet: -home\n",
        "a tag" => "fleet: !vault x\n",
        "more percent than there are" => "wake: {jitter: 110%}\n",
    }
    kinds: factory {
        "no kind" => "ledger: {url: https://codeberg.org/a/b}\n",
        "a slip in a kind" => "alerts: {sinks: [{kind: nfty, url: https://ntfy.sh/x}]}\n",
        "a git ledger without a url" => "ledger: {kind: git}\n",
        "an etcd ledger without endpoints" => "ledger: {kind: etcd, endpoints: []}\n",
        "two kinds of halt" => "agents: {dev: {halt: {file: ~/x, cron: dev-poll.sh}}}\n",
        "an unknown kind of halt" => "agents: {dev: {halt: {activefile: ~/x}}}\n",
        "a halt that is text" => "agents: {dev: {halt: ~/.factory/halt/dev}}\n",
        "an empty halt" => "agents: {dev: {halt: {cron: \"\"}}}\n",
    }
    commands: factory {
        "a shell string" => "agents:\n  dev:\n    command: bash dev/dev-agent.sh {{ issue.number }}\n",
        "an empty command" => "agents: {dev: {command: []}}\n",
        "an unquoted template" => "agents:\n  dev:\n    command: [bash, {{ issue.number }}]\n",
        "a template that does not end" => "agents: {dev: {command: [sh, \"{{ issue.number\"]}}\n",
        "a slip in a template" => "agents: {dev: {command: [sh, \"{{ isue.number }}\"]}}\n",
        "a command of an agent that cron starts" =>
            "agents:\n  dev:\n    start: cron\n    match: dev-agent.sh\n    command: [bash, dev/dev-agent.sh]\n",
        "cron without a match" => "agents:\n  review:\n    start: cron\n",
        "a match that would find everything" => "agents: {dev: {match: sh}}\n",
    }
    across: factory {
        "a match inside another" => "agents: {dev: {match: agent.sh}, review: {match: review-agent.sh}}\n",
        "min above max" => "wake:\n  min: 20m\n  max: 15m\n",
        "max below the default of min" => "wake: {max: 30s}\n",
        "a lease out of order" => "lease:\n  duration: 100s\n",
        "an account that is not there" => "accounts: {claude-main: {max_runs: 2}}\nagents:\n  dev:\n    account: claude-mian\n",
        "a start of an agent that is not there" => "agents:\n  supervisor:\n    start: cron\n    match: factory-poll.sh\n    starts: [dev, reviews]\n",
        "two candidates on sqlite" => "candidates: [vps-1, vps-2]\n",
        "a policy out of order" => "policy:\n  psi_mem:\n    enter: {soft: 30%}\n",
        "a policy that would flip" => "policy: {psi_mem: {leave: {soft: 6%}}}\n",
        "half of an amount" => "policy: {mem: {enter: {soft: {percent: 20%}}}}\n",
        "a candidate twice" => "candidates: [vps-1, vps-1]\n",
    }
    syntax: factory {
        "a tab" => "agents:\n\tdev: {}\n",
        "a quote that does not end" => "fleet: \"home\nwake: {min: 60s}\n",
        "a bracket that does not end" => "candidates: [vps-1\nfleet: home\n",
        "a value after a value" => "fleet: home: sweet\n",
        "a list at the top" => "- fleet: home\n",
        "a document of text" => "fleet\n",
    }
    secrets: repos {
        "a literal token" => "repos:\n  harb:\n    slug: johba/harb\n    token: hunter2hunter2\n    branch: master\n",
        "a password in a URL" => "defaults:\n  forge: {kind: forgejo, url: \"https://bot:hunter2@codeberg.org\"}\n",
        "a token in env" => "repos:\n  harb:\n    slug: johba/harb\n    env: {CODEBERG_TOKEN: hunter2hunter2}\n",
        "a token under a key of no model" => "repos:\n  harb:\n    slug: johba/harb\n    password: hunter2hunter2\n",
        "a token where a variable's name is wanted" => "repos:\n  harb: {slug: johba/harb, token: {env: hunter2-hunter2}}\n",
        "a token by its form" => "repos:\n  harb: {slug: johba/harb, branch: ghp_hunter2hunter2hunter2}\n",
        "a line below a token" => "repos:\n  harb:\n    token: hunter2hunter2\n    slgu: johba/harb\n",
        "not YAML beside a token" => "repos:\n  harb:\n    token: hunter2hunter2\n    slug: \"johba/harb\n",
        "a misspelt place of a secret" => "repos:\n  harb: {slug: johba/harb, token: {evn: HARB_TOKEN}}\n",
    }
    repositories: repos {
        "no slug" => "repos:\n  harb:\n    branch: master\n",
        "nothing at all" => "repos:\n  harb:\n",
        "an address for a slug" => "repos:\n  harb:\n    slug: https://codeberg.org/johba/harb.git\n",
        "a slug without an owner" => "repos:\n  harb: {slug: harb}\n",
        "a list of repos" => "repos:\n  - slug: johba/harb\n",
        "a number as repo id of no CI" => "repos:\n  harb: {slug: johba/harb, ci: {kind: woodpecker, url: http://ci.test, repo_id: 0}}\n",
        "a CI without its repo id" => "repos:\n  harb: {slug: johba/harb, ci: {kind: woodpecker, url: http://ci.test}}\n",
        "a CI that is off with a url" => "repos:\n  harb: {slug: johba/harb, ci: {kind: none, url: http://ci.test}}\n",
        "no for none" => "repos:\n  harb: {slug: johba/harb, ci: no}\n",
        "an address without a scheme" => "defaults: {forge: {kind: forgejo, url: codeberg.org}}\n",
        "a slug for all" => "defaults: {slug: johba/harb}\n",
        "an agent that is not there" => "repos:\n  harb: {slug: johba/harb, agents: {devs: {needs: {memory: 4GiB}}}}\n",
        "an account that is not there" => "repos:\n  harb: {slug: johba/harb, agents: {dev: {account: main}}}\n",
        "one label for two states" => "repos:\n  harb: {slug: johba/harb, labels: {ready: todo, blocked: todo}}\n",
        "the same repository twice" => "repos:\n  harb: {slug: johba/harb}\n  harb2: {slug: Johba/harb}\n",
        "practices outside" => "repos:\n  harb: {slug: johba/harb, practices: ../shared}\n",
        "a reserved variable" => "repos:\n  harb: {slug: johba/harb, env: {FACTORY_RUN: x}}\n",
        "a name with a slash" => "repos:\n  johba/harb: {slug: johba/harb}\n",
        "reviews by the same account" => "repos:\n  harb: {slug: johba/harb, token: {env: T}, review_token: {env: T}}\n",
        "an empty pattern" => "repos:\n  harb: {slug: johba/harb, hosts: \" \"}\n",
        "yes for a number" => "repos:\n  harb: {slug: johba/harb, protection: {required_approvals: yes}}\n",
    }
}

#[test]
fn no_secret_is_ever_shown() {
    // Each line a secret in another form; around it mistakes whose messages show the neighbouring lines.
    let secrets = [
        "token: hunter2",
        "token: 'hunter2'",
        "token: \"hunter2",
        "token: {env: \"hunter2-\"}",
        "review_token: >\n      hunter2\n",
        "env: {A_TOKEN: hunter2, B: x}",
        "env: {A: https://u:hunter2@h/}",
        "url: https://hooks.slack.com/hunter2",
        "password: [a, hunter2",
        "forge: {kind: forgejo, url: https://u:hunter2@h, token: hunter2}",
        "api_key: hunter2 # hunter2",
        "token : hunter2",
        "\"token\": hunter2",
        "ci: {kind: woodpecker, url: http://h, repo_id: 1, token: hunter2}",
        "token: |\n      hunter2\n      hunter2",
    ];
    for secret in secrets {
        for (before, after) in [("slgu: x", "brnch: y"), ("slug: a/b", "branch: [x"), ("slug: a/b", "\tx: y")] {
            let text = format!("repos:\n  harb:\n    {before}\n    {secret}\n    {after}\n");
            let told = repos(&text);
            assert!(!told.is_empty(), "{text}");
            assert!(!told.contains("hunter"), "{text}\n{told}");
            let told = factory(&text.replace("repos:", "agents:"));
            assert!(!told.contains("hunter"), "{text}\n{told}");
        }
    }
}

#[test]
fn the_address_of_a_sink_is_never_shown_whole() {
    let sinks = [
        "sinks: [{kind: ntfy, url: https://ntfy.sh/hunter2}, {kind: nfty}]",
        "sinks: [{kind: ntfy, url: \"https://ntfy.sh/hunter2\", prio: 1}]",
        "sinks: [{kind: ntfy, url: 'https://ntfy.sh:80000/hunter2'}]",
        "sinks:\n    - kind: ntfy\n      url: https://ntfy.sh/hunter2/hunter2\n      colour: red",
        "heartbeat: {url: https://hc-ping.com/hunter2, every: 1}",
        "heartbeat:\n    url: https://hc-ping.com/hunter2\n    every: 1",
        "heartbeat:\n    url: https://hc-ping.com/hunter2\n   every: 1",
        "sinks: [{kind: slack, url: https://mattermost.test/hooks/hunter2}, {kind: slack, url: hunter2}]",
        "heartbeat: {url: https://hc-ping.com/hunter2",
        "heartbeat: https://hc-ping.com/hunter2",
        "sinks: https://ntfy.sh/hunter2",
        "sinks: [https://ntfy.sh/hunter2, {url: https://ntfy.sh/hunter2}]",
        "sink: [{kind: ntfy, url: https://ntfy.sh/hunter2}]",
        "\"https://ntfy.sh/hunter2\": x",
        "ghp_hunter2hunter2hunter2: x",
    ];
    for sink in sinks {
        let told = factory(&format!("alerts:\n  {sink}\n  repeat: soon\n"));
        assert!(!told.is_empty() && !told.contains("hunter"), "{sink}\n{told}");
    }
}

/// A file with every key of `factory.yml` that holds a mapping.
const FACTORY: &str = r#"fleet: home
agents:
  dev:
    class: dev
    command: [bash, dev/dev-agent.sh, "{{ issue.number }}"]
    needs:
      memory: 2.5GiB
      cpu: 1.5
    account: main
    halt:
      file: ~/.factory/halt/dev
accounts:
  main:
    max_runs: 2
policy: {}
wake:
  mode: gate
  min: 60s
candidates: [vps-1]
ledger:
  kind: git
  url: https://codeberg.org/me/ledger.git
  token:
    env: LEDGER_TOKEN
alerts:
  sinks:
    - kind: ntfy
      url: https://ntfy.sh/x
      token:
        env: NTFY_TOKEN
    - kind: matrix
      url: https://matrix.test
      room: "!a:b"
      token: {file: matrix-token}
  heartbeat:
    url:
      env: HEARTBEAT_URL
  repeat: 4h
ssh:
  connect: 10s
guard:
  op: 5s
lease:
  reads: 3
"#;

/// The same for `repos.yml`.
const REPOS: &str = r#"defaults:
  forge:
    kind: forgejo
    url: https://codeberg.org
  labels:
    ready: backlog
repos:
  harb:
    slug: johba/harb
    token:
      env: HARB_TOKEN
    ci:
      kind: woodpecker
      url: http://127.0.0.1:8000
      repo_id: 2
    protection:
      required_approvals: 1
    env:
      KEY:
        env: VALUE
    agents:
      dev:
        needs:
          memory: 4GiB
        halt:
          cron: dev-poll.sh
  disinto:
    slug: johba/disinto
    labels:
      active: doing
"#;

/// The lines at which something is told.
fn lines(read: &str, text: &str) -> Vec<usize> {
    let mut problems = Diagnostics::default();
    match read {
        "factory" => drop(Settings::parse(source("f", text), &mut problems)),
        _ => drop(Repos::parse(source("r", text), &Settings::default(), &mut problems)),
    }
    problems.iter().filter_map(|problem| problem.place.as_ref()).map(|place| place.span.line).collect()
}

mod never {
    use proptest::prelude::*;

    use super::*;

    /// Text that looks like YAML, with the words and signs that our files use.
    fn yamlish() -> impl Strategy<Value = String> {
        let words: Vec<&str> = vec![
            "fleet",
            "agents",
            "dev",
            "repos",
            "harb",
            "slug",
            "a/b",
            "defaults",
            "token",
            "env",
            "ci",
            "none",
            "kind",
            "woodpecker",
            "wake",
            "min",
            "60s",
            "alerts",
            "sinks",
            "ledger",
            "halt",
            "file",
            "cron",
            "command",
            "needs",
            "memory",
            ":",
            ": ",
            "\n",
            "\n  ",
            "\n    ",
            "- ",
            "{",
            "}",
            "[",
            "]",
            ",",
            "\"",
            "'",
            "&a ",
            "*a",
            "<<: ",
            "!x ",
            "|\n",
            ">\n",
            "# ",
            "~",
            "null",
            "\t",
            "{{",
            "}}",
            "1",
            "-1",
            "\u{e4}",
            "\u{feff}",
            "?",
            "---\n",
            "@",
        ];
        prop::collection::vec(prop::sample::select(words), 0..60).prop_map(|words| words.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        #[test]
        fn any_text_is_answered(text in prop_oneof![yamlish(), any::<String>()]) {
            factory(&text);
            repos(&text);
        }

        #[test]
        fn a_good_file_with_any_part_of_it_changed_is_answered(
            from in 0usize..1000, to in 0usize..1000, text in yamlish(),
        ) {
            for good in [FACTORY, REPOS] {
                let (from, to) = (from.min(good.len()), to.min(good.len()));
                let bad = format!("{}{text}{}", &good[..from.min(to)], &good[from.max(to)..]);
                factory(&bad);
                repos(&bad);
            }
        }

        /// A key that nothing knows never passes in silence: something is told at its very line.
        #[test]
        fn an_unknown_key_passes(line in 1usize..60, key in "[a-z]{3,8}_x", value in "[a-z0-9]{0,6}") {
            for (read, good) in [("factory", FACTORY), ("repos", REPOS)] {
                prop_assert_eq!(lines(read, good), Vec::<usize>::new());
                let all: Vec<&str> = good.lines().collect();
                let at = line % all.len();
                // A sibling of the key in this line, wherever that is the key of a mapping of fixed keys.
                let indent: String = all[at].chars().take_while(|c| *c == ' ').collect();
                let own = ["agents", "accounts", "env", "repos"];
                let parent = all[..at].iter().rev().find(|line| line.len() - line.trim_start().len() < indent.len());
                let named = parent.is_some_and(|parent| own.contains(&parent.trim().trim_end_matches(':')));
                let secret = parent.is_some_and(|parent| parent.trim() == "KEY:" || parent.trim() == "token:");
                if (named && !secret) || all[at].trim_start().starts_with("- ") {
                    continue;
                }
                let mut bad: Vec<String> = all.iter().map(|line| (*line).to_owned()).collect();
                bad.insert(at, format!("{indent}{key}: {value}"));
                let told = lines(read, &(bad.join("\n") + "\n"));
                prop_assert!(told.contains(&(at + 1)), "{told:?} for line {}\n{}", at + 1, bad.join("\n"));
            }
        }
    }
}

#[test]
fn hostile_files_are_answered_in_time() {
    let begin = std::time::Instant::now();
    let many_keys: String = (0..50_000).map(|i| format!("k{i}: x\n")).collect();
    let many_repos: String =
        "repos:\n".to_owned() + &(0..5_000).map(|i| format!("  r{i}: {{slug: a/b{i}, x: 1}}\n")).collect::<String>();
    let long_key = format!("{}: 1\n", "x".repeat(1_000_000));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\ncandidates: [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n".to_owned();
    let long_line = format!(
        "repos: {{a: {{slug: a/b, env: {{{}}}}}}}\n",
        (0..20_000).map(|i| format!("TOKEN{i}: a, ")).collect::<String>()
    );
    for text in [many_keys, many_repos, long_key, bomb, long_line] {
        for read in ["factory", "repos"] {
            assert!(!lines(read, &text).is_empty(), "{read}: {:?}", text.get(..40));
        }
    }
    assert!(begin.elapsed().as_secs() < 60, "{:?}", begin.elapsed());
}
