//! What `Host` and `Match` ask for.

use super::pattern;
use super::words::{shown, split};

/// One pattern of a `Host` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    negated: bool,
    text: String,
}

/// The patterns of a `Host` line.
///
/// # Errors
/// An empty pattern, or an open quote.
pub(super) fn host(text: &str) -> Result<Vec<Pattern>, String> {
    let words = split(text)?;
    if words.is_empty() || words.iter().any(String::is_empty) {
        return Err("an empty pattern".to_owned());
    }
    Ok(words
        .into_iter()
        .map(|word| match word.strip_prefix('!') {
            Some(rest) => Pattern { negated: true, text: rest.to_owned() },
            None => Pattern { negated: false, text: word },
        })
        .collect())
}

/// Whether the patterns of a `Host` line stand for `name`, of which the case counts: some does, and no negated one.
pub(super) fn stand_for(patterns: &[Pattern], name: &str) -> bool {
    let fits = |pattern: &&Pattern| pattern::matches(name.as_bytes(), pattern.text.as_bytes());
    let mut fitting = patterns.iter().filter(fits).peekable();
    fitting.peek().is_some() && fitting.all(|pattern| !pattern.negated)
}

/// What is compared in a `Match` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The name that is connected to.
    Host,
    /// The name that was asked about.
    OriginalHost,
    /// The user over there.
    User,
    /// The user here.
    LocalUser,
    /// A command's exit status; it is not run here.
    Exec,
}

/// One criterion of a `Match` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Criterion {
    pub(super) negated: bool,
    /// `None`: `all`.
    pub(super) subject: Option<Subject>,
    pub(super) list: String,
}

/// The criteria of a `Match` line.
///
/// # Errors
/// A criterion that is not known here, or quotes about which ssh's versions differ.
pub(super) fn matching(text: &str) -> Result<Vec<Criterion>, String> {
    let words = split(text)?;
    if words.iter().any(String::is_empty) {
        return Err("an empty word in a `Match`".to_owned());
    }
    let mut criteria = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let (negated, name) = word.strip_prefix('!').map_or((false, word.as_str()), |name| (true, name));
        let subject = match name.to_ascii_lowercase().as_str() {
            "all" if words.len() == 1 => {
                criteria.push(Criterion { negated, subject: None, list: String::new() });
                continue;
            }
            "host" => Subject::Host,
            "originalhost" => Subject::OriginalHost,
            "user" => Subject::User,
            "localuser" => Subject::LocalUser,
            "exec" => Subject::Exec,
            _ => return Err(format!("`Match {}`", shown(word))),
        };
        let list = rest.next().ok_or_else(|| format!("nothing after `Match {}`", shown(word)))?.clone();
        criteria.push(Criterion { negated, subject: Some(subject), list });
        if subject == Subject::Exec {
            // Words of a command are told apart otherwise by other versions; these change even what is read twice.
            let twice = |word: &String| matches!(word.trim_start_matches('!'), "final" | "canonical");
            return if rest.any(twice) { Err("`Match final`".to_owned()) } else { plain_before_exec(text, criteria) };
        }
    }
    if criteria.is_empty() || !plain(text) {
        return Err(format!("`Match {}`", shown(text)));
    }
    Ok(criteria)
}

fn plain_before_exec(text: &str, criteria: Vec<Criterion>) -> Result<Vec<Criterion>, String> {
    let end = text.to_ascii_lowercase().find("exec").unwrap_or(text.len());
    let before = text.get(..end).unwrap_or_default();
    if before.contains('"') || !plain(before) { Err(format!("`Match {}`", shown(text))) } else { Ok(criteria) }
}

/// Whether all versions of ssh see the same words: quotes only round whole words.
fn plain(text: &str) -> bool {
    let text = split_comment(text);
    let parts: Vec<&str> = text.split('"').collect();
    let blank = |c: Option<char>| c.is_none_or(|c| matches!(c, ' ' | '\t'));
    let last = parts.len().saturating_sub(1);
    !text.contains(['\'', '\\', '='])
        && parts.iter().enumerate().step_by(2).all(|(at, part)| {
            let before = at == 0 || (blank(part.chars().next()) && !(part.is_empty() && at != last));
            let after = at == last || blank(part.chars().next_back());
            before && after
        })
}

fn split_comment(text: &str) -> &str {
    match text.find(" #").or_else(|| text.find("\t#")) {
        Some(end) if !text.contains('"') => text.get(..end).unwrap_or(text),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negated_pattern_of_a_host_line_wins() {
        let stands = |line: &str, name| stand_for(&host(line).unwrap(), name);
        assert!(stands("web-* db", "web-1") && stands("web-* db", "db") && !stands("web-*", "db"));
        assert!(!stands("* !web-1", "web-1") && !stands("!web-1 *", "web-1") && !stands("!web-1", "db"));
        assert!(!stands("a,b", "a") && !stands("Web", "web") && stands("\"a b\" c", "c"));
        host("\"\"").unwrap_err();
    }

    #[test]
    fn criteria_that_are_not_known_are_told() {
        let all = matching("all").unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(matching("host \"a,b\" !user root # x").unwrap().len(), 2);
        assert_eq!(matching("!exec \"test -f x\"").unwrap().len(), 1);
        assert_eq!(matching("host x Exec \"a=b 'c'\"").unwrap().len(), 2);
        for line in [
            "final all",
            "canonical",
            "all host x",
            "host x all",
            "tagged x",
            "localnetwork 10.0.0.0/8",
            "host",
            "host=x",
            "host 'x'",
            "host a\"b\"",
            "host x\\ y",
            "# x",
            "exec a final",
            "user \"\"",
            "host \"a\" exec x",
        ] {
            assert!(matching(line).is_err(), "{line}");
        }
    }
}
