//! `factory repo check`: what of a repo is not as the inventory wants it.

use serde_json::json;

use super::super::context::Context;
use super::super::global::Form;
use super::{Which, examine, examiner, exits, tell_broken};
use crate::error::Result;
use crate::exit::Exit;
use crate::forge::examine::Examined;
use crate::policy::repo::{Level, plan};
use crate::render::repos::{diff, object, table};
use crate::render::table::count;

/// Shows what of the repos is not as the inventory wants it: labels, protection, rights, scopes, CI
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  factory repo check                 all repos of the inventory
  factory repo check harb 'lib-*'    some of them, by name or pattern
  factory repo check -o json | jq '.repos[] | select(.differences != []) | .repo'

Nothing is changed. Lines with `-` are as it is, lines with `+` as the inventory wants it; what sync
can make so says it. What repos.yml does not name is not compared.

Ends with 0 when all is as wanted, 1 when something is not, 4 when a forge or a CI did not answer,
3 when a repo has errors in repos.yml or none is called so.")]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let inventory = context.inventory()?;
    let (repos, broken) = args.which.select(&inventory)?;
    let all = examine(&examiner(&inventory, context), &repos, context).await;
    show(&all, &broken, context);
    let mut exits = exits(&all);
    exits.extend(broken.first().map(|_| Exit::Inventory));
    Ok(Exit::worst(exits))
}

fn show(all: &[Examined], broken: &[String], context: &Context) {
    let ui = &context.ui;
    match ui.form {
        Form::Json => {
            let repos: Vec<_> = all.iter().map(object).collect();
            return ui.object("repo-check", &json!({ "repos": repos, "broken": broken }));
        }
        Form::Jsonl => {
            all.iter().for_each(|one| ui.object("repo", &object(one)));
            return tell_broken(broken, context);
        }
        Form::Text => {}
    }
    ui.print_some(&table(all, ui.out));
    let told: String = all.iter().map(|one| diff(&one.repo.name, &one.differences, ui.out)).collect();
    if !told.is_empty() {
        ui.print(&format!("\n{told}"));
    }
    tell_broken(broken, context);
    let fine = |one: &&Examined| one.differences.iter().all(|own| own.level == Level::Hint);
    let syncs = all.iter().filter(|one| !plan(&one.differences).is_empty()).count();
    let more = match syncs {
        0 => String::new(),
        syncs => format!("; `factory repo sync` has something to change in {syncs}"),
    };
    let fine = all.iter().filter(fine).count();
    ui.note(&format!("{}, {fine} as wanted{more}", count(all.len(), "repo")));
}
