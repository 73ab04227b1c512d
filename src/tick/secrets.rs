//! The secrets that the inventory refers to, so that they can be hidden in logs.

use std::time::Duration;

use secrecy::SecretString;

use crate::error::Result;
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
    kept: Vec<SecretRef>,
    urls: Vec<SecretUrl>,
    access: Access,
}

impl Secrets {
    /// Those of `inventory`; `commands` says whether it may run commands.
    pub fn of(inventory: &Inventory, commands: bool) -> Secrets {
        let (mut kept, mut urls): (Vec<SecretRef>, Vec<SecretUrl>) = (Vec::new(), Vec::new());
        for repo in &inventory.repos.repos {
            kept.extend([&repo.token, &repo.review_token].into_iter().flatten().cloned());
            if let Ci::Woodpecker { token: Some(token), .. } = &repo.ci {
                kept.push(token.clone());
            }
            let secret = |value: &EnvValue| match value {
                EnvValue::Kept(secret) => Some(secret.clone()),
                EnvValue::Text(_) => None,
            };
            kept.extend(repo.env.values().filter_map(secret));
        }
        match &inventory.settings.ledger {
            Ledger::Sqlite {} => {}
            Ledger::Git { token, .. } => kept.extend(token.clone()),
            Ledger::Etcd { password, .. } => kept.extend(password.clone()),
        }
        for sink in &inventory.settings.alerts.sinks {
            match sink {
                Sink::Webhook { url, secret: token } | Sink::Ntfy { url, token } => {
                    urls.push(url.clone());
                    kept.extend(token.clone());
                }
                Sink::Matrix { token, .. } => kept.push(token.clone()),
                Sink::Slack { url } => urls.push(url.clone()),
            }
        }
        urls.extend(inventory.settings.alerts.heartbeat.iter().map(|heartbeat| heartbeat.url.clone()));
        let mut once: Vec<SecretRef> = Vec::new();
        for secret in kept {
            if !once.contains(&secret) {
                once.push(secret);
            }
        }
        Secrets {
            kept: once,
            urls,
            access: Access { dir: inventory.location.dir.clone(), commands, time_limit: TIME_LIMIT },
        }
    }

    /// Reads them; what cannot be read is told, and cannot be hidden.
    pub async fn mask(&self) -> (Mask, Vec<String>) {
        let of = self.clone();
        // Commands may ask people, files may hang: other hosts must not wait for that.
        let read = tokio::task::spawn_blocking(move || {
            let kept = of.kept.iter().map(|secret| secret.resolve(&of.access));
            let urls = of.urls.iter().map(|url| url.resolve(&of.access));
            kept.chain(urls).collect::<Vec<Result<SecretString>>>()
        });
        let (mut values, mut problems) = (Vec::new(), Vec::new());
        for secret in read.await.unwrap_or_default() {
            match secret {
                Ok(value) => values.push(value),
                Err(error) => problems.push(format!("a secret cannot be hidden in logs: {}", error.with_causes())),
            }
        }
        (Mask::new(values), problems)
    }
}
