//! `factory inventory list` and `graph`: the hosts as Ansible would show them.

use super::super::context::Context;
use super::super::global::Form;
use crate::error::{Diagnostics, Error, Result};
use crate::exit::Exit;
use crate::inventory::hosts::{Connection, Host, Hosts};
use crate::render::table::{Field, Sheet};

/// Lists the hosts; with `--output json` exactly as `ansible-inventory --list` does
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  factory inventory list\n  factory inventory list -l 'builders:!old'\n  factory inventory list -o json | jq ._meta.hostvars"
)]
pub(in crate::cli) struct List {}

/// Shows groups and hosts as a tree, as `ansible-inventory --graph` does
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  factory inventory graph")]
pub(in crate::cli) struct Graph {}

/// The hosts file alone: these verbs refuse nothing that Ansible accepts, a password say.
fn hosts(context: &Context) -> Result<Hosts> {
    let location = context.locate()?;
    let mut problems = Diagnostics::default();
    match Hosts::load(&location.hosts_yml, &mut problems) {
        Some(hosts) => Ok(hosts),
        None => Err(Error::inventory(format!("{} cannot be used", location.hosts_yml.display())).with(problems)),
    }
}

pub(super) fn list(context: &Context) -> Result<Exit> {
    let hosts = hosts(context)?;
    if context.ui.form != Form::Text {
        // Ansible's shape, not ours: tools that read that output read this one.
        let list = match &context.global.limit {
            Some(pattern) => hosts.list_json_of(pattern)?,
            None => hosts.list_json(),
        };
        context.ui.print(&if context.ui.form == Form::Jsonl { list.to_string() } else { format!("{list:#}") });
        return Ok(Exit::Ok);
    }
    let selected = match &context.global.limit {
        Some(pattern) => hosts.select(pattern)?,
        None => hosts.iter().collect(),
    };
    let mut sheet = Sheet::new(context.ui.out, &["HOST", "ADDRESS", "GROUPS"]);
    for host in selected {
        sheet.row([Field::text(&host.name), Field::text(destination(host)), Field::text(host.groups.join(","))]);
    }
    context.ui.print(&sheet.to_string());
    Ok(Exit::Ok)
}

pub(super) fn graph(context: &Context) -> Result<Exit> {
    context.ui.print(&hosts(context)?.graph());
    Ok(Exit::Ok)
}

/// Where a host is, as `ssh` would be told: `user@address:port`, as far as the inventory says it.
fn destination(host: &Host) -> String {
    if host.connection == Connection::Local {
        return "this machine".to_owned();
    }
    let user = host.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    match host.port {
        Some(port) if host.address.contains(':') => format!("{user}[{}]:{port}", host.address),
        Some(port) => format!("{user}{}:{port}", host.address),
        None => format!("{user}{}", host.address),
    }
}
