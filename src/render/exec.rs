//! The output of one command on many hosts, each line behind the name of its host.

use std::collections::HashMap;

use owo_colors::OwoColorize;
use serde_json::{Value, json};

use super::Ui;
use super::table::plain;
use crate::error::Error;
use crate::ssh::exec::Ended;

/// How much of a host's output is kept for `--output json`, and how long a line may get before it is shown, in bytes.
const MAX_KEPT: usize = 1 << 20;

/// What comes from the hosts while their commands run.
pub enum Step {
    /// Output of a host; the second value says whether it is its standard error.
    Output(String, bool, Vec<u8>),
    /// A host's command has ended.
    Ended(String, Outcome),
}

/// How a host's command ended.
pub enum Outcome {
    /// It ran.
    Ended(Ended),
    /// It was not begun, and why.
    NotBegun(Box<Error>),
}

/// Puts output together into lines.
pub struct Lines {
    hosts: Vec<String>,
    width: usize,
    keep: bool,
    open: HashMap<(String, bool), Vec<u8>>,
    ended: HashMap<String, Outcome>,
}

impl Lines {
    /// For these hosts, shown in this order. With `keep` nothing is shown before the end.
    pub fn new(hosts: impl Iterator<Item = String>, keep: bool) -> Lines {
        let hosts: Vec<String> = hosts.collect();
        let width = hosts.iter().map(|host| host.chars().count()).max().unwrap_or_default();
        Lines { hosts, width, keep, open: HashMap::new(), ended: HashMap::new() }
    }

    /// Takes in a step and shows the lines that it completes.
    pub fn take(&mut self, step: Step, ui: &Ui) {
        match step {
            Step::Output(host, stderr, bytes) => {
                let open = self.open.entry((host.clone(), stderr)).or_default();
                if self.keep {
                    open.extend(bytes.iter().take(MAX_KEPT.saturating_sub(open.len())));
                    return;
                }
                open.extend(bytes);
                let whole = match open.iter().rposition(|byte| *byte == b'\n') {
                    Some(last) => last + 1,
                    None if open.len() > MAX_KEPT => open.len(),
                    None => return,
                };
                let lines: Vec<u8> = open.drain(..whole).collect();
                self.show(&host, stderr, &lines, ui);
            }
            Step::Ended(host, outcome) => {
                if !self.keep {
                    for stderr in [false, true] {
                        let rest = self.open.remove(&(host.clone(), stderr)).unwrap_or_default();
                        self.show(&host, stderr, &rest, ui);
                    }
                }
                self.ended.insert(host, outcome);
            }
        }
    }

    fn show(&self, host: &str, stderr: bool, lines: &[u8], ui: &Ui) {
        let style = if stderr { ui.err } else { ui.out };
        let name = format!("{host:width$}", width = self.width);
        let name = if style.color { name.cyan().to_string() } else { name };
        for line in String::from_utf8_lossy(lines).lines() {
            // Tabs are part of many programs' tables; other control characters could forge another host's line.
            let line = line.split('\t').map(plain).collect::<Vec<_>>().join("\t");
            let text = format!("{name} | {}", line.trim_end());
            if stderr { ui.line_to_stderr(&text) } else { ui.print(&text) }
        }
    }

    /// Shows the failures, last and in the order of the hosts, or everything as JSON; gives back how each ended.
    pub fn finish(mut self, ui: &Ui) -> Vec<Outcome> {
        if self.keep {
            let hosts: Vec<Value> = self.hosts.iter().map(|host| self.json(host)).collect();
            if ui.form == crate::cli::global::Form::Jsonl {
                hosts.iter().for_each(|host| ui.object("exec", host));
            } else {
                ui.object("exec", &json!({ "hosts": hosts }));
            }
        } else {
            for (host, outcome) in self.hosts.iter().filter_map(|host| Some((host, self.ended.get(host)?))) {
                match outcome {
                    Outcome::Ended(Ended::Exited(0)) => {}
                    Outcome::Ended(ended) => ui.warn(&format!("{host}: the command {ended}")),
                    Outcome::NotBegun(error) => ui.error(error),
                }
            }
        }
        self.hosts.iter().filter_map(|host| self.ended.remove(host)).collect()
    }

    fn json(&self, host: &str) -> Value {
        let text =
            |stderr| self.open.get(&(host.to_owned(), stderr)).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let (status, failure) = match self.ended.get(host) {
            Some(Outcome::Ended(Ended::Exited(status))) => (Some(*status), None),
            Some(Outcome::Ended(ended)) => (None, Some(ended.to_string())),
            Some(Outcome::NotBegun(error)) => (None, Some(error.with_causes())),
            None => (None, None),
        };
        json!({
            "host": host,
            "status": status,
            "failure": failure,
            "stdout": text(false).unwrap_or_default(),
            "stderr": text(true).unwrap_or_default(),
        })
    }
}
