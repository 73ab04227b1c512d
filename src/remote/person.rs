//! A hold without the guard: what a person at the host would do by hand. For when nobody who leads can be reached; it
//! only tightens.

use super::halt::HaltFile;
use crate::error::{Error, Result};

/// The program that appends `line` to each of `files` and makes those that are not there; on a full disk the empty file
/// is left, which holds just as well. Fails when one of them is not there in the end.
///
/// # Errors
/// A path that holds a NUL or a line break.
pub fn script(home: &str, files: &[HaltFile], line: &str) -> Result<String> {
    let mut script = String::from(
        "umask 077\nbad=0\nput() { mkdir -p \"${1%/*}\"; printf '%s\\n' \"$2\" >>\"$1\"; [ -e \"$1\" ] || bad=1; }\n",
    );
    let line = quote(&line.replace(['\n', '\r', '\0'], " "))?;
    for file in files {
        let path = match file {
            HaltFile::Home(name) => format!("{home}/halt/{name}"),
            HaltFile::Path(path) => path.clone(),
        };
        let path = match path.strip_prefix("~/") {
            Some(rest) => format!("\"$HOME\"/{}", quote(rest)?),
            None => quote(&path)?,
        };
        script.push_str(&format!("put {path} {line}\n"));
    }
    script.push_str("exit $bad\n");
    Ok(script)
}

fn quote(text: &str) -> Result<String> {
    let fine = !text.contains(['\n', '\0']);
    let quoted = fine.then(|| shlex::try_quote(text).ok()).flatten();
    quoted.map(|quoted| quoted.into_owned()).ok_or_else(|| {
        Error::inventory(format!("a path holds a line break or a NUL: {text:?}")).help("write it on one line")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_s_line_is_there_and_what_was_there_stays() {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().join("it's here");
        let files = [HaltFile::of("dev", "*"), HaltFile::of("dev", "harb"), HaltFile::Path("~/x y/stop".to_owned())];
        for text in ["first $(touch pwned)", "second"] {
            let script = script(&at.display().to_string(), &files, text).unwrap();
            for shell in ["sh", "bash"] {
                let mut command = std::process::Command::new(shell);
                let ended = command.args(["-c", &script]).env("HOME", home.path()).current_dir(home.path()).status();
                assert!(ended.unwrap().success());
            }
        }
        let want = "first $(touch pwned)\nfirst $(touch pwned)\nsecond\nsecond\n";
        for file in ["it's here/halt/dev", "it's here/halt/dev@harb", "x y/stop"] {
            assert_eq!(std::fs::read_to_string(home.path().join(file)).unwrap(), want, "{file}");
        }
        assert!(!home.path().join("pwned").exists());
    }

    #[test]
    fn what_cannot_be_made_is_told() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("halt"), "a file in the way").unwrap();
        let script = script(&home.path().display().to_string(), &[HaltFile::of("dev", "*")], "x").unwrap();
        let ended = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(ended.status.code(), Some(1));
    }
}
