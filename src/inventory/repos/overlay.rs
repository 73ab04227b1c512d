//! Defaults beneath a repo: nodes laid over nodes, so that every value keeps its place.

use std::sync::Arc;

use crate::inventory::yaml::{Node, Value};

/// `over` laid over `base`. Mappings named by `deep` are merged key by key; everything else in `over` replaces.
pub(super) fn overlay(base: &Arc<Node>, over: &Arc<Node>) -> Arc<Node> {
    merge(base, over, &[])
}

/// Which mappings of a repo are merged: those whose keys are independent of each other.
fn deep(path: &[&str]) -> bool {
    match path {
        [] | ["labels" | "protection" | "env" | "forge" | "ci" | "agents"] | ["agents", _] | ["agents", _, "needs"] => {
            true
        }
        [..] => false,
    }
}

fn merge<'a>(base: &'a Arc<Node>, over: &'a Arc<Node>, path: &[&'a str]) -> Arc<Node> {
    let (Some(below), Some(above)) = (base.as_mapping(), over.as_mapping()) else { return Arc::clone(over) };
    // Another kind has other keys.
    let kind = |node: &Node| node.get("kind").and_then(|kind| kind.as_text().map(str::to_owned));
    let other = kind(over).is_some_and(|kind_over| kind(base).is_some_and(|kind_base| kind_base != kind_over));
    if !deep(path) || other {
        return Arc::clone(over);
    }
    let mut entries = above.to_vec();
    for (key, value) in below {
        let Some(name) = key.as_text() else {
            entries.push((Arc::clone(key), Arc::clone(value)));
            continue;
        };
        match entries.iter_mut().find(|(own, _)| own.as_text() == Some(name)) {
            Some((_, own)) => {
                let inner: Vec<&str> = path.iter().copied().chain([name]).collect();
                *own = merge(value, own, &inner);
            }
            None => entries.push((Arc::clone(key), Arc::clone(value))),
        }
    }
    Arc::new(Node { value: Value::Mapping(entries), span: over.span, tag: over.tag.clone() })
}
