//! What has been fetched of a host's logs: makes the question of it, and of the answer what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::super::sample::Run;
use super::fetched::{Fetched, FilePart, How, RunPart, Stream};
use super::{FileAt, Mask, Question, RunAt};

/// How long a file that was renamed is still looked at: a writer that had it open may go on for a while.
const LINGER: Duration = Duration::from_secs(15 * 60);

/// Of how many earlier files of a path a host is told, so that none is taken for a new one.
const SEEN: usize = 8;

/// A log file of an agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct External {
    /// The agent that writes it.
    pub agent: String,
    /// The repo that it is for, or `*`.
    pub repo: String,
    /// Absolute, or with `~/`.
    pub path: String,
}

/// How far a log has been fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The run; empty for a log file of an agent.
    pub token: String,
    /// `out` or `err` of a run, else the path.
    pub stream: String,
    /// Counts from 0 how often a log file began anew; 0 for a run.
    pub generation: u32,
    /// The agent, where it is known.
    pub agent: Option<String>,
    /// The repo, where it is known.
    pub repo: Option<String>,
    /// Bytes that have been fetched.
    pub next: u64,
    /// Which file it is, of a log file.
    pub inode: Option<u64>,
    /// `LENGTH:CHECKSUM` of its first bytes, of a log file.
    pub head: Option<String>,
    /// Until when it is still looked at, of a log file that was renamed.
    pub until: Option<Timestamp>,
    /// The run has ended and all of it is there.
    pub done: bool,
}

/// Bytes that are new, secrets hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The log, as it is with these bytes.
    pub cursor: Cursor,
    /// Where they begin in it.
    pub offset: u64,
    /// The bytes; none where only the cursor is new.
    pub bytes: Vec<u8>,
}

/// What has been fetched of one host's logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// By token and stream, or by nothing and path: the generations, oldest first.
    logs: BTreeMap<(String, String), Vec<Cursor>>,
}

impl Book {
    /// The book with these cursors.
    pub fn new(cursors: impl IntoIterator<Item = Cursor>) -> Book {
        let mut book = Book::default();
        for cursor in cursors {
            book.logs.entry((cursor.token.clone(), cursor.stream.clone())).or_default().push(cursor);
        }
        book.logs.values_mut().for_each(|generations| generations.sort_by_key(|cursor| cursor.generation));
        book
    }

    /// The cursors of what is looked at.
    pub fn cursors(&self) -> impl Iterator<Item = &Cursor> {
        self.logs.values().flatten()
    }

    /// Asks for what is new of all runs, or of `only` one, and of `files`; the caps are the caller's to fill in.
    pub fn question(&self, files: &[External], only: Option<&str>, now: Timestamp) -> Question {
        let mut runs: BTreeMap<&str, RunAt> = BTreeMap::new();
        for cursor in self.cursors().filter(|cursor| !cursor.token.is_empty()) {
            let at = runs.entry(&cursor.token).or_insert_with(|| RunAt {
                token: cursor.token.clone(),
                out: 0,
                err: 0,
                done: cursor.done,
            });
            at.done &= cursor.done;
            match Stream::of(&cursor.stream) {
                Some(Stream::Out) => at.out = cursor.next,
                Some(Stream::Err) => at.err = cursor.next,
                None => {}
            }
        }
        let asked = |at: &RunAt| only.is_none_or(|only| at.token == only);
        let mut question = Question { only: only.map(str::to_owned), ..Question::default() };
        question.runs = runs.into_values().filter(asked).collect();
        for (index, file) in (0u64..).zip(files) {
            let nothing = Vec::new();
            let generations = self.logs.get(&(String::new(), file.path.clone())).unwrap_or(&nothing);
            let mut back = generations.iter().rev();
            let mut current = at(2 * index, &file.path, back.next());
            current.seen = back.clone().filter_map(|cursor| cursor.head.clone()).take(SEEN).collect();
            question.files.push(current);
            let lingers = |cursor: &&Cursor| cursor.until.is_some_and(|until| now < until);
            question.files.extend(back.next().filter(lingers).map(|was| at(2 * index + 1, &file.path, Some(was))));
        }
        question
    }

    /// Takes in an answer to [`Book::question`] with the same `files`; `runs` is how the runs were just before it. Gives
    /// what is new: each byte once, those of one log in their order; nothing of a log that `mask` does not cover.
    pub fn take(
        &mut self,
        fetched: Fetched,
        files: &[External],
        runs: &[Run],
        mask: &Mask,
        now: Timestamp,
    ) -> Vec<Piece> {
        self.take_until(is_over, fetched, files, runs, mask, now)
    }

    /// The same for who looks no more at a run for which `over` holds: what is held back of it since it may begin a secret
    /// comes too.
    pub fn take_until(
        &mut self,
        over: fn(&Run) -> bool,
        fetched: Fetched,
        files: &[External],
        runs: &[Run],
        mask: &Mask,
        now: Timestamp,
    ) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if fetched.terminal {
            return pieces;
        }
        let mut whole: BTreeMap<String, bool> = BTreeMap::new();
        for part in fetched.runs {
            let run = runs.iter().find(|run| run.token == part.token);
            let over = run.is_some_and(over);
            let token = part.token.clone();
            let complete = self.take_run(part, run, &fetched.of, over, mask, &mut pieces);
            let known = whole.entry(token).or_insert(over);
            *known &= complete;
        }
        for token in whole.into_iter().filter(|(_, whole)| *whole).map(|(token, _)| token) {
            for stream in [Stream::Out, Stream::Err] {
                let Some(cursor) = self.logs.get_mut(&(token.clone(), stream.word().to_owned())) else { continue };
                for cursor in cursor.iter_mut().filter(|cursor| !cursor.done) {
                    cursor.done = true;
                    pieces.push(Piece { cursor: cursor.clone(), offset: cursor.next, bytes: Vec::new() });
                }
            }
        }
        let mut broken = BTreeSet::new();
        let mut parts = fetched.files.into_iter().peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none_or(|next| next.id != part.id);
            let index = usize::try_from(part.id / 2).ok();
            let Some(file) = index.and_then(|index| files.get(index)) else { continue };
            let id = part.id;
            if !broken.contains(&id) && self.take_file(part, file, last, mask, now, &mut pieces).is_none() {
                broken.insert(id);
            }
        }
        pieces
    }

    /// Says whether all of the stream is there.
    fn take_run(
        &mut self,
        part: RunPart,
        run: Option<&Run>,
        of: &[(String, String, String)],
        over: bool,
        mask: &Mask,
        pieces: &mut Vec<Piece>,
    ) -> bool {
        let RunPart { token, stream, offset, size, mut bytes } = part;
        let generations = self.logs.entry((token.clone(), stream.word().to_owned())).or_default();
        let named = of.iter().find(|(of, ..)| *of == token);
        if generations.is_empty() {
            let agent = run.and_then(|run| run.agent.clone()).or_else(|| Some(named?.1.clone()));
            let repo = run.and_then(|run| run.repo.clone()).or_else(|| Some(named?.2.clone()));
            let stream = stream.word().to_owned();
            generations.push(Cursor { token, stream, agent, repo, ..Cursor::default() });
        }
        let Some(cursor) = generations.last_mut() else { return false };
        // What cannot be hidden yet stays on the host, to be fetched again.
        if offset == cursor.next && !bytes.is_empty() && mask.covers(cursor.repo.as_deref()) {
            let more = !over || offset + (bytes.len() as u64) < size;
            mask.hide(&mut bytes, more);
            cursor.next += bytes.len() as u64;
            if !bytes.is_empty() {
                pieces.push(Piece { cursor: cursor.clone(), offset, bytes });
            }
        }
        cursor.next >= size
    }

    /// Gives nothing when it does not fit to what is there, or cannot be hidden yet: nothing that follows does then.
    fn take_file(
        &mut self,
        part: FilePart,
        file: &External,
        last: bool,
        mask: &Mask,
        now: Timestamp,
        pieces: &mut Vec<Piece>,
    ) -> Option<()> {
        if !mask.covers(Some(&file.repo)) {
            return None;
        }
        let FilePart { id, inode, offset, size, head, how, mut bytes } = part;
        let generations = self.logs.entry((String::new(), file.path.clone())).or_default();
        if how == How::On {
            let back = usize::try_from(id % 2).ok()?;
            let cursor = generations.iter().rev().nth(back)?;
            if cursor.inode != Some(inode) || cursor.next != offset {
                return None;
            }
        } else {
            if let Some(before) = generations.last_mut() {
                before.until = (how == How::Rotated).then(|| now.checked_add(LINGER).ok()).flatten();
                pieces.push(Piece { cursor: before.clone(), offset: before.next, bytes: Vec::new() });
            }
            let generation = generations.last().map_or(0, |cursor| cursor.generation + 1);
            let (stream, agent, repo) = (file.path.clone(), Some(file.agent.clone()), Some(file.repo.clone()));
            let inode = Some(inode);
            generations.push(Cursor { stream, agent, repo, generation, inode, ..Cursor::default() });
        }
        let back = if how == How::On { usize::try_from(id % 2).ok()? } else { 0 };
        let cursor = generations.iter_mut().rev().nth(back)?;
        // What has a successor is over, unless somebody still writes to it.
        let more = last || offset + (bytes.len() as u64) < size;
        mask.hide(&mut bytes, more);
        cursor.next = offset + bytes.len() as u64;
        cursor.head = head.or(cursor.head.take());
        pieces.push(Piece { cursor: cursor.clone(), offset, bytes });
        Some(())
    }

    /// The streams of runs for which `over` holds that a host does not have any more: it told nothing of them, only of those
    /// in `told`. Each is given once, as far as it has been fetched; of runs that nobody has begun to fetch none on the `first`
    /// look.
    pub fn gone(
        &mut self,
        over: fn(&Run) -> bool,
        runs: &[Run],
        told: &BTreeSet<(String, Stream)>,
        first: bool,
    ) -> Vec<Cursor> {
        let mut gone = Vec::new();
        // What never began has no logs.
        for run in runs.iter().filter(|run| over(run) && !run.state.starts_with("CANCELLED")) {
            let key = |stream: Stream| (run.token.clone(), stream.word().to_owned());
            let begun = [Stream::Out, Stream::Err].into_iter().any(|stream| self.logs.contains_key(&key(stream)));
            for stream in [Stream::Out, Stream::Err] {
                if told.contains(&(run.token.clone(), stream)) {
                    continue;
                }
                let generations = self.logs.entry(key(stream)).or_default();
                if generations.is_empty() {
                    let (token, stream) = key(stream);
                    let (agent, repo) = (run.agent.clone(), run.repo.clone());
                    generations.push(Cursor { token, stream, agent, repo, ..Cursor::default() });
                }
                for cursor in generations.iter_mut().filter(|cursor| !cursor.done) {
                    cursor.done = true;
                    gone.extend((begun || !first).then(|| cursor.clone()));
                }
            }
        }
        gone
    }

    /// Strikes out the runs that a host does not have any more, and says which.
    pub fn strike(&mut self, runs: &[Run]) -> Vec<String> {
        let there: BTreeSet<&str> = runs.iter().map(|run| run.token.as_str()).collect();
        let gone: BTreeSet<String> = self.logs.keys().map(|(token, _)| token.clone()).collect();
        let gone: Vec<String> =
            gone.into_iter().filter(|token| !token.is_empty() && !there.contains(token.as_str())).collect();
        self.logs.retain(|(token, _), _| !gone.contains(token));
        gone
    }
}

/// Whether a run has ended, and with it everything that it started.
pub fn is_over(run: &Run) -> bool {
    let ended = |state: &str| state.starts_with("DONE ") || ["CANCELLED", "CRASHED", "REBOOTED"].contains(&state);
    ended(&run.state) && !run.state.ends_with(" LEFTOVER")
}

fn at(id: u64, path: &str, cursor: Option<&Cursor>) -> FileAt {
    FileAt {
        id,
        was: id % 2 == 1,
        path: path.to_owned(),
        inode: cursor.and_then(|cursor| cursor.inode),
        offset: cursor.map_or(0, |cursor| cursor.next),
        head: cursor.and_then(|cursor| cursor.head.clone()),
        seen: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(token: &str, state: &str) -> Run {
        Run { token: token.to_owned(), state: state.to_owned(), ..Run::default() }
    }

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn part(offset: u64, size: u64, bytes: &[u8]) -> RunPart {
        RunPart { token: "t".into(), stream: Stream::Out, offset, size, bytes: bytes.to_vec() }
    }

    fn file(id: u64, inode: u64, offset: u64, how: How, bytes: &[u8]) -> FilePart {
        let size = offset + bytes.len() as u64;
        FilePart { id, inode, offset, size, head: Some(format!("{inode}:1")), how, bytes: bytes.to_vec() }
    }

    fn files(parts: Vec<FilePart>) -> Fetched {
        Fetched { files: parts, ..Fetched::default() }
    }

    #[test]
    fn a_run_is_done_once_it_has_ended_and_all_of_it_is_there() {
        let mut book = Book::default();
        let mut take = |state: &str, offset, size, bytes: &[u8]| {
            let fetched = Fetched { runs: vec![part(offset, size, bytes)], ..Fetched::default() };
            let pieces = book.take(fetched, &[], &[run("t", state)], &Mask::default(), now());
            (pieces.len(), book.question(&[], None, now()).runs[0].clone())
        };
        let at = |out, done| RunAt { token: "t".into(), out, err: 0, done };
        assert_eq!(take("RUNNING", 0, 3, b"abc"), (1, at(3, false)));
        assert_eq!(take("RUNNING", 3, 3, b""), (0, at(3, false)));
        assert_eq!(take("DONE 0", 3, 9, b"de"), (1, at(5, false)), "there is more");
        assert_eq!(take("DONE 0 LEFTOVER", 5, 6, b"f"), (1, at(6, false)), "somebody may still write");
        assert_eq!(take("DONE 0", 3, 9, b"defghi"), (0, at(6, false)), "an answer to another question");
        assert_eq!(take("UNKNOWN", 6, 6, b""), (0, at(6, false)));
        assert_eq!(take("DONE 0", 6, 6, b""), (1, at(6, true)));
    }

    #[test]
    fn a_file_that_begins_anew_is_another_generation() {
        let of = |path: &str| External { agent: "dev".into(), repo: "*".into(), path: path.into() };
        let all = [of("~/a.log"), of("~/b.log")];
        let mut book = Book::default();
        let take = |book: &mut Book, parts| book.take(files(parts), &all, &[], &Mask::default(), now());
        let told = |pieces: &[Piece]| -> Vec<(u32, u64, String)> {
            let bytes = |piece: &Piece| String::from_utf8(piece.bytes.clone()).unwrap();
            pieces.iter().map(|piece| (piece.cursor.generation, piece.offset, bytes(piece))).collect()
        };
        let asked = |book: &Book, now| -> Vec<_> {
            let files = book.question(&all, None, now).files;
            files.into_iter().map(|file| (file.id, file.inode, file.offset)).collect()
        };
        assert_eq!(asked(&book, now()), [(0, None, 0), (2, None, 0)]);
        assert_eq!(told(&take(&mut book, vec![file(2, 7, 0, How::New, b"one")])), [(0, 0, "one".into())]);
        assert_eq!(asked(&book, now()), [(0, None, 0), (2, Some(7), 3)]);
        let rotated = vec![file(2, 7, 3, How::On, b" two"), file(2, 8, 0, How::Rotated, b"three")];
        let want = [(0, 3, " two".into()), (0, 7, String::new()), (1, 0, "three".into())];
        assert_eq!(told(&take(&mut book, rotated)), want);
        // What it was is still looked at, for a while.
        assert_eq!(asked(&book, now()), [(0, None, 0), (2, Some(8), 5), (3, Some(7), 7)]);
        let later = now().checked_add(LINGER).unwrap();
        assert_eq!(asked(&book, later), [(0, None, 0), (2, Some(8), 5)]);
        assert_eq!(told(&take(&mut book, vec![file(3, 7, 7, How::On, b"!")])), [(0, 7, "!".into())]);
        let again = Book::new(book.cursors().cloned());
        assert_eq!(again, book, "as the journal gives it back");
        // What does not fit is not taken, nor what follows it.
        let odd = vec![file(2, 8, 4, How::On, b"x"), file(2, 9, 0, How::Rotated, b"y")];
        assert_eq!(take(&mut book, odd), []);
        let truncated = vec![file(2, 8, 0, How::Truncated, b"four")];
        assert_eq!(told(&take(&mut book, truncated)), [(1, 5, String::new()), (2, 0, "four".into())]);
        assert_eq!(asked(&book, now()), [(0, None, 0), (2, Some(8), 4)]);
    }

    #[test]
    fn runs_that_are_no_more_are_struck_out() {
        let cursor = |token: &str| Cursor { token: token.into(), stream: "out".into(), ..Cursor::default() };
        let file = Cursor { stream: "/x".into(), ..Cursor::default() };
        let mut book = Book::new([cursor("a"), cursor("b"), file]);
        assert_eq!(book.strike(&[run("b", "DONE 0"), run("c", "RUNNING")]), ["a"]);
        assert_eq!(book.cursors().count(), 2);
    }

    proptest! {
        /// A log that grows, answers that are cut by caps, lost, repeated or late: each byte comes once and in order.
        #[test]
        fn whatever_answers_come_each_byte_is_taken_once(
            steps in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..30), 0usize..40, 0u8..4, any::<bool>()), 1..30),
        ) {
            let (mut log, mut got) = (Vec::new(), Vec::new());
            let mut book = Book::default();
            let mut late: Option<Fetched> = None;
            let mask = Mask::new([secrecy::SecretString::from("\u{1}\u{2}\u{3}\u{4}".to_owned())]);
            let mut take = |book: &mut Book, fetched: Fetched, over: bool| {
                let state = if over { "DONE 0" } else { "RUNNING" };
                for piece in book.take(fetched, &[], &[run("t", state)], &mask, now()) {
                    assert_eq!(piece.offset, got.len() as u64);
                    got.extend(piece.bytes);
                }
            };
            let answer = |book: &Book, log: &[u8], cap: usize| {
                let at = book.question(&[], None, now()).runs.first().map_or(0, |run| run.out);
                let from = usize::try_from(at).unwrap();
                let to = log.len().min(from + cap);
                Fetched { runs: vec![part(at, log.len() as u64, &log[from..to])], ..Fetched::default() }
            };
            for (more, cap, fate, keep) in steps {
                log.extend(more);
                let fetched = answer(&book, &log, cap);
                if keep {
                    late = Some(fetched.clone());
                }
                match fate {
                    0 => {}
                    1 => if let Some(late) = late.take() { take(&mut book, late, false) },
                    _ => take(&mut book, fetched, false),
                }
            }
            let last = answer(&book, &log, usize::MAX >> 1);
            take(&mut book, last, true);
            let hidden: Vec<u8> = { let mut all = log.clone(); mask.hide(&mut all, false); all };
            prop_assert_eq!(got, hidden);
            prop_assert!(log.is_empty() || book.question(&[], None, now()).runs[0].done);
        }
    }
}
