//! Forges and CI servers behind two traits: [`Forge`] (Forgejo, as on Codeberg) and [`Ci`] (Woodpecker, and
//! Forgejo's Actions).
//!
//! Each server is one [`Host`]: its connections, its budget of calls and its wish to be left alone are shared by all repos
//! on it. A call ends in bounded time, and either did what it was to do or is a [`Failure`] that says what happened, where,
//! and what to do. "No answer" is never an answer: see [`Failure::unknown`].

mod actions;
mod bucket;
pub mod claim;
mod connection;
pub mod examine;
mod failure;
mod forgejo;
mod host;
mod http;
mod load;
mod model;
mod paging;
mod pipeline;
pub mod sync;
mod token;
mod woodpecker;

use std::pin::Pin;

use jiff::Timestamp;

pub use actions::Actions;
pub use bucket::{Bucket, Empty};
pub use connection::{Connection, Servers};
pub use failure::{Failure, Outage, Why};
pub use forgejo::Forgejo;
pub use host::{Host, Limits};
pub use http::Client;
pub use model::*;
pub use pipeline::*;
pub use woodpecker::Woodpecker;

use crate::policy::ci_load::Load;

/// An answer that is on its way.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// An account on a forge. `repo` is always OWNER/NAME.
pub trait Forge: Send + Sync {
    /// The version of the server, as it writes it.
    fn version(&self) -> Answer<'_, String>;

    /// Whose token it is. A token without the scope for that is refused, though it may do all else.
    fn account(&self) -> Answer<'_, Account>;

    /// The repository, with what this account may do there.
    fn repo<'a>(&'a self, repo: &'a str) -> Answer<'a, Repository>;

    /// The open issues, or those of them with this label; without pulls.
    fn issues<'a>(&'a self, repo: &'a str, label: Option<&'a str>) -> Answer<'a, Vec<Issue>>;

    /// One issue, open or closed; also of a pull, which is an issue too.
    fn issue<'a>(&'a self, repo: &'a str, number: u64) -> Answer<'a, Issue>;

    /// The open pulls.
    fn pulls<'a>(&'a self, repo: &'a str) -> Answer<'a, Vec<Pull>>;

    /// One pull.
    fn pull<'a>(&'a self, repo: &'a str, number: u64) -> Answer<'a, Pull>;

    /// All reviews of a pull, the oldest first.
    fn reviews<'a>(&'a self, repo: &'a str, number: u64) -> Answer<'a, Vec<Review>>;

    /// What each check last said of a commit.
    fn statuses<'a>(&'a self, repo: &'a str, commit: &'a str) -> Answer<'a, Vec<CommitStatus>>;

    /// The labels that issues of the repo can have: its own and those of the organization that owns it.
    fn labels<'a>(&'a self, repo: &'a str) -> Answer<'a, Vec<Label>>;

    /// Whether labels of the organization that owns the repo, if one does, are hidden from this token.
    fn hides_labels<'a>(&'a self, repo: &'a str) -> Answer<'a, bool>;

    /// A branch, with what a pull to it needs.
    fn branch<'a>(&'a self, repo: &'a str, name: &'a str) -> Answer<'a, Branch>;

    /// Whether the token has the scope to write that, asked without writing anything. It says nothing of the account's
    /// rights in the repo.
    fn may_write<'a>(&'a self, repo: &'a str, scope: Scope) -> Answer<'a, bool>;

    /// The protection with this name, which is that of the branch or a pattern.
    fn protection<'a>(&'a self, repo: &'a str, name: &'a str) -> Answer<'a, Protection>;

    /// What this account may do in the repo: `none`, `read`, `write`, `admin` or `owner`. Only an administrator of the repo
    /// may ask; since Forgejo 11 everybody of oneself.
    fn permission<'a>(&'a self, repo: &'a str, login: &'a str) -> Answer<'a, String>;

    /// Adds a label, by its id, to those of an issue. One that it has is no failure, and neither is one that is not there:
    /// only reading it back tells.
    fn add_label<'a>(&'a self, repo: &'a str, number: u64, id: u64) -> Answer<'a, ()>;

    /// Takes a label, by its id, from an issue and leaves the others. One that it does not have is no failure.
    fn remove_label<'a>(&'a self, repo: &'a str, number: u64, id: u64) -> Answer<'a, ()>;

    /// Makes a label; gives it with its id. Two with one name can be made: look before.
    fn new_label<'a>(&'a self, repo: &'a str, name: &'a str) -> Answer<'a, Label>;

    /// Assigns an issue to these accounts and to no others; gives the issue, read back. Another one who does the same at the
    /// same time may read back themselves, too.
    fn assign<'a>(&'a self, repo: &'a str, number: u64, logins: &'a [String]) -> Answer<'a, Issue>;

    /// Writes a comment.
    fn comment<'a>(&'a self, repo: &'a str, number: u64, text: &'a str) -> Answer<'a, ()>;

    /// Changes what `change` names in a protection that exists, and nothing else; gives it, read back.
    fn protect<'a>(&'a self, repo: &'a str, name: &'a str, change: &'a ProtectionChange) -> Answer<'a, Protection>;

    /// Makes a protection with this name, for a branch or a pattern, and with what `change` names; gives it, read back.
    /// Nobody can push to such a branch any more, only merge. Refused with 403 where there is one.
    fn new_protection<'a>(
        &'a self,
        repo: &'a str,
        name: &'a str,
        change: &'a ProtectionChange,
    ) -> Answer<'a, Protection>;

    /// Merges a pull, if its head is still `head`; gives the pull, read back and merged, also where that very head had been
    /// merged before. After [`Why::Blocked`] `head` is not merged.
    fn merge<'a>(&'a self, repo: &'a str, number: u64, head: &'a str, style: MergeStyle) -> Answer<'a, Pull>;
}

/// The CI of one repo.
pub trait Ci: Send + Sync {
    /// The repo as the CI knows it.
    fn project(&self) -> Answer<'_, Project>;

    /// The pipelines, the newest first: at least the newest `least`, and all that have not ended but for those that
    /// [`Ci::waiting`] tells of.
    fn pipelines(&self, least: usize) -> Answer<'_, Vec<Pipeline>>;

    /// Those that wait to be run behind many that have ended, where [`Ci::pipelines`] leaves them out, and perhaps others.
    fn waiting(&self) -> Answer<'_, Vec<Pipeline>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// One pipeline with its workflows and steps.
    fn pipeline(&self, number: u64) -> Answer<'_, Pipeline>;

    /// How many pipelines its agents can run at once; none where the token may not ask.
    fn workers(&self) -> Answer<'_, Option<u32>>;

    /// What it has to do at `now`, by its `pipelines`: all that have not ended, and some that have, the newest first.
    fn load(&self, pipelines: &[Pipeline], now: Timestamp) -> Load;
}
