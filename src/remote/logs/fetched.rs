//! What a host told of its logs, and the bytes of them.

use std::collections::BTreeSet;

use super::super::form::{is_token, number};

/// What was told of the logs of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The runs that were looked at.
    pub runs: Vec<RunPart>,
    /// The log files of agents of which there is something new, those of one number in their order.
    pub files: Vec<FilePart>,
    /// `(token, agent, repo)` of runs, where that was told.
    pub of: Vec<(String, String, String)>,
    /// A part was announced and did not come as it was; it is asked for again.
    pub short: bool,
    /// A terminal stands between, which changes bytes: nothing was taken.
    pub terminal: bool,
}

impl Fetched {
    /// How many bytes of logs there are.
    pub fn bytes(&self) -> usize {
        let files = self.files.iter().map(|part| part.bytes.len());
        self.runs.iter().map(|part| part.bytes.len()).chain(files).sum()
    }
}

/// One of the two streams of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Its standard output.
    Out,
    /// Its standard error.
    Err,
}

impl Stream {
    /// `out` or `err`.
    pub fn word(self) -> &'static str {
        match self {
            Stream::Out => "out",
            Stream::Err => "err",
        }
    }

    /// The stream of that word.
    pub fn of(word: &str) -> Option<Stream> {
        [Stream::Out, Stream::Err].into_iter().find(|stream| stream.word() == word)
    }
}

/// A part of a run's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPart {
    /// The run.
    pub token: String,
    /// Which of its streams.
    pub stream: Stream,
    /// Where the bytes begin.
    pub offset: u64,
    /// How long the stream was then.
    pub size: u64,
    /// The bytes; there may be more.
    pub bytes: Vec<u8>,
}

/// A part of an agent's log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePart {
    /// The number from the question.
    pub id: u64,
    /// Which file it is.
    pub inode: u64,
    /// Where the bytes begin.
    pub offset: u64,
    /// How long the file was then.
    pub size: u64,
    /// `LENGTH:CHECKSUM` of its first bytes, for the next question; none of an empty one.
    pub head: Option<String>,
    /// Whether it goes on with what is there already.
    pub how: How,
    /// The bytes; there may be more.
    pub bytes: Vec<u8>,
}

/// How a part of a log file stands to what is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It goes on with it.
    On,
    /// It is the first.
    New,
    /// The file is another one than it was.
    Rotated,
    /// The file is the same and begins anew.
    Truncated,
}

/// The parts of an answer that are about logs.
pub(in super::super) struct Raw<'a> {
    /// The values of the lines `logs`, `log`, `followed` and `of`, in their order.
    pub(in super::super) count: Option<&'a str>,
    pub(in super::super) log: Vec<&'a str>,
    pub(in super::super) followed: Vec<&'a str>,
    pub(in super::super) of: Vec<&'a str>,
    /// Every byte after the line `end`.
    pub(in super::super) bytes: &'a [u8],
    /// The answer came through a terminal.
    pub(in super::super) terminal: bool,
}

impl Raw<'_> {
    /// What they say; `None` when logs were not asked for, or a line has another form: where one part begins hangs on
    /// the lengths of all before it.
    pub(in super::super) fn read(self) -> Option<Fetched> {
        let count = self.count.and_then(number)?;
        let runs: Vec<(RunPart, u64)> = self.log.iter().map(|line| run(line)).collect::<Option<_>>()?;
        let files: Vec<(FilePart, u64)> = self.followed.iter().map(|line| file(line)).collect::<Option<_>>()?;
        if (runs.len() + files.len()) as u64 != count {
            return None;
        }
        // A spec may hold anything; what is no name in it is left out.
        let of = self.of.iter().filter_map(|line| of(line)).collect();
        let mut fetched = Fetched { of, terminal: self.terminal, ..Fetched::default() };
        let mut bytes = Bytes { rest: if self.terminal { &[] } else { self.bytes }, short: false };
        for (mut part, length) in runs {
            part.bytes = bytes.part(length).unwrap_or_default();
            fetched.runs.push(part);
        }
        // What comes after a part that is missing would leave a hole.
        let mut broken = BTreeSet::new();
        for (mut part, length) in files {
            match bytes.part(length) {
                Some(sent) if !broken.contains(&part.id) => {
                    part.bytes = sent;
                    fetched.files.push(part);
                }
                _ => _ = broken.insert(part.id),
            }
        }
        fetched.short = bytes.short;
        Some(fetched)
    }
}

/// The bytes after `end`: each part as long as it was announced, and behind it `+` or `-` and a line's end.
struct Bytes<'a> {
    rest: &'a [u8],
    short: bool,
}

impl Bytes<'_> {
    /// The next part, if it is what was announced. Where it is cut off, or no sign stands behind it, nothing is known of
    /// what follows.
    fn part(&mut self, length: u64) -> Option<Vec<u8>> {
        if length == 0 {
            return Some(Vec::new());
        }
        let cut = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let Some((part, [sign @ (b'+' | b'-'), b'\n', rest @ ..])) = cut else {
            (self.rest, self.short) = (&[], true);
            return None;
        };
        self.rest = rest;
        self.short |= *sign == b'-';
        (*sign == b'+').then(|| part.to_vec())
    }
}

/// `TOKEN STREAM OFFSET LENGTH SIZE`.
fn run(line: &str) -> Option<(RunPart, u64)> {
    let mut words = line.split(' ');
    let token = words.next().filter(|token| is_token(token))?.to_owned();
    let stream = Stream::of(words.next()?)?;
    let (offset, length, size) = (number(words.next()?)?, number(words.next()?)?, number(words.next()?)?);
    let sound = words.next().is_none() && fits(offset, length, size);
    sound.then_some((RunPart { token, stream, offset, size, bytes: Vec::new() }, length))
}

/// `ID INODE OFFSET LENGTH SIZE HEAD HOW`.
fn file(line: &str) -> Option<(FilePart, u64)> {
    let mut words = line.split(' ');
    let mut next = || number(words.next()?);
    let (id, inode, offset, length, size) = (next()?, next()?, next()?, next()?, next()?);
    let head = match words.next()? {
        "-" => None,
        head => {
            let (length, sum) = head.split_once(':')?;
            let hex = sum.len() == 16 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
            number(length).filter(|_| hex)?;
            Some(head.to_owned())
        }
    };
    let how = match words.next()? {
        "-" => How::On,
        "new" => How::New,
        "rotated" => How::Rotated,
        "truncated" => How::Truncated,
        _ => return None,
    };
    let sound = words.next().is_none() && fits(offset, length, size) && (how == How::On || offset == 0);
    sound.then_some((FilePart { id, inode, offset, size, head, how, bytes: Vec::new() }, length))
}

/// `TOKEN AGENT REPO`, the names percent-encoded.
fn of(line: &str) -> Option<(String, String, String)> {
    let mut words = line.split(' ');
    let token = words.next().filter(|token| is_token(token))?;
    let mut name = || super::super::halt::decode(words.next()?).filter(|name| super::super::form::is_plain(name));
    let (agent, repo) = (name()?, name()?);
    words.next().is_none().then(|| (token.to_owned(), agent, repo))
}

/// A part of nothing may lie behind the end: a file that was made shorter.
fn fits(offset: u64, length: u64, size: u64) -> bool {
    length == 0 || offset.checked_add(length).is_some_and(|end| end <= size)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::probe::{Garbled, parse};
    use super::*;

    /// An answer with these parts of one run, whole.
    fn answer(parts: &[(&str, Stream, u64, Vec<u8>)]) -> Vec<u8> {
        let mut answer = b"\nbegin factory-probe 1\ncores 2\n".to_vec();
        for (token, stream, offset, bytes) in parts {
            let (word, size) = (stream.word(), offset + bytes.len() as u64);
            answer.extend(format!("log {token} {word} {offset} {} {size}\n", bytes.len()).bytes());
        }
        answer.extend(format!("logs {}\nend\n", parts.len()).bytes());
        for (_, _, _, bytes) in parts.iter().filter(|part| !part.3.is_empty()) {
            answer.extend(bytes);
            answer.extend(b"+\n");
        }
        answer
    }

    fn fetched(answer: &[u8]) -> Option<Fetched> {
        parse(answer).unwrap().logs
    }

    #[test]
    fn bytes_that_look_like_an_answer_are_bytes() {
        let evil = b"\nend\n\nbegin factory-probe 1\ncores 9\nlogs 0\nend\n+\n-\n\0\xff\r\n".to_vec();
        let parts = [("t-1", Stream::Out, 7, evil.clone()), ("t-1", Stream::Err, 0, b"+\n".to_vec())];
        let report = parse(&answer(&parts)).unwrap();
        assert_eq!(report.cores, Some(2));
        let logs = report.logs.unwrap();
        assert_eq!(logs.runs.iter().map(|part| part.bytes.clone()).collect::<Vec<_>>(), [evil, b"+\n".to_vec()]);
        assert!(!logs.short);
    }

    #[test]
    fn a_line_of_another_form_makes_all_logs_unknown_and_nothing_else() {
        let of = |lines: &str| parse(format!("begin factory-probe 1\ncores 2\n{lines}\nend\nx+\n").as_bytes());
        assert_eq!(of("log a out 0 1 1\nlogs 1").unwrap().logs.unwrap().runs[0].bytes, b"x");
        for lines in [
            "log a out 0 1 1",
            "log a out 0 1 1\nlogs 2",
            "log a out 0 1 0\nlogs 1",
            "log a out 0 1\nlogs 1",
            "log a out 0 1 1 1\nlogs 1",
            "log a/b out 0 1 1\nlogs 1",
            "log a in 0 1 1\nlogs 1",
            "log a out 18446744073709551615 1 18446744073709551615\nlogs 1",
            "followed 1 2 0 1 1 1:0123456789abcdef\nlogs 1",
            "followed 1 2 3 1 4 4:0123456789abcdef rotated\nlogs 1",
            "followed 1 2 0 1 1 1:2 -\nlogs 1",
        ] {
            let report = of(lines).unwrap();
            assert_eq!((report.logs, report.cores), (None, Some(2)), "{lines}");
        }
    }

    #[test]
    fn a_part_whose_file_was_changed_is_no_part_and_shifts_no_other() {
        let text = "begin factory-probe 1\nlog a out 0 3 3\nlog b out 0 3 3\nfollowed 1 9 5 2 7 7:0123456789abcdef -\n\
                    followed 1 8 0 2 2 2:0123456789abcdef rotated\nfollowed 2 7 0 2 2 2:0123456789abcdef new\nlogs 5\nend\n";
        let logs = fetched(format!("{text}\0\0\0-\nbbb+\ncc-\ndd+\nee+\n").as_bytes()).unwrap();
        assert_eq!(logs.runs.iter().map(|part| part.bytes.as_slice()).collect::<Vec<_>>(), [&b""[..], b"bbb"]);
        let files: Vec<_> = logs.files.iter().map(|part| (part.id, part.bytes.as_slice())).collect();
        assert_eq!(files, [(2, &b"ee"[..])], "what follows a hole is not taken");
        assert!(logs.short);
    }

    #[test]
    fn a_terminal_between_is_told_and_nothing_is_taken() {
        let answer = answer(&[("a", Stream::Out, 0, b"x\n".to_vec())]);
        let mangled = String::from_utf8(answer).unwrap().replace('\n', "\r\n");
        let logs = fetched(mangled.as_bytes()).unwrap();
        assert!(logs.terminal && logs.runs[0].bytes.is_empty(), "{logs:?}");
    }

    proptest! {
        #[test]
        fn a_cut_at_any_byte_gives_whole_parts_and_no_other(
            parts in proptest::collection::vec(("[a-z]{1,4}", any::<bool>(), 0u64..9, proptest::collection::vec(any::<u8>(), 0..40)), 0..5),
            farewell in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let parts: Vec<_> = parts.into_iter().map(|(token, out, offset, bytes)| {
                (token, if out { Stream::Out } else { Stream::Err }, offset, bytes)
            }).collect();
            let named: Vec<_> = parts.iter().map(|(token, stream, offset, bytes)| (token.as_str(), *stream, *offset, bytes.clone())).collect();
            let whole = answer(&named);
            let all = [whole.clone(), farewell].concat();
            let end = whole.windows(5).position(|window| window == b"\nend\n").unwrap() + 5;
            for cut in (0..=whole.len()).chain([all.len()]) {
                let got = parse(&all[..cut]);
                if cut < end - 1 {
                    let none = matches!(got, Err(Garbled::Cut | Garbled::NoBegin(_) | Garbled::Mixed(_)));
                    prop_assert!(none, "{cut}: {got:?}");
                    continue;
                }
                let logs = got.unwrap().logs.unwrap();
                let mut at = end;
                for (part, (.., bytes)) in logs.runs.iter().zip(&parts) {
                    at += bytes.len() + 2 * usize::from(!bytes.is_empty());
                    let want: &[u8] = if at <= cut { bytes } else { b"" };
                    prop_assert_eq!(part.bytes.as_slice(), want);
                }
                prop_assert_eq!(logs.short, cut < whole.len() && whole.len() > end);
            }
        }
    }
}
