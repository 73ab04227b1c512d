//! Host names as Ansible takes them apart: a name or an address, perhaps with ranges, perhaps with `:port`.

/// `text` as a host and its port, when it is a host name, an IPv4 or an IPv6 address by Ansible's rules (each part
/// may be a range such as `[01:10]`); `None` when it is none of these, and is then taken as it stands.
///
/// An IPv6 address takes its port behind brackets: `[2001:db8::1]:22`.
pub(super) fn parse(text: &str) -> Option<(&str, Option<&str>)> {
    let mut host = text;
    let mut port = None;
    if let Some((inside, digits)) = bracketed(host) {
        (host, port) = (inside, Some(digits));
    }
    if let Some((name, digits)) = with_port(host) {
        (host, port) = (name, Some(digits));
    }
    (is_ipv4(host) || is_ipv6(host) || is_hostname(host)).then_some((host, port))
}

/// Whether `name` is an IP address, of either version, without ranges.
pub(super) fn is_ip(name: &str) -> bool {
    name.parse::<std::net::IpAddr>().is_ok() || is_ipv4(name) || is_ipv6(name)
}

/// `[x]:22` -> `x`, `22`.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let (head, port) = text.rsplit_once(':')?;
    let inside = head.strip_prefix('[')?.strip_suffix(']')?;
    (!inside.is_empty() && !inside.contains('\n') && digits(port)).then_some((inside, port))
}

/// `x:22` -> `x`, `22`, where the only other colons of `x` stand in brackets.
fn with_port(text: &str) -> Option<(&str, &str)> {
    let (head, port) = text.rsplit_once(':')?;
    if !digits(port) {
        return None;
    }
    let mut inside = false;
    for c in head.chars() {
        match c {
            '[' if !inside => inside = true,
            ']' if inside => inside = false,
            ']' | ':' if !inside => return None,
            _ => {}
        }
    }
    (!inside).then_some((head, port))
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What may stand for a part of a name: a range in brackets at the beginning of `text`, with what follows it.
fn range(text: &str, bound: fn(&str, &str) -> bool) -> Option<&str> {
    let (inside, rest) = text.strip_prefix('[')?.split_once(']')?;
    let mut parts = inside.split(':');
    let (first, last) = (parts.next()?, parts.next()?);
    let step_fits = parts.next().is_none_or(digits);
    (bound(first, last) && step_fits && parts.next().is_none()).then_some(rest)
}

fn decimal_bounds(first: &str, last: &str) -> bool {
    digits(first) && digits(last)
}

fn hexadecimal_bounds(first: &str, last: &str) -> bool {
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex(first) && hex(last)
}

fn label_bounds(first: &str, last: &str) -> bool {
    // Python's `[a-z]` under IGNORECASE also takes these two; a range of them fails later.
    let letter = |text: &str| {
        let mut chars = text.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '\u{17f}' | '\u{212a}'))
            && chars.next().is_none()
    };
    decimal_bounds(first, last) || (letter(first) && letter(last))
}

/// A number up to 255 or a range, then what follows; every way to take it is tried, longest first.
fn is_ipv4(text: &str) -> bool {
    let mut rest = text;
    for index in 0..4 {
        if index > 0 {
            match rest.strip_prefix('.') {
                Some(next) => rest = next,
                None => return false,
            }
        }
        if let Some(next) = range(rest, decimal_bounds) {
            rest = next;
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let Some((number, next)) = rest.split_at_checked(end) else { return false };
        if number.len() > 3 || !number.parse::<u16>().is_ok_and(|number| number < 256) {
            return false;
        }
        rest = next;
    }
    rest.is_empty()
}

/// Groups of up to four hexadecimal digits, or ranges of them, eight of them or fewer round one `::`; the last two
/// may be an IPv4 address after `::`, `::ffff:`, `0:0:0:0:0:0:` or `0:0:0:0:0:ffff:`.
fn is_ipv6(text: &str) -> bool {
    let Some(parts) = components(text) else { return false };
    if let Some(address) = text.rsplit(':').next().filter(|last| last.contains('.')) {
        let head = text.strip_suffix(address).unwrap_or_default().to_ascii_lowercase();
        let known = ["::", "::ffff:", "0:0:0:0:0:0:", "0:0:0:0:0:ffff:"].contains(&head.as_str());
        return known && is_mapped_ipv4(address);
    }
    let is_group = |part: &&str| {
        (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit())
            || range(part, hexadecimal_bounds).is_some_and(str::is_empty)
    };
    let empty: Vec<usize> = parts.iter().enumerate().filter(|(_, part)| part.is_empty()).map(|(at, _)| at).collect();
    if !parts.iter().all(|part| part.is_empty() || is_group(part)) {
        return false;
    }
    let last = parts.len().saturating_sub(1);
    let groups = parts.len() - empty.len();
    match empty.as_slice() {
        [] => groups == 8,
        // `a::b`: at least one group on each side, at most seven in all.
        [at] if *at > 0 && *at < last => groups <= 7,
        // `a::`
        [before, end] if *end == last && *before + 1 == last && *before > 0 => groups <= 6,
        // `::b`
        [0, 1] if last > 1 => groups <= 6,
        // `::`
        [0, 1, 2] => last == 2,
        _ => false,
    }
}

/// Three parts and dots in which Ansible's expression takes any group of an IPv6 address.
fn is_mapped_ipv4(text: &str) -> bool {
    let parts: Vec<&str> = split_outside(text, '.');
    parts.len() == 4
        && parts.iter().all(|part| {
            (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit())
                || range(part, hexadecimal_bounds).is_some_and(str::is_empty)
        })
}

/// The parts of an address between colons; `None` when brackets do not pair up.
fn components(text: &str) -> Option<Vec<&str>> {
    (text.matches('[').count() == text.matches(']').count() && text.contains(':')).then(|| split_outside(text, ':'))
}

/// Splits at `separator` outside brackets.
fn split_outside(text: &str, separator: char) -> Vec<&str> {
    let mut inside = false;
    text.split(move |c: char| {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            _ => {}
        }
        c == separator && !inside
    })
    .collect()
}

/// Labels of letters, digits, `_`, `-` and ranges between dots; none begins with `-` or ends with `-` or `_`.
fn is_hostname(text: &str) -> bool {
    split_outside(text, '.').into_iter().all(is_label)
}

fn is_label(label: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = label;
    let mut first = true;
    while let Some(c) = rest.chars().next() {
        if let Some(next) = range(rest, label_bounds) {
            rest = next;
        } else if word(c) || (c == '-' && !first) {
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        } else {
            return false;
        }
        first = false;
    }
    !first && !label.ends_with(['-', '_'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ports_come_apart() {
        for (text, want) in [
            ("web", Some(("web", None))),
            ("web:22", Some(("web", Some("22")))),
            ("web[01:10].example.org:2222", Some(("web[01:10].example.org", Some("2222")))),
            ("[2001:db8::1]:22", Some(("2001:db8::1", Some("22")))),
            ("2001:db8::1", Some(("2001:db8::1", None))),
            ("2001:db8::[1:f]", Some(("2001:db8::[1:f]", None))),
            ("[web]:22", Some(("web", Some("22")))),
            ("10.0.0.1:22", Some(("10.0.0.1", Some("22")))),
            ("10.0.[0:3].1", Some(("10.0.[0:3].1", None))),
            ("::", Some(("::", None))),
            ("::1", Some(("::1", None))),
            ("1::", Some(("1::", None))),
            ("1:2:3:4:5:6:7:8", Some(("1:2:3:4:5:6:7:8", None))),
            ("::ffff:192.0.2.3", Some(("::ffff:192.0.2.3", None))),
            ("grün", Some(("grün", None))),
            ("a_b-c.d", Some(("a_b-c.d", None))),
            ("_a", Some(("_a", None))),
            ("[2001:db8::1]", None),
            ("web:db", None),
            ("web_", None),
            ("-web", None),
            ("web-.org", None),
            ("a..b", None),
            ("", None),
            ("web*", None),
            ("web[1:x]", None),
            ("1:2:3", None),
            ("1::2::3", None),
            ("1:2:3:4:5:6:7:8:9", None),
            ("a b", None),
        ] {
            assert_eq!(parse(text), want, "{text}");
        }
    }
}
