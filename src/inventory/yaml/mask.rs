//! Secrets in a file that is about to be shown: the snippet of one problem must not show the password in the line
//! below it, so the text is blanked before any problem of the file is told.

use std::sync::Arc;

use super::node::{Node, Value};
use crate::error::SourceFile;

/// Whether a variable of this name holds a secret by Ansible's conventions: `ansible_password`, `*_pass`, tokens,
/// private keys and their passphrases. `*_file` and `*_mechanism` name where or how, not the secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ends = ["pass", "password", "passwd", "passphrase", "secret", "token", "private_key", "api_key"];
    ends.iter().any(|end| name == *end || name.strip_suffix(end).is_some_and(|head| head.ends_with(['_', '-', '.'])))
}

/// `source` with every secret value below `root` as asterisks, at the same length; `source` itself when there is none.
pub fn masked(source: &Arc<SourceFile>, root: &Node) -> Arc<SourceFile> {
    let mut spans = Vec::new();
    collect(root, false, &source.text, &mut spans);
    if spans.is_empty() {
        return Arc::clone(source);
    }
    spans.sort_unstable();
    spans.dedup();
    let mut text = String::with_capacity(source.text.len());
    let mut at = 0;
    for (start, end) in spans {
        let start = start.max(at);
        if let (Some(before), Some(secret)) = (source.text.get(at..start), source.text.get(start..end)) {
            text.push_str(before);
            blank(secret, &mut text);
            at = end;
        }
    }
    text.push_str(source.text.get(at..).unwrap_or_default());
    Arc::new(SourceFile { path: source.path.clone(), text })
}

/// As [`masked`], for a file that could not be parsed: what stands behind a key with a secret's name, and the lines
/// below it that are indented deeper.
pub(super) fn masked_lines(source: &Arc<SourceFile>) -> Arc<SourceFile> {
    let mut text = String::with_capacity(source.text.len());
    let mut inside: Option<usize> = None;
    let mut any = false;
    for line in source.text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        if inside.is_some_and(|outer| indent > outer || line.trim().is_empty()) {
            blank(line, &mut text);
            continue;
        }
        inside = None;
        match secret_from(line) {
            Some(from) => {
                let (key, value) = line.split_at_checked(from).unwrap_or((line, ""));
                text.push_str(key);
                blank(value, &mut text);
                inside = Some(indent);
                any = true;
            }
            None => text.push_str(line),
        }
    }
    if any { Arc::new(SourceFile { path: source.path.clone(), text }) } else { Arc::clone(source) }
}

/// Where the value of the first key with a secret's name begins in `line`.
fn secret_from(line: &str) -> Option<usize> {
    for (at, _) in line.match_indices(':') {
        let before = line.get(..at)?.trim_end().trim_end_matches(['"', '\'']);
        let name = before.rsplit(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))).next()?;
        if is_secret_name(name) {
            return Some(at + 1);
        }
    }
    line.contains("!vault").then(|| line.find("!vault")).flatten()
}

/// Adds `secret` as asterisks, a byte for a byte, its white space kept so that lines stay lines.
fn blank(secret: &str, text: &mut String) {
    for c in secret.chars() {
        if c.is_whitespace() {
            text.push(c);
        } else {
            text.extend(std::iter::repeat_n('*', c.len_utf8()));
        }
    }
}

fn collect(node: &Node, secret: bool, text: &str, spans: &mut Vec<(usize, usize)>) {
    let secret = secret || matches!(node.tag.as_deref(), Some("!vault" | "!vault-encrypted"));
    match &node.value {
        Value::Scalar { .. } if secret => spans.push((node.span.start, node.span.end)),
        Value::Scalar { .. } => {}
        Value::Sequence(items) => items.iter().for_each(|item| collect(item, secret, text, spans)),
        Value::Mapping(entries) => {
            for (key, value) in entries {
                let named = key.as_text().is_some_and(is_secret_name);
                if named {
                    spans.extend(around(key, value, text));
                }
                collect(value, secret || named, text, spans);
            }
        }
    }
}

/// What stands between a secret's name and its value, and behind it to the end of the line where there is no value:
/// a password that begins with `!` is a tag to YAML, one that begins with `#` a comment.
fn around(key: &Node, value: &Node, text: &str) -> Option<(usize, usize)> {
    let behind = text.get(key.span.end..)?;
    let start = key.span.end + behind.find(':')? + 1;
    let empty = value.span.end <= value.span.start || value.is_null();
    let line = start + text.get(start..)?.find('\n').unwrap_or(text.len() - start);
    // An aliased value stands elsewhere, and is masked there.
    let end = if empty || value.span.start < start { line } else { value.span.start };
    (start < end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Arc<SourceFile> {
        Arc::new(SourceFile { path: "hosts.yml".into(), text: text.to_owned() })
    }

    #[test]
    fn secrets_become_asterisks_at_the_same_length() {
        let text =
            "a:\n  ansible_password: hunter2\n  port: 1\n  v: !vault |\n    $ANSIBLE\n    6162\n  token: {env: X}\n";
        let source = source(text);
        let root = super::super::parse(&source).unwrap().unwrap();
        let shown = masked(&source, &root);
        assert_eq!(shown.text.len(), text.len());
        for secret in ["hunter2", "$ANSIBLE", "6162"] {
            assert!(!shown.text.contains(secret), "{}", shown.text);
        }
        assert!(shown.text.contains("port: 1"), "{}", shown.text);
    }

    #[test]
    fn a_file_that_does_not_parse_is_masked_by_its_lines() {
        let shown = masked_lines(&source("a:\n  ansible_ssh_pass: |\n    hunter2\n  b: [\n  k: {token: abc}\n"));
        assert!(!shown.text.contains("hunter2") && !shown.text.contains("abc"), "{}", shown.text);
        assert!(shown.text.contains("b: ["), "{}", shown.text);
    }
}
