//! What a node means to Ansible: PyYAML's YAML 1.1 rules for plain scalars and tags, as the JSON that
//! `ansible-inventory` prints.

use serde_json::{Map, Number, Value as Json};

use super::mask::is_secret_name;
use super::node::{Node, Value};
use super::{number, timestamp};
use crate::error::Span;

/// What stands in for a text under `!unsafe`: it is never a template.
pub const UNSAFE: &str = "__ansible_unsafe";

/// What stands in for a text under `!vault`: it is encrypted.
pub const VAULT: &str = "__ansible_vault";

impl Refusal {
    /// Without what is written there, when it is the value of a key whose name says that it is a secret.
    #[must_use]
    pub fn discreet(self, name: &str) -> Refusal {
        match is_secret_name(name) {
            true => Refusal { message: format!("the value of `{name}` cannot be read"), span: self.span },
            false => self,
        }
    }
}

const CORE: &str = "tag:yaml.org,2002:";

/// What a scalar is.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// Nothing: empty, `~`, `null`.
    Null,
    /// `yes`, `no`, `true`, `false`, `on`, `off` in three spellings each.
    Bool(bool),
    /// A whole number, in decimal.
    Int(String),
    /// A number with a point, or infinity, or not a number.
    Float(f64),
    /// A date or a time in ISO form.
    Time(String),
    /// Text.
    Text(String),
}

/// Why a node cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub span: Span,
}

/// What a plain scalar without a tag is.
///
/// # Errors
/// When it has the form of a number or a date and is none: `0b_`, `2026-02-30`.
pub fn plain(text: &str) -> Result<Scalar, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Scalar::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Scalar::Bool(false),
        _ if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) => {
            Scalar::Text(text.to_owned())
        }
        _ => {
            if let Some(float) = number::float(text) {
                Scalar::Float(float)
            } else if let Some(integer) = number::integer(text) {
                Scalar::Int(integer?)
            } else if let Some(time) = timestamp::timestamp(text) {
                Scalar::Time(time?)
            } else {
                Scalar::Text(text.to_owned())
            }
        }
    })
}

/// What the scalar `text` is, `plain` when it was written without quotes, under its explicit `tag`.
///
/// # Errors
/// As [`plain`], and when the text does not fit the tag, and for tags that Ansible does not know.
pub fn scalar(text: &str, is_plain: bool, tag: Option<&str>) -> Result<Scalar, String> {
    // A lone `!` changes nothing to the parser that Ansible uses.
    let Some(tag) = tag.filter(|tag| *tag != "!") else {
        return if is_plain { plain(text) } else { Ok(Scalar::Text(text.to_owned())) };
    };
    match tag.strip_prefix(CORE) {
        Some("str") => Ok(Scalar::Text(text.to_owned())),
        Some("null") => Ok(Scalar::Null),
        Some("bool") => match text.to_lowercase().as_str() {
            "yes" | "true" | "on" => Ok(Scalar::Bool(true)),
            "no" | "false" | "off" => Ok(Scalar::Bool(false)),
            _ => Err(format!("`{text}` is not a truth value")),
        },
        Some("int") => number::integer_value(text).map(Scalar::Int),
        Some("float") => number::float_value(text).map(Scalar::Float),
        Some("timestamp") => match timestamp::timestamp(text) {
            Some(time) => time.map(Scalar::Time),
            None => Err(format!("`{text}` is not a date")),
        },
        Some("binary") => Err("binary data has no place in an inventory".to_owned()),
        _ if matches!(tag, "!unsafe" | "!vault" | "!vault-encrypted") => plain(text),
        _ => Err(format!("the tag `{}` is not known to Ansible", short(tag))),
    }
}

/// The value of `node` as `ansible-inventory --list` prints it: dates are text, `!unsafe` and `!vault` texts are
/// wrapped in a mapping of [`UNSAFE`] or [`VAULT`], infinities and not-a-number are text since JSON has none.
///
/// # Errors
/// Where a scalar does not fit its tag or form, and where two keys of a mapping are the same once read.
pub fn value(node: &Node) -> Result<Json, Refusal> {
    convert(node, false)
}

/// The key that `node` is: its text, and whether it is text at all (`1`, `yes` and `2026-03-12` are not).
///
/// # Errors
/// When it is a list or a mapping, a date, or does not fit its tag.
pub fn key(node: &Node) -> Result<(String, bool), Refusal> {
    let refuse = |message: String| Refusal { message, span: node.span };
    let Value::Scalar { text, plain } = &node.value else {
        let hint = match node.value {
            Value::Mapping(_) => "; a value that begins with `{{` must be in quotes",
            _ => "",
        };
        return Err(refuse(format!("{} cannot be a key{hint}", node.kind())));
    };
    // A lone `=` is YAML 1.1's default key, which PyYAML takes for text in a key.
    Ok(match scalar(text, *plain, node.tag.as_deref()).map_err(refuse)? {
        Scalar::Text(text) => (text, true),
        Scalar::Null => ("null".to_owned(), false),
        Scalar::Bool(truth) => (truth.to_string(), false),
        Scalar::Int(decimal) => (decimal, false),
        Scalar::Float(float) => (number::repr(float), false),
        Scalar::Time(_) => return Err(refuse(format!("`{text}` is a date; quote it to use it as a key"))),
    })
}

fn convert(node: &Node, unsafe_text: bool) -> Result<Json, Refusal> {
    let refuse = |message: String| Refusal { message, span: node.span };
    let tag = node.tag.as_deref();
    let unsafe_text = unsafe_text || tag == Some("!unsafe");
    let known = |allowed: &[&str]| match tag {
        None | Some("!" | "!unsafe") => Ok(()),
        Some(tag) if tag.strip_prefix(CORE).is_some_and(|name| allowed.contains(&name)) => Ok(()),
        Some(tag) => Err(refuse(format!("the tag `{}` does not fit {}", short(tag), node.kind()))),
    };
    match &node.value {
        Value::Scalar { text, plain } => {
            if matches!(tag, Some("!vault" | "!vault-encrypted")) {
                return Ok(wrapped(VAULT, text));
            }
            // YAML 1.1 gives both a meaning of their own, which PyYAML refuses as a value.
            if *plain && tag.is_none() && matches!(text.as_str(), "=" | "<<") {
                return Err(refuse(format!("a lone `{text}` cannot be a value")));
            }
            Ok(match scalar(text, *plain, tag).map_err(refuse)? {
                Scalar::Null => Json::Null,
                Scalar::Bool(truth) => Json::Bool(truth),
                Scalar::Int(decimal) => decimal.parse::<Number>().map_or(Json::String(decimal), Json::Number),
                Scalar::Float(float) => float_json(float),
                Scalar::Text(text) if unsafe_text => wrapped(UNSAFE, &text),
                Scalar::Time(text) | Scalar::Text(text) => Json::String(text),
            })
        }
        Value::Sequence(items) => {
            known(&["seq", "omap", "pairs"])?;
            let ordered = tag.is_some_and(|tag| tag.ends_with(":omap") || tag.ends_with(":pairs"));
            items
                .iter()
                .map(|item| if ordered { pair(item, unsafe_text) } else { convert(item, unsafe_text) })
                .collect::<Result<Vec<_>, _>>()
                .map(Json::Array)
        }
        Value::Mapping(entries) => {
            known(&["map", "set"])?;
            if tag.is_some_and(|tag| tag.ends_with(":set")) {
                return entries.iter().map(|(item, _)| convert(item, unsafe_text)).collect();
            }
            let mut map = Map::with_capacity(entries.len());
            let mut numbers = std::collections::HashSet::new();
            for (name, item) in entries {
                let (text, is_text) = key(name)?;
                // To Python `1`, `1.0` and `true` are one key.
                let number = match text.as_str() {
                    "true" => "1",
                    "false" => "0",
                    other => other.strip_suffix(".0").unwrap_or(other),
                };
                if map.contains_key(&text) || (!is_text && !numbers.insert(number.to_owned())) {
                    return Err(Refusal { message: format!("the key `{text}` stands twice"), span: name.span });
                }
                let read = convert(item, unsafe_text).map_err(|refusal| refusal.discreet(&text))?;
                map.insert(text, read);
            }
            Ok(Json::Object(map))
        }
    }
}

/// One `key: value` of an `!!omap` or `!!pairs`, which Ansible prints as a list of two.
fn pair(node: &Node, unsafe_text: bool) -> Result<Json, Refusal> {
    match node.as_mapping() {
        Some([(name, item)]) => Ok(Json::Array(vec![convert(name, unsafe_text)?, convert(item, unsafe_text)?])),
        _ => Err(Refusal { message: "expected one `key: value`".to_owned(), span: node.span }),
    }
}

fn float_json(float: f64) -> Json {
    if float.is_nan() {
        Json::String("NaN".to_owned())
    } else if float.is_infinite() {
        Json::String(if float > 0.0 { "Infinity" } else { "-Infinity" }.to_owned())
    } else {
        let text = number::repr(float);
        text.parse::<Number>().map_or(Json::String(text), Json::Number)
    }
}

fn wrapped(key: &str, text: &str) -> Json {
    let mut map = Map::new();
    map.insert(key.to_owned(), Json::String(text.to_owned()));
    Json::Object(map)
}

fn short(tag: &str) -> String {
    tag.strip_prefix(CORE).map_or_else(|| tag.to_owned(), |name| format!("!!{name}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::error::SourceFile;

    fn read(text: &str) -> Result<String, Refusal> {
        let source = Arc::new(SourceFile { path: "v.yml".into(), text: text.to_owned() });
        value(&super::super::parse(&source).unwrap().unwrap()).map(|json| json.to_string())
    }

    #[test]
    fn plain_scalars_follow_yaml_1_1_and_quoted_ones_are_text() {
        for (text, want) in [
            ("[yes, Off, y, 'yes', ~, null, '']", r#"[true,false,"y","yes",null,null,""]"#),
            ("[0644, 0o17, 1e3, 1.5, 1:30, 2026-03-12, .inf]", r#"[420,"0o17","1e3",1.5,90,"2026-03-12","Infinity"]"#),
            ("[!!str 12, !!int '0x10', !!float 1e3, ! 12]", r#"["12",16,1000.0,12]"#),
            ("{yes: 1, 0x10: 2, ~: 3}", r#"{"true":1,"16":2,"null":3}"#),
            ("!unsafe [a, 1]", r#"[{"__ansible_unsafe":"a"},1]"#),
            ("!vault x", r#"{"__ansible_vault":"x"}"#),
            ("!!omap [{a: 1}]", r#"[["a",1]]"#),
        ] {
            assert_eq!(read(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_has_no_meaning_is_refused_at_its_place() {
        for (text, column) in [
            ("[a, 2026-02-30]", 5),
            ("[!!int abc]", 2),
            ("[!foo x]", 2),
            ("{a: !!binary aGk=}", 5),
            ("{1: a, true: b}", 8),
            ("[a, =]", 5),
            ("{[a]: b}", 2),
            ("{2026-03-12: b}", 2),
            ("[!!seq {a: 1}]", 2),
        ] {
            let refusal = read(text).unwrap_err();
            // A tagged value begins behind its tag to the parser.
            assert!(refusal.span.column >= column && refusal.span.column < column + 12, "{text}: {refusal:?}");
        }
    }
}
