//! OpenSSH's known_hosts files: which host keys are known, changed or revoked.
//!
//! The format and the meaning of a line are those of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT", and of OpenSSH's own
//! reading of it, with which the tests compare.

mod append;
mod certificate;
mod holdings;
mod line;
mod names;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};

use crate::error::{Diagnostic, Error, Result, SourceFile, Span};
use crate::exit::Exit;
pub use append::{Added, add, text};
pub use certificate::{BadCertificate, check as check_certificate};
pub use holdings::Holdings;
use line::{Line, Marker};

/// SSH's port, which is not written into names.
pub const PORT: u16 = 22;

/// The largest known_hosts file that is read, in bytes: some 100,000 lines of RSA keys.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// How many lines that were passed over are told; a file that is something else entirely has millions of them.
const MAX_NOTES: usize = 100;

/// The content of one or more known_hosts files.
#[derive(Clone, Debug, Default)]
pub struct KnownHosts {
    entries: Vec<Entry>,
    notes: Vec<Diagnostic>,
}

#[derive(Clone, Debug)]
struct Entry {
    file: Arc<PathBuf>,
    number: usize,
    line: Line,
}

/// A line that holds a key for the host that was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The key's type.
    pub algorithm: Algorithm,
    /// Its fingerprint, `SHA256:...` as ssh-keygen prints it.
    pub fingerprint: String,
    /// The line may stand for further hosts: it has several names or a wildcard.
    pub shared: bool,
}

impl Held {
    /// `FILE:LINE`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }
}

/// What the files say about a host's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This very key stands there for the host.
    Known {
        /// The lines that hold it (for a certificate: the key that signed it), the first file first.
        lines: Vec<Held>,
        /// The types of all keys that are held for the host, so that host-key algorithms can be ordered.
        types: Vec<Algorithm>,
    },
    /// No key of the host is held.
    Unknown,
    /// Only other keys of the host are held, of the same or of another type: the host changed, or it is another.
    Changed {
        /// The lines that hold them, the first file first.
        lines: Vec<Held>,
    },
    /// The key is marked `@revoked`, whatever else holds it.
    Revoked {
        /// The lines that revoke it, the first file first.
        lines: Vec<Held>,
        /// The lines that hold keys of the host, this one or others: they are in the way of its next key.
        held: Vec<Held>,
    },
}

impl KnownHosts {
    /// Reads `files`, the user's first, in that order. A file that is not there is empty.
    ///
    /// Lines that cannot be used are passed over, as ssh does, and told by [`KnownHosts::notes`].
    ///
    /// # Errors
    /// A file that is there and cannot be read ([`Exit::Unreachable`]: hosts cannot be verified), or is over 64 MiB.
    pub fn load(files: &[PathBuf]) -> Result<KnownHosts> {
        let mut known = KnownHosts::default();
        for file in files {
            match read(file) {
                Ok(bytes) => known.read(file, &bytes),
                // A directory that is not there, and a path through a file, hold no file either.
                Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(cause) => {
                    return Err(Error::new(
                        Exit::Unreachable,
                        format!("cannot read the known host keys in `{}`", file.display()),
                    )
                    .because(cause)
                    .help(format!(
                        "without that file no host can be verified; make it readable: chmod u+r {}",
                        quote(&file.display().to_string())
                    )));
                }
            }
        }
        Ok(known)
    }

    /// Adds the lines of `bytes`, which is the content of `file`.
    pub fn read(&mut self, file: &Path, bytes: &[u8]) {
        let path = Arc::new(file.to_owned());
        let mut source: Option<Arc<SourceFile>> = None;
        let mut start = 0;
        for (index, raw) in bytes.split(|b| *b == b'\n').enumerate() {
            match Line::parse(raw) {
                Ok(None) => {}
                Ok(Some(line)) => self.entries.push(Entry { file: Arc::clone(&path), number: index + 1, line }),
                Err(_) if self.notes.len() >= MAX_NOTES => {}
                Err(bad) => {
                    // The text for messages is made only where there is one; its offsets are those of the bytes.
                    let source = source.get_or_insert_with(|| {
                        let text: String =
                            bytes.iter().map(|b| if b.is_ascii() { char::from(*b) } else { '?' }).collect();
                        Arc::new(SourceFile { path: file.to_owned(), text })
                    });
                    let span = Span {
                        line: index + 1,
                        column: bad.span.0 + 1,
                        start: start + bad.span.0,
                        end: start + bad.span.1,
                    };
                    self.notes.push(
                        Diagnostic::note(format!("this line is passed over: {}", bad.message))
                            .at(source, span)
                            .help("mend or remove the line; ssh passes it over too"),
                    );
                }
            }
            start += raw.len() + 1;
        }
    }

    /// The lines that were passed over, as notes with their `file:line:column`; the first 100 of them.
    pub fn notes(&self) -> &[Diagnostic] {
        &self.notes
    }

    /// What the files say about `key`, shown by the host `name` (HostKeyAlias with [`PORT`], else HostName with its
    /// port; case does not matter).
    ///
    /// With a port other than 22 the name is `[name]:port`; only where that has no key at all, `name` alone counts,
    /// and there a match is all that is asked: other keys under `name` may belong to another server on port 22.
    pub fn lookup(&self, name: &str, port: u16, key: &PublicKey) -> Verdict {
        let verdict = self.verdict(&host_name(name, port), key);
        if verdict != Verdict::Unknown || port == PORT {
            return verdict;
        }
        match self.verdict(&host_name(name, PORT), key) {
            Verdict::Changed { .. } => Verdict::Unknown,
            verdict => verdict,
        }
    }

    /// What the files say about `certificate`, shown by the host `name`; `now` is in seconds since 1970.
    ///
    /// A certificate that does not hold, or that nobody known has signed, counts as the bare key in it, as for ssh;
    /// the reason comes along.
    pub fn lookup_certificate(
        &self,
        name: &str,
        port: u16,
        certificate: &Certificate,
        now: u64,
    ) -> (Verdict, Option<BadCertificate>) {
        let key = PublicKey::from(certificate.public_key().clone());
        let signer = PublicKey::from(certificate.signature_key().clone());
        let mut names = vec![host_name(name, port)];
        if port != PORT {
            names.push(host_name(name, PORT));
        }
        for name in &names {
            let lines = self.held(name, |line| {
                line.marker == Marker::Revoked
                    && (line.key.key_data() == key.key_data() || line.key.key_data() == signer.key_data())
            });
            if !lines.is_empty() {
                return (Verdict::Revoked { lines, held: self.held(name, |line| line.marker == Marker::None) }, None);
            }
        }
        let mut problem = BadCertificate::UnknownAuthority { fingerprint: fingerprint(&signer) };
        for host in &names {
            let lines =
                self.held(host, |line| line.marker == Marker::Authority && line.key.key_data() == signer.key_data());
            if lines.is_empty() {
                continue;
            }
            match check_certificate(certificate, &name.to_ascii_lowercase(), now) {
                Ok(()) => return (Verdict::Known { lines, types: self.holdings(name, port).types }, None),
                Err(bad) => problem = bad,
            }
        }
        (self.lookup(name, port, &key), Some(problem))
    }

    /// What is held for the host `name`, under its port or, only where nothing is, without it.
    pub fn holdings(&self, name: &str, port: u16) -> Holdings {
        let holdings = self.holdings_of(&host_name(name, port));
        if holdings == Holdings::default() && port != PORT {
            self.holdings_of(&host_name(name, PORT))
        } else {
            holdings
        }
    }

    fn holdings_of(&self, host: &str) -> Holdings {
        Holdings::of(self.matching(host).into_iter().map(|entry| &entry.line))
    }

    /// The verdict under this very name, without the fallback of [`KnownHosts::lookup`].
    pub(super) fn verdict(&self, host: &str, key: &PublicKey) -> Verdict {
        let entries = self.matching(host);
        let lines = |marker: Marker, equal: Option<bool>| -> Vec<Held> {
            let wanted = |entry: &&&Entry| {
                entry.line.marker == marker
                    && equal.is_none_or(|equal| (entry.line.key.key_data() == key.key_data()) == equal)
            };
            entries.iter().filter(wanted).map(|entry| entry.to_held()).collect()
        };
        let (revoked, same) = (lines(Marker::Revoked, Some(true)), lines(Marker::None, Some(true)));
        if !revoked.is_empty() {
            return Verdict::Revoked { lines: revoked, held: lines(Marker::None, None) };
        }
        if !same.is_empty() {
            return Verdict::Known { lines: same, types: Holdings::of(entries.iter().map(|entry| &entry.line)).types };
        }
        match lines(Marker::None, Some(false)) {
            other if other.is_empty() => Verdict::Unknown,
            other => Verdict::Changed { lines: other },
        }
    }

    fn held(&self, host: &str, wanted: impl Fn(&Line) -> bool) -> Vec<Held> {
        self.matching(host).into_iter().filter(|entry| wanted(&entry.line)).map(Entry::to_held).collect()
    }

    /// The lines for the host `name` alone, under its port or without it: asked for once a host, all further questions
    /// about it cost nothing, while a whole file costs an HMAC for each hashed line.
    pub fn narrowed(&self, name: &str, port: u16) -> KnownHosts {
        let (host, bare) = (host_name(name, port), host_name(name, PORT));
        let of_host =
            |entry: &&Entry| entry.line.names.matches(&host) || (port != PORT && entry.line.names.matches(&bare));
        KnownHosts { entries: self.entries.iter().filter(of_host).cloned().collect(), notes: Vec::new() }
    }

    /// The lines for `host`. Each hashed line costs an HMAC here, so nothing asks twice.
    fn matching(&self, host: &str) -> Vec<&Entry> {
        self.entries.iter().filter(|entry| entry.line.names.matches(host)).collect()
    }
}

impl Entry {
    fn to_held(&self) -> Held {
        Held {
            file: self.file.as_path().to_owned(),
            line: self.number,
            algorithm: self.line.key.algorithm(),
            fingerprint: fingerprint(&self.line.key),
            shared: self.line.names.several(),
        }
    }
}

/// The name under which a host's keys are held: lower case, and `[name]:port` for a port other than 22.
pub fn host_name(name: &str, port: u16) -> String {
    let name = name.to_ascii_lowercase();
    if port == PORT { name } else { format!("[{name}]:{port}") }
}

/// The fingerprint of `key` as ssh-keygen prints it: `SHA256:...`.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// The command that takes the keys of `name` out of `file`, to be typed as it is.
pub fn removal(name: &str, port: u16, file: &Path) -> String {
    format!("ssh-keygen -R {} -f {}", quote(&host_name(name, port)), quote(&file.display().to_string()))
}

/// `text` as one word for a POSIX shell.
fn quote(text: &str) -> String {
    shlex::try_quote(text).map(std::borrow::Cow::into_owned).unwrap_or_else(|_| text.to_owned())
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    // Looked at before it is opened: to open a FIFO would wait for a writer.
    let meta = std::fs::metadata(file)?;
    if meta.is_dir() {
        return Err(std::io::Error::other("it is a directory"));
    }
    // `/dev/null` is how people say that there is none.
    if !meta.is_file() {
        return if file == Path::new("/dev/null") {
            Ok(Vec::new())
        } else {
            Err(std::io::Error::other("it is not a file"))
        };
    }
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(std::io::Error::other("it is larger than 64 MiB"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
