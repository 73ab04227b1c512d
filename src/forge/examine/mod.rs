//! Everything that is read of a repo to compare it with the inventory, side by side. Each item fails by itself.

mod ci;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use secrecy::SecretString;
use tokio::sync::Semaphore;

use super::connection::Servers;
use super::failure::{Failure, Outage, Why};
use super::host::{Host, Limits};
use super::{Answer, Forge, Forgejo, Scope};
use crate::error::Error;
use crate::inventory::repos::{self, EnvValue, Repo};
use crate::inventory::secret::{Access as Secrets, SecretRef};
use crate::inventory::url::Url;
use crate::policy::repo::{
    Access, Branch, Difference, Found, Home, Lack, Read, Rights, Rule, Token, Unread, compare, misses,
};

/// Of how many repos the secrets are read at once.
const READERS: usize = 16;

/// A repo that was looked at.
#[derive(Clone)]
pub struct Examined {
    /// The repo, as the inventory has it.
    pub repo: Repo,
    /// What was found.
    pub found: Found,
    /// What of it is not as wanted.
    pub differences: Vec<Difference>,
    /// The forge, as the account that agents work with.
    pub forge: Option<Arc<dyn Forge>>,
}

/// The servers of an inventory, while its repos are looked at.
pub struct Examiner {
    servers: Arc<Servers>,
    secrets: Secrets,
    at_once: usize,
    /// A command that reads a secret is a process: not one for each repo of a large inventory at once.
    readers: Semaphore,
    sites: Mutex<BTreeMap<String, Arc<Site>>>,
}

/// One server. Its repos take turns, so that none waits longer than a call may for its own; and once it gives no answer to
/// one, the others need not wait for that again.
struct Site {
    turns: Semaphore,
    down: OnceLock<Unread>,
}

/// The secrets of a repo, or why each cannot be read; none where the inventory names none.
struct Kept {
    token: Option<Result<SecretString, Unread>>,
    review: Option<Result<SecretString, Unread>>,
    ci: Option<Result<SecretString, Unread>>,
    env: Vec<(String, Unread)>,
}

impl Examiner {
    /// One that calls with these bounds and reads secrets so.
    pub fn new(limits: Limits, secrets: Secrets) -> Examiner {
        let at_once = limits.at_once.max(1);
        let (servers, readers) = (Arc::new(Servers::new(limits)), Semaphore::new(READERS));
        Examiner { servers, secrets, at_once, readers, sites: Mutex::default() }
    }

    /// One that asks the same servers anew: who wants to be left alone is, and who gave no answer may give one now.
    pub fn again(&self) -> Examiner {
        let (servers, secrets) = (Arc::clone(&self.servers), self.secrets.clone());
        let (at_once, readers) = (self.at_once, Semaphore::new(READERS));
        Examiner { servers, secrets, at_once, readers, sites: Mutex::default() }
    }

    /// Looks at all these repos side by side, and tells of each as soon as it is done; they come back in their own order.
    pub async fn all(self: &Arc<Self>, repos: &[Repo], tell: &dyn Fn(&Examined)) -> Vec<Examined> {
        let mut tasks = tokio::task::JoinSet::new();
        for (index, repo) in repos.iter().cloned().enumerate() {
            let own = Arc::clone(self);
            tasks.spawn(async move { (index, own.one(repo).await) });
        }
        let mut all = Vec::with_capacity(repos.len());
        while let Some(done) = tasks.join_next().await {
            // What breaks one look is a bug of ours; it must not hide the other repos.
            let Ok((index, examined)) = done else { continue };
            tell(&examined);
            all.push((index, examined));
        }
        all.sort_by_key(|(index, _)| *index);
        all.into_iter().map(|(_, examined)| examined).collect()
    }

    /// Looks at one repo.
    pub async fn one(&self, repo: Repo) -> Examined {
        let kept = self.kept(&repo).await;
        let env = kept.env;
        let ci = if let repos::Ci::Actions { .. } = &repo.ci { kept.token.clone() } else { kept.ci };
        let ((mut found, forge), ci) = tokio::join!(self.forge(&repo, kept.token, kept.review), self.ci(&repo, ci));
        found.ci = ci;
        found.secrets = env;
        let differences = compare(&repo, &found);
        Examined { repo, found, differences, forge }
    }

    fn site(&self, url: &Url) -> Arc<Site> {
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Site { turns: Semaphore::new(self.at_once), down: OnceLock::new() });
        Arc::clone(sites.entry(url.as_str().to_owned()).or_insert_with(new))
    }

    /// Reads the secrets of a repo, off the thread that all calls share: a command may take its time.
    async fn kept(&self, repo: &Repo) -> Kept {
        let (repo, secrets) = (repo.clone(), self.secrets.clone());
        let read = move || {
            let one = |secret: &SecretRef| secret.resolve(&secrets).map_err(|error| unreadable(&error));
            let ci = match &repo.ci {
                repos::Ci::Woodpecker { token, .. } => token.as_ref(),
                repos::Ci::None | repos::Ci::Actions { .. } | repos::Ci::Statuses => None,
            };
            let env = repo.env.iter().filter_map(|(name, value)| match value {
                EnvValue::Kept(secret) => Some((format!("env.{}", name.0), one(secret).err()?)),
                EnvValue::Text(_) => None,
            });
            Kept {
                token: repo.token.as_ref().map(one),
                review: repo.review_token.as_ref().map(one),
                ci: ci.map(one),
                env: env.collect(),
            }
        };
        let gone = |error: tokio::task::JoinError| {
            let message = format!("the secrets cannot be read: {error}");
            Unread { lack: Lack::Other, message, help: "run it again with -vv".to_owned() }
        };
        let _turn = self.readers.acquire().await;
        tokio::task::spawn_blocking(read).await.map_err(gone).unwrap_or_else(|unread| Kept {
            token: Some(Err(unread)),
            review: None,
            ci: None,
            env: Vec::new(),
        })
    }

    async fn forge(
        &self,
        repo: &Repo,
        token: Option<Result<SecretString, Unread>>,
        review: Option<Result<SecretString, Unread>>,
    ) -> (Found, Option<Arc<dyn Forge>>) {
        let repos::Forge::Forgejo { url } = &repo.forge;
        let nothing = |own: Token, reviewer: Token, unread: Unread| Found {
            own: Access::of(own),
            reviewer: Access::of(reviewer),
            home: Err(unread),
            labels: None,
            labels_hidden: false,
            branch_name: repo.branch.clone(),
            branch: None,
            rule: None,
            permissions: BTreeMap::new(),
            ci: None,
            secrets: Vec::new(),
        };
        let host = match self.servers.host(url) {
            Ok(host) => host,
            Err(error) => return (nothing(standing(&token), standing(&review), told(&error)), None),
        };
        let site = self.site(url);
        let _turn = site.turns.acquire().await;
        if let Some(unread) = site.down.get() {
            return (nothing(standing(&token), standing(&review), unread.clone()), None);
        }
        let (own, anonymous) = match account(&host, token) {
            Ok(way) => way,
            Err(error) => return (nothing(Token::None, standing(&review), told(&error)), None),
        };
        let (look, reviewer) =
            tokio::join!(look(own, anonymous, repo, &site), self.reviewer(&host, review, repo, &site));
        let (mut found, forge) = look;
        found.reviewer = reviewer;
        (found, Some(forge))
    }

    /// What the account that reviews may do.
    async fn reviewer(
        &self,
        host: &Arc<Host>,
        token: Option<Result<SecretString, Unread>>,
        repo: &Repo,
        site: &Site,
    ) -> Access {
        let (way, _) = match account(host, token) {
            Ok(way) => way,
            Err(error) => return Access::of(Token::Bad(told(&error))),
        };
        let mut access = Access::of(way.token);
        if access.token != Token::Good {
            return access;
        }
        let (forge, slug) = (way.forge, &repo.slug);
        match read(site, forge.account()).await {
            // Neither is there an answer to the rest.
            Err(unread) if unread.lack == Lack::Silent => {
                access.account = Some(Err(unread));
                return access;
            }
            Err(unread) if unread.lack == Lack::Token => return Access::of(Token::Bad(unread)),
            account => access.account = Some(account.map(|account| account.login)),
        }
        let seen = read(site, forge.repo(slug)).await;
        let branch = repo.branch.clone().or_else(|| seen.as_ref().ok().map(|seen| seen.default_branch.clone()));
        let there = seen.is_ok();
        access.rights = Some(seen.map(|seen| Rights { admin: seen.permissions.admin, push: seen.permissions.push }));
        if let Some(branch) = branch.filter(|_| there) {
            let (branch, scope) = tokio::join!(
                read(site, forge.branch(slug, &branch)),
                read(site, forge.may_write(slug, Scope::Repository))
            );
            access.may_merge = branch.ok().map(|branch| branch.user_can_merge);
            access.repository = Some(scope);
        }
        access
    }
}

/// A way to a forge with a token, or without one where there is none to be had.
struct Way {
    forge: Arc<dyn Forge>,
    token: Token,
}

/// The way with this token and the one without any.
fn account(host: &Arc<Host>, token: Option<Result<SecretString, Unread>>) -> Result<(Way, Arc<dyn Forge>), Error> {
    let anonymous: Arc<dyn Forge> = Arc::new(Forgejo::new(host.client(None)?));
    let bare = |token: Token| Way { forge: Arc::clone(&anonymous), token };
    let way = match token {
        None => bare(Token::None),
        Some(Err(unread)) => bare(Token::Bad(unread)),
        Some(Ok(secret)) => match host.client(Some(&secret)) {
            Ok(client) => Way { forge: Arc::new(Forgejo::new(client)), token: Token::Good },
            Err(error) => bare(Token::Bad(told(&error))),
        },
    };
    Ok((way, anonymous))
}

/// What a forge shows of a repo.
async fn look(mut way: Way, anonymous: Arc<dyn Forge>, repo: &Repo, site: &Site) -> (Found, Arc<dyn Forge>) {
    let slug = &repo.slug;
    let (account, mut home) = match way.token {
        Token::Good => {
            let (account, home) = tokio::join!(read(site, way.forge.account()), read(site, way.forge.repo(slug)));
            (Some(account.map(|account| account.login)), home)
        }
        _ => (None, read(site, way.forge.repo(slug)).await),
    };
    let mut own = Access::of(way.token.clone());
    match account {
        Some(Err(unread)) if unread.lack == Lack::Token => {
            way = Way { forge: anonymous, token: Token::Bad(unread.clone()) };
            own = Access::of(Token::Bad(unread));
            home = read(site, way.forge.repo(slug)).await;
        }
        account => own.account = account,
    }
    let branch = repo.branch.clone().or_else(|| home.as_ref().ok().map(|home| home.default_branch.clone()));
    let mut found = Found {
        own,
        reviewer: Access::of(Token::None),
        home: home.map(|home| Home {
            rights: Rights { admin: home.permissions.admin, push: home.permissions.push },
            merges: home.allow_merge_commits
                || home.allow_rebase
                || home.allow_rebase_explicit
                || home.allow_squash_merge
                || home.default_merge_style == "fast-forward-only",
            full_name: home.full_name,
            default_branch: home.default_branch,
            archived: home.archived,
        }),
        labels: None,
        labels_hidden: false,
        branch_name: branch,
        branch: None,
        rule: None,
        permissions: BTreeMap::new(),
        ci: None,
        secrets: Vec::new(),
    };
    // Where the repo is not there or its forge silent, nothing more is learnt; a token that may not look at repos may still
    // look at labels.
    if found.home.as_ref().is_err_and(|unread| unread.lack != Lack::Scope) {
        return (found, way.forge);
    }
    let forge = &way.forge;
    let scope = async |scope| match way.token {
        Token::Good => Some(read(site, forge.may_write(slug, scope)).await),
        _ => None,
    };
    let name = found.branch_name.clone().filter(|_| found.home.is_ok());
    let branch = async {
        match &name {
            Some(name) => Some(read(site, forge.branch(slug, name)).await),
            None => None,
        }
    };
    let (labels, branch, issues, repository) =
        tokio::join!(read(site, forge.labels(slug)), branch, scope(Scope::Issue), scope(Scope::Repository));
    let labels = labels.map(|labels| labels.into_iter().map(|label| label.name).collect::<Vec<_>>());
    if labels.as_ref().is_ok_and(|known| misses(&repo.labels, known)) && way.token == Token::Good {
        found.labels_hidden = read(site, forge.hides_labels(slug)).await.unwrap_or_default();
    }
    found.labels = Some(labels);
    (found.own.issues, found.own.repository) = (issues, repository);
    found.own.rights = found.home.as_ref().ok().map(|home| Ok(home.rights));
    let rule =
        branch.as_ref().and_then(|branch| branch.as_ref().ok()).filter(|branch| branch.protected).map(|branch| {
            // Who administers the repo is told the name; where it is not, that of the branch is the one to try.
            let of = &branch.effective_branch_protection_name;
            if of.is_empty() { branch.name.clone() } else { of.clone() }
        });
    if way.token == Token::Good {
        found.own.may_merge =
            branch.as_ref().and_then(|branch| branch.as_ref().ok()).map(|branch| branch.user_can_merge);
    }
    found.branch = branch.map(|branch| match branch {
        Ok(branch) => Ok(Some(Branch {
            protected: branch.protected,
            required_approvals: branch.required_approvals,
            status_checks: branch.enable_status_check.then_some(branch.status_check_contexts),
        })),
        Err(unread) if unread.lack == Lack::Missing => Ok(None),
        Err(unread) => Err(unread),
    });
    if let (Some(wanted), true) = (&repo.protection, found.home.as_ref().is_ok_and(|home| home.rights.admin)) {
        if let Some(name) = rule {
            let rule = read(site, forge.protection(slug, &name)).await;
            found.rule = Some(rule.map(|rule| Rule {
                name: if rule.rule_name.is_empty() { name } else { rule.rule_name },
                required_approvals: rule.required_approvals,
                status_checks: rule.enable_status_check.then_some(rule.status_check_contexts),
                merge_whitelist: rule.enable_merge_whitelist.then_some(rule.merge_whitelist_usernames),
            }));
        }
        for login in wanted.merge_whitelist.iter().flatten() {
            found.permissions.insert(login.clone(), read(site, forge.permission(slug, login)).await);
        }
    }
    (found, way.forge)
}

/// An answer, or why there is none; a server that is not there is not waited for once more.
async fn read<T>(site: &Site, answer: Answer<'_, T>) -> Read<T> {
    answer.await.map_err(|failure| {
        let unread = unread(&failure);
        if matches!(&failure.why, Why::Down { why } if !matches!(why, Outage::Renamed(_) | Outage::Status(..) | Outage::Cut(_))) {
            let _ = site.down.set(unread.clone());
        }
        unread
    })
}

/// A call that failed, for people.
pub(super) fn unread(failure: &Failure) -> Unread {
    let lack = match &failure.why {
        Why::NotFound { .. } => Lack::Missing,
        Why::Refused { status: 401, .. } => Lack::Token,
        Why::Refused { said, .. } if said.contains("required scope") => Lack::Scope,
        Why::Refused { .. } => Lack::Refused,
        Why::Down { why: Outage::Renamed(_) } => Lack::Other,
        _ if failure.unknown() => Lack::Silent,
        _ => Lack::Other,
    };
    let message = match &failure.why {
        Why::Down { why: Outage::Renamed(to) } => format!("it was renamed or given away: it is {to} now"),
        _ => failure.to_string(),
    };
    Unread { lack, message, help: failure.by_hand() }
}

fn unreadable(error: &Error) -> Unread {
    let unread = told(error);
    let help = error.advice().map_or_else(|| "check where repos.yml says that it is kept".to_owned(), |_| unread.help);
    Unread { help, ..unread }
}

fn told(error: &Error) -> Unread {
    let help = error.advice().unwrap_or("run it again with -vv").to_owned();
    Unread { lack: Lack::Other, message: error.with_causes(), help }
}

fn standing(token: &Option<Result<SecretString, Unread>>) -> Token {
    match token {
        None => Token::None,
        Some(Ok(_)) => Token::Good,
        Some(Err(unread)) => Token::Bad(unread.clone()),
    }
}
