//! One look at a repo: what its forge and its CI tell now goes into its book. What is known already and cannot have changed
//! is not asked again: of a quiet repo only its issues, its pulls and its pipelines are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::book::{Book, Following, KnownFact, KnownPull, Settled, forge_url};
use super::ci::{self, Listed};
use super::{convert, is_over};
use crate::forge::{self, CommitStatus, Connection, Failure, Forge, Outage, State, Why};
use crate::inventory::repos::{Ci, Repo};
use crate::inventory::secret::SecretRef;
use crate::inventory::settings::Forges;
use crate::inventory::units::Span;
use crate::policy::ci_load::Load;
use crate::policy::queue::{self, CiKind, Fact, Ref, StatusState};

/// How many are looked through, once, for the pull's own pipeline of a head commit where it is not among these.
const SEARCHED: usize = 250;

/// Forges tell times in whole seconds, by a clock that may differ a little from ours.
const SECOND: SignedDuration = SignedDuration::from_secs(5);

/// How long something that was closed is taken for closed, in spans of the one for what is open.
const CLOSED: u32 = 36;

/// What a look needs.
pub struct Look<'a> {
    /// The repo.
    pub repo: &'a Repo,
    /// Its servers.
    pub connection: &'a Connection,
    /// The numbers.
    pub numbers: &'a Forges,
    /// Whoever wants to know what the CI has to do.
    pub loaded: &'a watch::Sender<Option<Load>>,
    /// When.
    pub now: Timestamp,
}

/// What came of a look.
#[derive(Debug, Default)]
pub struct Took {
    /// Why the forge did not tell all issues and pulls.
    pub forge: Option<Failure>,
    /// Why the CI did not tell.
    pub ci: Option<Failure>,
    /// Why something of a pull is not told, though the forge tells the rest.
    pub detail: Option<Failure>,
}

/// A detail of a pull.
enum Detail {
    Reviews(Result<Vec<forge::Review>, Failure>),
    Statuses(Result<Vec<CommitStatus>, Failure>),
    Pipeline(Result<forge::Pipeline, Failure>),
}

impl Look<'_> {
    /// Takes it. What was learned before it failed, or was given up, is in the book.
    pub async fn take(&self, book: &mut Book) -> Took {
        let mut took = Took::default();
        if let Err(failure) = self.settle(book).await {
            took.forge = Some(failure);
            return took;
        }
        let (forge, slug) = (&self.connection.forge, self.repo.slug.as_str());
        let pipelines = self.pipelines(&book.following);
        let (issues, pulls, pipelines) = tokio::join!(forge.issues(slug, None), forge.pulls(slug), pipelines);
        let pipelines = match pipelines {
            Ok(None) => None,
            Ok(Some(listed)) => {
                (book.following, took.ci) = (listed.following, listed.untold);
                Some(listed.all)
            }
            Err(failure) => {
                took.ci = Some(failure);
                None
            }
        };
        let (issues, pulls) = match (issues, pulls) {
            (Ok(issues), Ok(pulls)) => (issues, pulls),
            (Err(failure), _) | (_, Err(failure)) => {
                took.forge = Some(failure);
                return took;
            }
        };
        self.issues(book, issues);
        let deep = self.pulls(book, pulls, pipelines.as_deref());
        book.seen = Some(self.now);
        if deep && let Some(ci) = &self.connection.ci {
            match ci.pipelines(SEARCHED).await {
                Ok(all) => {
                    attach(book, &all);
                    book.pulls.iter_mut().for_each(|known| known.searched = true);
                }
                Err(failure) => took.ci = took.ci.or(Some(failure)),
            }
        }
        took.detail = self.details(book, pipelines.as_deref()).await;
        self.facts(book).await;
        took
    }

    /// What seldom changes.
    async fn settle(&self, book: &mut Book) -> Result<(), Failure> {
        let Repo { branch, token, review_token, .. } = self.repo;
        let secret = |secret: &Option<SecretRef>| secret.as_ref().map(ToString::to_string).unwrap_or_default();
        let by = format!("{} {} {}", branch.as_deref().unwrap_or("-"), secret(token), secret(review_token));
        let fresh = |settled: &Settled| settled.by == by && !is_over(settled.at, self.numbers.settled, self.now);
        if book.settled.as_ref().is_some_and(fresh) {
            return Ok(());
        }
        let Connection { forge, reviewer, .. } = self.connection;
        let login = |own: Option<Arc<dyn Forge>>, needed: bool| async move {
            let Some(own) = own else { return Ok(None) };
            match own.account().await {
                Ok(account) => Ok(Some(account.login)),
                // It may do all else without telling whose it is. But whose reviews count must be known.
                Err(Failure { why: Why::Refused { status: 403, .. } | Why::NotFound { .. }, .. }) if !needed => {
                    Ok(None)
                }
                Err(failure) => Err(failure),
            }
        };
        let own = self.repo.token.as_ref().map(|_| Arc::clone(forge));
        let (account, review, known) =
            tokio::join!(login(own, false), login(reviewer.clone(), true), forge.repo(&self.repo.slug));
        let known = known?;
        let branch = self.repo.branch.clone().unwrap_or_else(|| known.default_branch.clone());
        let found = forge.branch(&self.repo.slug, &branch).await?;
        let approvals = found.required_approvals;
        let checks = if found.enable_status_check { found.status_check_contexts } else { Vec::new() };
        let (account, reviewer) = (account?, review?);
        let style = known.default_merge_style;
        book.settled = Some(Settled { at: self.now, by, branch, account, reviewer, approvals, checks, style });
        Ok(())
    }

    /// The pipelines; a CI that hangs must not make its forge look as if it did.
    async fn pipelines(&self, known: &Following) -> Result<Option<Listed>, Failure> {
        let Some(ci) = &self.connection.ci else { return Ok(None) };
        let bound = self.numbers.look.0 / 2;
        let asking = async {
            match CiKind::of(&self.repo.ci) {
                CiKind::Pipelines => ci::follow(ci, known, self.numbers.settled, self.now).await,
                _ => ci::list(&**ci).await,
            }
        };
        match tokio::time::timeout(bound, asking).await {
            Ok(listed) => {
                let listed = listed?;
                // What is not told whole would look like less than it is.
                if listed.untold.is_none() {
                    self.loaded.send_replace(Some(ci.load(&listed.all, self.now)));
                }
                Ok(Some(listed))
            }
            Err(_) => {
                let millis = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
                let at = self.connection.hosts.last().map_or("its CI", |host| host.shown()).to_owned();
                Err(Failure { at, why: Why::Down { why: Outage::TimedOut(millis) } })
            }
        }
    }

    fn issues(&self, book: &mut Book, issues: Vec<forge::Issue>) {
        let known: BTreeMap<u64, queue::Issue> =
            std::mem::take(&mut book.issues).into_iter().map(|issue| (issue.number, issue)).collect();
        let one = |issue: forge::Issue| {
            let before = known.get(&issue.number);
            convert::issue(issue, before, &self.repo.slug, forge_url(self.repo))
        };
        book.issues = issues.into_iter().map(one).collect();
        // Whoever labels or assigns it anew wants more.
        let issues = &book.issues;
        book.merged.retain(|number, (_, at)| issues.iter().any(|issue| issue.number == *number && issue.since <= *at));
    }

    /// Takes in the list of pulls, and the pipelines of their heads; gives whether one may have older ones.
    fn pulls(&self, book: &mut Book, pulls: Vec<forge::Pull>, pipelines: Option<&[forge::Pipeline]>) -> bool {
        let mut known: BTreeMap<u64, KnownPull> =
            std::mem::take(&mut book.pulls).into_iter().map(|known| (known.pull.number, known)).collect();
        for pull in pulls {
            let before = known.remove(&pull.number).filter(|before| before.pull.head == pull.head.sha);
            let head_at = before.as_ref().map_or(pull.updated_at, |before| before.pull.head_at);
            let mut one = convert::pull(&pull, head_at, &self.repo.slug, forge_url(self.repo));
            let (mut reviews_at, mut statuses_at, mut searched, mut blocked) = (None, None, false, None);
            if let Some(before) = before {
                if before.updated == pull.updated_at {
                    // Of two changes in one second a look may have seen the first.
                    let calm = |at: &Timestamp| at.duration_since(before.updated) >= SECOND;
                    reviews_at = before.reviews_at.filter(calm);
                    one.reviews = before.pull.reviews.filter(|_| reviews_at.is_some());
                    blocked = before.blocked;
                }
                one.statuses = before.pull.statuses;
                one.pipelines = before.pull.pipelines;
                (statuses_at, searched) = (before.statuses_at, before.searched);
            }
            let updated = pull.updated_at;
            book.pulls.push(KnownPull { pull: one, updated, reviews_at, statuses_at, searched, blocked });
        }
        match pipelines {
            Some(all) => {
                attach(book, all);
                let mut deep = false;
                for KnownPull { pull, searched, .. } in &mut book.pulls {
                    let own = |one: &queue::Pipeline| one.is_of(pull.number, &pull.head);
                    // Where statuses decide, no pipeline does.
                    let decides = CiKind::of(&self.repo.ci) == CiKind::Pipelines;
                    if decides && !*searched && !pull.pipelines.iter().flatten().any(own) {
                        // Until that is done a push does not speak for it.
                        pull.pipelines = None;
                        deep = true;
                    }
                }
                deep
            }
            None => {
                // What had ended stays as it was; of the rest nobody knows.
                for known in &mut book.pulls {
                    let ended = |all: &Vec<queue::Pipeline>| {
                        !all.is_empty() && all.iter().all(|one| one.state != queue::State::Running)
                    };
                    known.pull.pipelines = known.pull.pipelines.take().filter(ended);
                }
                false
            }
        }
    }

    /// The details of pulls that are not known, all at once; gives why one of them still is not.
    async fn details(&self, book: &mut Book, listed: Option<&[forge::Pipeline]>) -> Option<Failure> {
        let settled = book.settled.as_ref()?;
        let (forge, slug) = (&self.connection.forge, &self.repo.slug);
        let mut asked: JoinSet<(usize, Detail)> = JoinSet::new();
        for (index, known) in book.pulls.iter().enumerate() {
            let pull = &known.pull;
            if pull.draft || pull.base != settled.branch {
                continue;
            }
            if pull.reviews.is_none() {
                let (forge, slug, number) = (Arc::clone(forge), slug.clone(), pull.number);
                asked.spawn(async move { (index, Detail::Reviews(forge.reviews(&slug, number).await)) });
            }
            if self.statuses_wanted(settled, known) {
                let (forge, slug, head) = (Arc::clone(forge), slug.clone(), pull.head.clone());
                asked.spawn(async move { (index, Detail::Statuses(forge.statuses(&slug, &head).await)) });
            }
            let (Some(ci), Some(listed)) = (&self.connection.ci, listed) else { continue };
            for number in unexplained(pull, listed) {
                let ci = Arc::clone(ci);
                asked.spawn(async move { (index, Detail::Pipeline(ci.pipeline(number).await)) });
            }
        }
        let mut failed: Option<Failure> = None;
        // What has only to wait for its turn is no news beside what does not answer.
        let mut fails = |failure: Failure| {
            if failed.as_ref().is_none_or(|known| matches!(known.why, Why::Busy { .. })) {
                failed = Some(failure);
            }
        };
        while let Some(done) = asked.join_next().await {
            let Ok((index, detail)) = done else { continue };
            let Some(known) = book.pulls.get_mut(index) else { continue };
            match detail {
                Detail::Reviews(Ok(reviews)) => {
                    known.pull.reviews = Some(convert::reviews(reviews));
                    known.reviews_at = Some(self.now);
                }
                Detail::Statuses(Ok(statuses)) => {
                    known.pull.statuses = Some(convert::statuses(statuses));
                    known.statuses_at = Some(self.now);
                }
                Detail::Pipeline(Ok(pipeline)) => {
                    let one = convert::whole(&pipeline);
                    let all = known.pull.pipelines.iter_mut().flatten();
                    all.filter(|known| known.number == one.number).for_each(|known| known.clone_from(&one));
                }
                // It is asked again at the next look; until then it is not known.
                Detail::Reviews(Err(failure)) | Detail::Statuses(Err(failure)) => {
                    known.pull.untold = Some(failure.why.to_string());
                    fails(failure);
                }
                Detail::Pipeline(Err(failure)) => fails(failure),
            }
        }
        failed
    }

    /// Whether the statuses of a pull's head are to be asked for: those that are final are not.
    fn statuses_wanted(&self, settled: &Settled, known: &KnownPull) -> bool {
        let decide = CiKind::of(&self.repo.ci) == CiKind::Statuses;
        let checks = settled.checks(self.repo);
        if checks.is_empty() && !decide {
            return false;
        }
        let Some(statuses) = &known.pull.statuses else { return true };
        let missing = checks.iter().any(|check| !queue::is_reported(check, statuses));
        let open = missing || statuses.is_empty() || statuses.iter().any(|status| status.state == StatusState::Pending);
        // What is red may have been run again.
        let green = !open && statuses.iter().all(|status| status.state == StatusState::Success);
        let rested = known.statuses_at.is_none_or(|at| is_over(at, Span(self.numbers.facts.0 / 2), self.now));
        // A badge follows its pipeline, or its callback is lost: then it is looked at now and then. Where statuses decide,
        // so are those that were good: more may have come, and what they tell of may have been run again.
        match self.repo.ci {
            _ if decide => open || rested,
            Ci::None => open || (!green && rested),
            _ => !green && rested,
        }
    }

    /// What the issues depend on, as far as the repo's own lists do not tell.
    async fn facts(&self, book: &mut Book) {
        let labels = &self.repo.labels;
        let begun =
            |issue: &&queue::Issue| issue.labels.iter().any(|own| [&labels.ready, &labels.active].contains(&own));
        let refs = book.issues.iter().filter(begun).flat_map(|issue| &issue.depends);
        let open: BTreeSet<Ref> = {
            let numbers = book.issues.iter().map(|issue| issue.number);
            let numbers = numbers.chain(book.pulls.iter().map(|known| known.pull.number));
            numbers.map(|number| Ref::new(&self.repo.slug, number)).collect()
        };
        let wanted: BTreeSet<Ref> = refs.filter(|one| !open.contains(one)).cloned().collect();
        book.facts.retain(|one, _| wanted.contains(one));
        let fresh = |known: &KnownFact| {
            let spans = if known.fact == Fact::Closed { CLOSED } else { 1 };
            !is_over(known.at, Span(self.numbers.facts.0.saturating_mul(spans)), self.now)
        };
        let mut asked: JoinSet<Option<(Ref, Fact)>> = JoinSet::new();
        for one in wanted {
            let Ref::Here(slug, number) = one.clone() else { continue };
            if book.facts.get(&one).is_some_and(fresh) {
                continue;
            }
            let forge = Arc::clone(&self.connection.forge);
            asked.spawn(async move { fact(&*forge, &slug, number).await.map(|fact| (one, fact)) });
        }
        while let Some(done) = asked.join_next().await {
            if let Ok(Some((one, fact))) = done {
                book.facts.insert(one, KnownFact { fact, at: self.now });
            }
        }
    }
}

/// What became of an issue or a pull; none when the forge did not answer, so that the last answer stands.
async fn fact(forge: &dyn Forge, slug: &str, number: u64) -> Option<Fact> {
    match forge.issue(slug, number).await {
        Ok(issue) if issue.state == State::Open => Some(Fact::Open),
        Ok(issue) if !issue.is_pull => Some(Fact::Closed),
        Ok(_) => match forge.pull(slug, number).await {
            Ok(pull) if pull.merged => Some(Fact::Closed),
            Ok(_) => Some(Fact::Unmerged(number)),
            Err(_) => None,
        },
        Err(Failure { why: Why::NotFound { .. }, .. }) => Some(Fact::Absent),
        Err(failure) if failure.unknown() => None,
        Err(_) => Some(Fact::Unknown),
    }
}

/// Gives each pull the pipelines of its head, and what was known of them by number.
fn attach(book: &mut Book, all: &[forge::Pipeline]) {
    for known in &mut book.pulls {
        let mut before = known.pull.pipelines.take().unwrap_or_default();
        let head = &known.pull.head;
        for one in all.iter().filter(|pipeline| pipeline.commit == *head).map(convert::pipeline) {
            match before.iter_mut().find(|known| known.number == one.number) {
                // Of one that ended as it was, the steps are known.
                Some(known) if known.state == one.state && one.steps.is_none() => {}
                Some(known) => *known = one,
                None => before.push(one),
            }
        }
        known.pull.pipelines = Some(before);
    }
}

/// The pipelines of a pull that must be asked for by themselves: of each event that may decide the newest, where it failed
/// and its steps are not known; and those that were open when they were last seen and are not listed any more.
fn unexplained(pull: &queue::Pull, listed: &[forge::Pipeline]) -> BTreeSet<u64> {
    let mut wanted = BTreeSet::new();
    let mut newest: BTreeMap<bool, &queue::Pipeline> = BTreeMap::new();
    for one in pull.pipelines.iter().flatten().filter(|one| one.commit == pull.head) {
        let open = matches!(one.state, queue::State::Running | queue::State::Blocked);
        if open && !listed.iter().any(|known| known.number == one.number) {
            wanted.insert(one.number);
        }
        let own = one.is_of(pull.number, &pull.head);
        if !own && (one.event != queue::Event::Push || one.state == queue::State::Skipped) {
            continue;
        }
        let known = newest.entry(own).or_insert(one);
        if one.number > known.number {
            *known = one;
        }
    }
    let failed = |one: &&queue::Pipeline| matches!(one.state, queue::State::Failure | queue::State::Error);
    wanted.extend(newest.into_values().filter(failed).filter(|one| one.steps.is_none()).map(|one| one.number));
    wanted
}
