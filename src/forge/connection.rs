//! The ways from the repos of an inventory to their forges and CI servers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;

use super::host::{Host, Limits};
use super::http::Client;
use super::woodpecker::Woodpecker;
use super::{Actions, Ci, Forge, Forgejo};
use crate::error::{Error, Result};
use crate::inventory::repos::{self, Repo};
use crate::inventory::secret::{Access, SecretRef};
use crate::inventory::settings::Forges;
use crate::inventory::url::Url;

impl Limits {
    /// The bounds that the inventory sets.
    pub fn of(forges: &Forges) -> Limits {
        Limits {
            connect: forges.connect.0,
            whole: forges.call.0,
            patience: forges.look.0,
            at_once: usize::try_from(forges.at_once).unwrap_or(usize::MAX),
            rate: f64::from(forges.rate),
            burst: f64::from(forges.burst),
            ..Limits::default()
        }
    }
}

/// The servers of an inventory: each is one [`Host`], whatever the number of repos on it.
#[derive(Debug)]
pub struct Servers {
    limits: Limits,
    hosts: Mutex<BTreeMap<String, Arc<Host>>>,
}

/// A repo's way to its forge and its CI.
#[derive(Clone)]
pub struct Connection {
    /// The forge, as the account that agents work with.
    pub forge: Arc<dyn Forge>,
    /// The forge, as the account that reviews; none without a `review_token`.
    pub reviewer: Option<Arc<dyn Forge>>,
    /// The CI; none where there is none, or where only the forge knows of it.
    pub ci: Option<Arc<dyn Ci>>,
    /// The servers that it calls.
    pub hosts: Vec<Arc<Host>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl Servers {
    /// Calls with these bounds. Nothing is sent yet.
    pub fn new(limits: Limits) -> Servers {
        Servers { limits, hosts: Mutex::default() }
    }

    /// The server at `url`.
    ///
    /// # Errors
    /// Those of [`Host::new`].
    pub fn host(&self, url: &Url) -> Result<Arc<Host>> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(url.as_str()) {
            return Ok(Arc::clone(host));
        }
        let host = Host::new(url, self.limits.clone())?;
        hosts.insert(url.as_str().to_owned(), Arc::clone(&host));
        Ok(host)
    }

    /// The way to the servers of a repo. Its tokens are read, which takes up to their time limit each.
    ///
    /// # Errors
    /// Exit 3: a token cannot be read or sent; the message names it, and never holds it. Else those of [`Servers::host`].
    pub fn connect(&self, repo: &Repo, access: &Access) -> Result<Connection> {
        let repos::Forge::Forgejo { url } = &repo.forge;
        let mut hosts = vec![self.host(url)?];
        let forge = |what: &str, token: Option<&SecretRef>| -> Result<Arc<dyn Forge>> {
            Ok(Arc::new(Forgejo::new(self.client(url, what, token, access)?)))
        };
        let own = forge("token", repo.token.as_ref())?;
        let reviewer = repo.review_token.as_ref().map(|token| forge("review_token", Some(token))).transpose()?;
        let ci: Option<Arc<dyn Ci>> = match &repo.ci {
            // Whoever sets statuses has no list of what it does.
            repos::Ci::None | repos::Ci::Statuses => None,
            repos::Ci::Actions { workers } => {
                let client = self.client(url, "token", repo.token.as_ref(), access)?;
                Some(Arc::new(Actions::new(client, &repo.slug, *workers)))
            }
            repos::Ci::Woodpecker { url, repo_id, workers, token } => {
                hosts.push(self.host(url)?);
                let client = self.client(url, "ci.token", token.as_ref(), access)?;
                Some(Arc::new(Woodpecker::new(client, *repo_id, *workers)))
            }
        };
        Ok(Connection { forge: own, reviewer, ci, hosts })
    }

    fn client(&self, url: &Url, what: &str, token: Option<&SecretRef>, access: &Access) -> Result<Client> {
        let named = |error: Error| {
            let told = Error::new(error.exit(), format!("`{what}`: {}", error.with_causes()));
            match error.advice() {
                Some(advice) => told.help(advice),
                None => told,
            }
        };
        let token: Option<SecretString> = token.map(|token| token.resolve(access)).transpose().map_err(named)?;
        self.host(url)?.client(token.as_ref()).map_err(named)
    }
}

impl Host {
    /// Lets nobody call it until then: it asked for that when another process called it.
    pub fn leave_alone(&self, until: Timestamp) {
        if let Ok(pause) = Duration::try_from(until.duration_since(Timestamp::now())) {
            self.shut(pause, "it asked for that");
        }
    }
}
