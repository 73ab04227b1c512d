//! The CI that judges pulls.

use super::{Ci, Found, Lack, Level, Project, Token, Told, What};
use crate::inventory::repos;

impl Told<'_> {
    /// What a CI server says, by its kind. A repo without one has nothing to compare.
    pub(super) fn ci(&mut self, found: &Found) {
        match (&self.repo.ci, &found.ci) {
            (repos::Ci::Woodpecker { repo_id, workers, .. }, Some(ci)) => self.woodpecker(*repo_id, *workers, ci),
            (repos::Ci::Actions { .. }, Some(ci)) => self.actions(ci),
            // What sets statuses is asked for nothing.
            (repos::Ci::Woodpecker { .. } | repos::Ci::Actions { .. } | repos::Ci::Statuses | repos::Ci::None, _) => {}
        }
    }

    fn actions(&mut self, ci: &Ci) {
        match &ci.project {
            Ok(project) if project.active => {}
            Ok(_) => {
                let help = "switch them on in the repo's settings on the forge, or write `ci: none`";
                self.push(What::Ci, Level::Error, "Actions are switched off in the repo: nothing is run for it", help);
            }
            Err(unread) => self.unread(What::Ci, "", unread),
        }
    }

    fn woodpecker(&mut self, repo_id: u32, workers: u32, ci: &Ci) {
        if let Token::Bad(unread) = &ci.token {
            self.secret("ci.token", unread);
        }
        let slug = self.repo.slug.clone();
        let right = match &ci.number {
            Some(Ok(number)) => format!("write `repo_id: {number}`, which is {slug} there"),
            Some(Err(unread)) if unread.lack == Lack::Missing => format!("switch {slug} on in Woodpecker first"),
            _ => "look the number up in the settings of the repo in Woodpecker".to_owned(),
        };
        match &ci.project {
            Ok(project) if !project.full_name.eq_ignore_ascii_case(&slug) => {
                let message = format!("the repo with the number {repo_id} is {}, not {slug}", project.full_name);
                self.push(What::Ci, Level::Error, message, right);
            }
            Ok(project) => self.project(project, &ci.workers, workers),
            Err(unread) if unread.lack == Lack::Missing => {
                self.push(What::Ci, Level::Error, format!("no repo has the number {repo_id} there"), right);
            }
            Err(unread) if matches!(unread.lack, Lack::Token | Lack::Refused) && ci.token != Token::Good => {
                let message = format!("the repo with the number {repo_id} is not shown without a good token");
                let help = "name one as `token: {env: NAME}` below `ci` in repos.yml";
                self.push(What::Ci, Level::Error, message, help);
            }
            Err(unread) => self.unread(What::Ci, "", unread),
        }
    }

    fn project(&mut self, project: &Project, has: &Option<u32>, workers: u32) {
        if !project.active {
            let help = "switch it on in Woodpecker, or write `ci: none`";
            self.push(What::Ci, Level::Error, "the repo is switched off there: nothing is run for it", help);
        } else if !project.allow_pr {
            let help = "repo settings in Woodpecker: allow pull requests";
            self.push(What::Ci, Level::Error, "nothing is run for pulls there, so none ever becomes green", help);
        }
        match has {
            Some(0) => {
                let help = "start an agent of Woodpecker, or let one take work again";
                self.push(What::Ci, Level::Error, "no agent is there to run anything", help);
            }
            Some(has) if *has != workers => {
                let message = format!("it can run {has} pipelines at once, and `workers` says {workers}");
                let help = format!("write `workers: {has}`, or leave it if other repos need the rest");
                self.push(What::Ci, Level::Hint, message, help);
            }
            _ => {}
        }
    }
}
