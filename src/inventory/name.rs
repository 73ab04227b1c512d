//! Names of agents, repos, accounts and fleets: `[A-Za-z0-9_][A-Za-z0-9._-]*`. A dash inside is fine.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::de::told;

/// What a name must match.
pub const PATTERN: &str = "^[A-Za-z0-9_][A-Za-z0-9._-]*$";

/// The longest name, in characters: file names are made of it, together with another name.
pub const MAX_LEN: usize = 100;

/// A name that was checked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Name(pub String);

/// Whether `text` is a name; else why not.
///
/// # Errors
/// A sentence that follows the name: "begins with `-`".
pub fn check(text: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.len() > MAX_LEN {
        return Err(format!("is longer than {MAX_LEN} characters"));
    }
    if let Some(c) = text.chars().find(|c| !allowed(*c)) {
        return Err(format!("contains {c:?}"));
    }
    match text.chars().next().filter(|c| matches!(c, '.' | '-')) {
        Some(c) => Err(format!("begins with {c:?}")),
        None => Ok(()),
    }
}

impl std::ops::Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match check(&text) {
            Ok(()) => Ok(Name(text)),
            Err(why) => Err(de::Error::custom(
                told(format!("the name `{}` {why}", text.escape_debug().take(60).collect::<String>()))
                    .help("a name is letters, digits, `_`, `.` and `-`, and begins with a letter, a digit or `_`"),
            )),
        }
    }
}

impl JsonSchema for Name {
    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN, "maxLength": MAX_LEN})
    }
}

/// Reads a mapping whose keys are names; for `#[serde(deserialize_with)]`.
pub(crate) fn map<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, T>, D::Error> {
    let map = BTreeMap::<Name, T>::deserialize(deserializer)?;
    Ok(map.into_iter().map(|(name, value)| (name.0, value)).collect())
}

/// Reads one name as text; for `#[serde(deserialize_with)]`.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Name::deserialize(deserializer).map(|name| name.0)
}

/// Reads a name that may be absent; for `#[serde(deserialize_with)]`.
pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Name>::deserialize(deserializer)?.map(|name| name.0))
}

/// Reads a list of names that may be absent; for `#[serde(deserialize_with)]`.
pub(crate) fn optional_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let names = Option::<Vec<Name>>::deserialize(deserializer)?;
    Ok(names.map(|names| names.into_iter().map(|name| name.0).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dash_inside_is_fine() {
        for good in ["dev", "harb-web", "a.b_c-1", "_x", "9", "harb-"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "-x", ".x", "a b", "a/b", "ä", "a\n", "a@b", "..", &"x".repeat(101)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
