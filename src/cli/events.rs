//! `factory events`: what happened, from the journal.

use jiff::Timestamp;

use super::context::Context;
use super::global::Form;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::inventory::units::Span;
use crate::journal::{Journal, Query};
use crate::render::table::{Field, Sheet, level_name};

/// Shows what happened, or with `--samples` what was measured, oldest first
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  factory events --since 8h       the night\n  factory events --samples -o jsonl -l beefy-2 > samples.jsonl"
)]
pub(super) struct Args {
    /// The samples instead of the events
    #[arg(long)]
    samples: bool,
    /// Only the last so long, such as `2h` or `7d`
    #[arg(long, value_name = "TIME")]
    since: Option<Span>,
    /// At most so many, the newest
    #[arg(short, long, value_name = "N", default_value_t = 1000)]
    number: u32,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit> {
    let (state, hosts) = context.state_and_hosts()?;
    let Some(journal) = Journal::open_to_read(&state)? else {
        return Err(
            Error::failed(format!("there is no journal in {}", state.display())).help("`factory run` makes one")
        );
    };
    let since = args.since.map(|since| Timestamp::now().checked_sub(since.0).unwrap_or(Timestamp::MIN));
    let query = Query { since, hosts, limit: args.number };
    if args.samples { samples(&journal, &query, context) } else { events(&journal, &query, context) }
}

fn events(journal: &Journal, query: &Query, context: &Context) -> Result<Exit> {
    let events = journal.events(query)?;
    match context.ui.form {
        Form::Json => context.ui.object("events", &events),
        Form::Jsonl => events.iter().for_each(|event| context.ui.object("event", event)),
        Form::Text if events.is_empty() => context.ui.note("nothing has happened"),
        Form::Text => {
            let mut sheet = Sheet::new(context.ui.out, &["AT", "HOST", "LEVEL", "WHAT", "MESSAGE"]);
            for event in events {
                sheet.row([
                    Field::text(event.at.strftime("%F %TZ").to_string()),
                    Field::text(event.host.unwrap_or_default()),
                    Field::text(level_name(event.severity)).level(event.severity),
                    Field::text(event.what),
                    Field::text(event.message),
                ]);
            }
            context.ui.print(&sheet.to_string());
        }
    }
    Ok(Exit::Ok)
}

/// Samples are JSON in every form: each one is an object of its own schema, a line each.
fn samples(journal: &Journal, query: &Query, context: &Context) -> Result<Exit> {
    let samples = journal.samples(query)?;
    if context.ui.form == Form::Json {
        let parsed: Vec<serde_json::Value> =
            samples.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        context.ui.object("samples", &parsed);
    } else {
        samples.iter().for_each(|line| context.ui.print(line));
    }
    Ok(Exit::Ok)
}
