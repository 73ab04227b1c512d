//! Nodes -> typed models: a serde `Deserializer` whose errors know their place, and that finds every problem of a
//! file, not only the first.
//!
//! Three conventions on the name of an enum (its container `#[serde(rename = "...")]`) replace serde's `tag` and
//! `untagged`, which buffer the content and so lose every place:
//! `kind:NOUN` is a mapping whose key `kind` names the variant (or the variant's name alone),
//! `one:NOUN` is a mapping with exactly one key, the variant's name;
//! `text:NOUN` has two variants: a scalar is the first, anything else the second.

mod document;
mod enums;
mod hint;
mod literal;
mod problem;
mod scalar;
mod value;
pub(crate) mod words;

use std::cell::RefCell;
use std::collections::HashSet;

use serde::de::DeserializeOwned;

pub use document::Document;
pub(crate) use document::span as span_below;
pub use hint::{list, near};
pub(crate) use literal::conceal;
use problem::{Kind, Problem};
pub(crate) use problem::{Told, sentence, told};
use value::De;

use super::yaml::Node;
use crate::error::{Diagnostic, Span};

/// How many problems are told of one value: whoever has more has another kind of file.
const MAX_PROBLEMS: usize = 50;

/// The name of the enum whose value must not be a literal.
pub(crate) const SECRET: &str = "one:secret";

/// What one reading has learnt so far.
#[derive(Default)]
struct Context {
    /// Addresses of keys and list items that were found wrong and are left out from now on.
    pruned: RefCell<HashSet<usize>>,
    problems: RefCell<Vec<Problem>>,
}

impl Context {
    fn is_pruned(&self, node: &Node) -> bool {
        self.pruned.borrow().contains(&address(node))
    }

    fn is_full(&self) -> bool {
        self.problems.borrow().len() >= MAX_PROBLEMS
    }
}

fn address(node: &Node) -> usize {
    std::ptr::from_ref(node) as usize
}

/// What came of reading one value.
pub struct Reading<T> {
    /// The value with everything wrong left out; `None` when something that it cannot be without is wrong or missing.
    pub value: Option<T>,
    /// Everything wrong, in the order of the file.
    pub problems: Vec<Diagnostic>,
}

/// Reads `node`, which stands at `path` (`repos.harb`; empty for the whole file) and whose key stands at `owner`.
/// With `partial`, missing keys are no problem: the value is a part that others complete.
pub fn read<T: DeserializeOwned>(
    document: &Document,
    node: &Node,
    path: &str,
    owner: Span,
    partial: bool,
) -> Reading<T> {
    let context = Context::default();
    let mut literals = Vec::new();
    for (address, diagnostic) in literal::find(&document.source, node) {
        context.pruned.borrow_mut().insert(address);
        literals.push(diagnostic);
    }
    let mut value = None;
    // Each round leaves out one more thing that is wrong, so that the next finds what it hid.
    for _ in 0..2 * MAX_PROBLEMS {
        match T::deserialize(De::new(&context, node, path, owner)) {
            Ok(read) => {
                value = Some(read);
                break;
            }
            Err(problem) => {
                let address = problem.prune;
                let quiet =
                    matches!(*problem.kind, Kind::Silent) || (partial && matches!(*problem.kind, Kind::Missing { .. }));
                if !quiet {
                    context.problems.borrow_mut().push(problem);
                }
                match address {
                    Some(address) if !context.is_full() => context.pruned.borrow_mut().insert(address),
                    _ => break,
                };
            }
        }
    }
    let mut problems = literals;
    problems.extend(context.problems.into_inner().into_iter().map(|problem| problem.diagnostic(document)));
    problems.sort_by_key(|problem| problem.place.as_ref().map_or(0, |place| place.span.start));
    Reading { value, problems }
}
