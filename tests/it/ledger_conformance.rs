//! What every kind of ledger must do, over any [`Store`]: a test of a store calls [`all`] with a way to open one and the
//! same place, empty at first.

use std::collections::VecDeque;
use std::sync::{Arc, Barrier, Mutex};

use factory::error::{Error, Result};
use factory::exit::Exit;
use factory::ledger::{Answer, Change, Document, Ledger, MAX_BYTES, Problem, Revision, Store, Stored, Swapped};

/// All of it. `places` gives a new empty place each time, as a function that opens it.
pub fn all<S: Store + 'static, O: Fn() -> S + Send + Sync>(places: impl Fn() -> O) {
    one_creator_wins(&places());
    a_stale_revision_changes_nothing(&places());
    nothing_to_change_writes_nothing(&places());
    writers_lose_nothing(&places(), 2, 25);
    writers_lose_nothing(&places(), 8, 8);
    for lost in [Loss::Written, Loss::Never, Loss::Later] {
        a_lost_answer_leaves_one_effect(&places(), lost);
        lost_answers_between_writers_leave_one_effect_each(&places(), lost);
    }
    answers_that_stay_lost_are_told(&places());
    writes_of_others_hide_nothing(&places());
    rivals_end_in_exit_5(&places());
    the_size_has_a_limit(&places());
    a_failed_decision_writes_nothing(&places());
}

/// Runs one future on a runtime of its own.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// How often [`count`] came through, as the document has it.
pub fn counted(document: &Document) -> u32 {
    document.hosts.get("counter").map_or(0, |entry| entry.shown["n"].gone)
}

/// The decision to count one further; makes the document when there is none.
pub fn count(before: Option<&Document>) -> Result<Change<u32>> {
    let mut document = before.map_or_else(|| Document::new("solo", 1), |before| Ok(before.clone()))?;
    let n = &mut document.hosts.entry("counter".to_owned()).or_default().shown.entry("n".to_owned()).or_default().gone;
    *n += 1;
    let n = *n;
    Ok(Change::To(document, n))
}

fn text(store: &impl Store) -> (Revision, String) {
    let Stored { revision, document } = wait(store.read()).unwrap().unwrap();
    (revision, String::from_utf8(document).unwrap())
}

fn document() -> String {
    Document::new("solo", 1).unwrap().text().unwrap()
}

fn one_creator_wins<S: Store + 'static>(open: &(impl Fn() -> S + Sync)) {
    assert_eq!(wait(open().read()), Ok(None));
    let start = Barrier::new(8);
    let won: Vec<String> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let (store, mine) = (open(), document());
                    start.wait();
                    matches!(wait(store.swap(None, &mine)).unwrap(), Swapped::Done(_)).then_some(mine)
                })
            })
            .collect();
        racers.into_iter().filter_map(|racer| racer.join().unwrap()).collect()
    });
    assert_eq!(won.len(), 1, "two made the first document");
    assert_eq!(text(&open()).1, won[0]);
}

fn a_stale_revision_changes_nothing<S: Store + 'static>(open: &impl Fn() -> S) {
    let store = open();
    let texts: Vec<String> = (0..4).map(|_| document()).collect();
    // Nobody has seen anything of a place that is empty.
    assert_eq!(wait(store.swap(Some(&Revision::new("1")), &texts[0])).unwrap(), Swapped::Conflict);
    assert_eq!(wait(store.read()), Ok(None));

    let Swapped::Done(first) = wait(store.swap(None, &texts[0])).unwrap() else { panic!() };
    assert_eq!(text(&open()), (first.clone(), texts[0].clone()));
    let Swapped::Done(second) = wait(open().swap(Some(&first), &texts[1])).unwrap() else { panic!() };
    assert_ne!(first, second);
    for stale in [None, Some(&first), Some(&Revision::new("")), Some(&Revision::new("no such thing"))] {
        assert_eq!(wait(store.swap(stale, &texts[2])).unwrap(), Swapped::Conflict, "{stale:?}");
        assert_eq!(text(&store), (second.clone(), texts[1].clone()), "{stale:?}");
    }
    assert!(matches!(wait(store.swap(Some(&second), &texts[3])).unwrap(), Swapped::Done(_)));
}

fn nothing_to_change_writes_nothing<S: Store + 'static>(open: &impl Fn() -> S) {
    let ledger = Ledger::over(open());
    let nothing = |_: Option<&Document>| Ok(Change::Nothing("looked"));
    assert_eq!(wait(ledger.change(nothing)).unwrap(), (None, "looked"));
    assert!(wait(ledger.read()).unwrap().is_none());
    let (made, _) = wait(ledger.change(count)).unwrap();
    let before = text(&open());
    assert_eq!(wait(ledger.change(nothing)).unwrap(), (made, "looked"));
    assert_eq!(text(&open()), before);
}

fn writers_lose_nothing<S: Store + 'static>(open: &(impl Fn() -> S + Sync), writers: u32, each: u32) {
    let start = Barrier::new(writers as usize);
    std::thread::scope(|scope| {
        for _ in 0..writers {
            scope.spawn(|| {
                let ledger = Ledger::over(open());
                start.wait();
                for _ in 0..each {
                    insist(&ledger);
                }
            });
        }
    });
    let (_, document) = wait(Ledger::over(open()).read()).unwrap().unwrap();
    assert_eq!(counted(&document), writers * each, "{writers} writers lost something");
    assert_eq!(document.lease.seq, u64::from(writers * each), "each write has its own number");
}

/// Counts one further, and again where others were faster all the time.
pub fn insist(ledger: &Ledger) {
    loop {
        match wait(ledger.change(count)) {
            Ok(_) => return,
            Err(error) => assert_eq!(error.exit(), Exit::Locked, "{}", error.with_causes()),
        }
    }
}

/// What becomes of a swap whose answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// It was done all the same.
    Written,
    /// It was not done.
    Never,
    /// It arrives after the next look.
    Later,
}

/// A store behind a bad line: it loses the answers to swaps in the order of its script, then no more.
struct Lossy<S> {
    store: S,
    script: Mutex<VecDeque<Option<Loss>>>,
    late: Mutex<Option<(Option<Revision>, String)>>,
}

impl<S: Store> Lossy<S> {
    fn new(store: S, script: impl IntoIterator<Item = Option<Loss>>) -> Arc<Lossy<S>> {
        Arc::new(Lossy { store, script: Mutex::new(script.into_iter().collect()), late: Mutex::new(None) })
    }
}

/// So that a test keeps a hand on what a ledger owns.
struct Shared<S>(Arc<Lossy<S>>);

impl<S: Store> Store for Shared<S> {
    fn place(&self) -> String {
        self.0.store.place()
    }

    fn read(&self) -> Answer<'_, Option<Stored>> {
        self.0.store.read()
    }

    fn swap<'a>(&'a self, expected: Option<&'a Revision>, document: &'a str) -> Answer<'a, Swapped> {
        Box::pin(async move {
            let late = self.0.late.lock().unwrap().take();
            if let Some((expected, document)) = late {
                self.0.store.swap(expected.as_ref(), &document).await.unwrap();
            }
            let loss = self.0.script.lock().unwrap().pop_front().flatten();
            match loss {
                None => return self.0.store.swap(expected, document).await,
                Some(Loss::Written) => drop(self.0.store.swap(expected, document).await),
                Some(Loss::Never) => {}
                Some(Loss::Later) => {
                    *self.0.late.lock().unwrap() = Some((expected.cloned(), document.to_owned()));
                }
            }
            Err(Problem::Unknown("the line is bad".to_owned()))
        })
    }
}

fn a_lost_answer_leaves_one_effect<S: Store + 'static>(open: &impl Fn() -> S, lost: Loss) {
    // The first document, then a change of one; several answers lost running.
    for (losses, n) in [(1, 1), (1, 2), (3, 3)] {
        let store = Lossy::new(open(), std::iter::repeat_n(Some(lost), losses));
        let (document, told) = wait(Ledger::over(Shared(Arc::clone(&store))).change(count)).unwrap();
        assert_eq!((told, counted(&document.unwrap())), (n, n), "{lost:?}, {losses} lost");
        let (_, document) = wait(Ledger::over(open()).read()).unwrap().unwrap();
        assert_eq!((counted(&document), document.lease.seq), (n, u64::from(n)), "{lost:?}, {losses} lost");
    }
}

fn lost_answers_between_writers_leave_one_effect_each<S: Store + 'static>(open: &(impl Fn() -> S + Sync), lost: Loss) {
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..8 {
                    insist(&Ledger::over(Shared(Lossy::new(open(), [Some(lost)]))));
                }
            });
        }
    });
    let (_, document) = wait(Ledger::over(open()).read()).unwrap().unwrap();
    assert_eq!((counted(&document), document.lease.seq), (24, 24), "{lost:?}");
}

fn answers_that_stay_lost_are_told<S: Store + 'static>(open: &impl Fn() -> S) {
    let ledger = Ledger::over(Shared(Lossy::new(open(), std::iter::repeat_n(Some(Loss::Never), 100))));
    let error = wait(ledger.change(count)).unwrap_err();
    assert_eq!(error.exit(), Exit::Failed);
    assert!(error.with_causes().contains("nobody can tell"), "{}", error.with_causes());
    assert_eq!(wait(open().read()), Ok(None));
}

/// Between a lost answer and the next look others write, up to as many times as the document remembers, and once more.
fn writes_of_others_hide_nothing<S: Store + 'static>(open: &impl Fn() -> S) {
    /// Writes in the name of others right after a swap was done whose answer is lost.
    struct Crowded<S> {
        lossy: Shared<S>,
        others: u32,
        rivals: Ledger,
    }
    impl<S: Store> Store for Crowded<S> {
        fn place(&self) -> String {
            self.lossy.place()
        }
        fn read(&self) -> Answer<'_, Option<Stored>> {
            self.lossy.read()
        }
        fn swap<'a>(&'a self, expected: Option<&'a Revision>, document: &'a str) -> Answer<'a, Swapped> {
            Box::pin(async move {
                let answer = self.lossy.swap(expected, document).await;
                if answer.is_err() {
                    for _ in 0..self.others {
                        self.rivals.change(count).await.unwrap();
                    }
                }
                answer
            })
        }
    }
    let crowded = |lost, others| {
        let lossy = Shared(Lossy::new(open(), [Some(lost)]));
        Ledger::over(Crowded { lossy, others, rivals: Ledger::over(open()) })
    };
    let (document, told) = wait(crowded(Loss::Written, 16).change(count)).unwrap();
    assert_eq!((told, counted(&document.unwrap())), (1, 17));
    let (document, told) = wait(crowded(Loss::Never, 17).change(count)).unwrap();
    assert_eq!((told, counted(&document.unwrap())), (35, 35));
    // One more than is remembered: then it cannot be told, and is not done twice.
    let error = wait(crowded(Loss::Written, 17).change(count)).unwrap_err();
    assert!(error.with_causes().contains("nobody can tell"), "{}", error.with_causes());
    assert_eq!(counted(&wait(Ledger::over(open()).read()).unwrap().unwrap().1), 35 + 1 + 17);
}

fn rivals_end_in_exit_5<S: Store + 'static>(open: &impl Fn() -> S) {
    let (ledger, rival) = (Ledger::over(open()), Ledger::over(open()));
    let mut asked = 0;
    let error = wait(ledger.change(|before| {
        asked += 1;
        // Somebody else writes while we think, each time: on a thread, since we are inside a runtime.
        std::thread::scope(|scope| scope.spawn(|| wait(rival.change(count))).join().unwrap())?;
        count(before)
    }))
    .unwrap_err();
    assert_eq!(error.exit(), Exit::Locked);
    assert!(error.to_string().contains("others keep changing the ledger"), "{error}");
    assert!(error.advice().is_some_and(|help| help.contains("try again")));
    assert!((16..=2000).contains(&asked), "asked {asked} times");
    assert_eq!(counted(&wait(ledger.read()).unwrap().unwrap().1), asked, "the rival's alone");
}

fn the_size_has_a_limit<S: Store + 'static>(open: &impl Fn() -> S) {
    let ledger = Ledger::over(open());
    let filled = |bytes: usize| {
        move |before: Option<&Document>| {
            let mut document = before.map_or_else(|| Document::new("solo", 1), |before| Ok(before.clone()))?;
            document.lease.holder = "h".repeat(bytes);
            Ok(Change::To(document, ()))
        }
    };
    let (document, ()) = wait(ledger.change(filled(1))).unwrap();
    let rest = document.unwrap().text().unwrap().len() + ",\"recent\":[\"\"]".len() + 32 - 1;
    let (document, ()) = wait(ledger.change(filled(MAX_BYTES - rest))).unwrap();
    assert_eq!(document.unwrap().text().unwrap().len(), MAX_BYTES, "the most is possible");
    let before = text(&open());
    let error = wait(ledger.change(filled(MAX_BYTES))).unwrap_err();
    assert!(error.with_causes().contains(&format!("{MAX_BYTES} are the most")), "{}", error.with_causes());
    assert_eq!(text(&open()), before);
}

fn a_failed_decision_writes_nothing<S: Store + 'static>(open: &impl Fn() -> S) {
    let ledger = Ledger::over(open());
    wait(ledger.change(count)).unwrap();
    let before = text(&open());
    let error = wait(ledger.change::<()>(|_| Err(Error::usage("no such host")))).unwrap_err();
    assert_eq!((error.exit(), error.to_string()), (Exit::Usage, "no such host".to_owned()));
    // A document that could not be read again is a bug of ours, and must not be there for ever.
    let error = wait(ledger.change(|before| {
        let mut document = before.unwrap().clone();
        document.lease.epoch = 0;
        Ok(Change::To(document, ()))
    }))
    .unwrap_err();
    assert_eq!(error.exit(), Exit::Bug);
    assert_eq!(text(&open()), before);
}
