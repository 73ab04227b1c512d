//! `factory exec`: one command on many hosts, by hand.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::context::{Context, reach};
use super::global::Form;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::render::exec::{Lines, Outcome, Step};
use crate::ssh::exec::Ended;
use crate::ssh::fleet::{From, Job};
use crate::ssh::{Fleet, Reach, each};

/// Runs a command on hosts, its output prefixed by the host; all hosts finish, failures come last
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  factory exec -l builders -- uptime
  factory exec -l all -- 'df -h / | tail -n 1'     one word is a program for /bin/sh

Ends with 1 when a command failed, with 4 when a host was not reached.")]
pub(super) struct Args {
    /// Several words are run as they are; one word is a program for /bin/sh
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<String>,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    if context.global.limit.is_none() {
        return Err(Error::usage("which hosts?").help("name them: `-l PATTERN`, or `-l all`"));
    }
    let inventory = context.inventory()?;
    let hosts = context.hosts(&inventory)?;
    let script = script(&args.command)?;
    if context.global.check {
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
        context.ui.note(&format!("would run on {}: {script} (--check)", names.join(", ")));
        return Ok(Exit::Ok);
    }
    let bounds = context.bounds(&inventory.settings);
    let fleet = context.fleet(&inventory.settings).await?;
    let (send, mut receive) = unbounded_channel();
    let ways = hosts.iter().map(|host| (host.name.clone(), reach(host))).collect();
    let (script, shared): (Arc<str>, Fleet) = (script.into(), fleet.clone());
    let _tasks = each(ways, bounds.forks, move |(name, reach): (String, Reach)| {
        let (script, fleet, send) = (Arc::clone(&script), shared.clone(), send.clone());
        async move {
            let outcome = one(&name, &reach, &script, &fleet, bounds.command, &send).await;
            fleet.release(&reach);
            let _ = send.send(Step::Ended(name, outcome));
        }
    });
    let mut lines = Lines::new(hosts.iter().map(|host| host.name.clone()), context.ui.form != Form::Text);
    while let Some(step) = receive.recv().await {
        lines.take(step, &context.ui);
    }
    fleet.close().await;
    Ok(Exit::worst(lines.finish(&context.ui).iter().map(exit)))
}

/// One word is a program as it stands; several are quoted, so that each arrives as the word that it is here.
fn script(words: &[String]) -> Result<String> {
    match words {
        [program] => Ok(program.clone()),
        words => shlex::try_join(words.iter().map(String::as_str))
            .map_err(|_| Error::usage("a NUL character in the command").help("no program takes one in its arguments")),
    }
}

async fn one(
    name: &str,
    reach: &Reach,
    script: &str,
    fleet: &Fleet,
    timeout: Duration,
    send: &UnboundedSender<Step>,
) -> Outcome {
    let job = Job { script: script.as_bytes(), stdin: Vec::new(), timeout };
    let mut sink = |from: From, bytes: &[u8]| {
        let _ = send.send(Step::Output(name.to_owned(), from == From::Stderr, bytes.to_vec()));
    };
    match fleet.run_streaming(reach, job, &mut sink).await {
        Ok(ended) => Outcome::Ended(ended),
        Err(failed) => Outcome::NotBegun(Box::new(failed.to_error())),
    }
}

fn exit(outcome: &Outcome) -> Exit {
    match outcome {
        Outcome::Ended(Ended::Exited(0)) => Exit::Ok,
        Outcome::Ended(Ended::Lost(_)) => Exit::Unreachable,
        Outcome::Ended(_) => Exit::Failed,
        Outcome::NotBegun(error) => error.exit(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_words_arrive_as_they_are_and_one_is_a_program() {
        let words = |words: &[&str]| script(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).unwrap();
        assert_eq!(words(&["uptime; date"]), "uptime; date");
        assert_eq!(words(&["echo", "a b", "$HOME", ""]), "echo 'a b' '$HOME' ''");
        assert_eq!(exit(&Outcome::Ended(Ended::TimedOut(Duration::ZERO))), Exit::Failed);
        assert_eq!(exit(&Outcome::Ended(Ended::Lost("x".into()))), Exit::Unreachable);
    }
}
