//! Logs: of one run as they are, of all line by line behind their names, or as JSON.

use std::collections::{BTreeMap, HashMap};
use std::io;

use jiff::Timestamp;
use owo_colors::OwoColorize;
use serde_json::{Value, json};

use super::Ui;
use super::table::{count, plain};
use crate::cli::global::Form;
use crate::remote::logs::Cursor;

/// How long a line may get before it is shown without its end, in bytes.
const MAX_LINE: usize = 64 << 10;

/// How much of a token is shown before a line.
const MAX_NAME: usize = 24;

/// Bytes of one log.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The host.
    pub host: &'a str,
    /// The log.
    pub log: &'a Cursor,
    /// Where they begin in it.
    pub offset: u64,
    /// When they were fetched.
    pub at: Timestamp,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// Shows logs as they come.
pub struct Logs {
    /// The bytes as they are, of one run.
    raw: bool,
    width: usize,
    /// What is not whole yet, by host, log and generation.
    open: BTreeMap<(String, String, String, u32), Vec<u8>>,
    /// Where each log should go on, to tell what is missing.
    next: HashMap<(String, String, String, u32), u64>,
    /// For `--output json`.
    kept: Vec<Value>,
    missing: u64,
}

impl Logs {
    /// For one run, `raw`, or for all on hosts of these names.
    pub fn new<'a>(raw: bool, hosts: impl Iterator<Item = &'a str>) -> Logs {
        let width = hosts.map(|host| host.chars().count()).max().unwrap_or_default();
        Logs { raw, width, open: BTreeMap::new(), next: HashMap::new(), kept: Vec::new(), missing: 0 }
    }

    /// Shows what came.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn take(&mut self, part: Part<'_>, ui: &Ui) -> io::Result<()> {
        let Part { host, log, offset, bytes, .. } = part;
        let key = (host.to_owned(), log.token.clone(), log.stream.clone(), log.generation);
        let next = self.next.entry(key.clone()).or_default();
        self.missing += offset.saturating_sub(*next);
        *next = offset + bytes.len() as u64;
        let stderr = log.stream == "err";
        match ui.form {
            Form::Json => self.kept.push(object(part)),
            Form::Jsonl => ui.object("log", &object(part)),
            Form::Text if self.raw => return ui.bytes(stderr, bytes),
            Form::Text => {
                let open = self.open.entry(key).or_default();
                open.extend(bytes);
                let whole = match open.iter().rposition(|byte| *byte == b'\n') {
                    Some(last) => last + 1,
                    None if open.len() > MAX_LINE => open.len(),
                    None => return Ok(()),
                };
                let lines: Vec<u8> = open.drain(..whole).collect();
                self.lines(host, log, &lines, ui)?;
            }
        }
        Ok(())
    }

    /// How many bytes were passed over since they are not kept any more.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Says what is missing, once.
    pub fn tell_missing(&mut self, ui: &Ui) {
        if self.missing > 0 {
            let bytes = count(usize::try_from(self.missing).unwrap_or(usize::MAX), "byte");
            ui.note(&format!("{bytes} of these logs are not kept here any more"));
            self.missing = 0;
        }
    }

    /// Shows what has no end yet, and with `--output json` everything.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn finish(mut self, ui: &Ui) -> io::Result<()> {
        for ((host, token, stream, _), rest) in std::mem::take(&mut self.open) {
            let log = Cursor { token, stream, ..Cursor::default() };
            self.lines(&host, &log, &rest, ui)?;
        }
        if ui.form == Form::Json {
            ui.object("logs", &json!({ "chunks": self.kept }));
        }
        Ok(())
    }

    fn lines(&self, host: &str, log: &Cursor, lines: &[u8], ui: &Ui) -> io::Result<()> {
        let stderr = log.stream == "err";
        let style = if stderr { ui.err } else { ui.out };
        let name = format!("{:width$} {}", plain(host), name(log), width = self.width);
        let name = if style.color { name.cyan().to_string() } else { name };
        let mut text = String::new();
        for line in String::from_utf8_lossy(lines).lines() {
            // Tabs are part of many programs' tables; other control characters could forge another log's line.
            let line = line.split('\t').map(plain).collect::<Vec<_>>().join("\t");
            text.push_str(&format!("{name} | {}\n", line.trim_end()));
        }
        ui.bytes(stderr, text.as_bytes())
    }
}

/// A run by its token without the day that it begins with, a file by its name.
fn name(log: &Cursor) -> String {
    let name = match log.token.split_once('-') {
        _ if log.token.is_empty() => log.stream.rsplit('/').next().unwrap_or_default(),
        Some((day, rest)) if day.len() == 8 && !rest.is_empty() => rest,
        _ => log.token.as_str(),
    };
    plain(&name.chars().take(MAX_NAME).collect::<String>())
}

/// One chunk; text where it is that, else Base64.
fn object(part: Part<'_>) -> Value {
    let Part { host, log, offset, at, bytes } = part;
    let mut object = json!({
        "host": host,
        "at": at,
        "stream": if log.token.is_empty() { "file" } else { log.stream.as_str() },
        "offset": offset,
        "length": bytes.len(),
    });
    let mut set = |key: &str, value: Value| {
        if let Value::Object(object) = &mut object {
            object.insert(key.to_owned(), value);
        }
    };
    if log.token.is_empty() {
        set("path", json!(log.stream));
        set("generation", json!(log.generation));
    } else {
        set("token", json!(log.token));
    }
    log.agent.iter().for_each(|agent| set("agent", json!(agent)));
    log.repo.iter().for_each(|repo| set("repo", json!(repo)));
    match std::str::from_utf8(bytes) {
        Ok(text) => set("text", json!(text)),
        Err(_) => set("base64", json!(crate::ssh::base64::encode(bytes))),
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short() {
        let of = |token: &str, stream: &str| {
            name(&Cursor { token: token.to_owned(), stream: stream.to_owned(), ..Cursor::default() })
        };
        assert_eq!(of("20260312-harb-12-a1", "out"), "harb-12-a1");
        assert_eq!(of("odd", "out"), "odd");
        assert_eq!(of("20260312-", "out"), "20260312-");
        assert_eq!(of("", "~/dark/dev/dev-agent.log"), "dev-agent.log");
        assert_eq!(of(&"x".repeat(99), "out").len(), MAX_NAME);
    }

    #[test]
    fn what_is_no_text_is_base64() {
        let log = Cursor { token: "t".into(), stream: "err".into(), ..Cursor::default() };
        let part = |bytes| Part { host: "h", log: &log, offset: 3, at: Timestamp::UNIX_EPOCH, bytes };
        assert_eq!(object(part(b"hi\0"))["text"], "hi\0");
        let binary = object(part(b"\xff\0"));
        assert_eq!((binary["base64"].as_str(), binary["length"].as_u64()), (Some("/wA="), Some(2)));
        assert!(binary.get("text").is_none());
    }
}
