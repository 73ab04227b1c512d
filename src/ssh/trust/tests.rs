use super::*;
use crate::render::diagnostic::{Style, error};
use russh::keys::PublicKey;

const A: &str = include_str!("../../../tests/it/fixtures/known_hosts/a.pub");
const B: &str = include_str!("../../../tests/it/fixtures/known_hosts/b.pub");
const ECDSA: &str = include_str!("../../../tests/it/fixtures/known_hosts/ecdsa.pub");

fn key(text: &str) -> HostKey {
    HostKey::new(PublicKey::from_openssh(text).unwrap())
}

fn judged(files: &[(&str, String)], target: &Target, keys: &[&str]) -> Vec<Judgement> {
    let mut known = KnownHosts::default();
    for (path, text) in files {
        known.read(Path::new(path), text.as_bytes());
    }
    judge(&known, target, &keys.iter().map(|text| key(text)).collect::<Vec<_>>())
}

fn kinds(judgements: &[Judgement]) -> Vec<&'static str> {
    let kind = |judgement: &Judgement| match judgement.trust {
        Trust::Already { .. } => "already",
        Trust::New => "new",
        Trust::Changed { .. } => "changed",
        Trust::Revoked { .. } => "revoked",
    };
    judgements.iter().map(kind).collect()
}

#[test]
fn a_key_is_new_only_where_nothing_speaks_against_it() {
    let target = Target::bare("web-1", "web-1", 22);
    let cases: [(String, &[&str]); 7] = [
        (String::new(), &["new", "new"]),
        (format!("web-1 {A}"), &["already", "new"]),
        (format!("web-1 {A}web-1 {ECDSA}"), &["already", "already"]),
        // Nothing vouches: a key of another type is as alarming as for ssh.
        (format!("web-1 {B}"), &["changed", "changed"]),
        // The ECDSA key vouches for the host, but its Ed25519 key is held otherwise.
        (format!("web-1 {B}web-1 {ECDSA}"), &["changed", "already"]),
        (format!("@revoked * {A}web-1 {A}"), &["revoked", "changed"]),
        (format!("db {B}"), &["new", "new"]),
    ];
    for (text, wanted) in cases {
        assert_eq!(kinds(&judged(&[("k", text.clone())], &target, &[A, ECDSA])), wanted, "{text}");
    }
}

#[test]
fn a_key_known_by_the_bare_name_goes_along_under_the_port() {
    let target = Target::bare("web-1", "web-1", 2222);
    let both = format!("web-1 {A}web-1 {ECDSA}");
    assert_eq!(kinds(&judged(&[("k", both)], &target, &[A, ECDSA])), ["already", "already"]);
    let judgements = judged(&[("k", format!("web-1 {A}"))], &target, &[A, ECDSA]);
    assert_eq!(kinds(&judgements), ["new", "new"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("known_hosts");
    std::fs::write(&file, format!("web-1 {A}")).unwrap();
    let target = Target { user_known_hosts: vec![file], ..target };
    accept(&target, &judgements).unwrap();
    let keys: Vec<HostKey> = judgements.into_iter().map(|judgement| judgement.key).collect();
    assert_eq!(kinds(&judge(&target.known_hosts().unwrap(), &target, &keys)), ["already", "already"]);
}

#[test]
fn the_alias_is_looked_up_without_the_port() {
    let target = Target { host_key_alias: Some("One".into()), ..Target::bare("web-1", "10.0.0.5", 2222) };
    assert_eq!(kinds(&judged(&[("k", format!("one {A}"))], &target, &[A])), ["already"]);
    assert_eq!(kinds(&judged(&[("k", format!("[one]:2222 {A}"))], &target, &[A])), ["new"]);
}

#[test]
fn a_changed_key_names_each_file_and_its_command() {
    let target = Target::bare("web-1", "10.0.0.5", 2222);
    let files = [
        ("/home/x/.ssh/known_hosts", format!("# mine\n[10.0.0.5]:2222 {B}")),
        ("/etc/ssh/ssh_known_hosts", format!("[10.0.0.*]:2222,[x]:2222 {B}")),
    ];
    let judgements = judged(&files, &target, &[A, ECDSA]);
    insta::assert_snapshot!(error(&refusal(&target, &judgements).unwrap(), Style::PLAIN));
}

#[test]
fn a_revoked_key_says_what_to_do_on_the_host() {
    let target = Target::bare("web-1", "web-1", 22);
    let files = [("/home/x/.ssh/known_hosts", format!("web-1 {A}@revoked * {A}"))];
    insta::assert_snapshot!(error(&refusal(&target, &judged(&files, &target, &[ECDSA, A])).unwrap(), Style::PLAIN));
}

#[test]
fn without_a_file_nothing_is_added_and_a_refusal_adds_nothing() {
    let target = Target::bare("web-1", "web-1", 22);
    let judgements = judged(&[], &target, &[A]);
    let problem = accept(&target, &judgements).unwrap_err();
    assert!(problem.to_string().contains("UserKnownHostsFile"), "{problem}");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("known_hosts");
    let target = Target { user_known_hosts: vec![file.clone()], ..target };
    let text = format!("web-1 {B}web-1 {ECDSA}");
    accept(&target, &judged(&[("k", text)], &target, &[A, ECDSA])).unwrap_err();
    assert!(!file.exists());
}
