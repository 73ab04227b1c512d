//! One node of a YAML document.

use std::sync::Arc;

use crate::error::Span;

/// A key of a mapping with its value.
pub type Entry = (Arc<Node>, Arc<Node>);

/// A value with its place and its explicit tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it stands.
    pub span: Span,
    /// The explicit tag, resolved: `tag:yaml.org,2002:int`, `!vault`.
    pub tag: Option<String>,
}

/// What a node is. Children are shared, since an alias stands for the very node that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text, not yet a number, a truth value or null.
    Scalar {
        /// The text after unquoting and unfolding.
        text: String,
        /// Written without quotes and not as a block: only then may it be anything but text.
        plain: bool,
    },
    /// A list.
    Sequence(Vec<Arc<Node>>),
    /// Keys and values in the order of the file, merge keys (`<<`) already merged, no key twice.
    Mapping(Vec<Entry>),
}

impl Node {
    /// The text, when it is a scalar.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether it is an empty, `~` or `null` plain scalar without a tag.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if self.tag.is_none() && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The entries, when it is a mapping.
    pub fn as_mapping(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of `key`, when it is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Arc<Node>> {
        self.as_mapping()?.iter().find(|(name, _)| name.as_text() == Some(key)).map(|(_, value)| value)
    }

    /// What it is, in a word, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => "nothing",
            Value::Scalar { .. } => "a scalar",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}
