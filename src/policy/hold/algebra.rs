//! How holds begin, change and end.

use jiff::Timestamp;

use super::{BootClock, Ended, Hold, Scope, Until};

/// What a person asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What to hold.
    pub scope: Scope,
    /// Who asks.
    pub by: String,
    /// For how long, in seconds; for good without.
    pub seconds: Option<f64>,
    /// Why.
    pub reason: Option<String>,
}

/// What became of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// A new hold.
    New,
    /// The same scope was held already, now until another time or for another reason.
    Updated,
    /// The same scope was held already, just so.
    Already,
}

/// Holds what `wish` says; the same scope again only updates the hold that there is. `id` is for a new one. Gives back
/// the hold's id.
pub fn hold(holds: &mut Vec<Hold>, wish: &Wish, id: &str, now: Timestamp, clock: &BootClock) -> (String, Held) {
    // What no number can tell is for good: JSON has no infinity.
    let until = wish.seconds.filter(|seconds| seconds.is_finite()).map(|seconds| Until {
        at: jiff::SignedDuration::try_from_secs_f64(seconds)
            .and_then(|span| now.checked_add(span))
            .unwrap_or(Timestamp::MAX),
        seconds,
        spent: 0.0,
        counted: clock.clone(),
    });
    let same = holds.iter_mut().find(|hold| hold.ended.is_none() && hold.scope == wish.scope);
    let Some(same) = same else {
        holds.push(Hold {
            id: id.to_owned(),
            scope: wish.scope.clone(),
            by: wish.by.clone(),
            since: now,
            until,
            reason: wish.reason.clone(),
            found: None,
            ended: None,
        });
        return (id.to_owned(), Held::New);
    };
    // What a person did on a host has no end but a resume.
    let until = until.filter(|_| same.found.is_none() || same.until.is_some());
    let reason = wish.reason.clone().or_else(|| same.reason.clone());
    if same.until.is_none() && until.is_none() && same.reason == reason {
        return (same.id.clone(), Held::Already);
    }
    (same.until, same.reason, same.by) = (until, reason, wish.by.clone());
    (same.id.clone(), Held::Updated)
}

/// What a resume did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resumed {
    /// The holds that it ended.
    pub ended: Vec<Hold>,
    /// Those that hold some of the scope still, since they hold more than that.
    pub wider: Vec<Hold>,
}

/// Ends every hold inside `scope`; tells which others still cover some of it.
pub fn resume(
    holds: &mut [Hold],
    scope: &Scope,
    by: &str,
    now: Timestamp,
    is_supervisor: impl Fn(&str) -> bool,
) -> Resumed {
    let mut resumed = Resumed::default();
    for hold in holds.iter_mut().filter(|hold| hold.ended.is_none()) {
        if hold.scope.inside(scope, &is_supervisor) {
            hold.ended = Some(Ended { at: now, by: Some(by.to_owned()) });
            resumed.ended.push(hold.clone());
        } else if hold.scope.meets(scope, &is_supervisor) {
            resumed.wider.push(hold.clone());
        }
    }
    resumed
}

/// Counts the time that has gone by and ends the holds whose time is up; gives these back. Time counts only within one
/// boot of one machine, so that a wrong clock, a reboot or a change of leader can make a hold longer, never shorter.
pub fn expire(holds: &mut [Hold], now: Timestamp, clock: &BootClock) -> Vec<Hold> {
    let mut over = Vec::new();
    for hold in holds.iter_mut().filter(|hold| hold.ended.is_none()) {
        let Some(until) = &mut hold.until else { continue };
        let gone_by = clock.seconds - until.counted.seconds;
        if until.counted.boot_id != clock.boot_id {
            until.counted = clock.clone();
        } else if gone_by > 0.0 {
            // An older reading of the same boot must not set the mark back: the time since would count twice.
            until.spent += gone_by;
            until.counted = clock.clone();
        }
        if now >= until.at && until.spent >= until.seconds {
            hold.ended = Some(Ended { at: now, by: None });
            over.push(hold.clone());
        }
    }
    over
}
