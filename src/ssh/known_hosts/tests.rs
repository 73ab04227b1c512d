use proptest::prelude::*;

use super::*;
use crate::render::diagnostic::{Style, diagnostic, error};

const A: &str = include_str!("../../../tests/it/fixtures/known_hosts/a.pub");
const B: &str = include_str!("../../../tests/it/fixtures/known_hosts/b.pub");
const CA: &str = include_str!("../../../tests/it/fixtures/known_hosts/ca.pub");
const ECDSA: &str = include_str!("../../../tests/it/fixtures/known_hosts/ecdsa.pub");
const RSA: &str = include_str!("../../../tests/it/fixtures/known_hosts/rsa.pub");
const RSA_CA: &str = include_str!("../../../tests/it/fixtures/known_hosts/rsa-ca.pub");
const GOOD: &str = include_str!("../../../tests/it/fixtures/known_hosts/good-cert.pub");

/// 2026-01-01, inside the validity of the fixtures (2020 to 2040).
const NOW: u64 = 1_767_225_600;

fn public(text: &str) -> PublicKey {
    PublicKey::from_openssh(text).unwrap()
}

/// Type and Base64 of a fixture, without its comment.
fn bare(text: &str) -> String {
    text.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
}

fn known(text: &str) -> KnownHosts {
    let mut known = KnownHosts::default();
    known.read(Path::new("known_hosts"), text.as_bytes());
    known
}

fn is_known(text: &str, name: &str, port: u16, key: &str) -> bool {
    matches!(known(text).lookup(name, port, &public(key)), Verdict::Known { .. })
}

fn lines(verdict: &Verdict) -> Vec<usize> {
    match verdict {
        Verdict::Known { lines, .. } | Verdict::Changed { lines } | Verdict::Revoked { lines, .. } => {
            lines.iter().map(|held| held.line).collect()
        }
        Verdict::Unknown => Vec::new(),
    }
}

#[test]
fn a_line_is_found_by_each_of_its_names() {
    for text in [
        format!("web-1 {A}"),
        format!("  \tweb-1\t {A}"),
        format!("x,WEB-1,y {}", bare(A)),
        format!("web-* {A}"),
        format!("# note\n\nweb-1 {} a comment of # several words", bare(A)),
        format!("web-1 {}\r\n", bare(A)),
        format!("web-1 {}", bare(A)),
        super::text("Web-1", 22, &public(A), Some([9; 20])).unwrap(),
    ] {
        assert!(is_known(&text, "web-1", 22, A), "{text}");
        assert!(is_known(&text, "WEB-1", 22, A), "{text}");
        assert!(!is_known(&text, "web-1", 22, B), "{text}");
        assert!(!is_known(&text, "db-1", 22, A), "{text}");
    }
}

#[test]
fn a_second_key_of_the_same_type_is_as_good_as_the_first() {
    let text = format!("web-1 {B}web-1 {A}");
    assert_eq!(lines(&known(&text).lookup("web-1", 22, &public(A))), [2]);
    assert_eq!(lines(&known(&text).lookup("web-1", 22, &public(B))), [1]);
}

#[test]
fn another_key_means_changed_and_shows_each_line() {
    let text = format!("# head\nweb-1 {B}other {A}web-* {ECDSA}");
    let verdict = known(&text).lookup("web-1", 22, &public(A));
    assert!(matches!(verdict, Verdict::Changed { .. }), "{verdict:?}");
    assert_eq!(lines(&verdict), [2, 4]);
    let Verdict::Changed { lines } = verdict else { unreachable!() };
    assert_eq!(lines[0].place(), "known_hosts:2");
    assert_eq!(lines[0].fingerprint, "SHA256:sBGyh2VZ34+30nV6uadbS5N1VGqSTqszx1Q5WJH1DOA");
    assert_eq!([lines[0].shared, lines[1].shared], [false, true]);
    assert_eq!(known(&text).lookup("db-1", 22, &public(A)), Verdict::Unknown);
}

#[test]
fn a_port_has_its_own_name_and_falls_back_to_the_host() {
    assert!(is_known(&format!("[web-1]:2222 {A}"), "web-1", 2222, A));
    assert!(!is_known(&format!("[web-1]:2222 {A}"), "web-1", 22, A));
    assert!(!is_known(&format!("[web-1]:2222 {A}"), "web-1", 2223, A));
    // Nothing under the port: the bare name counts, for a match alone.
    assert!(is_known(&format!("web-1 {A}"), "web-1", 2222, A));
    assert_eq!(known(&format!("web-1 {B}")).lookup("web-1", 2222, &public(A)), Verdict::Unknown);
    // Something under the port: the bare name does not count.
    let both = format!("[web-1]:2222 {B}web-1 {A}");
    assert!(matches!(known(&both).lookup("web-1", 2222, &public(A)), Verdict::Changed { .. }));
    // A revocation counts under either name.
    assert!(matches!(known(&format!("@revoked web-1 {A}")).lookup("web-1", 2222, &public(A)), Verdict::Revoked { .. }));
}

#[test]
fn a_revoked_key_is_revoked_wherever_else_it_stands() {
    for marker in ["@revoked * ", "@revoked\t*\t"] {
        let text = format!("web-1 {A}{marker}{}", bare(A));
        let verdict = known(&text).lookup("web-1", 22, &public(A));
        assert!(matches!(verdict, Verdict::Revoked { .. }), "{marker:?}");
        assert_eq!(lines(&verdict), [2]);
    }
    let text = format!("web-1 {A}@revoked * {B}");
    assert!(is_known(&text, "web-1", 22, A));
    assert!(is_known(&format!("web-1 {A}@revoked other {A}"), "web-1", 22, A));
}

#[test]
fn an_authority_vouches_for_certificates_and_not_for_keys() {
    let text = format!("@cert-authority *.example.com,web-1 {CA}");
    assert_eq!(known(&text).lookup("web-1", 22, &public(CA)), Verdict::Unknown);
    assert_eq!(known(&text).lookup("web-1", 22, &public(A)), Verdict::Unknown);
    assert_eq!(known(&text).holdings("web-1", 22), Holdings { types: vec![], authority: true });
    let certificate = Certificate::from_openssh(GOOD).unwrap();
    let (verdict, problem) = known(&text).lookup_certificate("web-1", 22, &certificate, NOW);
    assert!(matches!(verdict, Verdict::Known { .. }), "{verdict:?} {problem:?}");
    // Principals have no port, the line's name has, or is that of the host alone.
    let (verdict, _) = known(&text).lookup_certificate("WEB-1", 2222, &certificate, NOW);
    assert!(matches!(verdict, Verdict::Known { .. }));
    let (verdict, problem) = known(&text).lookup_certificate("db.example.com", 22, &certificate, NOW);
    assert_eq!(verdict, Verdict::Unknown);
    assert!(matches!(problem, Some(BadCertificate::OtherHost(_))), "{problem:?}");
    // Without a known signer it is a bare key.
    let (verdict, problem) = known(&format!("web-1 {A}")).lookup_certificate("web-1", 22, &certificate, NOW);
    assert!(matches!(verdict, Verdict::Known { .. }));
    assert!(matches!(problem, Some(BadCertificate::UnknownAuthority { .. })));
    for revoked in [A, CA] {
        let text = format!("{text}@revoked * {revoked}");
        let (verdict, _) = known(&text).lookup_certificate("web-1", 22, &certificate, NOW);
        assert!(matches!(verdict, Verdict::Revoked { .. }));
    }
}

#[test]
fn each_demand_on_a_certificate_is_made() {
    let check =
        |text: &str, host: &str, now: u64| check_certificate(&Certificate::from_openssh(text).unwrap(), host, now);
    let good = Certificate::from_openssh(GOOD).unwrap();
    assert_eq!(check(GOOD, "web-1", NOW), Ok(()));
    assert_eq!(check(GOOD, "web-1.example.com", good.valid_after()), Ok(()));
    assert_eq!(check(GOOD, "web-1", good.valid_after() - 1), Err(BadCertificate::NotYetValid));
    assert_eq!(check(GOOD, "web-1", good.valid_before()), Err(BadCertificate::Expired));
    assert!(matches!(check(GOOD, "web-2", NOW), Err(BadCertificate::OtherHost(_))));
    macro_rules! fixture {
        ($name:literal) => {
            include_str!(concat!("../../../tests/it/fixtures/known_hosts/", $name, "-cert.pub"))
        };
    }
    assert_eq!(check(fixture!("user"), "web-1", NOW), Err(BadCertificate::NotHost));
    assert_eq!(check(fixture!("anybody"), "web-1", NOW), Err(BadCertificate::NoPrincipals));
    assert!(matches!(check(fixture!("wildcard"), "web-1.example.com", NOW), Err(BadCertificate::OtherHost(_))));
    assert_eq!(
        check(fixture!("critical"), "web-1", NOW),
        Err(BadCertificate::CriticalOption("verify-phase".to_owned()))
    );
    assert!(matches!(check(fixture!("sha1"), "web-1", NOW), Err(BadCertificate::WeakSignature(_))));
    assert_eq!(check(fixture!("rsa"), "web-1", NOW), Ok(()));
    let text = format!("@cert-authority web-1 {RSA_CA}");
    let rsa = Certificate::from_openssh(fixture!("rsa")).unwrap();
    assert!(matches!(known(&text).lookup_certificate("web-1", 22, &rsa, NOW).0, Verdict::Known { .. }));
}

#[test]
fn a_forged_certificate_is_refused() {
    let mut bytes = Certificate::from_openssh(GOOD).unwrap().to_bytes().unwrap();
    // The serial number follows nonce and key: any change under the signature must show.
    let at = bytes.windows(4).position(|window| window == b"good").unwrap();
    bytes[at] = b'f';
    let forged = Certificate::from_bytes(&bytes).unwrap();
    assert_eq!(forged.key_id(), "food");
    assert_eq!(check_certificate(&forged, "web-1", NOW), Err(BadCertificate::Signature));
}

#[test]
fn bad_lines_are_passed_over_and_told() {
    let (a, short) = (bare(A), &bare(A)[..60]);
    let text = format!(
        "web-1\nweb-1 ssh-ed25519\nweb-1 {short}\nweb-1 ssh-rsa {}\nweb-1 ssh-moon AAAA\n@moon web-1 {a}\n\
         @revoked @cert-authority web-1 {a}\n|1|abc|def {a}\n1024 35 123456\n@cert-authority\tweb-1 {a}\n\
         web-1 ssh-ed25519 !!!\nweb-1 {a}AAAA\nweb-1 {a}\n",
        a.split(' ').nth(1).unwrap()
    );
    let known = known(&text);
    assert_eq!(lines(&known.lookup("web-1", 22, &public(A))), [13]);
    assert_eq!(known.notes().len(), 12);
    let shown: Vec<String> = known.notes().iter().map(|note| diagnostic(note, Style::PLAIN)).collect();
    insta::assert_snapshot!(shown.join(""));
}

#[test]
fn several_files_are_one_list() {
    let directory = tempfile::tempdir().unwrap();
    let (user, global) = (directory.path().join("user"), directory.path().join("global"));
    std::fs::write(&user, format!("web-1 {B}")).unwrap();
    std::fs::write(&global, format!("web-1 {A}")).unwrap();
    let files = [user.clone(), directory.path().join("absent"), global.clone(), "/dev/null".into(), user.join("x")];
    let known = KnownHosts::load(&files).unwrap();
    let verdict = known.lookup("web-1", 22, &public(A));
    assert!(matches!(&verdict, Verdict::Known { lines, .. } if lines[0].file == global), "{verdict:?}");
}

#[test]
fn what_cannot_be_read_is_an_error_and_never_a_first_visit() {
    let directory = tempfile::tempdir().unwrap();
    let error = KnownHosts::load(&[directory.path().to_owned()]).unwrap_err();
    assert_eq!(error.exit(), Exit::Unreachable);
    assert!(error.to_string().contains("cannot read the known host keys"), "{error}");
    let fifo = directory.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    KnownHosts::load(&[fifo]).unwrap_err();
    // A user other than root meets the mode.
    let secret = directory.path().join("secret");
    std::fs::write(&secret, format!("web-1 {A}")).unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    if std::fs::File::open(&secret).is_err() {
        KnownHosts::load(&[secret]).unwrap_err();
    }
}

#[test]
fn holdings_tell_which_algorithms_to_ask_for() {
    let known = known(&format!("web-1 {ECDSA}web-1 {RSA}web-1 {RSA}@revoked web-1 {A}[db]:22222 {A}"));
    let holdings = known.holdings("web-1", 22);
    assert_eq!(holdings.types.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ecdsa-sha2-nistp256", "ssh-rsa"]);
    assert_eq!(known.holdings("web-1", 2222), holdings, "under the bare name, where nothing is under the port");
    assert_eq!(known.holdings("db", 22), Holdings::default());
    let types = |text: &str| self::known(text).holdings("web-1", 22).types;
    assert_eq!(types(&format!("web-1 {A}web-1 {ECDSA}@revoked * {A}")), [public(ECDSA).algorithm()]);
}

#[test]
fn adding_keeps_every_line_of_others() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("home/.ssh/known_hosts");
    let first = add(&file, "Web-1", 2222, &public(A), false).unwrap();
    assert_eq!((first.line, first.file.as_path()), (1, file.as_path()));
    let mode = |path: &Path| std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions());
    assert_eq!(mode(&file) & 0o777, 0o600);
    assert_eq!(mode(file.parent().unwrap()) & 0o777, 0o700);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("[web-1]:2222 {}\n", bare(A)));

    // A last line without its line feed stays whole.
    std::fs::write(&file, format!("# mine\nother {}", bare(B))).unwrap();
    let second = add(&file, "web-1", 22, &public(A), true).unwrap();
    assert_eq!(second.line, 3);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with(&format!("# mine\nother {}\n|1|", bare(B))), "{text}");
    assert!(!text.contains("web-1"), "{text}");
    assert!(is_known(&text, "web-1", 22, A) && is_known(&text, "other", 22, B));

    // Two salts are never the same.
    add(&file, "web-1", 22, &public(A), true).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let hashes: std::collections::HashSet<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(hashes.len(), 2);
}

#[test]
fn adding_at_once_from_many_sides_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("known_hosts");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let file = &file;
            scope.spawn(move || {
                for host in 0..10 {
                    add(file, &format!("host-{thread}-{host}"), 22, &public(RSA), false).unwrap();
                }
            });
        }
    });
    let known = KnownHosts::load(&[file]).unwrap();
    assert_eq!(known.notes(), []);
    for (thread, host) in (0..8).flat_map(|thread| (0..10).map(move |host| (thread, host))) {
        assert!(matches!(known.lookup(&format!("host-{thread}-{host}"), 22, &public(RSA)), Verdict::Known { .. }));
    }
}

#[test]
fn a_name_that_means_something_else_in_the_file_is_refused() {
    for name in ["", "a b", "a,b", "*", "!a", "|1|x", "#a", "@revoked", "a\nb", "[a]:x", "[a,b]:1", "[]:1", "a?"] {
        let problem = text(name, 22, &public(A), None).unwrap_err();
        assert!(error(&problem, Style::PLAIN).contains("HostKeyAlias"), "{name}");
    }
    // A HostKeyAlias may say where a tunnel leads.
    assert!(text("[a]:1", 22, &public(A), None).unwrap().starts_with("[a]:1 ssh-ed25519 "));
    text("[a]:1", 2222, &public(A), None).unwrap_err();
    assert!(text("fe80::1%eth0", 22, &public(A), None).unwrap().starts_with("fe80::1%eth0 ssh-ed25519 "));
}

#[test]
fn a_full_disk_is_told() {
    let problem = add(Path::new("/dev/full"), "web-1", 22, &public(A), false).unwrap_err();
    assert!(problem.to_string().contains("cannot add the host key to `/dev/full`"), "{problem}");
    assert!(problem.causes().iter().any(|cause| cause.contains("No space left")), "{problem:?}");
}

#[test]
fn the_removal_can_be_typed_as_it_is() {
    assert_eq!(removal("Web-1", 22, Path::new("/h/known_hosts")), "ssh-keygen -R web-1 -f /h/known_hosts");
    assert_eq!(removal("web-1", 2222, Path::new("/a b/k")), "ssh-keygen -R '[web-1]:2222' -f '/a b/k'");
}

#[test]
fn a_file_of_hostile_lines_costs_little() {
    let begun = std::time::Instant::now();
    let stars = "*a".repeat(500);
    let text = format!("{stars}b {A}").repeat(200);
    let known = known(&text);
    assert_eq!(known.lookup(&"a".repeat(250), 22, &public(A)), Verdict::Unknown);
    // Certificates inside certificates must not use up the stack.
    let mut nested = Certificate::from_openssh(GOOD).unwrap().to_bytes().unwrap();
    nested = nested.repeat(400);
    super::tests::known(&format!("web-1 ssh-ed25519 {}\n", crate::ssh::base64::encode(&nested)));
    assert!(begun.elapsed() < std::time::Duration::from_secs(10));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut known = KnownHosts::default();
        known.read(Path::new("f"), &bytes);
        for note in known.notes() {
            diagnostic(note, Style::PLAIN);
        }
        known.lookup("web-1", 2222, &public(A));
    }

    #[test]
    fn lines_that_are_nearly_right_never_panic(
        marker in "(@revoked|@cert-authority|@|)[ \t]?",
        names in "(web-1|\\|1\\|[a-zA-Z+/=]{0,30}\\|[a-zA-Z+/=]{0,30}|[*?!,a-z]{0,9})",
        cut in 0usize..90,
    ) {
        let key: String = bare(A).chars().take(cut).collect();
        let text = format!("{marker}{names} {key}");
        let known = known(&text);
        prop_assert!(known.notes().len() <= 1);
        for note in known.notes() {
            diagnostic(note, Style::PLAIN);
        }
        // A key that was cut off is never a key.
        if cut < bare(A).len() {
            prop_assert_eq!(known.lookup("web-1", 22, &public(A)), Verdict::Unknown);
        }
    }

    #[test]
    fn what_was_written_is_read(
        name in "[a-zA-Z0-9][a-zA-Z0-9.:%_-]{0,40}",
        other in "[a-z0-9][a-z0-9.-]{0,40}",
        port in 1u16..,
        salt in proptest::option::of(any::<[u8; 20]>()),
        key in proptest::sample::select(vec![A, ECDSA, RSA]),
    ) {
        let line = text(&name, port, &public(key), salt).unwrap();
        let known = known(&line);
        prop_assert_eq!(known.notes(), &[]);
        prop_assert_eq!(lines(&known.lookup(&name, port, &public(key))), [1]);
        let changed = matches!(known.lookup(&name, port, &public(B)), Verdict::Changed { .. });
        prop_assert!(changed);
        if !name.eq_ignore_ascii_case(&other) {
            prop_assert_eq!(known.lookup(&other, port, &public(key)), Verdict::Unknown);
        }
        // Reading and writing a line again gives that line.
        let again = Line::parse(line.as_bytes()).unwrap().unwrap();
        prop_assert_eq!(again.to_text().unwrap(), line);
    }
}
