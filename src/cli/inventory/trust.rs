//! `factory inventory trust HOST` and `allow DIR`: what a person vouches for.

use std::path::PathBuf;

use super::super::context::{Context, wanted};
use super::super::global::Form;
use crate::error::{Diagnostics, Error, Result};
use crate::exit::Exit;
use crate::inventory::allow::AllowList;
use crate::inventory::hosts::{Connection, Host};
use crate::inventory::locate::Found;
use crate::render::table::{Field, Sheet};
use crate::ssh::{Fleet, Judgement, Target, Trust, known_hosts, trust};

/// Shows a host's key fingerprints and adds them to your known_hosts
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  factory inventory trust beefy-2\n  factory inventory trust builders --yes     without asking: only on a network that you trust"
)]
pub(in crate::cli) struct Args {
    /// Which hosts: a pattern
    host: String,
    /// Add them without asking, the same as --yes
    #[arg(long)]
    accept_new: bool,
}

/// Lets an inventory that was found by standing in a directory run its commands
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  factory inventory allow ./inventory\n\nIt is remembered by path and content: any change asks again."
)]
pub(in crate::cli) struct Allow {
    /// The inventory's directory
    dir: PathBuf,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit> {
    let inventory = context.inventory()?;
    let hosts = inventory.hosts.select(&args.host)?;
    let remote: Vec<&Host> = hosts.into_iter().filter(|host| host.connection == Connection::Ssh).collect();
    if remote.is_empty() {
        return Err(Error::inventory(format!("`{}` is this machine alone: it has no host key", args.host))
            .help("name a host with `ansible_connection: ssh`"));
    }
    let fleet = context.fleet(&inventory.settings).await?;
    let mut exits = Vec::new();
    for host in remote {
        exits.push(match one(host, &fleet, args, context).await {
            Ok(exit) => exit,
            Err(error) => {
                context.ui.error(&error);
                error.exit()
            }
        });
    }
    fleet.close().await;
    Ok(Exit::worst(exits))
}

async fn one(host: &Host, fleet: &Fleet, args: &Args, context: &Context) -> Result<Exit> {
    let (target, keys) = fleet.scan(&wanted(host)?).await.map_err(|failed| failed.to_error())?;
    let known = target.known_hosts()?;
    let mut notes = Diagnostics::default();
    notes.extend(known.notes().iter().cloned());
    context.ui.diagnostics(&notes);
    let judgements = trust::judge(&known, &target, &keys);
    show(&target, &judgements, context);
    if let Some(refusal) = trust::refusal(&target, &judgements) {
        return Err(refusal);
    }
    let new = judgements.iter().filter(|judgement| judgement.trust == Trust::New).count();
    if new == 0 {
        context.ui.note(&format!("{}: every key is known already", target.name));
        return Ok(Exit::Ok);
    }
    if context.global.diff {
        let (name, port) = target.known_as();
        for judgement in judgements.iter().filter(|judgement| judgement.trust == Trust::New) {
            context.ui.note(&format!("+{}", known_hosts::text(name, port, &judgement.key.key, None)?));
        }
    }
    if context.global.check {
        context.ui.note(&format!("{}: {new} new, nothing added (--check)", target.name));
        return Ok(Exit::Ok);
    }
    if !(args.accept_new || context.global.yes) {
        if !context.ui.can_ask() {
            return Err(Error::usage(format!("{}: there is nobody to ask whether these keys are right", target.name))
                .help("compare the fingerprints with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on that host, then give --yes"));
        }
        if !context.ui.ask(&format!("Are these the keys of {} ({})?", target.name, target.address())) {
            return Err(Error::failed(format!("{}: nothing added", target.name)));
        }
    }
    for added in trust::accept(&target, &judgements)? {
        context.ui.note(&format!("added {} at {}:{}", added.fingerprint, added.file.display(), added.line));
    }
    Ok(Exit::Ok)
}

fn show(target: &Target, judgements: &[Judgement], context: &Context) {
    if context.ui.form != Form::Text {
        let keys: Vec<serde_json::Value> = judgements
            .iter()
            .map(|judgement| {
                serde_json::json!({
                    "type": judgement.key.kind(),
                    "fingerprint": judgement.key.fingerprint,
                    "state": word(&judgement.trust)
                })
            })
            .collect();
        context
            .ui
            .object("trust", &serde_json::json!({ "host": target.name, "address": target.address(), "keys": keys }));
        return;
    }
    let mut sheet = Sheet::new(context.ui.out, &["HOST", "ADDRESS", "TYPE", "FINGERPRINT", "STATE"]);
    for judgement in judgements {
        let level = match judgement.trust {
            Trust::Already { .. } => 0,
            Trust::New => 1,
            Trust::Changed { .. } | Trust::Revoked { .. } => 3,
        };
        sheet.row([
            Field::text(&target.name),
            Field::text(target.address()),
            Field::text(judgement.key.kind()),
            Field::text(&judgement.key.fingerprint),
            Field::text(word(&judgement.trust)).level(level),
        ]);
    }
    context.ui.print(&sheet.to_string());
}

fn word(trust: &Trust) -> &'static str {
    match trust {
        Trust::Already { .. } => "known",
        Trust::New => "new",
        Trust::Changed { .. } => "changed",
        Trust::Revoked { .. } => "revoked",
    }
}

pub(super) fn allow(args: &Allow, context: &Context) -> Result<Exit> {
    let list = AllowList::in_state(&context.state_home()?);
    let shown = args.dir.display();
    let news = if context.global.check { !list.allows(&args.dir)? } else { list.allow(&args.dir)? };
    context.ui.note(&match (news, context.global.check) {
        (true, true) => format!("{shown} would be allowed to run its commands (--check)"),
        (true, false) => format!("{shown} may run its commands, as it is now"),
        (false, _) => format!("{shown} is allowed already"),
    });
    Ok(Exit::Ok)
}

/// Whether the commands of this inventory may run: one that was named or installed, or that was allowed as it is now.
pub(in crate::cli) fn may_run_commands(
    location: &crate::inventory::locate::Location,
    context: &Context,
) -> Result<bool> {
    if location.found != Found::Here {
        return Ok(true);
    }
    AllowList::in_state(&context.state_home()?).allows(&location.dir)
}
