//! An [`Edit`] done on one table.

use super::fence::{blocks, is_fence, is_fleet, lines, outside, own};
use super::line::{held, hold, is_job, is_key};
use super::{Edit, MAX_LINES, Mark, Refused};

/// What becomes of a table: its new bytes, the same if there is nothing to do. A table of over [`MAX_LINES`] lines is
/// refused; see [`edit_within`].
///
/// # Errors
/// As [`edit_within`].
pub fn edit(table: &[u8], edit: &Edit) -> Result<Vec<u8>, Refused> {
    edit_within(table, edit, MAX_LINES)
}

/// The same, for tables of at most so many lines.
///
/// Whatever is not ours stays byte for byte: our lines are `#factory:KEY# ` before a job line, and what stands between two
/// fences of ours. A line without a line break at its end is held and released as it is.
///
/// # Errors
/// What would change a table that is too long, that holds NUL, or of whose blocks it is not certain what is in them; keys,
/// texts, fleets and lines that cannot be written down.
pub fn edit_within(table: &[u8], edit: &Edit, max_lines: usize) -> Result<Vec<u8>, Refused> {
    let lines = lines(table);
    let new = match edit {
        Edit::Hold { wanted, ours } => {
            checked(wanted, ours)?;
            let marked = |line: &[u8]| marked(line, wanted, ours);
            mapped(&lines, marked).ok_or_else(|| unsure(&lines))?
        }
        Edit::Block { fleet, lines: inside } => with_block(&lines, fleet, inside)?,
        Edit::Leave => left(&lines)?,
        Edit::Restore(bytes) => bytes.clone(),
    };
    if new == table {
        return Ok(new);
    }
    let count = lines.len().max(new.split_inclusive(|b| *b == b'\n').count());
    if count > max_lines {
        return Err(Refused(format!("it has {count} lines, over {max_lines}")));
    }
    // No shell can hand it on.
    if table.contains(&0) || new.contains(&0) {
        return Err(Refused("it holds a NUL byte".to_owned()));
    }
    Ok(new)
}

fn checked(wanted: &[Mark], ours: &[String]) -> Result<(), Refused> {
    for key in wanted.iter().map(|mark| &mark.key).chain(ours) {
        if !is_key(key.as_bytes()) {
            return Err(Refused(format!("{key:?} is no key for a held line")));
        }
    }
    match wanted.iter().find(|mark| mark.text.is_empty() || mark.text.contains(['\n', '\0'])) {
        Some(mark) => Err(Refused(format!("{:?} is no text of a crontab line, for {}", mark.text, mark.key))),
        None => Ok(()),
    }
}

/// What becomes of a line outside any block; none if it stays.
fn marked(line: &[u8], wanted: &[Mark], ours: &[String]) -> Option<Vec<u8>> {
    let (key, bare) = match held(line) {
        Some((key, bare)) => (Some(key), bare),
        None if is_job(line) => (None, line),
        None => return None,
    };
    let is = |mark: &Mark, key: &[u8]| mark.key.as_bytes() == key;
    if let Some(key) = key
        && !ours.iter().any(|own| own.as_bytes() == key)
        && !wanted.iter().any(|mark| is(mark, key))
    {
        return None;
    }
    let mut matching = wanted.iter().filter(|mark| contains(bare, mark.text.as_bytes())).peekable();
    let first = matching.peek().copied();
    let same = key.and_then(|key| matching.find(|mark| is(mark, key)));
    let new = match same.or(first) {
        Some(mark) => hold(mark.key.as_bytes(), bare),
        None => bare.to_vec(),
    };
    (new != line).then_some(new)
}

/// The lines outside blocks, changed; none if a change depends on where a block ends, and that is not certain.
fn mapped(lines: &[&[u8]], change: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let sure = blocks(lines).is_ok();
    let outside = outside(lines);
    let mut new = Vec::new();
    for (line, outside) in lines.iter().zip(outside) {
        match change(line).filter(|_| outside || !sure) {
            Some(_) if !sure => return None,
            Some(line) => new.extend(line),
            None => new.extend_from_slice(line),
        }
    }
    Some(new)
}

/// Why `mapped` gave none.
fn unsure(lines: &[&[u8]]) -> Refused {
    blocks(lines).err().unwrap_or_else(|| Refused("its blocks are not whole".to_owned()))
}

fn with_block(lines: &[&[u8]], fleet: &str, inside: &[String]) -> Result<Vec<u8>, Refused> {
    if !is_fleet(fleet.as_bytes()) {
        return Err(Refused(format!("{fleet:?} is no name for a block")));
    }
    if let Some(bad) = inside.iter().find(|line| line.contains(['\n', '\r', '\0']) || is_fence(line.as_bytes())) {
        return Err(Refused(format!("{bad:?} cannot be a line of a block")));
    }
    // Nothing to remove, whatever else is there.
    let named =
        lines.iter().any(|line| is_fence(line) && line.trim_ascii_end().ends_with(format!(" {fleet}").as_bytes()));
    if inside.is_empty() && !named {
        return Ok(lines.concat());
    }
    let own = own(lines, fleet)?;
    let (start, end) = own.map_or((lines.len(), lines.len()), |own| (own.start, own.end));
    let before = lines.get(..start).unwrap_or_default().concat();
    let mut block = Vec::new();
    if !inside.is_empty() {
        // Its last line would have to get one for good.
        if before.last().is_some_and(|last| *last != b'\n') {
            return Err(Refused("its last line has no line break".to_owned()));
        }
        block.push(format!("# BEGIN factory {fleet}"));
        block.extend_from_slice(inside);
        block.push(format!("# END factory {fleet}\n"));
    }
    let after = lines.get(end..).unwrap_or_default().concat();
    Ok([before, block.join("\n").into_bytes(), after].concat())
}

fn left(lines: &[&[u8]]) -> Result<Vec<u8>, Refused> {
    let blocks = blocks(lines)?;
    let kept = lines.iter().enumerate().filter(|(index, _)| !blocks.iter().any(|block| block.lines.contains(index)));
    Ok(kept.flat_map(|(_, line)| held(line).map_or(*line, |(_, bare)| bare)).copied().collect())
}

fn contains(line: &[u8], text: &[u8]) -> bool {
    line.windows(text.len()).any(|window| window == text)
}
