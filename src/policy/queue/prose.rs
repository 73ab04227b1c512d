//! Markdown as far as it must be known to tell what a person says from what is code, quoted or struck out.

/// One line of visible text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing.
    Blank,
    /// A heading: its level from 1 and its words; 7 is a line that is bold as a whole.
    Heading(usize, String),
    /// The first line of an item of a list.
    Item(String),
    /// Any other line.
    Text(String),
}

/// The visible lines of a text: without code, quotes, comments and what is struck out.
pub(super) fn lines(body: &str) -> Vec<Line> {
    let mut out: Vec<Line> = Vec::new();
    let (mut fence, mut comment): (Option<(char, usize)>, bool) = (None, false);
    let (mut quoted, mut listed, mut code) = (false, false, false);
    for raw in body.lines() {
        let visible = if fence.is_some() { raw.to_owned() } else { without_comments(raw, &mut comment) };
        let indent = visible.chars().take_while(|c| *c == ' ').count() + if visible.starts_with('\t') { 4 } else { 0 };
        let text = visible.trim();
        if let Some((mark, length)) = fence {
            let run = text.chars().take_while(|c| *c == mark).count();
            if run >= length && run == text.chars().count() {
                fence = None;
            }
            continue;
        }
        if text.is_empty() {
            quoted = false;
            out.push(Line::Blank);
            continue;
        }
        let after_blank = matches!(out.last(), None | Some(Line::Blank));
        code = indent >= 4 && !listed && (after_blank || code);
        if code {
            continue;
        }
        let (item, inner) = item(text);
        if let Some(begun) = fence_of(inner) {
            fence = Some(begun);
            continue;
        }
        if inner.starts_with('>') {
            quoted = true;
            continue;
        }
        let heading = heading(inner);
        // A paragraph that is quoted goes on without the mark.
        if quoted && !item && heading.is_none() {
            continue;
        }
        quoted = false;
        listed = item || (listed && (indent > 0 || !after_blank));
        let shown = |text: &str| without_struck(&without_code(text));
        // A line that underlines the one before makes it a heading.
        let underline = (text.chars().all(|c| c == '=') || text.chars().all(|c| c == '-')) && !item;
        if let (true, Some(Line::Text(title))) = (underline, out.last()) {
            let level = if text.starts_with('=') { 1 } else { 2 };
            let title = title.clone();
            out.pop();
            out.push(Line::Heading(level, title));
            continue;
        }
        out.push(match (heading, item) {
            (Some((level, title)), _) => Line::Heading(level, shown(title)),
            (None, true) => Line::Item(shown(inner)),
            (None, false) => Line::Text(shown(inner)),
        });
    }
    out
}

/// Takes `<!-- ... -->` out; `inside` says whether the line begins, and then whether it ends, in one.
fn without_comments(line: &str, inside: &mut bool) -> String {
    let mut out = String::new();
    let mut rest = line;
    if *inside {
        let Some((_, after)) = rest.split_once("-->") else { return out };
        *inside = false;
        rest = after;
    }
    while let Some((before, after)) = rest.split_once("<!--") {
        out.push_str(before);
        let code = out.matches('`').count() % 2 == 1;
        match after.split_once("-->") {
            // In code it is no comment.
            _ if code => {
                out.push_str("<!--");
                rest = after;
            }
            Some((_, behind)) => rest = behind,
            // One that goes on begins its line; any other mark is only a mark.
            None if out.trim().is_empty() => {
                *inside = true;
                return out;
            }
            None => {
                out.push_str("<!--");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Whether a line is an item of a list, and what it says: without mark and check box.
fn item(text: &str) -> (bool, &str) {
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let rest = match text.strip_prefix(['-', '*', '+']) {
        Some(rest) => Some(rest),
        None if (1..=9).contains(&digits) => text.get(digits..).and_then(|rest| rest.strip_prefix(['.', ')'])),
        None => None,
    };
    match rest.filter(|rest| rest.starts_with([' ', '\t'])) {
        Some(rest) => {
            let rest = rest.trim_start();
            let boxes = ["[ ]", "[x]", "[X]"];
            (true, boxes.iter().find_map(|mark| rest.strip_prefix(mark)).unwrap_or(rest).trim_start())
        }
        None => (false, text),
    }
}

fn fence_of(text: &str) -> Option<(char, usize)> {
    let mark = text.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = text.chars().take_while(|c| *c == mark).count();
    // ```like this``` is code in a line.
    let info = text.get(length..).unwrap_or_default();
    (length >= 3 && !(mark == '`' && info.contains('`'))).then_some((mark, length))
}

fn heading(text: &str) -> Option<(usize, &str)> {
    let level = text.chars().take_while(|c| *c == '#').count();
    let rest = text.get(level..).unwrap_or_default();
    if (1..=6).contains(&level) && (rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return Some((level, rest.trim().trim_end_matches('#').trim()));
    }
    let bold = ["**", "__"].iter().find_map(|mark| {
        let inner = text.trim_end_matches(':').strip_prefix(mark)?.strip_suffix(mark)?;
        (!inner.contains(mark)).then_some(inner)
    });
    bold.map(|title| (7, title))
}

/// Takes code in the line out: what is between two runs of as many backticks.
fn without_code(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find('`') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let length = from.chars().take_while(|c| *c == '`').count();
        let (run, behind) = from.split_at(length);
        let mut search = behind;
        let mut end = None;
        while let Some(next) = search.find('`') {
            let found = search.get(next..).unwrap_or_default();
            let closing = found.chars().take_while(|c| *c == '`').count();
            search = found.get(closing..).unwrap_or_default();
            if closing == length {
                end = Some(search);
                break;
            }
        }
        match end {
            Some(after) => {
                // Code is a word, so that what stands around it is not side by side.
                out.push_str(" x ");
                rest = after;
            }
            None => {
                out.push_str(run);
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out
}

fn without_struck(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("~~") {
        let Some((_, behind)) = after.split_once("~~") else { break };
        out.push_str(before);
        out.push(' ');
        rest = behind;
    }
    out.push_str(rest);
    out
}
