//! Orders from a machine that does not lead: they go to a candidate, or, if none answers, straight to the hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;

use super::context::{Context, reach};
use super::global::Form;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::inventory::Inventory;
use crate::inventory::hosts::Host;
use crate::policy::hold::{Hold, Model, Wanted, Wish};
use crate::remote::person;
use crate::ssh::exec::{Command, Ended, Output};
use crate::ssh::{Fleet, each};

/// What this machine is to the fleet.
pub(super) enum Role {
    /// It leads, or is the one that would, under this name.
    Leads(String),
    /// It is none of these candidates.
    Visits(Vec<String>),
}

/// What this machine is.
///
/// # Errors
/// Exit 3 when `--as` names no host.
pub(super) fn role(context: &Context, inventory: &Inventory) -> Result<Role> {
    match context.leads(inventory) {
        Ok(me) => Ok(Role::Leads(me)),
        Err(error) if error.exit() == Exit::Locked => {
            Ok(Role::Visits(inventory.settings.candidates.iter().map(|name| name.value.clone()).collect()))
        }
        Err(error) => Err(error),
    }
}

/// Who sits here: `user@machine`.
pub(super) fn person() -> String {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let user = variable("USER").or_else(|| variable("LOGNAME"));
    let user = user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    format!("{user}@{}", rustix::system::uname().nodename().to_string_lossy())
}

/// How long an order may take there when nothing else is said: a launch reads secrets and asks a forge, a stop waits
/// for what it stops.
const ORDER: Duration = Duration::from_secs(15 * 60);

/// What became of an order that was sent to candidates.
pub(super) enum Forwarded {
    /// One carried it out, and ended so.
    Answered(Exit),
    /// It has certainly reached none.
    Nobody,
    /// It has reached one, and may be done or going on there.
    Unknown(Error),
}

impl Forwarded {
    /// What the verb ends with, for an order that must not be given twice; `nobody` is the error when none was reached.
    ///
    /// # Errors
    /// Exit 4 when nobody knows, and whatever `nobody` says.
    pub(super) fn once(self, nobody: impl FnOnce() -> Error) -> Result<Exit> {
        match self {
            Forwarded::Answered(exit) => Ok(exit),
            Forwarded::Nobody => Err(nobody()),
            Forwarded::Unknown(error) => Err(error),
        }
    }
}

/// Runs `factory WORDS` on the first candidate that can be reached and shows what it says. None after that is asked: it
/// would be done twice.
///
/// # Errors
/// When a candidate has no `factory`.
pub(super) async fn forward(
    words: &[String],
    candidates: &[String],
    context: &Context,
    inventory: &Inventory,
) -> Result<Forwarded> {
    let fleet = context.fleet(&inventory.settings).await?;
    let timeout = context.global.timeout.map_or(ORDER.max(inventory.settings.ssh.command.0), |timeout| timeout.0);
    let mut heard = Forwarded::Nobody;
    for name in candidates {
        let Some(host) = inventory.hosts.get(name) else { continue };
        let script = script(words, name, context)?;
        let command = Command { script: &script, stdin: Vec::new(), timeout, max_output: 1 << 20 };
        match fleet.run(&reach(host), command).await {
            Ok(Output { ended: Ended::Exited(127), .. }) => {
                return Err(Error::failed(format!("{name} has no `factory` in its PATH"))
                    .help("install it there, in /usr/local/bin say, or run this on the machine that leads"));
            }
            Ok(Output { ended, stdout, stderr, .. }) => {
                context.ui.print_some(&String::from_utf8_lossy(&stdout));
                let text = String::from_utf8_lossy(&stderr);
                text.lines().for_each(|line| context.ui.line_to_stderr(&format!("{name}: {line}")));
                heard = match ended {
                    Ended::Exited(code) => Forwarded::Answered(Exit::of(code)),
                    ended => Forwarded::Unknown(unknown(name, &ended)),
                };
                break;
            }
            Err(failed) => context.ui.warn(&format!("{name}: {failed}")),
        }
    }
    fleet.close().await;
    Ok(heard)
}

/// An order that was begun on a candidate, and of whose end nothing was heard.
fn unknown(name: &str, ended: &Ended) -> Error {
    Error::new(Exit::Unreachable, format!("nobody knows whether it was done on {name}: `factory` there {ended}"))
        .help(format!("look with `factory ps` first, and with `factory status` on {name}: it may be going on there"))
}

/// The command for a candidate: under its own name, since it may only know that from its crontab.
fn script(words: &[String], name: &str, context: &Context) -> Result<String> {
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.extend(["--as", name]);
    words.extend(match context.global.output {
        Form::Text => [].as_slice(),
        Form::Json => &["-o", "json"],
        Form::Jsonl => &["-o", "jsonl"],
    });
    if context.global.check {
        words.push("--check");
    }
    words.extend(context.global.limit.iter().flat_map(|limit| ["--limit", limit]));
    let line = shlex::try_join(words)
        .map_err(|_| Error::usage("a NUL character in an argument").help("no program takes one in its arguments"))?;
    // A login without a terminal often lacks the places where people put programs.
    Ok(format!("PATH=$PATH:/usr/local/bin:$HOME/.local/bin:$HOME/.cargo/bin; export PATH; exec factory {line}"))
}

/// Writes the hold to each host as a person would, and says where that failed.
///
/// # Errors
/// A path that no shell can be given.
pub(super) async fn by_hand(
    wish: &Wish,
    hosts: &[&Host],
    context: &Context,
    inventory: &Inventory,
    fleet: &Fleet,
) -> Result<Vec<(String, Option<Error>)>> {
    let model = Model::of(&inventory.settings, &inventory.repos);
    let reason = wish.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let line = format!("held by {} at {}{reason}", wish.by, jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ"));
    let hold = [Hold {
        id: String::new(),
        scope: wish.scope.clone(),
        by: wish.by.clone(),
        since: jiff::Timestamp::now(),
        until: None,
        reason: None,
        found: None,
        ended: None,
    }];
    let (mut work, mut lines) = (Vec::new(), BTreeMap::new());
    for host in hosts {
        let wanted = Wanted::on(&host.name, &hold, &model);
        // These are edited under the guard's lock alone.
        for mark in wanted.lines {
            lines.entry(mark.key).or_insert_with(Vec::new).push(host.name.clone());
        }
        let files: Vec<_> = wanted.files.into_keys().collect();
        let hide: Vec<_> = wanted.hidden.into_iter().collect();
        work.push((host.name.clone(), reach(host), person::script(&host.home, &files, &hide, &line)?));
    }
    for (key, hosts) in lines {
        let hosts = hosts.join(", ");
        context.ui.warn(&format!(
            "the crontab lines of {key} are left as they are, so cron goes on starting it on {hosts}: whoever leads disables \
             them once the hold is found there, or you do with `crontab -e`"
        ));
    }
    let order: Vec<String> = work.iter().map(|(name, ..)| name.clone()).collect();
    let bounds = context.bounds(&inventory.settings);
    let (send, mut receive) = unbounded_channel();
    let fleet = fleet.clone();
    let tasks = each(work, bounds.forks, move |(name, reach, script): (String, _, String)| {
        let (send, fleet) = (send.clone(), fleet.clone());
        async move {
            let command = Command { script: &script, stdin: Vec::new(), timeout: bounds.command, max_output: 1 << 16 };
            let failed = match fleet.run(&reach, command).await {
                Ok(output) if output.succeeded() => None,
                Ok(output) => {
                    let last = output.last_error_line().map(|line| format!(": {line}")).unwrap_or_default();
                    Some(Error::failed(format!("writing the halt files {}{last}", output.ended)))
                }
                Err(failed) => Some(failed.to_error()),
            };
            fleet.release(&reach);
            let _ = send.send((name, failed));
        }
    });
    let mut told = Vec::new();
    while let Some(one) = receive.recv().await {
        told.push(one);
    }
    drop(tasks);
    told.sort_by_key(|(name, _)| order.iter().position(|one| one == name));
    Ok(told)
}
