//! Hosts that say nothing, freeze, die or misbehave: each costs its time-out, and nothing of it is left behind.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command as Process;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use factory::ssh::config::Wanted;
use factory::ssh::exec::{Command, Ended};
use factory::ssh::fleet::Job;
use factory::ssh::unreached::Phase;
use factory::ssh::{Failed, Fleet, Options, Unreached};
use russh::keys::{Algorithm, PrivateKey};
use russh::server::{self, Auth, Msg, Session};
use russh::{Channel, ChannelId};

use crate::sshd;
use crate::transport::{LONG, Room, all_gone, begun, command, sh, shown, wait, web};

/// A short command time-out; the bounds around it are wide.
const SHORT: Duration = Duration::from_secs(4);

fn short(script: &str) -> Command<'_> {
    Command { timeout: SHORT, ..command(script) }
}

/// Waits until a command has made this file.
async fn made(path: &Path) {
    for _ in 0..18_000 {
        if path.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} was not made", path.display());
}

fn why(failed: &Failed) -> &Unreached {
    let Failed::Unreached(at) = failed else { panic!("{failed:?}") };
    &at.why
}

#[test]
fn a_command_past_its_time_gives_what_it_said_and_the_next_one_runs() {
    let Some(room) = Room::new("a command past its time", "") else { return };
    wait(async {
        let fleet = room.fleet().await;
        for _ in 0..3 {
            let output = begun(fleet.exec(&web(), short("echo begun; exec sleep 99")).await);
            assert_eq!((output.ended, output.stdout.as_slice()), (Ended::TimedOut(SHORT), &b"begun\n"[..]));
        }
        assert!(begun(sh(&fleet, "true").await).succeeded());
        fleet.close().await;
        all_gone().await;
    });
}

#[test]
fn a_child_that_keeps_the_output_open_holds_nobody_up() {
    let Some(room) = Room::new("a child left behind", "") else { return };
    let begun_at = Instant::now();
    let output = begun(room.sh("sleep 600 & echo $!; exit 6"));
    assert_eq!(output.ended, Ended::Exited(6));
    assert!(begun_at.elapsed() < Duration::from_secs(300));
    let _ = Process::new("kill").arg(String::from_utf8(output.stdout).unwrap().trim()).status();
}

#[test]
fn a_connection_that_dies_under_a_command_leaves_its_outcome_unknown() {
    let Some(room) = Room::new("a connection that dies", "") else { return };
    let marker = room.path("marker");
    wait(async {
        let fleet = room.fleet().await;
        let go = room.path("go");
        // It goes on by itself, but not beyond the test.
        let waits = format!("until [ -e {} ] || [ ! -d {} ]", go.display(), room.path("").display());
        let script = format!("echo begun; {waits}; do sleep 0.05; done; echo later >{}", marker.display());
        let said = Arc::new(Mutex::new(Vec::new()));
        let running = {
            let (fleet, said) = (fleet.clone(), Arc::clone(&said));
            tokio::spawn(async move {
                let job = Job { script: script.as_bytes(), stdin: Vec::new(), timeout: LONG };
                fleet.stream(&web(), job, &mut |_, bytes| said.lock().unwrap().extend_from_slice(bytes)).await
            })
        };
        while said.lock().unwrap().is_empty() && !running.is_finished() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Only sshd's own processes: the command itself lives on, as on a line that is cut.
        for pid in sshd::below(room.server.pid()) {
            if std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().starts_with("sshd") {
                Process::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
            }
        }
        let ended = running.await.unwrap().unwrap_or_else(|failed| panic!("{}", shown(&failed)));
        assert!(matches!(ended, Ended::Lost(_)), "{ended:?}");
        assert_eq!(*said.lock().unwrap(), b"begun\n");
        assert!(ended.to_string().contains("unknown"), "{ended}");
        std::fs::write(&go, "").unwrap();
        // It was not tried again: that it runs to its end is its own doing. The next one has a new connection.
        assert!(begun(sh(&fleet, "true").await).succeeded());
        for _ in 0..3000 {
            if std::fs::read(&marker).is_ok_and(|text| !text.is_empty()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(std::fs::read_to_string(&marker).unwrap_or_default(), "later\n");
        fleet.close().await;
        all_gone().await;
    });
}

#[test]
fn a_kept_connection_that_went_away_is_made_anew() {
    let Some(room) = Room::new("a connection that went stale", "") else { return };
    wait(async {
        let fleet = room.fleet().await;
        for _ in 0..3 {
            assert!(begun(sh(&fleet, "true").await).succeeded());
            room.server.signal_sessions("KILL");
        }
    });
}

#[test]
fn a_host_that_freezes_in_mid_command_costs_the_time_out() {
    let Some(room) = Room::new("a frozen sshd", "") else { return };
    wait(async {
        let options = Options { connect: Duration::from_secs(10), ..room.options() };
        let fleet = Fleet::new(options).await.unwrap();
        assert!(begun(sh(&fleet, "true").await).succeeded());
        let begun_at = Instant::now();
        let running: Vec<_> = (0..4)
            .map(|i| {
                let fleet = fleet.clone();
                // One of them writes more than the line holds: russh's task then waits for the frozen peer alone.
                let stdin = if i == 0 { vec![b'x'; 20_000_000] } else { Vec::new() };
                let script = format!(": >{}; cat >/dev/null; sleep 99", room.path(&format!("begun.{i}")).display());
                tokio::spawn(async move {
                    let command = Command { script: &script, stdin, timeout: SHORT * 3, max_output: 10 };
                    fleet.exec(&web(), command).await
                })
            })
            .collect();
        for i in 0..4 {
            made(&room.path(&format!("begun.{i}"))).await;
        }
        room.server.signal_sessions("STOP");
        for one in running {
            assert_eq!(begun(one.await.unwrap()).ended, Ended::TimedOut(SHORT * 3));
        }
        assert!(begun_at.elapsed() < Duration::from_secs(90));
        // The frozen connection is given up: the next command has its own.
        assert!(begun(sh(&fleet, "true").await).succeeded());
        room.server.signal_sessions("STOP");
        let failed = sh(&fleet, "true").await;
        assert!(begun(failed).succeeded(), "an idle connection that froze is made anew");
        fleet.close().await;
        all_gone().await;
        room.server.signal_sessions("CONT");
    });
}

#[test]
fn a_host_that_stops_answering_is_noticed_by_itself() {
    let Some(room) = Room::new("keepalive", "") else { return };
    wait(async {
        let options = Options { keepalive: Duration::from_secs(2), keepalive_max: 2, ..room.options() };
        let fleet = Fleet::new(options).await.unwrap();
        let running = {
            let (fleet, script) = (fleet.clone(), format!(": >{}; sleep 99", room.path("begun").display()));
            // It lasts longer than it takes to notice, however busy this machine is.
            tokio::spawn(async move { fleet.exec(&web(), Command { timeout: LONG * 3, ..command(&script) }).await })
        };
        made(&room.path("begun")).await;
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert!(!running.is_finished(), "a host that answers is not given up");
        room.server.signal_sessions("STOP");
        let output = begun(running.await.unwrap());
        assert!(matches!(&output.ended, Ended::Lost(why) if why.contains("stopped answering")), "{output:?}");
        all_gone().await;
    });
}

#[test]
fn a_host_that_says_nothing_costs_the_connect_time_out_once_for_all_who_wait() {
    let Some(room) = Room::new("a silent host", "") else { return };
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let wanted = Wanted { port: Some(listener.local_addr().unwrap().port()), ..web() };
    wait(async {
        let fleet = Fleet::new(Options { connect: SHORT, ..room.options() }).await.unwrap();
        let begun_at = Instant::now();
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (fleet, wanted) = (fleet.clone(), wanted.clone());
            running.spawn(async move { fleet.exec(&wanted, command("true")).await.unwrap_err() });
        }
        for failed in running.join_all().await {
            assert!(matches!(why(&failed), Unreached::TimedOut { phase: Phase::Banner, .. }), "{failed:?}");
        }
        assert!(begun_at.elapsed() < SHORT * 10, "they wait together: {:?}", begun_at.elapsed());
        all_gone().await;
    });
}

#[test]
fn a_server_that_freezes_before_the_login_ends_costs_the_connect_time_out() {
    let Some(room) = Room::new("a server that freezes early", "") else { return };
    wait(async {
        let fleet = Fleet::new(Options { connect: SHORT, ..room.options() }).await.unwrap();
        Process::new("kill").args(["-STOP", &room.server.pid().to_string()]).status().unwrap();
        let failed = sh(&fleet, "true").await.unwrap_err();
        assert!(matches!(why(&failed), Unreached::TimedOut { phase: Phase::Banner, .. }), "{failed:?}");
        assert!(shown(&failed).contains("frozen"), "{}", shown(&failed));
        Process::new("kill").args(["-CONT", &room.server.pid().to_string()]).status().unwrap();
        drop(fleet);
        all_gone().await;
    });
}

#[test]
fn who_gives_up_waiting_leaves_nothing_behind() {
    let Some(room) = Room::new("commands that are given up", "") else { return };
    wait(async {
        let fleet = room.fleet().await;
        for _ in 0..3 {
            let gone = tokio::time::timeout(Duration::from_millis(700), sh(&fleet, "sleep 99")).await;
            assert!(gone.is_err());
        }
        assert!(begun(sh(&fleet, "true").await).succeeded());
        drop(fleet);
        all_gone().await;
    });
}

/// A server in process, for what sshd cannot be made to do; the command says what it does.
#[derive(Clone)]
struct Odd;

impl server::Server for Odd {
    type Handler = Odd;

    fn new_client(&mut self, _: Option<std::net::SocketAddr>) -> Odd {
        Odd
    }
}

impl server::Handler for Odd {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, _: server::VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: server::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, line: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let line = String::from_utf8_lossy(line);
        if line.contains("refuse") {
            return session.channel_failure(id);
        }
        session.channel_success(id)?;
        session.data(id, b"out".as_slice())?;
        if line.contains("after") {
            session.eof(id)?;
            session.exit_status_request(id, 8)?;
        } else if line.contains("before") {
            session.exit_status_request(id, 9)?;
            session.data(id, b" and more".as_slice())?;
            session.eof(id)?;
        } else if line.contains("never") {
            session.eof(id)?;
        }
        session.close(id)
    }
}

#[test]
fn the_exit_status_may_come_before_or_after_the_end_or_never() {
    let Some(room) = Room::new("a server with odd manners", "") else { return };
    wait(async {
        let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap();
        let public = key.public_key().to_openssh().unwrap();
        let config =
            server::Config { keys: vec![key], auth_rejection_time: Duration::ZERO, ..server::Config::default() };
        let config = Arc::new(config);
        let socket = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let config = Arc::clone(&config);
                tokio::spawn(async move {
                    if let Ok(session) = server::run_stream(config, stream, Odd).await {
                        let _ = session.await;
                    }
                });
            }
        });
        std::fs::write(room.path("known_hosts"), format!("[127.0.0.1]:{port} {public}\n")).unwrap();
        let wanted = Wanted { port: Some(port), ..web() };
        let fleet = room.fleet().await;
        let output = begun(fleet.exec(&wanted, command("after")).await);
        assert_eq!((output.ended, output.stdout.as_slice()), (Ended::Exited(8), &b"out"[..]));
        let output = begun(fleet.exec(&wanted, command("before")).await);
        assert_eq!((output.ended, output.stdout.as_slice()), (Ended::Exited(9), &b"out and more"[..]));
        let output = begun(fleet.exec(&wanted, command("never")).await);
        assert!(matches!(&output.ended, Ended::Lost(why) if why.contains("without an exit status")), "{output:?}");
        let failed = fleet.exec(&wanted, Command { timeout: LONG, ..command("refuse") }).await.unwrap_err();
        assert!(matches!(why(&failed), Unreached::Denied { .. }), "{failed:?}");
        serving.abort();
    });
}
