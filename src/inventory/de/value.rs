//! The `Deserializer` over one node.

use std::sync::Arc;

use serde::de::{self, DeserializeSeed, Visitor};
use serde::forward_to_deserialize_any;

use super::problem::{Kind, Problem};
use super::{Context, address, scalar};
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

    /// Where the value is shown: an absent value and a mapping by their key, since a block begins lines below it.
    pub(super) fn span(&self) -> Span {
        let in_place = self.node.span.start < self.node.span.end;
        if self.node.is_null() || (self.node.as_mapping().is_some() && !in_place) { self.owner } else { self.node.span }
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
        let Some(entries) = self.entries() else { return Err(self.wrong("a mapping (`key: value`)")) };
        visitor.visit_map(MapAccess { of: &self, entries: entries.iter(), value: None }).map_err(|mut problem| {
            if let Kind::Missing { key } = problem.kind
                && problem.span.is_none()
            {
                // The key is there: what is wrong with it has been told.
                if self.node.get(key).is_some() {
                    problem.kind = Kind::Silent;
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
                let help = format!("write it as a list: `[{}]`", super::hint::short(text));
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
        seed.deserialize(self.of.child(key, value)).map_err(|problem| problem.prune(address(key)))
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
        let de = De::new(context, item, &format!("{}[{index}]", self.of.path), item.span);
        seed.deserialize(de).map(Some).map_err(|problem| problem.prune(address(item)))
    }
}
