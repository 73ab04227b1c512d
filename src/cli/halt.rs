//! `factory halt`: a manual hold.

use super::context::Context;
use super::scope::ScopeArgs;
use super::visitor::{self, Forwarded, Role};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::inventory::Inventory;
use crate::inventory::units::Span;
use crate::policy::hold::{Scope, Wish};
use crate::render::{holds, runs};
use crate::tick::jobs::Jobs;
use crate::tick::stop::{Manner, Manners};

/// Holds agents until they are resumed: no new run starts on the hosts, what runs goes on
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  factory halt --host beefy-2                            every agent there but the supervisor
  factory halt --host beefy-2 --agent dev --for 2h       until it is lifted or two hours have passed
  factory halt --repo harb --reason 'release day'        that repo's agents, on every host
  factory halt --host beefy-2 --stop                     and what runs there ends, within its `drain`
  factory halt --all                                     everything everywhere, the supervisor too

The hold is recorded first, then told to the hosts at once. A host that is down is held as soon as
it is back. The same scope again changes the time and the reason. `factory resume` with the same
flags lifts it. What pressure holds stands beside it: whichever is stricter counts, and neither
ends the other.

Ends with 0 when every host is held, with 4 when one was not reached (the hold stays recorded),
with 1 when one refused.")]
pub(super) struct Args {
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// Ends by itself after this time, such as 30m or 2h
    #[arg(long = "for", value_name = "TIME", help_heading = "How long, and why")]
    pub time: Option<Span>,
    /// Also end what runs: each run may go on for its agent's `drain`, then it is stopped
    #[arg(long, help_heading = "How long, and why")]
    pub stop: bool,
    /// Why, for whoever looks at `factory status`
    #[arg(long, value_name = "TEXT", help_heading = "How long, and why")]
    pub reason: Option<String>,
    /// Who asks, when that is not the one who runs this
    #[arg(long, value_name = "NAME", hide = true)]
    pub by: Option<String>,
}

/// The most characters of a reason: it goes into every halt file, for people to read.
const MAX_REASON: usize = 1000;

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let inventory = context.inventory()?;
    let scope = args.scope.scope(context, &inventory, &[])?;
    if args.time.is_some_and(|time| time.0.is_zero()) {
        return Err(Error::usage("`--for 0s` would be over at once").help("give a time such as `--for 30m`"));
    }
    let reason = args.reason.clone().filter(|reason| !reason.is_empty());
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > MAX_REASON) {
        return Err(Error::usage(format!("the reason has more than {MAX_REASON} characters"))
            .help("it goes into every halt file: say it shorter, or where it is written"));
    }
    let by = args.by.clone().unwrap_or_else(visitor::person);
    let wish = Wish { scope, by, seconds: args.time.map(|time| time.0.as_secs_f64()), reason };
    let role = match visitor::role(context, &inventory) {
        // Who this machine is must not keep a person from stopping the work.
        Err(error) if error.exit() == Exit::Failed && !context.global.check => {
            context.ui.error(&error);
            let why = "nobody can tell who this machine is";
            return straight(&wish, args.stop, why, error.exit(), context, &inventory).await;
        }
        role => role?,
    };
    match role {
        Role::Leads(_) if context.global.check => {
            holds::show_would_hold(&wish, &context.ui);
            Ok(Exit::Ok)
        }
        Role::Leads(me) => here(&wish, args.stop, &me, context, &inventory).await,
        Role::Visits(candidates) => {
            let mut words = vec!["halt".to_owned()];
            words.extend(args.scope.words());
            words.extend(args.time.iter().flat_map(|time| ["--for".to_owned(), time.to_string()]));
            words.extend(args.stop.then(|| "--stop".to_owned()));
            words.extend(wish.reason.iter().flat_map(|reason| ["--reason".to_owned(), reason.clone()]));
            words.extend(["--by".to_owned(), wish.by.clone()]);
            let why = match visitor::forward(&words, &candidates, context, &inventory).await? {
                Forwarded::Answered(exit) => return Ok(exit),
                Forwarded::Unknown(error) if context.global.check => return Err(error),
                Forwarded::Nobody if context.global.check => {
                    return Err(Error::new(
                        Exit::Unreachable,
                        "no candidate answers, so nobody says what would become of it",
                    )
                    .help("without `--check` the halt files are written straight to the hosts then"));
                }
                // To hold what is held does no harm.
                Forwarded::Unknown(error) => error.to_string(),
                Forwarded::Nobody => "no candidate answers".to_owned(),
            };
            straight(&wish, args.stop, &why, Exit::Unreachable, context, &inventory).await
        }
    }
}

async fn here(wish: &Wish, stop: bool, me: &str, context: &Context, inventory: &Inventory) -> Result<Exit> {
    let fleet = context.fleet(&inventory.settings).await?;
    let halted = match context.order(inventory, &fleet, me) {
        Ok(order) => order.halt(wish).await,
        Err(error) => Err(error),
    };
    let halted = match halted {
        Ok(halted) => halted,
        // A ledger that cannot be written must not keep a person from stopping the work.
        Err(error) => {
            fleet.close().await;
            context.ui.error(&error);
            return straight(wish, stop, "the hold is not recorded", error.exit(), context, inventory).await;
        }
    };
    context.remember(inventory, &holds::halted_events(&halted));
    if let Some(error) = &halted.noted {
        context.ui.warn(&format!("it is done, but the ledger does not say where: {}", error.with_causes()));
    }
    let mut exits: Vec<Exit> =
        halted.hosts.iter().filter_map(|(_, acted)| Some(acted.stopped.as_ref()?.exit())).collect();
    let mut stopped = Vec::new();
    if stop {
        let manners = Manners {
            manner: Manner::Drain,
            kill_after: inventory.settings.guard.kill_after.0,
            wait: false,
            by: wish.by.clone(),
        };
        let jobs = Jobs::of(inventory, context.access(inventory));
        let order = context.order(inventory, &fleet, me)?;
        match order.stop_held(&halted.hold, &manners, &jobs, &|step| context.ui.progress(step)).await {
            Ok(told) => stopped = told,
            Err(error) => {
                context.ui.error(&error);
                exits.push(error.exit());
            }
        }
        context.remember(inventory, &runs::stopped_events(&stopped, &wish.by));
        exits.extend(stopped.iter().map(|(.., ended)| super::stop::exit(ended)));
    }
    fleet.close().await;
    holds::show_halted(&halted, &stopped, &context.ui);
    Ok(Exit::worst(exits))
}

/// Writes the hold to the hosts as a person would, without ledger and fence: it only tightens, and whoever leads finds
/// it there and records it.
async fn straight(
    wish: &Wish,
    stop: bool,
    why: &str,
    exit: Exit,
    context: &Context,
    inventory: &Inventory,
) -> Result<Exit> {
    let Scope { hosts, .. } = &wish.scope;
    let fleet = context.fleet(&inventory.settings).await?;
    let concerned: Vec<_> = inventory.hosts.iter().filter(|host| hosts.has(&host.name)).collect();
    let told = visitor::by_hand(wish, &concerned, context, inventory, &fleet).await?;
    fleet.close().await;
    holds::show_by_hand(&told, wish, stop, why, &context.ui);
    Ok(Exit::worst(told.iter().map(|(_, failed)| failed.as_ref().map_or(Exit::Ok, Error::exit)).chain([exit])))
}
