//! A slow line: an address of its own in the lab, whose connections go to a host late, both ways.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The network of a process.
#[derive(Clone, Copy)]
pub struct Network(pub u32);

impl Network {
    /// Puts the calling thread, and what it starts, into this network for good.
    pub fn enter(self) {
        let file = std::fs::File::open(format!("/proc/{}/ns/net", self.0)).unwrap();
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// Runs a function in this network.
    pub fn run<T: Send>(self, work: impl FnOnce() -> T + Send) -> T {
        let worker = move || {
            self.enter();
            work()
        };
        std::thread::scope(|scope| match scope.spawn(worker).join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}

/// A listener on the slow line's address, until it is dropped.
pub struct Delay {
    network: Network,
    listens: SocketAddr,
    ended: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    listener: Option<JoinHandle<()>>,
}

impl Delay {
    /// Listens at `listens` and hands each connection on to `host`, `late` each way.
    pub fn start(network: Network, listens: SocketAddr, host: SocketAddr, late: Duration) -> Delay {
        let (ended, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let socket = network.run(|| TcpListener::bind(listens)).unwrap();
        let (end, streams) = (ended.clone(), open.clone());
        let accept = move || {
            network.enter();
            for near in socket.incoming() {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(near) = near else { continue };
                let (end, streams) = (end.clone(), streams.clone());
                std::thread::spawn(move || join(near, host, late, &end, &streams));
            }
            // To let go of it is not enough: what another thread is just about to start has it too, for a moment.
            let _ = TcpStream::from(OwnedFd::from(socket)).shutdown(Shutdown::Both);
        };
        let listener = Some(std::thread::spawn(accept));
        Delay { network, listens, ended, open, listener }
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // One last caller, so that the listener looks up.
        let listens = self.listens;
        let _ = self.network.run(move || TcpStream::connect(listens));
        let _ = self.listener.take().map(JoinHandle::join);
    }
}

/// Carries one connection. The kernel here accepts at once, so the round trip that connecting costs is paid afterwards.
fn join(near: TcpStream, host: SocketAddr, late: Duration, ended: &AtomicBool, open: &Mutex<Vec<TcpStream>>) {
    std::thread::sleep(late * 2);
    let Ok(far) = TcpStream::connect_timeout(&host, Duration::from_secs(20)) else { return };
    let mut streams = open.lock().unwrap();
    if ended.load(Ordering::SeqCst) {
        return;
    }
    for stream in [&near, &far] {
        let _ = stream.set_nodelay(true);
        streams.extend(stream.try_clone());
    }
    drop(streams);
    for (from, to) in [(&near, &far), (&far, &near)] {
        if let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) {
            std::thread::spawn(move || carry(from, to, late));
        }
    }
}

/// Carries one direction until its end, which arrives late as well.
fn carry(mut from: TcpStream, mut to: TcpStream, late: Duration) {
    // At most so many pieces are on the line; a bound, so that 200 MB do not lie in memory.
    let (sender, line) = mpsc::sync_channel::<(Instant, Vec<u8>)>(1024);
    std::thread::spawn(move || {
        for (at, piece) in line {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if piece.is_empty() || to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut piece = vec![0; 32 << 10];
    loop {
        let length = from.read(&mut piece).unwrap_or(0);
        let bytes = piece.get(..length).unwrap_or_default().to_vec();
        if sender.send((Instant::now() + late, bytes)).is_err() || length == 0 {
            return;
        }
    }
}
