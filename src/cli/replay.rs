//! `factory replay`: recorded samples through the pressure ladder.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::context::Context;
use super::global::Form;
use crate::error::{Diagnostics, Error, Result};
use crate::exit::Exit;
use crate::inventory::Inventory;
use crate::inventory::settings::Settings;
use crate::policy::replay::{Line, Replay};
use crate::remote::sample::Sample;
use crate::render::replay;

/// A sample of a host with hundreds of runs is some 100 KiB; a longer line is none of ours.
const MAX_LINE: u64 = 16 << 20;

/// Feeds recorded samples through the pressure ladder and shows what it would have done
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  factory events --samples --since 7d -n 100000 > week.jsonl
  factory replay week.jsonl                          what the ladder of factory.yml would have done
  factory replay week.jsonl --policy trial.yml       what it would do with another `policy:`
  factory replay week.jsonl -o jsonl | jq -c 'select(.actions != [])'

It is the ladder by which `factory run` holds and stops agents. Every host begins at RUN. Nothing is
looked at but the samples, and nothing is changed: agents that the ladder would have stopped go on
in what was recorded. As text the changes alone are shown, and then how often each host changed and
how long it stood on each rung; `-o jsonl` tells of every sample.")]
pub(super) struct Args {
    /// Samples, one JSON object a line; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A factory.yml whose `policy:` and `agents:` count, in the place of the inventory's
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Exit> {
    let settings = settings(args, context)?;
    let shown = args.file.display().to_string();
    let cannot = |error: std::io::Error| Error::failed(format!("cannot read {shown}")).because(error);
    let input: Box<dyn Read> = if args.file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(&args.file).map_err(cannot)?)
    };
    let mut reader = BufReader::new(input);
    let mut replay = Replay::new(&settings);
    let mut lines: Vec<Line> = Vec::new();
    let mut number = 0_usize;
    loop {
        let mut text = Vec::new();
        let read = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut text).map_err(cannot)?;
        if read == 0 {
            break;
        }
        number += 1;
        if text.trim_ascii().is_empty() {
            continue;
        }
        let sample: Sample = serde_json::from_slice(&text).map_err(|error| {
            let column = error.column();
            Error::usage(format!("{shown}:{number}:{column}: this line is no sample"))
                .because(error)
                .help("`factory events --samples` and `factory probe -o jsonl` write such files")
        })?;
        let line = replay.take(&sample);
        match context.ui.form {
            Form::Jsonl => context.ui.object("replay", &line),
            Form::Json => lines.push(line),
            Form::Text => context.ui.print_some(&replay::line(&line, context.ui.out)),
        }
    }
    if number == 0 {
        return Err(Error::usage(format!("{shown} holds no sample"))
            .help("`factory events --samples` and `factory probe -o jsonl` write such files"));
    }
    let summary: BTreeMap<_, _> = replay.summary();
    match context.ui.form {
        Form::Json => {
            context.ui.object("replay", &serde_json::json!({ "samples": lines, "hosts": summary }));
        }
        Form::Jsonl => context.ui.object("replay-summary", &serde_json::json!({ "hosts": summary })),
        Form::Text => context.ui.print(&replay::summary(&summary, context.ui.out)),
    }
    Ok(Exit::Ok)
}

/// The numbers and agents to replay with; without any inventory the defaults.
fn settings(args: &Args, context: &Context) -> Result<Settings> {
    let mut problems = Diagnostics::default();
    let Some(file) = &args.policy else {
        return Ok(match context.locate() {
            Ok(location) => {
                Inventory::load(location, &mut problems).map(|inventory| inventory.settings).ok_or_else(|| {
                    Error::inventory("the inventory cannot be used")
                        .with(problems)
                        .help("`factory inventory check --offline` tells; `--policy FILE` takes another factory.yml")
                })?
            }
            Err(error) if context.global.inventory.is_some() => return Err(error),
            Err(_) => Settings::default(),
        });
    };
    if !file.is_file() {
        return Err(Error::usage(format!("there is no file {}", file.display()))
            .help("`--policy` takes a file with the key `policy:`, like factory.yml"));
    }
    let settings = Settings::load(file, &mut problems);
    settings.ok_or_else(|| {
        Error::inventory(format!("{} cannot be used", file.display()))
            .with(problems)
            .help("it is read as a factory.yml: the numbers stand below `policy:`")
    })
}
