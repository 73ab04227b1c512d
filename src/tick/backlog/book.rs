//! What is known of one repo from look to look. As JSON it goes to the journal; whoever loses it asks again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::is_over;
use crate::error::Error;
use crate::forge::{Failure, Outage, Servers, Why};
use crate::inventory::repos::{Ci, Forge, Repo};
use crate::inventory::settings::Forges;
use crate::inventory::units::Span;
use crate::journal::{Event, RepoRecord};
use crate::policy::queue::{Fact, Issue, Pull, Ref};

/// The longest that a server is left alone.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);

/// What is known of one repo.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Book {
    /// The address of its forge and its path there: of another one nothing here counts.
    pub of: String,
    /// When it was last asked about.
    pub asked: Option<Timestamp>,
    /// When its forge last told all issues and pulls.
    pub seen: Option<Timestamp>,
    /// Why its forge tells nothing.
    pub silent: Option<Silent>,
    /// Why its CI tells nothing.
    pub ci_silent: Option<Silent>,
    /// Why something of its pulls is not told, though its forge tells the rest: then that is not known.
    pub untold: Option<Silent>,
    /// What seldom changes.
    pub settled: Option<Settled>,
    /// Its open issues.
    pub issues: Vec<Issue>,
    /// Its open pulls.
    pub pulls: Vec<KnownPull>,
    /// By issue, the pull for it that we merged, and when: until somebody labels or assigns the issue anew, nothing is left to
    /// be done, also where the forge did not close it.
    pub merged: BTreeMap<u64, (u64, Timestamp)>,
    /// Until when its forge wants to be left alone.
    pub forge_rests: Option<Timestamp>,
    /// The same of its CI.
    pub ci_rests: Option<Timestamp>,
    /// What its issues depend on, as far as it is not open in the repo itself.
    pub facts: BTreeMap<Ref, KnownFact>,
    /// Its pipelines that wait to be run.
    pub following: Following,
}

/// What is known of the pipelines of a repo, so that one that waits is seen until it is run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Following {
    /// The numbers of those that waited to be run when they were last seen.
    pub waiting: BTreeSet<u64>,
    /// The highest number that was seen.
    pub newest: u64,
    /// When all that wait were last asked for.
    pub waiting_at: Option<Timestamp>,
}

/// Why a server tells nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silent {
    /// Since when.
    pub since: Timestamp,
    /// Why, as of the last look.
    pub why: String,
    /// The same without what was called just then.
    pub cause: String,
    /// What to do about it.
    pub help: String,
    /// A token is missing or refused, or the repo is not there: nothing is done for the repo until that is mended.
    /// Otherwise nothing is known, and what was decided stands.
    pub disabled: bool,
    /// It only wants to be left alone for a while.
    pub busy: bool,
    /// What was told of it: causes that a person must mend, and `silent`.
    pub told: BTreeSet<String>,
}

/// What seldom changes of a repo.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// As of when.
    pub at: Timestamp,
    /// By what the inventory says of branch and tokens: where it says otherwise, all is asked anew.
    pub by: String,
    /// The branch that pulls go to.
    pub branch: String,
    /// The login of the account that agents work with; none where the token may not tell.
    pub account: Option<String>,
    /// The login of the account that reviews; none without one.
    pub reviewer: Option<String>,
    /// How many approvals a pull needs by its forge.
    pub approvals: u32,
    /// The status checks that it needs by its forge.
    pub checks: Vec<String>,
    /// The forge's own merge style of the repo.
    pub style: String,
}

/// An open pull with how current its details are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnownPull {
    /// The pull.
    pub pull: Pull,
    /// When the forge says that it last changed: as long as that stands, so do its reviews.
    pub updated: Timestamp,
    /// When its reviews were last asked for.
    pub reviews_at: Option<Timestamp>,
    /// When its statuses were last asked for.
    pub statuses_at: Option<Timestamp>,
    /// Older pipelines were looked through for this head already.
    pub searched: bool,
    /// The forge would not merge this head.
    pub blocked: Option<Blocked>,
}

/// A merge that the forge did not allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// When it was last tried.
    pub at: Timestamp,
    /// How often.
    pub tries: u32,
    /// The forge said no; otherwise nobody knows, or it was busy.
    pub refused: bool,
    /// Whether it was merged is not known.
    #[serde(default)]
    pub unknown: bool,
    /// Why.
    pub why: String,
}

/// Something that an issue depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownFact {
    /// What it was.
    pub fact: Fact,
    /// When.
    pub at: Timestamp,
}

/// The address of the forge of a repo.
pub fn forge_url(repo: &Repo) -> &str {
    let Forge::Forgejo { url } = &repo.forge;
    url.as_str()
}

impl Settled {
    /// How many approvals a pull to the branch needs: as many as its forge asks for, or the inventory where that is more. The
    /// protection may be made later, or may have been taken away.
    pub fn approvals(&self, repo: &Repo) -> u32 {
        let wanted = repo.protection.as_ref().and_then(|wanted| wanted.required_approvals);
        self.approvals.max(wanted.unwrap_or_default())
    }

    /// The status checks that it needs: those of its forge and those of the inventory.
    pub fn checks<'a>(&'a self, repo: &'a Repo) -> Vec<&'a str> {
        let wanted = repo.protection.as_ref().and_then(|wanted| wanted.status_checks.as_ref());
        let more = wanted.into_iter().flatten().filter(|check| !self.checks.contains(check));
        self.checks.iter().chain(more).map(String::as_str).collect()
    }
}

impl Silent {
    /// By a failed call. A token that is refused, or a repo that is not there, is not a server that does not answer.
    pub fn by(failure: &Failure, now: Timestamp) -> Silent {
        let busy = matches!(failure.why, Why::Busy { .. });
        let (why, cause, help) = (failure.to_string(), failure.why.to_string(), failure.help().to_owned());
        let renamed = matches!(&failure.why, Why::Down { why: Outage::Renamed(_) });
        let disabled = renamed || !failure.unknown();
        Silent { since: now, why, cause, help, disabled, busy, told: BTreeSet::new() }
    }

    /// By a token that cannot be read.
    pub fn by_error(error: &Error, now: Timestamp) -> Silent {
        let (why, help) = (error.with_causes(), error.advice().unwrap_or_default().to_owned());
        let cause = why.clone();
        Silent { since: now, why, cause, help, disabled: true, busy: false, told: BTreeSet::new() }
    }

    /// By a look that was not done in time.
    pub fn late(limit: Span, now: Timestamp) -> Silent {
        let help = "look whether the server runs; the last decision stands until it answers";
        let (why, help) = (format!("nothing whole within {limit}"), help.to_owned());
        let cause = why.clone();
        Silent { since: now, why, cause, help, disabled: false, busy: false, told: BTreeSet::new() }
    }
}

impl Book {
    /// What is known of `repo`, by its record; nothing where that is of another repository, or cannot be read.
    pub fn read(repo: &Repo, record: Option<&RepoRecord>) -> Book {
        let of = format!("{}/{}", forge_url(repo), repo.slug);
        let known = record.and_then(|record| serde_json::from_str::<Book>(&record.book).ok());
        known.filter(|book| book.of == of).unwrap_or(Book { of, ..Book::default() })
    }

    /// The record of it.
    pub fn record(&self, repo: &str) -> RepoRecord {
        let book = serde_json::to_string(self).unwrap_or_default();
        RepoRecord { repo: repo.to_owned(), at: self.asked.unwrap_or_default(), book }
    }

    /// A server that wanted to be left alone when it was last called is left alone by this process too.
    pub fn leaves_alone(&self, repo: &Repo, servers: &Servers, now: Timestamp) {
        let ci = if let Ci::Woodpecker { url, .. } = &repo.ci { Some(url) } else { None };
        let Forge::Forgejo { url } = &repo.forge;
        for (url, rests) in [(Some(url), self.forge_rests), (ci, self.ci_rests)] {
            // A longer time was written by a clock that was wrong.
            let likely = |until: &Timestamp| *until > now && until.duration_since(now) <= LONGEST;
            if let (Some(url), Some(until)) = (url, rests.filter(likely))
                && let Ok(host) = servers.host(url)
            {
                host.leave_alone(until);
            }
        }
    }

    /// Takes in how a look at the forge went, and what is worth telling of that.
    pub fn heard(&mut self, repo: &str, silent: Option<Silent>, numbers: &Forges, now: Timestamp) -> Vec<Event> {
        let (never, seen) = (self.seen.is_none(), self.seen);
        heard(&mut self.silent, silent, &Talk { repo, what: "forge", never, seen }, numbers, now)
    }

    /// The same of its CI.
    pub fn heard_ci(&mut self, repo: &str, silent: Option<Silent>, numbers: &Forges, now: Timestamp) -> Vec<Event> {
        heard(&mut self.ci_silent, silent, &Talk { repo, what: "CI", never: false, seen: None }, numbers, now)
    }

    /// The same of the details of its pulls.
    pub fn heard_all(&mut self, repo: &str, silent: Option<Silent>, numbers: &Forges, now: Timestamp) -> Vec<Event> {
        heard(&mut self.untold, silent, &Talk { repo, what: DETAILS, never: false, seen: None }, numbers, now)
    }
}

/// What of a repo its servers tell in calls of their own.
const DETAILS: &str = "details";

/// Of whom is told.
struct Talk<'a> {
    repo: &'a str,
    what: &'a str,
    /// It never answered before.
    never: bool,
    seen: Option<Timestamp>,
}

/// One alert for each silence: at once where a person must mend it, or where nothing was ever known; else once it has
/// lasted. Its end is told if it was.
fn heard(
    known: &mut Option<Silent>,
    silent: Option<Silent>,
    of: &Talk<'_>,
    numbers: &Forges,
    now: Timestamp,
) -> Vec<Event> {
    let Talk { repo, what, never, seen } = of;
    let event = |severity, message| Event { at: now, host: None, what: "repo".to_owned(), severity, message };
    let Some(mut silent) = silent else {
        let told = known.take().filter(|silent| !silent.told.is_empty());
        let lasted = |silent: &Silent| ago(now, silent.since);
        let message = |silent: Silent| match *what {
            DETAILS => format!("{repo}: all is told again, after {}", lasted(&silent)),
            what => format!("{repo}: its {what} answers again, after {}", lasted(&silent)),
        };
        return told.map(|silent| event(0, message(silent))).into_iter().collect();
    };
    if let Some(before) = known.take() {
        silent.told = before.told;
        if before.disabled == silent.disabled {
            silent.since = before.since;
        }
    }
    let lasted = is_over(silent.since, numbers.silent, now);
    let worth = silent.disabled || (*never && !silent.busy) || lasted;
    // Another cause that a person must mend is another alert; a server that comes and goes is none.
    let key = if silent.disabled { silent.cause.clone() } else { "silent".to_owned() };
    let told = (worth && silent.told.insert(key)).then(|| {
        let Silent { why, help, .. } = &silent;
        match (silent.disabled, seen) {
            _ if *what == DETAILS => {
                let age = ago(now, silent.since);
                event(2, format!("{repo}: not all is told for {age}, so some of it is not known: {why}; {help}"))
            }
            (true, _) if *what == "CI" => event(2, format!("{repo}: its CI says no, so pulls wait: {why}; {help}")),
            (true, _) => event(2, format!("{repo} is disabled: {why}; {help}")),
            (false, None) => event(2, format!("{repo}: nothing is known of its {what}: {why}; {help}")),
            (false, Some(seen)) => {
                let age = ago(now, *seen);
                event(
                    2,
                    format!("{repo}: nothing new from its {what} for {age}, what was decided stands: {why}; {help}"),
                )
            }
        }
    });
    *known = Some(silent);
    told.into_iter().collect()
}

/// The time from `then` to `now`, in whole seconds.
fn ago(now: Timestamp, then: Timestamp) -> Span {
    let seconds = u64::try_from(now.duration_since(then).as_secs()).unwrap_or_default();
    Span(std::time::Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn failure(why: Why) -> Failure {
        Failure { at: "GET https://codeberg.org/api/v1/repos/johba/harb".to_owned(), why }
    }

    fn down() -> Why {
        Why::Down { why: Outage::Status(502, String::new()) }
    }

    fn looks(book: &mut Book, all: &[(i64, Option<Why>)]) -> Vec<(i64, u8)> {
        let mut told = Vec::new();
        for (second, why) in all {
            let silent = why.clone().map(|why| Silent::by(&failure(why), at(*second)));
            if silent.is_none() {
                book.seen = Some(at(*second));
            }
            let events = book.heard("harb", silent, &Forges::default(), at(*second));
            told.extend(events.iter().map(|event| (*second, event.severity)));
        }
        told
    }

    #[test]
    fn one_silence_is_one_alert_once_it_has_lasted_and_its_end_is_told() {
        let mut book = Book::default();
        let minutes = (1..40).map(|minute| (minute * 60, Some(down())));
        let all: Vec<(i64, Option<Why>)> = [(0, None)].into_iter().chain(minutes).chain([(2400, None)]).collect();
        assert_eq!(looks(&mut book, &all), [(660, 2), (2400, 0)]);
        // A short one is nobody's business.
        assert_eq!(looks(&mut book, &[(3000, Some(down())), (3060, None)]), []);
    }

    #[test]
    fn what_a_person_must_mend_is_told_at_once_and_anew_for_another_cause() {
        let refused = |status| Some(Why::Refused { status, said: String::new() });
        let mut book = Book::default();
        let all = [(0, None), (60, refused(401)), (120, refused(401)), (180, refused(403)), (240, Some(down()))];
        assert_eq!(looks(&mut book, &all), [(60, 2), (180, 2)]);
        assert_eq!(book.silent.as_ref().map(|silent| (silent.since, silent.disabled)), Some((at(240), false)));
        // One that comes and goes in between is no new alert, and its end is told all the same.
        let all = [(300, refused(401)), (360, Some(down())), (420, refused(401)), (480, Some(down())), (540, None)];
        assert_eq!(looks(&mut book, &all), [(540, 0)]);
    }

    #[test]
    fn where_nothing_was_ever_known_that_is_told_at_once() {
        let mut book = Book::default();
        assert_eq!(looks(&mut book, &[(60, Some(down())), (120, Some(down())), (180, None)]), [(60, 2), (180, 0)]);
        // Our own budget, or a server that asks for patience, is no alert.
        let busy = Some(Why::Busy { until: at(100), said: String::new() });
        assert_eq!(looks(&mut Book::default(), &[(60, busy), (120, None)]), []);
    }

    #[test]
    fn what_was_written_is_read_again_and_only_of_the_same_repository() {
        let mut book = Book { of: "https://codeberg.org/johba/harb".to_owned(), ..Book::default() };
        book.facts.insert(Ref::new("johba/web", 7), KnownFact { fact: Fact::Closed, at: at(5) });
        book.facts.insert(Ref::Elsewhere("https://x.org/a#1".to_owned()), KnownFact { fact: Fact::Unknown, at: at(5) });
        let text = book.record("harb").book;
        assert_eq!(serde_json::from_str::<Book>(&text).unwrap(), book);
    }
}
