//! JSON text -> nodes: Ansible reads a file as JSON first, where `1e3` is a number and `yes` is an error.

use std::sync::Arc;

use super::node::{Entry, Node, Value};
use crate::error::Span;

/// How deep collections may nest before the text is left to the YAML parser, which tells the same.
const MAX_DEPTH: usize = 250;

/// How many values there may be, as for the YAML parser.
const MAX_NODES: usize = 2_000_000;

/// The document in `text`, when it is one whole JSON object; whatever is wrong with it is left for the YAML parser
/// to tell. A key that stands twice is kept twice.
pub(super) fn parse(text: &str) -> Option<Node> {
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return None;
    }
    let mut reader = Reader { rest: text, line: 1, column: 1, at: 0, nodes: 0 };
    reader.blanks();
    let node = reader.value(0)?;
    reader.blanks();
    reader.rest.is_empty().then_some(node)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    column: usize,
    at: usize,
    nodes: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..)?;
        self.at += c.len_utf8();
        if c == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\r' | '\n')) {
            self.next();
        }
    }

    /// Whether the next character is `c`, which is then passed.
    fn accept(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.next();
        }
        found
    }

    fn span(&self) -> Span {
        Span { line: self.line, column: self.column, start: self.at, end: self.at }
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return None;
        }
        let mut span = self.span();
        let (value, tag) = match self.peek()? {
            '{' if depth < MAX_DEPTH => (self.object(depth)?, None),
            '[' if depth < MAX_DEPTH => (self.array(depth)?, None),
            '"' => (Value::Scalar { text: self.string()?, plain: false }, None),
            _ => self.word()?,
        };
        span.end = self.at;
        Some(Node { value, span, tag })
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        let mut entries: Vec<Entry> = Vec::new();
        self.next();
        self.blanks();
        if self.accept('}') {
            return Some(Value::Mapping(entries));
        }
        loop {
            self.blanks();
            let mut span = self.span();
            let text = self.string()?;
            span.end = self.at;
            let key = Node { value: Value::Scalar { text, plain: false }, span, tag: None };
            self.blanks();
            if !self.accept(':') {
                return None;
            }
            self.blanks();
            entries.push((Arc::new(key), Arc::new(self.value(depth + 1)?)));
            self.blanks();
            if self.accept('}') {
                return Some(Value::Mapping(entries));
            }
            if !self.accept(',') {
                return None;
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        self.next();
        self.blanks();
        if self.accept(']') {
            return Some(Value::Sequence(items));
        }
        loop {
            self.blanks();
            items.push(Arc::new(self.value(depth + 1)?));
            self.blanks();
            if self.accept(']') {
                return Some(Value::Sequence(items));
            }
            if !self.accept(',') {
                return None;
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        if !self.accept('"') {
            return None;
        }
        let mut text = String::new();
        loop {
            match self.next()? {
                '"' => return Some(text),
                '\\' => text.push(self.escape()?),
                c if c < ' ' => return None,
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.hex()?;
                if (0xd800..0xdc00).contains(&first) {
                    if !(self.accept('\\') && self.accept('u')) {
                        return None;
                    }
                    let second = self.hex()?;
                    let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    return char::from_u32(0x10000 + ((first - 0xd800) << 10) + low);
                }
                char::from_u32(first)?
            }
            c @ ('"' | '\\' | '/') => c,
            _ => return None,
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let mut value = 0;
        for _ in 0..4 {
            value = value * 16 + self.next()?.to_digit(16)?;
        }
        Some(value)
    }

    /// `true`, `false`, `null`, a number, or one of the three words that Python's JSON knows besides.
    fn word(&mut self) -> Option<(Value, Option<String>)> {
        let mut text = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')) {
            text.push(c);
            self.next();
        }
        let float = Some("tag:yaml.org,2002:float".to_owned());
        let scalar = |text: &str| Value::Scalar { text: text.to_owned(), plain: true };
        match text.as_str() {
            "true" | "false" | "null" => Some((scalar(&text), None)),
            "NaN" => Some((scalar(".nan"), float)),
            "Infinity" => Some((scalar(".inf"), float)),
            "-Infinity" => Some((scalar("-.inf"), float)),
            _ if !is_number(&text) => None,
            _ if text.contains(['.', 'e', 'E']) => Some((scalar(&text), float)),
            _ => Some((scalar(&text), None)),
        }
    }
}

/// Whether `text` is a JSON number.
fn is_number(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let rest = text.strip_prefix('-').unwrap_or(text);
    let (rest, exponent) = match rest.split_once(['e', 'E']) {
        Some((rest, exponent)) => (rest, Some(exponent)),
        None => (rest, None),
    };
    let (whole, fraction) = match rest.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (rest, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_by_its_own_rules() {
        let text = "{\"a\": 1e3, \"b\": [-0, true, null, \"\\ud83d\\ude00\\/\"],\n \"c\": {}}";
        let node = parse(text).unwrap();
        let json = super::super::yaml11::value(&node).unwrap();
        assert_eq!(json.to_string(), "{\"a\":1000.0,\"b\":[0,true,null,\"😀/\"],\"c\":{}}");
        let (key, value) = &node.as_mapping().unwrap()[2];
        assert_eq!((key.span.line, key.span.column), (2, 2));
        assert_eq!(&text[value.span.start..value.span.end], "{}");
    }

    #[test]
    fn what_is_not_json_is_left_to_yaml() {
        for text in
            ["{a: 1}", "{\"a\": yes}", "{\"a\": 01}", "{\"a\": 1,}", "{\"a\": 1} x", "a: 1", "", "{\"a\": \"\t\"}"]
        {
            assert!(parse(text).is_none(), "{text}");
        }
        assert!(parse(&"{\"a\":".repeat(100_000)).is_none());
    }
}
