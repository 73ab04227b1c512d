//! The secrets that the inventory refers to, so that they can be hidden in logs.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::inventory::Inventory;
use crate::inventory::repos::{Ci, EnvValue};
use crate::inventory::secret::{Access, SecretRef};
use crate::inventory::settings::{Ledger, Sink};
use crate::inventory::url::SecretUrl;
use crate::remote::logs::Mask;

/// How long a command that gives a secret may take here: there may be many, and a tick waits for them.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Where the secrets of an inventory are kept. Nothing is read before a [`Mask`] is needed.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Each with the repos that it is for; none for what is the fleet's, and in no run's environment.
    kept: Vec<(SecretRef, BTreeSet<String>)>,
    urls: Vec<SecretUrl>,
    access: Access,
}

/// A secret that could not be read.
#[derive(Clone, Debug)]
pub struct Unread {
    /// The repos that it is for, with commas; none for one that is the fleet's.
    pub repos: Option<String>,
    /// Why, and where it should be.
    pub why: String,
}

/// What becomes of logs.
impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.repos {
            Some(repos) => {
                write!(f, "no more logs of repo {repos} are taken: a secret in them could not be hidden: {}", self.why)
            }
            None => write!(f, "a secret cannot be hidden in logs: {}", self.why),
        }
    }
}

impl Secrets {
    /// Those of `inventory`; `commands` says whether it may run commands.
    pub fn of(inventory: &Inventory, commands: bool) -> Secrets {
        let (mut kept, mut urls): (Vec<(SecretRef, BTreeSet<String>)>, Vec<SecretUrl>) = (Vec::new(), Vec::new());
        let mut keep = |secret: &SecretRef, repo: Option<&str>| {
            let repo = repo.map(str::to_owned);
            match kept.iter_mut().find(|(other, _)| other == secret) {
                Some((_, repos)) => repos.extend(repo),
                None => kept.push((secret.clone(), repo.into_iter().collect())),
            }
        };
        for repo in &inventory.repos.repos {
            let name = Some(repo.name.as_str());
            [&repo.token, &repo.review_token].into_iter().flatten().for_each(|secret| keep(secret, name));
            if let Ci::Woodpecker { token: Some(token), .. } = &repo.ci {
                keep(token, name);
            }
            for value in repo.env.values() {
                if let EnvValue::Kept(secret) = value {
                    keep(secret, name);
                }
            }
        }
        match &inventory.settings.ledger {
            Ledger::Sqlite {} => {}
            Ledger::Git { token, .. } => token.iter().for_each(|token| keep(token, None)),
            Ledger::Etcd { password, .. } => password.iter().for_each(|password| keep(password, None)),
        }
        for sink in &inventory.settings.alerts.sinks {
            match sink {
                Sink::Webhook { url, secret: token } | Sink::Ntfy { url, token } => {
                    urls.push(url.clone());
                    token.iter().for_each(|token| keep(token, None));
                }
                Sink::Matrix { token, .. } => keep(token, None),
                Sink::Slack { url } => urls.push(url.clone()),
            }
        }
        urls.extend(inventory.settings.alerts.heartbeat.iter().map(|heartbeat| heartbeat.url.clone()));
        Secrets { kept, urls, access: Access { dir: inventory.location.dir.clone(), commands, time_limit: TIME_LIMIT } }
    }

    /// Reads them; what cannot be read is told, and cannot be hidden. Commands may ask people, files may hang: other hosts
    /// do not wait for that.
    pub async fn mask(&self) -> (Mask, Vec<Unread>) {
        let of = self.clone();
        let read = tokio::task::spawn_blocking(move || of.read());
        read.await.unwrap_or_else(|error| self.nothing(&error.to_string()))
    }

    /// The same for who has nothing else to do meanwhile.
    pub fn read(&self) -> (Mask, Vec<Unread>) {
        let (mut values, mut problems, mut unread) = (Vec::new(), Vec::new(), BTreeSet::new());
        let kept = self.kept.iter().map(|(secret, repos)| (secret.resolve(&self.access), repos));
        let fleet = BTreeSet::new();
        for (secret, repos) in kept.chain(self.urls.iter().map(|url| (url.resolve(&self.access), &fleet))) {
            match secret {
                Ok(value) => values.push(value),
                Err(error) => {
                    let names: Vec<&str> = repos.iter().map(String::as_str).collect();
                    unread.extend(repos.iter().cloned());
                    let repos = (!names.is_empty()).then(|| names.join(", "));
                    problems.push(Unread { repos, why: error.with_causes() });
                }
            }
        }
        (Mask::new(values).without(unread), problems)
    }

    /// None of them is known.
    fn nothing(&self, why: &str) -> (Mask, Vec<Unread>) {
        let repos: BTreeSet<String> = self.kept.iter().flat_map(|(_, repos)| repos.clone()).collect();
        let names = repos.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let problem = Unread { repos: (!names.is_empty()).then_some(names), why: why.to_owned() };
        (Mask::default().without(repos), vec![problem])
    }
}
