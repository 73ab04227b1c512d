//! What forges tell, as far as it is used.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Account {
    /// Its name.
    pub login: String,
    /// Whether it administers the forge.
    #[serde(default)]
    pub is_admin: bool,
}

/// A label.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Label {
    /// Its number, by which issues are given it.
    pub id: u64,
    /// Its name.
    pub name: String,
}

/// Open or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is open.
    Open,
    /// It is closed; of a pull: merged, or not.
    Closed,
}

/// An issue.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Issue {
    /// Its number in the repo.
    pub number: u64,
    /// Its title.
    #[serde(default)]
    pub title: String,
    /// Its text.
    #[serde(default, deserialize_with = "or_default")]
    pub body: String,
    /// Open or closed.
    pub state: State,
    /// Its labels.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: Vec<Label>,
    /// Who is to do it.
    #[serde(default, deserialize_with = "or_default")]
    pub assignees: Vec<Account>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Whether it is a pull.
    #[serde(default, rename = "pull_request", deserialize_with = "present")]
    pub is_pull: bool,
}

/// One end of a pull.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct End {
    /// The branch.
    #[serde(rename = "ref")]
    pub branch: String,
    /// Its commit. Of a base, the one that the forge last compared with.
    #[serde(default)]
    pub sha: String,
}

/// A pull request.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Pull {
    /// Its number in the repo.
    pub number: u64,
    /// Its title.
    #[serde(default)]
    pub title: String,
    /// Its text.
    #[serde(default, deserialize_with = "or_default")]
    pub body: String,
    /// Open or closed.
    pub state: State,
    /// Whether it is a draft. Forgejo 7 does not tell: there only the title says it.
    #[serde(default)]
    pub draft: bool,
    /// Whether it could be merged without conflicts, as the forge last tried. It says nothing of approvals and checks, and is
    /// false for a draft, and for some seconds after a push, a move of the base or a change of its protection.
    #[serde(default)]
    pub mergeable: bool,
    /// Whether it was merged.
    #[serde(default)]
    pub merged: bool,
    /// Its labels.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: Vec<Label>,
    /// Who is to do it.
    #[serde(default, deserialize_with = "or_default")]
    pub assignees: Vec<Account>,
    /// Who made it; none for an account that is gone.
    #[serde(default)]
    pub user: Option<Account>,
    /// Where it goes.
    pub base: End,
    /// What is to be merged.
    pub head: End,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed, in seconds; not by commit statuses, nor by a move of its base.
    pub updated_at: Timestamp,
}

/// What a review says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Verdict {
    /// It may be merged.
    #[serde(rename = "APPROVED")]
    Approved,
    /// It must be changed.
    #[serde(rename = "REQUEST_CHANGES")]
    Changes,
    /// Neither.
    #[serde(rename = "COMMENT")]
    Comment,
    /// It is being written.
    #[serde(rename = "PENDING")]
    Pending,
    /// It was asked for and is not there.
    #[serde(rename = "REQUEST_REVIEW")]
    Asked,
    /// The forge says something that is not known here; it counts as no review.
    #[serde(other)]
    Unknown,
}

/// A review of a pull.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Review {
    /// Its number.
    pub id: u64,
    /// Who wrote it; none for a team or an account that is gone.
    #[serde(default)]
    pub user: Option<Account>,
    /// What it says.
    pub state: Verdict,
    /// The commit that was reviewed; empty where none was, as for one that was only asked for.
    #[serde(default)]
    pub commit_id: String,
    /// Whether the pull has changed since.
    #[serde(default)]
    pub stale: bool,
    /// Whether it counts for the protection of the branch.
    #[serde(default)]
    pub official: bool,
    /// Whether it was taken back.
    #[serde(default)]
    pub dismissed: bool,
    /// When it was given.
    pub submitted_at: Timestamp,
}

/// What a check says of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// It has not ended.
    Pending,
    /// It is well.
    Success,
    /// It was not run, and that is well.
    Skipped,
    /// It is well enough to merge.
    Warning,
    /// It is not well.
    Failure,
    /// It could not be run.
    Error,
    /// The forge says something that is not known here.
    #[serde(other)]
    Unknown,
}

/// What one check last said of a commit.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct CommitStatus {
    /// The name of the check, such as `ci/woodpecker/pr/build`.
    pub context: String,
    /// What it says.
    #[serde(rename = "status")]
    pub state: Check,
    /// In its words.
    #[serde(default)]
    pub description: String,
    /// When it said so.
    pub updated_at: Timestamp,
}

impl CommitStatus {
    /// Whether what it tells of was called off: Forgejo's Actions say `failure` of that too, and only their words tell.
    pub fn called_off(&self) -> bool {
        self.state == Check::Failure && self.description == "Has been cancelled"
    }
}

/// What an account may do in a repo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Rights {
    /// All.
    #[serde(default)]
    pub admin: bool,
    /// Write.
    #[serde(default)]
    pub push: bool,
    /// Read.
    #[serde(default)]
    pub pull: bool,
}

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Repository {
    /// OWNER/NAME, as the forge writes it: letters may be large or small otherwise than in what was asked for.
    pub full_name: String,
    /// The branch that pulls go to unless told otherwise.
    pub default_branch: String,
    /// Whether it can only be read.
    #[serde(default)]
    pub archived: bool,
    /// What the account may do there.
    #[serde(default, deserialize_with = "or_default")]
    pub permissions: Rights,
    /// Which merges are allowed: with a merge commit.
    #[serde(default)]
    pub allow_merge_commits: bool,
    /// By a rebase.
    #[serde(default)]
    pub allow_rebase: bool,
    /// By a rebase, with a merge commit.
    #[serde(default)]
    pub allow_rebase_explicit: bool,
    /// As one commit.
    #[serde(default)]
    pub allow_squash_merge: bool,
    /// The style that is used unless told otherwise.
    #[serde(default)]
    pub default_merge_style: String,
}

/// A branch, with what a pull to it needs. All who may read the repo see that; the rest of a protection only its
/// administrators do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Branch {
    /// Its name.
    pub name: String,
    /// Whether a protection covers it.
    #[serde(default)]
    pub protected: bool,
    /// The name of that protection: the branch or a pattern; empty for who does not administer the repo.
    #[serde(default)]
    pub effective_branch_protection_name: String,
    /// How many approvals a pull needs.
    #[serde(default)]
    pub required_approvals: u32,
    /// Whether checks must pass.
    #[serde(default)]
    pub enable_status_check: bool,
    /// Those that must.
    #[serde(default, deserialize_with = "or_default")]
    pub status_check_contexts: Vec<String>,
    /// Whether this account may merge into it.
    #[serde(default)]
    pub user_can_merge: bool,
}

/// What a token may be allowed to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Issues with their labels, and comments.
    Issue,
    /// All else of a repo: branches, pulls with their reviews, protections.
    Repository,
}

/// How a pull is merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergeStyle {
    /// With a merge commit.
    #[default]
    Merge,
    /// By a rebase.
    Rebase,
    /// By a rebase, with a merge commit.
    RebaseMerge,
    /// As one commit.
    Squash,
    /// Only if nothing has to be done.
    FastForward,
}

/// The protection of a branch, as far as it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Protection {
    /// Its name: a branch or a pattern.
    #[serde(default)]
    pub rule_name: String,
    /// How many approvals a pull needs.
    #[serde(default)]
    pub required_approvals: u32,
    /// Whether checks must pass.
    #[serde(default)]
    pub enable_status_check: bool,
    /// Those that must.
    #[serde(default, deserialize_with = "or_default")]
    pub status_check_contexts: Vec<String>,
    /// Whether only some accounts may merge.
    #[serde(default)]
    pub enable_merge_whitelist: bool,
    /// Those that may.
    #[serde(default, deserialize_with = "or_default")]
    pub merge_whitelist_usernames: Vec<String>,
    /// Whether a review that asks for changes forbids the merge.
    #[serde(default)]
    pub block_on_rejected_reviews: bool,
    /// Whether approvals end with the next commit.
    #[serde(default)]
    pub dismiss_stale_approvals: bool,
}

/// What to change in a protection; what is none stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProtectionChange {
    /// How many approvals a pull needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_approvals: Option<u32>,
    /// Whether checks must pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_status_check: Option<bool>,
    /// Those that must.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_check_contexts: Option<Vec<String>>,
    /// Whether only some accounts may merge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_merge_whitelist: Option<bool>,
    /// Those that may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge_whitelist_usernames: Option<Vec<String>>,
}

/// Go writes nothing at all as `null`.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<serde::de::IgnoredAny>::deserialize(deserializer)?.is_some())
}
