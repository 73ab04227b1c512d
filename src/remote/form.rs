//! The exact forms of the lines that hosts answer with: the kernel's, df's and our own. What is not wholly of its form is
//! none.

use super::halt::decode;
use super::sample::{CpuTicks, Run};

/// Digits alone, at most `u64::MAX`.
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// `12` or `12.34`: digits on both sides of the point, at most 15 of them, which a float holds exactly.
pub(super) fn decimal(text: &str) -> Option<f64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits(whole) && digits(part) && text.len() <= 16 { text.parse().ok() } else { None }
}

/// A clock's reading, to the microsecond. One without a fraction stands for the middle of its second.
pub(super) fn seconds(text: &str) -> Option<f64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "5"));
    number(part)?;
    let micros = number(format!("{part:0<6}").get(..6)?)?;
    // Far beyond any calendar: not a clock.
    let whole = number(whole).filter(|seconds| *seconds < 1 << 36)?;
    Some(whole as f64 + micros as f64 / 1e6)
}

/// `UPTIME IDLE`.
pub(super) fn uptime(line: &str) -> Option<f64> {
    let (up, idle) = line.split_once(' ')?;
    decimal(idle)?;
    up.contains('.').then(|| decimal(up))?
}

/// `1.0 5.0 15.0 RUNNING/ALL LAST`: the loads and the number of threads.
pub(super) fn loadavg(line: &str) -> Option<([f64; 3], u64)> {
    let mut words = line.split(' ');
    let mut load = || words.next().filter(|word| word.contains('.')).and_then(decimal);
    let loads = [load()?, load()?, load()?];
    let (running, all) = words.next()?.split_once('/')?;
    number(running)?;
    number(words.next()?)?;
    Some((loads, number(all)?)).filter(|_| words.next().is_none())
}

/// `cpu  USER NICE SYSTEM IDLE IOWAIT IRQ SOFTIRQ STEAL GUEST GUEST_NICE`; old kernels stop earlier.
pub(super) fn ticks(line: &str) -> Option<CpuTicks> {
    let fields: Vec<u64> = line.strip_prefix("cpu  ")?.split(' ').map(number).collect::<Option<_>>()?;
    let counted = fields.iter().take(8);
    let total = counted.clone().try_fold(0u64, |sum, ticks| sum.checked_add(*ticks));
    (fields.len() >= 4).then(|| CpuTicks { total, steal: fields.get(7).copied() })
}

/// One line of `df -Pk` or `df -Pi`.
pub(super) struct Usage<'a> {
    pub(super) device: &'a str,
    pub(super) total: u64,
    pub(super) free: u64,
    pub(super) mount: &'a str,
}

impl<'a> Usage<'a> {
    /// Device and mount point may hold spaces, so the four columns between are looked for: `TOTAL USED FREE N%`. A
    /// line with two such places says nothing.
    pub(super) fn parse(line: &'a str) -> Option<Usage<'a>> {
        let words: Vec<(usize, &str)> = words(line);
        let mut found = None;
        for (i, columns) in words.windows(4).enumerate() {
            let [(start, total), (_, used), (_, free), (last, share)] = columns else { continue };
            let (total, used) = (number(total), number(used));
            let percent = share.strip_suffix('%').and_then(number);
            // Below 0 = the part kept for root is in use already: nothing is left for others.
            let free = match free.strip_prefix('-') {
                Some(over) => number(over).filter(|_| percent >= Some(100)).map(|_| 0),
                None => number(free),
            };
            let is_share = *share == "-" || percent.is_some();
            let (Some(total), Some(used), Some(free), true) = (total, used, free, is_share) else { continue };
            if i == 0 || found.is_some() {
                return None;
            }
            let device = line.get(..*start)?.trim_end();
            let mount = line.get(last + share.len()..)?.strip_prefix(' ')?;
            let sound = free <= total && used <= total && mount.starts_with('/');
            found = Some(sound.then_some(Usage { device, total, free, mount })?);
        }
        found
    }
}

/// The words of a line with where they begin.
fn words(line: &str) -> Vec<(usize, &str)> {
    let mut at = 0;
    let mut words = Vec::new();
    for word in line.split(' ') {
        if !word.is_empty() {
            words.push((at, word));
        }
        at += word.len() + 1;
    }
    words
}

/// `8-4-4-4-12` hexadecimal digits.
pub(super) fn is_boot_id(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let hex = |text: &&str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(hex)
}

/// Letters, digits, `.`, `_`, `-`, at least one.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
}

/// 1 to 200 characters without control characters, and no byte that was not UTF-8.
pub(super) fn is_plain(text: &str) -> bool {
    (1..=200).contains(&text.chars().count()) && !text.chars().any(|c| c.is_control() || c == '\u{fffd}')
}

/// `EPOCH HOLDER`, as the file `epoch` has it: 1 to 15 digits without a leading zero, the holder percent-encoded and at
/// times missing.
pub(super) fn epoch(line: &str) -> Option<(u64, Option<String>)> {
    let (epoch, holder) = line.split_once(' ').map_or((line, None), |(epoch, holder)| (epoch, Some(holder)));
    let whole = epoch.len() <= 15 && !epoch.starts_with('0');
    let holder = holder.and_then(decode).filter(|holder| is_plain(holder));
    number(epoch).filter(|_| whole).map(|epoch| (epoch, holder))
}

/// `TOKEN STATE`, the state at times with ` LEFTOVER` behind it.
pub(super) fn run(line: &str) -> Option<Run> {
    let (token, state) = line.split_once(' ')?;
    let bare = state.strip_suffix(" LEFTOVER").unwrap_or(state);
    let known = ["CREATED", "RUNNING", "CANCELLED", "CRASHED", "REBOOTED", "UNKNOWN"].contains(&bare);
    let done = bare.strip_prefix("DONE ").and_then(number).is_some_and(|code| code < 256);
    let whole = is_token(token) && (known || done);
    whole.then(|| Run { token: token.into(), state: state.into(), ..Run::default() })
}

/// `text` without control characters, nor those that turn the direction of what follows; at most `most` characters.
pub(super) fn printable(text: &str, most: usize) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { '?' } else { c }).take(most).collect()
}

/// `text` without the sequences by which programs colour and rewrite what they print: ESC `[` ... a letter, and ESC `]`
/// ... BEL or ESC `\`.
pub(super) fn legible(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\u{1b}' {
            plain.push(c);
            continue;
        }
        match rest.clone().next() {
            Some('[') => {
                rest.by_ref().skip(1).find(|c| ('@'..='~').contains(c));
            }
            Some(']') => {
                rest.by_ref().find(|c| ['\u{7}', '\u{1b}'].contains(c));
            }
            _ => {}
        }
    }
    plain
}

/// A line of a program's output as a person saw it last on a terminal: what came after the last return to its begin,
/// in at most `most` characters.
pub(super) fn shown(line: &str, most: usize) -> String {
    let line = legible(line);
    let last = line.split('\r').rfind(|part| !part.trim().is_empty()).unwrap_or_default();
    printable(&last.trim().replace('\t', " "), most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_and_nothing_else() {
        for (text, want) in [("0", Some(0)), ("18446744073709551615", Some(u64::MAX)), ("007", Some(7))] {
            assert_eq!(number(text), want, "{text}");
        }
        for text in ["", "-1", "+1", "1 ", " 1", "1e3", "0x1", "18446744073709551616", "1_000", "\u{0661}"] {
            assert_eq!(number(text), None, "{text}");
        }
        for (text, want) in [("0.5", Some(0.5)), ("12", Some(12.0)), ("123456789.01", Some(123_456_789.01))] {
            assert_eq!(decimal(text), want, "{text}");
        }
        for text in ["", ".", ".5", "5.", "1.2.3", "-0.5", "+1.0", "nan", "inf", "1e9", "1,5", "12345678901234567"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn a_line_is_shown_as_a_terminal_showed_it_last() {
        for (line, want) in [
            ("", ""),
            ("  plain text ", "plain text"),
            ("\u{1b}[1;32mok\u{1b}[0m: \u{1b}[2Kdone", "ok: done"),
            ("\u{1b}]0;a title\u{7}said", "said"),
            ("10 %\r50 %\r99 %\r", "99 %"),
            ("a\tb\u{7}\u{1b}c", "a b?c"),
            ("left \u{202e}thgir", "left ?thgir"),
            ("\u{1b}[", ""),
            ("\u{1b}[31", ""),
            ("\u{1b}", ""),
            ("\u{fffd}\u{fffd}", "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(shown(line, 200), want, "{line:?}");
        }
        assert_eq!(shown(&"\u{e9}".repeat(300), 200).chars().count(), 200);
    }

    #[test]
    fn a_clock_without_a_fraction_stands_for_the_middle_of_its_second() {
        assert_eq!(seconds("1795355019.539461240"), Some(1_795_355_019.539_461));
        assert_eq!(seconds("1795355019.5"), Some(1_795_355_019.5));
        assert_eq!(seconds("1795355019"), Some(1_795_355_019.5));
        for text in ["", "17953.", ".5", "17.%N", "99999999999", "-1"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn df_columns_are_found_between_names_with_spaces() {
        let usage = |line| Usage::parse(line).map(|usage| (usage.device, usage.total, usage.free, usage.mount));
        assert_eq!(usage("/dev/vda 100 40 60 40% /"), Some(("/dev/vda", 100, 60, "/")));
        assert_eq!(usage("my 1 2 disk   100  40   60  40% /mnt/a b 7"), Some(("my 1 2 disk", 100, 60, "/mnt/a b 7")));
        assert_eq!(usage("dev 100 100 -5 106% /"), Some(("dev", 100, 0, "/")), "the part kept for root is in use");
        assert_eq!(usage("btrfs 0 0 0 - /"), Some(("btrfs", 0, 0, "/")));
        for line in [
            "",
            "100 40 60 40% /",
            "dev 100 40 60 40%",
            "dev 100 40 60 /",
            "dev 100 40 x 40% /",
            "dev 100 40 101 40% /",
            "dev 100 40 -60 40% /",
            "dev 1 2 1 4% /mnt 5 6 5 8% /x",
            "dev 100 40 60 40% relative",
        ] {
            assert_eq!(usage(line), None, "{line}");
        }
    }
}
