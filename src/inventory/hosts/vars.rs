//! One variable with its place, and a set of them as it was written in one spot.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::error::{Place, SourceFile, Span};
use crate::inventory::yaml::{Entry, Node, Value, yaml11};

/// A variable's value and where it was written; shared by all hosts that it reaches.
#[derive(Clone)]
pub(super) struct Var {
    /// As `ansible-inventory` prints it.
    pub value: Json,
    /// The value in its file, or its key when nothing is written there.
    pub place: Place,
    /// The key in its file.
    pub key: Place,
    /// How many values it holds, for the bound on copies.
    pub size: u64,
}

/// Variables in the order in which they were first set; setting again replaces the value and keeps the place in line,
/// as in a Python dict.
#[derive(Clone, Default)]
pub(super) struct VarSet {
    order: Vec<(Arc<str>, Arc<Var>)>,
    index: HashMap<Arc<str>, usize>,
}

impl VarSet {
    pub fn set(&mut self, name: &str, var: Arc<Var>) {
        self.put(Arc::from(name), var);
    }

    fn put(&mut self, name: Arc<str>, var: Arc<Var>) {
        match self.index.get(&name).and_then(|at| self.order.get_mut(*at)) {
            Some(slot) => slot.1 = var,
            None => {
                self.index.insert(Arc::clone(&name), self.order.len());
                self.order.push((name, var));
            }
        }
    }

    pub fn get(&self, name: &str) -> Option<&Arc<Var>> {
        self.order.get(*self.index.get(name)?).map(|(_, var)| var)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Var>)> {
        self.order.iter().map(|(name, var)| (name.as_ref(), var))
    }

    /// Lays `other` over it: Ansible's default of replacing whole values.
    pub fn merge(&mut self, other: &VarSet) {
        for (name, var) in &other.order {
            self.put(Arc::clone(name), Arc::clone(var));
        }
    }

    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        if self.order.iter().all(|(name, _)| keep(name)) {
            return;
        }
        self.order.retain(|(name, _)| keep(name));
        self.index = self.order.iter().enumerate().map(|(at, (name, _))| (Arc::clone(name), at)).collect();
    }
}

/// The variable written as `key: value` in `source`.
///
/// # Errors
/// When the key or the value is not one that Ansible reads.
pub(super) fn read((key, value): &Entry, source: &Arc<SourceFile>) -> Result<(String, Var), yaml11::Refusal> {
    let (name, _) = yaml11::key(key)?;
    let json = yaml11::value(value).map_err(|refusal| refusal.discreet(&name))?;
    let size = count(&json);
    let place = |span: Span| Place { source: Arc::clone(source), span };
    let span = if value.span.end > value.span.start && !value.is_null() { value.span } else { key.span };
    Ok((name, Var { value: json, place: place(span), key: place(key.span), size }))
}

/// Whether Python takes `node` for false: nothing, `false`, 0, an empty text, list or mapping.
pub(super) fn is_falsy(node: &Node) -> bool {
    match &node.value {
        Value::Scalar { text, plain } => match yaml11::scalar(text, *plain, node.tag.as_deref()) {
            Ok(yaml11::Scalar::Null | yaml11::Scalar::Bool(false)) => true,
            Ok(yaml11::Scalar::Int(decimal)) => decimal == "0",
            Ok(yaml11::Scalar::Float(float)) => float == 0.0,
            Ok(yaml11::Scalar::Text(text)) => text.is_empty(),
            _ => false,
        },
        Value::Sequence(items) => items.is_empty(),
        Value::Mapping(entries) => entries.is_empty(),
    }
}

fn count(json: &Json) -> u64 {
    match json {
        Json::Array(items) => items.iter().fold(1, |sum, item| sum + count(item)),
        Json::Object(map) => map.values().fold(1, |sum, item| sum + count(item)),
        _ => 1,
    }
}
