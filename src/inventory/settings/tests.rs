use super::*;
use crate::error::Diagnostic;

fn parse(text: &str) -> (Option<Settings>, bool, Vec<Diagnostic>) {
    let mut problems = Diagnostics::default();
    let source = Arc::new(SourceFile { path: "factory.yml".into(), text: text.to_owned() });
    let (settings, whole) = Settings::parse(source, &mut problems);
    (settings, whole, problems.into_iter().collect())
}

fn good(text: &str) -> Settings {
    let (settings, whole, problems) = parse(text);
    assert!(whole, "{problems:#?}");
    settings.unwrap()
}

const DESIGN: &str = r#"
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
accounts: {claude-main: {max_runs: 2}}
policy: {}
wake: {mode: gate, min: 60s, max: 15m}
candidates: [vps-1]
ledger: {kind: sqlite}
alerts: {sinks: [{kind: ntfy, url: https://ntfy.sh/topic}], heartbeat: {url: https://hc-ping.com/abc}}
"#;

#[test]
fn the_example_of_the_design_is_read_whole() {
    let settings = good(DESIGN);
    let dev = &settings.agents["dev"];
    assert_eq!(settings.fleet, "home");
    assert_eq!(dev.command.as_deref().unwrap()[2], "{{ issue.number }}");
    assert_eq!((dev.needs.memory.0, dev.needs.cpu), (2_684_354_560, 1.5));
    assert_eq!(dev.dir.as_deref(), Some("~/dark-factory"));
    assert_eq!(settings.accounts["claude-main"].max_runs, 2);
    assert_eq!(settings.candidates[0].value, "vps-1");
    assert_eq!(settings.candidates[0].place.to_string(), "factory.yml:20:14");
    assert!(matches!(settings.alerts.sinks[0], Sink::Ntfy { .. }));
    assert!(!format!("{settings:?}").contains("topic"), "a sink's address is a secret");
    assert!(!format!("{settings:?}").contains("ping.com/abc"), "so is the heartbeat's");
}

#[test]
fn an_empty_file_is_every_default() {
    for text in ["", "# nothing\n", "agents:\naccounts:\nwake:\n", "{}"] {
        let settings = good(text);
        assert_eq!(settings.fleet, "default", "{text:?}");
        assert_eq!(settings.agents, Settings::default().agents);
        assert_eq!(settings.wake, Wake::default());
        assert_eq!(settings.ledger, Ledger::Sqlite {});
        assert!(settings.candidates.is_empty());
    }
}

#[test]
fn an_absent_file_is_every_default_and_a_directory_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut problems = Diagnostics::default();
    let settings = Settings::load(&dir.path().join("factory.yml"), &mut problems).unwrap();
    assert_eq!((settings.fleet.as_str(), problems.len()), ("default", 0));
    assert!(Settings::load(dir.path(), &mut problems).is_none() && problems.has_errors());
}

#[test]
fn a_file_with_an_error_gives_nothing_to_act_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("factory.yml");
    let mut problems = Diagnostics::default();
    std::fs::write(&path, "fleet: home\nwake: {min: 1h}\n").unwrap();
    assert!(Settings::load(&path, &mut problems).is_none());
    let (partial, whole) = Settings::read(&path, &mut problems);
    assert!(!whole && partial.is_some_and(|settings| settings.fleet == "home"));
    // A warning is none.
    std::fs::write(&path, "agents: {dev: {start: cron}}\n").unwrap();
    let mut problems = Diagnostics::default();
    assert!(Settings::load(&path, &mut problems).is_some() && problems.len() == 1);
}

#[test]
fn the_lease_is_longer_on_git() {
    let lease = |text: &str| {
        let lease = good(text).lease;
        [lease.renew_after, lease.renew_deadline, lease.duration].map(|span| span.0.as_secs())
    };
    assert_eq!(lease(""), [40, 200, 400]);
    assert_eq!(lease("ledger: {kind: etcd, endpoints: [http://10.0.0.1:2379]}"), [40, 200, 400]);
    assert_eq!(lease("ledger: {kind: git, url: https://codeberg.org/a/b}"), [180, 600, 1200]);
    assert_eq!(lease("ledger: {kind: git, url: git@h:a/b}\nlease: {duration: 1h}"), [180, 600, 3600]);
}

#[test]
fn every_problem_is_told_once() {
    let text = "flet: x\nagents:\n  dev: {clas: dev, needs: {memory: 3GB2, cpu: x}}\n  a b: {}\nwake: {mode: gates, min: yes}\n";
    let (settings, whole, problems) = parse(text);
    assert!(settings.is_some() && !whole);
    let lines: Vec<usize> = problems.iter().map(|problem| problem.place.as_ref().unwrap().span.line).collect();
    assert_eq!(lines, [1, 3, 3, 3, 4, 5, 5], "{problems:#?}");
}

#[test]
fn a_text_of_crontab_lines_is_long_enough_to_mean_one_agent_s() {
    let of = |text: &str| {
        let (_, whole, problems) =
            parse(&format!("agents: {{dev: {{start: cron, match: dev-agent.sh, halt: {{cron: {text}}}}}}}\n"));
        (whole, problems.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>().join("; "))
    };
    assert_eq!(of("dev/dev-poll.sh"), (true, String::new()));
    let (whole, told) = of("dev");
    assert!(whole && told.contains("`agents.dev.halt.cron`: `dev` is shorter than 4 characters"), "{told}");
    let (whole, told) = of("\"dev\\npoll\"");
    assert!(!whole && told.contains("no line break"), "{told}");
}
