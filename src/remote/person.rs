//! A hold without the guard: what a person at the host would do by hand. For when nobody who leads can be reached; it
//! only tightens.

use super::halt::HaltFile;
use crate::error::{Error, Result};

/// The program that appends `line` to each of `files` and makes those that are not there; on a full disk the empty file
/// is left, which holds just as well. Then it renames each of `hide` to `PATH.factory-held`, as the guard does. Fails when
/// one of the first is not there in the end, or one of the others still is.
///
/// # Errors
/// A path that holds a NUL or a line break.
pub fn script(home: &str, files: &[HaltFile], hide: &[String], line: &str) -> Result<String> {
    let mut script = FUNCTIONS.to_owned();
    let line = quote(&line.replace(['\n', '\r', '\0'], " "))?;
    for file in files {
        let path = match file {
            HaltFile::Home(name) => format!("{home}/halt/{name}"),
            HaltFile::Path(path) => path.clone(),
        };
        script.push_str(&format!("put {} {line}\n", word(&path)?));
    }
    for path in hide {
        script.push_str(&format!("away {}\n", word(path)?));
    }
    script.push_str("exit $bad\n");
    Ok(script)
}

/// What was renamed away before is kept.
const FUNCTIONS: &str = r#"umask 022
bad=0
put() {
  (umask 077; mkdir -p "${1%/*}")
  printf '%s\n' "$2" >>"$1"
  [ -e "$1" ] || bad=1
}
away() {
  [ -e "$1" ] || [ -h "$1" ] || return 0
  held=$1.factory-held i=1
  if [ -e "$held" ] || [ -h "$held" ]; then
    while [ -e "$held.$i" ] || [ -h "$held.$i" ]; do i=$((i + 1)); done
    mv "$held" "$held.$i"
  fi
  mv "$1" "$held" || bad=1
}
"#;

/// A path on the host as a word of the shell's.
fn word(path: &str) -> Result<String> {
    match path.strip_prefix("~/") {
        Some(rest) => Ok(format!("\"$HOME\"/{}", quote(rest)?)),
        None => quote(path),
    }
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
            let script = script(&at.display().to_string(), &files, &[], text).unwrap();
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
    fn what_is_hidden_keeps_what_was_hidden_before() {
        let home = tempfile::tempdir().unwrap();
        let on = home.path().join("o n");
        let script = script("/nowhere", &[], &["~/o n".to_owned()], "x").unwrap();
        for text in ["first", "second", "third"] {
            std::fs::write(&on, text).unwrap();
            // The second time there is nothing left to do.
            for _ in 0..2 {
                let mut command = std::process::Command::new("sh");
                assert!(command.args(["-c", &script]).env("HOME", home.path()).status().unwrap().success());
                assert!(!on.exists());
            }
        }
        for (name, text) in
            [("o n.factory-held", "third"), ("o n.factory-held.1", "first"), ("o n.factory-held.2", "second")]
        {
            assert_eq!(std::fs::read_to_string(home.path().join(name)).unwrap(), text);
        }
    }

    #[test]
    fn what_cannot_be_made_is_told() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("halt"), "a file in the way").unwrap();
        let script = script(&home.path().display().to_string(), &[HaltFile::of("dev", "*")], &[], "x").unwrap();
        let ended = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(ended.status.code(), Some(1));
    }
}
