//! The queue, for people and as JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Ui;
use super::table::{Field, Sheet, ago, count, length, plain};
use crate::cli::global::Form;
use crate::inventory::repos::{Merge, Repo};
use crate::policy::queue::order::{Class, Item, one_a_task, sort};
use crate::policy::queue::{issue, pull};
use crate::tick::backlog::{Blocked, Book, KnownPull, Silent, Work};

/// A repo with what there is to do in it.
pub struct RepoQueue<'a> {
    /// The repo.
    pub repo: &'a Repo,
    /// What is known of it; none where the look at it died.
    pub book: Option<&'a Book>,
    /// What there is to do; none where its forge never told anything.
    pub work: Option<&'a Work>,
    /// Why the ledger lets nothing be merged in it: a person holds it, or nobody can tell.
    pub held: Option<&'static str>,
}

/// Something that is not to be done now, or merged.
struct Other<'a> {
    repo: &'a str,
    /// `#12` or `!41`.
    what: String,
    number: u64,
    pull: bool,
    title: &'a str,
    why: String,
    /// Somebody has called it ready, or it is a pull.
    called: bool,
}

/// Shows what there is to do, in order, and unless `ready` the rest with its reasons.
pub fn show(ui: &Ui, queues: &[RepoQueue<'_>], broken: &[String], ready: bool, now: Timestamp) {
    let items = |stands: bool| {
        let own = queues.iter().filter(move |one| disabled(one).is_some() == stands);
        own.filter_map(|one| one.work).flat_map(|work| work.items.clone()).collect::<Vec<Item>>()
    };
    let (mut items, standing) = (items(false), items(true));
    sort(&mut items, now);
    let later = one_a_task(&mut items);
    let titles = titles(queues);
    let mergeable = |stands: bool| {
        let own = queues.iter().filter(move |one| unmerged(one).is_some() == stands);
        own.flat_map(merges).collect::<Vec<_>>()
    };
    let mut waiting: Vec<Other<'_>> = queues.iter().flat_map(waiting).chain(mergeable(true)).collect();
    let other = |item: &Item, why: String| {
        let pull = item.class != Class::New;
        let (repo, title) = titles.get(&(item.repo.as_str(), pull, item.number))?;
        Some(Other { repo, what: name(pull, item.number), number: item.number, pull, title, why, called: true })
    };
    let after = |item: &Item| other(item, format!("comes after another one of {}", item.task));
    waiting.extend(later.iter().filter_map(after));
    let of = |item: &Item| queues.iter().find(|one| one.repo.name == item.repo).and_then(disabled);
    waiting.extend(standing.iter().filter_map(|item| other(item, of(item)?)));
    waiting.sort_by(|one, other| (one.repo, one.pull, one.number).cmp(&(other.repo, other.pull, other.number)));
    let merges = mergeable(false);
    match ui.form {
        Form::Text => {
            let said = text(ui, queues, (&items, &merges, &waiting), &titles, ready, now);
            ui.print_some(&said);
            queues.iter().flat_map(|one| notes(one, now)).for_each(|note| ui.warn(&note));
            for name in broken {
                ui.warn(&format!("{name} has errors in repos.yml: `factory inventory check --offline` shows them"));
            }
            let repos = count(queues.len(), "repo");
            let (called, others): (Vec<&Other<'_>>, Vec<_>) = waiting.iter().partition(|one| one.called);
            let others = match others.len() {
                0 => String::new(),
                1 => "; 1 open issue that nobody has labelled as ready".to_owned(),
                count => format!("; {count} open issues that nobody has labelled as ready"),
            };
            let (items, merges, called) = (items.len(), merges.len(), called.len());
            ui.note(&format!("{repos}: {items} to do, {merges} to merge, {called} not now{others}"));
        }
        Form::Json => {
            let repos: Vec<Value> = queues.iter().map(repo_json).collect();
            let items: Vec<Value> = items.iter().map(|item| item_json(item, &titles)).collect();
            let other = |all: &[Other<'_>]| all.iter().map(other_json).collect::<Vec<_>>();
            let waiting = if ready { Vec::new() } else { other(&waiting) };
            let all =
                json!({"repos": repos, "broken": broken, "items": items, "merges": other(&merges), "waiting": waiting});
            ui.object("queue", &all);
        }
        Form::Jsonl => items.iter().for_each(|item| ui.object("queue-item", &item_json(item, &titles))),
    }
}

type Titles<'a> = BTreeMap<(&'a str, bool, u64), (&'a str, &'a str)>;

/// The titles of issues and pulls, by repo, kind and number.
fn titles<'a>(queues: &[RepoQueue<'a>]) -> Titles<'a> {
    let of = |one: &RepoQueue<'a>| {
        let (repo, book) = (one.repo.name.as_str(), one.book);
        let issues = book.into_iter().flat_map(|book| &book.issues);
        let pulls = book.into_iter().flat_map(|book| &book.pulls);
        let issues = issues.map(move |issue| ((repo, false, issue.number), (repo, issue.title.as_str())));
        let pulls = pulls.map(move |known| ((repo, true, known.pull.number), (repo, known.pull.title.as_str())));
        issues.chain(pulls).collect::<Vec<_>>()
    };
    queues.iter().flat_map(of).collect()
}

fn name(pull: bool, number: u64) -> String {
    format!("{}{number}", if pull { '!' } else { '#' })
}

/// Why nothing is done for a repo, whatever was known of it before.
fn disabled(one: &RepoQueue<'_>) -> Option<String> {
    let silent = one.book?.silent.as_ref().filter(|silent| silent.disabled)?;
    Some(format!("nothing is done for the repo: {}", silent.cause))
}

/// Why no tick merges anything in a repo, as a tick finds it.
fn unmerged(one: &RepoQueue<'_>) -> Option<String> {
    let book = one.book?;
    if one.repo.merge == Merge::Agents {
        return disabled(one);
    }
    let silent = |silent: &Option<Silent>, whose: &str| {
        silent.as_ref().map(|silent| format!("not merged while its {whose} does not answer: {}", silent.cause))
    };
    let no_token = || one.repo.token.is_none().then(|| "not merged: the repo has no `token`".to_owned());
    let held = || one.held.map(|why| format!("not merged: {why}"));
    let of = disabled(one).or_else(|| silent(&book.silent, "forge")).or_else(|| silent(&book.ci_silent, "CI"));
    of.or_else(no_token).or_else(held)
}

/// The pulls that may be merged.
fn merges<'a>(one: &RepoQueue<'a>) -> Vec<Other<'a>> {
    let (Some(book), Some(work)) = (one.book, one.work) else { return Vec::new() };
    let unmerged = unmerged(one);
    let by = match one.repo.merge {
        Merge::Factory => "by the next tick",
        Merge::Agents => "by its agents",
    };
    let ready =
        book.pulls.iter().filter(|known| work.judged.pulls.get(&known.pull.number) == Some(&pull::Verdict::Mergeable));
    let merge = |known: &'a KnownPull| {
        let number = known.pull.number;
        let tried = |blocked: &Blocked| match blocked {
            Blocked { unknown: true, why, .. } => format!("whether it was merged is not known: {why}"),
            Blocked { refused: true, why, .. } => format!("the forge said no: {why}"),
            Blocked { why, .. } => format!("not merged yet: {why}"),
        };
        let tried = || known.blocked.as_ref().map(tried);
        let why = unmerged.clone().or_else(tried).unwrap_or_else(|| by.to_owned());
        let (repo, what, title) = (one.repo.name.as_str(), name(true, number), known.pull.title.as_str());
        Other { repo, what, number, pull: true, title, why, called: true }
    };
    ready.map(merge).collect()
}

fn waiting<'a>(one: &RepoQueue<'a>) -> Vec<Other<'a>> {
    let (Some(book), Some(work)) = (one.book, one.work) else { return Vec::new() };
    let issues = book.issues.iter().filter_map(|issue| match work.judged.issues.get(&issue.number)? {
        issue::Verdict::Not(reason) => {
            let (number, title) = (issue.number, issue.title.as_str());
            let called = !matches!(reason, issue::Reason::NotLabelled(_));
            Some(Other {
                repo: &one.repo.name,
                what: name(false, number),
                number,
                pull: false,
                title,
                why: reason.to_string(),
                called,
            })
        }
        issue::Verdict::Ready | issue::Verdict::Orphaned => None,
    });
    let pulls = book.pulls.iter().filter_map(|known| {
        let verdict = work.judged.pulls.get(&known.pull.number)?;
        let begun =
            matches!(verdict, pull::Verdict::NeedsReview | pull::Verdict::NeedsFixes(_) | pull::Verdict::Mergeable);
        let (number, title) = (known.pull.number, known.pull.title.as_str());
        let why = verdict.to_string();
        let (repo, what) = (one.repo.name.as_str(), name(true, number));
        (!begun).then_some(Other { repo, what, number, pull: true, title, why, called: true })
    });
    issues.chain(pulls).collect()
}

/// Why something is to be done.
fn why(queues: &[RepoQueue<'_>], item: &Item) -> String {
    let work = queues.iter().find(|one| one.repo.name == item.repo).and_then(|one| one.work);
    let Some(work) = work else { return String::new() };
    match item.class {
        Class::New => match work.judged.issues.get(&item.number) {
            Some(issue::Verdict::Orphaned) => "begun before, and nobody works on it any more".to_owned(),
            _ => "ready".to_owned(),
        },
        Class::Review | Class::Fixes => {
            work.judged.pulls.get(&item.number).map(ToString::to_string).unwrap_or_default()
        }
    }
}

fn text(
    ui: &Ui,
    queues: &[RepoQueue<'_>],
    (items, merges, waiting): (&[Item], &[Other<'_>], &[Other<'_>]),
    titles: &Titles<'_>,
    ready: bool,
    now: Timestamp,
) -> String {
    let mut text = String::new();
    let title = |item: &Item| {
        titles.get(&(item.repo.as_str(), item.class != Class::New, item.number)).map_or("", |(_, title)| *title)
    };
    if !items.is_empty() || !merges.is_empty() {
        let mut sheet = Sheet::new(ui.out, &["REPO", "DO", "WHAT", "WAITS", "WHY", "TITLE"]);
        for merge in merges {
            let row = [merge.repo, "merge", &merge.what, "", &merge.why, merge.title];
            sheet.row(row.map(Field::text));
        }
        for item in items {
            let class = match item.class {
                Class::Review => "review",
                Class::Fixes => "fix",
                Class::New => "begin",
            };
            let what = name(item.class != Class::New, item.number);
            let row = [&item.repo, class, &what, &waited(item.since, now), &why(queues, item), title(item)];
            sheet.row(row.map(Field::text));
        }
        sheet.cut();
        text.push_str(&sheet.to_string());
    }
    // What nobody has called ready is no news.
    let told: Vec<&Other<'_>> = waiting.iter().filter(|one| one.called).collect();
    if !told.is_empty() && !ready {
        let mut sheet = Sheet::new(ui.out, &["REPO", "NOT NOW", "TITLE", "WHY"]);
        for one in told {
            let short: String = one.title.chars().take(40).collect();
            sheet.row([one.repo, &one.what, &short, &one.why].map(Field::text));
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&sheet.to_string());
    }
    text
}

/// What is to be known of a repo whose servers say nothing, or not all.
fn notes(one: &RepoQueue<'_>, now: Timestamp) -> Vec<String> {
    let name = &one.repo.name;
    let Some(book) = one.book else { return vec![format!("{name}: the look at it failed")] };
    let told = |what: &str, silent: &Silent| {
        let Silent { why, help, .. } = silent;
        match (what, book.seen) {
            ("forge", None) => format!("{name}: nothing is known of it: {why}; {help}"),
            ("forge", Some(seen)) => format!("{name}: as of {} ago: {why}; {help}", ago(seen, now)),
            _ => format!("{name}: its CI is not known: {why}; {help}"),
        }
    };
    let forge = book.silent.iter().map(|silent| told("forge", silent));
    let ci = book.ci_silent.iter().map(|silent| told("ci", silent));
    let untold = book.untold.iter().filter(|silent| !silent.busy).map(|Silent { since, why, help, .. }| {
        format!("{name}: not all is known, for {}: {why}; {help}", ago(*since, now))
    });
    forge.chain(ci).chain(untold).map(|note| plain(&note)).collect()
}

fn repo_json(one: &RepoQueue<'_>) -> Value {
    let (seen, silent) = (one.book.and_then(|book| book.seen), one.book.and_then(|book| book.silent.as_ref()));
    let ci = one.book.and_then(|book| book.ci_silent.as_ref());
    let told =
        |silent: Option<&Silent>| silent.map(|it| json!({"since": it.since, "why": it.why, "disabled": it.disabled}));
    let untold = one.book.and_then(|book| book.untold.as_ref());
    json!({"repo": one.repo.name, "slug": one.repo.slug, "seen": seen, "silent": told(silent), "ci_silent": told(ci),
        "untold": told(untold)})
}

fn item_json(item: &Item, titles: &Titles<'_>) -> Value {
    let title = titles.get(&(item.repo.as_str(), item.class != Class::New, item.number)).map(|(_, title)| *title);
    let mut all = json!(item);
    if let Some(all) = all.as_object_mut() {
        all.insert("title".to_owned(), json!(title));
    }
    all
}

fn other_json(one: &Other<'_>) -> Value {
    let what = if one.pull { "pull" } else { "issue" };
    json!({"repo": one.repo, "what": what, "number": one.number, "title": one.title, "why": one.why})
}

/// How long something has waited: by the minute, once it is some.
fn waited(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0).unsigned_abs();
    length(if seconds < 60 { seconds } else { seconds - seconds % 60 })
}
