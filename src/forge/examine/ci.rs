//! What a CI server shows of a repo.

use secrecy::SecretString;

use super::super::{Account, Actions, Ci as _, Woodpecker};
use super::{Examiner, read, standing, told};
use crate::inventory::repos::{self, Repo};
use crate::inventory::url::Url;
use crate::policy::repo::{Ci, Lack, Project, Token, Unread};

impl Examiner {
    /// What the CI of a repo shows, by its kind; nothing where there is none.
    pub(super) async fn ci(&self, repo: &Repo, token: Option<Result<SecretString, Unread>>) -> Option<Ci> {
        match &repo.ci {
            repos::Ci::None | repos::Ci::Statuses => None,
            repos::Ci::Actions { workers } => {
                let repos::Forge::Forgejo { url } = &repo.forge;
                Some(self.actions(url, *workers, &repo.slug, token).await)
            }
            repos::Ci::Woodpecker { url, repo_id, workers, .. } => {
                Some(self.woodpecker(url, *repo_id, *workers, &repo.slug, token).await)
            }
        }
    }

    /// Actions are asked with the repo's own token.
    async fn actions(&self, url: &Url, workers: u32, slug: &str, token: Option<Result<SecretString, Unread>>) -> Ci {
        let standing = standing(&token);
        let found = |project| Ci { token: standing.clone(), project, number: None, workers: None };
        let secret = token.and_then(Result::ok);
        let client = match self.servers.host(url).and_then(|host| host.client(secret.as_ref())) {
            Ok(client) => client,
            Err(error) => return found(Err(told(&error))),
        };
        let site = self.site(url);
        let _turn = site.turns.acquire().await;
        if let Some(unread) = site.down.get() {
            return found(Err(unread.clone()));
        }
        let actions = Actions::new(client, slug, workers);
        let project = match read(&site, actions.project()).await {
            // A forge that is too old has no list of what runs.
            Ok(project) if project.active => read(&site, actions.pipelines(1)).await.map(|_| project),
            project => project,
        };
        found(project.map(|project| Project {
            full_name: project.full_name,
            active: project.active,
            allow_pr: project.allow_pr,
        }))
    }

    async fn woodpecker(
        &self,
        url: &Url,
        repo_id: u32,
        workers: u32,
        slug: &str,
        token: Option<Result<SecretString, Unread>>,
    ) -> Ci {
        let nothing = |token: Token, unread: Unread| Ci { token, project: Err(unread), number: None, workers: None };
        let host = match self.servers.host(url) {
            Ok(host) => host,
            Err(error) => return nothing(standing(&token), told(&error)),
        };
        let site = self.site(url);
        let _turn = site.turns.acquire().await;
        if let Some(unread) = site.down.get() {
            return nothing(standing(&token), unread.clone());
        }
        let mut standing = standing(&token);
        let mut secret = token.and_then(Result::ok);
        let client = |secret: &Option<SecretString>| host.client(secret.as_ref());
        let mut server = match client(&secret) {
            Ok(client) => Woodpecker::new(client, repo_id, workers),
            Err(error) => return nothing(Token::Bad(told(&error)), told(&error)),
        };
        let (account, mut project) = match standing {
            Token::Good => tokio::join!(read(&site, Box::pin(server.account())), read(&site, server.project())),
            _ => (Ok(Account { login: String::new(), is_admin: false }), read(&site, server.project()).await),
        };
        if let Err(unread) = account
            && unread.lack == Lack::Token
        {
            // What it shows to everybody is looked at all the same.
            (standing, secret) = (Token::Bad(unread), None);
            if let Ok(client) = client(&secret) {
                server = Woodpecker::new(client, repo_id, workers);
                project = read(&site, server.project()).await;
            }
        }
        let other = match &project {
            Ok(project) => !project.full_name.eq_ignore_ascii_case(slug),
            Err(unread) => unread.lack == Lack::Missing,
        };
        let number = match (other, client(&secret)) {
            (true, Ok(client)) => {
                let found = read(&site, Box::pin(Woodpecker::lookup(&client, slug))).await;
                Some(found.map(|project| project.id))
            }
            _ => None,
        };
        let workers = match (&standing, &project) {
            (Token::Good, Ok(_)) => read(&site, server.workers()).await.ok().flatten(),
            _ => None,
        };
        let project = project.map(|project| Project {
            full_name: project.full_name,
            active: project.active,
            allow_pr: project.allow_pr,
        });
        Ci { token: standing, project, number, workers }
    }
}
