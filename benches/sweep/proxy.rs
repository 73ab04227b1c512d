//! A road to a server that takes its time: what goes in at one end comes out at the other after a delay.
//!
//! It counts round trips: the longest chain in which each side spoke after it had heard the other. What is sent while
//! something else is on its way the other way, as both greetings are, adds nothing to the chain, and neither does what
//! the client says last. TCP's own handshake is the first trip: the client does not feel it here, so the road makes up
//! for it before it carries anything.

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

    /// The round trips so far of the connections since the last [`Proxy::take_trips`], all together.
    pub fn trips(&self) -> u32 {
        lock(&self.trips).iter().map(|trip| lock(trip).over()).sum()
    }

    /// The round trips of each connection since the last call, in the order in which they connected. Call it when they
    /// are over.
    pub fn take_trips(&self) -> Vec<u32> {
        let trips = std::mem::take(&mut *lock(&self.trips));
        trips.iter().map(|trip| lock(trip).over()).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Counts the round trips of one connection. What is on the road carries a number: the trip that it belongs to.
pub struct Trips {
    /// The last trip that is over: its answer reached the client.
    client: u32,
    /// The last trip whose question reached the server.
    server: u32,
}

impl Trips {
    /// The handshake is over, and the connection itself asks for the server's first words.
    pub fn connected() -> Trips {
        Trips { client: 1, server: 2 }
    }

    /// The trip of what the client says now.
    pub fn client_says(&self) -> u32 {
        self.client + 1
    }

    /// Something of this trip reached the server.
    pub fn server_hears(&mut self, trip: u32) {
        self.server = self.server.max(trip);
    }

    /// The trip of what the server says now.
    pub fn server_says(&self) -> u32 {
        self.server
    }

    /// Something of this trip reached the client.
    pub fn client_hears(&mut self, trip: u32) {
        self.client = self.client.max(trip);
    }

    /// The trips that are over.
    pub fn over(&self) -> u32 {
        self.client
    }
}

fn lock<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connection(client: TcpStream, server: SocketAddr, delay: Duration, trips: Arc<Mutex<Trips>>) {
    // TCP's handshake.
    sleep_until(Instant::now() + 2 * delay).await;
    let _ = client.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (there_in, there_out) = mpsc::channel(ROAD);
    let (back_in, back_out) = mpsc::channel(ROAD);
    let carry = async {
        // The server learns of the connection as late as of everything else.
        sleep_until(Instant::now() + delay).await;
        let Ok(server) = TcpStream::connect(server).await else { return };
        let _ = server.set_nodelay(true);
        let (from_server, to_server) = server.into_split();
        tokio::join!(
            leave(there_out, to_server, |trip| lock(&trips).server_hears(trip)),
            enter(from_server, back_in, delay, || lock(&trips).server_says()),
            leave(back_out, to_client, |trip| lock(&trips).client_hears(trip)),
        );
    };
    tokio::join!(enter(from_client, there_in, delay, || lock(&trips).client_says()), carry);
}

/// Bytes on the road: when they are due, and the trip that they belong to. An end of file is no bytes.
type Chunk = (Instant, u32, Vec<u8>);

/// Puts what one side says on the road.
async fn enter(mut from: OwnedReadHalf, road: mpsc::Sender<Chunk>, delay: Duration, trip: impl Fn() -> u32) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(length) = from.read(&mut chunk).await {
        let bytes = chunk.get(..length).unwrap_or_default().to_vec();
        if road.send((Instant::now() + delay, trip(), bytes)).await.is_err() || length == 0 {
            break;
        }
    }
}

/// Hands what was put on the road to the other side, each when it is due.
async fn leave(mut road: mpsc::Receiver<Chunk>, mut to: OwnedWriteHalf, heard: impl Fn(u32)) {
    while let Some((due, trip, bytes)) = road.recv().await {
        sleep_until(due).await;
        if bytes.is_empty() {
            break;
        }
        // Counted before it is sent: the other side could answer sooner than we count.
        heard(trip);
        if to.write_all(&bytes).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
