//! One command on one connection.

use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelWriteHalf, Sig};
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::{Connection, NotBegun, Open};
use super::exec::Ended;
use super::fleet::From;

/// How long output is still awaited after the exit status, counted from the last byte: a child that was left behind may
/// keep the pipe open for ever.
const DRAIN: Duration = Duration::from_secs(1);

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
    let mut until = deadline;
    loop {
        let message = tokio::select! {
            message = reader.wait() => message,
            () = &mut feeding, if !fed => {
                fed = true;
                continue;
            }
            () = sleep_until(until) => {
                let _ = timeout(LAST_WORD, writer.close()).await;
                return Ok(status.unwrap_or(Ended::TimedOut(limit)));
            }
        };
        match message {
            Some(ChannelMsg::Data { data }) => {
                heard = true;
                sink(From::Stdout, &data);
            }
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => {
                heard = true;
                sink(From::Stderr, &data);
            }
            Some(ChannelMsg::ExitStatus { exit_status }) => {
                status = Some(Ended::Exited(i32::try_from(exit_status).unwrap_or(-1)));
            }
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => status = Some(Ended::Signaled(number(&signal_name))),
            Some(ChannelMsg::Failure) if status.is_none() && !heard => {
                unfinished.0 = None;
                return Err(NotBegun::Denied("to run a command".to_owned()));
            }
            // The status may come before or after the end of the output; only now both are over.
            Some(ChannelMsg::Close) | None => {
                let open = message.is_some();
                return Ok(match status {
                    Some(status) => {
                        unfinished.0 = None;
                        status
                    }
                    None if open => Ended::Lost("the host closed the session without an exit status".to_owned()),
                    None => Ended::Lost(connection.why()),
                });
            }
            Some(_) => {}
        }
        if status.is_some() {
            until = deadline.min(Instant::now() + DRAIN);
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
