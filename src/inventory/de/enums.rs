//! Enums: a word, a mapping with a `kind`, or a mapping with exactly one key.

use serde::de::{self, DeserializeSeed, Visitor};

use super::problem::{Kind, Problem, told};
use super::value::De;
use super::{SECRET, address, hint, scalar};
use crate::error::Span;
use crate::inventory::yaml::{Node, Value};

const EMPTY: &Node =
    &Node { value: Value::Mapping(Vec::new()), span: Span { line: 0, column: 0, start: 0, end: 0 }, tag: None };

/// Reads an enum by the convention that its name follows.
pub(super) fn visit<'a, V: Visitor<'a>>(
    de: De<'a>,
    name: &'static str,
    variants: &'static [&'static str],
    visitor: V,
) -> Result<V::Value, Problem> {
    if name.starts_with("one:") {
        return one(de, name, variants, visitor);
    }
    if name.starts_with("text:") {
        // A scalar is the first variant, everything else the second.
        let scalar = matches!(&de.node.value, Value::Scalar { .. }) && !de.node.is_null();
        let text = variants.get(usize::from(!scalar)).copied().unwrap_or_default();
        let word = Word { text, span: de.node.span, path: de.path.clone() };
        return visitor.visit_enum(Access { word, content: de });
    }
    let tagged = name.starts_with("kind:");
    match &de.node.value {
        Value::Scalar { text, .. } if !de.node.is_null() => {
            let content = De { node: EMPTY, owner: de.node.span, ..de.clone() };
            let word = Word { text, span: de.node.span, path: de.path.clone() };
            visitor.visit_enum(Access { word, content }).map_err(|problem| de.place(problem))
        }
        Value::Mapping(_) if tagged => {
            let Some((key, value)) = entry(&de, "kind") else {
                let known = hint::list(variants, "or");
                let what = told("lacks the key `kind`").help(format!("add `kind: ...`, which may be {known}"));
                return Err(Problem::told(what).at(de.owner, &de.path));
            };
            if de.context.is_pruned(key) {
                return Err(Problem::new(Kind::Silent).at(de.owner, &de.path));
            }
            let Some(text) = value.as_text().filter(|_| !value.is_null()) else {
                let child = de.child(key, value);
                return Err(child.wrong(&hint::list(variants, "or")).prune(address(key)));
            };
            let word = Word { text, span: value.span, path: de.child(key, value).path };
            let content = De { skip: Some("kind"), ..de.clone() };
            visitor.visit_enum(Access { word, content }).map_err(|problem| de.place(problem))
        }
        _ if tagged => Err(de.wrong("a mapping with a `kind`")),
        _ => Err(de.wrong(&hint::list(variants, "or"))),
    }
}

fn entry<'a>(de: &De<'a>, name: &str) -> Option<(&'a Node, &'a Node)> {
    let entries = de.node.as_mapping()?;
    entries.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(key, value)| (key.as_ref(), value.as_ref()))
}

/// A mapping with exactly one key, which names the variant.
fn one<'a, V: Visitor<'a>>(
    de: De<'a>,
    name: &'static str,
    variants: &'static [&'static str],
    visitor: V,
) -> Result<V::Value, Problem> {
    let form = if name == SECRET {
        "`{env: NAME}`, `{file: PATH}` or `{command: [PROGRAM, ARGUMENT]}`".to_owned()
    } else {
        let forms: Vec<String> = variants.iter().map(|variant| format!("{{{variant}: ...}}")).collect();
        hint::list(&forms, "or")
    };
    let Some(entries) = de.node.as_mapping() else {
        if name == SECRET && de.node.as_text().is_some() && !de.node.is_null() {
            let what = told("a secret must not stand in this file").help(format!("write where it is kept: {form}"));
            return Err(de.place(Problem::told(what.secret())));
        }
        return Err(de.place(Problem::wrong_help(
            "a mapping with one key",
            scalar::found(de.node),
            format!("write {form}"),
        )));
    };
    if let Some((key, _)) = entries.iter().find(|(key, _)| !variants.contains(&key.as_text().unwrap_or_default())) {
        let Some(text) = key.as_text() else { return Err(de.wrong("a mapping with one key")) };
        let problem = Problem::new(Kind::UnknownKey { key: text.to_owned(), expected: variants });
        return Err(problem.at(key.span, &de.path));
    }
    match entries {
        [(key, value)] if !de.context.is_pruned(key) => {
            let word = Word { text: key.as_text().unwrap_or_default(), span: key.span, path: de.path.clone() };
            let content = de.child(key, value);
            visitor.visit_enum(Access { word, content }).map_err(|problem| de.place(problem))
        }
        [_] => Err(de.place(Problem::new(Kind::Silent))),
        [] => Err(de.place(Problem::told(told("nothing is said").help(format!("write {form}"))))),
        [_, (second, _), ..] => {
            let names: Vec<&str> = entries.iter().filter_map(|(key, _)| key.as_text()).collect();
            let what = told(format!("{} exclude each other", hint::list(&names, "and")));
            Err(Problem::told(what.help(format!("keep one of them: {form}"))).at(second.span, &de.path))
        }
    }
}

/// The variant's name.
struct Word<'a> {
    text: &'a str,
    span: Span,
    path: String,
}

struct Access<'a> {
    word: Word<'a>,
    content: De<'a>,
}

impl<'a> de::EnumAccess<'a> for Access<'a> {
    type Error = Problem;
    type Variant = Content<'a>;

    fn variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<(S::Value, Content<'a>), Problem> {
        let word = de::value::BorrowedStrDeserializer::<Problem>::new(self.word.text);
        let value = seed.deserialize(word).map_err(|problem| problem.at(self.word.span, &self.word.path))?;
        Ok((value, Content(self.content)))
    }
}

/// What the variant holds.
struct Content<'a>(De<'a>);

impl<'a> de::VariantAccess<'a> for Content<'a> {
    type Error = Problem;

    fn unit_variant(self) -> Result<(), Problem> {
        // `{kind: none, url: ...}`: whoever wrote the url thinks that it counts.
        let entries = self.0.entries().unwrap_or_default();
        match entries.iter().find(|(key, _)| key.as_text() != self.0.skip && !self.0.context.is_pruned(key)) {
            Some((key, _)) => {
                let text = key.as_text().unwrap_or("?").to_owned();
                let problem = Problem::new(Kind::UnknownKey { key: text, expected: &[] });
                Err(problem.at(key.span, &self.0.path).prune(address(key)))
            }
            None => Ok(()),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<S::Value, Problem> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Problem> {
        de::Deserializer::deserialize_seq(self.0, visitor)
    }

    fn struct_variant<V: Visitor<'a>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Problem> {
        self.0.visit_entries(visitor)
    }
}
