//! Black-box tests of the binary, in one program, since each test program costs 100 MB and a link.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "it/ansible.rs"]
mod ansible;
#[path = "it/bench_parts.rs"]
mod bench_parts;
#[path = "it/diagnostics.rs"]
mod diagnostics;
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
#[path = "it/known_hosts.rs"]
mod known_hosts;
#[path = "lab/mod.rs"]
mod lab;
#[path = "it/lab_crash.rs"]
mod lab_crash;
#[path = "it/lab_fleet.rs"]
mod lab_fleet;
#[path = "it/lab_halt.rs"]
mod lab_halt;
#[path = "it/lab_hosts.rs"]
mod lab_hosts;
#[path = "it/lab_local.rs"]
mod lab_local;
#[path = "it/lab_network.rs"]
mod lab_network;
#[path = "it/lab_tick.rs"]
mod lab_tick;
#[path = "it/lab_traces.rs"]
mod lab_traces;
#[path = "it/ledger.rs"]
mod ledger;
#[path = "it/ledger_conformance.rs"]
mod ledger_conformance;
#[path = "it/ledger_faults.rs"]
mod ledger_faults;
#[path = "it/order.rs"]
mod order;
#[path = "it/probe.rs"]
mod probe;
#[path = "it/probe_shells.rs"]
mod probe_shells;
#[path = "it/reference.rs"]
mod reference;
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
