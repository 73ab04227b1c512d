//! What files and arguments say about one host.

use std::collections::BTreeMap;

use super::criteria::{Criterion, Subject, stand_for};
use super::file::{Entry, File};
use super::passwd::Passwd;
use super::pattern;
use super::unsure::Unsure;
use super::value::Value;
use crate::ssh::tokens::expand;

/// As many key files, and certificates, as ssh takes.
const MAX_FILES: usize = 100;

/// What has been said so far: the first value of each directive, and all key files.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) asked: &'a str,
    pub(super) passwd: Option<&'a Passwd>,
    values: BTreeMap<&'static str, (Vec<String>, String)>,
    /// `IdentityFile` and `CertificateFile`, each with whether the user chose it: ssh takes one twice, once from the
    /// user and once from the system.
    files: [Vec<(String, bool)>; 2],
}

impl<'a> Answer<'a> {
    /// Nothing yet about the host `asked`.
    pub(super) fn new(asked: &'a str, passwd: Option<&'a Passwd>) -> Answer<'a> {
        Answer { asked, passwd, values: BTreeMap::new(), files: [Vec::new(), Vec::new()] }
    }

    /// The words of `directive`.
    pub(super) fn words(&self, directive: &str) -> Option<&[String]> {
        self.values.get(directive).map(|(words, _)| words.as_slice())
    }

    /// The first word of `directive`.
    pub(super) fn word(&self, directive: &str) -> Option<&str> {
        self.words(directive)?.first().map(String::as_str)
    }

    /// Key files, then certificates.
    pub(super) fn files(&self) -> [Vec<&str>; 2] {
        self.files.each_ref().map(|files| files.iter().map(|(path, _)| path.as_str()).collect())
    }

    /// That this is not known, of which `directive` is the cause.
    pub(super) fn unsure(&self, directive: &str, reason: String) -> Unsure {
        let place = self.values.get(directive).map_or("the name of the host", |(_, place)| place);
        Unsure::new(place, reason)
    }

    /// Sets `directive` whatever was said before.
    pub(super) fn force(&mut self, directive: &'static str, word: &str, place: &str) {
        self.values.insert(directive, (vec![word.to_owned()], place.to_owned()));
    }

    /// Takes in a line that counts.
    pub(super) fn set(
        &mut self,
        directive: &'static str,
        value: &Value,
        user: bool,
        place: &dyn Fn() -> String,
    ) -> Result<(), Unsure> {
        let [identities, certificates] = &mut self.files;
        let files = match directive {
            "identityfile" => Some(identities),
            "certificatefile" => Some(certificates),
            _ => None,
        };
        let odd = |reason: &String| Unsure::new(place(), format!("`{directive}`: {reason}"));
        let words = match value {
            Value::Words(words) => words,
            Value::Odd(_) if files.is_none() && self.values.contains_key(directive) => return Ok(()),
            Value::Odd(reason) => return Err(odd(reason)),
        };
        if let Some(files) = files {
            for word in words {
                let file = (word.clone(), user);
                if files.contains(&file) {
                    continue;
                }
                if files.len() == MAX_FILES {
                    return Err(odd(&format!("more than {MAX_FILES} files")));
                }
                files.push(file);
            }
            return Ok(());
        }
        match directive {
            // Whichever of the two comes first holds; `none` counts as one, too.
            "proxyjump" if self.values.contains_key("proxycommand") => return Ok(()),
            "proxycommand" => match self.word("proxyjump") {
                Some("none") => return Err(odd(&"after a `ProxyJump none`, which not every ssh takes alike".into())),
                Some(_) => return Ok(()),
                None => {}
            },
            _ => {}
        }
        self.values.entry(directive).or_insert_with(|| (words.clone(), place()));
        Ok(())
    }

    /// Takes in the lines of `file` that count. `active`: those before its first block do; `never`: no block does.
    pub(super) fn run(&mut self, file: &File, mut active: bool, never: bool) -> Result<(), Unsure> {
        for (number, entry) in &file.entries {
            let place = || format!("{}:{number}", file.name);
            match entry {
                Entry::Host(patterns) => active = !never && stand_for(patterns, self.asked),
                Entry::Match(criteria) => active = self.holds(criteria, &place)? && !never,
                Entry::Set(directive, value) if active => self.set(directive, value, file.user, &place)?,
                Entry::Set(..) => {}
                Entry::Include(files) => {
                    for file in files {
                        self.run(file, active, never || !active)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the criteria of a `Match` hold, as far as the configuration has been read.
    fn holds(&self, criteria: &[Criterion], place: &dyn Fn() -> String) -> Result<bool, Unsure> {
        let mut all = true;
        for criterion in criteria {
            let list = criterion.list.as_str();
            let local = || {
                let name = self.passwd.map(|passwd| passwd.name.as_str());
                name.ok_or_else(|| Unsure::new(place(), "the name of the user here"))
            };
            let fits = match criterion.subject {
                None => true,
                Some(Subject::OriginalHost) => {
                    pattern::in_list(&self.asked.to_ascii_lowercase(), &list.to_ascii_lowercase())
                }
                Some(Subject::Host) => pattern::in_list(&self.host()?.to_ascii_lowercase(), &list.to_ascii_lowercase()),
                Some(Subject::LocalUser) => pattern::in_list(local()?, list),
                Some(Subject::User) => match self.word("user") {
                    Some(user) if user.contains(['%', '$']) => {
                        return Err(self.unsure("user", format!("a token in the user `{user}`")));
                    }
                    Some(user) => pattern::in_list(user, list),
                    None => pattern::in_list(local()?, list),
                },
                // ssh runs a command only where all before it holds.
                Some(Subject::Exec) if !all => continue,
                Some(Subject::Exec) => return Err(Unsure::new(place(), "`Match exec`")),
            };
            all &= fits != criterion.negated;
        }
        Ok(all)
    }

    /// The name to connect to: `HostName`, in which `%h` is the name that was asked about.
    pub(super) fn host(&self) -> Result<String, Unsure> {
        let Some(text) = self.word("hostname") else { return Ok(self.asked.to_owned()) };
        expand(text, |token| (token == 'h').then(|| self.asked.to_owned()), |_| None)
            .ok_or_else(|| self.unsure("hostname", format!("a token in `{text}`")))
    }
}
