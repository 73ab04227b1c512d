//! `factory launch`: one run of an agent on a host, by hand.

use super::context::Context;
use super::visitor::{self, Role};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::forge::claim::Claimant;
use crate::forge::{Limits as ForgeLimits, Servers};
use crate::inventory::Inventory;
use crate::inventory::agents::Work;
use crate::policy::claim::Ending;
use crate::render::runs;
use crate::tick::capacity::Capacity;
use crate::tick::drive::Driven;
use crate::tick::jobs::Jobs;
use crate::tick::launch::{Terms, Wanted};

/// Starts one run of an agent on a host, once and only once, whatever dies meanwhile
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  factory launch --host beefy-2 --repo harb --agent dev --issue 12    works on harb#12, unless somebody does already
  factory launch --host beefy-2 --repo harb --agent dev -- 12 --force the agent's command with these arguments
  factory launch --host vps-1 --agent supervisor --check              shows the command and starts nothing

The run gets a token, which `factory ps`, `factory logs TOKEN` and `factory stop TOKEN` take. It runs in a session of its
own: it goes on when the connection or the controller is lost, has the environment that the inventory gives it and
nothing else, and ends at its `time_limit`. It is recorded before it is started, so that a launch that was cut off is
finished by the next `factory run`: with the same token, so never twice. Its repo's practices (`factory practices show`)
lie beside it, in the file that FACTORY_PRACTICES names.

With --issue the issue is claimed on its forge first, if the repo has a token: assigned to its account alone and
labelled as being worked on, read back and compared. One that somebody else has is refused (1).

Refused while the agent is held, by a person or by pressure (6), where its practices cannot be read whole (3), while its
issue is worked on or its account's budget is spent (1), and on a host whose crontab still starts the agent, or cannot be
read: see `factory takeover`. Refused too where there is no room (1): what the agent `needs` must fit beside
what was promised to all that runs there, below `factory_slots`, and above what stays free.

Ends with 0 when it runs or has done its work already, with 6 or 1 when it was held or cancelled before it began, or is
over by an accident, with 4 when the host was not reached or nobody can tell yet.")]
pub(super) struct Args {
    /// The host: a name or a pattern that leaves one
    #[arg(long, value_name = "HOST")]
    pub host: String,
    /// The repo that it works for; left out for an agent that works for none
    #[arg(long, value_name = "REPO")]
    pub repo: Option<String>,
    /// The agent
    #[arg(long, value_name = "AGENT")]
    pub agent: String,
    /// The issue that it works on: `{{ issue.number }}` in its command. No two runs work on one
    #[arg(long, value_name = "N", requires = "repo", value_parser = clap::value_parser!(u64).range(1..))]
    pub issue: Option<u64>,
    /// Arguments behind those of the agent's command; they also stand for words that only an issue could fill
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
    /// Who asks, when that is not the one who runs this
    #[arg(long, value_name = "NAME", hide = true)]
    pub by: Option<String>,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let inventory = context.inventory()?;
    let by = args.by.clone().unwrap_or_else(visitor::person);
    let wanted = wanted(args, &by, context, &inventory)?;
    match visitor::role(context, &inventory)? {
        Role::Leads(me) => here(&wanted, &me, context, &inventory).await,
        Role::Visits(candidates) => {
            visitor::forward(&words(args, &by), &candidates, context, &inventory).await?.once(|| {
                Error::new(Exit::Unreachable, "no candidate answers, so nothing was launched")
                    .help("try again when one is back: only who leads can launch")
            })
        }
    }
}

async fn here(wanted: &Wanted, me: &str, context: &Context, inventory: &Inventory) -> Result<Exit> {
    let jobs = Jobs::of(inventory, context.access(inventory));
    if context.global.check {
        let (task, claim) = wanted.claim(jiff::Timestamp::now())?;
        runs::show_would_launch(&jobs.make(&task, &claim)?, &wanted.host, &context.ui);
        return Ok(Exit::Ok);
    }
    let claimant = claimant(wanted, context, inventory).await?;
    let fleet = context.fleet(&inventory.settings).await?;
    let order = context.order(inventory, &fleet, me)?;
    let capacity = Capacity::of(inventory);
    let terms =
        Terms { jobs: &jobs, accounts: &inventory.settings.accounts, capacity: &capacity, claimant: claimant.as_ref() };
    let launched = order.launch(wanted, terms, &|step| context.ui.progress(step)).await;
    fleet.close().await;
    let launched = launched?;
    context.remember(inventory, &[runs::launched_event(&launched)]);
    if let Some(error) = &launched.noted {
        context.ui.warn(&format!("the ledger does not say so yet: {}", error.with_causes()));
    }
    if let Some(failure) = &launched.claimed {
        context.ui.warn(&format!("{} still looks worked on: {failure}; {}", launched.task, failure.help()));
    }
    runs::show_launched(&launched, &context.ui);
    Ok(match &launched.driven {
        Driven::Runs | Driven::Over(Ending::Done(_)) => Exit::Ok,
        Driven::Over(Ending::Cancelled) if launched.hold.is_some() => Exit::Held,
        Driven::Over(_) => Exit::Failed,
        Driven::Held(_) => Exit::Held,
        Driven::Open(stopped) => Exit::worst([stopped.exit(), Exit::Unreachable]),
        Driven::Never(stopped) => stopped.exit(),
    })
}

/// Who claims the issue on its forge: the account of the repo's token. None for a run that is about no issue, and for a
/// repo without a token.
async fn claimant(wanted: &Wanted, context: &Context, inventory: &Inventory) -> Result<Option<Claimant>> {
    let repo = inventory.repos.get(&wanted.repo).filter(|repo| wanted.issue.is_some() && repo.token.is_some());
    let Some(repo) = repo.cloned() else { return Ok(None) };
    let repos = context.repos(inventory);
    let (slug, labels, pause) = (repo.slug.clone(), repo.labels.clone(), repos.numbers.claimed.0);
    let connected = tokio::task::spawn_blocking(move || {
        Servers::new(ForgeLimits::of(&repos.numbers)).connect(&repo, &repos.access)
    });
    let connection = connected.await.map_err(|error| Error::failed("cannot read a token").because(error))??;
    let account = connection.forge.account().await.map_err(|failure| failure.to_error())?;
    Ok(Some(Claimant { forge: connection.forge, slug, labels, me: account.login, pause }))
}

fn wanted(args: &Args, by: &str, context: &Context, inventory: &Inventory) -> Result<Wanted> {
    let hosts = inventory.hosts.select(&args.host)?;
    let limited = context.hosts(inventory)?;
    let hosts: Vec<&str> = hosts
        .iter()
        .filter(|host| limited.iter().any(|other| other.name == host.name))
        .map(|host| host.name.as_str())
        .collect();
    let [host] = hosts.as_slice() else {
        return Err(match hosts.len() {
            0 => Error::inventory(format!("`--limit` leaves none of `{}`", args.host)),
            count => Error::usage(format!("`--host {}` names {count} hosts: {}", args.host, hosts.join(", ")))
                .help("a run has one host: name it"),
        });
    };
    let agents = inventory.settings.agents.keys();
    super::scope::known("agent", &args.agent, agents.map(String::as_str))?;
    if let Some(name) = &args.repo {
        let repos = &inventory.repos;
        if repos.broken.contains(name) {
            return Err(Error::inventory(format!("repo `{name}` has errors, so nothing is launched for it"))
                .help("`factory inventory check --offline` shows them"));
        }
        super::scope::known("repo", name, repos.repos.iter().map(|repo| repo.name.as_str()))?;
        let pattern = repos.get(name).and_then(|repo| repo.hosts.as_ref()).map(|hosts| &hosts.value);
        if let Some(pattern) = pattern
            && !inventory.hosts.select(pattern)?.iter().any(|one| one.name == *host)
        {
            return Err(Error::inventory(format!("the agents of repo `{name}` may not run on {host}"))
                .help(format!("its `hosts` is `{pattern}`: name one of these, or change repos.yml")));
        }
    } else if !inventory.repos.repos.is_empty() {
        let agent = inventory.settings.agents.get(&args.agent);
        if agent.is_some_and(|agent| agent.work != Work::Schedule) {
            let names: Vec<&str> = inventory.repos.repos.iter().map(|repo| repo.name.as_str()).collect();
            return Err(Error::usage(format!("for which repo is agent `{}` to work?", args.agent))
                .help(format!("give `--repo`: {}", names.join(", "))));
        }
    }
    if args.args.iter().any(|word| word.contains('\0')) {
        return Err(Error::usage("a NUL character in an argument").help("no program takes one in its arguments"));
    }
    Ok(Wanted {
        host: (*host).to_owned(),
        repo: args.repo.clone().unwrap_or_else(|| "*".to_owned()),
        agent: args.agent.clone(),
        issue: args.issue,
        args: args.args.clone(),
        by: by.to_owned(),
    })
}

/// The same order, to be sent to another machine.
fn words(args: &Args, by: &str) -> Vec<String> {
    let mut words = vec!["launch".to_owned()];
    let mut flag = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    flag("--host", &args.host);
    flag("--agent", &args.agent);
    args.repo.iter().for_each(|repo| flag("--repo", repo));
    args.issue.iter().for_each(|issue| flag("--issue", &issue.to_string()));
    flag("--by", by);
    if !args.args.is_empty() {
        words.push("--".to_owned());
        words.extend(args.args.iter().cloned());
    }
    words
}
