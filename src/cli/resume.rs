//! `factory resume`: the end of manual holds.

use super::context::Context;
use super::scope::ScopeArgs;
use super::visitor::{self, Role};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::inventory::Inventory;
use crate::ledger::Ledger;
use crate::policy::hold::{Hold, Pick};
use crate::render::holds;

/// Lifts holds: every one inside what is named, also what people put on the hosts themselves
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  factory resume --host beefy-2              every hold on that host alone
  factory resume --host beefy-2 --agent dev
  factory resume --all                       every hold there is

A hold that covers more than what is named stays; the command that lifts it is shown, and the exit
code is 6. What pressure holds (`auto` in a halt file) is not lifted but told: it goes by itself
once the host is well, and `factory status` says what is still missing. A host that is down is
released once it is back.

Ends with 0 when no person holds anything there any more, also when nobody did; with 4 when a host
was not reached.")]
pub(super) struct Args {
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Who asks, when that is not the one who runs this
    #[arg(long, value_name = "NAME", hide = true)]
    pub by: Option<String>,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let inventory = context.inventory()?;
    let by = args.by.clone().unwrap_or_else(visitor::person);
    match visitor::role(context, &inventory)? {
        Role::Leads(me) => here(args, &by, &me, context, &inventory).await,
        Role::Visits(candidates) => {
            args.scope.scope(context, &inventory, &[])?;
            let mut words = vec!["resume".to_owned()];
            words.extend(args.scope.words());
            words.extend(["--by".to_owned(), by]);
            visitor::forward(&words, &candidates, context, &inventory).await?.once(|| {
                Error::new(Exit::Unreachable, "no candidate answers, so nobody says that it is lifted")
                    .help("try again when one is back: holds are lifted by whoever leads")
            })
        }
    }
}

async fn here(args: &Args, by: &str, me: &str, context: &Context, inventory: &Inventory) -> Result<Exit> {
    let held = held(context, inventory).await?;
    let mut scope = args.scope.scope(context, inventory, &held)?;
    // Whoever names a host or a repo means all that is held there.
    scope.supervisor = scope.agent == Pick::All;
    if context.global.check {
        let supervisor =
            |agent: &str| crate::policy::hold::Model::of(&inventory.settings, &inventory.repos).is_supervisor(agent);
        let inside: Vec<Hold> = held.into_iter().filter(|hold| hold.scope.inside(&scope, supervisor)).collect();
        holds::show_would_lift(&inside, &context.ui);
        return Ok(Exit::Ok);
    }
    let fleet = context.fleet(&inventory.settings).await?;
    let order = context.order(inventory, &fleet, me)?;
    let lifted = order.resume(&scope, by, &|step| context.ui.progress(step)).await?;
    fleet.close().await;
    context.remember(inventory, &holds::lifted_events(&lifted, by));
    if let Some(error) = &lifted.noted {
        context.ui.warn(&format!("it is done, but the ledger does not say where: {}", error.with_causes()));
    }
    holds::show_lifted(&lifted, &scope, &context.ui);
    for hold in &lifted.pressure {
        let why = hold.reason.as_deref().unwrap_or_default();
        context.ui.warn(&format!("pressure still holds {}: {why}; that ends by itself", hold.scope));
    }
    let wider = lifted.resumed.wider.iter().map(|_| Exit::Held);
    let stopped = lifted.hosts.iter().filter_map(|(_, acted)| acted.stopped.as_ref()).map(|stopped| stopped.exit());
    Ok(Exit::worst(wider.chain(stopped)))
}

/// What is held now, as the ledger has it.
async fn held(context: &Context, inventory: &Inventory) -> Result<Vec<Hold>> {
    let state = context.state_dir(&inventory.settings.fleet)?;
    let document = match Ledger::open_to_read(&state)? {
        Some(ledger) => ledger.read().await?.map(|(_, document)| document),
        None => None,
    };
    let holds = document.map(|document| document.holds).unwrap_or_default();
    Ok(holds.into_iter().filter(|hold| hold.ended.is_none()).collect())
}
