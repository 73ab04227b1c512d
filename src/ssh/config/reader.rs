//! What ssh_config says about a host, read here: one `ssh -G` costs more than a whole answer may.
//!
//! It gives what `ssh -G` gives for the directives that this program uses, or says of what it is [`Unsure`].

mod answer;
mod arguments;
mod criteria;
mod directive;
mod file;
mod glob;
mod passwd;
mod pattern;
mod print;
mod unsure;
mod value;
mod words;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{Config, Wanted};
use answer::Answer;
use file::{File, Source};
pub use passwd::Passwd;
pub use unsure::Unsure;

/// A reader of ssh_config, which reads each file once.
#[derive(Debug)]
pub struct Reader {
    home: Option<PathBuf>,
    passwd: Option<Passwd>,
    system: PathBuf,
    usual: OnceLock<Result<Vec<Arc<File>>, Unsure>>,
    named: Mutex<HashMap<String, Result<Arc<File>, Unsure>>>,
}

impl Reader {
    /// A reader of `.ssh/config` under `home` (`$HOME`; without one, passwd's) and of the system's file `system`
    /// (`/etc/ssh/ssh_config`). `passwd` is what ssh takes for the user's name and home.
    pub fn new(home: Option<PathBuf>, passwd: Option<Passwd>, system: PathBuf) -> Reader {
        let home = home.or_else(|| passwd.as_ref().map(|passwd| passwd.home.clone()));
        Reader { home, passwd, system, usual: OnceLock::new(), named: Mutex::default() }
    }

    /// What `ssh -G` would say about the host, of the directives that this program uses. Defaults that differ between
    /// versions of ssh (its lists of algorithms) are left out.
    ///
    /// # Errors
    /// What the reader does not know, with its file and line.
    pub fn read(&self, wanted: &Wanted) -> Result<Config, Unsure> {
        let asked = wanted.asked();
        if !print::is_name(asked) && asked.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(Unsure::new("the name of the host", format!("`{}`", words::shown(asked))));
        }
        let mut answer = Answer::new(asked, self.passwd.as_ref());
        let file = arguments::take(&wanted.options(), &mut answer)?;
        match file.as_deref() {
            Some(none) if none.eq_ignore_ascii_case("none") => {}
            Some(path) => answer.run(self.named(path)?.as_ref(), true, false)?,
            None => {
                for file in self.usual.get_or_init(|| self.read_usual()).as_ref().map_err(Unsure::clone)? {
                    answer.run(file, true, false)?;
                }
            }
        }
        answer.print()
    }

    fn home(&self) -> Result<&Path, Unsure> {
        self.home.as_deref().ok_or_else(|| Unsure::new("$HOME", "it is not set"))
    }

    /// The user's file and the system's.
    fn read_usual(&self) -> Result<Vec<Arc<File>>, Unsure> {
        let home = self.home()?;
        let directory = home.join(".ssh");
        let user = Source { user: true, home, directory: &directory };
        let system = Source { user: false, home, directory: self.system.parent().unwrap_or(Path::new("/")) };
        let files =
            [File::read(&directory.join("config"), user, true, 0)?, File::read(&self.system, system, false, 0)?];
        Ok(files.into_iter().flatten().map(Arc::new).collect())
    }

    /// The file of `-F`.
    fn named(&self, path: &str) -> Result<Arc<File>, Unsure> {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || {
            let home = self.home()?;
            let directory = home.join(".ssh");
            let source = Source { user: true, home, directory: &directory };
            let file = File::read(Path::new(path), source, false, 0)?;
            file.map(Arc::new).ok_or_else(|| Unsure::new(path, "there is no such file"))
        };
        named.entry(path.to_owned()).or_insert_with(read).clone()
    }
}
