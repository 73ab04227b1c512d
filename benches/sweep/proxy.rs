//! A road to a server that takes its time: what goes in at one end comes out at the other after a delay.
//!
//! It counts round trips as the client lives through them. A round trip begins when the client says something while it
//! owes the server nothing, or when it connects; it is over when the next bytes of the server reach it. What the client
//! says while it waits belongs to the same trip, and what it says last, without an answer, is none. TCP's own handshake
//! is not in it: on a real road it is one more.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Chunks on the road at once, each at most [`CHUNK`] bytes, so that a flood waits at the entrance.
const ROAD: usize = 4096;
/// The most that is taken from a socket at once, in bytes.
const CHUNK: usize = 16 << 10;

/// A road to one server. It listens until this value goes; connections that are under way live on.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    trips: Arc<Mutex<Vec<Arc<Mutex<Trips>>>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Opens a road from a free port of the loopback address to `server`, `delay` long each way.
    ///
    /// # Errors
    /// There is no port to be had.
    pub async fn open(server: SocketAddr, delay: Duration) -> std::io::Result<Proxy> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let trips: Arc<Mutex<Vec<Arc<Mutex<Trips>>>>> = Arc::default();
        let counted = Arc::clone(&trips);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let trip = Arc::new(Mutex::new(Trips::connected()));
                lock(&counted).push(Arc::clone(&trip));
                tokio::spawn(connection(client, server, delay, trip));
            }
        });
        Ok(Proxy { address, trips, accepting })
    }

    /// The round trips of each connection since the last call, in the order in which they connected. Call it when they
    /// are over.
    pub fn take_trips(&self) -> Vec<u32> {
        let trips = std::mem::take(&mut *lock(&self.trips));
        trips.iter().map(|trip| lock(trip).answered).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Counts the round trips of one connection.
pub struct Trips {
    /// The client has said something that the server has not answered yet.
    waiting: bool,
    /// The trips that are over.
    pub answered: u32,
}

impl Trips {
    /// Connecting asks for the server's first words.
    pub fn connected() -> Trips {
        Trips { waiting: true, answered: 0 }
    }

    /// The client said something.
    pub fn client_spoke(&mut self) {
        self.waiting = true;
    }

    /// Something of the server reached the client.
    pub fn client_heard(&mut self) {
        self.answered += u32::from(self.waiting);
        self.waiting = false;
    }
}

fn lock<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connection(client: TcpStream, server: SocketAddr, delay: Duration, trips: Arc<Mutex<Trips>>) {
    // The server learns of the connection as late as of everything else.
    sleep_until(Instant::now() + delay).await;
    let Ok(server) = TcpStream::connect(server).await else { return };
    // Two delays, and no third one by Nagle.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let asked = Arc::clone(&trips);
    let there = one_way(from_client, to_server, delay, move || lock(&asked).client_spoke(), || ());
    let back = one_way(from_server, to_client, delay, || (), move || lock(&trips).client_heard());
    tokio::join!(there, back);
}

/// Carries bytes from one end to the other until the end of either.
async fn one_way(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
    mut entered: impl FnMut(),
    mut left: impl FnMut(),
) {
    let (send, mut road) = mpsc::channel::<(Instant, Vec<u8>)>(ROAD);
    let read = async move {
        let mut chunk = vec![0; CHUNK];
        while let Ok(length) = from.read(&mut chunk).await {
            if length > 0 {
                entered();
            }
            let bytes = chunk.get(..length).unwrap_or_default().to_vec();
            // An end of file travels as an empty chunk.
            if send.send((Instant::now() + delay, bytes)).await.is_err() || length == 0 {
                break;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = road.recv().await {
            sleep_until(due).await;
            if bytes.is_empty() {
                break;
            }
            // Counted before it is sent: the client could answer sooner than we count.
            left();
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}
