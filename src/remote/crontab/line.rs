//! What one line of a crontab is to cron.

/// What stands before a held line, up to its key.
const PREFIX: &[u8] = b"#factory:";

/// What ends it.
const SUFFIX: &[u8] = b"# ";

/// Whether a key can stand in `#factory:KEY# `: letters, digits, `.`, `_`, `-`, `@`, `:`.
pub(super) fn is_key(key: &[u8]) -> bool {
    !key.is_empty() && key.iter().all(|b| b.is_ascii_alphanumeric() || b"._-@:".contains(b))
}

/// A job line that is held, as its key and what it was; none for any other line, also for a comment that only looks
/// like one.
pub(super) fn held(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = line.strip_prefix(PREFIX)?;
    let at = rest.iter().position(|b| *b == b'#')?;
    let (key, rest) = rest.split_at_checked(at)?;
    let bare = rest.strip_prefix(SUFFIX)?;
    (is_key(key) && is_job(bare)).then_some((key, bare))
}

/// The line, held.
pub(super) fn hold(key: &[u8], bare: &[u8]) -> Vec<u8> {
    [PREFIX, key, SUFFIX, bare].concat()
}

/// Whether cron would run something for this line: five fields or `@word`, as Debian's cron and cronie read them. What a
/// command follows with is not looked at, so a table with a field for the user is read by the same rule.
pub(super) fn is_job(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let start = skip(line, blank);
    if start.first().is_none_or(|b| *b == b'#') || is_variable(start) {
        return false;
    }
    command(start).is_some()
}

/// What cron hands to the shell, before it looks for `%`; with the user where there is a field for one.
pub(super) fn command(line: &[u8]) -> Option<&[u8]> {
    let line = skip(line, blank);
    if let Some(word) = line.strip_prefix(b"@") {
        let rest = skip(word, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        let named = rest.len() < word.len() && rest.first().is_none_or(|b| blank(*b));
        return named.then(|| skip(rest, blank));
    }
    // A dash first: such a run is not logged.
    let mut rest = line.strip_prefix(b"-").unwrap_or(line);
    for (low, high, names) in FIELDS {
        rest = field(rest, low, high, names)?;
    }
    Some(rest)
}

fn blank(b: u8) -> bool {
    b == b' ' || b == b'\t'
}

fn skip(text: &[u8], unwanted: impl Fn(u8) -> bool) -> &[u8] {
    let at = text.iter().position(|b| !unwanted(*b)).unwrap_or(text.len());
    text.get(at..).unwrap_or_default()
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Lowest, highest, names.
const FIELDS: [(u32, u32, &[&str]); 5] = [(0, 59, &[]), (0, 23, &[]), (1, 31, &[]), (1, 12, MONTHS), (0, 7, DAYS)];

/// What follows a field that cron takes: a list of ranges with steps, of which the rest up to a blank is not looked at.
fn field<'a>(mut text: &'a [u8], low: u32, high: u32, names: &[&str]) -> Option<&'a [u8]> {
    let number = |text: &'a [u8]| {
        let rest = skip(text, |b| b.is_ascii_alphanumeric());
        let word = std::str::from_utf8(text.get(..text.len() - rest.len())?).ok()?;
        let name = || names.iter().position(|name| name.eq_ignore_ascii_case(word));
        // A name may stand for what no number is: its value is then not asked for.
        let known = word.parse::<u32>().map_or_else(|_| name().is_some(), |n| (low..=high).contains(&n));
        known.then_some(rest)
    };
    loop {
        text = match text.strip_prefix(b"*") {
            Some(rest) => rest,
            None => match number(text)? {
                [b'-', rest @ ..] => number(rest)?,
                rest => rest,
            },
        };
        if let Some(step) = text.strip_prefix(b"/") {
            let rest = skip(step, |b| b.is_ascii_digit());
            let digits = step.get(..step.len() - rest.len())?;
            if digits.iter().all(|b| *b == b'0') || rest.first().is_some_and(u8::is_ascii_alphabetic) {
                return None;
            }
            text = rest;
        }
        match text.strip_prefix(b",") {
            Some(rest) => text = rest,
            None => return Some(skip(skip(text, |b| !blank(b)), blank)),
        }
    }
}

/// Whether cron takes the line for `NAME=value`, which it asks before anything else. Names and values may be quoted; a
/// value that is not quoted may hold anything, but it must not be empty.
fn is_variable(line: &[u8]) -> bool {
    let space = |b: u8| b.is_ascii_whitespace() || b == 0x0b;
    let Some((rest, _)) = word(line, |b| space(b) || b == b'=') else { return false };
    let Some(value) = skip(rest, space).strip_prefix(b"=") else { return false };
    let value = skip(value, space);
    match word(value, |_| false) {
        Some((rest, quoted)) => !value.is_empty() && (!quoted || skip(rest, space).is_empty()),
        None => false,
    }
}

/// What follows a word, and whether it was quoted; none if its quote does not end.
fn word(text: &[u8], end: impl Fn(u8) -> bool) -> Option<(&[u8], bool)> {
    let Some(quote) = text.first().filter(|b| matches!(b, b'\'' | b'"')) else {
        return Some((skip(text, |b| !end(b)), false));
    };
    let inner = text.get(1..)?;
    let at = inner.iter().position(|b| b == quote)?;
    Some((inner.get(at + 1..)?, true))
}
