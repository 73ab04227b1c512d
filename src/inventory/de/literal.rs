//! Secrets that stand in a file in the clear: found, told, and blotted out of every message.

use std::collections::HashSet;
use std::sync::Arc;

use super::address;
use super::hint;
use crate::error::{Diagnostic, SourceFile};
use crate::inventory::yaml::{Node, Value};

/// A secret in the clear: what it is and what to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clear {
    what: &'static str,
    help: &'static str,
}

impl Clear {
    const fn of(self, what: &'static str) -> Clear {
        Clear { what, ..self }
    }
}

const SECRET: Clear = Clear {
    what: "a secret",
    help: "write where it is kept: `{env: NAME}`, `{file: PATH}` or `{command: [PROGRAM, ARGUMENT]}`; and change the \
           secret, since it was in a file",
};

const LOGIN: Clear = Clear {
    what: "a URL with a password",
    help: "write the URL without what stands before the `@`, and the secret as `token: {env: NAME}`; and change it, \
           since it was in a file",
};

/// Ends of key names whose value is a secret.
const SECRET_KEYS: [&str; 11] = [
    "token",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "privatekey",
    "accesskey",
    "credential",
    "credentials",
    "passcode",
];

/// Beginnings of secrets that their makers marked as such.
const MARKS: [&str; 14] = [
    "ghp_",
    "gho_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "sk-ant-",
    "sk-proj-",
    "syt_",
    "tk_",
    "AKIA",
];

/// Names in the query of a URL whose value is a secret.
const QUERY: [&str; 9] = ["token", "access_token", "auth", "key", "api_key", "apikey", "secret", "password", "sig"];

/// Whether the value of a key of this name is a secret: `token`, `REVIEW_BOT_TOKEN`, `api-key`.
pub(crate) fn is_secret_key(key: &str) -> bool {
    let folded: String = key.chars().filter(char::is_ascii_alphanumeric).flat_map(char::to_lowercase).collect();
    // `TOKEN2` is one more of them. `keepalive_tokens` or `tokens: 3` is a number of them.
    let folded = folded.trim_end_matches(|c: char| c.is_ascii_digit());
    SECRET_KEYS.iter().any(|end| folded.ends_with(end))
}

/// What kind of secret `text` shows by itself, whatever its key.
pub(crate) fn secret_in(text: &str) -> Option<Clear> {
    if text.contains("-----BEGIN") && text.contains("PRIVATE KEY") {
        return Some(SECRET.of("a private key"));
    }
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')));
    for word in words {
        if MARKS.iter().any(|mark| word.len() >= mark.len() + 16 && word.starts_with(mark)) {
            return Some(SECRET.of("a token"));
        }
    }
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or_default();
    if let Some((user, _)) = authority.rsplit_once('@')
        && user.contains(':')
    {
        return Some(LOGIN.of("a URL with a password"));
    }
    if authority.eq_ignore_ascii_case("hooks.slack.com") {
        return Some(SECRET.of("a URL that is itself a secret"));
    }
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    let named = query.split(['&', '#']).any(|pair| {
        pair.split_once('=')
            .is_some_and(|(name, value)| !value.is_empty() && QUERY.contains(&name.to_lowercase().as_str()))
    });
    named.then_some(SECRET.of("a URL with a secret"))
}

/// Every literal secret below `node`, with the address of what to leave out.
pub(super) fn find(source: &Arc<SourceFile>, node: &Node) -> Vec<(usize, Diagnostic)> {
    let mut found = Vec::new();
    walk(node, &mut HashSet::new(), &mut |key, value, what| {
        let message = match key.and_then(Node::as_text) {
            Some(name) => format!("`{}` holds {} in the clear", hint::short(name), what.what),
            None => format!("{} in the clear", what.what),
        };
        let at = key.unwrap_or(value);
        found.push((address(at), Diagnostic::error(message).at(source, value.span).secret().help(what.help)));
    });
    found
}

/// Calls `tell(key, value, what)` for each secret below `node`, each shared node once.
fn walk<'n>(node: &'n Node, seen: &mut HashSet<usize>, tell: &mut impl FnMut(Option<&'n Node>, &'n Node, Clear)) {
    if !seen.insert(address(node)) {
        return;
    }
    match &node.value {
        Value::Scalar { text, .. } => {
            if let Some(what) = secret_in(text) {
                tell(None, node, what);
            }
        }
        Value::Sequence(items) => items.iter().for_each(|item| walk(item, seen, tell)),
        Value::Mapping(entries) => {
            for (key, value) in entries {
                if let Some(what) = key.as_text().and_then(secret_in) {
                    tell(None, key, what);
                }
                match &value.value {
                    Value::Scalar { text, .. } => {
                        let named = key.as_text().is_some_and(is_secret_key) && !value.is_null() && !text.is_empty();
                        let what = secret_in(text).or(named.then_some(SECRET));
                        if let Some(what) = what.filter(|_| seen.insert(address(value))) {
                            tell(Some(key), value, what);
                        }
                    }
                    _ => walk(value, seen, tell),
                }
            }
        }
    }
}

/// `text` with every secret replaced by asterisks, each byte of it at its old place. Line by line, so that it serves
/// for text that is no YAML, and by the nodes where there are any.
pub(super) fn blot(text: &str, root: Option<&Node>) -> String {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    if let Some(root) = root {
        walk(root, &mut HashSet::new(), &mut |_, value, _| spans.push((value.span.start, value.span.end)));
    }
    let mut start = 0;
    // The indentation of the key whose secret goes on in deeper lines.
    let mut below: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if below.is_some_and(|key| line.trim().is_empty() || indent > key) {
            spans.push((start, start + line.trim_end().len()));
        } else {
            let (secrets, open) = line_secrets(line);
            spans.extend(secrets.into_iter().map(|(from, to)| (start + from, start + to)));
            // The address of an alert sink is a secret, and it may stand under a misspelt key.
            spans.extend(behind_hosts(line).into_iter().map(|(from, to)| (start + from, start + to)));
            // The lines of a key stand as deep as its first.
            let key = line.contains("PRIVATE KEY-----").then(|| indent.saturating_sub(1));
            below = key.or(open.then_some(indent));
        }
        start += line.len();
    }
    blot_spans(text, spans)
}

/// The parts of a line behind `://HOST/`, up to a blank, a quote or a closing bracket.
pub(super) fn behind_hosts(line: &str) -> Vec<(usize, usize)> {
    let mut spans = Vec::new();
    let mut from = 0;
    while let Some(at) = line.get(from..).and_then(|rest| rest.find("://")) {
        let host = from + at + 3;
        let rest = line.get(host..).unwrap_or_default();
        let end = rest.find([' ', '\t', '\r', '\n', '"', '\'', '}', ']']).unwrap_or(rest.len());
        let path = rest.find(['/', '?', '#']).unwrap_or(end).min(end);
        if path + 1 < end {
            spans.push((host + path + 1, host + end));
        }
        from = host + end;
    }
    spans
}

/// `text` with the bytes of `spans` replaced by asterisks.
fn blot_spans(text: &str, mut spans: Vec<(usize, usize)>) -> String {
    if spans.is_empty() {
        return text.to_owned();
    }
    spans.sort_unstable();
    let mut spans = spans.into_iter().peekable();
    let mut hidden = 0;
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        while let Some((_, end)) = spans.next_if(|(start, _)| *start <= at) {
            hidden = hidden.max(end);
        }
        if at < hidden && !matches!(c, '\n' | '\r') {
            // As many bytes as before, so that every place stays right; the column is off only behind the secret.
            out.extend(std::iter::repeat_n('*', c.len_utf8()));
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether what stands behind `token:` says where a secret is kept, or is nothing yet.
fn is_reference(value: &str) -> bool {
    let Some(inner) = value.strip_prefix('{') else { return value.is_empty() || value.starts_with('#') };
    let Some((kind, place)) = inner.split_once(':') else { return false };
    let name = place.trim().split(['}', ' ', ',']).next().unwrap_or_default();
    match kind.trim() {
        "env" => name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
        kind => matches!(kind, "file" | "command"),
    }
}

/// Blots the text at each secret problem out of what all the others show too: they may stand a line beside it.
pub(crate) fn conceal(problems: &mut [Diagnostic]) {
    let secret = problems.iter().filter(|problem| problem.secret).filter_map(|problem| problem.place.as_ref());
    let spans: Vec<(usize, usize)> = secret.map(|place| (place.span.start, place.span.end)).collect();
    let Some(first) = problems.iter().find_map(|problem| problem.place.as_ref()).filter(|_| !spans.is_empty()) else {
        return;
    };
    let text = blot_spans(&first.source.text, spans);
    let source = Arc::new(SourceFile { path: first.source.path.clone(), text });
    for place in problems.iter_mut().filter_map(|problem| problem.place.as_mut()) {
        place.source = Arc::clone(&source);
    }
}

/// The parts of a line that look like secrets: words that show it, and what stands behind `token: `, of which it also
/// says whether that may go on below.
fn line_secrets(line: &str) -> (Vec<(usize, usize)>, bool) {
    let body = line.trim_end();
    let mut spans = Vec::new();
    let mut from = 0;
    for word in body.split_inclusive([' ', ',', '"', '\'', '{', '}', '[', ']']) {
        if secret_in(word).is_some() {
            spans.push((from, from + word.len()));
        }
        from += word.len();
    }
    if body.contains("PRIVATE KEY-----") {
        spans.push((line.len() - line.trim_start().len(), body.len()));
    }
    from = 0;
    for (at, c) in body.char_indices().filter(|(_, c)| matches!(c, ':' | '=')) {
        let name = body.get(from..at).unwrap_or_default().trim_end();
        let name = name.rsplit(['{', ',', ' ', '?', '&']).next().unwrap_or_default().trim_matches(['"', '\'']);
        from = at + c.len_utf8();
        let value = body.get(from..).unwrap_or_default();
        if is_secret_key(name) && !is_reference(value.trim()) {
            spans.push((from + value.len() - value.trim_start().len(), body.len()));
            return (spans, true);
        }
    }
    (spans, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_show_by_name_or_by_form() {
        for key in ["token", "HARB_TOKEN", "review_token", "api-key", "API_KEY", "Password", "clientSecret", "TOKEN2"] {
            assert!(is_secret_key(key), "{key}");
        }
        for key in ["tokens", "slug", "key", "match", "secrets_dir", "account"] {
            assert!(!is_secret_key(key), "{key}");
        }
        for text in [
            "ghp_0123456789abcdef0123",
            "https://bot:hunter2@codeberg.org/a/b",
            "https://hooks.slack.com/services/T0/B0/abc",
            "https://example.org/hook?x=1&token=abc",
            "curl -H ghp_0123456789abcdef0123",
        ] {
            assert!(secret_in(text).is_some(), "{text}");
        }
        for text in [
            "https://codeberg.org/johba/harb",
            "ghp_short",
            "https://ntfy.sh/topic",
            "git@codeberg.org:a/b",
            "ssh://git@codeberg.org/a",
            "a?token=",
            "",
        ] {
            assert!(secret_in(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_blotted_keeps_its_length() {
        let text = "a: 1\n token: hünter2 # x\nurl: https://u:pw@h/\nfile: {token: {env: X}, password: pw2}\nb: 2\n";
        let out = blot(text, None);
        assert_eq!(out.len(), text.len());
        assert!(!out.contains("nter2") && !out.contains("pw"), "{out}");
        assert!(out.contains("token: {env: X}") || out.contains("file: {token:"), "{out}");
        assert!(out.starts_with("a: 1\n token: *") && out.ends_with("\nb: 2\n"), "{out}");
    }
}
