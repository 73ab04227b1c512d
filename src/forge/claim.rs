//! A claim of an issue on the forge: written, read back and compared, so that people and other programs see who works on
//! it. It does not keep a task from being done twice, the ledger does.

use std::sync::Arc;
use std::time::Duration;

use super::{Failure, Forge, Issue, Label, State};
use crate::error::Error;
use crate::inventory::repos::Labels;

/// An issue as it was before it was claimed, to be put back.
#[derive(Clone, Debug, PartialEq)]
pub struct Before {
    number: u64,
    labels: Vec<u64>,
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
        not_to_be_had(&issue, &self.labels, &self.me).map_or(Ok(issue), |why| Err(Unclaimed::Taken(why)))
    }

    /// Claims an issue: assigned to this account alone, labelled as being worked on and not as ready any more. Gives what it
    /// was before.
    ///
    /// # Errors
    /// When somebody else has it, or was faster: then what they wrote stays. When the forge does not do it, or does
    /// something else.
    pub async fn claim(&self, number: u64) -> Result<Before, Unclaimed> {
        let Claimant { forge, slug, labels, me, .. } = self;
        let (issue, known) = (self.look(number).await?, forge.labels(slug).await?);
        let active = known.iter().find(|label| label.name == labels.active);
        let active = active.ok_or_else(|| Unclaimed::NoLabel(labels.active.clone()))?;
        let kept = issue.labels.iter().filter(|label| ![&labels.ready, &labels.active].contains(&&label.name));
        let ids: Vec<u64> = kept.chain([active]).map(|label| label.id).collect();
        let before = issue.labels.iter().map(|label| label.id).collect();
        let before = Before { number, labels: before, assignees: logins(&issue) };
        let written = async {
            forge.assign(slug, number, std::slice::from_ref(me)).await?;
            forge.set_labels(slug, number, &ids).await?;
            self.compare(&forge.issue(slug, number).await?)?;
            // Of two who write at once each may read its own; a little later both read the same.
            tokio::time::sleep(self.pause).await;
            self.compare(&forge.issue(slug, number).await?)
        };
        match written.await {
            Ok(()) => Ok(before),
            Err(why) => {
                // What was written may be there; what others wrote stays.
                if let Unclaimed::Failed(_) = why {
                    let _ = self.unclaim(&before).await;
                }
                Err(why)
            }
        }
    }

    /// Whether an issue that was read back is what was written.
    fn compare(&self, now: &Issue) -> Result<(), Unclaimed> {
        let Claimant { labels, me, .. } = self;
        let has = |name: &str| now.labels.iter().any(|label: &Label| label.name == name);
        let why = match logins(now).as_slice() {
            // A forge says yes also where it dropped the account.
            [] => format!("the forge did not assign it to {me}, who may not write to the repo"),
            [login] if login.eq_ignore_ascii_case(me) => {
                if has(&labels.active) && !has(&labels.ready) {
                    return Ok(());
                }
                "its labels were changed by somebody else at the same time".to_owned()
            }
            others => format!("it is assigned to {} now", others.join(", ")),
        };
        Err(Unclaimed::Taken(why))
    }

    /// Puts an issue back to what it was, unless somebody else has it now.
    ///
    /// # Errors
    /// When the forge does not do it: then it looks as if it were worked on, until it is found to be orphaned.
    pub async fn unclaim(&self, before: &Before) -> Result<(), Failure> {
        let Claimant { forge, slug, me, .. } = self;
        let now = forge.issue(slug, before.number).await?;
        if logins(&now).iter().any(|login| !login.eq_ignore_ascii_case(me)) {
            return Ok(());
        }
        forge.set_labels(slug, before.number, &before.labels).await?;
        forge.assign(slug, before.number, &before.assignees).await.map(drop)
    }
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
    let active = issue.labels.iter().any(|label| label.name == labels.active);
    match others.iter().any(|login| !login.eq_ignore_ascii_case(me)) {
        true => Some(format!("it is assigned to {}", others.join(", "))),
        false if active && others.is_empty() => {
            Some(format!("it is labelled {} and assigned to nobody: who began it is not known", labels.active))
        }
        false => None,
    }
}
