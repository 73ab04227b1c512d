//! Repos compared with the inventory, as a table, as a diff and as JSON.

use owo_colors::OwoColorize;
use serde_json::{Value, json};

use super::Ui;
use super::diagnostic::Style;
use super::table::{Field, Sheet, plain};
use crate::cli::global::Form;
use crate::forge::examine::Examined;
use crate::forge::sync::Step;
use crate::inventory::repos::{Ci, Forge};
use crate::policy::repo::{Difference, Lack, Level, Token, What, groups};
use crate::tick::Progress;

/// The columns of the table, after the repo's name.
const HEADINGS: [&str; 8] = ["REPO", "SLUG", "FORGE", "TOKEN", "REVIEW", "LABELS", "PROTECTION", "CI"];

/// One cell of each column after SLUG; `-` is not known.
fn cells(one: &Examined) -> [String; 6] {
    let Forge::Forgejo { url } = &one.repo.forge;
    let host = url.as_str().split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    let errors = |what: What| {
        let own = one.differences.iter().filter(move |own| own.what == what && own.level == Level::Error);
        own.collect::<Vec<_>>()
    };
    let found = &one.found;
    let silent = found.home.as_ref().is_err_and(|unread| unread.lack == Lack::Silent);
    let token = |token: &Token, login: Option<&str>| match (token, login) {
        (Token::None, _) => "none".to_owned(),
        (Token::Bad(unread), _) if unread.lack == Lack::Token => "refused".to_owned(),
        (Token::Bad(_), _) => "missing".to_owned(),
        (Token::Good, Some(login)) => login.to_owned(),
        (Token::Good, None) => "-".to_owned(),
    };
    let labels = match (&found.labels, errors(What::Labels).len()) {
        (Some(Ok(_)), 0) => "ok".to_owned(),
        (Some(Ok(_)), missing) => format!("{missing} missing"),
        _ => "-".to_owned(),
    };
    let protection = match (&one.repo.protection, &found.branch, errors(What::Protection).len()) {
        (None, ..) => "as it is".to_owned(),
        (_, Some(Ok(Some(_))), 0) if !unknown(one, What::Protection) => "ok".to_owned(),
        (_, Some(Ok(Some(branch))), 1..) if !branch.protected => "none".to_owned(),
        (_, Some(Ok(Some(_))), 1) => "1 differs".to_owned(),
        (_, Some(Ok(Some(_))), more @ 2..) => format!("{more} differ"),
        _ => "-".to_owned(),
    };
    let ci = match (&one.repo.ci, &found.ci) {
        (Ci::None, _) => "none",
        (_, Some(ci)) if ci.project.as_ref().is_err_and(|unread| unread.lack == Lack::Silent) => "no answer",
        _ if unknown(one, What::Ci) => "-",
        _ if errors(What::Ci).is_empty() => "ok",
        _ => "wrong",
    };
    let own = token(&found.own.token, found.own.login());
    let reviewer = token(&found.reviewer.token, found.reviewer.login());
    [if silent { "no answer".to_owned() } else { host.to_owned() }, own, reviewer, labels, protection, ci.to_owned()]
}

fn unknown(one: &Examined, what: What) -> bool {
    one.differences.iter().any(|own| own.what == what && own.level == Level::Unknown)
}

/// What a repo is like in one line, and its severity.
fn verdict(one: &Examined) -> (u8, String) {
    let of = |level: Level| one.differences.iter().filter(|own| own.level == level).count();
    match (of(Level::Error), of(Level::Unknown), of(Level::Hint)) {
        (0, 0, 0) => (0, "ok: as wanted".to_owned()),
        (0, 0, 1) => (0, "ok: as wanted, with a hint".to_owned()),
        (0, 0, hints) => (0, format!("ok: as wanted, with {hints} hints")),
        (0, ..) => (4, "unknown: no answer".to_owned()),
        (1, ..) => (3, "1 thing to see to".to_owned()),
        (errors, ..) => (3, format!("{errors} things to see to")),
    }
}

/// A repo that has been looked at, for the progress.
pub fn answered(one: &Examined, seconds: f64) -> Progress {
    let (level, verdict) = verdict(one);
    Progress::Answered { host: one.repo.name.clone(), level, seconds, verdict }
}

/// All repos as a table; empty where there are none.
pub fn table(all: &[Examined], style: Style) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut sheet = Sheet::new(style, &HEADINGS);
    for one in all {
        let (level, _) = verdict(one);
        let name = Field::text(&one.repo.name).level(level);
        sheet.row([name, Field::text(&one.repo.slug)].into_iter().chain(cells(one).iter().map(Field::text)));
    }
    sheet.to_string()
}

/// What is wrong with a repo, a line a problem and a line a hint.
pub fn lines(one: &Examined) -> String {
    let name = &one.repo.name;
    let told = groups(&one.differences);
    let told = told.iter().filter_map(|group| Some((group.first()?, message(group))));
    let line = |(first, message): (&&Difference, String)| {
        let message = format!("{name}: {}{message}", word(first.level));
        format!("{}\n  help: {}\n", plain(&message), plain(&first.help))
    };
    told.map(line).collect()
}

/// The differences of a repo: as a diff where both sides are known, as lines where not.
pub fn diff(name: &str, differences: &[Difference], style: Style) -> String {
    let mut text = String::new();
    for group in groups(differences) {
        let Some(first) = group.first() else { continue };
        if first.wanted.is_some() {
            text.push_str(&format!("{}\n", plain(&format!("{name}: {}", first.subject))));
            group.iter().for_each(|own| text.push_str(&sides(own, style)));
        } else {
            text.push_str(&format!("{}\n", plain(&format!("{name}: {}{}", word(first.level), message(&group)))));
        }
        if !first.help.is_empty() {
            text.push_str(&format!("  help: {}\n", plain(&first.help)));
        }
    }
    text
}

/// A line of how it is and one of how it is wanted.
fn sides(own: &Difference, style: Style) -> String {
    let found = own.found.as_ref().map(|line| format!("-{}", plain(line)));
    let wanted = own.wanted.as_ref().map(|line| format!("+{}", plain(line)));
    let lines = match style.color {
        true => [found.map(|line| line.red().to_string()), wanted.map(|line| line.green().to_string())],
        false => [found, wanted],
    };
    lines.into_iter().flatten().map(|line| line + "\n").collect()
}

/// What goes before what is no plain difference.
fn word(level: Level) -> &'static str {
    match level {
        Level::Hint => "note: ",
        Level::Unknown => "not known: ",
        Level::Error => "",
    }
}

fn message(group: &[&Difference]) -> String {
    let subject = group.first().map(|first| first.subject.as_str()).unwrap_or_default();
    let all: Vec<&str> = group.iter().map(|own| own.message.as_str()).collect();
    format!("{subject}: {}", all.join("; "))
}

/// What was tried in a repo, a line a step.
pub fn steps(name: &str, steps: &[Step]) -> String {
    let line = |step: &Step| match &step.failure {
        None => format!("{name}: done: {}\n", plain(&step.what)),
        Some(failure) => {
            let why = plain(&format!("{name}: failed: {}: {failure}", step.what));
            format!("{why}\n  help: {}\n", plain(&failure.by_hand()))
        }
    };
    steps.iter().map(line).collect()
}

/// A repo as a row of `inventory check`.
pub fn row(one: &Examined) -> Value {
    let problems = groups(&one.differences).into_iter().filter_map(|group| {
        let first = group.first()?;
        let fatal = first.level == Level::Error;
        Some(json!({ "what": first.what, "level": first.level, "fatal": fatal, "message": message(&group),
                     "help": first.help }))
    });
    with(head(one), [("problems", problems.collect())])
}

/// A repo as an object of `repo check`.
pub fn object(one: &Examined) -> Value {
    let differences = one.differences.iter().map(difference).collect();
    with(head(one), [("branch", json!(one.found.branch_name)), ("differences", differences)])
}

/// One difference, with whether `repo sync` can mend it.
pub fn difference(own: &Difference) -> Value {
    with(json!(own), [("sync", json!(own.fix.is_some()))])
}

/// An object with these keys too.
pub fn with<const N: usize>(object: Value, more: [(&str, Value); N]) -> Value {
    let Value::Object(mut object) = object else { return object };
    object.extend(more.map(|(key, value)| (key.to_owned(), value)));
    Value::Object(object)
}

fn head(one: &Examined) -> Value {
    let [forge, token, review, labels, protection, ci] = cells(one);
    json!({ "repo": one.repo.name, "slug": one.repo.slug, "forge": forge, "token": token, "review": review,
            "labels": labels, "protection": protection, "ci": ci })
}

/// Shows what is to be done, before anybody is asked. As JSON it is part of the result, so there a person who is asked
/// sees it on stderr.
pub fn todo(text: &str, ui: &Ui) {
    match ui.form {
        Form::Text => ui.print_some(text),
        _ if ui.can_ask() && !text.is_empty() => ui.note(text),
        _ => {}
    }
}
