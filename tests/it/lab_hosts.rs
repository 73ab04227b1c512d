//! The lab itself: its hosts are machines apart, can be made to suffer, and leave nothing behind.

use super::lab::{Lab, Machine};

fn said(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn hosts_come_up_and_take_logins_of_both_users() {
    let Some(lab) = Lab::new(3) else { return };
    for host in lab.hosts() {
        assert_eq!(said(&lab.ssh(host, "hostname; whoami; pwd")), format!("{}\nroot\n/root", host.name));
        let output = lab.ssh_as("factory", host, "hostname; whoami; pwd").output().unwrap();
        assert_eq!(said(&output), format!("{}\nfactory\n/home/factory", host.name));
    }
}
