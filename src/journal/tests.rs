//! The journal against real files: what one process writes another one reads, whatever happens in between.

use super::*;

fn batch(at: Timestamp, host: &str, level: u8) -> Batch {
    Batch {
        tick: TickRecord {
            began: at,
            seconds: 0.5,
            by: "solo".to_owned(),
            inventory: "inventory".to_owned(),
            hosts: 1,
            missed: 0,
            controller: Controller { pid: 1, rss: 2, cpu_s: 0.25 },
        },
        hosts: vec![HostRecord {
            host: host.to_owned(),
            at,
            seen: Some(at),
            latches: Latches::default(),
            severities: None,
            verdict: "ok".to_owned(),
            level,
            since: at,
            sample: Sample::missing(host, at, "no road"),
        }],
        events: vec![Event {
            at,
            host: Some(host.to_owned()),
            what: "pressure".to_owned(),
            severity: level,
            message: format!("level {level}"),
        }],
        refusals: Vec::new(),
        logs: Vec::new(),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn what_was_written_is_read_back_in_order() {
    let state = tempfile::tempdir().unwrap();
    assert!(Journal::open_to_read(state.path()).unwrap().is_none());
    let (mut journal, aside) = Journal::open(state.path()).unwrap();
    assert!(aside.is_none());
    for (second, host, level) in [(100, "a", 0), (200, "b", 1), (300, "a", 2)] {
        journal.record(&batch(at(second), host, level)).unwrap();
    }
    // A second connection reads while the first is open.
    let reader = Journal::open_to_read(state.path()).unwrap().unwrap();
    let hosts = reader.hosts().unwrap();
    assert_eq!(hosts.iter().map(|h| (h.host.as_str(), h.level)).collect::<Vec<_>>(), [("a", 2), ("b", 1)]);
    assert_eq!(reader.last_tick().unwrap().unwrap().began, at(300));
    let all = Query { limit: 10, ..Query::default() };
    let messages = |query: &Query| -> Vec<String> {
        reader.events(query).unwrap().into_iter().map(|event| event.message).collect()
    };
    assert_eq!(messages(&all), ["level 0", "level 1", "level 2"]);
    assert_eq!(messages(&Query { limit: 2, ..all.clone() }), ["level 1", "level 2"]);
    assert_eq!(messages(&Query { since: Some(at(200)), ..all.clone() }), ["level 1", "level 2"]);
    assert_eq!(messages(&Query { hosts: Some(vec!["a".to_owned()]), ..all.clone() }), ["level 0", "level 2"]);
    assert_eq!(reader.samples(&all).unwrap().len(), 3);
}

#[test]
fn a_reader_sees_whole_ticks_while_a_writer_is_in_the_middle() {
    let state = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(state.path()).unwrap();
    journal.record(&batch(at(1), "a", 1)).unwrap();
    let reader = Journal::open_to_read(state.path()).unwrap().unwrap();
    journal.db.execute_batch("BEGIN IMMEDIATE; UPDATE host SET level = 3").unwrap();
    assert_eq!(reader.hosts().unwrap()[0].level, 1);
    journal.db.execute_batch("COMMIT").unwrap();
    assert_eq!(reader.hosts().unwrap()[0].level, 3);
    assert!(reader.db.execute("DELETE FROM event", []).is_err(), "a reader cannot write");
}

#[test]
fn a_refused_login_is_kept_until_the_host_is_seen_without_one() {
    let state = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(state.path()).unwrap();
    let refused = |host: &str| Refusal { host: host.to_owned(), login: "x".to_owned(), times: 2, until: at(900) };
    journal.record(&Batch { refusals: vec![refused("a")], ..batch(at(1), "a", 4) }).unwrap();
    journal.record(&Batch { refusals: vec![refused("b")], ..batch(at(2), "b", 4) }).unwrap();
    assert_eq!(journal.refusals().unwrap(), [refused("a"), refused("b")]);
    journal.record(&batch(at(3), "a", 0)).unwrap();
    assert_eq!(journal.refusals().unwrap(), [refused("b")]);
}

#[test]
fn old_rows_go_and_new_ones_stay() {
    let state = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(state.path()).unwrap();
    let day = 86_400;
    for second in [1, 80 * day, 99 * day] {
        journal.record(&batch(at(second), "a", 0)).unwrap();
    }
    journal.prune(at(100 * day)).unwrap();
    let all = Query { limit: 10, ..Query::default() };
    assert_eq!((journal.samples(&all).unwrap().len(), journal.events(&all).unwrap().len()), (1, 2));
}

#[test]
fn a_damaged_journal_is_moved_aside_and_a_newer_one_is_left_alone() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("journal.db");
    std::fs::write(&path, "this is not a database, it is a love letter, and a long one at that".repeat(20)).unwrap();
    let error = Journal::open_to_read(state.path()).err().unwrap();
    assert!(error.advice().unwrap().contains("moves it aside"), "{error:?}");
    let (mut journal, aside) = Journal::open(state.path()).unwrap();
    assert!(std::fs::read_to_string(aside.unwrap()).unwrap().starts_with("this is not a database"));
    journal.record(&batch(at(1), "a", 0)).unwrap();

    journal.db.pragma_update(None, "user_version", 99).unwrap();
    drop(journal);
    let error = Journal::open(state.path()).err().unwrap();
    assert!(error.causes().concat().contains("newer factory"), "{error:?}");
    assert!(Journal::open_to_read(state.path()).is_err());
}

#[test]
fn a_journal_that_is_being_made_is_none_yet() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("journal.db");
    // Opened, and its maker has not come further or was killed: an empty file, then one with a write-ahead log alone.
    std::fs::write(&path, "").unwrap();
    assert!(Journal::open_to_read(state.path()).unwrap().is_none());
    Connection::open(&path).unwrap().pragma_update(None, "journal_mode", "wal").unwrap();
    assert!(Journal::open_to_read(state.path()).unwrap().is_none());
    Journal::open(state.path()).unwrap();
    assert!(Journal::open_to_read(state.path()).unwrap().unwrap().hosts().unwrap().is_empty());
}

#[test]
fn all_who_make_it_at_once_get_it() {
    for _ in 0..40 {
        let state = tempfile::tempdir().unwrap();
        let start = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for nth in 0..8 {
                let (start, state) = (&start, state.path());
                scope.spawn(move || {
                    start.wait();
                    if nth % 4 == 3 {
                        let reader = Journal::open_to_read(state).unwrap();
                        reader.iter().for_each(|reader| assert!(reader.hosts().unwrap().is_empty()));
                    } else {
                        let (mut journal, aside) = Journal::open(state).unwrap();
                        assert!(aside.is_none());
                        journal.tell(&batch(at(1), "a", 0).events).unwrap();
                    }
                });
            }
        });
        let all = Query { limit: 100, ..Query::default() };
        assert_eq!(Journal::open_to_read(state.path()).unwrap().unwrap().events(&all).unwrap().len(), 6);
    }
}

#[test]
fn a_damaged_journal_is_moved_aside_once_by_several_at_once() {
    for _ in 0..40 {
        let state = tempfile::tempdir().unwrap();
        let letter = "this is not a database, it is a love letter, and a long one at that".repeat(20);
        std::fs::write(state.path().join("journal.db"), &letter).unwrap();
        let start = std::sync::Barrier::new(6);
        let moved: Vec<PathBuf> = std::thread::scope(|scope| {
            let open = || {
                start.wait();
                let (mut journal, aside) = Journal::open(state.path()).unwrap();
                journal.tell(&batch(at(1), "a", 0).events).unwrap();
                aside
            };
            let opening: Vec<_> = (0..6).map(|_| scope.spawn(open)).collect();
            opening.into_iter().filter_map(|opened| opened.join().unwrap()).collect()
        });
        assert_eq!(moved.len(), 1, "{moved:?}");
        assert_eq!(std::fs::read_to_string(&moved[0]).unwrap(), letter);
        let all = Query { limit: 100, ..Query::default() };
        assert_eq!(Journal::open_to_read(state.path()).unwrap().unwrap().events(&all).unwrap().len(), 6);
    }
}

#[test]
fn what_lies_aside_is_not_overwritten() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("journal.db");
    let damaged = |nth: usize| format!("love letter {nth} ").repeat(100);
    let moved: Vec<PathBuf> = (0..5)
        .map(|nth| {
            for name in ["journal.db", "journal.db-wal", "journal.db-shm"] {
                let _ = std::fs::remove_file(state.path().join(name));
            }
            std::fs::write(&path, damaged(nth)).unwrap();
            Journal::open(state.path()).unwrap().1.unwrap()
        })
        .collect();
    for (nth, aside) in moved.iter().enumerate() {
        assert_eq!(std::fs::read_to_string(aside).unwrap(), damaged(nth), "{}", aside.display());
    }
}

#[test]
fn what_another_version_wrote_of_a_host_is_unknown_and_the_host_is_not_lost() {
    let state = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(state.path()).unwrap();
    journal.record(&batch(at(1), "a", 2)).unwrap();
    journal.db.execute("UPDATE host SET sample = '{\"v\":9}', latches = '', severities = '[1]'", []).unwrap();
    let [known] = &journal.hosts().unwrap()[..] else { panic!("one host") };
    assert_eq!((known.host.as_str(), known.level, &known.latches), ("a", 2, &Latches::default()));
    assert_eq!(known.severities, None);
    assert!(known.sample.missing.as_deref().unwrap().contains("cannot be read") && known.sample.runs.is_none());
}
