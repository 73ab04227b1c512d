use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::error::{Diagnostics, SourceFile};
use crate::inventory::repos::Repos;
use crate::inventory::settings::Settings;

/// What is otherwise than in [`found`].
type Changed = fn(&mut Found);

/// The repo `harb` with these keys too.
fn repo(more: &str) -> Repo {
    let text = format!("repos:\n  harb:\n    slug: johba/harb\n    token: {{env: T}}\n{more}");
    let source = Arc::new(SourceFile { path: "repos.yml".into(), text });
    let mut problems = Diagnostics::default();
    let repos = Repos::parse(source, &Settings::default(), &mut problems).unwrap_or_default();
    repos.get("harb").unwrap_or_else(|| panic!("{problems:?}")).clone()
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn account(login: &str) -> Access {
    Access {
        account: Some(Ok(login.to_owned())),
        rights: Some(Ok(Rights { admin: false, push: true })),
        issues: Some(Ok(true)),
        repository: Some(Ok(true)),
        ..Access::of(Token::Good)
    }
}

/// A repo with which all is well, its branch without a protection.
fn found() -> Found {
    let rights = Rights { admin: true, push: true };
    Found {
        own: account("dev-bot"),
        reviewer: account("review-bot"),
        home: Ok(Home {
            full_name: "johba/harb".to_owned(),
            default_branch: "master".to_owned(),
            archived: false,
            merges: true,
            rights,
        }),
        labels: Some(Ok(texts(&["backlog", "in-progress", "blocked", "underspecified", "bug"]))),
        labels_hidden: false,
        branch_name: Some("master".to_owned()),
        branch: Some(Ok(Some(Branch::default()))),
        rule: None,
        permissions: BTreeMap::new(),
        ci: None,
        secrets: Vec::new(),
    }
}

/// With a protection of the branch.
fn guarded(rule: Rule) -> Found {
    let branch = Branch {
        protected: true,
        required_approvals: rule.required_approvals,
        status_checks: rule.status_checks.clone(),
    };
    Found { branch: Some(Ok(Some(branch))), rule: Some(Ok(rule)), ..found() }
}

fn rule(approvals: u32, checks: Option<&[&str]>, accounts: Option<&[&str]>) -> Rule {
    Rule {
        name: "master".to_owned(),
        required_approvals: approvals,
        status_checks: checks.map(texts),
        merge_whitelist: accounts.map(texts),
    }
}

fn silent() -> Unread {
    Unread { lack: Lack::Silent, message: "no answer".to_owned(), help: "wait".to_owned() }
}

fn refused() -> Unread {
    Unread { lack: Lack::Refused, message: "refused with 403".to_owned(), help: "a scope".to_owned() }
}

/// The differences, a line each.
fn shown(repo: &Repo, found: &Found) -> Vec<String> {
    let line = |own: &Difference| {
        let sync = if own.fix.is_some() { " (sync)" } else { "" };
        format!("{:?} {}: {}{sync}", own.level, own.subject, own.message)
    };
    compare(repo, found).iter().map(line).collect()
}

#[test]
fn a_repo_as_wanted_has_no_difference() {
    let all =
        "    protection: {required_approvals: 1, status_checks: [a, b], merge_whitelist: [Review-Bot, dev-bot]}\n";
    let same = rule(1, Some(&["b", "a", "a"]), Some(&["dev-bot", "review-bot"]));
    assert_eq!(shown(&repo(all), &guarded(same)), Vec::<String>::new());
    assert_eq!(shown(&repo(""), &found()), Vec::<String>::new());
    // A protection that asks for nothing is not made: it would only forbid pushes.
    let nothing = "    protection: {required_approvals: 0, status_checks: [], merge_whitelist: []}\n";
    assert_eq!(shown(&repo(nothing), &found()), Vec::<String>::new());
    assert_eq!(shown(&repo("    protection: {}\n"), &guarded(rule(3, None, None))), Vec::<String>::new());
}

#[test]
fn each_key_of_a_protection_is_compared_by_itself() {
    let table: &[(&str, Rule, &[&str])] = &[
        ("required_approvals: 2", rule(1, None, None), &["required_approvals is 1, not 2"]),
        ("status_checks: [a]", rule(1, None, None), &["status_checks is none, not a"]),
        ("status_checks: [a]", rule(1, Some(&[]), None), &["status_checks is all that there are, not a"]),
        ("status_checks: []", rule(1, Some(&["a"]), None), &["status_checks is a, not none"]),
        ("status_checks: [A]", rule(1, Some(&["a"]), None), &["status_checks is a, not A"]),
        ("merge_whitelist: [x]", rule(1, None, None), &["merge_whitelist is whoever may write, not x"]),
        ("merge_whitelist: [x]", rule(1, None, Some(&[])), &["merge_whitelist is nobody, not x"]),
        ("merge_whitelist: []", rule(1, None, Some(&["x"])), &["merge_whitelist is x, not whoever may write"]),
        ("merge_whitelist: []", rule(1, None, Some(&[])), &["merge_whitelist is nobody, not whoever may write"]),
        (
            "required_approvals: 2, status_checks: [a]",
            rule(0, Some(&["b"]), Some(&["x"])),
            &["required_approvals is 0, not 2", "status_checks is b, not a"],
        ),
    ];
    for (keys, rule, wanted) in table {
        let told = shown(&repo(&format!("    protection: {{{keys}}}\n")), &guarded(rule.clone()));
        let wanted: Vec<String> =
            wanted.iter().map(|message| format!("Error protection of `master`: {message} (sync)")).collect();
        assert_eq!(told, wanted, "{keys}");
    }
}

#[test]
fn what_stands_in_the_way_of_sync_is_told_before() {
    let wants = repo("    protection: {required_approvals: 1, merge_whitelist: [anna]}\n");
    let cases: &[(&str, Changed, &str)] = &[
        ("no administrator", |found| found.home.as_mut().unwrap().rights.admin = false, "dev-bot does not administer"),
        ("archived", |found| found.home.as_mut().unwrap().archived = true, "archived"),
        ("a scope", |found| found.own.repository = Some(Ok(false)), "what the token or its account lacks"),
        ("no token", |found| found.own = Access::of(Token::None), "name a `token`"),
        ("a bad token", |found| found.own = Access::of(Token::Bad(refused())), "mend the token"),
        (
            "a pattern",
            |found| {
                *found = guarded(Rule { name: "m*".to_owned(), ..rule(0, None, None) });
            },
            "for other branches too",
        ),
    ];
    for (what, change, help) in cases {
        let mut found = found();
        change(&mut found);
        let told = compare(&wants, &found);
        let own: Vec<&Difference> = told.iter().filter(|own| own.wanted.is_some()).collect();
        assert!(!own.is_empty() && plan(&told).is_empty(), "{what}: {told:#?}");
        assert!(own.iter().all(|own| own.help.contains(help)), "{what}: {told:#?}");
    }
    // An account that may not write holds up the list, and nothing else.
    let mut found = guarded(rule(0, None, None));
    found.permissions = [("anna".to_owned(), Ok("read".to_owned()))].into();
    let told = compare(&wants, &found);
    let change = plan(&told).protection.unwrap();
    assert_eq!((change.required_approvals, change.merge_whitelist), (Some(1), None));
    assert!(told.iter().any(|own| own.message.contains("anna has only `read`")), "{told:#?}");
    for may in [Ok("none".to_owned()), Err(silent()), Err(refused())] {
        found.permissions = [("anna".to_owned(), may)].into();
        assert_eq!(plan(&compare(&wants, &found)).protection.unwrap().merge_whitelist, None);
    }
    found.permissions = [("anna".to_owned(), Ok("owner".to_owned()))].into();
    assert_eq!(plan(&compare(&wants, &found)).protection.unwrap().merge_whitelist, Some(texts(&["anna"])));
}

#[test]
fn labels_are_found_by_their_exact_name() {
    let with = |labels: &[&str]| Found { labels: Some(Ok(texts(labels))), ..found() };
    let told = shown(&repo(""), &with(&["Backlog", "in-progress", "in-progress", "blocked"]));
    assert_eq!(
        told,
        [
            "Error labels: there is `Backlog`, but not `backlog`: upper and lower case count",
            "Hint labels: `in-progress` is there 2 times: an issue may have one and not the other",
            "Error labels: `underspecified` is missing (sync)",
        ]
    );
    let both = shown(&repo(""), &with(&["Backlog", "backlog", "in-progress", "blocked", "underspecified"]));
    assert_eq!(both, Vec::<String>::new());
    let hidden = Found { labels_hidden: true, ..with(&["in-progress", "blocked", "underspecified"]) };
    assert!(shown(&repo(""), &hidden)[1].contains("an organization's own are not seen"));
}

#[test]
fn tokens_accounts_and_the_repo_are_judged() {
    let cases: &[(&str, Changed, &[&str])] = &[
        ("none", |found| found.own = Access::of(Token::None), &["Hint token: none is named"]),
        ("bad", |found| found.own = Access::of(Token::Bad(refused())), &["Error token: refused with 403"]),
        (
            "whose",
            |found| found.own.account = Some(Err(Unread { lack: Lack::Scope, ..refused() })),
            &["Error token: it does not tell whose it is"],
        ),
        (
            "reads",
            |found| found.home.as_mut().unwrap().rights = Rights::default(),
            &["Error token: dev-bot may only read"],
        ),
        ("issue", |found| found.own.issues = Some(Ok(false)), &["Error token: it lacks the scope write:issue"]),
        (
            "unsure",
            |found| found.own.issues = Some(Err(refused())),
            &["Hint token: whether it has the scope write:issue"],
        ),
        ("hangs", |found| found.own.issues = Some(Err(silent())), &["Unknown token: whether it has the scope"]),
        ("same", |found| found.reviewer = account("Dev-Bot"), &["Error review_token: it belongs to Dev-Bot"]),
        (
            "review",
            |found| found.reviewer.rights = Some(Ok(Rights::default())),
            &["Hint review_token: review-bot may only"],
        ),
        (
            "review scope",
            |found| found.reviewer.repository = Some(Ok(false)),
            &["Error review_token: it lacks the scope"],
        ),
        (
            "moved",
            |found| found.home.as_mut().unwrap().full_name = "a/b".to_owned(),
            &["Error repo: it has moved: it is a/b"],
        ),
        ("case", |found| found.home.as_mut().unwrap().full_name = "Johba/Harb".to_owned(), &[]),
        ("archived", |found| found.home.as_mut().unwrap().archived = true, &["Error repo: it is archived"]),
        ("merges", |found| found.home.as_mut().unwrap().merges = false, &["Error repo: no way of merging"]),
        ("branch", |found| found.branch = Some(Ok(None)), &["Error repo: it has no branch `master`"]),
        (
            "default",
            |found| found.home.as_mut().unwrap().default_branch = "main".to_owned(),
            &["Hint repo: pulls go to"],
        ),
        (
            "nobody merges",
            |found| (found.own.may_merge, found.reviewer.may_merge) = (Some(false), Some(false)),
            &["Hint protection: neither dev-bot nor review-bot may merge"],
        ),
        ("one merges", |found| (found.own.may_merge, found.reviewer.may_merge) = (Some(false), Some(true)), &[]),
        ("silent", |found| (found.home, found.labels) = (Err(silent()), None), &["Unknown repo: no answer"]),
        ("secret", |found| found.secrets = vec![("env.X".to_owned(), refused())], &["Error env.X: refused"]),
    ];
    for (what, change, wanted) in cases {
        let mut found = found();
        change(&mut found);
        let told = shown(&repo(""), &found);
        assert_eq!(told.len(), wanted.len(), "{what}: {told:#?}");
        assert!(told.iter().zip(*wanted).all(|(own, wanted)| own.starts_with(wanted)), "{what}: {told:#?}");
    }
}

#[test]
fn what_is_mended_in_one_way_is_one_group() {
    let found = Found { labels: Some(Ok(texts(&["Backlog"]))), ..found() };
    let told = compare(&repo("    protection: {required_approvals: 1, status_checks: [a]}\n"), &found);
    let sizes: Vec<usize> = groups(&told).iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 3, 2]);
}

fn any_list() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "C", "c"]).prop_map(str::to_owned), 0..4)
}

prop_compose! {
    fn any_protection()(
        required_approvals in prop::option::of(0_u32..3),
        status_checks in prop::option::of(any_list()),
        merge_whitelist in prop::option::of(any_list()),
    ) -> crate::inventory::repos::Protection {
        crate::inventory::repos::Protection { required_approvals, status_checks, merge_whitelist }
    }
}

prop_compose! {
    fn any_found()(
        labels in prop::collection::vec(prop::sample::select(vec!["backlog", "Blocked", "in-progress", "bug"]), 0..5),
        rule in prop::option::of((0_u32..3, prop::option::of(any_list()), prop::option::of(any_list()))),
        admin in prop::bool::weighted(0.8),
        archived in prop::bool::weighted(0.1),
    ) -> Found {
        let mut found = match rule {
            Some((required_approvals, status_checks, merge_whitelist)) => {
                guarded(Rule { name: "master".to_owned(), required_approvals, status_checks, merge_whitelist })
            }
            None => found(),
        };
        found.labels = Some(Ok(texts(&labels)));
        let home = found.home.as_mut().unwrap();
        (home.rights.admin, home.archived) = (admin, archived);
        if !admin {
            found.rule = None;
        }
        found
    }
}

/// What a forge has after `plan`, if it does as it is told.
fn after(mut found: Found, plan: &Plan) -> Found {
    if let Some(Ok(labels)) = &mut found.labels {
        labels.extend(plan.labels.iter().cloned());
    }
    let Some(change) = &plan.protection else { return found };
    let mut rule = match &found.rule {
        Some(Ok(rule)) => rule.clone(),
        _ => Rule { name: change.name.clone(), ..Rule::default() },
    };
    let list = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    rule.required_approvals = change.required_approvals.unwrap_or(rule.required_approvals);
    rule.status_checks = change.status_checks.as_ref().map_or(rule.status_checks, list);
    rule.merge_whitelist = change.merge_whitelist.as_ref().map_or(rule.merge_whitelist, list);
    let changed = guarded(rule);
    Found { branch: changed.branch, rule: changed.rule, ..found }
}

proptest! {
    #[test]
    fn sync_comes_to_an_end_and_touches_only_what_is_named(wanted in any_protection(), found in any_found()) {
        let repo = Repo { protection: Some(wanted.clone()), ..repo("") };
        let first = compare(&repo, &found);
        let planned = plan(&first);
        let home = found.home.as_ref().unwrap();
        if home.archived {
            prop_assert!(planned.is_empty());
        }
        if let Some(change) = &planned.protection {
            prop_assert!(home.rights.admin);
            prop_assert_eq!(change.name.as_str(), "master");
            prop_assert_eq!(change.new, found.rule.is_none());
            prop_assert!(change.required_approvals.is_none() || change.required_approvals == wanted.required_approvals);
            prop_assert!(change.status_checks.is_none() || change.status_checks == wanted.status_checks);
            prop_assert!(change.merge_whitelist.is_none() || change.merge_whitelist == wanted.merge_whitelist);
        }
        // No label is made that is there, in whatever case, and none twice.
        let known = found.labels.clone().unwrap().unwrap();
        prop_assert!(planned.labels.iter().all(|name| !known.iter().any(|own| own.eq_ignore_ascii_case(name))));
        let second = compare(&repo, &after(found, &planned));
        prop_assert!(plan(&second).is_empty(), "{:#?}", second);
        prop_assert!(second.len() <= first.len());
    }

    #[test]
    fn the_order_of_lists_and_the_case_of_accounts_do_not_matter(wanted in any_protection(), found in any_found()) {
        let mut turned = found.clone();
        if let Some(Ok(rule)) = &mut turned.rule {
            rule.status_checks.iter_mut().for_each(|list| list.reverse());
            if let Some(list) = &mut rule.merge_whitelist {
                list.reverse();
                list.iter_mut().for_each(|login| *login = login.to_uppercase());
            }
        }
        if let Some(Ok(Some(branch))) = &mut turned.branch {
            branch.status_checks.iter_mut().for_each(|list| list.reverse());
        }
        let repo = Repo { protection: Some(wanted), ..repo("") };
        prop_assert_eq!(plan(&compare(&repo, &found)), plan(&compare(&repo, &turned)));
    }
}
