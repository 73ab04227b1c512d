//! Merging of approved green pulls: apart from all halting of work, for the repos that want it from us.

use std::time::Duration;

use jiff::Timestamp;

use super::backlog::{Blocked, Book, Looked, is_over};
use crate::forge::{Connection, Failure, MergeStyle, Why};
use crate::inventory::repos::{Merge, Repo};
use crate::inventory::units::Span;
use crate::journal::Event;
use crate::ledger::{Change, Document, Ledger};
use crate::policy::hold::Pick;
use crate::policy::queue::pull::Verdict;
use crate::policy::queue::{Judged, Review};

/// How long a merge rests that nobody knows the end of, at first; each time twice as long.
const REST: Duration = Duration::from_secs(60);

/// After so many tries of a merge in vain that is told.
const TOLD: u32 = 3;

/// What merging needs.
pub struct Merging<'a> {
    /// The ledger; none for `--check`.
    pub ledger: Option<&'a Ledger>,
    /// The document as it was read last.
    pub document: &'a Document,
    /// Who leads.
    pub me: &'a str,
    /// After how long a merge is tried again that the forge did not allow, and the longest that any rests.
    pub retry: Span,
    /// How long it may take.
    pub bound: Duration,
    /// When it begins.
    pub now: Timestamp,
}

/// A pull to be merged.
struct Wanted {
    repo: String,
    slug: String,
    number: u64,
    title: String,
    head: String,
    reviews: Option<Vec<Review>>,
    style: MergeStyle,
    connection: Connection,
}

/// What became of it.
enum Tried {
    Merged,
    /// Its reviews are others by now.
    Changed(Vec<Review>),
    /// It was asked for, and the forge said no, or nobody knows.
    Failed(Failure),
    /// It was not asked for, since its reviews cannot be read.
    Unread(Failure),
    /// It was not tried: another one leads, a person holds the repo, or nobody can tell.
    Not,
}

impl Blocked {
    /// How long it rests.
    fn rest(&self, longest: Span) -> Span {
        let doubled = REST.saturating_mul(1 << self.tries.saturating_sub(1).min(20));
        if self.refused { longest } else { Span(doubled.min(longest.0)) }
    }
}

/// The pull of a repo that is merged next: the one that waits longest. One a look, since each changes what the others would
/// be merged into.
pub fn next(book: &Book, judged: &Judged, retry: Span, now: Timestamp) -> Option<u64> {
    let rests = |blocked: &Blocked| !is_over(blocked.at, blocked.rest(retry), now);
    let ready = book.pulls.iter().filter(|known| {
        let mergeable = judged.pulls.get(&known.pull.number) == Some(&Verdict::Mergeable);
        mergeable && !known.blocked.as_ref().is_some_and(rests)
    });
    ready.min_by_key(|known| (known.pull.head_at, known.pull.number)).map(|known| known.pull.number)
}

/// Whether a person holds the whole repo everywhere: then nothing is merged either. What holds an agent, or a host, holds
/// no merge.
pub fn held(document: &Document, repo: &str) -> bool {
    let whole = |pick: &Pick| *pick == Pick::All;
    document.holds.iter().filter(|hold| hold.ended.is_none()).any(|hold| {
        let scope = &hold.scope;
        whole(&scope.hosts) && whole(&scope.agent) && scope.repo.has(repo)
    })
}

impl Merging<'_> {
    /// Merges a pull of a repo, if one may be merged; tells what came of it.
    pub async fn merge(&self, repo: &Repo, looked: &mut Looked, judged: &Judged) -> Option<Event> {
        if repo.merge != Merge::Factory || repo.token.is_none() {
            return None;
        }
        let one = self.wanted(repo, looked, judged)?;
        let Some(ledger) = self.ledger else { return Some(self.event(&one, 0, "would be merged")) };
        let tried = tokio::time::timeout(self.bound, one.merge(ledger, self.me)).await;
        self.take(&mut looked.book, &one, tried.ok())
    }

    fn wanted(&self, repo: &Repo, looked: &Looked, judged: &Judged) -> Option<Wanted> {
        let Looked { book, asked: true, connection: Some(connection), .. } = looked else { return None };
        // What stands since a server fell silent is no ground for a merge.
        if book.silent.is_some() || book.ci_silent.is_some() || held(self.document, &repo.name) {
            return None;
        }
        let number = next(book, judged, self.retry, self.now)?;
        let pull = &book.pulls.iter().find(|known| known.pull.number == number)?.pull;
        Some(Wanted {
            repo: repo.name.clone(),
            slug: repo.slug.clone(),
            number,
            title: pull.title.clone(),
            head: pull.head.clone(),
            reviews: pull.reviews.clone(),
            style: MergeStyle::named(&book.settled.as_ref()?.style),
            connection: connection.clone(),
        })
    }

    fn event(&self, one: &Wanted, severity: u8, message: &str) -> Event {
        let message = format!("{}: pull #{} ({}) {message}", one.repo, one.number, one.title);
        Event { at: self.now, host: None, what: "merge".to_owned(), severity, message }
    }

    /// Takes in what became of a pull; none is one that was cut off.
    fn take(&self, book: &mut Book, one: &Wanted, tried: Option<Tried>) -> Option<Event> {
        let known = book.pulls.iter_mut().find(|known| known.pull.number == one.number)?;
        match tried {
            Some(Tried::Not) => None,
            Some(Tried::Changed(reviews)) => {
                known.pull.reviews = Some(reviews);
                None
            }
            Some(Tried::Merged) => {
                let merged = known.pull.closes.iter().map(|issue| (*issue, (one.number, self.now)));
                book.merged.extend(merged);
                book.pulls.retain(|known| known.pull.number != one.number);
                Some(self.event(one, 0, "was merged"))
            }
            failed => {
                let failure = match &failed {
                    Some(Tried::Failed(failure) | Tried::Unread(failure)) => Some(failure),
                    _ => None,
                };
                let why = failure.map_or_else(|| "it took too long".to_owned(), |failure| failure.why.to_string());
                let refused = failure.is_some_and(is_final);
                let before = known.blocked.take().filter(|before| before.refused == refused);
                let tries = before.as_ref().map_or(0, |before| before.tries).saturating_add(1);
                let told = match refused {
                    true => before.is_none_or(|before| before.why != why),
                    false => tries == TOLD,
                };
                let unknown = match &failed {
                    Some(Tried::Failed(failure)) => failure.unknown() && !matches!(failure.why, Why::Busy { .. }),
                    failed => failed.is_none(),
                };
                known.blocked = Some(Blocked { at: self.now, tries, refused, unknown, why });
                let text = failure.map_or_else(
                    || "may be merged or not: the forge took too long to say".to_owned(),
                    |failure| format!("is NOT merged: {failure}; {}", failure.help()),
                );
                told.then(|| self.event(one, 1, &text))
            }
        }
    }
}

impl Wanted {
    async fn merge(&self, ledger: &Ledger, me: &str) -> Tried {
        let Wanted { slug, number, head, connection, .. } = self;
        // A review may have been taken back since its pull last changed.
        let reviews = match connection.forge.reviews(slug, *number).await {
            Ok(reviews) => super::backlog::reviews(reviews),
            Err(failure) => return Tried::Unread(failure),
        };
        if self.reviews.as_ref() != Some(&reviews) {
            return Tried::Changed(reviews);
        }
        // A deposed supervisor writes nothing to a forge, and what a person holds by now is held.
        match fence(ledger, me, &self.repo).await {
            Ok(true) => {}
            Ok(false) | Err(_) => return Tried::Not,
        }
        match connection.forge.merge(slug, *number, head, self.style).await {
            Ok(_) => Tried::Merged,
            Err(failure) => Tried::Failed(failure),
        }
    }
}

/// Whether trying it again soon is of no use.
fn is_final(failure: &Failure) -> bool {
    // A forge says that also while it looks for conflicts.
    let looks = matches!(&failure.why, Why::Blocked { said } if said.contains("try again later"));
    !looks && !failure.unknown() && !matches!(failure.why, Why::Conflict { .. })
}

/// Whether this machine still leads and nobody holds the repo, by a write.
async fn fence(ledger: &Ledger, me: &str, repo: &str) -> crate::error::Result<bool> {
    let fenced = ledger.change(|old| {
        Ok(match old {
            Some(document) if document.lease.holder == me && !held(document, repo) => {
                Change::To(document.clone(), true)
            }
            _ => Change::Nothing(false),
        })
    });
    Ok(fenced.await?.1)
}
