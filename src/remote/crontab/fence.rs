//! Our blocks: `# BEGIN factory FLEET` ... `# END factory FLEET`.

use std::ops::Range;

use super::Refused;

/// Where a block stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Whose.
    pub(super) fleet: Vec<u8>,
    /// Its lines, counted from 0, with both fences.
    pub(super) lines: Range<usize>,
}

/// The lines of a table, each with its line break.
pub(super) fn lines(table: &[u8]) -> Vec<&[u8]> {
    table.split_inclusive(|b| *b == b'\n').collect()
}

/// A line that begins (true) or ends a block, and of which fleet.
fn fence(line: &[u8]) -> Option<(bool, &[u8])> {
    let line = line.trim_ascii_end();
    let begin = line.strip_prefix(b"# BEGIN factory ");
    let fleet = begin.or_else(|| line.strip_prefix(b"# END factory "))?;
    is_fleet(fleet).then_some((begin.is_some(), fleet))
}

/// Whether a fence can be made with this name.
pub(super) fn is_fleet(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}

/// Whether a line is a fence, of whatever block.
pub(super) fn is_fence(line: &[u8]) -> bool {
    fence(line).is_some()
}

/// All blocks, in their order.
///
/// # Errors
/// What is no row of whole blocks: one that does not end, or does not begin, or begins within another.
pub(super) fn blocks(lines: &[&[u8]]) -> Result<Vec<Block>, Refused> {
    let mut found = Vec::new();
    let mut open: Option<(usize, &[u8])> = None;
    let at =
        |line: usize| format!("line {} ({})", line + 1, lines.get(line).map(|text| shown(text)).unwrap_or_default());
    for (index, line) in lines.iter().enumerate() {
        match (fence(line), open) {
            (None, _) => {}
            (Some((true, fleet)), None) => open = Some((index, fleet)),
            (Some((false, fleet)), Some((begin, name))) if fleet == name => {
                found.push(Block { fleet: fleet.to_vec(), lines: begin..index + 1 });
                open = None;
            }
            (Some((true, _)), Some((begin, _))) => {
                return Err(Refused(format!("{} begins a block inside that of {}", at(index), at(begin))));
            }
            (Some((false, _)), Some((begin, _))) => {
                return Err(Refused(format!("{} ends another block than {} begins", at(index), at(begin))));
            }
            (Some((false, _)), None) => {
                return Err(Refused(format!("{} ends a block that does not begin", at(index))));
            }
        }
    }
    match open {
        Some((begin, _)) => Err(Refused(format!("{} begins a block that does not end", at(begin)))),
        None => Ok(found),
    }
}

/// Which lines stand in no block. Where the fences do not fit together, those do that are in no whole one.
pub(super) fn outside(lines: &[&[u8]]) -> Vec<bool> {
    let mut outside = vec![true; lines.len()];
    let mut open: Option<(usize, &[u8])> = None;
    for (index, line) in lines.iter().enumerate() {
        match fence(line) {
            Some((true, fleet)) => open = Some((index, fleet)),
            Some((false, fleet)) => {
                if let Some((begin, _)) = open.take().filter(|(_, name)| *name == fleet) {
                    outside.iter_mut().take(index + 1).skip(begin).for_each(|one| *one = false);
                }
            }
            None => {}
        }
    }
    outside
}

/// The lines inside the block of a fleet, without the fences; none if it has no block.
///
/// # Errors
/// Blocks that are not whole, and more than one of this fleet.
pub fn block(table: &[u8], fleet: &str) -> Result<Option<Vec<u8>>, Refused> {
    let lines = lines(table);
    let own = own(&lines, fleet)?;
    Ok(own.map(|own| lines.get(own.start + 1..own.end - 1).unwrap_or_default().concat()))
}

/// The place of a fleet's one block.
pub(super) fn own(lines: &[&[u8]], fleet: &str) -> Result<Option<Range<usize>>, Refused> {
    let mut own = blocks(lines)?.into_iter().filter(|block| block.fleet == fleet.as_bytes());
    let first = own.next().map(|block| block.lines);
    match own.next() {
        Some(second) => Err(Refused(format!(
            "fleet {fleet} has two blocks, at line {} and at line {}",
            first.map_or(0, |first| first.start + 1),
            second.lines.start + 1
        ))),
        None => Ok(first),
    }
}

/// A line for people.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line.trim_ascii_end());
    text.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect()
}
