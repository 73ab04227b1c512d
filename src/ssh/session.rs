//! One command on one connection.

use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelWriteHalf, Sig};
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::{Connection, NotBegun, Open};
use super::exec::Ended;
use super::fleet::From;

/// How long output is still awaited after the exit status, counted from the last byte: a child that was left behind may
/// keep the pipe open for ever. In slices, each of which must pass without a byte: after one in which this process or the
/// host stood still there may be much to read that nobody has read yet.
const SLICE: Duration = Duration::from_millis(500);
const SLICES: u32 = 10;

/// How much is still taken after the exit status once the time is up, in messages: a child that was left behind may write
/// for ever.
const LATE: u32 = 256;

/// How long a last word may take to be handed over to a connection that is given up.
const LAST_WORD: Duration = Duration::from_millis(100);

/// Takes each chunk of output as it comes.
pub(crate) type Sink<'a> = &'a mut (dyn FnMut(From, &[u8]) + Send);

/// Retires the connection unless the command was seen to end: what still runs there holds one of its sessions.
struct Unfinished<'a>(Option<&'a Connection>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0 {
            connection.retire();
        }
    }
}

/// Runs `line` in the session `open` of `connection`, feeds it `stdin` (taken once the command is sent) and hands its output to `sink`.
///
/// It always drains: one channel that nobody reads freezes the whole connection.
pub(crate) async fn run(
    connection: &Connection,
    open: Open,
    line: &[u8],
    stdin: &mut Vec<u8>,
    limit: Duration,
    sink: Sink<'_>,
) -> Result<Ended, NotBegun> {
    let Open { channel, _permit } = open;
    let (mut reader, writer) = channel.split();
    if writer.exec(true, line).await.is_err() {
        return Err(NotBegun::Gone);
    }
    let mut unfinished = Unfinished(Some(connection));
    let deadline = Instant::now() + limit;
    let feeding = feed(&writer, std::mem::take(stdin));
    tokio::pin!(feeding);
    let (mut fed, mut heard) = (false, false);
    let mut status: Option<Ended> = None;
    let (mut end, mut quiet, mut late) = (deadline, 0, 0);
    loop {
        let until = if status.is_some() { Instant::now() + SLICE } else { deadline };
        let message = tokio::select! {
            biased;
            () = &mut feeding, if !fed => {
                fed = true;
                continue;
            }
            // Before the clock: what has come is not cut off because nobody had time for it.
            message = reader.wait() => Some(message),
            () = sleep_until(until) => None,
        };
        quiet = if message.is_some() { 0 } else { quiet + 1 };
        late += u32::from(Instant::now() >= end);
        let had = status.is_some();
        match message {
            Some(Some(ChannelMsg::Data { data })) => {
                heard = true;
                sink(From::Stdout, &data);
            }
            Some(Some(ChannelMsg::ExtendedData { data, ext: 1 })) => {
                heard = true;
                sink(From::Stderr, &data);
            }
            Some(Some(ChannelMsg::ExitStatus { exit_status })) => {
                status = Some(Ended::Exited(i32::try_from(exit_status).unwrap_or(-1)));
            }
            Some(Some(ChannelMsg::ExitSignal { signal_name, .. })) => {
                status = Some(Ended::Signaled(number(&signal_name)));
            }
            Some(Some(ChannelMsg::Failure)) if status.is_none() && !heard => {
                unfinished.0 = None;
                return Err(NotBegun::Denied("to run a command".to_owned()));
            }
            // The status may come before or after the end of the output; only now both are over.
            Some(closed @ (Some(ChannelMsg::Close) | None)) => {
                return Ok(match status {
                    Some(status) => {
                        unfinished.0 = None;
                        status
                    }
                    None if closed.is_some() => {
                        Ended::Lost("the host closed the session without an exit status".to_owned())
                    }
                    None => Ended::Lost(connection.why()),
                });
            }
            Some(Some(_)) | None => {}
        }
        if status.is_some() && !had {
            (end, late) = (deadline.max(Instant::now() + SLICE * SLICES), 0);
        }
        if late > LATE || quiet >= SLICES || late > 0 && status.is_none() {
            let _ = timeout(LAST_WORD, writer.close()).await;
            return Ok(status.unwrap_or(Ended::TimedOut(limit)));
        }
    }
}

async fn feed(writer: &ChannelWriteHalf<Msg>, stdin: Vec<u8>) {
    // A command that does not read its input is done when it is done; the feeding ends with the loop above.
    if stdin.is_empty() || writer.data_bytes(stdin).await.is_ok() {
        let _ = writer.eof().await;
    }
}

/// The number of `signal` on Linux.
fn number(signal: &Sig) -> i32 {
    match signal {
        Sig::HUP => 1,
        Sig::INT => 2,
        Sig::QUIT => 3,
        Sig::ILL => 4,
        Sig::ABRT => 6,
        Sig::FPE => 8,
        Sig::KILL => 9,
        Sig::USR1 => 10,
        Sig::SEGV => 11,
        Sig::PIPE => 13,
        Sig::ALRM => 14,
        Sig::TERM => 15,
        Sig::Custom(name) => match name.split('@').next().unwrap_or_default() {
            "TRAP" => 5,
            "BUS" => 7,
            "USR2" => 12,
            "XCPU" => 24,
            "XFSZ" => 25,
            "SYS" => 31,
            _ => 0,
        },
    }
}
