//! `factory repo sync`: makes repos as the inventory wants them, and reads back whether they are.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::context::Context;
use super::super::global::Form;
use super::super::host::confirm;
use super::{Which, examine, examiner, exits, tell_broken};
use crate::error::Result;
use crate::exit::Exit;
use crate::forge::examine::Examined;
use crate::forge::sync::{Step, apply};
use crate::inventory::repos::Repo;
use crate::policy::repo::{Difference, Fix, Level, plan};
use crate::render::repos::{diff, difference, object, steps, todo, with};
use crate::render::table::count;

/// Makes the labels and the protection of the repos as the inventory wants them
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  factory repo sync --check          what would change, line by line
  factory repo sync                  shows it, asks, does it and reads it back
  factory repo sync harb -y          one repo, without asking
  HARB_TOKEN=$MINE factory repo sync harb    with the token of an administrator, this once

It makes labels that are missing, and makes or changes the protection of the branch that pulls go to: only
keys that repos.yml names, and nothing else. It removes nothing, renames nothing and adds no account. A
protection that is made anew also means that nobody can push to the branch any more, only merge.

Ends with 0 when all is as wanted, with --check also when only sync is needed; 1 when something is not,
also where the forge took a change and did not keep it; 4 when a forge did not answer; 3 when a repo has
errors in repos.yml or none is called so.")]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
}

/// A repo, what was tried in it, and how it was after that.
struct Synced {
    before: Examined,
    steps: Vec<Step>,
    after: Option<Examined>,
}

impl Synced {
    /// What was to be made so and is not.
    fn left(&self) -> impl Iterator<Item = &Difference> {
        let wanted = |own: &Difference| {
            let mut before = self.before.differences.iter().filter(|was| was.fix.is_some());
            before.any(|was| was.what == own.what && was.wanted == own.wanted)
        };
        let after = self.after.iter().flat_map(|after| &after.differences);
        after.filter(move |own| own.wanted.is_some() && wanted(own))
    }
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let inventory = context.inventory()?;
    let (repos, broken) = args.which.select(&inventory)?;
    let examiner = examiner(&inventory, context);
    let before = examine(&examiner, &repos, context).await;
    let shown = |one: &Examined| {
        let differences: Vec<Difference> = one.differences.iter().map(coming).collect();
        diff(&one.repo.name, &differences, context.ui.out)
    };
    todo(&before.iter().map(shown).collect::<String>(), &context.ui);
    tell_broken(&broken, context);
    let names: Vec<String> = before.iter().filter(|one| !plan(&one.differences).is_empty()).map(name).collect();
    let act = !names.is_empty() && !context.global.check;
    if act {
        confirm(&format!("Change that on the forge, in {}?", names.join(", ")), context)?;
    }
    let mut all: Vec<Synced> =
        before.into_iter().map(|before| Synced { before, steps: Vec::new(), after: None }).collect();
    if act {
        write(&mut all).await;
        let written = |one: &&mut Synced| !one.steps.is_empty();
        let repos: Vec<Repo> =
            all.iter().filter(|one| !one.steps.is_empty()).map(|one| one.before.repo.clone()).collect();
        let after = examine(&Arc::new(examiner.again()), &repos, context).await;
        all.iter_mut().filter(written).zip(after).for_each(|(one, after)| one.after = Some(after));
    }
    show(&all, &broken, context);
    let mut ends: Vec<Exit> = all.iter().flat_map(|one| ends(one, context.global.check)).collect();
    ends.extend(broken.first().map(|_| Exit::Inventory));
    Ok(Exit::worst(ends))
}

fn name(one: &Examined) -> String {
    one.repo.name.clone()
}

/// Carries out what was shown, in all repos side by side.
async fn write(all: &mut [Synced]) {
    let mut tasks = tokio::task::JoinSet::new();
    for (index, one) in all.iter().enumerate() {
        let plan = plan(&one.before.differences);
        let (Some(forge), false) = (one.before.forge.clone(), plan.is_empty()) else { continue };
        let slug = one.before.repo.slug.clone();
        tasks.spawn(async move { (index, apply(forge.as_ref(), &slug, &plan).await) });
    }
    while let Some(done) = tasks.join_next().await {
        let Ok((index, steps)) = done else { continue };
        if let Some(one) = all.get_mut(index) {
            one.steps = steps;
        }
    }
}

/// What a repo comes to: how it is now counts, whatever was said meanwhile.
fn ends(one: &Synced, check: bool) -> Vec<Exit> {
    match &one.after {
        Some(after) => exits(std::slice::from_ref(after)),
        None => {
            let mut rest = one.before.clone();
            // What a dry run would have done is no failure.
            rest.differences.retain(|own| !check || own.fix.is_none());
            exits(&[rest])
        }
    }
}

fn show(all: &[Synced], broken: &[String], context: &Context) {
    let ui = &context.ui;
    let check = context.global.check;
    match ui.form {
        Form::Json => {
            let repos: Vec<Value> = all.iter().map(json_of).collect();
            return ui.object("repo-sync", &json!({ "check": check, "repos": repos, "broken": broken }));
        }
        Form::Jsonl => return all.iter().for_each(|one| ui.object("repo", &json_of(one))),
        Form::Text => {}
    }
    for one in all {
        ui.print_some(&steps(&one.before.repo.name, &one.steps));
        let left: Vec<Difference> = one.left().map(still).collect();
        ui.print_some(&diff(&one.before.repo.name, &left, ui.out));
        let silent = one.after.iter().flat_map(|after| &after.differences).filter(|own| own.level == Level::Unknown);
        let silent: Vec<Difference> = silent.cloned().collect();
        ui.print_some(&diff(&one.before.repo.name, &silent, ui.out));
    }
    let changed = all.iter().filter(|one| !one.steps.is_empty()).count();
    let would = all.iter().filter(|one| !plan(&one.before.differences).is_empty()).count();
    let fine = all.iter().filter(|one| exits(std::slice::from_ref(now(one))).is_empty()).count();
    let did = match (check, would, changed) {
        (_, 0, _) => "nothing to change".to_owned(),
        (true, would, _) => format!("would change {would}"),
        (false, _, changed) => format!("changed {changed}, read back"),
    };
    ui.note(&format!("{}, {did}, {fine} as wanted", count(all.len(), "repo")));
}

/// How a repo is as far as it was last seen.
fn now(one: &Synced) -> &Examined {
    one.after.as_ref().unwrap_or(&one.before)
}

/// A difference before anybody is asked: what is about to be done needs no advice but what it comes to.
fn coming(own: &Difference) -> Difference {
    let help = match &own.fix {
        Some(Fix::Protection(change)) if change.new => {
            format!("once it is made, nobody can push to `{}` any more, only merge", change.name)
        }
        Some(_) => String::new(),
        None => own.help.clone(),
    };
    Difference { help, ..own.clone() }
}

/// A difference that was to be gone.
fn still(own: &Difference) -> Difference {
    let help = match &own.fix {
        Some(Fix::Protection(change)) if change.merge_whitelist.is_some() => {
            "the forge leaves out accounts that may not write there: give them access, then run this again"
        }
        _ => "look at it on the forge: it was not kept, or somebody has changed it meanwhile; then run this again",
    };
    Difference { subject: format!("still different: {}", own.subject), help: help.to_owned(), ..own.clone() }
}

fn json_of(one: &Synced) -> Value {
    let step = |step: &Step| {
        let why = step.failure.as_ref().map(ToString::to_string);
        let help = step.failure.as_ref().map(crate::forge::Failure::by_hand);
        json!({ "what": step.what, "done": step.failure.is_none(), "why": why, "help": help })
    };
    let steps = one.steps.iter().map(step).collect();
    let left = one.after.as_ref().map(|after| after.differences.iter().map(difference).collect::<Vec<_>>());
    with(object(&one.before), [("steps", steps), ("left", json!(left))])
}
