//! The same sweep over a road that takes its time: how many round trips a probe needs, and what they cost together.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use factory::remote::probe::{self, Program, Request};
use factory::ssh::config::Wanted;
use factory::ssh::exec::Command;
use factory::ssh::{Fleet, Options};
use tokio::runtime::Runtime;

use crate::ground::{Ground, Hosts};
use crate::measure::median;
use crate::peers::{PROGRAM, Peer};
use crate::proxy::Proxy;
use crate::round::{measured, one};
use crate::table::{Budget, Table, digits};

/// Round trips of a probe that has to connect first.
const COLD: f64 = 8.0;
/// The same over a connection that is there, and over one where the next command's session is opened ahead.
const WARM: [f64; 2] = [2.0, 1.0];
/// How many hosts behind the road at once.
const MANY: usize = 50;

/// One proxy for each port of the ground.
struct Road {
    proxies: Vec<Proxy>,
}

impl Road {
    fn open(runtime: &Runtime, ground: &Ground, delay: Duration) -> Result<Road, String> {
        let open = |port: &u16| runtime.block_on(Proxy::open(SocketAddr::from(([127, 0, 0, 1], *port)), delay));
        let proxies: Result<Vec<Proxy>, _> = ground.ports.iter().map(open).collect();
        let road = Road { proxies: proxies.map_err(|error| format!("the delay proxy: {error}"))? };
        ground.trust(&road.ports())?;
        Ok(road)
    }

    fn ports(&self) -> Vec<u16> {
        self.proxies.iter().map(|proxy| proxy.address.port()).collect()
    }

    fn trips(&self) -> u32 {
        self.proxies.iter().map(Proxy::trips).sum()
    }

    fn take_trips(&self) -> Vec<u32> {
        self.proxies.iter().flat_map(Proxy::take_trips).collect()
    }
}

/// The table of round trips and of the sweep behind the delay, and the budget.
pub fn report(ground: &Ground, peers: &[Peer], options: &crate::options::Options) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| format!("the delay proxy: {error}"))?;
    let delay = Duration::from_millis(options.delay);
    let (near, far) = (Road::open(&runtime, ground, Duration::ZERO)?, Road::open(&runtime, ground, delay)?);
    let one_near = ground.hosts("near", 1, &near.ports())?;
    let one_far = ground.hosts("far", 1, &far.ports())?;
    let many_far = ground.hosts("many-far", MANY, &far.ports())?;

    let mut table = Table::new(&[
        &format!("{} ms each way", options.delay),
        "round trips",
        "by time",
        "one host, s",
        &format!("{MANY} hosts, s"),
    ]);
    let mut lines = Vec::new();
    let peers: Vec<&Peer> = peers.iter().filter(|peer| !peer.once).collect();
    let mut figures: Vec<Figures> = peers.iter().map(|_| Figures::default()).collect();
    for _ in 0..options.runs.max(3) {
        for (peer, figures) in peers.iter().zip(&mut figures) {
            let pair = one(ground, peer, &one_near, 1).and_then(|near| Ok((near, one(ground, peer, &one_far, 1)?)));
            match pair {
                Ok((near, far)) => figures.walls.push((near.wall, far.wall)),
                Err(why) => lines.push(format!("a run that does not count: {}: {why}", peer.name)),
            }
            figures.trips.extend(far.take_trips());
        }
    }
    for (peer, figures) in peers.iter().zip(&mut figures) {
        let many = measured(ground, std::slice::from_ref(*peer), &many_far, options.forks, options.runs)?;
        lines.extend(many.iter().flat_map(|costs| &costs.failures).map(|why| format!("{}: {why}", peer.name)));
        let many = many.first().and_then(|costs| costs.median());
        let Some(trips) = figures.trips.iter().max() else { continue };
        let (near, far) = figures.walls.iter().copied().unzip::<f64, f64, Vec<f64>, Vec<f64>>();
        let (near, far) = (median(near), median(far));
        table.row(vec![
            peer.name.to_owned(),
            trips.to_string(),
            digits((far - near) / (2.0 * delay.as_secs_f64())),
            digits(far),
            many.map_or("-".into(), |cost| digits(cost.wall)),
        ]);
        if peer.name == PROGRAM {
            let what = "round trips of a cold probe".to_owned();
            let budget = Budget { what, limit: COLD, measured: f64::from(*trips), unit: "" };
            lines.push(format!("budget: {budget}"));
        }
    }
    if options.wants(PROGRAM) {
        for (ahead, limit) in [false, true].into_iter().zip(WARM) {
            let (name, what) = match ahead {
                false => ("factory, warm", "round trips of a warm probe"),
                true => ("factory, warm, opened ahead", "the same with a session opened ahead"),
            };
            match runtime.block_on(warm(ground, &one_near, &one_far, ahead, &far)) {
                Ok(warm) => {
                    let by_time = (warm.far - warm.near) / (2.0 * delay.as_secs_f64());
                    let trips = f64::from(warm.trips);
                    table.row(vec![name.into(), warm.trips.to_string(), digits(by_time), digits(warm.far), "-".into()]);
                    let budget = Budget { what: what.into(), limit, measured: trips, unit: "" };
                    lines.push(format!("budget: {budget}"));
                }
                Err(why) => lines.push(format!("not measured: {what}: {why}")),
            }
        }
    }
    drop((near, far));
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(format!("{table}{}", lines.iter().map(|line| format!("\n{line}")).collect::<String>()))
}

/// What one peer's runs over one host gave.
#[derive(Default)]
struct Figures {
    trips: Vec<u32>,
    /// Without and with the delay, in seconds.
    walls: Vec<(f64, f64)>,
}

/// What a probe costs over a connection that is there.
struct Warm {
    /// The most round trips that one took.
    trips: u32,
    /// Seconds without the delay, and with it: medians.
    near: f64,
    far: f64,
}

/// Measured in this process, since only a process that stays keeps its connections.
async fn warm(ground: &Ground, near: &Hosts, far: &Hosts, open_ahead: bool, road: &Road) -> Result<Warm, String> {
    let home = Some(ground.dir().join("home"));
    let fleet =
        Fleet::new(Options { open_ahead, home, ..Options::default() }).await.map_err(|error| error.to_string())?;
    let (mut most, mut seconds) = (0, [Vec::new(), Vec::new()]);
    for (hosts, seconds) in [near, far].into_iter().zip(&mut seconds) {
        let (name, port) = hosts.names.first().ok_or("no host")?;
        let wanted = Wanted {
            name: name.clone(),
            host: Some("127.0.0.1".into()),
            port: Some(*port),
            user: Some(ground.user.clone()),
            identity: Some(ground.key()),
            ..Wanted::default()
        };
        for round in 0..6 {
            let Program { script, stdin } = Request::default().program().map_err(|error| error.to_string())?;
            let command = Command { script: &script, stdin, timeout: Duration::from_secs(20), max_output: 1 << 20 };
            let before: u32 = road.trips();
            let began = Instant::now();
            let output = fleet.exec(&wanted, command).await.map_err(|failed| failed.to_string())?;
            let (took, trips) = (began.elapsed().as_secs_f64(), road.trips() - before);
            probe::parse(&output.stdout).map_err(|garbled| garbled.to_string())?;
            // The first one connects.
            if round > 0 {
                seconds.push(took);
                most = most.max(trips);
            }
            // A wake comes later than that, and what is opened ahead is open by then.
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
    }
    fleet.close().await;
    road.take_trips();
    let [near, far] = seconds.map(median);
    Ok(Warm { trips: most, near, far })
}
