//! `factory inventory schema`: JSON Schemas for editors.

use super::super::context::Context;
use crate::error::Result;
use crate::exit::Exit;
use crate::inventory::schema::{Kind, schema};

/// Prints the JSON Schema of a file, generated from the very types that read it
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  factory inventory schema repos > repos.schema.json")]
pub(in crate::cli) struct Args {
    /// Which file: repos.yml, factory.yml, or our variables in hosts.yml, group_vars/ and host_vars/
    file: Kind,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit> {
    context.ui.print(&format!("{:#}", schema(args.file)));
    Ok(Exit::Ok)
}
