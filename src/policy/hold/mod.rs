//! Manual holds: what a person told to stand still, until when, and what lifts it.

mod algebra;
mod auto;
mod person;
mod plan;
mod scope;
mod sighting;
#[cfg(test)]
mod tests;
mod wanted;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::remote::halt::Kind;

pub use algebra::{Held, Resumed, Wish, expire, hold, resume};
pub use auto::{CI, LADDER, auto, by_ci, ids, ladder_class};
pub use person::Person;
pub use plan::{Note, Plan, Showing, insist, key, line, plan};
pub use scope::{Pick, Scope};
pub use sighting::{Active, Lines, Sighting};
pub use wanted::{Means, Model, Unit, Wanted};

/// A hold: a person's, or one that [`auto`] makes of a rung.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Its name: 8 hexadecimal digits, the same in halt files.
    pub id: String,
    /// What it holds.
    pub scope: Scope,
    /// Who holds, as `user@machine`.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// It was found on a host: a person's own file or line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
    /// It is over. The record stays for as long as a host may still show it, so that nobody takes it for a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

impl Hold {
    /// Who decided it: the ids of the ladder are its own, those of people are digits.
    pub fn kind(&self) -> Kind {
        if ids().any(|id| id == self.id) { Kind::Auto } else { Kind::Manual }
    }
}

/// When a hold ends by itself: when the wall clock and the time that machines were up both say so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Until {
    /// By the wall clock.
    pub at: Timestamp,
    /// So many seconds of boot time ...
    pub seconds: f64,
    /// ... of which so many have been counted, summed over ticks; a reboot adds nothing.
    pub spent: f64,
    /// The boot and its clock, in seconds, up to which they were counted.
    pub counted: BootClock,
}

/// A reading of CLOCK_BOOTTIME: only readings of one boot can be compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootClock {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Seconds since that boot.
    pub seconds: f64,
}

/// What of a found hold a host shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// Ids of lines of our form that no ledger of ours knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
}

/// How a hold came to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// Who lifted it; absent when its time was up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}
