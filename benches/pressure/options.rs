//! The options of the bench.

use std::path::PathBuf;

/// A synthetic week on one host under the pressure ladder, and under simpler laws
#[derive(clap::Parser, Debug)]
#[command(
    name = "pressure",
    after_help = "Examples:\n  cargo bench --bench pressure\n  cargo bench --bench pressure -- --seeds 20 --days 14\n  cargo bench --bench pressure -- --markdown --picture docs/pressure.svg"
)]
pub struct Options {
    /// How many weeks, each of another seed: 1, 2, 3 ...
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,

    /// How long each of them is
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=365))]
    pub days: u32,

    /// Agents at once on the larger host; half as many on the smaller
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(2..=50))]
    pub slots: usize,

    /// Writes an SVG of one day of seed 1 on the larger host
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,

    /// Which day that is, from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=365))]
    pub day: u32,

    /// Prints tables that are Markdown, with the lowest and the highest seed behind each mean
    #[arg(long)]
    pub markdown: bool,

    /// Given by cargo
    #[arg(long, hide = true)]
    pub bench: bool,
}
