//! Logs as they are now, straight from the hosts: what is new since they were last fetched, and on as it comes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{OnceCell, mpsc::UnboundedSender};

use super::logs::Logs;
use crate::error::Error;
use crate::exit::Exit;
use crate::remote::logs::{Book, Cursor, Fetched, Mask, Piece, is_over};
use crate::remote::probe::{Program, Report, parse};
use crate::remote::sample::Run;
use crate::ssh::exec::{Command, Ended};
use crate::ssh::{Failed, Fleet, Reach};

/// How long between two looks at a host.
const PERIOD: Duration = Duration::from_secs(1);

/// How long until a lost host is tried again; it doubles up to [`MAX_WAIT`].
const WAIT: Duration = Duration::from_millis(500);
const MAX_WAIT: Duration = Duration::from_secs(8);

/// How long one look may take at most: after a cut it is better to connect anew than to wait for the old connection.
const LOOK: Duration = Duration::from_secs(15);

/// What an answer may have beside the logs.
const MAX_ANSWER: usize = 1 << 20;

/// A host whose logs are fetched.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its inventory name.
    pub name: String,
    /// How it is reached.
    pub reach: Reach,
    /// `factory_home`.
    pub home: String,
    /// What has been fetched already.
    pub book: Book,
}

/// What is fetched, and for how long.
#[derive(Clone, Debug)]
pub struct Wish {
    /// How logs are fetched.
    pub logs: Logs,
    /// This run alone.
    pub only: Option<String>,
    /// Go on until the run has ended, or for ever.
    pub follow: bool,
    /// How long a command may take.
    pub command: Duration,
}

/// What is heard of a host.
#[derive(Debug)]
pub enum Heard {
    /// New bytes.
    New(String, Vec<Piece>),
    /// It does not have these logs any more, of runs that are over: how far they came from there. A tick may have fetched
    /// the rest and cleaned up.
    Gone(String, Vec<Cursor>),
    /// It does not answer any more, and why; it is tried again.
    Lost(String, String),
    /// It answers again.
    Back(String),
    /// Nothing more will come; the state of the one run that was asked for, if it has that.
    Done(String, Option<String>),
    /// It cannot be asked.
    GaveUp(String, Box<Error>),
    /// A secret could not be read, so it cannot be hidden.
    Unhidden(String),
}

/// The secrets that all sources share: read once, when the first bytes come.
pub type Masks = Arc<OnceCell<Mask>>;

/// How many looks running may give no answer that can be used before a host is given up: one of them may be a process
/// that was killed there, or a moment without memory.
const ODD: u32 = 5;

/// How one look ended.
enum Look {
    Report(Box<Report>),
    Lost(String),
    /// It was carried out, and gave no answer that can be used.
    Odd(String),
    Never(Box<Error>),
}

/// Fetches the logs of one host and tells of it, until there is nothing more or nobody listens.
pub async fn follow(mut source: Source, wish: &Wish, fleet: &Fleet, masks: &Masks, tell: &UnboundedSender<Heard>) {
    let (mut wait, mut lost, mut odd, mut first) = (WAIT, false, 0, true);
    let name = source.name.clone();
    while !tell.is_closed() {
        let mut looked = look(&source, wish, fleet).await;
        odd = if matches!(looked, Look::Odd(_)) { odd + 1 } else { 0 };
        if let Look::Odd(why) = looked {
            looked = match wish.follow && odd < ODD {
                true => Look::Lost(why),
                false => Look::Never(Box::new(Error::failed(format!("{name}: {why}")))),
            };
        }
        let heard = match looked {
            Look::Report(report) => {
                if std::mem::take(&mut lost) {
                    let _ = tell.send(Heard::Back(name.clone()));
                }
                wait = WAIT;
                take(&mut source, wish, *report, std::mem::take(&mut first), masks, tell).await
            }
            Look::Never(error) => Some(Heard::GaveUp(name.clone(), error)),
            Look::Lost(why) | Look::Odd(why) if !wish.follow => {
                let error = Error::new(Exit::Unreachable, format!("{name}: {why}"))
                    .help("its logs up to the last `factory run` are shown by `factory logs --offline`");
                Some(Heard::GaveUp(name.clone(), Box::new(error)))
            }
            Look::Lost(why) | Look::Odd(why) => {
                if !std::mem::replace(&mut lost, true) {
                    let _ = tell.send(Heard::Lost(name.clone(), why));
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(MAX_WAIT);
                continue;
            }
        };
        match heard {
            Some(Heard::New(..)) => {}
            Some(last) => {
                let _ = tell.send(last);
                return;
            }
            None => tokio::time::sleep(PERIOD).await,
        }
    }
}

async fn look(source: &Source, wish: &Wish, fleet: &Fleet) -> Look {
    let asked = source.book.question(&wish.logs.files, wish.only.as_deref(), Timestamp::now());
    let files = if wish.only.is_some() { Vec::new() } else { asked.files.clone() };
    let question = wish.logs.bounded(crate::remote::logs::Question { files, ..asked }, 1);
    let Program { script, stdin } = match question.program(&source.home) {
        Ok(program) => program,
        Err(error) => return Look::Never(Box::new(error)),
    };
    let max_output = MAX_ANSWER + question.most();
    let command = Command { script: &script, stdin, timeout: wish.command.min(LOOK), max_output };
    let output = match fleet.run(&source.reach, command).await {
        Ok(output) => output,
        Err(failed @ Failed::Unreached(_)) => return Look::Lost(failed.to_string()),
        Err(failed) => return Look::Never(Box::new(failed.to_error())),
    };
    match output.ended {
        Ended::Exited(0) => match parse(&output.stdout) {
            Ok(report) if report.runs.is_none() || report.logs.is_none() => {
                Look::Odd("the directory of its runs cannot be read".to_owned())
            }
            Ok(report) => Look::Report(Box::new(report)),
            Err(garbled) => Look::Odd(garbled.to_string()),
        },
        Ended::Lost(why) => Look::Lost(format!("the connection was lost: {why}")),
        ended @ Ended::TimedOut(_) => Look::Lost(format!("the look at its logs {ended}")),
        ended => {
            let last = output_words(&output.stderr);
            Look::Odd(format!("the look at its logs {ended}{last}"))
        }
    }
}

fn output_words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let plain = |line: &str| line.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
    last.map(|line| format!(": {}", plain(line))).unwrap_or_default()
}

/// Takes in an answer. `New` where there is more to fetch at once, nothing where a pause is in place, else the last word.
async fn take(
    source: &mut Source,
    wish: &Wish,
    report: Report,
    first: bool,
    masks: &Masks,
    tell: &UnboundedSender<Heard>,
) -> Option<Heard> {
    let name = source.name.clone();
    let give_up = |why: &str| Some(Heard::GaveUp(name.clone(), Box::new(Error::failed(format!("{name}: {why}")))));
    let (Some(runs), Some(fetched)) = (report.runs, report.logs) else {
        return give_up("the directory of its runs cannot be read");
    };
    if fetched.terminal {
        return give_up("its login runs commands on a terminal, which changes bytes: logs cannot be fetched");
    }
    let run = wish.only.as_ref().map(|token| runs.iter().find(|run| run.token == *token).cloned());
    if let Some(None) = run {
        return Some(Heard::Done(name, None));
    }
    let (behind, short) = (is_behind(&fetched), fetched.short);
    let nothing = Mask::default();
    let mask = if fetched.bytes() == 0 {
        &nothing
    } else {
        let read = || async {
            let (mask, problems) = wish.logs.secrets.mask().await;
            problems.iter().for_each(|unread| _ = tell.send(Heard::Unhidden(unread.to_string())));
            mask
        };
        masks.get_or_init(read).await
    };
    let run_of = run.as_ref().and_then(Option::as_ref);
    let withheld = fetched.bytes() > 0 && run_of.is_some_and(|run| !mask.covers(run.repo.as_deref()));
    // Of one run the last look is the one that finds it ended, whatever it left behind.
    let over = if wish.only.is_some() { has_ended } else { is_over };
    let told: BTreeSet<_> = fetched.runs.iter().map(|part| (part.token.clone(), part.stream)).collect();
    let pieces = source.book.take_until(over, fetched, &wish.logs.files, &runs, mask, Timestamp::now());
    let moved = pieces.iter().any(|piece| !piece.bytes.is_empty());
    if moved {
        let _ = tell.send(Heard::New(name.clone(), pieces));
    }
    if withheld {
        return give_up("what the run writes stays there while a secret of its repo cannot be read and hidden");
    }
    let gone = source.book.gone(over, &runs, &told, first && wish.only.is_none());
    if !gone.is_empty() {
        let _ = tell.send(Heard::Gone(name.clone(), gone));
    }
    if behind && moved {
        return Some(Heard::New(name, Vec::new()));
    }
    let ended = run.as_ref().and_then(Option::as_ref).is_some_and(has_ended);
    let done = if wish.follow { ended && !behind && !short } else { !short || !moved };
    done.then(|| Heard::Done(name, run.flatten().map(|run| run.state)))
}

/// Whether there was more than was sent.
fn is_behind(fetched: &Fetched) -> bool {
    let runs = fetched.runs.iter().map(|part| (part.offset, part.bytes.len(), part.size));
    let files = fetched.files.iter().map(|part| (part.offset, part.bytes.len(), part.size));
    runs.chain(files).any(|(offset, length, size)| offset + (length as u64) < size)
}

/// Whether the run writes no more, as far as is known. What a run that has ended by itself left behind is no part of it;
/// the rest of one whose wrapper was killed is the run itself.
fn has_ended(run: &Run) -> bool {
    is_over(run) || run.state.starts_with("DONE ") || run.state.starts_with("CANCELLED")
}
