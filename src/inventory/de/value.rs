//! The `Deserializer` over one node.

use std::sync::Arc;

use serde::de::{self, DeserializeSeed, Visitor};
use serde::forward_to_deserialize_any;

use super::problem::{Kind, Problem};
use super::{Context, address, hint, scalar};
use crate::error::Span;
use crate::inventory::yaml::{Entry, Node, Value};

/// Reads one node as whatever is asked for.
#[derive(Clone)]
pub struct De<'a> {
    pub(super) context: &'a Context,
    pub(super) node: &'a Node,
    /// The dotted path of the value; empty for the whole file.
    pub(super) path: String,
    /// Where its key stands: the place of what is missing in it.
    pub(super) owner: Span,
    /// A key that was read already and is no key of the type: `kind`.
    pub(super) skip: Option<&'static str>,
}

impl<'a> De<'a> {
    pub(super) fn new(context: &'a Context, node: &'a Node, path: &str, owner: Span) -> De<'a> {
        De { context, node, path: path.to_owned(), owner, skip: None }
    }

    /// The deserializer of the value of `key`.
    pub(super) fn child(&self, key: &'a Node, value: &'a Node) -> De<'a> {
        let name = key.as_text().unwrap_or("?");
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        De { context: self.context, node: value, path, owner: key.span, skip: None }
    }

    /// Puts this value's place on a problem that has none yet.
    pub(super) fn place(&self, problem: Problem) -> Problem {
        problem.at(self.span(), &self.path)
    }

    /// Where the value is shown: what is absent and what may go on for lines by its key.
    pub(super) fn span(&self) -> Span {
        match &self.node.value {
            Value::Scalar { .. } if !self.node.is_null() => self.node.span,
            _ => self.owner,
        }
    }

    pub(super) fn wrong(&self, wanted: &str) -> Problem {
        self.place(scalar::wrong(wanted, self.node))
    }

    /// The entries of a mapping; nothing at all counts as an empty one.
    pub(super) fn entries(&self) -> Option<&'a [Entry]> {
        match &self.node.value {
            Value::Mapping(entries) => Some(entries),
            Value::Scalar { .. } if self.node.is_null() => Some(&[]),
            _ => None,
        }
    }

    /// Visits the entries as a mapping.
    pub(super) fn visit_entries<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        let Some(entries) = self.entries() else {
            let wanted = "a mapping (`key: value`)";
            let list = matches!(&self.node.value, Value::Sequence(_));
            let help = "write `KEY: VALUE` lines there, without the dashes and brackets of a list";
            let problem = Problem::wrong_help(wanted, scalar::found(self.node), help);
            return Err(if list { self.place(problem) } else { self.wrong(wanted) });
        };
        visitor.visit_map(MapAccess { of: &self, entries: entries.iter(), value: None }).map_err(|mut problem| {
            if let Kind::Missing { key } = *problem.kind
                && problem.span.is_none()
            {
                // The key is there, or a slip of it: what is wrong with it has been told.
                let told = |name: &Node| {
                    let text = name.as_text().filter(|_| self.context.is_pruned(name));
                    text.is_some_and(|text| text == key || hint::near(text, [key]).is_some())
                };
                if self.node.as_mapping().unwrap_or_default().iter().any(|(name, _)| told(name)) {
                    *problem.kind = Kind::Silent;
                }
                return problem.at(self.owner, &self.path);
            }
            self.place(problem)
        })
    }

    fn visit_items<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        let items: &[Arc<Node>] = match &self.node.value {
            Value::Sequence(items) => items,
            Value::Scalar { .. } if self.node.is_null() => &[],
            Value::Scalar { text, .. } => {
                let help = format!("write it as a list: `[{}]`", hint::short(text));
                return Err(self.place(Problem::wrong_help("a list", scalar::found(self.node), help)));
            }
            Value::Mapping(_) => return Err(self.wrong("a list")),
        };
        visitor
            .visit_seq(SeqAccess { of: &self, items: items.iter().enumerate() })
            .map_err(|problem| self.place(problem))
    }

    fn visit<V: Visitor<'a>>(&self, visitor: V, read: scalar::Read) -> Result<V::Value, Problem> {
        scalar::visit(self.node, read, visitor).map_err(|problem| self.place(problem))
    }
}

/// Passes each number type on with its own limits, so that one too large is told as such.
macro_rules! numbers {
    ($($method:ident $type:ty,)*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
            self.visit(visitor, scalar::Read::Integer { min: <$type>::MIN as i128, max: <$type>::MAX as i128 })
        }
    )*};
}

impl<'a> de::Deserializer<'a> for De<'a> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node.value {
            Value::Scalar { .. } => self.visit(visitor, scalar::Read::Any),
            Value::Sequence(_) => self.visit_items(visitor),
            Value::Mapping(_) => self.visit_entries(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.visit(visitor, scalar::Read::Bool)
    }

    numbers! {
        deserialize_i8 i8, deserialize_i16 i16, deserialize_i32 i32, deserialize_i64 i64,
        deserialize_u8 u8, deserialize_u16 u16, deserialize_u32 u32, deserialize_u64 u64,
    }

    fn deserialize_f32<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.visit(visitor, scalar::Read::Float)
    }

    fn deserialize_f64<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.visit(visitor, scalar::Read::Float)
    }

    fn deserialize_char<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.visit(visitor, scalar::Read::Text)
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.visit(visitor, scalar::Read::Text)
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.visit(visitor, scalar::Read::Text)
    }

    fn deserialize_identifier<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.visit(visitor, scalar::Read::Text)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.node.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.node.is_null() { visitor.visit_unit() } else { Err(self.wrong("empty")) }
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _: &'static str, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.visit_items(visitor)
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Problem> {
        self.visit_items(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.visit_items(visitor)
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.visit_entries(visitor)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.visit_entries(visitor)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        super::enums::visit(self, name, variants, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { <V: Visitor<'a>> bytes byte_buf }
}

/// The entries of a mapping, without those that were found wrong.
struct MapAccess<'d, 'a> {
    of: &'d De<'a>,
    entries: std::slice::Iter<'a, Entry>,
    value: Option<&'a Entry>,
}

impl<'a> de::MapAccess<'a> for MapAccess<'_, 'a> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        let context = self.of.context;
        let skip = self.of.skip;
        let next = self.entries.find(|(key, _)| !context.is_pruned(key) && (skip.is_none() || key.as_text() != skip));
        let Some(entry) = next else { return Ok(None) };
        let (key, _) = entry;
        self.value = Some(entry);
        let name = De::new(context, key, &self.of.path, key.span);
        if key.as_text().is_none() {
            let problem = Problem::wrong_help("made of keys that are text", scalar::found(key), scalar::UNQUOTED);
            return Err(name.place(problem).prune(address(key)));
        }
        seed.deserialize(name).map(Some).map_err(|problem| problem.at(key.span, &self.of.path).prune(address(key)))
    }

    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Problem> {
        let Some((key, value)) = self.value.take() else { return Err(de::Error::custom("a value without a key")) };
        let de = self.of.child(key, value);
        // A type that checks its own text speaks after its value was read, so the place is said here.
        let (span, path) = (de.span(), de.path.clone());
        seed.deserialize(de).map_err(|problem| problem.at(span, &path).prune(address(key)))
    }
}

/// The items of a list, without those that were found wrong.
struct SeqAccess<'d, 'a> {
    of: &'d De<'a>,
    items: std::iter::Enumerate<std::slice::Iter<'a, Arc<Node>>>,
}

impl<'a> de::SeqAccess<'a> for SeqAccess<'_, 'a> {
    type Error = Problem;

    fn next_element_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<Option<S::Value>, Problem> {
        let context = self.of.context;
        let Some((index, item)) = self.items.find(|(_, item)| !context.is_pruned(item)) else { return Ok(None) };
        let path = format!("{}[{index}]", self.of.path);
        let de = De::new(context, item, &path, item.span);
        seed.deserialize(de).map(Some).map_err(|problem| problem.at(item.span, &path).prune(address(item)))
    }
}
