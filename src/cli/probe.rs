//! `factory probe`: one sample of every host.

use std::collections::HashMap;

use super::context::{Context, targets};
use super::global::Form;
use crate::error::Result;
use crate::exit::Exit;
use crate::remote::sample::Sample;
use crate::render::hosts;
use crate::tick::decide::why_not;
use crate::tick::observe::Answer;
use crate::tick::{self, Progress, UNKNOWN};

/// Takes one sample of every host and shows it; judges and records nothing
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  factory probe\n  factory probe -l beefy-2 -o jsonl | jq .mem.available\n\nEnds with 4 when a host gave no whole sample."
)]
pub(super) struct Args {}

pub(super) async fn run(_: &Args, context: &Context) -> Result<Exit> {
    let inventory = context.inventory()?;
    let selected = context.hosts(&inventory)?;
    let mut samples: Vec<Sample> = Vec::new();
    let tell = |answer: Answer| {
        let Answer { sample, seconds, .. } = answer;
        let (level, verdict) = match why_not(&sample) {
            None => (0, "ok: a whole sample".to_owned()),
            Some(why) => (UNKNOWN, format!("unknown: {why}")),
        };
        context.ui.progress(&Progress::Answered { host: sample.host.clone(), level, seconds, verdict });
        samples.push(sample);
        false
    };
    let fleet = context.fleet(&inventory.settings).await?;
    let (targets, bounds) = (targets(&inventory, &selected), context.bounds(&inventory.settings));
    tick::probe(targets, &fleet, bounds, tell, &|step| context.ui.progress(step)).await;
    fleet.close().await;
    let order: HashMap<&str, usize> = selected.iter().enumerate().map(|(at, host)| (host.name.as_str(), at)).collect();
    samples.sort_by_key(|sample| order.get(sample.host.as_str()));
    match context.ui.form {
        Form::Text => context.ui.print(&hosts::samples(&samples, context.ui.out)),
        Form::Json => context.ui.object("probe", &serde_json::json!({ "samples": samples })),
        Form::Jsonl => samples.iter().for_each(|sample| context.ui.print(&serde_json::json!(sample).to_string())),
    }
    Ok(if samples.iter().all(Sample::is_whole) { Exit::Ok } else { Exit::Unreachable })
}
