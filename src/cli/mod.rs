//! One file per verb: its arguments, then a short handler.

mod context;
mod cron;
mod events;
mod exec;
pub mod global;
mod halt;
mod host;
mod init;
mod inventory;
mod launch;
mod leave;
mod logs;
mod manual;
mod practices;
mod probe;
mod ps;
mod queue;
mod replay;
mod repo;
mod resume;
mod run;
mod scope;
mod status;
mod stop;
mod takeover;
mod visitor;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::context::Context;
use self::global::{Global, When};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::render::{Environment, Ui};

/// The whole command line.
#[derive(Parser, Debug)]
#[command(
    name = "factory",
    version,
    about = "Supervises AI coding agents on several machines and repositories",
    long_about = "Supervises AI coding agents on several machines and repositories: reads an inventory of hosts, looks at \
                  every machine, says how it is and why, holds and stops agents where a machine runs short and lets \
                  them go on when it is well again, and launches, watches, holds and stops them when a person says so.",
    after_help = AFTER_HELP,
    disable_help_subcommand = true,
    styles = STYLES,
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "\
Examples:
  factory init                    write an inventory to start from
  factory inventory check         look for what is wrong: in the files, on the hosts, with the repos
  factory repo sync               make labels and protections as the inventory wants them
  factory run                     one tick: look at every host, judge, hold and stop, record
  factory status                  how everything was at the last tick, and why
  factory halt --host beefy-2     its agents start nothing new until `factory resume --host beefy-2`
  factory ps                      what runs, on every host; `factory launch`, `logs` and `stop` go with it

Exit codes:
  0 ok                              5 the lock or the lead is another's
  1 an action failed                6 refused because of a hold
  2 the command line is wrong       7 --check --exit-code found changes
  3 the inventory is wrong, or no   101 a bug
    host matches                    130 interrupted
  4 a host was unreachable

Every global option has a variable: --forks is FACTORY_FORKS, --as is FACTORY_AS, and so on.";

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

#[derive(Subcommand, Debug)]
enum Verb {
    Init(init::Args),
    Inventory(inventory::Args),
    Probe(probe::Args),
    Exec(exec::Args),
    Run(run::Args),
    Status(status::Args),
    Halt(halt::Args),
    Resume(resume::Args),
    Launch(launch::Args),
    Ps(ps::Args),
    Logs(logs::Args),
    Stop(stop::Args),
    Takeover(takeover::Args),
    Leave(leave::Args),
    Cron(cron::Args),
    Host(host::Args),
    Repo(repo::Args),
    Practices(practices::Args),
    Queue(queue::Args),
    Events(events::Args),
    Replay(replay::Args),
    Completions(manual::Completions),
    Man(manual::Man),
}

/// Parses `args`, runs the verb and says how it ended.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let parsed = Cli::command().try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help and versions are errors to clap, for stdout; what is one ends with 2.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    let ui = Ui::new(cli.global.output, cli.global.quiet, &Environment::detect(cli.global.color));
    crate::render::log_to_stderr(cli.global.verbose, cli.global.color != When::Never && ui.err.color);
    let context = Context { global: cli.global, ui: ui.clone() };
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::failed("cannot start").because(error))
        .and_then(|runtime| {
            let ended = runtime.block_on(interruptible(dispatch(cli.verb, &context)));
            // A name look-up that hangs in a thread of the system's resolver must not hold up the end.
            runtime.shutdown_background();
            crate::render::show_typing();
            ended
        });
    match ended {
        Ok(exit) => exit.into(),
        Err(error) => {
            ui.error(&error);
            error.exit().into()
        }
    }
}

async fn dispatch(verb: Verb, context: &Context) -> Result<Exit> {
    match verb {
        Verb::Init(args) => init::run(&args, context),
        Verb::Inventory(args) => inventory::run(args, context).await,
        Verb::Exec(args) => exec::run(&args, context).await,
        Verb::Probe(args) => probe::run(&args, context).await,
        Verb::Ps(args) => ps::run(&args, context).await,
        Verb::Run(args) => run::run(&args, context).await,
        Verb::Launch(args) => launch::run(&args, context).await,
        Verb::Stop(args) => stop::run(&args, context).await,
        Verb::Status(args) => status::run(&args, context).await,
        Verb::Halt(args) => halt::run(&args, context).await,
        Verb::Resume(args) => resume::run(&args, context).await,
        Verb::Host(args) => host::run(args, context).await,
        Verb::Takeover(args) => takeover::run(&args, context).await,
        Verb::Leave(args) => leave::run(&args, context).await,
        Verb::Cron(args) => cron::run(args, context).await,
        Verb::Repo(args) => repo::run(args, context).await,
        Verb::Practices(args) => practices::run(&args, context),
        Verb::Queue(args) => queue::run(&args, context).await,
        Verb::Events(args) => events::run(&args, context),
        Verb::Logs(args) => logs::run(&args, context).await,
        Verb::Replay(args) => replay::run(&args, context),
        Verb::Completions(args) => manual::completions(&args, context),
        Verb::Man(args) => manual::man(&args, context),
    }
}

/// Ends `work` at SIGINT or SIGTERM: what it started on this machine is killed with it, and nothing is half written.
async fn interruptible(work: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| Error::failed("cannot listen for signals").because(error));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        ended = work => ended,
        _ = interrupt.recv() => Err(Error::new(Exit::Interrupted, "interrupted")),
        _ = terminate.recv() => Err(Error::new(Exit::Interrupted, "told to end (SIGTERM)")),
    }
}

/// The command line's definition, for man pages and completions.
fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound_and_every_verb_has_an_example() {
        let command = super::command();
        command.clone().debug_assert();
        let mut verbs: Vec<clap::Command> = command.get_subcommands().cloned().collect();
        while let Some(verb) = verbs.pop() {
            let nested: Vec<clap::Command> = verb.get_subcommands().cloned().collect();
            if nested.is_empty() {
                let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "{} has no example", verb.get_name());
            }
            verbs.extend(nested);
        }
    }
}
