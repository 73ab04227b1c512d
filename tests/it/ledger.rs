//! The ledger in SQLite: what every ledger must do, and what can befall a file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;

use factory::error::Error;
use factory::ledger::{Change, Document, Ledger, Sqlite, Store, Swapped};
use rusqlite::Connection;

use crate::ledger_conformance::{self, count, counted, insist, wait};

#[test]
fn it_does_what_every_ledger_must() {
    let dir = tempfile::tempdir().unwrap();
    let places = std::cell::Cell::new(0);
    ledger_conformance::all(|| {
        places.set(places.get() + 1);
        let state = dir.path().join(places.get().to_string());
        fs::create_dir(&state).unwrap();
        move || Sqlite::new(&state)
    });
}

/// This test program once more, to be one of several processes: it runs `helper` alone, with `work` to do in `state`.
pub fn helper_command(program: &str, work: &str, state: &Path) -> Command {
    let mut command = Command::new(program);
    let this = std::env::current_exe().unwrap();
    if program.is_empty() {
        command = Command::new(&this);
    } else {
        command.env("THIS", &this);
    }
    command.env("LEDGER_WORK", work).env("LEDGER_STATE", state);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The arguments that make this program run [`helper`] and nothing else.
pub const HELPER: [&str; 5] = ["--exact", "ledger::helper", "--ignored", "--nocapture", "--test-threads=1"];

#[test]
#[ignore = "what other tests start as a process of its own"]
fn helper() {
    let state = PathBuf::from(std::env::var_os("LEDGER_STATE").expect("only other tests start this one"));
    match std::env::var("LEDGER_WORK").unwrap().as_str() {
        "count on pages" => drop(wait(Ledger::open(&state).unwrap().change(count_on_pages)).unwrap()),
        "count 10" => (0..10).for_each(|_| insist(&Ledger::open(&state).unwrap())),
        "full disk" => crate::ledger_faults::on_a_full_disk(&state),
        "read-only disk" => crate::ledger_faults::on_a_read_only_disk(&state),
        other => panic!("no such work: {other}"),
    }
}

/// Counts one further in a document of several pages of SQLite's, 4096 bytes each, of which no two are alike and all
/// change each time; the number of pages changes too.
pub fn count_on_pages(before: Option<&Document>) -> Result<Change<u32>, Error> {
    let change = count(before)?;
    let Change::To(mut document, n) = change else { panic!("it always counts") };
    document.lease.holder = (0..1500 + 500 * (n % 3)).map(|word| format!("{n}-{word} ")).collect();
    Ok(Change::To(document, n))
}

#[track_caller]
pub fn succeeds(child: Child) {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}: {}{}", output.status, text(&output.stdout), text(&output.stderr));
}

#[test]
fn processes_lose_nothing_and_the_first_document_is_made_once() {
    let state = tempfile::tempdir().unwrap();
    let children: Vec<Child> =
        (0..4).map(|_| helper_command("", "count 10", state.path()).args(HELPER).spawn().unwrap()).collect();
    children.into_iter().for_each(succeeds);
    let (_, document) = wait(Ledger::open(state.path()).unwrap().read()).unwrap().unwrap();
    assert_eq!((counted(&document), document.lease.seq), (40, 40));
}

#[test]
fn who_comes_while_the_first_document_is_made_reads_it_or_finds_none() {
    for _ in 0..300 {
        let state = tempfile::tempdir().unwrap();
        let start = Barrier::new(5);
        std::thread::scope(|scope| {
            let look = || {
                let ledger = Ledger::open(state.path()).unwrap();
                start.wait();
                while wait(ledger.read()).unwrap().is_none() {}
            };
            let lookers = [look; 4].map(|look| scope.spawn(look));
            start.wait();
            insist(&Ledger::open(state.path()).unwrap());
            lookers.into_iter().for_each(|looker| looker.join().unwrap());
        });
    }
}

fn made() -> (tempfile::TempDir, PathBuf, Ledger) {
    let state = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(state.path()).unwrap();
    wait(ledger.change(count)).unwrap();
    let path = state.path().join("ledger.db");
    (state, path, ledger)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn one_private_file_and_none_for_who_only_looks() {
    let state = tempfile::tempdir().unwrap();
    assert!(Ledger::open_to_read(state.path()).unwrap().is_none());
    assert!(Ledger::open_to_read(&state.path().join("nowhere")).unwrap().is_none());
    assert!(Ledger::open(&state.path().join("nowhere")).is_err());
    let ledger = Ledger::open(state.path()).unwrap();
    assert!(wait(ledger.read()).unwrap().is_none());
    assert_eq!(names(state.path()), [""; 0], "a look made a file");
    wait(ledger.change(count)).unwrap();
    wait(ledger.change(count)).unwrap();
    assert_eq!(names(state.path()), ["ledger.db"]);
    assert_eq!(fs::metadata(state.path().join("ledger.db")).unwrap().permissions().mode() & 0o777, 0o600);
    let reader = Ledger::open_to_read(state.path()).unwrap().unwrap();
    assert_eq!(counted(&wait(reader.read()).unwrap().unwrap().1), 2);
}

#[test]
fn a_reader_reads_while_another_writes_and_a_writer_that_does_not_end_is_told() {
    let (_state, path, ledger) = made();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; UPDATE ledger SET sha256 = 'half', document = 'half'").unwrap();
    assert_eq!(counted(&wait(ledger.read()).unwrap().unwrap().1), 1);
    let error = wait(ledger.change(count)).unwrap_err();
    assert_eq!(error.exit().code(), 5);
    assert!(error.with_causes().contains("another process is writing"), "{}", error.with_causes());
    drop(other);
    assert_eq!(wait(ledger.change(count)).unwrap().1, 2);
}

#[test]
fn a_copy_put_in_its_place_counts_at_once_and_a_moved_file_gets_no_write() {
    let (state, path, ledger) = made();
    let copy = state.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();
    wait(ledger.change(count)).unwrap();
    fs::rename(&copy, &path).unwrap();
    assert_eq!(counted(&wait(ledger.read()).unwrap().unwrap().1), 1);

    let (revision, _) = wait(ledger.read()).unwrap().unwrap();
    let moved = state.path().join("moved.db");
    fs::rename(&path, &moved).unwrap();
    let bytes = fs::read(&moved).unwrap();
    assert!(wait(ledger.read()).unwrap().is_none());
    let store = Sqlite::new(state.path());
    assert_eq!(wait(store.swap(Some(&revision), "{}")).unwrap(), Swapped::Conflict);
    assert_eq!(wait(ledger.change(count)).unwrap().1, 1, "a new one");
    assert_eq!(fs::read(&moved).unwrap(), bytes);
}

/// Neither a look nor a change takes it for none or for whole, and neither touches it.
#[track_caller]
fn refused(path: &Path, what: &str) -> Error {
    let bytes = fs::read(path).unwrap();
    let state = path.parent().unwrap();
    let ledger = Ledger::open_to_read(state).unwrap().unwrap();
    let error = wait(ledger.read()).map(|_| panic!("{what}: read")).unwrap_err();
    let mut asked = false;
    let changed = wait(ledger.change(|before| {
        asked = true;
        count(before)
    }));
    assert!(changed.is_err() && !asked, "{what}: changed");
    assert!(fs::read(path).unwrap() == bytes, "{what}: the file was touched");
    assert_eq!(names(state), ["ledger.db"], "{what}");
    for error in [&error, &changed.unwrap_err()] {
        assert!(error.to_string().contains(&path.display().to_string()), "{what}: {error}");
        assert!(error.advice().is_some(), "{what}: {error}");
    }
    error
}

#[track_caller]
fn damaged(path: &Path, what: &str) {
    let error = refused(path, what);
    assert!(error.with_causes().contains("it is damaged: "), "{what}: {}", error.with_causes());
    let help = error.advice().unwrap();
    assert!(help.contains("factory host adopt --all") && help.contains("`factory halt` still"), "{what}: {help}");
}

#[test]
fn a_flipped_byte_anywhere_is_an_error_or_does_no_harm() {
    let (_state, path, ledger) = made();
    let (_, whole) = wait(ledger.read()).unwrap().unwrap();
    let good = fs::read(&path).unwrap();
    // Every byte of SQLite's header, of the row and of what lies around it; elsewhere a sample.
    let text = whole.text().unwrap();
    let row = good.windows(text.len()).position(|bytes| bytes == text.as_bytes()).unwrap();
    let in_text = row..row + text.len();
    let places = (0..128).chain((128..good.len()).step_by(37)).chain(row - 100..good.len());
    let (mut refusals, mut harmless) = (0, 0);
    for place in places {
        for mask in [0x01, 0xff] {
            let mut bytes = good.clone();
            bytes[place] ^= mask;
            fs::write(&path, &bytes).unwrap();
            let what = format!("byte {place} ^ {mask}");
            match wait(ledger.read()) {
                Ok(Some((_, document))) => {
                    assert_eq!(document, whole, "{what}: another document");
                    assert!(!in_text.contains(&place), "{what}: not noticed");
                    harmless += 1;
                }
                Ok(None) => panic!("{what}: taken for none"),
                Err(_) => {
                    refused(&path, &what);
                    refusals += 1;
                    continue;
                }
            }
            // What reads whole may be written, and then reads whole again, or is refused and left alone.
            match wait(ledger.change(count)) {
                Ok((_, n)) => {
                    assert_eq!(n, 2, "{what}");
                    assert_eq!(counted(&wait(ledger.read()).unwrap().unwrap().1), 2, "{what}");
                }
                Err(_) => assert!(fs::read(&path).unwrap() == bytes, "{what}: the file was touched"),
            }
        }
    }
    assert!(refusals > 2 * text.len() && harmless > 0, "{refusals} refused, {harmless} harmless");
}

#[test]
fn a_cut_or_foreign_file_is_damaged_and_stays_as_it_is() {
    let (_state, path, ledger) = made();
    wait(ledger.change(count_on_pages)).unwrap();
    let good = fs::read(&path).unwrap();
    // Behind the document's last byte nothing is lost.
    let end = good.iter().rposition(|byte| *byte != 0).unwrap();
    for length in [0, 1, 99, 100, 511, 4095, 4096, 5000, 8192, 12_288, good.len() - 4096, end] {
        fs::write(&path, &good[..length]).unwrap();
        damaged(&path, &format!("cut to {length}"));
    }
    for (what, bytes) in [("text", b"hello\n".to_vec()), ("zeros", vec![0; 8192]), ("noise", vec![0xa5; 8192])] {
        fs::write(&path, bytes).unwrap();
        damaged(&path, what);
    }
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE tick (id); PRAGMA user_version = 1").unwrap();
    damaged(&path, "another database");
}

#[test]
fn a_file_whose_free_pages_are_those_of_the_document_is_not_written() {
    let (_state, path, ledger) = made();
    let sized = |words: usize| {
        let resize = move |before: Option<&Document>| {
            let mut document = before.unwrap().clone();
            document.lease.holder = "word ".repeat(words);
            Ok(Change::To(document, ()))
        };
        wait(ledger.change(resize))
    };
    sized(20_000).unwrap();
    sized(8_000).unwrap();
    // The header has the first page that lists free pages: the next such page, how many, and their numbers.
    let mut bytes = fs::read(&path).unwrap();
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let trunk = number(32);
    let list = (trunk - 1) * 4096;
    let free: Vec<usize> = (0..number(list + 4)).map(|nth| number(list + 8 + 4 * nth)).collect();
    assert!(free.len() > 5, "{free:?}");
    let taken = (3..bytes.len() / 4096).find(|page| *page != trunk && !free.contains(page)).unwrap();
    bytes[list + 8..list + 12].copy_from_slice(&(taken as u32).to_be_bytes());
    fs::write(&path, &bytes).unwrap();

    assert_eq!(counted(&wait(ledger.read()).unwrap().unwrap().1), 1, "the document itself is whole");
    let error = sized(20_000).unwrap_err();
    assert!(error.with_causes().contains("it is damaged: "), "{}", error.with_causes());
    assert!(fs::read(&path).unwrap() == bytes, "the file was touched");
}

#[test]
fn a_row_that_is_no_document_is_damaged_and_a_newer_one_says_so() {
    let (_state, path, ledger) = made();
    let text = wait(ledger.read()).unwrap().unwrap().1.text().unwrap();
    let sum = |bytes: &[u8]| -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    };
    // With a checksum that fits: what is wrong was written so.
    let put = |bytes: &[u8]| {
        let db = Connection::open(&path).unwrap();
        let set = "UPDATE ledger SET sha256 = ?1, document = ?2";
        db.execute(set, rusqlite::params![sum(bytes), bytes]).unwrap();
    };
    let swapped = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    let cases = [
        ("empty", String::new()),
        ("not JSON", "hello".to_owned()),
        ("an array", "[]".to_owned()),
        ("null", "null".to_owned()),
        ("no version", "{}".to_owned()),
        ("half", text[..text.len() / 2].to_owned()),
        ("more after it", format!("{text}{text}")),
        ("nested without end", "[".repeat(100_000)),
        ("version 0", swapped("\"v\":1", "\"v\":0")),
        ("a version in words", swapped("\"v\":1", "\"v\":\"1\"")),
        ("a fleet that is a number", swapped("\"fleet\":\"", "\"fleet\":7,\"x\":\"")),
        ("a field that nobody knows", swapped("\"v\":1", "\"v\":1,\"queues\":{}")),
        ("a field twice", swapped("\"v\":1", "\"v\":1,\"fleet\":\"f\"")),
        ("an epoch below 0", swapped("\"epoch\":1", "\"epoch\":-1")),
        ("epoch 0", swapped("\"epoch\":1", "\"epoch\":0")),
        ("an epoch with a fraction", swapped("\"epoch\":1", "\"epoch\":1.5")),
        ("an epoch of 16 digits", swapped("\"epoch\":1", "\"epoch\":1000000000000000")),
        ("an epoch of 25 digits", swapped("\"epoch\":1", "\"epoch\":1000000000000000000000000")),
        ("no holder", swapped("\"holder\":\"solo\",", "")),
        ("an empty holder", swapped("\"holder\":\"solo\"", "\"holder\":\"\"")),
        ("holds that are no list", swapped("\"holds\":[]", "\"holds\":{}")),
    ];
    for (what, text) in cases {
        put(text.as_bytes());
        damaged(&path, what);
    }
    put(b"{\"v\":1,\"fleet\":\"\xff\xfe\"}");
    damaged(&path, "not UTF-8");

    let newer = |what| {
        let error = refused(&path, what);
        assert!(error.with_causes().contains("by a newer factory: its form is version 2"), "{}", error.with_causes());
        assert!(error.advice().unwrap().contains("newer"), "{error}");
    };
    // Its form is another one altogether, so nothing else in it may be judged.
    put(b"{\"v\":2,\"lease\":[]}");
    newer("a newer document");
    put(text.as_bytes());
    wait(ledger.read()).unwrap().unwrap();
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
    newer("a newer table");

    let db = Connection::open(&path).unwrap();
    db.execute_batch("PRAGMA user_version = 1; DELETE FROM ledger").unwrap();
    drop(db);
    damaged(&path, "no row");
}

#[test]
fn leftovers_of_who_was_killed_while_making_it_are_swept() {
    let state = tempfile::tempdir().unwrap();
    for name in ["ledger.db.new", "ledger.db.new-journal", "ledger.db-journal"] {
        fs::write(state.path().join(name), "half").unwrap();
    }
    let ledger = Ledger::open(state.path()).unwrap();
    assert!(wait(ledger.read()).unwrap().is_none());
    assert_eq!(wait(ledger.change(count)).unwrap().1, 1);
    assert_eq!(names(state.path()), ["ledger.db"]);
}
