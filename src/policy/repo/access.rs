//! Tokens, the accounts behind them, and the repo itself.

use super::{Access, Found, Lack, Level, Read, Token, Told, Unread, What};

/// The scopes that `token` needs.
const SCOPES: &str = "read:user, write:issue and write:repository";

impl Told<'_> {
    /// Secrets that cannot be read or that the forge does not know.
    pub(super) fn secrets(&mut self, found: &Found) {
        match &found.own.token {
            Token::Bad(unread) => self.secret("token", unread),
            Token::None => {
                let help = "name one as `token: {env: NAME}` in repos.yml: agents and `factory repo sync` need it";
                self.push(What::Token, Level::Hint, "none is named, so only what everybody may see is looked at", help);
            }
            Token::Good => {}
        }
        if let Token::Bad(unread) = &found.reviewer.token {
            self.secret("review_token", unread);
        }
        for (key, unread) in &found.secrets {
            self.secret(key, unread);
        }
    }

    /// A secret that cannot be used, by its key in the inventory.
    pub(super) fn secret(&mut self, key: &str, unread: &Unread) {
        self.add(What::Secret, key, Level::Error, unread.message.clone(), unread.help.clone());
    }

    /// Whether the repo could be looked at, also without itself: where the token's scope is too small for it.
    pub(super) fn reached(&mut self, found: &Found) -> bool {
        let Err(unread) = &found.home else { return true };
        let slug = &self.repo.slug;
        match unread.lack {
            Lack::Missing => {
                let who = match (&found.own.token, found.own.login()) {
                    (Token::Good, Some(login)) => format!("{login} may not read it"),
                    (Token::Good, None) => "the token's account may not read it".to_owned(),
                    _ => "it is private, and no good token is there".to_owned(),
                };
                let message = format!("{slug} is not there, or {who} ({})", unread.message);
                let help = "check `slug` and the address of the forge in repos.yml, and who may read the repo";
                self.push(What::Repo, Level::Error, message, help);
            }
            // The same scope to write is told below, and is what is needed.
            Lack::Scope if found.own.repository == Some(Ok(false)) => {}
            Lack::Token | Lack::Refused if found.own.token != Token::Good => {
                let help = "give it a good `token` in repos.yml";
                self.push(
                    What::Repo,
                    Level::Error,
                    format!("{slug} is not shown without one: {}", unread.message),
                    help,
                );
            }
            _ => self.unread(What::Repo, "", unread),
        }
        found.labels.is_some()
    }

    /// The account that agents work with.
    pub(super) fn account(&mut self, found: &Found) {
        let own = &found.own;
        if own.token != Token::Good {
            return;
        }
        self.owner(What::Token, own);
        if let (Ok(home), name) = (&found.home, own.login().unwrap_or("its account"))
            && !home.rights.push
        {
            let message = format!("{name} may only read {}: it cannot push, label or assign", home.full_name);
            let help = "give it write access: repo settings on the forge, Collaborators";
            self.push(What::Token, Level::Error, message, help);
        }
        self.scope(What::Token, "write:issue", own.issues.as_ref());
        self.scope(What::Token, "write:repository", own.repository.as_ref());
    }

    /// The account that reviews.
    pub(super) fn reviewer(&mut self, found: &Found) {
        let reviewer = &found.reviewer;
        if reviewer.token != Token::Good {
            return;
        }
        self.owner(What::Review, reviewer);
        let name = reviewer.login().unwrap_or("its account");
        if let (Some(own), Some(other)) = (found.own.login(), reviewer.login())
            && own.eq_ignore_ascii_case(other)
        {
            let message = format!("it belongs to {other}, as `token` does: nobody can approve their own pulls");
            let help = "make a second account on the forge, and name a token of that one";
            return self.push(What::Review, Level::Error, message, help);
        }
        match &reviewer.rights {
            Some(Ok(rights)) if !rights.push => {
                let message =
                    format!("{name} may only read {}: its approvals do not count for a protection", self.repo.slug);
                let help = "give it write access: repo settings on the forge, Collaborators";
                self.push(What::Review, Level::Hint, message, help);
            }
            Some(Err(unread)) if unread.lack == Lack::Missing => {
                let message = format!("{name} cannot see {}", self.repo.slug);
                let help = "give it write access: repo settings on the forge, Collaborators";
                self.push(What::Review, Level::Error, message, help);
            }
            Some(Err(unread)) => self.unread(What::Review, "", unread),
            _ => {}
        }
        self.scope(What::Review, "write:repository", reviewer.repository.as_ref());
    }

    /// Whose a token is.
    fn owner(&mut self, what: What, access: &Access) {
        match &access.account {
            Some(Err(unread)) if unread.lack == Lack::Scope => {
                let message = format!("it does not tell whose it is: {}", unread.message);
                self.push(what, Level::Error, message, unread.help.clone());
            }
            Some(Err(unread)) => self.unread(what, "whose it is", unread),
            _ => {}
        }
    }

    fn scope(&mut self, what: What, scope: &str, has: Option<&Read<bool>>) {
        match has {
            Some(Ok(false)) => {
                let needs = if what == What::Token { SCOPES } else { "read:user and write:repository" };
                let help = format!("make a token with the scopes {needs}, and put it where repos.yml says");
                self.push(what, Level::Error, format!("it lacks the scope {scope}"), help);
            }
            Some(Err(unread)) => {
                let level = if unread.lack == Lack::Silent { Level::Unknown } else { Level::Hint };
                let message = format!("whether it has the scope {scope} is not known: {}", unread.message);
                self.push(what, level, message, unread.help.clone());
            }
            _ => {}
        }
    }

    /// The repo itself and its branch.
    pub(super) fn home(&mut self, found: &Found) {
        let Ok(home) = &found.home else { return };
        let slug = &self.repo.slug;
        if !home.full_name.eq_ignore_ascii_case(slug) {
            let help = format!("write `slug: {}` in repos.yml", home.full_name);
            self.push(What::Repo, Level::Error, format!("it has moved: it is {} there now", home.full_name), help);
        }
        if home.archived {
            let help = "unarchive it on the forge, or take it out of repos.yml";
            self.push(What::Repo, Level::Error, "it is archived: nothing in it can be changed", help);
        }
        if !home.merges {
            let message = "no way of merging is allowed, or pulls are switched off";
            let help = "repo settings on the forge: allow pulls and one way of merging them";
            self.push(What::Repo, Level::Error, message, help);
        }
        let branch = found.branch_name.as_deref().unwrap_or_default();
        match &found.branch {
            Some(Ok(None)) => {
                let help = match home.default_branch.as_str() {
                    default if default == branch => "push a first commit to it".to_owned(),
                    default => format!("push it, or write `branch: {default}`, the forge's default, in repos.yml"),
                };
                self.push(What::Repo, Level::Error, format!("it has no branch `{branch}`"), help);
            }
            Some(Err(unread)) => self.unread(What::Repo, &format!("branch `{branch}`"), unread),
            _ if !branch.is_empty() && branch != home.default_branch => {
                let message =
                    format!("pulls go to `{branch}`, but the forge's default branch is `{}`", home.default_branch);
                let help = "nothing, if that is meant; else leave `branch` out of repos.yml";
                self.push(What::Repo, Level::Hint, message, help);
            }
            _ => {}
        }
    }
}
