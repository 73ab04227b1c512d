//! What comes first: reviews, then fixes, then new work, and what waited long enough before what just came.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// The kinds of work, the most urgent first: what is nearly done before what is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A pull wants a review.
    Review,
    /// A pull wants a fix.
    Fixes,
    /// An issue may be begun.
    New,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Item {
    /// The repo's name in the inventory.
    pub repo: String,
    /// The number of the issue or the pull.
    pub number: u64,
    /// Of which kind it is.
    pub class: Class,
    /// Its task: the same for all that must not be done twice at once.
    pub task: String,
    /// Since when it waits.
    pub since: Timestamp,
}

/// How long something waits until it counts as of the next more urgent class.
pub const AGEING: SignedDuration = SignedDuration::from_hours(2);

/// Sorts what there is to do. Each [`AGEING`] that something has waited lifts it by one class, up to reviews; in a class
/// the oldest first, then the lowest number, then by name: the order of the input changes nothing.
pub fn sort(items: &mut Vec<Item>, now: Timestamp) {
    let mut keyed: Vec<_> = std::mem::take(items).into_iter().map(|item| (key(&item, now), item)).collect();
    keyed.sort();
    items.extend(keyed.into_iter().map(|(_, item)| item));
}

/// Takes out, of sorted items, all but the first of each task: two pulls for one issue are fixed one after the other.
/// What was taken out is given.
pub fn one_a_task(items: &mut Vec<Item>) -> Vec<Item> {
    let mut known = BTreeSet::new();
    let (first, later) = std::mem::take(items).into_iter().partition(|item: &Item| known.insert(item.task.clone()));
    *items = first;
    later
}

fn key(item: &Item, now: Timestamp) -> (i64, Timestamp, u64) {
    // A time to come is no age.
    let waited = now.duration_since(item.since).as_secs().max(0);
    let lifted = waited / AGEING.as_secs().max(1);
    ((item.class as i64).saturating_sub(lifted).max(0), item.since, item.number)
}
