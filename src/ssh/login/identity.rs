//! Key files: what is in them, and why one cannot be used.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, PrivateKey, PublicKey, decode_secret_key};
use secrecy::{ExposeSecret as _, SecretString};

/// The largest file that is read as a key or certificate, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The private half.
#[derive(Clone)]
pub(crate) enum Private {
    /// Ready to sign.
    Open(Arc<PrivateKey>),
    /// Encrypted; the text of the file.
    Locked(Arc<SecretString>),
    /// Not there, or not usable: only an agent can sign.
    Absent,
}

/// A key file with what lies beside it.
#[derive(Clone)]
pub(crate) struct KeyFile {
    pub(crate) path: PathBuf,
    pub(crate) public: Option<PublicKey>,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) private: Private,
    /// Why the file, or its certificate, is of no use, and what to do about it.
    pub(crate) note: Option<String>,
    /// There is no such file at all.
    pub(crate) absent: bool,
}

impl KeyFile {
    /// Reads `path`, `PATH.pub` and `PATH-cert.pub`.
    pub(crate) fn read(path: &Path) -> KeyFile {
        let mut file = KeyFile {
            path: path.to_owned(),
            public: None,
            certificate: None,
            private: Private::Absent,
            note: None,
            absent: false,
        };
        let shown = path.display();
        match text(path) {
            Ok((text, mode, own)) => {
                if let Ok(public) = PublicKey::from_openssh(text.trim()) {
                    // `IdentityFile KEY.pub` picks a key of the agent.
                    file.public = Some(public);
                } else if own && mode & 0o077 != 0 {
                    file.note = Some(format!(
                        "{shown} is not used: others may read it (mode {:03o}); chmod 600 {shown}",
                        mode & 0o777
                    ));
                } else {
                    file.open(text);
                }
            }
            Err(cause) if cause.kind() == ErrorKind::NotFound => file.absent = true,
            Err(cause) => file.note = Some(format!("{shown} cannot be read: {cause}")),
        }
        if file.public.is_none()
            && let Ok((text, ..)) = text(&beside(path, ".pub"))
        {
            file.public = PublicKey::from_openssh(text.trim()).ok();
            file.absent &= file.public.is_none();
        }
        let certificate = beside(path, "-cert.pub");
        match certificate_in(&certificate) {
            Ok(certificate) => file.certificate = Some(certificate),
            Err(Some(why)) if file.note.is_none() => file.note = Some(why),
            Err(_) => {}
        }
        if let (Some(public), Some(certificate)) = (&file.public, &file.certificate)
            && public.key_data() != certificate.public_key()
        {
            file.certificate = None;
        }
        file
    }

    /// The text of an encrypted file.
    pub(crate) fn locked(&self) -> Option<Arc<SecretString>> {
        match &self.private {
            Private::Locked(text) => Some(Arc::clone(text)),
            _ => None,
        }
    }

    fn open(&mut self, text: String) {
        let shown = self.path.display();
        match decode_secret_key(&text, None) {
            Ok(key) if matches!(key.algorithm(), Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256) => {
                self.public = Some(key.public_key().clone());
                self.note = Some(format!("{shown} belongs to a hardware key, which works through ssh-agent: ssh-add"));
            }
            Ok(key) => {
                self.public = Some(key.public_key().clone());
                self.private = Private::Open(Arc::new(key));
            }
            Err(_) if is_encrypted(&text) => {
                // OpenSSH's own format shows the public half without the passphrase.
                self.public = PrivateKey::from_openssh(&text).ok().map(|key| key.public_key().clone());
                self.private = Private::Locked(Arc::new(SecretString::from(text)));
            }
            Err(cause) => {
                self.note = Some(format!("{shown} is not used: it is no private key that is understood ({cause})"));
            }
        }
    }
}

fn is_encrypted(text: &str) -> bool {
    match PrivateKey::from_openssh(text) {
        Ok(key) => key.is_encrypted(),
        Err(_) => text.contains("ENCRYPTED"),
    }
}

/// The private key in `text`, by its passphrase; `None` if that is not the one.
pub(crate) fn unlock(text: &SecretString, passphrase: &SecretString) -> Option<PrivateKey> {
    decode_secret_key(text.expose_secret(), Some(passphrase.expose_secret())).ok().filter(|key| !key.is_encrypted())
}

/// The user's certificate in `path`; an error without words if there is no such file.
pub(crate) fn certificate_in(path: &Path) -> Result<Certificate, Option<String>> {
    let shown = path.display();
    let (text, ..) = text(path).map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => None,
        _ => Some(format!("the certificate {shown} cannot be read: {cause}")),
    })?;
    let certificate = Certificate::from_openssh(text.trim())
        .map_err(|cause| Some(format!("the certificate {shown} is not understood ({cause})")))?;
    if certificate.cert_type() != CertType::User {
        return Err(Some(format!("{shown} is not a user's certificate")));
    }
    Ok(certificate)
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// The file's text, its mode, and whether it is this user's own.
fn text(path: &Path) -> std::io::Result<(String, u32, bool)> {
    // Looked at before it is opened: to open a FIFO would wait for a writer.
    let meta = std::fs::metadata(path)?;
    if !meta.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    if meta.len() > MAX_FILE {
        return Err(std::io::Error::other("it is larger than 1 MiB"));
    }
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    Ok((text, meta.mode(), meta.uid() == rustix::process::geteuid().as_raw()))
}

/// What tells two states of a file apart: its time, size and number.
pub(crate) type Stamp = Option<(i64, i64, u64, u64)>;

pub(crate) fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.mtime(), meta.mtime_nsec(), meta.size(), meta.ino()))
}

/// Key files that were read, and keys that were unlocked, once for all hosts of the process.
#[derive(Default)]
pub(crate) struct KeyFiles {
    files: Mutex<HashMap<PathBuf, ([Stamp; 3], KeyFile)>>,
    /// `None`: nobody could or wanted to give the passphrase.
    unlocked: Mutex<HashMap<PathBuf, Option<Arc<PrivateKey>>>>,
}

impl KeyFiles {
    /// The file at `path`, read again if it has changed.
    pub(crate) fn get(&self, path: &Path) -> KeyFile {
        let now = [stamp(path), stamp(&beside(path, ".pub")), stamp(&beside(path, "-cert.pub"))];
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        match files.get(path) {
            Some((then, file)) if *then == now => file.clone(),
            _ => {
                let file = KeyFile::read(path);
                files.insert(path.to_owned(), (now, file.clone()));
                file
            }
        }
    }

    /// The key of the encrypted file `path`, if it was unlocked; `Some(None)`: it was asked for in vain.
    pub(crate) fn unlocked(&self, path: &Path) -> Option<Option<Arc<PrivateKey>>> {
        self.unlocked.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// Keeps what came of asking for the passphrase of `path`.
    pub(crate) fn keep(&self, path: &Path, key: Option<Arc<PrivateKey>>) {
        self.unlocked.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), key);
    }
}
