//! `cargo bench --bench decide`: what it costs to decide, without anything that waits for a machine: the judging of
//! samples, of holds and of what there is to do in repos.
//!
//! What is decided on is made up, and goes through the same functions as in a tick.

mod ground;
// The other bench's, which also has budgets.
#[allow(dead_code)]
#[path = "../sweep/table.rs"]
mod table;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use factory::policy::queue::order;
use factory::tick::backlog::judge;
use factory::tick::decide::{decide, latches};

use ground::{Ground, Size};
use table::{Budget, Table};

/// The most that a decision on 1,000 hosts and 1,000 repos may take, in milliseconds.
const BUDGET: f64 = 10.0;

/// What it costs to decide on many hosts and repos.
#[derive(Parser)]
struct Options {
    /// How many hosts, and how many repos.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    hosts: usize,
    /// How often each is measured; the median is shown.
    #[arg(long, value_name = "N", default_value_t = 15)]
    runs: usize,
    /// Passed by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match bench(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("decide: {why}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> Result<(), String> {
    let mut table =
        Table::new(&["repos", "open issues", "open pulls", "samples, ms", "holds, ms", "repos, ms", "all, ms"]);
    let mut budgets = Vec::new();
    for size in [Size { issues: 0, pulls: 0 }, Size { issues: 8, pulls: 3 }, Size { issues: 50, pulls: 20 }] {
        let ground = Ground::new(options.hosts, size)?;
        let parts =
            [samples, holds, repos].map(|part| median((0..options.runs.max(1)).map(|_| part(&ground)).collect()));
        let all: f64 = parts.iter().sum();
        let mut row = vec![options.hosts.to_string(), size.issues.to_string(), size.pulls.to_string()];
        row.extend(parts.iter().chain([&all]).map(|ms| format!("{ms:.1}")));
        table.row(row);
        let what = format!("{} hosts and repos, {} issues and {} pulls each", options.hosts, size.issues, size.pulls);
        budgets.push(Budget { what, limit: BUDGET, measured: all, unit: " ms" });
    }
    println!("{table}");
    budgets.iter().for_each(|budget| println!("{budget}"));
    Ok(())
}

/// In milliseconds.
fn median(mut all: Vec<Duration>) -> f64 {
    all.sort();
    all.get(all.len() / 2).map_or(0.0, |middle| middle.as_secs_f64() * 1000.0)
}

/// Severities and rungs, by a new sample of each host.
fn samples(ground: &Ground) -> Duration {
    let news = ground.samples.clone();
    let began = Instant::now();
    for (sample, known) in news.into_iter().zip(&ground.known) {
        let latched = ground.ladder.latches(Some(&known.standing), latches(Some(&known.record)));
        let decided = decide(Some(&known.record), latched, &ground.inventory.settings.policy, sample);
        let step = ground.ladder.look(Some(&known.standing), &decided, &known.shown, 60.0, true);
        assert!(step.events.is_empty(), "a quiet host");
    }
    began.elapsed()
}

/// What is to be done on each host for the holds that there are.
fn holds(ground: &Ground) -> Duration {
    let began = Instant::now();
    for (sample, known) in ground.samples.iter().zip(&ground.known) {
        let plan = ground.plan(sample, known);
        assert!(plan.ops().is_empty(), "nothing is held: {plan:?}");
    }
    began.elapsed()
}

/// What there is to do in each repo, in order.
fn repos(ground: &Ground) -> Duration {
    let known = ground.repos();
    let began = Instant::now();
    let work = judge(&known, &ground.runs, &ground.inventory.settings.wake, ground.now);
    let mut items: Vec<_> = work.values().flat_map(|work| work.items.iter().cloned()).collect();
    order::sort(&mut items, ground.now);
    let took = began.elapsed();
    assert_eq!(items.is_empty(), ground.empty(), "half of all issues are ready");
    took
}
