//! Who runs this, as passwd has it.

use std::path::PathBuf;

/// The user's name and home directory, which ssh takes from passwd and never from the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passwd {
    /// The login name.
    pub name: String,
    /// The home directory.
    pub home: PathBuf,
}

impl Passwd {
    /// The user of this process in `/etc/passwd`; `None` where users come from elsewhere.
    pub fn own() -> Option<Passwd> {
        let text = std::fs::read_to_string("/etc/passwd").ok()?;
        Passwd::find(&text, rustix::process::getuid().as_raw())
    }

    fn find(text: &str, uid: u32) -> Option<Passwd> {
        text.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, number) = (fields.next()?, fields.nth(1)?);
            let home = fields.nth(2)?;
            // `+` and `-` begin lines that bring in users from elsewhere.
            let own = number.parse() == Ok(uid) && !name.is_empty() && !name.starts_with(['+', '-', '#']);
            (own && home.starts_with('/')).then(|| Passwd { name: name.to_owned(), home: PathBuf::from(home) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_with_the_number_counts() {
        let text = "root:x:0:0:root:/root:/bin/sh\nbad\n+::7:7::/nis:\nme:x:7:7::/home/me:/bin/sh\ntoo:x:7:7::/x:\n";
        assert_eq!(Passwd::find(text, 7), Some(Passwd { name: "me".into(), home: "/home/me".into() }));
        assert_eq!(Passwd::find(text, 8), None);
    }
}
