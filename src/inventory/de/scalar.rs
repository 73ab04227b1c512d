//! Scalars by the type that is wanted: no `yes` for true, no octal, no text that turns into a number.

use serde::de::Visitor;

use super::hint;
use super::problem::Problem;
use crate::inventory::yaml::{Node, Value};

/// What to do about `{{ ... }}` without quotes, which YAML reads as mappings.
pub(super) const UNQUOTED: &str = "a value that begins with `{` must be quoted: \"{{ issue.number }}\"";

/// What a scalar is wanted as.
#[derive(Clone, Copy)]
pub(super) enum Read {
    /// Whatever it looks like.
    Any,
    /// `true` or `false`.
    Bool,
    /// A whole number between the two.
    Integer { min: i128, max: i128 },
    /// A number.
    Float,
    /// The text as written.
    Text,
}

/// What a node is, with its text where that is short.
pub(super) fn found(node: &Node) -> String {
    match node.as_text() {
        Some(text) if !node.is_null() => format!("`{}`", hint::short(text)),
        _ => node.kind().to_owned(),
    }
}

/// "must be WANTED, and this is FOUND", with a hint for what people often mean.
pub(super) fn wrong(wanted: &str, node: &Node) -> Problem {
    if node.as_mapping().is_some_and(|entries| entries.iter().any(|(key, _)| key.as_text().is_none())) {
        return Problem::wrong_help(wanted, found(node), UNQUOTED);
    }
    Problem::wrong(wanted, found(node))
}

/// Hands the scalar to `visitor` as what is wanted.
pub(super) fn visit<'a, V: Visitor<'a>>(node: &'a Node, read: Read, visitor: V) -> Result<V::Value, Problem> {
    if let Some(tag) = &node.tag
        && !tag.starts_with("tag:yaml.org,2002:")
    {
        let tag = hint::short(tag);
        return Err(Problem::wrong_help(
            "plain YAML",
            format!("tagged `{tag}`"),
            "remove the tag; a secret is written `{env: NAME}`, `{file: PATH}` or `{command: [...]}`",
        ));
    }
    let (text, plain) = match &node.value {
        Value::Scalar { text, plain } => (text.as_str(), *plain),
        _ => return Err(wrong(wanted(read), node)),
    };
    match read {
        Read::Text if node.is_null() => Err(wrong("text", node)),
        Read::Text => visitor.visit_borrowed_str(text),
        Read::Bool => match text {
            "true" if plain => visitor.visit_bool(true),
            "false" if plain => visitor.visit_bool(false),
            _ => Err(Problem::wrong_help(wanted(read), found(node), truth(text, plain))),
        },
        Read::Integer { min, max } => integer(node, text, plain, min, max, visitor),
        Read::Float => match float(text).filter(|_| plain) {
            Some(number) => visitor.visit_f64(number),
            None => Err(number_problem("a number", node, text, plain)),
        },
        Read::Any if node.is_null() => Err(wrong("set", node)),
        Read::Any if !plain => visitor.visit_borrowed_str(text),
        Read::Any => match (text, whole(text), float(text)) {
            ("true", ..) => visitor.visit_bool(true),
            ("false", ..) => visitor.visit_bool(false),
            (_, Some(number), _) if u64::try_from(number).is_ok() => visitor.visit_u64(number as u64),
            (_, Some(number), _) if i64::try_from(number).is_ok() => visitor.visit_i64(number as i64),
            (_, None, Some(number)) => visitor.visit_f64(number),
            _ => visitor.visit_borrowed_str(text),
        },
    }
}

fn wanted(read: Read) -> &'static str {
    match read {
        Read::Bool => "true or false",
        Read::Integer { .. } => "a whole number",
        Read::Float => "a number",
        Read::Any | Read::Text => "text",
    }
}

fn truth(text: &str, plain: bool) -> String {
    match text.to_lowercase().as_str() {
        "true" if !plain => "write true without quotes".to_owned(),
        "false" if !plain => "write false without quotes".to_owned(),
        "yes" | "on" | "y" | "true" | "1" => "write true".to_owned(),
        "no" | "off" | "n" | "false" | "0" => "write false".to_owned(),
        _ => "write true or false".to_owned(),
    }
}

fn integer<'a, V: Visitor<'a>>(
    node: &Node,
    text: &str,
    plain: bool,
    min: i128,
    max: i128,
    visitor: V,
) -> Result<V::Value, Problem> {
    match whole(text).filter(|_| plain) {
        Some(number) if number < min || number > max => {
            Err(Problem::wrong(format!("a whole number from {min} to {max}"), found(node)))
        }
        Some(number) => match (u64::try_from(number), i64::try_from(number)) {
            (Ok(number), _) => visitor.visit_u64(number),
            (_, Ok(number)) => visitor.visit_i64(number),
            _ => Err(wrong("a whole number", node)),
        },
        None => Err(number_problem("a whole number", node, text, plain)),
    }
}

fn number_problem(wanted: &str, node: &Node, text: &str, plain: bool) -> Problem {
    let digits = text.trim_start_matches(['-', '+']);
    let bare = digits.trim_start_matches('0');
    if !plain && float(text).is_some() {
        return Problem::wrong_help(wanted, format!("text in quotes, \"{}\"", hint::short(text)), "remove the quotes");
    }
    if digits.len() > bare.len() && !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit()) {
        return Problem::wrong_help(wanted, found(node), format!("write {} without leading zeros", hint::short(bare)));
    }
    wrong(wanted, node)
}

/// A whole number in decimal, without leading zeros.
fn whole(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let leading = digits.len() > 1 && digits.starts_with('0');
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && !leading;
    // Beyond 38 digits it is out of every range all the same.
    if plain { Some(text.parse().unwrap_or(if text.starts_with('-') { i128::MIN } else { i128::MAX })) } else { None }
}

/// A decimal number, without leading zeros, infinities and the like.
fn float(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (head, rest) = digits.split_at(digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()));
    whole(head)?;
    let shape = rest.is_empty() || rest.starts_with(['.', 'e', 'E']);
    let allowed = rest.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    let number: f64 = if shape && allowed && !rest.ends_with('.') { text.parse().ok()? } else { return None };
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_decimal_numbers_are_numbers() {
        for (text, want) in [
            ("0", Some(0)),
            ("-7", Some(-7)),
            ("10", Some(10)),
            ("007", None),
            ("0x1f", None),
            ("1_000", None),
            ("", None),
            ("-", None),
            ("+1", None),
        ] {
            assert_eq!(whole(text), want, "{text}");
        }
        for (text, want) in [
            ("1.5", Some(1.5)),
            ("2", Some(2.0)),
            ("1e3", Some(1000.0)),
            ("-0.5", Some(-0.5)),
            (".5", None),
            ("1.", None),
            ("01.5", None),
            ("inf", None),
            ("1e999", None),
            ("1:30", None),
        ] {
            assert_eq!(float(text), want, "{text}");
        }
        assert_eq!(whole(&"9".repeat(60)), Some(i128::MAX));
    }
}
