//! `factory inventory schema`: JSON Schemas for editors.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::super::context::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::inventory::schema::{Kind, schema};

/// Prints the JSON Schema of a file, generated from the very types that read it
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  factory inventory schema repos > repos.schema.json")]
pub(in crate::cli) struct Args {
    /// Which file: repos.yml, factory.yml, or our variables in hosts.yml, group_vars/ and host_vars/
    #[arg(value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::name)).try_map(kind))]
    file: Kind,
}

fn kind(name: String) -> Result<Kind> {
    let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| Error::usage(format!("there is no schema `{name}`")))
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit> {
    context.ui.print(&format!("{:#}", schema(args.file)));
    Ok(Exit::Ok)
}
