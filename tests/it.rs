//! Black-box tests of the binary, in one program, since each test program costs 100 MB and a link.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "it/ansible.rs"]
mod ansible;
#[path = "it/bench_parts.rs"]
mod bench_parts;
#[path = "it/bench_pressure.rs"]
mod bench_pressure;
#[path = "it/ci_load.rs"]
mod ci_load;
#[path = "it/claim.rs"]
mod claim;
#[path = "it/cron_holds.rs"]
mod cron_holds;
#[path = "it/crontab.rs"]
mod crontab;
#[path = "it/crontab_faults.rs"]
mod crontab_faults;
#[path = "it/diagnostics.rs"]
mod diagnostics;
#[path = "it/forge.rs"]
mod forge;
#[path = "it/forge_ci.rs"]
mod forge_ci;
#[path = "it/forge_server.rs"]
mod forge_server;
#[path = "it/forge_token.rs"]
mod forge_token;
#[path = "it/forgejo_server.rs"]
mod forgejo_server;
#[path = "it/guard.rs"]
mod guard;
#[path = "it/guard_faults.rs"]
mod guard_faults;
#[path = "it/guard_files.rs"]
mod guard_files;
#[path = "it/guard_lab.rs"]
mod guard_lab;
#[path = "it/halt.rs"]
mod halt;
#[path = "it/halt_refused.rs"]
mod halt_refused;
#[path = "it/host.rs"]
mod host;
#[path = "it/hostile_yaml.rs"]
mod hostile_yaml;
#[path = "it/inventory.rs"]
mod inventory;
#[path = "it/kill.rs"]
mod kill;
#[path = "it/known_hosts.rs"]
mod known_hosts;
#[path = "lab/mod.rs"]
mod lab;
#[path = "it/lab_crash.rs"]
mod lab_crash;
#[path = "it/lab_cron.rs"]
mod lab_cron;
#[path = "it/lab_fleet.rs"]
mod lab_fleet;
#[path = "it/lab_halt.rs"]
mod lab_halt;
#[path = "it/lab_hosts.rs"]
mod lab_hosts;
#[path = "it/lab_launch.rs"]
mod lab_launch;
#[path = "it/lab_local.rs"]
mod lab_local;
#[path = "it/lab_logs.rs"]
mod lab_logs;
#[path = "it/lab_network.rs"]
mod lab_network;
#[path = "it/lab_pressure.rs"]
mod lab_pressure;
#[path = "it/lab_ps.rs"]
mod lab_ps;
#[path = "it/lab_runs.rs"]
mod lab_runs;
#[path = "it/lab_stops.rs"]
mod lab_stops;
#[path = "it/lab_takeover.rs"]
mod lab_takeover;
#[path = "it/lab_tick.rs"]
mod lab_tick;
#[path = "it/lab_traces.rs"]
mod lab_traces;
#[path = "it/ladder_crash.rs"]
mod ladder_crash;
#[path = "it/launch.rs"]
mod launch;
#[path = "it/launch_crash.rs"]
mod launch_crash;
#[path = "it/ledger.rs"]
mod ledger;
#[path = "it/ledger_conformance.rs"]
mod ledger_conformance;
#[path = "it/ledger_faults.rs"]
mod ledger_faults;
#[path = "it/logs.rs"]
mod logs;
#[path = "it/logs_shells.rs"]
mod logs_shells;
#[path = "it/merge.rs"]
mod merge;
#[path = "it/order.rs"]
mod order;
#[path = "it/practices.rs"]
mod practices;
#[path = "it/probe.rs"]
mod probe;
#[path = "it/probe_runs.rs"]
mod probe_runs;
#[path = "it/probe_shells.rs"]
mod probe_shells;
#[path = "it/queue.rs"]
mod queue;
#[path = "it/reference.rs"]
mod reference;
#[path = "it/relaunch.rs"]
mod relaunch;
#[path = "it/replay.rs"]
mod replay;
#[path = "it/repo.rs"]
mod repo;
#[path = "it/repo_faults.rs"]
mod repo_faults;
#[path = "it/runs.rs"]
mod runs;
#[path = "it/runs_faults.rs"]
mod runs_faults;
#[path = "it/runs_practices.rs"]
mod runs_practices;
#[path = "it/runs_stop.rs"]
mod runs_stop;
#[path = "it/schema.rs"]
mod schema;
#[path = "it/ssh_config.rs"]
mod ssh_config;
#[path = "it/sshd.rs"]
mod sshd;
#[path = "it/support.rs"]
mod support;
#[path = "it/tick.rs"]
mod tick;
#[path = "it/tick_hang.rs"]
mod tick_hang;
#[path = "it/transport.rs"]
mod transport;
#[path = "it/transport_faults.rs"]
mod transport_faults;
#[path = "it/transport_jump.rs"]
mod transport_jump;
#[path = "it/transport_login.rs"]
mod transport_login;
#[path = "it/trust.rs"]
mod trust;
#[path = "it/woodpecker_server.rs"]
mod woodpecker_server;
