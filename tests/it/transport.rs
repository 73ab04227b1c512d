//! Commands over SSH on a real sshd: what comes back, how they end, and how many round trips they cost.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use factory::remote::logs::{Question, RunAt};
use factory::remote::probe::{Program, Request};
use factory::ssh::config::Wanted;
use factory::ssh::exec::{Command, Ended, Output};
use factory::ssh::fleet::{From, Job};
use factory::ssh::{Failed, Fleet, Options, Reach};

use crate::sshd::{self, Sshd};

/// Long enough that only a hang reaches it.
pub const LONG: Duration = Duration::from_secs(60);

pub fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    result
}

/// An sshd that lets this user in by one key, known to a home directory whose ssh_config names it `web-1`.
pub struct Room {
    pub directory: tempfile::TempDir,
    pub server: Sshd,
    pub program: PathBuf,
}

impl Room {
    /// `None`, with one line, where there is no sshd; `more` is for sshd_config.
    pub fn new(left_out: &str, more: &str) -> Option<Room> {
        let program = sshd::program(left_out)?;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        sshd::keygen("ed25519", &path.join("host"));
        sshd::keygen("ed25519", &path.join("id"));
        std::fs::copy(path.join("id.pub"), path.join("authorized_keys")).unwrap();
        let server = Sshd::start(&program, &sshd::admit(path, &["host"], more));
        let room = Room { directory, server, program };
        std::fs::create_dir_all(room.path("home/.ssh")).unwrap();
        room.know("host.pub");
        room.config("");
        Some(room)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes the key in `file` the only one that is known of the host.
    pub fn know(&self, file: &str) {
        let key = sshd::public(&self.path(file)).to_openssh().unwrap();
        std::fs::write(self.path("known_hosts"), format!("[127.0.0.1]:{} {key}\n", self.server.port)).unwrap();
    }

    /// Writes ssh_config: `first`, and then what every host gets.
    pub fn config(&self, first: &str) {
        let text = format!(
            "{first}\nHost web-1\n  HostName 127.0.0.1\n  Port {}\nHost *\n  User {}\n  IdentityFile {}\n  \
             IdentityAgent none\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile none\n",
            self.server.port,
            sshd::user(),
            self.path("id").display(),
            self.path("known_hosts").display(),
        );
        std::fs::write(self.path("home/.ssh/config"), text).unwrap();
    }

    pub fn options(&self) -> Options {
        Options { home: Some(self.path("home")), ..Options::default() }
    }

    pub async fn fleet(&self) -> Fleet {
        Fleet::new(self.options()).await.unwrap()
    }

    /// One command on `web-1` over a connection of its own.
    pub fn sh(&self, script: &str) -> Result<Output, Failed> {
        wait(async { sh(&self.fleet().await, script).await })
    }
}

pub fn web() -> Wanted {
    Wanted::named("web-1")
}

pub fn command(script: &str) -> Command<'_> {
    Command { script, stdin: Vec::new(), timeout: LONG, max_output: 1 << 20 }
}

pub async fn sh(fleet: &Fleet, script: &str) -> Result<Output, Failed> {
    fleet.exec(&web(), command(script)).await
}

/// Fails, with all that a person would be shown, unless the command was begun.
#[track_caller]
pub fn begun(result: Result<Output, Failed>) -> Output {
    result.unwrap_or_else(|failed| panic!("{}", shown(&failed)))
}

/// The failure as a verb shows it.
pub fn shown(failed: &Failed) -> String {
    factory::render::diagnostic::error(&failed.to_error(), factory::render::diagnostic::Style::PLAIN)
}

/// Waits until no task of any connection is left.
pub async fn all_gone() {
    let metrics = tokio::runtime::Handle::current().metrics();
    for _ in 0..6000 {
        if metrics.num_alive_tasks() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} tasks are left", metrics.num_alive_tasks());
}

#[test]
fn streams_and_statuses_are_kept_apart() {
    let Some(room) = Room::new("commands over SSH", "") else { return };
    wait(async {
        let fleet = room.fleet().await;
        let output = begun(sh(&fleet, "echo out; echo err >&2; exit 3").await);
        assert_eq!(output.ended, Ended::Exited(3));
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        assert!(!output.truncated);
        for (signal, number) in [("KILL", 9), ("TERM", 15), ("SEGV", 11), ("USR1", 10)] {
            let output = begun(sh(&fleet, &format!("echo x; kill -{signal} $$; sleep 9")).await);
            assert_eq!(output.ended, Ended::Signaled(number), "{signal}");
            assert_eq!(output.stdout, b"x\n");
        }
        assert_eq!(begun(sh(&fleet, "exit 255").await).ended, Ended::Exited(255));
        assert_eq!(begun(sh(&fleet, "").await).ended, Ended::Exited(0));
        fleet.close().await;
        all_gone().await;
    });
}

#[test]
fn output_that_comes_late_is_there_also_where_this_process_stood_still() {
    let Some(room) = Room::new("output after the exit status", "") else { return };
    wait(async {
        let fleet = room.fleet().await;
        // The shell has ended when its child writes.
        let output = begun(sh(&fleet, "(sleep 2; echo late) & exit 3").await);
        assert_eq!((output.ended, output.stdout.as_slice()), (Ended::Exited(3), &b"late\n"[..]));
        let stopped = tokio::spawn(async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            std::thread::sleep(Duration::from_secs(6));
        });
        let output = begun(sh(&fleet, "(sleep 1; echo late) & exit 3").await);
        assert_eq!((output.ended, output.stdout.as_slice()), (Ended::Exited(3), &b"late\n"[..]));
        stopped.await.unwrap();
    });
}

#[test]
fn every_byte_goes_through_in_both_directions() {
    let Some(room) = Room::new("binary input and output over SSH", "") else { return };
    wait(async {
        let fleet = room.fleet().await;
        let every: Vec<u8> = (1..=255).collect();
        let script = [b"printf %s ".as_slice(), &shlex::bytes::try_quote(&every).unwrap()].concat();
        let mut out = Vec::new();
        let job = Job { script: &script, stdin: Vec::new(), timeout: LONG };
        let ended = fleet.stream(&web(), job, &mut |_, bytes| out.extend_from_slice(bytes)).await.unwrap();
        assert_eq!((ended, out), (Ended::Exited(0), every));

        let input: Vec<u8> = (0..5_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let command = Command { script: "cat", stdin: input.clone(), timeout: LONG, max_output: 6_000_000 };
        let output = begun(fleet.exec(&web(), command).await);
        assert!(output.stdout == input && !output.truncated && output.succeeded());

        // A command that does not read what it is given ends all the same.
        let command = Command { script: "exec 0<&-; echo done", stdin: input, timeout: LONG, max_output: 100 };
        assert_eq!(begun(fleet.exec(&web(), command).await).stdout, b"done\n");
    });
}

#[test]
fn each_login_shell_takes_the_command_as_it_is() {
    for shell in ["bash", "dash", "busybox sh"] {
        let first = shell.split(' ').next().unwrap();
        if std::process::Command::new(first).args(["-c", "true"]).output().is_err() && first != "busybox" {
            println!("left out: {shell} as a login shell; it is not installed");
            continue;
        }
        let more = format!("ForceCommand exec {shell} -c \"$SSH_ORIGINAL_COMMAND\"");
        let Some(room) = Room::new("other login shells", &more) else { return };
        let output = begun(room.sh("printf '%s\\n' 'it'\\''s' \"a  b\" '$HOME' '!x' '\\' 'ä' '\n'"));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "it's\na  b\n$HOME\n!x\n\\\nä\n\n\n", "{shell}");
    }
}

#[test]
fn much_output_flows_in_bounded_memory() {
    let Some(room) = Room::new("200 MB over SSH", "") else { return };
    wait(async {
        let fleet = room.fleet().await;
        let (mut out, mut err, mut largest) = (0usize, 0usize, 0usize);
        let script = b"head -c 200000000 /dev/zero; echo oops >&2";
        let job = Job { script, stdin: Vec::new(), timeout: Duration::from_secs(300) };
        let before = resident();
        let mut peak = before;
        let mut sink = |from: From, bytes: &[u8]| {
            largest = largest.max(bytes.len());
            match from {
                From::Stdout => out += bytes.len(),
                From::Stderr => err += bytes.len(),
            }
            if out % (1 << 24) < bytes.len() {
                peak = peak.max(resident());
            }
        };
        let ended = fleet.stream(&web(), job, &mut sink).await.unwrap();
        assert_eq!((ended, out, err), (Ended::Exited(0), 200_000_000, 5));
        assert!(largest <= 40_000, "{largest}");
        // Other tests run in this process beside it; a stream that is kept would be 200 MB.
        assert!(peak.saturating_sub(before) < 150_000_000, "{before} -> {peak}");

        let command = Command { script: "head -c 30000000 /dev/zero", stdin: vec![], timeout: LONG, max_output: 1000 };
        let output = begun(fleet.exec(&web(), command).await);
        assert_eq!((output.stdout.len(), output.truncated, output.ended), (1000, true, Ended::Exited(0)));
    });
}

/// This process's resident memory in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<usize>().ok()).unwrap_or_default() * 1024
}

#[test]
fn what_is_too_long_is_refused_before_it_is_sent() {
    let Some(room) = Room::new("a command of 120 KiB", "") else { return };
    let pad = "x".repeat(119 * 1024);
    assert_eq!(begun(room.sh(&format!(": {pad}; echo whole"))).stdout, b"whole\n");
    let failed = room.sh(&format!(": {pad}{pad}; echo whole")).unwrap_err();
    assert!(matches!(failed, Failed::Config(_)), "{failed:?}");
    assert!(shown(&failed).contains("at most 120 KiB"), "{}", shown(&failed));
}

#[test]
fn many_commands_share_one_connection_and_its_eight_sessions() {
    let Some(room) = Room::new("50 commands at once", "") else { return };
    wait(async {
        let fleet = room.fleet().await;
        let mut running = tokio::task::JoinSet::new();
        for i in 0..50 {
            let fleet = fleet.clone();
            running.spawn(async move {
                let output = begun(sh(&fleet, &format!("echo {i} $PPID $SSH_CONNECTION; sleep 0.05")).await);
                assert_eq!(output.ended, Ended::Exited(0));
                String::from_utf8(output.stdout).unwrap()
            });
        }
        let lines = running.join_all().await;
        let numbers: HashSet<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(numbers.len(), 50);
        let connections: HashSet<&str> = lines.iter().map(|line| line.split(' ').nth(3).unwrap()).collect();
        assert_eq!(connections.len(), 1, "one connection: {connections:?}");
    });
}

#[test]
fn a_server_with_fewer_sessions_is_waited_for() {
    let Some(room) = Room::new("MaxSessions 2", "MaxSessions 2") else { return };
    wait(async {
        let fleet = room.fleet().await;
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let fleet = fleet.clone();
            running.spawn(async move { begun(sh(&fleet, "sleep 0.05").await).ended });
        }
        assert!(running.join_all().await.iter().all(|ended| *ended == Ended::Exited(0)));
    });
    let Some(room) = Room::new("MaxSessions 0", "MaxSessions 0") else { return };
    let failed = room.sh("true").unwrap_err();
    assert!(shown(&failed).contains("denies a session"), "{}", shown(&failed));
    assert!(shown(&failed).contains("MaxSessions"), "{}", shown(&failed));
}

/// How many of 6 commands at once ran beside each other at most.
fn beside(room: &Room, channels: usize) -> usize {
    // Where there may be two, the first waits for the second, so that how slow this machine is decides nothing.
    let came = format!("[ $(ls -d ~/came.{channels}.* | wc -l) -ge {} ] || [ ! -d ~ ]", channels.min(2));
    wait(async {
        let fleet = Fleet::new(Options { channels, ..room.options() }).await.unwrap();
        let running = (0..6).map(|i| {
            let fleet = fleet.clone();
            let script = format!(
                "d=~/beside.{i}; mkdir $d ~/came.{channels}.{i}; until {came}; do sleep 0.05; done; sleep 0.3; \
                 ls -d ~/beside.* | wc -l; sleep 0.3; rmdir $d"
            );
            async move { begun(sh(&fleet, &script).await).stdout }
        });
        let told = running.collect::<tokio::task::JoinSet<_>>().join_all().await;
        told.iter().map(|text| String::from_utf8_lossy(text).trim().parse::<usize>().unwrap()).max().unwrap()
    })
}

#[test]
fn a_connection_has_as_many_sessions_as_it_may() {
    let Some(room) = Room::new("`ssh.channels`", "") else { return };
    assert_eq!(beside(&room, 1), 1);
    assert!((2..=3).contains(&beside(&room, 3)));
}

#[test]
fn connecting_is_tried_again_as_often_as_it_may() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let callers = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&callers);
    // It hangs up at once, as sshd does to those beyond MaxStartups.
    std::thread::spawn(move || listener.incoming().flatten().for_each(|_| _ = counted.fetch_add(1, Ordering::SeqCst)));
    let home = tempfile::tempdir().unwrap();
    for retries in [0, 2] {
        let before = callers.load(Ordering::SeqCst);
        wait(async {
            let home = Some(home.path().to_owned());
            let fleet = Fleet::new(Options { retries, home, ..Options::default() }).await.unwrap();
            let wanted = Wanted { host: Some("127.0.0.1".into()), port: Some(port), ..web() };
            let failed = fleet.exec(&wanted, command("true")).await.unwrap_err();
            assert!(matches!(failed, Failed::Unreached(_)), "{failed:?}");
        });
        assert_eq!(callers.load(Ordering::SeqCst) - before, retries as usize + 1);
    }
}

#[test]
fn a_host_that_is_released_is_left_and_can_be_asked_again() {
    let Some(room) = Room::new("releasing a host", "") else { return };
    wait(async {
        let fleet = room.fleet().await;
        let reach = Reach::Ssh(web());
        fleet.release(&reach);
        let first = begun(sh(&fleet, "echo $SSH_CONNECTION").await).stdout;
        assert_eq!(begun(sh(&fleet, "echo $SSH_CONNECTION").await).stdout, first);
        let (slow, other) = (fleet.clone(), fleet.clone());
        let running = tokio::spawn(async move { begun(sh(&slow, "sleep 0.5; echo whole").await).stdout });
        tokio::time::sleep(Duration::from_millis(200)).await;
        other.release(&reach);
        assert_eq!(running.await.unwrap(), b"whole\n", "who still uses it is not cut off");
        all_gone().await;
        let second = begun(sh(&fleet, "echo $SSH_CONNECTION").await).stdout;
        assert_ne!(second, first, "a connection of its own");
        fleet.release(&reach);
        all_gone().await;
        fleet.close().await;
    });
}

#[test]
fn text_of_the_login_shell_stands_around_and_changes_nothing() {
    // Whatever the shell's own files print comes first; the status stays that of the command.
    let more = "ForceCommand echo 'Welcome!'; echo 'bashrc: line 3: x: command not found' >&2; \
                eval \"$SSH_ORIGINAL_COMMAND\"";
    let Some(room) = Room::new("a login shell that prints", more) else { return };
    let output = begun(room.sh("echo mine; exit 4"));
    assert_eq!(output.ended, Ended::Exited(4));
    assert_eq!(output.stdout, b"Welcome!\nmine\n");
    assert!(output.last_error_line().unwrap().contains("command not found"));

    let Some(room) = Room::new("a broken .bashrc", "") else { return };
    let home = room.path("user");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join(".bashrc"), "echo noise\nno-such-command-here\nif\n").unwrap();
    let config = sshd::admit(room.directory.path(), &["host"], &format!("SetEnv HOME={}", home.display()));
    let server = Sshd::start(&room.program, &config);
    let room = Room { server, ..room };
    room.know("host.pub");
    room.config("");
    let output = begun(room.sh("echo mine; exit 5"));
    assert_eq!(output.ended, Ended::Exited(5));
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("mine\n"));
}

/// A server in the middle that passes on all that one side says until it is silent, and then lets the other side speak:
/// it counts how often the caller spoke. That is what a long line would cost, whatever the machine is doing.
pub struct Turns {
    pub port: u16,
    count: Arc<AtomicUsize>,
}

impl Turns {
    /// How long one side must be silent to have finished.
    const SILENCE: Duration = Duration::from_millis(300);

    pub fn start(to: u16) -> Turns {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let count = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&count);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // Connecting is a round trip too; on a long line the server hears of it when the first words come.
                counting.fetch_add(1, Ordering::SeqCst);
                if near.peek(&mut [0]).unwrap_or_default() == 0 {
                    continue;
                }
                std::thread::sleep(Turns::SILENCE);
                let far = TcpStream::connect(("127.0.0.1", to)).unwrap();
                let turn = Arc::new(Mutex::new(()));
                for (from, into, counts) in [(near.try_clone(), far.try_clone(), true), (Ok(far), Ok(near), false)] {
                    let (turn, counting) = (Arc::clone(&turn), Arc::clone(&counting));
                    let (from, into) = (from.unwrap(), into.unwrap());
                    std::thread::spawn(move || pass_on(from, into, &turn, counts.then_some(&*counting)));
                }
            }
        });
        Turns { port, count }
    }

    /// The round trips so far, once nothing moves any more.
    pub fn settled(&self) -> usize {
        std::thread::sleep(Turns::SILENCE * 8);
        self.count.load(Ordering::SeqCst)
    }

    pub fn now(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

fn pass_on(mut from: TcpStream, mut into: TcpStream, turn: &Mutex<()>, counting: Option<&AtomicUsize>) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        from.set_read_timeout(None).unwrap();
        let Ok(count @ 1..) = from.read(&mut buffer) else { break };
        let mut said = buffer[..count].to_vec();
        from.set_read_timeout(Some(Turns::SILENCE)).unwrap();
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            said.extend_from_slice(&buffer[..count]);
        }
        let _turn = turn.lock().unwrap();
        if let Some(counting) = counting {
            counting.fetch_add(1, Ordering::SeqCst);
        }
        if into.write_all(&said).is_err() {
            break;
        }
    }
    let _ = into.shutdown(Shutdown::Both);
}

fn at(token: &str) -> RunAt {
    RunAt { token: token.into(), out: 0, err: 0, done: true }
}

/// Asks the host by the probe, as a sweep does, and gives the count of the agent `a`, which is known by `text`.
async fn probe(fleet: &Fleet, wanted: &Wanted, text: &str) -> u64 {
    // As a tick asks, logs and all.
    let logs = Some(Question { runs: vec![at("20260312-a"), at("20260312-b")], ..Question::default() });
    let request = Request { matches: vec![("a".into(), text.into())], logs, ..Request::default() };
    let Program { script, stdin } = request.program().unwrap();
    let command = Command { script: &script, stdin, timeout: LONG, max_output: 1 << 20 };
    let output = begun(fleet.exec(wanted, command).await);
    assert_eq!(output.ended, Ended::Exited(0));
    let report = factory::remote::probe::parse(&output.stdout).unwrap();
    assert!(report.uptime_s.is_some() && report.runs.is_some() && report.logs.is_some());
    report.running.unwrap()["a"]
}

#[test]
fn a_probe_over_ssh_does_not_find_itself() {
    // A login shell that becomes the probe, and others that stay above it with its program in their arguments.
    let stays = |shell: &str| format!("ForceCommand {shell} -c \"( $SSH_ORIGINAL_COMMAND ); exit \\$?\"; exit $?");
    for more in [String::new(), stays("bash"), stays("dash"), stays("busybox sh")] {
        let Some(room) = Room::new("the probe over SSH", &more) else { return };
        wait(async {
            let fleet = room.fleet().await;
            let unique = format!("in-no-process-at-all-{}", std::process::id());
            for text in [&unique, "Its question, an argument or", "\\145\\156"] {
                assert_eq!(probe(&fleet, &web(), text).await, 0, "{text} {more}");
            }
            let there = std::process::Command::new("setsid").args(["sleep", "60.0625"]).spawn();
            let mut there = there.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            let found = probe(&fleet, &web(), "sleep 60.0625").await;
            let _ = (there.kill(), there.wait());
            assert!(found > 0, "what is there is found");
        });
    }
}

#[test]
fn a_cold_probe_costs_eight_round_trips_and_a_warm_one_two() {
    let Some(room) = Room::new("counting round trips", "") else { return };
    let turns = Turns::start(room.server.port);
    let key = sshd::public(&room.path("host.pub")).to_openssh().unwrap();
    std::fs::write(room.path("known_hosts"), format!("[127.0.0.1]:{} {key}\n", turns.port)).unwrap();
    // A busy machine makes pauses that look like turns, and so adds some; nothing takes any away: the fewest are the truth.
    for (open_ahead, warm) in [(false, 2), (true, 1)] {
        let mut seen: Vec<(usize, usize)> = Vec::new();
        let fewest = |seen: &[(usize, usize)]| {
            (seen.iter().map(|(cold, _)| *cold).min().unwrap(), seen.iter().map(|(_, warm)| *warm).min().unwrap())
        };
        while seen.is_empty() || seen.len() < 10 && fewest(&seen) != (8, warm) {
            seen.push(trips(&room, &turns, open_ahead));
        }
        assert_eq!(fewest(&seen), (8, warm), "ahead: {open_ahead}: {seen:?}");
    }
}

/// The round trips of a probe that has to connect, and of one after it.
fn trips(room: &Room, turns: &Turns, open_ahead: bool) -> (usize, usize) {
    wait(async {
        let wanted = Wanted { port: Some(turns.port), ..web() };
        let fleet = Fleet::new(Options { open_ahead, ..room.options() }).await.unwrap();
        let before = turns.settled();
        assert_eq!(probe(&fleet, &wanted, "in no process at all").await, 0);
        let cold = turns.now() - before;
        // Lets what nobody waits for go through, with the runtime at work.
        tokio::time::sleep(Turns::SILENCE * 10).await;
        let before = turns.now();
        assert_eq!(probe(&fleet, &wanted, "in no process at all").await, 0);
        (cold, turns.now() - before)
    })
}

#[test]
fn a_sweep_shares_what_was_read_and_ends() {
    let Some(room) = Room::new("30 hosts behind MaxStartups 3:50:5", "MaxStartups 3:50:5") else { return };
    let mut config = String::new();
    for i in 0..30 {
        config.push_str(&format!("Host n{i}\n  HostName 127.0.0.1\n  Port {}\n", room.server.port));
    }
    room.config(&config);
    let started = Instant::now();
    wait(async {
        let fleet = Fleet::new(Options { forks: 30, ..room.options() }).await.unwrap();
        let mut running = tokio::task::JoinSet::new();
        for i in 0..30 {
            let fleet = fleet.clone();
            running.spawn(async move {
                let wanted = Wanted::named(&format!("n{i}"));
                begun(fleet.exec(&wanted, command("echo $SSH_CONNECTION")).await).stdout
            });
        }
        let connections: HashSet<Vec<u8>> = running.join_all().await.into_iter().collect();
        assert_eq!(connections.len(), 30, "a connection for each host");
        fleet.close().await;
        all_gone().await;
    });
    assert!(started.elapsed() < Duration::from_secs(45), "{:?}", started.elapsed());
}
