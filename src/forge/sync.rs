//! What `repo sync` writes, step by step; the caller reads everything back and compares.

use super::failure::Failure;
use super::{Forge, ProtectionChange};
use crate::policy::repo::{Change, Plan};

/// One step that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it was to do, such as ``make the label `backlog` ``.
    pub what: String,
    /// Why it did not, or why it is not known whether it did; none where it did.
    pub failure: Option<Failure>,
}

/// Carries out `plan` in `repo`. A step that fails does not keep the others from being done.
pub async fn apply(forge: &dyn Forge, repo: &str, plan: &Plan) -> Vec<Step> {
    let mut steps = Vec::new();
    for name in &plan.labels {
        let failure = label(forge, repo, name).await.err();
        steps.push(Step { what: format!("make the label `{name}`"), failure });
    }
    if let Some(change) = &plan.protection {
        let verb = if change.new { "make" } else { "change" };
        let what = format!("{verb} the protection of `{}`", change.name);
        steps.push(Step { what, failure: protect(forge, repo, change).await.err() });
    }
    steps
}

/// Makes a label unless it has been made meanwhile: a forge makes a second one of the same name without a word.
async fn label(forge: &dyn Forge, repo: &str, name: &str) -> Result<(), Failure> {
    if forge.labels(repo).await?.iter().any(|label| label.name == name) {
        return Ok(());
    }
    forge.new_label(repo, name).await.map(drop)
}

async fn protect(forge: &dyn Forge, repo: &str, change: &Change) -> Result<(), Failure> {
    let wanted = ProtectionChange {
        required_approvals: change.required_approvals,
        enable_status_check: change.status_checks.as_ref().map(|checks| !checks.is_empty()),
        status_check_contexts: change.status_checks.clone(),
        enable_merge_whitelist: change.merge_whitelist.as_ref().map(|accounts| !accounts.is_empty()),
        merge_whitelist_usernames: change.merge_whitelist.clone(),
    };
    match change.new {
        true => forge.new_protection(repo, &change.name, &wanted).await.map(drop),
        false => forge.protect(repo, &change.name, &wanted).await.map(drop),
    }
}
