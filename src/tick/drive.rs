//! From a claim to a run: the launch itself, asked again until it is certain what became of it.

use std::time::Duration;

use super::hand::{Hand, Place, Stopped};
use crate::ledger::Ledger;
use crate::policy::claim::{Ending, ending};
use crate::remote::guard::{Answer, Job, Op, Word};

/// How often a host is asked again after an answer was lost: the same token can be launched any number of times.
const TRIES: usize = 3;

/// The wait before it is asked again.
const WAIT: Duration = Duration::from_secs(1);

/// What became of a launch.
#[derive(Debug)]
pub enum Driven {
    /// It runs.
    Runs,
    /// It is over already.
    Over(Ending),
    /// The host holds it, by this file; its token is cancelled for good.
    Held(String),
    /// Nobody knows, or it has not begun and may still: the claim stays, and the next tick goes on.
    Open(Stopped),
    /// It has certainly not begun and never will.
    Never(Stopped),
}

/// Launches `job`. After a lost answer it is asked again; what the host holds is cancelled, so that no later launch of
/// the same token can begin.
pub async fn launch(hand: &Hand, ledger: &Ledger, place: &Place, job: &Job) -> Driven {
    let op = Op::Launch(Box::new(job.clone()));
    let mut doubt = false;
    let mut tries = 1;
    let stopped = loop {
        let stopped = match hand.ask(ledger, place, &op).await {
            Ok(answer) => return of(&answer, &job.token),
            Err(Stopped::Refused(answer)) if answer.word == Word::Exists => return of(&answer, &job.token),
            Err(Stopped::Refused(answer)) if answer.word == Word::Held => {
                return match cancel(hand, ledger, place, &job.token).await {
                    Driven::Over(Ending::Cancelled) => Driven::Held(answer.detail),
                    other => other,
                };
            }
            Err(stopped) => stopped,
        };
        let again = match &stopped {
            Stopped::Unknown(_) => true,
            Stopped::Refused(answer) => matches!(answer.word, Word::Unsure | Word::Payload | Word::Busy),
            Stopped::NotBegun(_) => doubt,
            _ => false,
        };
        doubt |= matches!(&stopped, Stopped::Unknown(_))
            || matches!(&stopped, Stopped::Refused(answer) if answer.word == Word::Unsure);
        if !again || tries == TRIES {
            break stopped;
        }
        tries += 1;
        tokio::time::sleep(WAIT).await;
    };
    // A word of the guard's that is none of a launch came before the launch: nothing was begun.
    if doubt { Driven::Open(stopped) } else { Driven::Never(stopped) }
}

/// Takes the slot of a run that has not begun, so that it never will; one that has is as it is.
pub async fn cancel(hand: &Hand, ledger: &Ledger, place: &Place, token: &str) -> Driven {
    match hand.ask(ledger, place, &Op::Cancel { token: token.to_owned() }).await {
        Ok(answer) => of(&answer, token),
        Err(Stopped::Refused(answer)) if answer.word == Word::Exists => of(&answer, token),
        Err(stopped) => Driven::Open(stopped),
    }
}

/// What an answer says of the run.
fn of(answer: &Answer, token: &str) -> Driven {
    let state = answer.runs.iter().find(|run| run.token == token).map(|run| run.state.as_str());
    match state.and_then(ending) {
        // What it left behind is the next tick's: the claim holds the task as long as that lives.
        Some((ending, false)) => Driven::Over(ending),
        Some((_, true)) => Driven::Runs,
        None if state == Some("RUNNING") => Driven::Runs,
        None => Driven::Open(Stopped::Unknown(format!("the host says {}", state.unwrap_or("nothing of it")))),
    }
}
