//! The ledger: one small document that all candidates share, changed by compare-and-swap alone.
//!
//! [`Ledger::change`] is the one way to write: it reads, lets the caller decide, and swaps; who was overtaken decides
//! anew on what the other one wrote. Nothing that is damaged is ever written over, or taken for an empty ledger.

mod document;
mod problem;
mod sqlite;
mod store;

use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) use document::random_id;
pub use document::{Document, HostEntry, Lease, Left, MAX_EPOCH};
pub use problem::Problem;
pub use sqlite::Sqlite;
pub use store::{Answer, Revision, Store, Stored, Swapped};

use self::document::RECENT;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// The most bytes that a document may have: 1 MiB, so that it fits into a request to etcd (1.5 MiB at most).
pub const MAX_BYTES: usize = 1 << 20;

/// For how long a change is tried at least before it is given up: where each write takes its time, on a slow disk say,
/// others may be faster many times running.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is tried at least: this process may have stood still for that long.
const TRIES: u32 = 16;

/// The wait before the second try; it doubles with each further one.
const WAIT: Duration = Duration::from_millis(10);

/// The longest wait between two tries.
const MAX_WAIT: Duration = Duration::from_millis(250);

/// A document in a store, and how it is changed.
pub struct Ledger {
    store: Box<dyn Store>,
}

/// What a caller of [`Ledger::change`] decided.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one lives at a time, and only for a moment")]
pub enum Change<T> {
    /// This is to be the document. Version, nonce, number and recent nonces are set for it.
    To(Document, T),
    /// All is as it should be; nothing is written.
    Nothing(T),
}

impl Ledger {
    /// The ledger of the state directory `state`, in `ledger.db`. Makes no file: the first change does.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn open(state: &Path) -> Result<Ledger> {
        if !state.is_dir() {
            return Err(Error::failed(format!("the state directory {} is not there", state.display()))
                .help("make it, or use another one with `--state DIR`"));
        }
        Ok(Ledger::over(Sqlite::new(state)))
    }

    /// The same for who only reads, also while another process writes; `None` when there is none yet.
    ///
    /// # Errors
    /// When the directory cannot be looked into.
    pub fn open_to_read(state: &Path) -> Result<Option<Ledger>> {
        let store = Sqlite::new(state);
        match store.exists() {
            Ok(true) => Ok(Some(Ledger::over(store))),
            Ok(false) => Ok(None),
            Err(problem) => Err(problem.error("read", &store.place())),
        }
    }

    /// A ledger in any store.
    pub fn over(store: impl Store + 'static) -> Ledger {
        Ledger { store: Box::new(store) }
    }

    /// The document as it is now, and its revision; `None` when there is none yet.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or was written by a newer version; exit 5 when another process holds it.
    pub async fn read(&self) -> Result<Option<(Revision, Document)>> {
        self.look().await.map_err(|problem| problem.error("read", &self.store.place()))
    }

    async fn look(&self) -> Result<Option<(Revision, Document)>, Problem> {
        let Some(Stored { revision, document }) = self.store.read().await? else { return Ok(None) };
        Ok(Some((revision, Document::parse(&document)?)))
    }

    /// Changes the document: `decide` is given the newest one (`None` when there is none yet) and says what it is to
    /// be. It is asked anew each time that another writer was faster. Gives the document as it is now, and what
    /// `decide` said beside the decision that holds. Each decision is written at most once, also when an answer of
    /// the store is lost.
    ///
    /// # Errors
    /// Whatever `decide` fails with; whatever [`Ledger::read`] fails with; a document over [`MAX_BYTES`]; exit 5 when
    /// others keep being faster; exit 1 when nobody can tell whether it was written.
    pub async fn change<T>(
        &self,
        mut decide: impl FnMut(Option<&Document>) -> Result<Change<T>>,
    ) -> Result<(Option<Document>, T)> {
        let mut doubts: Vec<Doubt<T>> = Vec::new();
        let began = Instant::now();
        let is_last = |tries: u32| tries >= TRIES && began.elapsed() >= PATIENCE;
        for tries in 1.. {
            if tries > 1 {
                tokio::time::sleep(wait(tries - 1)).await;
            }
            let last = is_last(tries);
            let current = match self.look().await {
                Ok(current) => current,
                // What was written in doubt must be found out first, so keep looking until the last try.
                Err(_) if !last && !doubts.is_empty() => continue,
                Err(problem) => return Err(self.cannot(problem, doubts.is_empty())),
            };
            let (revision, before) = current.unzip();
            if let Some(document) = &before {
                if let Some(written) = doubts.iter().position(|doubt| document.has(&doubt.nonce)) {
                    return Ok((before, doubts.swap_remove(written).value));
                }
                // The document names its last write and so many before it; what is older could be ours.
                let oldest = document.lease.seq.saturating_sub(RECENT as u64);
                if doubts.iter().any(|doubt| doubt.after.saturating_add(1) < oldest) {
                    let why = Problem::Unknown(format!("more than {RECENT} writes of others came after it"));
                    return Err(why.error("write", &self.store.place()));
                }
            }
            let (mut document, value) = match decide(before.as_ref())? {
                Change::Nothing(value) => return Ok((before, value)),
                Change::To(document, value) => (document, value),
            };
            document.follow(before.as_ref())?;
            let text = document.text()?;
            if text.len() > MAX_BYTES {
                let problem = Problem::TooLarge { bytes: text.len(), max: MAX_BYTES };
                return Err(problem.error("write", &self.store.place()));
            }
            match self.store.swap(revision.as_ref(), &text).await {
                Ok(Swapped::Done(_)) => return Ok((Some(document), value)),
                Ok(Swapped::Conflict) => {}
                Err(Problem::Unknown(_)) => {
                    let after = before.map_or(0, |before| before.lease.seq);
                    doubts.push(Doubt { nonce: document.lease.nonce, after, value });
                }
                Err(problem) => return Err(self.cannot(problem, doubts.is_empty())),
            }
            if last {
                break;
            }
        }
        let place = self.store.place();
        Err(match doubts.is_empty() {
            true => Error::new(Exit::Locked, format!("others keep changing the ledger {place}"))
                .help("nothing was written; try again, and look with `factory status` who leads"),
            false => Problem::Unknown("the answers were lost".to_owned()).error("write", &place),
        })
    }

    /// The error of a change that ended in `problem`, which is not the whole truth after a lost answer.
    fn cannot(&self, problem: Problem, certain: bool) -> Error {
        let problem = if certain { problem } else { Problem::Unknown(problem.to_string()) };
        problem.error("write", &self.store.place())
    }
}

/// A write whose answer was lost.
struct Doubt<T> {
    /// What it is recognised by.
    nonce: String,
    /// The number of the document that it was to follow; 0 for the first.
    after: u64,
    /// What was decided beside it.
    value: T,
}

/// The wait after so many tries: doubled each time, half of it chance, so that writers do not keep meeting.
fn wait(tries: u32) -> Duration {
    let full = WAIT.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(MAX_WAIT);
    let mut random = [0; 2];
    // Without random bytes the wait is the same each time, which only costs time.
    let _ = aws_lc_rs::rand::fill(&mut random);
    full / 2 + full.mul_f64(f64::from(u16::from_ne_bytes(random)) / f64::from(u16::MAX) / 2.0)
}

#[cfg(test)]
mod tests;
