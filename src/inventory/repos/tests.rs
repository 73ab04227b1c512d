use super::*;
use crate::inventory::units::Bytes;

fn settings() -> Settings {
    let source = Arc::new(SourceFile {
        path: "factory.yml".into(),
        text: "accounts: {main: {max_runs: 2}}\nagents: {dev: {dir: ~/x, needs: {cpu: 2}}}\n".to_owned(),
    });
    Settings::parse(source, &mut Diagnostics::default()).0.unwrap()
}

fn parse(text: &str) -> (Repos, Vec<Diagnostic>) {
    let mut problems = Diagnostics::default();
    let source = Arc::new(SourceFile { path: "repos.yml".into(), text: text.to_owned() });
    let repos = Repos::parse(source, &settings(), &mut problems).unwrap_or_default();
    (repos, problems.into_iter().collect())
}

const DESIGN: &str = "
defaults:
  forge: {kind: forgejo, url: https://codeberg.org}
  labels: {ready: backlog, active: in-progress, blocked: blocked, unclear: underspecified}
repos:
  harb:
    slug: johba/harb
    branch: master
    token: {env: HARB_TOKEN}            # or {file: PATH} or {command: [pass, show, harb]}; never a literal
    ci: {kind: woodpecker, url: http://127.0.0.1:8000, repo_id: 2, workers: 2, token: {env: WOODPECKER_TOKEN}}
    protection: {required_approvals: 1, status_checks: [ci/woodpecker/pr/*], merge_whitelist: [review-bot]}
    hosts: builders
    practices: practices/harb
    review_token: {env: REVIEW_BOT_TOKEN}
    env: {CODEBERG_REPO: johba/harb}
    agents: {dev: {needs: {memory: 4GiB}}}
";

#[test]
fn the_example_of_the_design_is_read_whole() {
    let (repos, problems) = parse(DESIGN);
    assert_eq!(problems, []);
    let harb = repos.get("harb").unwrap();
    assert_eq!(harb.slug, "johba/harb");
    assert_eq!(harb.hosts.as_ref().unwrap().place.to_string(), "repos.yml:12:12");
    let dev = &harb.agents["dev"];
    assert_eq!((dev.needs.memory, dev.needs.cpu, dev.dir.as_deref()), (Bytes(4 << 30), 2.0, Some("~/x")));
    assert_eq!(harb.agents.len(), 3);
    assert!(matches!(&harb.ci, Ci::Woodpecker { repo_id: 2, workers: 2, .. }));
    assert_eq!(harb.protection.as_ref().unwrap().status_checks.as_deref().unwrap(), ["ci/woodpecker/pr/*"]);
}

#[test]
fn one_broken_repo_stands_alone() {
    let (repos, problems) = parse(
        "repos:\n  a: {slug: x/a}\n  b: {slug: x/b, brnch: m}\n  c: {slug: x/c, agents: {devv: {}}}\n  -d: {slug: x/d}\n  e:\n  f-g: {slug: x/f}\n",
    );
    assert_eq!(repos.repos.iter().map(|repo| repo.name.as_str()).collect::<Vec<_>>(), ["a", "f-g"]);
    assert_eq!(repos.broken, ["b", "c", "-d", "e"]);
    let lines: Vec<usize> = problems.iter().map(|problem| problem.place.as_ref().unwrap().span.line).collect();
    assert_eq!(lines, [3, 4, 5, 6], "{problems:#?}");
}

#[test]
fn defaults_lie_beneath_each_repo() {
    let (repos, problems) = parse(
        "defaults:
  token: {env: SHARED}
  ci: {kind: woodpecker, url: http://ci.test, workers: 4}
  labels: {ready: todo}
  env: {A: 1, B: 2}
  agents: {dev: {account: main, needs: {memory: 2GiB}}}
repos:
  a: {slug: x/a, ci: {repo_id: 7}, labels: {active: doing}, env: {B: 3}}
  b: {slug: x/b, ci: none, token: {file: t}, agents: {dev: {needs: {cpu: 3}}}}
  c: {slug: x/c, ci: {repo_id: 1}, token: }
",
    );
    assert_eq!(problems, []);
    let [a, b, c] = repos.repos.as_slice() else { panic!("{:?}", repos.broken) };
    assert!(matches!(&a.ci, Ci::Woodpecker { repo_id: 7, workers: 4, .. }), "{:?}", a.ci);
    assert_eq!((a.labels.ready.as_str(), a.labels.active.as_str()), ("todo", "doing"));
    let env: Vec<String> = a.env.values().map(|value| format!("{value:?}")).collect();
    assert_eq!(env, ["Text(PlainText(\"1\"))", "Text(PlainText(\"3\"))"]);
    assert_eq!((&b.ci, &b.token), (&Ci::None, &Some(SecretRef::File("t".to_owned()))));
    let dev = &b.agents["dev"];
    assert_eq!((dev.needs.memory, dev.needs.cpu, dev.account.as_deref()), (Bytes(2 << 30), 3.0, Some("main")));
    assert_eq!(c.token, None, "an empty value takes the default away");
}

#[test]
fn each_kind_of_ci_is_read_and_takes_nothing_of_another() {
    let (repos, problems) = parse(
        "defaults: {ci: {kind: woodpecker, url: http://ci.test, repo_id: 1, workers: 4}}
repos:
  a: {slug: x/a, ci: {kind: actions}}
  b: {slug: x/b, ci: {kind: actions, workers: 3}}
  c: {slug: x/c, ci: actions}
  d: {slug: x/d, ci: statuses}
  e: {slug: x/e, ci: {kind: statuses}}
",
    );
    assert_eq!(problems, []);
    let kinds: Vec<Ci> = repos.repos.into_iter().map(|repo| repo.ci).collect();
    let actions = |workers| Ci::Actions { workers };
    assert_eq!(kinds, [actions(1), actions(3), actions(1), Ci::Statuses, Ci::Statuses]);
}

#[test]
fn a_mistake_in_the_defaults_is_told_once_and_breaks_whom_it_reaches() {
    let (repos, problems) = parse(
        "defaults: {forge: {kind: forgejo, url: codeberg}, ci: {kind: woodpecker}}\nrepos:\n  a: {slug: x/a, ci: none}\n  b: {slug: x/b, ci: none}\n  c: {slug: x/c, ci: none, forge: {url: http://h}}\n",
    );
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert_eq!(repos.broken, ["a", "b"]);
    assert_eq!(repos.repos[0].name, "c");
}

#[test]
fn no_file_is_no_repos() {
    let mut problems = Diagnostics::default();
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Repos::load(&dir.path().join("repos.yml"), &settings(), &mut problems), Some(Repos::default()));
    assert!(problems.is_empty());
    assert_eq!(Repos::load(dir.path(), &settings(), &mut problems), None);
    assert!(problems.has_errors());
    // A slip in the name would be no repos in silence.
    std::fs::write(dir.path().join("repos.yaml"), "repos: {}\n").unwrap();
    let mut problems = Diagnostics::default();
    assert_eq!(Repos::load(&dir.path().join("repos.yml"), &settings(), &mut problems), None);
    assert!(problems.iter().next().unwrap().message.ends_with("repos.yaml is not read"), "{problems:?}");
    for text in ["", "repos:\n", "defaults:\nrepos: {}\n"] {
        assert_eq!(parse(text), (Repos::default(), vec![]), "{text:?}");
    }
}

#[test]
fn the_same_repository_twice_is_refused() {
    let (repos, problems) = parse("repos:\n  a: {slug: x/a}\n  b: {slug: X/a}\n");
    assert_eq!(repos.broken, ["b"]);
    assert!(problems[0].message.contains("`a` already"), "{problems:#?}");
}
