//! What the guard said -> an [`Answer`]. Never panics; what is not wholly of its form is no answer.

use std::collections::BTreeMap;

use super::super::form::{epoch, is_plain, number, printable, run};
use super::super::sample::Fence;
use super::{Answer, Table, Word};

/// Why what came back is no answer: whether the call was done is then unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    /// No guard spoke: the login shell, a forced command or a broken startup file did.
    #[error("the host did not run the guard: exit status {status}{}", saw(.said))]
    NoBegin {
        /// How it ended.
        status: i32,
        /// Its first line.
        said: String,
    },
    /// The answer stops before its `end`.
    #[error("the guard's answer was cut off: it has no last line `end`")]
    Cut,
    /// Something else is mixed into the answer.
    #[error("the guard's answer holds a line that it did not write: {0}")]
    Mixed(String),
    /// Its word and its exit status do not agree.
    #[error("the guard's answer and its exit status {0} do not agree")]
    Status(i32),
}

fn saw(line: &str) -> String {
    if line.is_empty() { String::new() } else { format!("; it said: {line}") }
}

/// Reads the whole standard output of one call and the exit status.
///
/// Whatever comes before the line `begin factory-guard 1` (a banner) is ignored. The bytes of the crontabs, each announced
/// by a line `table LENGTH WORD`, come right after the line `end`, in that order; what comes after them is ignored.
///
/// # Errors
/// Everything that is not a whole answer: cut, mixed with another text, or with an exit status that is not its word's.
pub fn parse(stdout: &[u8], status: i32) -> Result<Answer, Garbled> {
    // Crontabs may hold what looks like an answer, so the first begin counts, and what follows its end is only bytes.
    let head = match find(stdout, b"\nend\n").or_else(|| find(stdout, b"\nend\r\n").map(|at| at + 1)) {
        Some(end) => stdout.get(..end + 5).unwrap_or(stdout),
        None => stdout,
    };
    let after = stdout.get(head.len()..).unwrap_or_default();
    let text = String::from_utf8_lossy(head);
    let mut lines: Vec<&str> = text.split('\n').collect();
    // What stands behind the last line break is the begin of a line whose rest is missing.
    let rest = lines.pop().unwrap_or_default();
    let marks = ["begin factory-guard 1", "begin factory-guard 1\r"];
    let Some(begin) = lines.iter().position(|line| marks.contains(line)) else {
        let said = lines.iter().chain([&rest]).map(|line| line.trim()).find(|line| !line.is_empty());
        return Err(Garbled::NoBegin { status, said: printable(said.unwrap_or_default(), 120) });
    };
    // A terminal in between ends every line in CR LF, or none.
    if lines.get(begin).is_some_and(|line| line.ends_with('\r')) {
        lines.iter_mut().for_each(|line| *line = line.strip_suffix('\r').unwrap_or(line));
    }
    lines.drain(..=begin);
    let end = lines.iter().position(|line| *line == "end").ok_or(Garbled::Cut)?;
    lines.truncate(end);

    let mut one: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut runs, mut tables, mut raw) = (Vec::new(), Vec::new(), after);
    for line in lines {
        let mixed = || Garbled::Mixed(printable(line, 120));
        let (key, value) = line.split_once(' ').ok_or_else(mixed)?;
        let known = ["word", "detail", "host_id", "fleet", "epoch", "runs"].contains(&key);
        if key == "run" {
            runs.push(run(value).ok_or_else(mixed)?);
        } else if key == "table" {
            let (table, size) = table(value).ok_or_else(mixed)?;
            let (bytes, more) = raw.split_at_checked(size).ok_or(Garbled::Cut)?;
            tables.push((table, bytes.to_vec()));
            raw = more;
        } else if !known || one.insert(key, value).is_some() {
            return Err(mixed());
        }
    }
    let mixed = |what: &str| Garbled::Mixed(printable(what, 120));
    let count = one.get("runs").map_or(Some(0), |count| count.parse().ok());
    if count != Some(runs.len()) {
        return Err(mixed("runs"));
    }
    let name = one.get("word").copied().unwrap_or_default();
    let word = Word::ALL.into_iter().find(|word| word.name() == name).ok_or_else(|| mixed(name))?;
    if word.status() != status {
        return Err(Garbled::Status(status));
    }
    let plain = |key: &str| one.get(key).copied().filter(|text| is_plain(text)).map(str::to_owned);
    let mut fence = Fence { fleet: plain("fleet"), ..Fence::default() };
    if let Some(line) = one.get("epoch") {
        let (epoch, holder) = epoch(line).ok_or_else(|| mixed(line))?;
        (fence.epoch, fence.holder) = (Some(epoch), Some(holder.ok_or_else(|| mixed(line))?));
    }
    Ok(Answer {
        word,
        detail: printable(one.get("detail").copied().unwrap_or_default(), 2000),
        host_id: plain("host_id"),
        fence: (fence != Fence::default()).then_some(fence),
        runs,
        tables,
    })
}

/// `LENGTH WORD`.
fn table(value: &str) -> Option<(Table, usize)> {
    let (size, word) = value.split_once(' ')?;
    let table = match word.strip_prefix("/etc/cron.d/") {
        Some(name) => Table::System(Some(name).filter(|name| name.starts_with("factory-"))?.to_owned()),
        None => Some(Table::User).filter(|_| word == "user")?,
    };
    Some((table, usize::try_from(number(size)?).ok()?))
}

/// Where `part` begins in `bytes`.
fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "Welcome!\n\nbegin factory-guard 1\nword done\ndetail unchanged\nhost_id 0a1b - 0\n\
        fleet f00d\nepoch 12 vps-1\nrun 20260312-a RUNNING\nrun 20260312-b DONE 137\nruns 2\nend\n";

    #[test]
    fn a_whole_answer_is_read() {
        let answer = parse(WHOLE.as_bytes(), 0).unwrap();
        assert_eq!((answer.word, answer.detail.as_str()), (Word::Done, "unchanged"));
        assert_eq!(answer.host_id.as_deref(), Some("0a1b - 0"));
        let fence = answer.fence.unwrap();
        assert_eq!(
            (fence.fleet.as_deref(), fence.epoch, fence.holder.as_deref()),
            (Some("f00d"), Some(12), Some("vps-1"))
        );
        let runs: Vec<_> = answer.runs.iter().map(|run| (run.token.as_str(), run.state.as_str())).collect();
        assert_eq!(runs, [("20260312-a", "RUNNING"), ("20260312-b", "DONE 137")]);
        assert_eq!(parse(WHOLE.replace('\n', "\r\n").as_bytes(), 0).unwrap().runs, answer.runs);
    }

    #[test]
    fn an_answer_that_is_cut_anywhere_is_none() {
        for cut in 0..WHOLE.len() {
            assert!(parse(&WHOLE.as_bytes()[..cut], 0).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn crontabs_come_as_they_are_whatever_they_hold() {
        let table = b"# \xe4\xff\r\n\nbegin factory-guard 1\nword failed\nend\n* * * * * x";
        let lines = format!("runs 2\ntable {} user\ntable 3 /etc/cron.d/factory-x\n", table.len());
        let whole = [WHOLE.replace("runs 2\n", &lines).as_bytes(), table, b"abc", b"bye\n"].concat();
        let answer = parse(&whole, 0).unwrap();
        let want = vec![(Table::User, table.to_vec()), (Table::System("factory-x".to_owned()), b"abc".to_vec())];
        assert_eq!((answer.word, answer.tables), (Word::Done, want));
        assert_eq!(parse(&whole[..whole.len() - 5], 0), Err(Garbled::Cut));
        for bad in ["table x user", "table 3 root", "table 0 /etc/cron.d/other", "table user"] {
            let text = WHOLE.replace("runs 2\n", &format!("runs 2\n{bad}\n"));
            assert!(matches!(parse(text.as_bytes(), 0), Err(Garbled::Mixed(_))), "{bad}");
        }
    }

    #[test]
    fn each_word_has_its_status_and_no_other() {
        for word in Word::ALL {
            let text = WHOLE.replace("word done", &format!("word {}", word.name()));
            for status in -1..=255 {
                let read = parse(text.as_bytes(), status).map(|answer| answer.word);
                let want = if status == word.status() { Ok(word) } else { Err(Garbled::Status(status)) };
                assert_eq!(read, want);
            }
        }
    }

    #[test]
    fn what_the_guard_did_not_write_spoils_the_answer() {
        for (from, to) in [
            ("fleet f00d", "fleet f00d\nsh: 1: oops"),
            ("fleet f00d", "fleet f00d\nfleet f00e"),
            ("fleet f00d", "fleet f00d\n"),
            ("word done", "word finished"),
            ("word done\n", ""),
            ("epoch 12 vps-1", "epoch 12"),
            ("epoch 12 vps-1", "epoch 012 vps-1"),
            ("epoch 12 vps-1", "epoch 1234567890123456 vps-1"),
            ("epoch 12 vps-1", "epoch +1 vps-1"),
            ("runs 2", "runs 3"),
            ("runs 2\n", ""),
            ("a RUNNING", "a WALKING"),
            ("DONE 137", "DONE 1370"),
        ] {
            let text = WHOLE.replace(from, to);
            assert!(matches!(parse(text.as_bytes(), 0), Err(Garbled::Mixed(_))), "{to}");
        }
        let refused = parse(b"bash: no such shell\n", 127).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the host did not run the guard: exit status 127; it said: bash: no such shell"
        );
    }
}
