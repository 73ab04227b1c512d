//! What a forge and a CI server show of a repo, as far as it is compared.

use std::collections::BTreeMap;

/// Why something could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// There was no answer: nothing is known.
    Silent,
    /// It is not there, or not for this account.
    Missing,
    /// The token is missing where one is needed, or the server does not know it.
    Token,
    /// The token has no scope for it.
    Scope,
    /// The token or its account may not, for another reason.
    Refused,
    /// Anything else.
    Other,
}

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Why, by kind.
    pub lack: Lack,
    /// Why, in one sentence.
    pub message: String,
    /// What to do, in one sentence.
    pub help: String,
}

/// What was read, or why it was not.
pub type Read<T> = Result<T, Unread>;

/// A token that the inventory names, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// It names none.
    None,
    /// It cannot be read or sent, or the forge does not know it.
    Bad(Unread),
    /// The forge takes it.
    Good,
}

/// What an account may do in the repo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// All.
    pub admin: bool,
    /// Write.
    pub push: bool,
}

/// A token and what it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The token.
    pub token: Token,
    /// Whose it is; nothing of that where the token is not good.
    pub account: Option<Read<String>>,
    /// What its account may do in the repo.
    pub rights: Option<Read<Rights>>,
    /// Whether its account may merge into the branch, where that is known.
    pub may_merge: Option<bool>,
    /// Whether it has the scope `write:issue`, where that was asked.
    pub issues: Option<Read<bool>>,
    /// Whether it has the scope `write:repository`, where that was asked.
    pub repository: Option<Read<bool>>,
}

impl Access {
    /// An account of which nothing was asked.
    pub fn of(token: Token) -> Access {
        Access { token, account: None, rights: None, may_merge: None, issues: None, repository: None }
    }

    /// The account's name, where it is known.
    pub fn login(&self) -> Option<&str> {
        self.account.as_ref()?.as_ref().ok().map(String::as_str)
    }
}

/// The repo itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// OWNER/NAME, as the forge writes it.
    pub full_name: String,
    /// The branch that pulls go to unless told otherwise.
    pub default_branch: String,
    /// Whether it can only be read.
    pub archived: bool,
    /// Whether any way of merging is allowed.
    pub merges: bool,
    /// What the account may do there.
    pub rights: Rights,
}

/// The branch, as all who may read the repo see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Branch {
    /// Whether a protection covers it.
    pub protected: bool,
    /// How many approvals a pull needs.
    pub required_approvals: u32,
    /// The checks that must pass; none where nothing need be checked.
    pub status_checks: Option<Vec<String>>,
}

/// The protection that covers the branch, as an administrator of the repo sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Its name: the branch, or a pattern.
    pub name: String,
    /// How many approvals a pull needs.
    pub required_approvals: u32,
    /// The checks that must pass; none where nothing need be checked.
    pub status_checks: Option<Vec<String>>,
    /// Who may merge; none where whoever may write may.
    pub merge_whitelist: Option<Vec<String>>,
}

/// The repo as a CI server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// OWNER/NAME on the forge.
    pub full_name: String,
    /// Whether pipelines are run for it.
    pub active: bool,
    /// Whether they are run for pulls.
    pub allow_pr: bool,
}

/// What a CI server shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ci {
    /// The token for it.
    pub token: Token,
    /// The repo that has the number of the inventory there.
    pub project: Read<Project>,
    /// The number that the repo has there; none where it was not looked for.
    pub number: Option<Read<u64>>,
    /// How many pipelines it can run at once; none where it does not tell.
    pub workers: Option<u32>,
}

/// All that was found of a repo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The account that agents work with.
    pub own: Access,
    /// The account that reviews.
    pub reviewer: Access,
    /// The repo itself. Where it could not be read for any reason but a scope, nothing below was asked.
    pub home: Read<Home>,
    /// The names of the labels that its issues can have.
    pub labels: Option<Read<Vec<String>>>,
    /// Whether the organization that owns the repo, if one does, may have more that the token does not see.
    pub labels_hidden: bool,
    /// The name of the branch that pulls go to, where it is known.
    pub branch_name: Option<String>,
    /// That branch; nothing of it where there is none.
    pub branch: Option<Read<Option<Branch>>>,
    /// Its protection, where the account may see it.
    pub rule: Option<Read<Rule>>,
    /// What each account of the wanted merge whitelist may do there, where that was asked.
    pub permissions: BTreeMap<String, Read<String>>,
    /// The CI; none where the inventory says that there is none.
    pub ci: Option<Ci>,
    /// Secrets of its runs that cannot be read, each with its key in the inventory.
    pub secrets: Vec<(String, Unread)>,
}
