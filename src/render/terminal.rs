//! What the terminal can show: colour, Unicode, width, progress bars.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use secrecy::SecretString;

use super::diagnostic::Style;
use crate::cli::global::When;

/// What the two streams can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Environment {
    /// How text on stdout looks.
    pub out: Style,
    /// How text on stderr looks.
    pub err: Style,
    /// Whether progress is a bar that is drawn again and again.
    pub bars: bool,
}

impl Environment {
    /// What this process's streams and variables say.
    pub fn detect(when: When) -> Environment {
        let width = |size: Result<rustix::termios::Winsize, _>| size.ok().map(|size| usize::from(size.ws_col));
        let out = std::io::stdout().is_terminal().then(|| width(tcgetwinsize(std::io::stdout())));
        let err = std::io::stderr().is_terminal().then(|| width(tcgetwinsize(std::io::stderr())));
        Environment::from(when, out, err, &|name| std::env::var_os(name))
    }

    /// The same, as a function of its inputs: `out` and `err` are absent for a pipe, else the width if it is known.
    fn from(
        when: When,
        out: Option<Option<usize>>,
        err: Option<Option<usize>>,
        var: &dyn Fn(&str) -> Option<OsString>,
    ) -> Environment {
        let set = |name: &str| var(name).is_some_and(|value| !value.is_empty());
        let dumb = var("TERM").is_some_and(|term| term == "dumb");
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| var(name).filter(|value| !value.is_empty()));
        let locale = locale.map(|value| value.to_string_lossy().to_lowercase()).unwrap_or_default();
        let unicode = locale.contains("utf-8") || locale.contains("utf8");
        let style = |stream: Option<Option<usize>>| {
            let terminal = stream.is_some() && !dumb;
            let color = match when {
                When::Always => true,
                When::Never => false,
                When::Auto => terminal && !set("NO_COLOR"),
            };
            // A terminal that does not know its width says 0.
            let width = stream.flatten().filter(|width| *width >= 20);
            Style {
                color,
                unicode: terminal && unicode,
                width: width.unwrap_or(Style::PLAIN.width),
                terminal: width.is_some(),
            }
        };
        Environment { out: style(out), err: style(err), bars: err.is_some() && !dumb && !set("CI") }
    }
}

/// How the terminal was before typing was hidden.
static HIDDEN: Mutex<Option<Termios>> = Mutex::new(None);

/// Asks on the terminal for something that is not shown while it is typed.
pub(super) fn ask_secret(question: &str) -> Option<SecretString> {
    let stdin = std::io::stdin();
    let shown = tcgetattr(&stdin).ok()?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    *HIDDEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
    let mut line = String::new();
    let mut stderr = std::io::stderr().lock();
    let asked = tcsetattr(&stdin, OptionalActions::Flush, &hidden).is_ok()
        && write!(stderr, "{question} ").and_then(|()| stderr.flush()).is_ok();
    let read = asked && stdin.read_line(&mut line).is_ok();
    show_typing();
    let _ = writeln!(stderr);
    let secret = line.trim_end_matches(['\r', '\n']);
    (read && !secret.is_empty()).then(|| SecretString::from(secret))
}

/// Shows again what is typed, where [`ask_secret`] hides it: whoever interrupts the question wants their terminal back.
pub fn show_typing() {
    if let Some(shown) = HIDDEN.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &shown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(when: When, terminal: bool, vars: &[(&str, &str)]) -> Environment {
        let stream = terminal.then_some(Some(100));
        Environment::from(when, stream, stream, &|name| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn colour_and_bars_follow_the_conventions() {
        let fine = [("TERM", "xterm-256color"), ("LANG", "en_US.UTF-8")];
        let seen = look(When::Auto, true, &fine);
        assert!(seen.out.color && seen.out.unicode && seen.bars && seen.out.width == 100);
        assert_eq!(look(When::Auto, false, &fine).out, Style::PLAIN);
        assert!(!look(When::Auto, false, &fine).bars);
        assert!(look(When::Always, false, &fine).out.color);
        assert!(!look(When::Never, true, &fine).out.color);
        assert!(!look(When::Auto, true, &[("NO_COLOR", "1")]).out.color);
        assert!(look(When::Auto, true, &[("NO_COLOR", "")]).out.color, "an empty NO_COLOR means nothing");
        let dumb = look(When::Auto, true, &[("TERM", "dumb"), ("LANG", "C.UTF-8")]);
        assert!(!dumb.out.color && !dumb.out.unicode && !dumb.bars);
        assert!(!look(When::Auto, true, &[("CI", "true")]).bars);
        assert!(!look(When::Auto, true, &[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]).out.unicode);
    }
}
