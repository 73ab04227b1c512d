//! The flags that every verb takes.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, ValueEnum};

use crate::inventory::units::Span;

/// Flags that every verb takes; each has a `FACTORY_*` variable.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The inventory: a directory or its hosts.yml [default: ./inventory, ~/.config/factory/inventory, /etc/factory/inventory]
    #[arg(short, long, global = true, value_name = "DIR", env = "FACTORY_INVENTORY", hide_env = true)]
    pub inventory: Option<PathBuf>,

    /// Where state is kept [default: ~/.local/state/factory/FLEET]
    #[arg(long, global = true, value_name = "DIR", env = "FACTORY_STATE", hide_env = true)]
    pub state: Option<PathBuf>,

    /// Only hosts that match: names, groups, globs, ~regex, `web:&prod:!old`
    #[arg(short, long, global = true, value_name = "PATTERN", env = "FACTORY_LIMIT", hide_env = true)]
    pub limit: Option<String>,

    /// How many hosts at once
    #[arg(short, long, global = true, value_name = "N", default_value_t = 20, env = "FACTORY_FORKS", hide_env = true,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub forks: u16,

    /// Change nothing: say what would be done
    #[arg(short = 'C', long, global = true, env = "FACTORY_CHECK", hide_env = true, value_parser = FalseyValueParser::new())]
    pub check: bool,

    /// Show what changes in files, line by line
    #[arg(short = 'D', long, global = true, env = "FACTORY_DIFF", hide_env = true, value_parser = FalseyValueParser::new())]
    pub diff: bool,

    /// How long one command on a host may take, such as `30s` [default: `ssh.command` of factory.yml, 60s]
    #[arg(short = 'T', long, global = true, value_name = "TIME", env = "FACTORY_TIMEOUT", hide_env = true)]
    pub timeout: Option<Span>,

    /// Tell more: -v what is done, -vv how, -vvv everything
    #[arg(short, long, global = true, action = ArgAction::Count, env = "FACTORY_VERBOSE", hide_env = true)]
    pub verbose: u8,

    /// Tell only results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose", env = "FACTORY_QUIET", hide_env = true, value_parser = FalseyValueParser::new())]
    pub quiet: bool,

    /// The form of results
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORM",
        default_value = "text",
        env = "FACTORY_OUTPUT",
        hide_env = true
    )]
    pub output: Form,

    /// When to colour; NO_COLOR and TERM=dumb are honoured
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", env = "FACTORY_COLOR", hide_env = true)]
    pub color: When,

    /// Answer yes to every question
    #[arg(short, long, global = true, env = "FACTORY_YES", hide_env = true, value_parser = FalseyValueParser::new())]
    pub yes: bool,

    /// Which inventory host this machine is
    #[arg(long = "as", global = true, value_name = "NAME", env = "FACTORY_AS", hide_env = true)]
    pub as_name: Option<String>,
}

/// The form of results on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON object.
    Json,
    /// One JSON object a line.
    Jsonl,
}

/// When text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal.
    Auto,
    /// In a pipe too.
    Always,
    /// Never.
    Never,
}
