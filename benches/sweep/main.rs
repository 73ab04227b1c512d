//! `cargo bench --bench sweep`: one probe of every host, by this program and by others, side by side on one sshd.
//!
//! What is measured, and how, is told in docs/performance.md. It ends with 0 when it could measure this program and the
//! base; budgets that are not met are printed, and are no failure: a bench is no test.

mod answers;
mod ground;
mod measure;
mod options;
mod peers;
mod proxy;
mod road;
mod round;
mod table;

use std::process::ExitCode;

use clap::Parser;

use ground::Ground;
use options::Options;

fn main() -> ExitCode {
    let words: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    let ended = match words.split_first() {
        Some((first, rest)) if first == measure::WORD => measure::inside(rest),
        _ => bench(&Options::parse().settle()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("sweep: {why}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> Result<(), String> {
    let ground = Ground::start()?;
    let mut found = peers::find(&ground, &options.program, &options.peers);
    println!("machine: {}", peers::machine());
    println!(
        "this bench: {}",
        if cfg!(debug_assertions) { "a debug build: its figures say little" } else { "optimised" }
    );
    round::warm_up(&ground, &mut found, options)?;
    for peer in &found.peers {
        println!("{}: {}", peer.name, peer.version);
    }
    found.left_out.iter().for_each(|line| println!("{line}"));
    let mut missing = Vec::new();
    for count in &options.hosts {
        let costs = round::rounds(&ground, &found.peers, *count, options)?;
        println!("\n{}", round::report(*count, &costs, options));
        missing.extend(costs.iter().filter(|cost| cost.runs.is_empty()).map(|cost| cost.name));
    }
    if options.delay > 0 {
        println!("\n{}", road::report(&ground, &found.peers, options)?);
    }
    let there = |name: &str| found.peers.iter().any(|peer| peer.name == name) && !missing.contains(&name);
    match [peers::PROGRAM, peers::BASE].into_iter().find(|name| options.wants(name) && !there(name)) {
        Some(name) => Err(format!("{name} could not be measured")),
        None => Ok(()),
    }
}
