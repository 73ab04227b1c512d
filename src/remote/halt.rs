//! A halt file: it exists while an agent is held, and holds one line per hold.

use jiff::Timestamp;

/// Where a halt file lies on its host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HaltFile {
    /// `AGENT` or `AGENT@REPO` in the directory `halt` of the factory's home.
    Home(String),
    /// A path of the agent's own: absolute, or with `~/`.
    Path(String),
}

impl HaltFile {
    /// The file for `agent` at every repo (`*`) or at one.
    pub fn of(agent: &str, repo: &str) -> HaltFile {
        HaltFile::Home(if repo == "*" { agent.to_owned() } else { format!("{agent}@{repo}") })
    }
}

/// As the guard is told of it, and as people read it.
impl std::fmt::Display for HaltFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HaltFile::Home(name) | HaltFile::Path(name) => f.write_str(name),
        }
    }
}

/// Who decided a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The pressure ladder.
    Auto,
    /// A person.
    Manual,
}

impl Kind {
    /// The word in the file.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Auto => "auto",
            Kind::Manual => "manual",
        }
    }
}

/// One line of a halt file: `auto|manual ID BY SINCE UNTIL EPOCH REASON`, each field percent-encoded; `-` stands for an
/// absent UNTIL or REASON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaltLine {
    /// Who decided.
    pub kind: Kind,
    /// The hold that it stands for: a token.
    pub id: String,
    /// Who holds, for people.
    pub by: String,
    /// Since when; kept to the second.
    pub since: Timestamp,
    /// Until when, if it ends by itself; kept to the second.
    pub until: Option<Timestamp>,
    /// The epoch in which the line was written.
    pub epoch: u64,
    /// Why, for people.
    pub reason: Option<String>,
}

impl HaltLine {
    /// The line, without a line break.
    pub fn render(&self) -> String {
        let time = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let until = self.until.map_or("-".to_owned(), time);
        let reason = self.reason.as_deref().filter(|reason| !reason.is_empty()).map_or("-".to_owned(), encode);
        let (kind, id, by) = (self.kind.word(), encode(&self.id), encode(&self.by));
        format!("{kind} {id} {by} {} {until} {} {reason}", time(self.since), self.epoch)
    }

    /// The line that `text` is; `None` for every other form, which is then a person's.
    pub fn parse(text: &str) -> Option<HaltLine> {
        let fields: Vec<&str> = text.split(' ').collect();
        let [kind, id, by, since, until, epoch, reason] = fields.as_slice() else { return None };
        let kind = match *kind {
            "auto" => Kind::Auto,
            "manual" => Kind::Manual,
            _ => return None,
        };
        let time = |text: &str| text.ends_with('Z').then(|| text.parse::<Timestamp>().ok())?;
        let absent = |text: &str| text == "-";
        let digits = !epoch.is_empty() && epoch.len() <= 15 && epoch.bytes().all(|b| b.is_ascii_digit());
        Some(HaltLine {
            kind,
            id: decode(id).filter(|id| !id.is_empty())?,
            by: decode(by)?,
            since: time(since)?,
            until: if absent(until) { None } else { Some(time(until)?) },
            epoch: epoch.parse().ok().filter(|_| digits)?,
            reason: if absent(reason) { None } else { Some(decode(reason)?) },
        })
    }
}

/// `text` without spaces, line breaks, control characters and `%`, and never empty nor a bare `-`: each such byte is
/// `%XX`.
pub fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' if text == "-" => encoded.push_str("%2D"),
            b'!'..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

/// The reverse of [`encode`]; `None` for what it cannot have written.
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, rest) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                rest = after;
            }
            (b'!'..=b'~', _) if *byte != b'%' => bytes.push(*byte),
            _ => return None,
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_survives_in_one_line(by in ".*", reason in proptest::option::of(".+"), id in "[a-z0-9]{1,9}",
                                         since in 0i64..4_000_000_000, until in proptest::option::of(0i64..4_000_000_000),
                                         epoch in 0u64..999_999_999_999_999) {
            let at = |second| Timestamp::from_second(second).unwrap();
            let line = HaltLine { kind: Kind::Manual, id, by, since: at(since), until: until.map(at), epoch, reason };
            let text = line.render();
            prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(HaltLine::parse(&text), Some(line));
        }

        #[test]
        fn no_other_text_is_taken_for_a_line_that_is_written_otherwise(text in "(auto|manual|x)( [!-~]{0,6}){0,8}") {
            if let Some(line) = HaltLine::parse(&text) {
                prop_assert_eq!(HaltLine::parse(&line.render()), Some(line));
            }
        }
    }

    #[test]
    fn what_a_person_writes_is_of_another_form() {
        for text in
            ["", "x", "manual", "stop, I am working here", "manual a b 2026-01-01T00:00:00Z - 1", "auto  a b c d e"]
        {
            assert_eq!(HaltLine::parse(text), None, "{text}");
        }
    }
}
