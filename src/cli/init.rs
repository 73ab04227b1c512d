//! `factory init`: an inventory to start from.

use std::path::PathBuf;

use super::context::Context;
use crate::error::Result;
use crate::exit::Exit;
use crate::inventory::starter;

/// Writes a commented starter inventory; never overwrites
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  factory init                    into ./inventory\n  factory init ~/.config/factory/inventory"
)]
pub(super) struct Args {
    /// The directory to write into
    #[arg(default_value = "inventory")]
    dir: PathBuf,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit> {
    let check = context.global.check;
    let written = if check { starter::plan(&args.dir)? } else { starter::write(&args.dir)? };
    if context.ui.form != super::global::Form::Text {
        context.ui.object("init", &serde_json::json!({ "written": written }));
        return Ok(Exit::Ok);
    }
    for path in &written {
        context.ui.print(&format!("{} {}", if check { "would write" } else { "wrote" }, path.display()));
    }
    if check {
        return Ok(Exit::Ok);
    }
    let dir = args.dir.display();
    context.ui.note(&format!("next: name your hosts in {dir}/hosts.yml, then `factory inventory check -i {dir}`"));
    Ok(Exit::Ok)
}
