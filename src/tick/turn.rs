//! One host's turn in a tick: what it is to show of holds, then the stop of one agent if there must be one.

use std::time::Duration;

use super::hand::{Acted, Hand, Lead, Stopped};
use super::lead::boot_clock;
use super::observe::Target;
use super::pressure::{Ladder, Relief, Relieved};
use super::seen::{Seen, ops, planned, tightening};
use crate::ledger::Document;
use crate::policy::hold::Model;
use crate::policy::ladder::Action;
use crate::policy::severity::Latches;

/// One look at a host, and what is to be done there.
pub(super) struct Turn {
    /// What it showed.
    pub(super) seen: Seen,
    /// How it is looked at once more before an agent is stopped.
    pub(super) target: Target,
    /// The agent that must stop, if one must, and what a look just before is judged by.
    pub(super) stop: Option<(Action, Latches)>,
    /// The rung went down: the ledger must say so first.
    pub(super) loosens: bool,
    /// What `--check` says of a stop.
    pub(super) would_stop: Option<String>,
}

/// What came of a host's turn.
pub(super) struct Outcome {
    pub(super) acted: Acted,
    pub(super) relieved: Relieved,
    /// The ledger would not have it that the rung goes down: it stays.
    pub(super) stays: bool,
}

/// Does on a host what is to be done there: what it shows of holds, then the stop of one agent.
pub(super) async fn take(
    turn: &Turn,
    lead: &Lead,
    hand: &Hand,
    model: &Model,
    ladder: &Ladder,
    max_age: Duration,
) -> Outcome {
    let Turn { seen, target, stop, loosens, .. } = turn;
    let place = &seen.place;
    let mut outcome = Outcome { acted: Acted::default(), relieved: Relieved::default(), stays: false };
    let now = boot_clock();
    let age = Duration::from_secs_f64((now.seconds - seen.at.seconds).max(0.0));
    if age > max_age {
        outcome.acted.stopped = Some(Stopped::Stale(age));
        outcome.stays = *loosens;
        return outcome;
    }
    outcome.acted = match lead {
        Lead::Ledger(ledger) => {
            let committed = match &seen.standing {
                Some(standing) if *loosens => hand.commit(ledger, &place.name, standing).await,
                _ => Ok(()),
            };
            match committed {
                Ok(()) => {
                    let decide = |document: &Document| ops(document, &planned(document, model, seen), seen);
                    hand.act_on(ledger, place, decide).await
                }
                Err(stopped) => {
                    outcome.stays = true;
                    Acted { stopped: Some(stopped), ..Acted::default() }
                }
            }
        }
        Lead::Last(document) => {
            let ops = tightening(ops(document, &planned(document, model, seen), seen));
            hand.tighten(document, place, ops).await
        }
    };
    if let (Some((action, latches)), Some(standing)) = (stop, &seen.standing) {
        let relief = Relief { place, target, standing, latches, action: *action };
        outcome.relieved = ladder.relieve(hand, lead, &relief).await;
    }
    outcome
}
