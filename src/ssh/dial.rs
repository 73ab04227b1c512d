//! The TCP connection to a host.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::target::Target;
use super::unreached::{Phase, Unreached};

/// How many bytes of a server's first words are kept: the longest line that SSH allows before its banner.
const HEARD: usize = 255;

/// The first bytes that came in, kept to tell what answered where it was no SSH server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    fn add(&self, bytes: &[u8]) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = HEARD.saturating_sub(heard.len());
        heard.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
    }

    /// The first line, shortened and printable; `None` if nothing came.
    pub(crate) fn first_line(&self) -> Option<String> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = heard.split(|b| *b == b'\n').next().filter(|_| !heard.is_empty())?;
        let line = String::from_utf8_lossy(line);
        Some(line.trim_end().chars().take(80).map(|c| if c.is_control() { '.' } else { c }).collect())
    }

    /// Whether an SSH server's banner is among the lines.
    pub(crate) fn is_ssh(&self) -> bool {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.split(|b| *b == b'\n').any(|line| line.starts_with(b"SSH-"))
    }
}

/// What an SSH connection runs over: TCP, or a channel of another connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Ends a [`Wire`] when it goes: nothing less ends a connection to a host that no longer reads.
///
/// russh's task may wait for a frozen peer to take what it writes, and then looks at nothing else: no time-out of its
/// own and no dropped handle ends it. After the cut its next read or write fails, and task, socket and memory go.
#[derive(Debug)]
pub(crate) struct Guard(Cut);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.cut();
    }
}

#[derive(Clone, Debug, Default)]
struct Cut(Arc<Mutex<Cutting>>);

#[derive(Debug, Default)]
struct Cutting {
    done: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Cut {
    fn cut(&self) {
        let mut cutting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cutting.done = true;
        let wakers = [cutting.reader.take(), cutting.writer.take()];
        drop(cutting);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Whether it is done; if not, `cx` is woken when it is.
    fn is_done(&self, cx: &Context<'_>, writes: bool) -> bool {
        let mut cutting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cutting.done {
            return true;
        }
        let waker = if writes { &mut cutting.writer } else { &mut cutting.reader };
        match waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            waker => *waker = Some(cx.waker().clone()),
        }
        false
    }
}

/// A connection that remembers the first bytes it read, and that can be ended from outside.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    heard: Heard,
    listening: usize,
    cut: Cut,
}

impl Wire {
    pub(crate) fn new(stream: impl Stream + 'static) -> Wire {
        Wire { stream: Box::new(stream), heard: Heard::default(), listening: HEARD, cut: Cut::default() }
    }

    pub(crate) fn heard(&self) -> Heard {
        self.heard.clone()
    }

    /// Cuts the wire when it goes.
    pub(crate) fn guard(&self) -> Guard {
        Guard(self.cut.clone())
    }
}

fn was_cut() -> std::io::Error {
    std::io::Error::new(ErrorKind::ConnectionAborted, "given up")
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.cut.is_done(cx, false) {
            return Poll::Ready(Err(was_cut()));
        }
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        if self.listening > 0
            && let Some(new) = buf.filled().get(before..).filter(|new| !new.is_empty())
        {
            self.heard.add(new);
            self.listening = self.listening.saturating_sub(new.len());
        }
        poll
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        if self.cut.is_done(cx, true) {
            return Poll::Ready(Err(was_cut()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.cut.is_done(cx, true) {
            return Poll::Ready(Err(was_cut()));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.cut.is_done(cx, true) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Connects to `target` until `deadline`, `given` after the beginning: each of its addresses in the resolver's order,
/// each with an even share of the time that is left, so that one dead address does not use up all.
///
/// The time-out also ends a name lookup; its thread may live on until the resolver gives up.
pub(crate) async fn dial(target: &Target, deadline: Instant, given: Duration) -> Result<TcpStream, Unreached> {
    reach(&resolve(target, deadline, given).await?, deadline, given).await
}

/// The addresses of `target`, at least one.
pub(crate) async fn resolve(target: &Target, deadline: Instant, given: Duration) -> Result<Vec<SocketAddr>, Unreached> {
    let unresolved = |cause: String| Unreached::Unresolved { host: target.host.clone(), cause };
    let found = timeout_at(deadline, tokio::net::lookup_host((target.host.as_str(), target.port))).await;
    let addresses: Vec<SocketAddr> = match found {
        Err(_) => return Err(Unreached::TimedOut { phase: Phase::Name, after: given }),
        Ok(Err(cause)) => return Err(unresolved(cause.to_string())),
        Ok(Ok(addresses)) => addresses.filter(|address| target.family.takes(address)).collect(),
    };
    if addresses.is_empty() {
        return Err(unresolved("no address of the wanted AddressFamily".to_owned()));
    }
    Ok(addresses)
}

/// Connects to the first of `addresses` that takes it; the failure is that of the last.
pub(crate) async fn reach(
    addresses: &[SocketAddr],
    deadline: Instant,
    given: Duration,
) -> Result<TcpStream, Unreached> {
    let mut failure = Unreached::TimedOut { phase: Phase::Connect, after: given };
    for (index, at) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX).max(1);
        match tokio::time::timeout(share, TcpStream::connect(at)).await {
            Err(_) => failure = Unreached::TimedOut { phase: Phase::Connect, after: given },
            Ok(Err(cause)) => failure = refusal(*at, cause, given),
            Ok(Ok(stream)) => {
                // Only a hint to the kernel: without it each small packet may wait for the last one's answer.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
        }
    }
    Err(failure)
}

fn refusal(at: SocketAddr, cause: std::io::Error, given: Duration) -> Unreached {
    match cause.kind() {
        ErrorKind::ConnectionRefused => Unreached::Refused { at },
        ErrorKind::ConnectionReset => Unreached::Reset { phase: Phase::Connect },
        ErrorKind::TimedOut => Unreached::TimedOut { phase: Phase::Connect, after: given },
        _ => Unreached::NoRoute { at, cause: cause.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    fn closed() -> SocketAddr {
        std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
    }

    #[test]
    fn the_next_address_counts_where_one_refuses() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let good = listener.local_addr().unwrap();
        let given = Duration::from_secs(10);
        wait(async {
            let deadline = Instant::now() + given;
            let stream = reach(&[closed(), good], deadline, given).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), good);
            assert!(stream.nodelay().unwrap());
            let refused = reach(&[closed(), closed()], deadline, given).await.unwrap_err();
            assert!(matches!(refused, Unreached::Refused { .. }), "{refused:?}");
        });
    }

    #[test]
    fn the_address_family_is_honoured() {
        let target = Target { family: crate::ssh::target::Family::V6, ..Target::bare("x", "127.0.0.1", 22) };
        let given = Duration::from_secs(10);
        let unreached = wait(async { dial(&target, Instant::now() + given, given).await }).unwrap_err();
        assert!(unreached.to_error(&target).causes()[0].contains("AddressFamily"), "{unreached:?}");
    }

    #[test]
    fn what_was_heard_is_kept_short_and_printable() {
        let heard = Heard::default();
        assert_eq!((heard.first_line(), heard.is_ssh()), (None, false));
        heard.add(b"\x1b]0;x\x07hello\r\nSSH-");
        heard.add(b"2.0-x\r\n");
        assert_eq!((heard.first_line().as_deref(), heard.is_ssh()), (Some(".]0;x.hello"), true));
        heard.add(&[b'y'; 10_000]);
        assert_eq!(heard.0.lock().unwrap().len(), HEARD);
    }
}
