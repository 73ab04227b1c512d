//! `factory completions` and `factory man`: generated from the command line's own definition.

use std::path::PathBuf;

use clap_complete::Shell;

use super::context::Context;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// Prints a completion script for a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  factory completions bash > ~/.local/share/bash-completion/completions/factory")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

/// Writes the manual pages into a directory
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  factory man ~/.local/share/man/man1 && man factory-run")]
pub(super) struct Man {
    /// The directory, made when it is not there
    dir: PathBuf,
}

pub(super) fn completions(args: &Completions, context: &Context) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "factory", &mut script);
    context.ui.print(&String::from_utf8_lossy(&script));
    Ok(Exit::Ok)
}

pub(super) fn man(args: &Man, context: &Context) -> Result<Exit> {
    let dir = args.dir.display();
    if context.global.check {
        context.ui.note(&format!("would write the manual pages into {dir} (--check)"));
        return Ok(Exit::Ok);
    }
    std::fs::create_dir_all(&args.dir)
        .and_then(|()| clap_mangen::generate_to(super::command(), &args.dir))
        .map_err(|error| Error::failed(format!("cannot write manual pages into {dir}")).because(error))?;
    context.ui.note(&format!("wrote the manual pages into {dir}"));
    Ok(Exit::Ok)
}
