//! Host ranges: `node[01:10]`, `rack[a:f]-[0:8:2]`.

/// How many hosts the ranges of one name may stand for.
pub(super) const MAX_HOSTS: usize = 100_000;

/// How long a name with ranges may be, in bytes.
const MAX_NAME: usize = 1024;

/// What Python's `string.ascii_letters` is: a range of letters may run from lower case into upper case.
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The names that `pattern` stands for, in order; `pattern` itself when it has no `[`.
///
/// # Errors
/// Why a range is none, as Ansible decides it: no end, a letter beyond its end, leading zeros of another length, a
/// step of 0; and when there are more than [`MAX_HOSTS`] names.
pub(super) fn expand(pattern: &str) -> Result<Vec<String>, String> {
    if pattern.len() > MAX_NAME && pattern.contains('[') {
        return Err(format!("a name with ranges may have {MAX_NAME} characters, and this has {}", pattern.len()));
    }
    let mut out = Vec::new();
    let mut todo = vec![pattern.to_owned()];
    // A stack instead of recursion: a name may have thousands of ranges.
    while let Some(name) = todo.pop() {
        if !name.contains('[') {
            out.push(name);
        } else {
            todo.extend(first(&name)?.into_iter().rev());
        }
        if out.len() + todo.len() > MAX_HOSTS {
            return Err(format!("the ranges stand for more than {MAX_HOSTS} hosts"));
        }
    }
    Ok(out)
}

/// Expands the first range of `name`.
fn first(name: &str) -> Result<Vec<String>, String> {
    let broken = || "the brackets do not pair up".to_owned();
    if name.contains('|') {
        return Err("a name with a range cannot have a `|`".to_owned());
    }
    // Whichever bracket comes first opens: Ansible turns both into the same character.
    let (open, close) = (name.find('[').ok_or_else(broken)?, name.find(']').ok_or_else(broken)?);
    let (open, close) = (open.min(close), open.max(close));
    let (Some(head), Some(inside), Some(tail)) = (name.get(..open), name.get(open + 1..close), name.get(close + 1..))
    else {
        return Err(broken());
    };
    let mut bounds = inside.split(':');
    let (begin, end, step) = match (bounds.next(), bounds.next(), bounds.next(), bounds.next()) {
        (Some(begin), Some(end), step, None) => (begin, end, step),
        _ => return Err(format!("`[{inside}]` is not a range: write `[begin:end]` or `[begin:end:step]`")),
    };
    let begin = if begin.is_empty() { "0" } else { begin };
    if end.is_empty() {
        return Err(format!("the range `[{inside}]` has no end"));
    }
    let width = if begin.len() > 1 && begin.starts_with('0') { begin.len() } else { 0 };
    if width > 0 && end.chars().count() != width {
        return Err(format!("in `[{inside}]` the begin has leading zeros, so the end must be as long"));
    }
    let number = |text: &str| integer(text).ok_or_else(|| format!("in `[{inside}]` `{text}` is not a number"));
    let step = step.map_or(Ok(1), number)?;
    if step == 0 {
        return Err(format!("the range `[{inside}]` has a step of 0"));
    }
    if let (Some(from), Some(to)) = (LETTERS.find(begin), LETTERS.find(end)) {
        if from > to {
            return Err(format!("the range `[{inside}]` begins after its end"));
        }
        let Ok(step) = usize::try_from(step) else { return Ok(Vec::new()) };
        let letters = LETTERS.get(from..=to).unwrap_or_default().chars();
        return Ok(letters.step_by(step).map(|letter| format!("{head}{letter}{tail}")).collect());
    }
    let (from, to) = (number(begin)?, number(end)?);
    let mut names = Vec::new();
    let mut at = from;
    // As Python's range(from, to + 1, step), which for a negative step stops before to + 1.
    while if step > 0 { at <= to } else { at > to + 1 } {
        if names.len() >= MAX_HOSTS {
            return Err(format!("the ranges stand for more than {MAX_HOSTS} hosts"));
        }
        names.push(format!("{head}{at:0width$}{tail}"));
        at += step;
    }
    Ok(names)
}

/// Reads a number as Python's `int` does, short enough that sums cannot overflow.
fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let plain = !digits.is_empty() && digits.len() <= 15 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let value: i64 = if plain { digits.parse().ok()? } else { return None };
    Some(if text.starts_with('-') { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_expand_in_order() {
        for (pattern, want) in [
            ("node", vec!["node"]),
            ("n[1:3]", vec!["n1", "n2", "n3"]),
            ("n[08:10]", vec!["n08", "n09", "n10"]),
            ("n[:2]", vec!["n0", "n1", "n2"]),
            ("n[0:10:5]x", vec!["n0x", "n5x", "n10x"]),
            ("r[a:c]", vec!["ra", "rb", "rc"]),
            ("r[y:B]", vec!["ry", "rz", "rA", "rB"]),
            ("r[a:b][1:2]", vec!["ra1", "ra2", "rb1", "rb2"]),
            ("n[3:1]", vec![]),
            ("n[5:1:-2]", vec!["n5", "n3"]),
        ] {
            assert_eq!(expand(pattern).unwrap(), want, "{pattern}");
        }
    }

    #[test]
    fn broken_ranges_say_why() {
        for pattern in ["n[1]", "n[1:]", "n[01:100]", "n[c:a]", "n[1:3:0]", "n[1:x]", "n[1:2", "n[1:2:3:4]", "a|[1:2]"]
        {
            assert!(expand(pattern).is_err(), "{pattern}");
        }
        assert!(expand("n[0:999999999]").is_err());
        assert!(expand(&format!("n{}", "[0:9]".repeat(1000))).is_err());
    }
}
