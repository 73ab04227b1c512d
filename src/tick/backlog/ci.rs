//! The pipelines of a repo at one look. A list has the newest first and is not read to its end, so what waits behind many that
//! have ended is on no page that is read: what was seen waiting is asked for by its number until it is run, and now and
//! then, or when some may have come and gone behind the list unseen, the server is asked for all that wait.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::book::Following;
use super::is_over;
use crate::forge::{Ci, Failure, Pipeline, Status, Why};
use crate::inventory::units::Span;

/// How many pipelines a look wants at least: the median of the load is taken of about so many.
const PIPELINES: usize = 25;

/// How many that are not listed are asked for by their numbers before all that wait are.
const FEW: usize = 3;

/// The most that are asked for by their numbers in one look, the oldest first: they are the ones that count.
const MOST: usize = 25;

/// The pipelines of one look.
#[derive(Debug)]
pub struct Listed {
    /// They, the newest first.
    pub all: Vec<Pipeline>,
    /// What is to be known at the next look.
    pub following: Following,
    /// Why some that wait may not be among them.
    pub untold: Option<Failure>,
}

/// Those that a CI lists, which tells all that wait.
pub async fn list(ci: &dyn Ci) -> Result<Listed, Failure> {
    let all = ci.pipelines(PIPELINES).await?;
    Ok(Listed { all, following: Following::default(), untold: None })
}

/// Those that a CI lists, and older ones that wait: those that `known` has, and once in `rest` all that there are.
pub async fn follow(ci: &Arc<dyn Ci>, known: &Following, rest: Span, now: Timestamp) -> Result<Listed, Failure> {
    let mut all = ci.pipelines(PIPELINES).await?;
    let mut following = known.clone();
    let mut untold = None;
    let missing = |all: &[Pipeline]| -> Vec<u64> {
        let listed: BTreeSet<u64> = all.iter().map(|one| one.number).collect();
        known.waiting.difference(&listed).copied().collect()
    };
    // Between the oldest that is listed and the newest that was seen there may be some that nobody ever saw.
    let gap = all.iter().map(|one| one.number).min().is_some_and(|oldest| oldest > known.newest.saturating_add(1));
    if gap || known.waiting_at.is_none_or(|at| is_over(at, rest, now)) || missing(&all).len() > FEW {
        match ci.waiting().await {
            Ok(waiting) => {
                all.extend(waiting);
                following.waiting_at = Some(now);
            }
            Err(failure) => untold = Some(failure),
        }
    }
    if untold.is_none() {
        following.newest = all.iter().map(|one| one.number).chain([known.newest]).max().unwrap_or_default();
    }
    let mut asked: JoinSet<(u64, Result<Pipeline, Failure>)> = JoinSet::new();
    for number in missing(&all).into_iter().take(MOST) {
        let ci = Arc::clone(ci);
        asked.spawn(async move { (number, ci.pipeline(number).await) });
    }
    while let Some(done) = asked.join_next().await {
        match done {
            Ok((_, Ok(one))) => all.push(one),
            // It was deleted.
            Ok((number, Err(Failure { why: Why::NotFound { .. }, .. }))) => _ = following.waiting.remove(&number),
            Ok((_, Err(failure))) => untold = untold.or(Some(failure)),
            Err(_) => {}
        }
    }
    all.sort_by_key(|one| std::cmp::Reverse(one.number));
    all.dedup_by_key(|one| one.number);
    for one in &all {
        // What runs is no load any more, and what waits for somebody's leave, perhaps for ever, is none yet.
        if one.status == Status::Pending {
            following.waiting.insert(one.number);
        } else {
            following.waiting.remove(&one.number);
        }
    }
    Ok(Listed { all, following, untold })
}
