//! Logs in real files, two writers, and a process that is killed in the middle.

use super::*;

const HOST: &str = "h1";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn piece(token: &str, stream: &str, offset: u64, bytes: &[u8]) -> Piece {
    let next = offset + bytes.len() as u64;
    let (token, stream) = (token.to_owned(), stream.to_owned());
    Piece { cursor: Cursor { token, stream, next, ..Cursor::default() }, offset, bytes: bytes.to_vec() }
}

fn news(second: i64, pieces: Vec<Piece>) -> Vec<News> {
    vec![News { host: HOST.to_owned(), at: at(second), pieces, gone: Vec::new() }]
}

fn open() -> (tempfile::TempDir, Journal) {
    let state = tempfile::tempdir().unwrap();
    let journal = Journal::open(state.path()).unwrap().0;
    (state, journal)
}

/// `TOKEN STREAM OFFSET TEXT` of each chunk.
fn kept(journal: &Journal, which: &Which) -> Vec<String> {
    let mut kept = Vec::new();
    let each = |chunk: Chunk| {
        let text = String::from_utf8(chunk.bytes).unwrap();
        kept.push(format!("{} {} {} {text}", chunk.log.token, chunk.log.stream, chunk.offset));
        ControlFlow::Continue(())
    };
    journal.logs(which, each).unwrap();
    kept
}

fn total(journal: &Journal) -> (i64, i64) {
    let counted = journal.db.query_row("SELECT bytes FROM log_total", [], |row| row.get(0)).unwrap();
    let summed = "SELECT coalesce(sum(length(bytes)), 0) FROM log_chunk";
    (counted, journal.db.query_row(summed, [], |row| row.get(0)).unwrap())
}

#[test]
fn what_came_is_given_back_in_its_order_with_how_far_it_goes() {
    let (state, mut journal) = open();
    let file = |generation, inode, bytes: &[u8]| {
        let mut piece = piece("", "~/a.log", 0, bytes);
        let head = Some(format!("{}:0123456789abcdef", bytes.len()));
        let agent = Some("dev".to_owned());
        piece.cursor = Cursor { generation, inode: Some(inode), head, agent, until: Some(at(9)), ..piece.cursor };
        piece
    };
    let first = vec![piece("t", "out", 0, b"one\n"), piece("t", "err", 0, b"two\n"), file(0, u64::MAX, b"three\n")];
    journal.store(&news(1, first)).unwrap();
    journal.store(&news(2, vec![piece("t", "out", 4, b"four\n"), file(1, 8, b"five\n")])).unwrap();
    journal
        .store(&[News {
            host: "h2".into(),
            at: at(3),
            pieces: vec![piece("u", "out", 0, b"six\n")],
            ..News::default()
        }])
        .unwrap();
    let all = [
        "t out 0 one\n",
        "t err 0 two\n",
        " ~/a.log 0 three\n",
        "t out 4 four\n",
        " ~/a.log 0 five\n",
        "u out 0 six\n",
    ];
    let reader = Journal::open_to_read(state.path()).unwrap().unwrap();
    assert_eq!(kept(&reader, &Which::default()), all);
    assert_eq!(kept(&reader, &Which { since: Some(at(2)), ..Which::default() }), all[3..]);
    assert_eq!(kept(&reader, &Which { token: Some("t".into()), ..Which::default() }), [all[0], all[1], all[3]]);
    assert_eq!(kept(&reader, &Which { hosts: Some(vec!["h2".into()]), ..Which::default() }), all[5..]);
    assert_eq!(kept(&reader, &Which { agent: Some("dev".into()), ..Which::default() }), [all[2], all[4]]);
    let books = reader.books().unwrap();
    let cursors: Vec<_> = books[HOST].cursors().map(|cursor| (cursor.generation, cursor.inode, cursor.next)).collect();
    assert_eq!(cursors, [(0, Some(u64::MAX), 6), (1, Some(8), 5), (0, None, 4), (0, None, 9)]);
    assert_eq!(books[HOST].cursors().next().unwrap().until, Some(at(9)));
    assert_eq!(reader.fetched(HOST).unwrap(), [("t".to_owned(), 9, 4)]);
    assert_eq!(reader.fetched("h3").unwrap(), []);
}

#[test]
fn a_piece_that_is_there_already_is_not_taken_again_and_a_hole_is_none() {
    let (_state, mut journal) = open();
    journal.store(&news(1, vec![piece("t", "out", 0, b"abcd")])).unwrap();
    for (offset, bytes) in [(0, &b"abcd"[..]), (2, b"cdef"), (1, b"bc"), (9, b"x"), (6, b"")] {
        journal.store(&news(2, vec![piece("t", "out", offset, bytes)])).unwrap();
    }
    assert_eq!(kept(&journal, &Which::default()), ["t out 0 abcd", "t out 4 ef"]);
    assert_eq!(journal.fetched(HOST).unwrap(), [("t".to_owned(), 6, 0)]);
    // Another file under the number of a generation is not mixed into it.
    let of = |inode, bytes: &[u8]| {
        let piece = piece("", "/l", 0, bytes);
        Piece { cursor: Cursor { inode: Some(inode), ..piece.cursor }, ..piece }
    };
    journal.store(&news(3, vec![of(7, b"seven"), of(8, b"eight and more")])).unwrap();
    assert_eq!(kept(&journal, &Which::default())[2..], [" /l 0 seven"]);
}

#[test]
fn two_writers_keep_each_byte_once() {
    let state = tempfile::tempdir().unwrap();
    drop(Journal::open(state.path()).unwrap());
    let log: Vec<u8> = (0..2000u32).map(|i| b'a' + (i % 23) as u8).collect();
    std::thread::scope(|scope| {
        for step in [7, 11] {
            let (log, state) = (&log, state.path());
            scope.spawn(move || {
                let (mut journal, _) = Journal::open(state).unwrap();
                for from in (0..log.len()).step_by(step) {
                    // A reader that looked at the cursor, and a writer in between.
                    let next = journal.fetched(HOST).unwrap().first().map_or(0, |run| run.1 as usize);
                    let to = log.len().min(next + step);
                    journal.store(&news(1, vec![piece("t", "out", next as u64, &log[next..to])])).unwrap();
                    journal
                        .store(&news(1, vec![piece("t", "out", from as u64, &log[from..log.len().min(from + step)])]))
                        .unwrap();
                }
            });
        }
    });
    let (journal, _) = Journal::open(state.path()).unwrap();
    let mut all = Vec::new();
    let each = |chunk: Chunk| {
        assert_eq!(chunk.offset, all.len() as u64);
        all.extend(chunk.bytes);
        ControlFlow::Continue(())
    };
    journal.logs(&Which::default(), each).unwrap();
    assert!(all == log);
}

#[test]
fn age_and_size_have_bounds_and_what_was_fetched_is_not_fetched_again() {
    let (_state, mut journal) = open();
    let keep = Duration::from_secs(100);
    for i in 0..10u32 {
        let text = format!("{i}234567890");
        journal.store(&news(i64::from(i) * 50, vec![piece("t", "out", u64::from(i) * 10, text.as_bytes())])).unwrap();
    }
    assert_eq!(total(&journal), (100, 100));
    journal.prune_logs(at(450), keep, 1000).unwrap();
    assert_eq!(
        kept(&journal, &Which::default()),
        ["t out 70 7234567890", "t out 80 8234567890", "t out 90 9234567890"]
    );
    journal.prune_logs(at(450), keep, 25).unwrap();
    assert_eq!(kept(&journal, &Which::default()), ["t out 80 8234567890", "t out 90 9234567890"]);
    assert_eq!(total(&journal), (20, 20));
    journal.prune_logs(at(450), keep, 0).unwrap();
    assert_eq!((kept(&journal, &Which::default()).len(), total(&journal)), (0, (0, 0)));
    assert_eq!(journal.fetched(HOST).unwrap(), [("t".to_owned(), 100, 0)], "the cursor stays");
    journal.store(&[News { gone: vec!["t".into()], ..news(460, vec![]).remove(0) }]).unwrap();
    assert!(journal.books().unwrap().is_empty());
    // A run that is there again, after all, goes on where it was.
    journal.store(&news(461, vec![piece("t", "out", 0, b"1")])).unwrap();
    assert_eq!(journal.books().unwrap()[HOST].cursors().next().unwrap().next, 100);
    assert_eq!(kept(&journal, &Which::default()).len(), 0);
    journal.store(&[News { gone: vec!["t".into()], ..news(462, vec![]).remove(0) }]).unwrap();
    journal.prune_logs(at(460), keep, 0).unwrap();
    let left: i64 = journal.db.query_row("SELECT count(*) FROM log", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}

#[test]
fn the_generations_of_a_log_file_have_a_bound() {
    let (_state, mut journal) = open();
    for generation in 0..40u32 {
        let piece = piece("", "/l", 0, b"x");
        let cursor = Cursor { generation, inode: Some(u64::from(generation)), ..piece.cursor.clone() };
        journal.store(&news(1, vec![Piece { cursor, ..piece }])).unwrap();
    }
    assert_eq!(journal.books().unwrap()[HOST].cursors().count(), 11);
    journal.prune_logs(at(1000), Duration::ZERO, 1000).unwrap();
    let left: i64 = journal.db.query_row("SELECT count(*) FROM log", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 11);
}

#[test]
fn a_journal_of_the_version_before_is_brought_up_to_date_and_can_be_read_before() {
    let (state, journal) = open();
    journal
        .db
        .execute_batch(
            "DROP TABLE log_chunk; DROP TABLE log; DROP TABLE log_total; DROP TABLE repo; PRAGMA user_version = 1",
        )
        .unwrap();
    drop(journal);
    let reader = Journal::open_to_read(state.path()).unwrap().unwrap();
    assert!(reader.logs(&Which::default(), |_| ControlFlow::Continue(())).unwrap().is_empty());
    assert_eq!(reader.repos().unwrap(), []);
    let (mut journal, aside) = Journal::open(state.path()).unwrap();
    assert!(aside.is_none());
    let record = crate::journal::RepoRecord { repo: "harb".to_owned(), at: at(1), book: "{}".to_owned() };
    journal.keep_repos(std::slice::from_ref(&record), &[], Some(&[])).unwrap();
    assert_eq!(journal.repos().unwrap(), std::slice::from_ref(&record));
    // Somebody has written since: nothing is.
    let late = crate::journal::RepoRecord { at: at(9), ..record.clone() };
    journal.keep_repos(std::slice::from_ref(&late), &[], Some(&[])).unwrap();
    assert_eq!(journal.repos().unwrap(), std::slice::from_ref(&record));
    journal.keep_repos(std::slice::from_ref(&late), &[], Some(std::slice::from_ref(&record))).unwrap();
    assert_eq!(journal.repos().unwrap(), [late]);
    journal.store(&news(1, vec![piece("t", "out", 0, b"x")])).unwrap();
    assert_eq!(kept(&journal, &Which::default()), ["t out 0 x"]);
}

/// The other half of the test below: a process that writes until it is killed.
#[test]
fn a_writer_for_another_test() {
    let Some(state) = std::env::var_os("FACTORY_TEST_LOG_WRITER") else { return };
    let (mut journal, _) = Journal::open(std::path::Path::new(&state)).unwrap();
    loop {
        let next = journal.fetched(HOST).unwrap().first().map_or(0, |run| run.1);
        let bytes: Vec<u8> = (next..next + 5000).map(|i| (i % 251) as u8).collect();
        journal.store(&news(1, vec![piece("t", "out", next, &bytes)])).unwrap();
    }
}

#[test]
fn a_writer_that_is_killed_leaves_bytes_and_cursor_together() {
    let state = tempfile::tempdir().unwrap();
    for round in 0..15 {
        let mut writer = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal::logs::tests::a_writer_for_another_test", "--nocapture"])
            .env("FACTORY_TEST_LOG_WRITER", state.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(120 + 13 * round));
        writer.kill().unwrap();
        writer.wait().unwrap();
        let (journal, aside) = Journal::open(state.path()).unwrap();
        assert!(aside.is_none());
        let mut length = 0;
        let each = |chunk: Chunk| {
            assert_eq!(chunk.offset, length);
            assert!(chunk.bytes.iter().zip(length..).all(|(byte, i)| *byte == (i % 251) as u8));
            length += chunk.bytes.len() as u64;
            ControlFlow::Continue(())
        };
        journal.logs(&Which::default(), each).unwrap();
        assert_eq!(journal.fetched(HOST).unwrap().first().map_or(0, |run| run.1), length);
        assert_eq!(total(&journal).0, total(&journal).1);
        assert!(round < 14 || length > 0, "it wrote nothing in all that time");
    }
}
