//! The options of the bench.

use std::path::PathBuf;

/// One probe of every host, by this program and by others, side by side on one sshd
#[derive(clap::Parser, Debug)]
#[command(
    name = "sweep",
    after_help = "Examples:\n  cargo bench --bench sweep\n  PEERS_BIN=~/venv/bin cargo bench --bench sweep -- --hosts 50 --runs 5\n  cargo bench --bench sweep -- --hosts 1000 --runs 1 --peers factory,'xargs ssh' --delay 0"
)]
pub struct Options {
    /// How many hosts: a table for each number
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "50,200",
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=9999))]
    pub hosts: Vec<usize>,

    /// How many runs of each; the medians are shown
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100))]
    pub runs: usize,

    /// Fifty hosts, one run, and only those that need no minute
    #[arg(long)]
    pub quick: bool,

    /// The program, if not the one just built
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_factory"))]
    pub program: PathBuf,

    /// Only these, by their names in the table
    #[arg(long, value_name = "NAME,...", value_delimiter = ',',
          value_parser = clap::builder::PossibleValuesParser::new(crate::peers::NAMES))]
    pub peers: Vec<String>,

    /// How many hosts at once, for all alike
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1000))]
    pub forks: usize,

    /// How long the road of the second part is each way, in milliseconds; 0 leaves that part out
    #[arg(long, value_name = "MS", default_value_t = 25)]
    pub delay: u64,

    /// Given by cargo
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Options {
    /// The options as `--quick` changes them.
    pub fn settle(mut self) -> Options {
        // It runs in another directory.
        self.program = self.program.canonicalize().unwrap_or(self.program);
        if self.quick {
            (self.hosts, self.runs) = (vec![50], 1);
        }
        self
    }

    /// Whether this peer is asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.peers.is_empty() || self.peers.iter().any(|wanted| wanted == name)
    }
}
