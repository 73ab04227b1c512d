//! The only place that prints: text, tables, progress, JSON.

pub mod crontabs;
pub mod diagnostic;
pub mod exec;
pub mod holds;
pub mod hosts;
pub mod logs;
pub mod practices;
mod progress;
pub mod ps;
pub mod queue;
pub mod replay;
pub mod repos;
pub mod runs;
pub mod status;
pub mod table;
mod terminal;

use std::io::{self, Write};
use std::sync::Arc;

use owo_colors::OwoColorize;
use secrecy::SecretString;
use serde_json::{Map, Value};

pub use self::diagnostic::Style;
pub use self::terminal::{Environment, show_typing};
use crate::cli::global::Form;
use crate::error::{Diagnostics, Error, Level};
use crate::tick::Progress;

/// The only door to stdout and stderr. Results go to stdout; progress, notes and errors to stderr.
#[derive(Clone)]
pub struct Ui {
    /// The form of results.
    pub form: Form,
    /// How text on stdout looks.
    pub out: Style,
    /// How text on stderr looks.
    pub err: Style,
    quiet: bool,
    bars: Arc<progress::Bars>,
}

impl Ui {
    /// A door that looks as the environment allows.
    pub fn new(form: Form, quiet: bool, environment: &Environment) -> Ui {
        let bars = Arc::new(progress::Bars::new(environment.bars && !quiet));
        Ui { form, out: environment.out, err: environment.err, quiet, bars }
    }

    /// A result, as text.
    pub fn print(&self, text: &str) {
        // A reader that went away (`factory events | head`) is no failure of ours, here and below.
        let _ = self.bars.suspend(|| write_all(&mut io::stdout().lock(), text));
    }

    /// The same, unless there is nothing to say.
    pub fn print_some(&self, text: &str) {
        if !text.is_empty() {
            self.print(text);
        }
    }

    /// A result as one JSON object: `{"v":1,"kind":KIND,...}`, on one line for `jsonl`, else indented.
    pub fn object(&self, kind: &str, value: &impl serde::Serialize) {
        let value = versioned(kind, serde_json::to_value(value).unwrap_or(Value::Null));
        let text = match self.form {
            Form::Jsonl => value.to_string(),
            _ => format!("{value:#}"),
        };
        self.print(&text);
    }

    /// Clears the terminal before a result that replaces the one before.
    pub fn clear(&self) {
        if self.out.color {
            self.print("\u{1b}[2J\u{1b}[H");
        }
    }

    /// Something worth knowing, unless `-q`.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            let _ = self.bars.suspend(|| write_all(&mut io::stderr().lock(), text));
        }
    }

    /// A line of a result that belongs to stderr: what a command on a host wrote there.
    pub fn line_to_stderr(&self, text: &str) {
        let _ = self.bars.suspend(|| write_all(&mut io::stderr().lock(), text));
    }

    /// Bytes of a result as they are, to stdout or stderr.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn bytes(&self, stderr: bool, bytes: &[u8]) -> io::Result<()> {
        self.bars.suspend(|| {
            let mut stream: Box<dyn Write> =
                if stderr { Box::new(io::stderr().lock()) } else { Box::new(io::stdout().lock()) };
            stream.write_all(bytes)?;
            stream.flush()
        })
    }

    /// Something that will need a person.
    pub fn warn(&self, text: &str) {
        let head = if self.err.color { "warning:".yellow().bold().to_string() } else { "warning:".to_owned() };
        let _ = self.bars.suspend(|| write_all(&mut io::stderr().lock(), &format!("{head} {text}")));
    }

    /// Why the verb could not do its work.
    pub fn error(&self, error: &Error) {
        let _ = self.bars.suspend(|| write_all(&mut io::stderr().lock(), &diagnostic::error(error, self.err)));
    }

    /// Problems in files, as many as anybody reads. Notes are left out with `-q`.
    pub fn diagnostics(&self, problems: &Diagnostics) {
        let text = diagnostic::diagnostics(problems.iter().filter(|p| !self.quiet || p.level > Level::Note), self.err);
        if !text.is_empty() {
            let _ = self.bars.suspend(|| write_all(&mut io::stderr().lock(), &text));
        }
    }

    /// How far a sweep is: a bar on a terminal, a line a host in a pipe.
    pub fn progress(&self, step: &Progress) {
        match self.bars.step(step, self.err) {
            Some(line) if !self.quiet => {
                let _ = write_all(&mut io::stderr().lock(), &line);
            }
            _ => {}
        }
    }

    /// Whether a person can be asked: stdin and stderr are a terminal.
    pub fn can_ask(&self) -> bool {
        io::IsTerminal::is_terminal(&io::stdin()) && io::IsTerminal::is_terminal(&io::stderr())
    }

    /// Asks for something that is not shown while it is typed; nothing typed is nothing given.
    pub fn ask_secret(&self, question: &str) -> Option<SecretString> {
        self.bars.suspend(|| terminal::ask_secret(question))
    }

    /// Asks a yes-or-no question; anything but `y` or `yes` is no.
    pub fn ask(&self, question: &str) -> bool {
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
    }
}

/// Why the process is about to be aborted. Takes no lock of stderr, which a thread that hangs may hold; may hang itself
/// where nobody reads.
pub fn last_words(why: &Error) {
    show_typing();
    let stderr = io::stderr();
    // Below a bar that is still drawn.
    let begin = if io::IsTerminal::is_terminal(&stderr) { "\n" } else { "" };
    let _ = rustix::io::write(&stderr, format!("{begin}{}", diagnostic::error(why, Style::PLAIN)).as_bytes());
}

fn write_all(stream: &mut impl Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        stream.write_all(b"\n")?;
    }
    stream.flush()
}

/// Puts `v` and `kind` in front of an object's own keys; anything but an object goes under `items`.
fn versioned(kind: &str, value: Value) -> Value {
    let mut object = Map::new();
    object.insert("v".to_owned(), Value::from(1));
    object.insert("kind".to_owned(), Value::from(kind));
    match value {
        Value::Object(own) => object.extend(own),
        other => {
            object.insert("items".to_owned(), other);
        }
    }
    Value::Object(object)
}

/// Sends the program's own log to stderr: nothing at 0, then what is done, how, and everything.
pub fn log_to_stderr(verbosity: u8, color: bool) {
    let level = match verbosity {
        0 => return,
        1 => "factory=info",
        2 => "factory=debug",
        _ => "factory=trace,russh=debug",
    };
    // A second call, in a test say, changes nothing.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(level)
        .with_ansi(color)
        .with_writer(io::stderr)
        .with_target(false)
        .try_init();
}
