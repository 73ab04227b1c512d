//! What can be seen in a table.

use super::Mark;
use super::fence::{lines, outside};
use super::line::{command, held, is_job};

/// What a table shows of a mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// How many lines contain its text and are run by cron.
    pub live: usize,
    /// How many lines are held under its key, whatever they contain.
    pub held: usize,
}

/// What a table shows of each mark, in their order. Lines in blocks are not counted.
pub fn look(table: &[u8], marks: &[Mark]) -> Vec<Look> {
    let mut found = vec![Look::default(); marks.len()];
    let lines = lines(table);
    for (line, _) in lines.iter().zip(outside(&lines)).filter(|(_, outside)| *outside) {
        let key = held(line).map(|(key, _)| key);
        let live = is_job(line);
        for (mark, look) in marks.iter().zip(&mut found) {
            let text = mark.text.as_bytes();
            look.held += usize::from(key == Some(mark.key.as_bytes()));
            look.live += usize::from(live && !text.is_empty() && line.windows(text.len()).any(|part| part == text));
        }
    }
    found
}

/// A warning for each job line with a `%` that is not escaped: cron makes a line break of it, and gives what follows to
/// the command as its input.
pub fn percent(lines: &[String]) -> Vec<String> {
    let bad = |line: &&String| {
        let command = Some(line.as_bytes()).filter(|line| is_job(line)).and_then(command).unwrap_or_default();
        let escaped = |at: usize| at.checked_sub(1).and_then(|before| command.get(before)) == Some(&b'\\');
        command.iter().enumerate().any(|(at, b)| *b == b'%' && !escaped(at))
    };
    let told = |line: &String| format!("cron makes a line break of `%`; write `\\%` in: {line}");
    lines.iter().filter(bad).map(told).collect()
}
