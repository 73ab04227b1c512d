//! The loader: bytes of a file -> one [`Node`], or a [`Diagnostic`] that names the place. Bounded in time and memory.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde_yaml::granit_parser::{self as granit, Event, Parser, ScalarStyle};

use super::node::{Entry, Node, Value};
use super::{json, mask};
use crate::error::{Diagnostic, SourceFile, Span};

/// The largest file that is read, in bytes. A 95 MB file costs a parser seconds and gigabytes; no inventory is so long.
pub const MAX_FILE_BYTES: u64 = 8 << 20;

/// How many nodes a document may have after its aliases are followed: an alias bomb has billions, ten thousand hosts
/// with a hundred variables each two million. A node costs some 150 bytes, so this is also the bound on memory.
const MAX_NODES: u64 = 2_000_000;

/// How deep collections may nest, aliases followed: whoever walks the nodes does so by recursion.
const MAX_DEPTH: usize = 255;

/// Reads `path` whole.
///
/// # Errors
/// When it cannot be read, is over [`MAX_FILE_BYTES`], is not UTF-8 or holds a NUL.
pub fn read(path: &Path) -> Result<Arc<SourceFile>, Diagnostic> {
    let shown = path.display();
    let cannot = |error: std::io::Error| Diagnostic::error(format!("cannot read {shown}: {error}"));
    // A pipe would be waited for for ever.
    let about = std::fs::metadata(path).map_err(cannot)?;
    if !about.is_file() {
        let kind = if about.is_dir() { "a directory" } else { "not a regular file" };
        return Err(Diagnostic::error(format!("cannot read {shown}: it is {kind}")));
    }
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Diagnostic::error(format!("{shown} is larger than {} MiB", MAX_FILE_BYTES >> 20))
            .help("an inventory file is text that people write; move data elsewhere"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        // What is text up to there, so that the line can be shown.
        let mut text = String::from_utf8_lossy(error.as_bytes().get(..at).unwrap_or_default()).into_owned();
        text.push(char::REPLACEMENT_CHARACTER);
        let span = span_of(&text, at, text.len());
        let source = Arc::new(SourceFile { path: path.to_path_buf(), text });
        let source = mask::masked_lines(&source);
        Diagnostic::error("not UTF-8").at(&source, span).help("save the file as UTF-8")
    })?;
    let source = Arc::new(SourceFile { path: path.to_path_buf(), text });
    if let Some(at) = source.text.find('\0') {
        let span = span_of(&source.text, at, at + 1);
        let source = mask::masked_lines(&source);
        return Err(Diagnostic::error("a NUL character in a text file").at(&source, span).help("remove it"));
    }
    Ok(source)
}

/// The span of the bytes `start` to `end` of `text`.
fn span_of(text: &str, start: usize, end: usize) -> Span {
    let before = text.get(..start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Span { line, column, start, end }
}

/// Parses the one document in `source`; `None` when it is empty or holds only comments.
///
/// # Errors
/// At the first syntax error, duplicate key, unknown alias or second document, and when the document nests deeper
/// than 255 levels or grows past 2 million nodes through its aliases. Secrets near the place are masked.
pub fn parse(source: &Arc<SourceFile>) -> Result<Option<Arc<Node>>, Diagnostic> {
    document(source).map_err(|mut problem| {
        if let Some(place) = &mut problem.place {
            place.source = mask::masked_lines(source);
        }
        problem
    })
}

/// As [`parse`], but a file that is JSON is read as JSON, as Ansible does: there `1e3` is a number.
///
/// # Errors
/// As [`parse`].
pub fn parse_ansible(source: &Arc<SourceFile>) -> Result<Option<Arc<Node>>, Diagnostic> {
    // A JSON object with a key that stands twice is told by the YAML parser, which JSON is mostly a part of.
    match json::parse(&source.text).filter(unique_keys) {
        Some(node) => Ok(Some(Arc::new(node))),
        None => parse(source),
    }
}

fn unique_keys(node: &Node) -> bool {
    match &node.value {
        Value::Scalar { .. } => true,
        Value::Sequence(items) => items.iter().all(|item| unique_keys(item)),
        Value::Mapping(entries) => {
            let mut seen = std::collections::HashSet::new();
            entries.iter().all(|(key, value)| key.as_text().is_some_and(|text| seen.insert(text)) && unique_keys(value))
        }
    }
}

fn document(source: &Arc<SourceFile>) -> Result<Option<Arc<Node>>, Diagnostic> {
    let options = granit::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
        bom_inside_document_as_content: true,
        block_scalar_eof_without_line_feed: true,
    };
    let mut builder = Builder {
        source,
        offsets: Offsets::new(&source.text),
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        total: 0,
    };
    for next in Parser::new_from_str_with_options(&source.text, options) {
        let (event, span) = next.map_err(|error| builder.syntax(&error))?;
        builder.event(event, &span)?;
    }
    Ok(builder.root.map(|sized| sized.node))
}

/// Character offsets -> byte offsets, since the parser counts characters.
struct Offsets<'a> {
    text: &'a str,
    ascii: bool,
}

impl<'a> Offsets<'a> {
    fn new(text: &'a str) -> Self {
        Offsets { text, ascii: text.is_ascii() }
    }

    fn byte(&self, marker: &granit::Marker) -> usize {
        match marker.byte_offset() {
            Some(byte) => byte.min(self.text.len()),
            None if self.ascii => marker.index().min(self.text.len()),
            None => self.text.char_indices().nth(marker.index()).map_or(self.text.len(), |(at, _)| at),
        }
    }
}

/// A node with the number of nodes that it stands for once its aliases are followed, and how deep they nest.
#[derive(Clone)]
struct Sized {
    node: Arc<Node>,
    count: u64,
    height: usize,
}

/// A collection whose end has not come.
struct Open {
    mapping: bool,
    anchor: usize,
    tag: Option<String>,
    span: Span,
    items: Vec<Sized>,
}

struct Builder<'a> {
    source: &'a Arc<SourceFile>,
    offsets: Offsets<'a>,
    stack: Vec<Open>,
    anchors: HashMap<usize, Sized>,
    root: Option<Sized>,
    /// Nodes so far, so that a long flat file is refused before it is whole in memory.
    total: u64,
}

impl Builder<'_> {
    fn span(&self, span: &granit::Span) -> Span {
        let start = self.offsets.byte(&span.start);
        let end = self.offsets.byte(&span.end).max(start);
        Span { line: span.start.line(), column: span.start.col() + 1, start, end }
    }

    fn error(&self, message: impl Into<String>, span: Span) -> Diagnostic {
        Diagnostic::error(message).at(self.source, span)
    }

    fn syntax(&self, error: &granit::ScanError) -> Diagnostic {
        let marker = error.marker();
        let start = self.offsets.byte(marker);
        let span = Span { line: marker.line(), column: marker.col() + 1, start, end: start };
        let line = self.source.text.lines().nth(marker.line().saturating_sub(1)).unwrap_or_default();
        let hint = if line.trim_start_matches(' ').starts_with('\t') {
            "YAML is indented with spaces, never with tabs"
        } else if line.contains("{{") {
            "a value that begins with `{{` must be quoted: \"{{ ... }}\""
        } else {
            "look at the indentation, the colons and the quotes of this line and the one above"
        };
        self.error(format!("this is not YAML: {}", error.info()), span).help(hint)
    }

    fn event(&mut self, event: Event<'_>, at: &granit::Span) -> Result<(), Diagnostic> {
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                let span = self.span(at);
                Err(self.error("a second document in the file", span).help("keep one document: remove the `---`"))
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                let node = Node { value, span: self.span(at), tag: tag.map(|tag| tag_text(&tag)) };
                self.finish(Sized { node: Arc::new(node), count: 1, height: 0 }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => self.open(false, anchor, tag.map(|tag| tag_text(&tag)), at),
            Event::MappingStart(_, anchor, tag) => self.open(true, anchor, tag.map(|tag| tag_text(&tag)), at),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(id) => match self.anchors.get(&id).cloned() {
                Some(target) => self.finish(target, 0),
                None => {
                    let span = self.span(at);
                    Err(self.error("an alias inside the very node that it names", span))
                }
            },
            _ => Ok(()),
        }
    }

    fn open(&mut self, mapping: bool, anchor: usize, tag: Option<String>, at: &granit::Span) -> Result<(), Diagnostic> {
        let span = self.span(at);
        if self.stack.len() >= MAX_DEPTH {
            return Err(self.error(format!("nested deeper than {MAX_DEPTH} levels"), span));
        }
        self.stack.push(Open { mapping, anchor, tag, span, items: Vec::new() });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Diagnostic> {
        let Some(open) = self.stack.pop() else { return Ok(()) };
        let count = open.items.iter().fold(1u64, |sum, item| sum.saturating_add(item.count));
        let height = open.items.iter().map(|item| item.height + 1).max().unwrap_or(1);
        // Before the merge keys are followed, since those copy.
        self.bounded(count, height, open.span)?;
        let value = if open.mapping {
            Value::Mapping(self.mapping(open.items)?)
        } else {
            Value::Sequence(open.items.into_iter().map(|item| item.node).collect())
        };
        let node = Node { value, span: open.span, tag: open.tag };
        self.finish(Sized { node: Arc::new(node), count, height }, open.anchor)
    }

    /// Refuses a node that stands for too many others, or would nest too deep where it stands.
    fn bounded(&mut self, count: u64, height: usize, span: Span) -> Result<(), Diagnostic> {
        self.total = self.total.saturating_add(1);
        if count > MAX_NODES || self.total > MAX_NODES {
            return Err(self.error(format!("more than {MAX_NODES} values once the aliases are followed"), span).help(
                "an inventory is text that people write: move data elsewhere, and use fewer aliases of aliases",
            ));
        }
        if self.stack.len() + height > MAX_DEPTH {
            return Err(self.error(format!("nested deeper than {MAX_DEPTH} levels"), span));
        }
        Ok(())
    }

    fn finish(&mut self, sized: Sized, anchor: usize) -> Result<(), Diagnostic> {
        self.bounded(sized.count, sized.height, sized.node.span)?;
        if anchor != 0 {
            self.anchors.insert(anchor, sized.clone());
        }
        match self.stack.last_mut() {
            Some(open) => open.items.push(sized),
            None => self.root = Some(sized),
        }
        Ok(())
    }

    /// Pairs up the items of a mapping, refuses a key that stands twice, and merges `<<` as PyYAML does: merged
    /// entries come first, the mapping's own keys win, and of several merged mappings the first wins.
    fn mapping(&self, items: Vec<Sized>) -> Result<Vec<Entry>, Diagnostic> {
        let mut own: Vec<Entry> = Vec::with_capacity(items.len() / 2);
        let mut seen: HashMap<String, Span> = HashMap::new();
        let mut merges: Vec<Arc<Node>> = Vec::new();
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            let (key, value) = (key.node, value.node);
            if is_merge_key(&key) {
                merges.push(value);
                continue;
            }
            if let Some(text) = key.as_text()
                && let Some(first) = seen.insert(text.to_owned(), key.span)
            {
                return Err(self
                    .error(format!("the key `{text}` stands twice"), key.span)
                    .help(format!("it stands first in line {}; remove one of the two", first.line)));
            }
            own.push((key, value));
        }
        if merges.is_empty() {
            return Ok(own);
        }
        let mut entries: Vec<Entry> = Vec::new();
        for merge in merges {
            let sources: Vec<&Arc<Node>> = match &merge.value {
                Value::Sequence(list) => list.iter().rev().collect(),
                _ => vec![&merge],
            };
            for source in sources {
                let Some(merged) = source.as_mapping() else {
                    return Err(self
                        .error(format!("`<<` merges mappings, and this is {}", source.kind()), source.span)
                        .help("merge an alias of a mapping: `<<: *name`"));
                };
                entries.extend(merged.iter().cloned());
            }
        }
        entries.extend(own);
        // A later entry wins but stands where its key stood first, as in a Python dict.
        let mut at: HashMap<String, usize> = HashMap::new();
        let mut out: Vec<Entry> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let place = key.as_text().and_then(|text| at.get(text)).copied();
            match place.and_then(|index| out.get_mut(index)) {
                Some(entry) => entry.1 = value,
                None => {
                    if let Some(text) = key.as_text() {
                        at.insert(text.to_owned(), out.len());
                    }
                    out.push((key, value));
                }
            }
        }
        Ok(out)
    }
}

fn is_merge_key(key: &Node) -> bool {
    match &key.value {
        Value::Scalar { text, plain } => {
            key.tag.as_deref() == Some("tag:yaml.org,2002:merge") || (*plain && key.tag.is_none() && text == "<<")
        }
        _ => false,
    }
}

fn tag_text(tag: &granit::Tag) -> String {
    let (handle, suffix) = tag.parts();
    format!("{handle}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Arc<SourceFile> {
        Arc::new(SourceFile { path: "x.yml".into(), text: text.to_owned() })
    }

    /// Every scalar with its line, column and the text at its span.
    fn scalars(text: &str) -> Vec<(usize, usize, String)> {
        fn walk(node: &Node, text: &str, out: &mut Vec<(usize, usize, String)>) {
            match &node.value {
                Value::Scalar { .. } => {
                    out.push((node.span.line, node.span.column, text[node.span.start..node.span.end].to_owned()));
                }
                Value::Sequence(items) => items.iter().for_each(|item| walk(item, text, out)),
                Value::Mapping(entries) => entries.iter().for_each(|(key, value)| {
                    walk(key, text, out);
                    walk(value, text, out);
                }),
            }
        }
        let mut out = Vec::new();
        walk(&parse(&source(text)).unwrap().unwrap(), text, &mut out);
        out
    }

    #[test]
    fn places_count_characters_and_spans_count_bytes() {
        let want = |line, column, text: &str| (line, column, text.to_owned());
        assert_eq!(
            scalars("grün: \"ä\"\n  \nb: [é, 'x y']\n"),
            [want(1, 1, "grün"), want(1, 7, "\"ä\""), want(3, 1, "b"), want(3, 5, "é"), want(3, 8, "'x y'"),]
        );
        assert_eq!(scalars("\u{feff}a: b\n")[0].2, "a");
        assert_eq!(scalars("a: b\r\nc: d\r\n")[2], want(2, 1, "c"));
    }

    #[test]
    fn merge_keys_keep_the_first_place_and_the_own_value() {
        let text = "{<<: [{a: 1, b: 1}, {b: 2, c: 2}], d: 3, a: 3}";
        let json = super::super::yaml11::value(&parse(&source(text)).unwrap().unwrap()).unwrap();
        assert_eq!(json.to_string(), r#"{"b":1,"c":2,"a":3,"d":3}"#);
        let told = parse(&source("{<<: 1}")).unwrap_err();
        assert!(told.message.contains("`<<` merges mappings"), "{}", told.message);
    }

    #[test]
    fn an_empty_file_has_no_document() {
        for text in ["", "# only a comment\n", "\n\n", "---\n...\n"] {
            let root = parse(&source(text)).unwrap();
            assert!(root.is_none_or(|root| root.is_null()), "{text:?}");
        }
    }

    #[test]
    fn the_same_anchor_again_is_another() {
        let json = super::super::yaml11::value(&parse(&source("[&a 1, *a, &a 2, *a]")).unwrap().unwrap()).unwrap();
        assert_eq!(json.to_string(), "[1,1,2,2]");
    }
}
