//! `cargo bench --bench pressure`: a synthetic week on one host under the product's own ladder, and under simpler laws.
//!
//! The ladder is the real one: the simulated machine gives samples, and these go through `policy::severity` and
//! `policy::ladder` as a tick takes them. What is simulated, and what it says, is told in docs/pressure.md.

mod agents;
mod dice;
mod host;
mod laws;
mod options;
mod picture;
mod results;
// The other bench's, which also has budgets.
#[allow(dead_code)]
#[path = "../sweep/table.rs"]
mod table;
mod week;
mod work;

use std::process::ExitCode;

use clap::Parser;

use agents::GIB;
use host::Machine;
use laws::{Kind, Setting};
use options::Options;
use results::Weeks;

fn main() -> ExitCode {
    match bench(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("pressure: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What dev agents are said to need, in GiB: the dial.
const NEEDS: [f64; 5] = [1.5, 2.0, 2.5, 3.0, 4.0];

fn bench(options: &Options) -> Result<(), String> {
    let large = Machine { slots: options.slots, ..Machine::LARGE };
    let small = Machine { slots: options.slots / 2, ..Machine::SMALL };
    let weeks = |name: String, setting: Setting| Weeks {
        name,
        outcomes: (1..=options.seeds).map(|seed| week::run(setting, seed, options.days)).collect(),
        days: f64::from(options.days),
    };
    println!("a week, if it does not say a day; means of {} seeds of {} days\n", options.seeds, options.days);
    for (title, machine) in [("16 GiB, 8 cores", large), ("8 GiB, 4 cores", small)] {
        let laws = Kind::ALL.map(|kind| weeks(kind.name().to_owned(), Setting::new(kind, machine)));
        println!("{}", results::table(title, &laws, options.markdown));
        let dial = |needs| Setting { needs: needs * GIB, ..Setting::new(Kind::Law, machine) };
        let dials = NEEDS.map(|needs| weeks(format!("needs.memory {needs}GiB"), dial(needs)));
        println!("{}", results::table(&format!("this law, {title}"), &dials, options.markdown));
    }
    let Some(file) = &options.picture else { return Ok(()) };
    let days = [Kind::Law, Kind::Skip].map(|kind| (kind, week::run(Setting::new(kind, large), 1, options.day)));
    let picture = picture::draw(&days, large, options.day);
    std::fs::write(file, picture).map_err(|error| format!("{}: {error}", file.display()))
}
