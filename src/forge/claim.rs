//! A claim of an issue on the forge: written, read back and compared, so that people and other programs see who works on
//! it. It does not keep a task from being done twice, the ledger does.

use std::sync::Arc;
use std::time::Duration;

use super::{Failure, Forge, Issue, State};
use crate::error::Error;
use crate::inventory::repos::Labels;

/// What of an issue was changed by claiming it, to be put back.
#[derive(Clone, Debug, PartialEq)]
pub struct Before {
    number: u64,
    /// The labels that were taken away, by their ids.
    removed: Vec<u64>,
    /// The label that was added.
    added: Option<u64>,
    assignees: Vec<String>,
}

/// Why an issue was not claimed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unclaimed {
    /// The forge said no, or nobody knows what it did.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// It is not to be had: why.
    #[error("{0}")]
    Taken(String),
    /// It has this label, for what waits or lacks something.
    #[error("it is labelled {0}")]
    Halted(String),
    /// The repo lacks this label.
    #[error("the repo has no label `{0}`")]
    NoLabel(String),
}

impl Unclaimed {
    /// As the error of a verb, with what to do.
    pub fn to_error(&self, repo: &str, number: u64) -> Error {
        let told = |error: &Error| Error::new(error.exit(), format!("{repo}#{number} cannot be claimed: {self}"));
        match self {
            Unclaimed::Failed(failure) => told(&failure.to_error()).help(failure.help()),
            Unclaimed::Taken(_) => told(&Error::failed("")).help("look at it on the forge: somebody works on it"),
            Unclaimed::Halted(label) => {
                told(&Error::failed("")).help(format!("take `{label}` from it once nothing is in its way any more"))
            }
            Unclaimed::NoLabel(_) => told(&Error::failed("")).help(format!("`factory repo sync {repo}` makes it")),
        }
    }
}

/// An account that claims issues of a repo.
#[derive(Clone)]
pub struct Claimant {
    /// The forge, as that account.
    pub forge: Arc<dyn Forge>,
    /// OWNER/NAME of the repo.
    pub slug: String,
    /// The labels that say what state an issue is in.
    pub labels: Labels,
    /// The account's login.
    pub me: String,
    /// How long after a claim was read back it is read once more.
    pub pause: Duration,
}

impl Claimant {
    /// Whether an issue may be claimed, without a write; gives it.
    ///
    /// # Errors
    /// When somebody else has it, or the forge does not say.
    pub async fn look(&self, number: u64) -> Result<Issue, Unclaimed> {
        let issue = self.forge.issue(&self.slug, number).await?;
        if let Some(why) = not_to_be_had(&issue, &self.labels, &self.me) {
            return Err(Unclaimed::Taken(why));
        }
        self.unhalted(&issue)?;
        Ok(issue)
    }

    /// Claims an issue: assigned to this account alone, labelled as being worked on and not as ready any more. Gives what it
    /// was before.
    ///
    /// # Errors
    /// When somebody else has it, or was faster: then what they wrote stays. When it waits for something, also since just
    /// now. When the forge does not do it, or does something else.
    pub async fn claim(&self, number: u64) -> Result<Before, Unclaimed> {
        let Claimant { forge, slug, labels, me, .. } = self;
        let (issue, known) = (self.look(number).await?, forge.labels(slug).await?);
        let active = known.iter().find(|label| label.name == labels.active);
        let active = active.ok_or_else(|| Unclaimed::NoLabel(labels.active.clone()))?;
        let removed: Vec<u64> =
            issue.labels.iter().filter(|label| label.name == labels.ready).map(|label| label.id).collect();
        let added = (!has(&issue, &labels.active)).then_some(active.id);
        let before = Before { number, removed, added, assignees: logins(&issue) };
        let written = async {
            // Where labels exclude each other, adding one would take away what a person has just set.
            self.unhalted(&forge.assign(slug, number, std::slice::from_ref(me)).await?)?;
            // One by one: people set labels of their own at any moment.
            forge.add_label(slug, number, active.id).await?;
            for id in &before.removed {
                forge.remove_label(slug, number, *id).await?;
            }
            self.compare(&forge.issue(slug, number).await?)?;
            // Of two who write at once each may read its own; a little later both read the same.
            tokio::time::sleep(self.pause).await;
            self.compare(&forge.issue(slug, number).await?)
        };
        match written.await {
            Ok(()) => Ok(before),
            Err(why) => {
                // What was written may be there; what others wrote stays.
                if let Unclaimed::Failed(_) | Unclaimed::Halted(_) = why {
                    let _ = self.unclaim(&before).await;
                }
                Err(why)
            }
        }
    }

    /// Whether nothing in an issue's labels says that it waits or lacks something.
    fn unhalted(&self, issue: &Issue) -> Result<(), Unclaimed> {
        let Labels { blocked, unclear, .. } = &self.labels;
        match [blocked, unclear].into_iter().find(|label| has(issue, label)) {
            Some(label) => Err(Unclaimed::Halted(label.clone())),
            None => Ok(()),
        }
    }

    /// Whether an issue that was read back is what was written.
    fn compare(&self, now: &Issue) -> Result<(), Unclaimed> {
        let Claimant { labels, me, .. } = self;
        let why = match logins(now).as_slice() {
            // A forge says yes also where it dropped the account.
            [] => format!("the forge did not assign it to {me}, who may not write to the repo"),
            [login] if login.eq_ignore_ascii_case(me) => {
                if has(now, &labels.active) && !has(now, &labels.ready) {
                    return self.unhalted(now);
                }
                "its labels were changed by somebody else at the same time".to_owned()
            }
            others => format!("it is assigned to {} now", others.join(", ")),
        };
        Err(Unclaimed::Taken(why))
    }

    /// Puts an issue back to what it was, with what others wrote meanwhile, unless somebody else has it now.
    ///
    /// # Errors
    /// When the forge does not do it: then it looks as if it were worked on, until it is found to be orphaned.
    pub async fn unclaim(&self, before: &Before) -> Result<(), Failure> {
        let Claimant { forge, slug, me, .. } = self;
        let now = forge.issue(slug, before.number).await?;
        if logins(&now).iter().any(|login| !login.eq_ignore_ascii_case(me)) {
            return Ok(());
        }
        for id in &before.removed {
            forge.add_label(slug, before.number, *id).await?;
        }
        if let Some(id) = before.added {
            forge.remove_label(slug, before.number, id).await?;
        }
        forge.assign(slug, before.number, &before.assignees).await.map(drop)
    }
}

fn has(issue: &Issue, label: &str) -> bool {
    issue.labels.iter().any(|own| own.name == label)
}

fn logins(issue: &Issue) -> Vec<String> {
    issue.assignees.iter().map(|account| account.login.clone()).collect()
}

/// Why an issue is nobody's to claim.
fn not_to_be_had(issue: &Issue, labels: &Labels, me: &str) -> Option<String> {
    if issue.is_pull {
        return Some("it is a pull".to_owned());
    }
    if issue.state == State::Closed {
        return Some("it is closed".to_owned());
    }
    let others = logins(issue);
    let active = has(issue, &labels.active);
    match others.iter().any(|login| !login.eq_ignore_ascii_case(me)) {
        true => Some(format!("it is assigned to {}", others.join(", "))),
        false if active && others.is_empty() => {
            Some(format!("it is labelled {} and assigned to nobody: who began it is not known", labels.active))
        }
        false => None,
    }
}
