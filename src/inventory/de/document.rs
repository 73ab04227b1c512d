//! One file of ours: its nodes, and its text with every secret blotted out, so that no message can show one.

use std::path::Path;
use std::sync::Arc;

use super::literal;
use crate::error::{Diagnostic, Place, SourceFile, Span};
use crate::inventory::yaml::{self, Node};

/// A file that was read and parsed.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file, secrets in its text replaced by asterisks of the same length.
    pub source: Arc<SourceFile>,
    /// Its one document; `None` when it holds nothing but comments.
    pub root: Option<Arc<Node>>,
}

impl Document {
    /// Reads and parses `path`.
    ///
    /// # Errors
    /// When it cannot be read or is not YAML; the message shows no secret.
    pub fn open(path: &Path) -> Result<Document, Diagnostic> {
        Document::parse(yaml::read(path)?)
    }

    /// [`Document::open`] of a file that may be absent: `None` then. The same name with `.yaml` instead of `.yml` is
    /// an error, since it would be passed over in silence.
    ///
    /// # Errors
    /// As [`Document::open`].
    pub fn open_if_there(path: &Path) -> Result<Option<Document>, Diagnostic> {
        let absent =
            |path: &Path| path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        if !absent(path) {
            return Document::open(path).map(Some);
        }
        let other = path.with_extension("yaml");
        if absent(&other) {
            return Ok(None);
        }
        let wanted = path.file_name().unwrap_or_default().display();
        Err(Diagnostic::error(format!("{} is not read", other.display())).help(format!("rename it to {wanted}")))
    }

    /// Parses `source`.
    ///
    /// # Errors
    /// When it is not YAML; the message shows no secret.
    pub fn parse(source: Arc<SourceFile>) -> Result<Document, Diagnostic> {
        match yaml::parse(&source) {
            Ok(root) => {
                let text = literal::blot(&source.text, root.as_deref());
                Ok(Document { source: Arc::new(SourceFile { path: source.path.clone(), text }), root })
            }
            Err(mut problem) => {
                if let Some(place) = &mut problem.place {
                    let text = literal::blot(&place.source.text, None);
                    place.source = Arc::new(SourceFile { path: place.source.path.clone(), text });
                }
                Err(problem)
            }
        }
    }

    /// The value at `path`, one name a level; numbers are places in a list.
    pub fn get(&self, path: &[&str]) -> Option<&Arc<Node>> {
        path.iter().try_fold(self.root.as_ref()?, |node, name| step(node, name))
    }

    /// Where the value at `path` stands; a mapping, a list and what is absent by the nearest key.
    pub fn span(&self, path: &[&str]) -> Span {
        match &self.root {
            Some(root) => span(root, path),
            None => Span { line: 1, column: 1, start: 0, end: 0 },
        }
    }

    /// [`Document::span`] with the file.
    pub fn place(&self, path: &[&str]) -> Place {
        Place { source: Arc::clone(&self.source), span: self.span(path) }
    }
}

fn step<'n>(node: &'n Arc<Node>, name: &str) -> Option<&'n Arc<Node>> {
    match &node.value {
        yaml::Value::Sequence(items) => items.get(name.parse::<usize>().ok()?),
        _ => node.get(name),
    }
}

/// [`Document::span`] below `root`.
pub(crate) fn span(root: &Arc<Node>, path: &[&str]) -> Span {
    let mut node = root;
    let mut at = root.span;
    for name in path {
        if let Some((key, _)) =
            node.as_mapping().and_then(|entries| entries.iter().find(|(key, _)| key.as_text() == Some(*name)))
        {
            at = key.span;
        }
        let listed = matches!(&node.value, yaml::Value::Sequence(_));
        match step(node, name) {
            Some(next) => node = next,
            None => return at,
        }
        // In a list there is no key to show; a collection may go on for lines.
        if listed || (node.as_text().is_some() && !node.is_null()) {
            at = node.span;
        }
    }
    at
}
