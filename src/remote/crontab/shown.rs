//! The lines of a table that are about agents or about us, for people.

use super::Mark;
use super::fence::{blocks, lines, outside};
use super::line::{held, is_job};

/// A line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which, counted from 1.
    pub number: usize,
    /// What it is.
    pub what: What,
    /// Its text, without what we put before it; bytes that are no text are replaced.
    pub text: String,
}

/// What a line is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Cron runs it, and it contains the texts of marks with these keys.
    Live(Vec<String>),
    /// It is held under this key.
    Held(String),
    /// It stands in the block of this fleet.
    Block(String),
}

/// The lines that are held, those inside blocks, and those that contain the text of a mark and are run by cron.
pub fn shown(table: &[u8], marks: &[Mark]) -> Vec<Line> {
    let lines = lines(table);
    let blocks = blocks(&lines).unwrap_or_default();
    let mut shown = Vec::new();
    for ((index, line), outside) in lines.iter().enumerate().zip(outside(&lines)) {
        let block = || blocks.iter().find(|block| block.lines.contains(&index));
        let (what, text) = match held(line) {
            _ if !outside => match block().filter(|block| index > block.lines.start && index + 1 < block.lines.end) {
                Some(block) => (What::Block(String::from_utf8_lossy(&block.fleet).into_owned()), *line),
                None => continue,
            },
            Some((key, bare)) => (What::Held(String::from_utf8_lossy(key).into_owned()), bare),
            None if is_job(line) => {
                let has = |mark: &&Mark| {
                    let text = mark.text.as_bytes();
                    !text.is_empty() && line.windows(text.len()).any(|part| part == text)
                };
                let mut keys: Vec<String> = marks.iter().filter(has).map(|mark| mark.key.clone()).collect();
                keys.dedup();
                if keys.is_empty() {
                    continue;
                }
                (What::Live(keys), *line)
            }
            None => continue,
        };
        let text = String::from_utf8_lossy(text.trim_ascii_end()).into_owned();
        shown.push(Line { number: index + 1, what, text });
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        let mark = |key: &str, text: &str| Mark { key: key.to_owned(), text: text.to_owned() };
        let marks = [mark("dev", "dev.sh"), mark("takeover:dev", "dev.sh"), mark("takeover:dev", "agent")];
        let table = b"# dev.sh\nX=dev.sh\n0 * * * * dev.sh agent \xff\n#factory:old@web# @daily y\n1 * * * * other\n\
            # BEGIN factory home\n* * * * * dev.sh\n# END factory home\n# BEGIN factory away\n@hourly dev.sh";
        let line = |number, what, text: &str| Line { number, what, text: text.to_owned() };
        let live = What::Live(vec!["dev".to_owned(), "takeover:dev".to_owned()]);
        let want = [
            line(3, live.clone(), "0 * * * * dev.sh agent \u{fffd}"),
            line(4, What::Held("old@web".to_owned()), "@daily y"),
            line(7, What::Block("home".to_owned()), "* * * * * dev.sh"),
            line(10, live, "@hourly dev.sh"),
        ];
        // One that does not end is none, and then nobody can say which are.
        let seen = shown(table, &marks);
        assert_eq!(
            seen.iter().filter(|line| line.number != 7).cloned().collect::<Vec<_>>(),
            [0, 1, 3].map(|at| want[at].clone())
        );
        let whole = table.strip_suffix(b"# BEGIN factory away\n@hourly dev.sh").unwrap();
        assert_eq!(shown(whole, &marks), want[..3]);
    }
}
