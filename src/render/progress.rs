//! How far a sweep is: one bar with the names of those still out on a terminal, a line a host in a pipe.

use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::diagnostic::Style;
use super::table;
use crate::tick::Progress;

/// How many names of hosts still out are shown beside the bar.
const NAMES: usize = 4;

/// The bar, when one is drawn.
pub(super) struct Bars {
    enabled: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bar: Option<ProgressBar>,
    out: Vec<String>,
    total: usize,
    done: usize,
}

impl Bars {
    pub(super) fn new(enabled: bool) -> Bars {
        Bars { enabled, state: Mutex::default() }
    }

    /// Runs `print` with the bar out of the way.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        let bar = self.lock().bar.clone();
        match bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Moves the bar; where there is none, gives the line to print.
    pub(super) fn step(&self, step: &Progress, style: Style) -> Option<String> {
        let mut state = self.lock();
        match step {
            Progress::Begun { hosts } => {
                *state = State { total: *hosts, ..State::default() };
                if self.enabled {
                    let bar = ProgressBar::new(*hosts as u64).with_style(bar_style(style));
                    bar.enable_steady_tick(Duration::from_millis(100));
                    state.bar = Some(bar);
                }
                None
            }
            Progress::Asked { host } => {
                state.out.push(host.clone());
                state.show_names();
                None
            }
            Progress::Answered { host, level, seconds, verdict } => {
                state.out.retain(|name| name != host);
                state.done += 1;
                state.show_names();
                match &state.bar {
                    Some(bar) => {
                        bar.inc(1);
                        None
                    }
                    None => {
                        let verdict = table::verdict(verdict, *level, style);
                        Some(format!("[{}/{}] {host} in {seconds:.1}s: {verdict}", state.done, state.total))
                    }
                }
            }
            Progress::Ended => {
                if let Some(bar) = state.bar.take() {
                    bar.finish_and_clear();
                }
                None
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn show_names(&self) {
        let Some(bar) = &self.bar else { return };
        let mut names: Vec<&str> = self.out.iter().take(NAMES).map(String::as_str).collect();
        let more = format!("and {} more", self.out.len().saturating_sub(NAMES));
        if self.out.len() > NAMES {
            names.push(&more);
        }
        bar.set_message(names.join(", "));
    }
}

fn bar_style(style: Style) -> ProgressStyle {
    let template = "probing {pos}/{len} [{bar:30}] {elapsed}  {wide_msg}";
    let bars = if style.unicode { "━╸─" } else { "=> " };
    ProgressStyle::with_template(template).map_or_else(|_| ProgressStyle::default_bar(), |s| s.progress_chars(bars))
}
