//! A repo as the inventory wants it and as its forge and its CI show it: what differs, and what `repo sync` makes so. Pure.

mod access;
mod ci;
mod found;
mod labels;
mod protection;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use found::{Access, Branch, Ci, Found, Home, Lack, Project, Read, Rights, Rule, Token, Unread};
pub use labels::misses;

use crate::inventory::repos::Repo;

/// What a difference is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A token or another secret that is not there, cannot be read or is not taken.
    Secret,
    /// The token of the account that agents work with, and what it may.
    Token,
    /// The token of the account that reviews, and what it may.
    Review,
    /// The repo itself.
    Repo,
    /// The labels.
    Labels,
    /// The protection of the branch.
    Protection,
    /// The CI.
    Ci,
}

/// How much a difference matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth knowing.
    Hint,
    /// It is not known whether it is as wanted: there was no answer.
    Unknown,
    /// It is not as wanted.
    Error,
}

/// One thing that is not as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is about.
    pub what: What,
    /// The same for people, such as ``protection of `master` ``.
    pub subject: String,
    /// How much it matters.
    pub level: Level,
    /// What is so, in one sentence.
    pub message: String,
    /// What to do, in one sentence.
    pub help: String,
    /// How it is, as a line of a diff; none where there is nothing.
    pub found: Option<String>,
    /// How it is wanted, as a line of a diff; none where only a person can say.
    pub wanted: Option<String>,
    /// What `repo sync` does about it; none where only a person can.
    #[serde(skip)]
    pub fix: Option<Fix>,
}

/// One step of `repo sync`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fix {
    /// Makes this label.
    Label(String),
    /// Makes or changes a protection.
    Protection(Change),
}

/// What to change in a protection; what is none stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The name of the protection, which is the branch.
    pub name: String,
    /// Whether it has to be made.
    pub new: bool,
    /// How many approvals a pull needs.
    pub required_approvals: Option<u32>,
    /// The checks that must pass; none at all where it is empty.
    pub status_checks: Option<Vec<String>>,
    /// Who may merge; whoever may write where it is empty.
    pub merge_whitelist: Option<Vec<String>>,
}

/// All that `repo sync` does to a repo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The labels to make.
    pub labels: Vec<String>,
    /// What to do to the protection.
    pub protection: Option<Change>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.protection.is_none()
    }
}

/// What differs between the inventory and what was found.
pub fn compare(repo: &Repo, found: &Found) -> Vec<Difference> {
    let mut told = Told { repo, all: Vec::new() };
    told.secrets(found);
    if told.reached(found) {
        told.account(found);
        told.reviewer(found);
        told.home(found);
        told.labels(found);
        told.protection(found);
    }
    told.ci(found);
    told.all
}

/// What `repo sync` has to do about these differences.
pub fn plan(differences: &[Difference]) -> Plan {
    let mut plan = Plan::default();
    for fix in differences.iter().filter_map(|difference| difference.fix.as_ref()) {
        match fix {
            Fix::Label(name) => plan.labels.push(name.clone()),
            Fix::Protection(change) => {
                let all = plan.protection.get_or_insert_with(|| Change {
                    name: change.name.clone(),
                    new: change.new,
                    ..Change::default()
                });
                all.required_approvals = change.required_approvals.or(all.required_approvals);
                all.status_checks = change.status_checks.clone().or(all.status_checks.take());
                all.merge_whitelist = change.merge_whitelist.clone().or(all.merge_whitelist.take());
            }
        }
    }
    plan
}

/// The differences in groups: those about one thing that are mended in one way stand together.
pub fn groups(differences: &[Difference]) -> Vec<Vec<&Difference>> {
    let mut groups: Vec<Vec<&Difference>> = Vec::new();
    for one in differences {
        let key = |own: &Difference| (own.what, own.level, own.subject.clone(), own.help.clone(), own.fix.is_some());
        let same = |group: &&mut Vec<&Difference>| group.first().is_some_and(|first| key(first) == key(one));
        match groups.iter_mut().find(same) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups
}

/// The differences that are being collected.
struct Told<'a> {
    repo: &'a Repo,
    all: Vec<Difference>,
}

impl Told<'_> {
    fn push(&mut self, what: What, level: Level, message: impl Into<String>, help: impl Into<String>) {
        let subject = match what {
            What::Secret | What::Token => "token",
            What::Review => "review_token",
            What::Repo => "repo",
            What::Labels => "labels",
            What::Protection => "protection",
            What::Ci => "ci",
        };
        self.add(what, subject, level, message, help);
    }

    fn add(
        &mut self,
        what: What,
        subject: impl Into<String>,
        level: Level,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let (subject, message, help) = (subject.into(), message.into(), help.into());
        self.all.push(Difference { what, subject, level, message, help, found: None, wanted: None, fix: None });
    }

    /// Something that could not be read.
    fn unread(&mut self, what: What, about: &str, unread: &Unread) {
        let level = if unread.lack == Lack::Silent { Level::Unknown } else { Level::Error };
        let about = if about.is_empty() { String::new() } else { format!("{about}: ") };
        self.push(what, level, format!("{about}{}", unread.message), unread.help.clone());
    }

    /// How `repo sync` is called for this repo.
    fn sync(&self) -> String {
        format!("`factory repo sync {}`", self.repo.name)
    }

    /// What keeps `repo sync` from writing there, if something is known that does.
    fn barred(&self, found: &Found, scope: Option<bool>) -> Option<String> {
        let name = &self.repo.name;
        if found.home.as_ref().is_ok_and(|home| home.archived) {
            return Some("nothing can be changed in an archived repo".to_owned());
        }
        match &found.own.token {
            Token::None => {
                return Some(format!("name a `token` in repos.yml, then `factory repo sync {name}` does it"));
            }
            Token::Bad(_) => return Some(format!("mend the token, then `factory repo sync {name}` does it")),
            Token::Good => {}
        }
        let writes = found.home.as_ref().is_ok_and(|home| home.rights.push || home.rights.admin);
        (scope == Some(false) || !writes)
            .then(|| format!("mend what the token or its account lacks, then `factory repo sync {name}` does it"))
    }
}
