//! A claim and the inventory -> what its run is to do.

use std::collections::BTreeMap;
use std::path::PathBuf;

use minijinja::{Environment, UndefinedBehavior, Value, context};
use secrecy::SecretString;

use super::practices::practices;
use crate::error::{Error, Result};
use crate::inventory::Inventory;
use crate::inventory::agents::{Agent, Start};
use crate::inventory::repos::{EnvValue, PlainText, Repo};
use crate::inventory::secret::Access;
use crate::policy::claim::Claim;
use crate::policy::hold::{Means, Model};
use crate::policy::practices::text;
use crate::policy::roster::Roster;
use crate::remote::guard::{Job, Secrets};

/// How much work a template may make: a word of a command is a few steps.
const FUEL: u64 = 10_000;

/// The agents and repos of an inventory, to be launched.
#[derive(Clone)]
pub struct Jobs {
    fleet: String,
    /// The inventory's directory.
    dir: PathBuf,
    roster: Roster,
    repos: Vec<Repo>,
    model: Model,
    access: Access,
}

impl Jobs {
    /// Those of `inventory`; secrets are read by `access`, and practices, each time that a job is made.
    pub fn of(inventory: &Inventory, access: Access) -> Jobs {
        Jobs {
            fleet: inventory.settings.fleet.clone(),
            dir: inventory.location.dir.clone(),
            roster: Roster::of(&inventory.settings, &inventory.repos),
            repos: inventory.repos.repos.clone(),
            model: Model::of(&inventory.settings, &inventory.repos),
            access,
        }
    }

    /// The agent as `repo` has it, or as it is for all of them (`*`).
    pub fn agent(&self, agent: &str, repo: &str) -> Option<&Agent> {
        self.roster.agent(agent, repo)
    }

    /// The agents, as decisions look at them.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// What a claimed run is to do.
    ///
    /// # Errors
    /// Exit 3: the inventory does not have its agent or repo any more, does not let us start it, has no command for it,
    /// or a secret of its environment or its practices cannot be read. Exit 2: a word of its command cannot be made.
    pub fn make(&self, task: &str, claim: &Claim) -> Result<Job> {
        let Claim { token, repo, agent, .. } = claim;
        let missing = || {
            let of = if repo == "*" { String::new() } else { format!(" of repo `{repo}`") };
            Error::inventory(format!("the inventory has no agent `{agent}`{of}"))
                .help("`factory inventory check` tells")
        };
        let agent = self.agent(agent, repo).ok_or_else(missing)?;
        if agent.start == Start::Cron {
            return Err(Error::inventory(format!("cron starts agent `{}`: it is never launched", agent.name)).help(
                "write `start: factory` and a `command`, then `factory takeover HOST` disables its crontab lines",
            ));
        }
        let command = agent.command.as_ref().ok_or_else(|| {
            Error::inventory(format!("agent `{}` has no `command`: there is nothing to launch", agent.name))
                .help("add it to factory.yml, like `command: [bash, dev/dev-agent.sh, \"{{ issue.number }}\"]`")
        })?;
        let repo = self.repos.iter().find(|one| one.name == *repo);
        let mut env = BTreeMap::new();
        let mut secrets = Secrets::default();
        for (key, value) in repo.iter().flat_map(|repo| &repo.env) {
            match value {
                EnvValue::Text(PlainText(text)) => drop(env.insert(key.0.clone(), text.clone())),
                EnvValue::Kept(secret) => drop(secrets.0.insert(key.0.clone(), self.secret(&key.0, secret)?)),
            }
        }
        let practices = text(&practices(&self.dir, repo)?, false);
        Ok(Job {
            token: token.clone(),
            task: task.to_owned(),
            repo: claim.repo.clone(),
            agent: agent.name.clone(),
            attempt: claim.attempt,
            argv: self.words(command, task, claim, agent, repo)?,
            dir: agent.dir.clone(),
            env,
            secrets,
            time_limit: agent.time_limit.0,
            memory: agent.needs.memory.0,
            means: self.means(&agent.name, &claim.repo),
            practices: (!practices.is_empty()).then_some(practices),
        })
    }

    fn secret(&self, key: &str, secret: &crate::inventory::secret::SecretRef) -> Result<SecretString> {
        secret.resolve(&self.access).map_err(|error| {
            let told = Error::inventory(format!("the variable {key} of its runs: {}", error.with_causes()));
            match error.advice() {
                Some(advice) => told.help(advice),
                None => told,
            }
        })
    }

    /// What holds the agent besides the halt files in the home.
    fn means(&self, agent: &str, repo: &str) -> Vec<(bool, String)> {
        let here = self.model.units().iter().filter(|unit| unit.agent == agent);
        let own = here.clone().any(|unit| unit.repo == repo);
        // One that a repo has of its own stands for the one that all have.
        let here = here.filter(|unit| if own { unit.repo == repo } else { unit.repo == "*" });
        here.filter_map(|unit| match &unit.means {
            Means::File(path) => Some((false, path.clone())),
            Means::Active(path) => Some((true, path.clone())),
            Means::Cron(_) => None,
        })
        .collect()
    }

    /// The command's words. With arguments of its own, a launch needs none of the words that only an issue or a pull
    /// could fill: the arguments stand for them.
    fn words(
        &self,
        command: &[String],
        task: &str,
        claim: &Claim,
        agent: &Agent,
        repo: Option<&Repo>,
    ) -> Result<Vec<String>> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        let class = agent.class.to_string();
        let mut known: BTreeMap<&str, Value> = BTreeMap::from([
            ("agent", context! { name => &agent.name, class }),
            ("fleet", Value::from(self.fleet.as_str())),
            ("host", context! { name => &claim.host }),
            ("run", context! { token => &claim.token, attempt => claim.attempt }),
            ("task", Value::from(task)),
        ]);
        known.extend(claim.issue.map(|number| ("issue", context! { number })));
        let of = |repo: &Repo| context! { name => &repo.name, slug => &repo.slug, branch => repo.branch.as_deref() };
        known.extend(repo.map(|repo| ("repo", of(repo))));
        let mut words = Vec::new();
        for word in command {
            let broken = |error: minijinja::Error| {
                let why = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
                Error::usage(format!("`{word}` in the command of agent `{}` cannot be made: {why}", agent.name))
            };
            let template = environment.template_from_str(word).map_err(broken)?;
            let names = template.undeclared_variables(false);
            let lacks = |name: &str| names.contains(name) && !known.contains_key(name);
            match ["issue", "pull", "repo"].into_iter().find(|name| lacks(name)) {
                None => {
                    words.push(template.render(Value::from_pairs(known.clone())).map_err(|error| {
                        broken(error).help("`factory inventory check` tells what a template may use")
                    })?)
                }
                Some(_) if !claim.args.is_empty() => {}
                Some(lacks) => {
                    let flag = if lacks == "pull" { "-- ARGUMENTS".to_owned() } else { format!("--{lacks}") };
                    return Err(Error::usage(format!(
                        "the command of agent `{}` needs {} {lacks}: `{word}`",
                        agent.name,
                        if lacks == "issue" { "an" } else { "a" }
                    ))
                    .help(format!("give `{flag}`, or what is to stand there behind `--`")));
                }
            }
        }
        words.extend(claim.args.iter().cloned());
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::error::Diagnostics;
    use crate::inventory::locate::{Found, Location};

    fn jobs(factory: &str, repos: &str) -> (Jobs, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("hosts.yml", "all: {hosts: {h: }}\n");
        write("factory.yml", factory);
        write("repos.yml", repos);
        let mut problems = Diagnostics::default();
        let location =
            Location { dir: dir.path().into(), hosts_yml: dir.path().join("hosts.yml"), found: Found::Named };
        let inventory = Inventory::load(location, &mut problems);
        let told: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
        let inventory = inventory.unwrap_or_else(|| panic!("{told:?}"));
        let access = Access { dir: dir.path().into(), commands: true, time_limit: Duration::from_secs(10) };
        (Jobs::of(&inventory, access), dir)
    }

    fn claim(repo: &str, agent: &str, issue: Option<u64>, args: &[&str]) -> Claim {
        Claim {
            token: "20260312-a".to_owned(),
            host: "h".to_owned(),
            repo: repo.to_owned(),
            agent: agent.to_owned(),
            attempt: 1,
            by: "anna".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            issue,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            unclaimed: false,
            started: false,
            told: None,
        }
    }

    const FACTORY: &str = r#"
agents:
  dev: {command: [bash, dev/dev-agent.sh, "{{ issue.number }}", "--on={{ host.name }}/{{ repo.slug }}"], halt: {file: ~/stop}}
  review: {command: [sh, "{{ fleet }} $(x)"], halt: {active_file: ~/on}}
  old: {class: dev, start: cron, match: old.sh}
  idle: {class: dev}
"#;
    const REPOS: &str = "
repos:
  harb:
    slug: johba/harb
    env: {PLAIN: 'a b', NUMBER: 007, KEPT: {file: secret}}
    agents: {dev: {halt: {file: ~/stop-harb}, time_limit: 1h}}
";

    #[test]
    fn words_are_made_and_arguments_stand_for_what_only_an_issue_could_fill() {
        let (jobs, dir) = jobs(FACTORY, REPOS);
        std::fs::write(dir.path().join("secret"), "hunter2").unwrap();
        std::fs::set_permissions(dir.path().join("secret"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        let words = |claim: &Claim| jobs.make("t", claim).map(|job| job.argv);
        assert_eq!(
            words(&claim("harb", "dev", Some(12), &[])).unwrap(),
            ["bash", "dev/dev-agent.sh", "12", "--on=h/johba/harb"]
        );
        assert_eq!(
            words(&claim("harb", "dev", None, &["7", "{{ x }}"])).unwrap(),
            ["bash", "dev/dev-agent.sh", "--on=h/johba/harb", "7", "{{ x }}"]
        );
        assert_eq!(words(&claim("*", "review", None, &[])).unwrap(), ["sh", "default $(x)"]);
        let error = words(&claim("harb", "dev", None, &[])).unwrap_err();
        assert!(error.to_string().contains("needs an issue") && error.advice().unwrap().contains("--issue"), "{error}");
        let error = words(&claim("*", "dev", Some(1), &[])).unwrap_err();
        assert!(error.to_string().contains("needs a repo"), "{error}");
        let job = jobs.make("harb#12", &claim("harb", "dev", Some(12), &[])).unwrap();
        assert_eq!(job.env, BTreeMap::from([("PLAIN", "a b"), ("NUMBER", "007")].map(|(k, v)| (k.into(), v.into()))));
        assert_eq!((job.time_limit, job.memory), (Duration::from_secs(3600), 3 << 30));
        assert_eq!(job.means, [(false, "~/stop-harb".to_owned())]);
        assert!(job.secrets.0.contains_key("KEPT") && !format!("{job:?}").contains("hunter2"));
        assert_eq!(jobs.make("x", &claim("*", "review", None, &[])).unwrap().means, [(true, "~/on".to_owned())]);
    }

    #[test]
    fn what_cannot_be_launched_says_why() {
        let (jobs, _dir) = jobs(FACTORY, REPOS);
        for (repo, agent, why) in [
            ("harb", "nobody", "no agent `nobody` of repo `harb`"),
            ("gone", "dev", "no agent `dev` of repo `gone`"),
            ("*", "old", "cron starts agent `old`"),
            ("*", "idle", "has no `command`"),
            // The secret's file is not there.
            ("harb", "dev", "the variable KEPT"),
        ] {
            let error = jobs.make("t", &claim(repo, agent, Some(1), &[])).unwrap_err();
            assert!(error.to_string().contains(why) && error.advice().is_some() || agent == "dev", "{error}");
        }
    }
}
