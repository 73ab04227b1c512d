//! What every kind of ledger can do: hold one document, and swap it only for who has seen the newest.

use std::fmt;
use std::pin::Pin;

use super::Problem;

/// What a store answers, later: boxed, so that a store can be chosen at run time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Problem>> + Send + 'a>>;

/// A place for one document, changed by compare-and-swap alone.
pub trait Store: Send + Sync {
    /// Where it is, for messages: a path or an address without secrets.
    fn place(&self) -> String;

    /// The document as it is now; `None` only where there certainly is none yet.
    ///
    /// Fails rather than guesses: damage, a lost answer and a full disk are never "none".
    fn read(&self) -> Answer<'_, Option<Stored>>;

    /// Writes `document` if the newest revision is still `expected` (`None`: if there is no document yet), whole and
    /// kept through a loss of power, or not at all.
    ///
    /// Fails with [`Problem::Unknown`] when it may have been written all the same; with any other problem it was not.
    fn swap<'a>(&'a self, expected: Option<&'a Revision>, document: &'a str) -> Answer<'a, Swapped>;
}

/// Names one state of a document. Only to be compared, and only with those of the same store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revision(String);

impl Revision {
    /// The store's own word for it: a checksum, a commit, a number.
    pub fn new(word: impl Into<String>) -> Revision {
        Revision(word.into())
    }

    /// The store's own word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Which state of the document this is.
    pub revision: Revision,
    /// The document's bytes, whatever they are: [`super::Document::parse`] judges them.
    pub document: Vec<u8>,
}

/// What became of a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// It is written; this is its revision.
    Done(Revision),
    /// Another one was faster, or the document is gone: nothing is written. Read again.
    Conflict,
}
