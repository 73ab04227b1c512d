//! The deadline of a tick: past it the process is aborted, whatever it hangs in.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Builder, Thread};
use std::time::{Duration, Instant};

use rustix::process::{DumpableBehavior, Signal, getpid, kill_process, set_dumpable_behavior};

use super::process::{Child, since_boot};
use crate::error::{Error, Result};
use crate::inventory::units::Span;

/// How often the clock is looked at: a thread's sleep does not count the time that the machine sleeps, the deadline does.
const LOOK: Duration = Duration::from_secs(1);
/// How long the last words may take: whoever should read them may be why the tick hangs.
const WORDS: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

/// The states: before the deadline, never to come, past it, and past it with the last words said.
const ARMED: u8 = 0;
const OFF: u8 = 1;
const PAST: u8 = 2;
const SAID: u8 = 3;

/// Aborts the process when it is past; dropping it in time disarms it.
///
/// It goes by CLOCK_BOOTTIME, so a laptop that slept in mid-tick ends that tick as it wakes: its connections are dead, its
/// samples are old, and the lock's age is told by the same clock.
///
/// One thread waits and aborts, another looks up what was started on this machine, to be killed with it, and says why.
/// The one that waits makes system calls and looks at atomics: it takes no lock, allocates nothing and writes nothing, so
/// neither a full pipe nor a lock that is never freed can keep it.
#[must_use]
#[derive(Debug)]
pub struct Deadline {
    shared: Arc<Shared>,
    threads: Vec<Thread>,
}

#[derive(Debug, Default)]
struct Shared {
    /// One of the four below.
    state: AtomicU8,
    /// What was started on this machine and is to go with this process.
    children: OnceLock<Vec<Child>>,
}

impl Deadline {
    /// The process has `after` from now on; `say` is given the reason before it is aborted, and may hang.
    ///
    /// # Errors
    /// Exit 1 when a thread cannot be started.
    pub fn start(after: Duration, say: fn(&Error)) -> Result<Deadline> {
        let until = since_boot().saturating_add(after);
        let why = Error::failed(format!("this tick was still running at its deadline, after {}, and is aborted", Span(after)))
            .help("the next one begins anew; `-v` shows what a tick is doing, `wake.deadline` in factory.yml is the time that it has");
        let start = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let begun = Builder::new().name(name.to_owned()).spawn(work);
            begun.map_err(|error| Error::failed("cannot start the thread that ends a hung tick").because(error))
        };
        // It is there first, so that what was started is disarmed when the rest cannot be.
        let mut deadline = Deadline { shared: Arc::default(), threads: Vec::new() };
        let shared = Arc::clone(&deadline.shared);
        let words = start("last-words", Box::new(move || last_words(&shared, &why, say)))?.thread().clone();
        deadline.threads.push(words.clone());
        let shared = Arc::clone(&deadline.shared);
        deadline.threads.push(start("deadline", Box::new(move || watch(&shared, until, &words)))?.thread().clone());
        Ok(deadline)
    }

    /// Leaves it armed for as long as the process lives: for one that does nothing after its tick but end.
    pub fn until_exit(self) {
        std::mem::forget(self);
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.shared.passes(ARMED, OFF);
        self.threads.iter().for_each(Thread::unpark);
    }
}

impl Shared {
    fn is(&self, state: u8) -> bool {
        self.state.load(Ordering::SeqCst) == state
    }

    /// Goes over from one state to another, unless it is in a third.
    fn passes(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// Waits for the deadline, then aborts the process, after the last words or without them.
fn watch(shared: &Shared, until: Duration, speaker: &Thread) {
    loop {
        let left = until.saturating_sub(since_boot());
        if left.is_zero() {
            break;
        }
        if shared.is(OFF) {
            return;
        }
        thread::park_timeout(left.min(LOOK));
    }
    if !shared.passes(ARMED, PAST) {
        return;
    }
    speaker.unpark();
    let past = Instant::now();
    while !shared.is(SAID) && past.elapsed() < WORDS {
        thread::sleep(PAUSE);
    }
    // A core file would hold keys and tokens.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // Not sooner: a tick that waits for them would go on without them.
    shared.children.get().into_iter().flatten().for_each(Child::kill);
    // Not by the C library's abort, which takes a lock; and whoever started us may have had this signal ignored. Where it
    // is not, the thread that takes it may have to wait for a core.
    let _ = kill_process(getpid(), Signal::ABORT);
    thread::sleep(LOOK);
    let _ = kill_process(getpid(), Signal::KILL);
}

/// Past the deadline looks up what runs on this machine for the tick, then says why it ends. May hang.
fn last_words(shared: &Shared, why: &Error, say: fn(&Error)) {
    while shared.is(ARMED) {
        thread::park();
    }
    if shared.is(PAST) {
        let _ = shared.children.set(Child::of(std::process::id()));
        say(why);
        shared.passes(PAST, SAID);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn in_time_it_harms_nobody() {
        let deadline = Deadline::start(Duration::from_secs(3), |_| panic!("spoken")).unwrap();
        let shared = Arc::clone(&deadline.shared);
        drop(deadline);
        thread::sleep(Duration::from_secs(4));
        assert!(shared.is(OFF));
        // Its threads are gone, or on their way.
        let began = Instant::now();
        while Arc::strong_count(&shared) > 1 {
            assert!(began.elapsed().as_secs() < 10);
            thread::sleep(PAUSE);
        }
    }

    /// Runs the test `name` of this file in a process of its own, with `variable` set, until it ends.
    fn alone(name: &str, variable: &str) -> std::process::Output {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args(["--exact", &format!("tick::deadline::tests::{name}"), "--nocapture"]).env(variable, "1");
        test.output().unwrap()
    }

    #[test]
    fn a_thread_that_spins_is_ended_and_the_reason_told() {
        if std::env::var_os("FACTORY_TEST_SPINS").is_some() {
            let _deadline = Deadline::start(Duration::from_millis(100), |why| eprintln!("told: {why}")).unwrap();
            loop {
                std::hint::spin_loop();
            }
        }
        let output = alone("a_thread_that_spins_is_ended_and_the_reason_told", "FACTORY_TEST_SPINS");
        assert_eq!(output.status.signal(), Some(Signal::ABORT.as_raw()));
        assert!(!output.status.core_dumped());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("told: this tick was still running at its deadline, after 100ms"), "{told}");
    }

    #[test]
    fn last_words_that_hang_hold_nothing_up() {
        if std::env::var_os("FACTORY_TEST_HANGS").is_some() {
            let _held = std::io::stderr().lock();
            let say = |_: &Error| {
                let _never = std::io::stderr().lock();
            };
            let _deadline = Deadline::start(Duration::from_millis(100), say).unwrap();
            loop {
                thread::park();
            }
        }
        let output = alone("last_words_that_hang_hold_nothing_up", "FACTORY_TEST_HANGS");
        assert_eq!(output.status.signal(), Some(Signal::ABORT.as_raw()));
    }
}
