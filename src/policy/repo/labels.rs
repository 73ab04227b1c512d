//! The labels that say what state an issue is in.

use super::{Difference, Fix, Found, Lack, Level, Told, What};
use crate::inventory::repos::Labels;

/// The labels of an inventory, each with its key.
fn all(labels: &Labels) -> [(&'static str, &String); 4] {
    [("ready", &labels.ready), ("active", &labels.active), ("blocked", &labels.blocked), ("unclear", &labels.unclear)]
}

/// Whether any of the labels is not among `known`.
pub fn misses(wanted: &Labels, known: &[String]) -> bool {
    all(wanted).iter().any(|(_, name)| !known.contains(name))
}

impl Told<'_> {
    /// Labels of the inventory that are not there, or that are there twice or in another case.
    pub(super) fn labels(&mut self, found: &Found) {
        let known = match &found.labels {
            Some(Ok(known)) => known,
            // The same scope to write was told, and is what is needed.
            Some(Err(unread)) if unread.lack == Lack::Scope && found.own.issues == Some(Ok(false)) => return,
            Some(Err(unread)) => return self.unread(What::Labels, "", unread),
            None => return,
        };
        let scope = found.own.issues.as_ref().and_then(|has| has.as_ref().ok()).copied();
        let barred = self.barred(found, scope);
        for (key, name) in all(&self.repo.labels) {
            let near = known.iter().find(|known| known.to_lowercase() == name.to_lowercase());
            match (known.iter().filter(|known| *known == name).count(), near) {
                (1, _) => {}
                (0, Some(near)) => {
                    let message = format!("there is `{near}`, but not `{name}`: upper and lower case count");
                    let help = format!("rename it on the forge, or write `labels: {{{key}: {near}}}` in repos.yml");
                    self.push(What::Labels, Level::Error, message, help);
                }
                (0, None) => self.all.push(Difference {
                    what: What::Labels,
                    subject: "labels".to_owned(),
                    level: Level::Error,
                    message: format!("`{name}` is missing"),
                    help: barred.clone().unwrap_or_else(|| format!("{} makes it", self.sync())),
                    found: None,
                    wanted: Some(name.clone()),
                    fix: barred.is_none().then_some(Fix::Label(name.clone())),
                }),
                (count, _) => {
                    let message = format!("`{name}` is there {count} times: an issue may have one and not the other");
                    let help = "keep one of them: look at the labels of the repo and of its organization";
                    self.push(What::Labels, Level::Hint, message, help);
                }
            }
        }
        if found.labels_hidden && misses(&self.repo.labels, known) {
            let message = "an organization's own are not seen, so one that is missing may be there";
            let help = "if the owner of the repo is an organization: make a token with the scope read:organization too";
            self.push(What::Labels, Level::Hint, message, help);
        }
    }
}
