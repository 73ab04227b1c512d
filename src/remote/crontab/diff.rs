//! What an edit would change, for people.

use std::fmt::Write as _;
use std::ops::Range;

use super::fence::lines;

/// How many lines stand around a change.
const CONTEXT: usize = 3;

/// The largest table of common lines that is made: 2,000 by 2,000 lines.
const CELLS: usize = 4_000_000;

/// The lines that differ with those around them, as `diff -u` shows them but without its heading; empty for no difference.
/// Bytes that are no text are shown as `\xNN`.
pub fn diff(before: &[u8], after: &[u8]) -> String {
    let (old, new) = (lines(before), lines(after));
    let changes = changes(&old, &new);
    let mut text = String::new();
    let mut rest = changes.as_slice();
    while let Some((first, _)) = rest.split_first() {
        // Those that would share lines around them make one hunk.
        let near = rest.windows(2).take_while(|pair| match pair {
            [a, b] => b.0.start - a.0.end <= 2 * CONTEXT,
            _ => false,
        });
        let (hunk, others) = rest.split_at(near.count() + 1);
        rest = others;
        let last = hunk.last().unwrap_or(first);
        let lead = first.0.start.min(CONTEXT);
        let tail = (old.len() - last.0.end).min(CONTEXT);
        let (from, to) = (first.0.start - lead..last.0.end + tail, first.1.start - lead..last.1.end + tail);
        let _ = writeln!(text, "@@ -{} +{} @@", place(&from), place(&to));
        let mut at = from.start;
        for (gone, come) in hunk {
            show(&mut text, ' ', &old, at..gone.start);
            show(&mut text, '-', &old, gone.clone());
            show(&mut text, '+', &new, come.clone());
            at = gone.end;
        }
        show(&mut text, ' ', &old, at..from.end);
    }
    text
}

fn place(range: &Range<usize>) -> String {
    let start = if range.is_empty() { range.start } else { range.start + 1 };
    if range.len() == 1 { start.to_string() } else { format!("{start},{}", range.len()) }
}

fn show(text: &mut String, sign: char, lines: &[&[u8]], range: Range<usize>) {
    for line in lines.get(range).unwrap_or_default() {
        let body = line.strip_suffix(b"\n").unwrap_or(line);
        text.push(sign);
        for chunk in body.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\t' => text.push(c),
                    _ if c.is_control() => text.extend(c.escape_default()),
                    _ => text.push(c),
                }
            }
            for b in chunk.invalid() {
                let _ = write!(text, "\\x{b:02x}");
            }
        }
        text.push('\n');
        if body.len() == line.len() {
            text.push_str("\\ no line break at the end\n");
        }
    }
}

/// What is gone and what has come in its place, in order.
fn changes(old: &[&[u8]], new: &[&[u8]]) -> Vec<(Range<usize>, Range<usize>)> {
    let lead = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new) = (old.get(lead..).unwrap_or_default(), new.get(lead..).unwrap_or_default());
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, new) = (old.get(..old.len() - tail).unwrap_or_default(), new.get(..new.len() - tail).unwrap_or_default());
    let common = common(old, new);
    let ends = common.into_iter().chain([(old.len(), new.len())]);
    let (mut a, mut b, mut found) = (0, 0, Vec::new());
    for (i, j) in ends {
        if i > a || j > b {
            found.push((lead + a..lead + i, lead + b..lead + j));
        }
        (a, b) = (i + 1, j + 1);
    }
    found
}

/// The places of the lines that both have, the most that go together; of tables too large for that, those that are the
/// same at the same place.
fn common(old: &[&[u8]], new: &[&[u8]]) -> Vec<(usize, usize)> {
    if old.len().saturating_mul(new.len()) > CELLS {
        let same = old.iter().zip(new).enumerate().filter(|(_, (a, b))| a == b);
        return same.map(|(at, _)| (at, at)).collect();
    }
    // The length of the longest row of common lines from (i, j) on, line by line from the end.
    let width = new.len() + 1;
    let mut longest = vec![0u32; width * (old.len() + 1)];
    let of = |longest: &[u32], i: usize, j: usize| longest.get(i * width + j).copied().unwrap_or(0);
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let best = if a == b {
                of(&longest, i + 1, j + 1) + 1
            } else {
                of(&longest, i + 1, j).max(of(&longest, i, j + 1))
            };
            if let Some(cell) = longest.get_mut(i * width + j) {
                *cell = best;
            }
        }
    }
    let (mut i, mut j, mut found) = (0, 0, Vec::new());
    while let (Some(a), Some(b)) = (old.get(i), new.get(j)) {
        if a == b {
            found.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if of(&longest, i + 1, j) >= of(&longest, i, j + 1) {
            i += 1;
        } else {
            j += 1;
        }
    }
    found
}
