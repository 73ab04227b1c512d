//! `factory cron restore`: a crontab as it was.

use std::collections::BTreeMap;

use super::super::context::Context;
use super::super::host::{confirm, leader};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::remote::crontab::read::Crontabs;
use crate::remote::crontab::{Edit, diff, edit_within};
use crate::remote::guard::{CronWrite, Op, Table, sha256};
use crate::render::crontabs::{Todo, done, todo};
use crate::render::holds::host_events;
use crate::tick::coming::crontabs;
use crate::tick::hand::Stopped;

/// Puts a crontab back as it was before factory changed it
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  factory cron show beefy-2                                 which backups there are
  factory cron restore beefy-2 --check                      what would change: to the first one ever
  factory cron restore beefy-2 20260312T131847Z.user

It shows what changes, line by line, and asks. A hold that is still wanted disables its lines again with the next
`factory run`; `factory leave` first gives the host back.")]
pub(in crate::cli) struct Args {
    /// Which host
    #[arg(value_name = "HOST")]
    host: String,
    /// The backup's name; without it the first one ever of the login's own crontab
    #[arg(value_name = "BACKUP")]
    backup: Option<String>,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let inventory = context.inventory()?;
    let me = leader(context, &inventory)?;
    let hosts = inventory.hosts.select(&args.host)?;
    let [host] = hosts.as_slice() else {
        return Err(Error::usage(format!("`{}` names {} hosts", args.host, hosts.len()))
            .help("name one: each has its own backups"));
    };
    let fleet = context.fleet(&inventory.settings).await?;
    let order = context.order(&inventory, &fleet, &me)?;
    let [place] = &order.places_of(std::slice::from_ref(&host.name))[..] else {
        return Err(Error::inventory(format!("{} cannot be reached", host.name)));
    };
    let timeout = context.bounds(&inventory.settings).command;
    let failed = |stopped: Stopped| {
        let error = Error::new(stopped.exit(), format!("{}: {stopped}", host.name));
        match stopped.advice(&host.name) {
            Some(advice) => error.help(advice),
            None => error,
        }
    };
    let name = match &args.backup {
        Some(name) => name.clone(),
        None => first(&crontabs(&fleet, place, None, timeout).await.map_err(failed)?, &host.name)?,
    };
    let seen = crontabs(&fleet, place, Some(&name), timeout).await.map_err(failed)?;
    let (Some(content), Some(backup)) = (seen.backup.clone(), seen.backups.iter().find(|one| one.name == name)) else {
        return Err(Error::failed(format!("{} has no backup {name}", host.name))
            .help(format!("`factory cron show {}` lists them", host.name)));
    };
    if let Some(why) = seen.refused.clone() {
        return Err(failed(Stopped::Crontab(why)));
    }
    let table = backup.table();
    let now = seen.tables.iter().find(|(other, _)| *other == table).map(|(_, bytes)| bytes.clone());
    let lines = usize::try_from(inventory.settings.guard.cron_lines).unwrap_or(usize::MAX);
    let content = edit_within(now.as_deref().unwrap_or_default(), &Edit::Restore(content), lines)
        .map_err(|why| failed(Stopped::Crontab(why.to_string())))?;
    let mut one = Todo::of(&host.name);
    let text = diff(now.as_deref().unwrap_or_default(), &content);
    one.diff = (!text.is_empty()).then(|| format!("crontab {}, as it was at {}\n{text}", table.word(), backup.time()));
    let nothing = one.is_nothing();
    let plan = [one];
    todo(&plan, "the crontab is as it was then", &context.ui);
    let mut acted = Vec::new();
    if !nothing && !context.global.check {
        confirm(&format!("Put it back on {}?", host.name), context)?;
        // Only over what was shown: somebody may have changed it while the question stood there.
        let before = now.map_or_else(|| "-".to_owned(), |now| sha256(&now));
        let op = Op::CronWrite(CronWrite { table, before, content });
        acted = order.edit(BTreeMap::from([(host.name.clone(), op)])).await?;
        context.remember(&inventory, &host_events(&acted));
    }
    fleet.close().await;
    done("cron-restore", "restored", &plan, &acted, context.global.check, &context.ui);
    Ok(Exit::worst(acted.iter().filter_map(|(_, acted)| acted.stopped.as_ref()).map(Stopped::exit)))
}

/// The first backup ever of the login's own crontab.
fn first(seen: &Crontabs, host: &str) -> Result<String> {
    let own = || seen.backups.iter().filter(|one| one.table() == Table::User);
    let first = own().find(|one| one.name.ends_with(".first")).or_else(|| own().next());
    first.map(|one| one.name.clone()).ok_or_else(|| {
        Error::failed(format!("{host} has no backup of its crontab")).help("factory has never changed it there")
    })
}
