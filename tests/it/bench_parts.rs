//! The parts of `benches/sweep` that its figures stand on. They are here since a bench without a harness runs no tests.
#![allow(dead_code)]

#[path = "../../benches/sweep/answers.rs"]
mod answers;
#[path = "../../benches/sweep/measure.rs"]
mod measure;
#[path = "../../benches/sweep/proxy.rs"]
mod proxy;
#[path = "../../benches/sweep/table.rs"]
mod table;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use answers::{Form, whole};
use measure::{Cost, median, read};
use proxy::{Proxy, Trips};
use table::{Budget, Table, digits};

#[test]
fn the_middle_of_many() {
    assert_eq!(median(vec![]), 0.0);
    assert_eq!(median(vec![3.0, 1.0, 9.0]), 3.0);
    assert_eq!(median(vec![4.0, 1.0, 9.0, 2.0]), 3.0);
}

#[test]
fn a_cost_is_read_whole_or_not_at_all() {
    assert_eq!(read("0.5 1.25 4096"), Some(Cost { wall: 0.5, cpu: 1.25, memory: 4096 }));
    for bad in ["", "0.5 1.25", "0.5 x 4096", "0.5 1.25 4096 1"] {
        assert_eq!(read(bad), None, "{bad}");
    }
}

#[test]
fn columns_are_aligned_and_it_is_markdown() {
    let mut table = Table::new(&["peer", "wall", "note"]);
    table.row(vec!["xargs ssh".into(), "0.92 s".into()]);
    table.row(vec!["é".into(), "10.1 s".into(), "slow".into()]);
    assert_eq!(
        table.to_string(),
        "| peer      |   wall | note |\n|-----------|-------:|-----:|\n| xargs ssh | 0.92 s |      |\n| é         | 10.1 s | slow |\n"
    );
}

#[test]
fn a_budget_is_met_up_to_its_limit() {
    let budget = |measured| Budget { what: "CPU a host".into(), limit: 2.0, measured, unit: " ms" };
    assert!(budget(2.0).met() && !budget(2.01).met());
    assert_eq!(budget(0.8123).to_string(), "CPU a host: 0.81 ms, at most 2 ms: met");
    assert_eq!(budget(11.0).to_string(), "CPU a host: 11.0 ms, at most 2 ms: NOT met");
    assert!(!budget(f64::NAN).met(), "what was not measured is not met");
}

#[test]
fn numbers_have_three_digits() {
    for (value, text) in [(0.049, "0.05"), (1.0, "1.00"), (17.95, "17.9"), (168.4, "168"), (1e4, "10000")] {
        assert_eq!(digits(value), text);
    }
}

const ANSWER: &str = include_str!("fixtures/probe/debian-dash.txt");

/// What a peer left, as its output and as the files `answers`.
fn counted(form: Form, output: &str, answers: &[&str]) -> usize {
    let out = tempfile::tempdir().unwrap();
    let name = if form == Form::Prefixed { "stderr" } else { "stdout" };
    std::fs::write(out.path().join(name), output).unwrap();
    std::fs::create_dir(out.path().join("answers")).unwrap();
    for (at, answer) in answers.iter().enumerate() {
        std::fs::write(out.path().join("answers").join(at.to_string()), answer).unwrap();
    }
    whole(form, out.path())
}

#[test]
fn cut_answers_and_errors_do_not_count() {
    let cut = ANSWER.strip_suffix("end\n").unwrap();
    let banner = format!("welcome\n{ANSWER}");
    assert_eq!(counted(Form::Files, "", &[ANSWER, cut, "", "Permission denied", &banner]), 2);

    let behind = |host: &str, text: &str| text.lines().map(|line| format!("    [{host}] {line}\n")).collect::<String>();
    let text = ["--> Connecting\n", &behind("a", ANSWER), &behind("b", cut), &behind("c", ANSWER)].concat();
    assert_eq!(counted(Form::Prefixed, &text, &[]), 2);

    let text = format!("a | CHANGED | rc=0 >>\n{ANSWER}\nb | CHANGED | rc=0 >>\n{cut}\nc | UNREACHABLE! => {{\n}}\n");
    assert_eq!(counted(Form::Headed, &text, &[]), 1);

    let text = "a | SUCCESS => {\n \"ansible_memtotal_mb\": 1,\n}\nb | UNREACHABLE! => {\n}\nc | SUCCESS => {\n}\n";
    assert_eq!(counted(Form::Facts, text, &[]), 1);
}

#[test]
fn samples_count_once_a_host_and_only_whole_ones() {
    let sample = |host: &str, more: &str| format!("{{\"host\":\"{host}\",\"boot_id\":\"x\",\"uptime_s\":1.5{more}}}\n");
    let mem = ",\"mem\":{\"total\":2,\"available\":1}";
    let text = [
        sample("a", mem),
        sample("a", mem),
        sample("b", ""),
        sample("c", &format!("{mem},\"missing\":\"no\"")),
        "{\"cut\n".to_owned(),
    ];
    assert_eq!(counted(Form::Samples, &text.concat(), &[]), 1);
}

/// A server that greets, then answers each byte with that byte, and `!` with three.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(b"hello").await.unwrap();
                while let Ok(byte) = stream.read_u8().await {
                    let answer: &[u8] = if byte == b'!' { b"!!!" } else { &[byte] };
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    address
}

/// A client that waits for the greeting, then for the answer to each of `said`.
async fn talk(address: SocketAddr, said: &[(&[u8], usize)]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.read_exact(&mut [0; 5]).await.unwrap();
    for (bytes, answer) in said {
        stream.write_all(bytes).await.unwrap();
        stream.read_exact(&mut vec![0; *answer]).await.unwrap();
    }
}

const TALK: [(&[u8], usize); 3] = [(b"a", 1), (b"bcd", 3), (b"!", 3)];

#[tokio::test]
async fn trips_are_counted_and_each_takes_two_delays() {
    let delay = Duration::from_millis(20);
    let proxy = Proxy::open(server().await, delay).await.unwrap();
    let began = Instant::now();
    talk(proxy.address, &TALK).await;
    // The handshake, the greeting and three answers; never faster than the road allows.
    assert!(began.elapsed() >= delay * 2 * 5, "{:?}", began.elapsed());
    assert_eq!(proxy.take_trips(), [5]);
    assert_eq!(proxy.take_trips(), Vec::<u32>::new());
}

#[tokio::test]
async fn without_delay_each_connection_has_its_own_count() {
    let proxy = Proxy::open(server().await, Duration::ZERO).await.unwrap();
    talk(proxy.address, &[]).await;
    talk(proxy.address, &TALK).await;
    assert_eq!(proxy.trips(), 7);
    assert_eq!(proxy.take_trips(), [2, 5]);
}

#[tokio::test]
async fn many_bytes_come_whole_and_the_end_comes_too() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let proxy = Proxy::open(listener.local_addr().unwrap(), Duration::from_millis(1)).await.unwrap();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let expected = sent.clone();
    let serve = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(&sent).await.unwrap();
    });
    let mut got = Vec::new();
    TcpStream::connect(proxy.address).await.unwrap().read_to_end(&mut got).await.unwrap();
    serve.await.unwrap();
    assert!(got == expected, "{} bytes of {}", got.len(), expected.len());
}

#[test]
fn only_what_waits_for_the_other_side_is_a_trip() {
    let mut trips = Trips::connected();
    // Both greet at once; the server's second words are an answer to the client's greeting.
    let (hello, greeting) = (trips.client_says(), trips.server_says());
    trips.client_hears(greeting);
    trips.server_hears(hello);
    let more = trips.server_says();
    // The client has heard the greeting and asks; the second words, which it meets on the way, are no answer to that.
    let question = trips.client_says();
    trips.client_hears(more);
    assert_eq!(trips.over(), 2, "the handshake and the greetings");
    trips.server_hears(question);
    trips.client_hears(trips.server_says());
    assert_eq!(trips.over(), 3);
    // Two questions in one go, and a last word that nobody answers.
    let (first, second) = (trips.client_says(), trips.client_says());
    trips.server_hears(first);
    let answer = trips.server_says();
    trips.server_hears(second);
    trips.client_hears(answer);
    trips.client_hears(trips.server_says());
    trips.server_hears(trips.client_says());
    assert_eq!(trips.over(), 4);
}
