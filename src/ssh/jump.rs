//! `ProxyJump`: the hosts to go through.

use super::config::Wanted;
use super::target::Target;
use crate::error::{Error, Result};
use crate::exit::Exit;

/// The most hops to a host. Each costs the round trips of a connection of its own.
pub(crate) const MAX_HOPS: usize = 8;

/// The hops in the value of `ProxyJump` of `target`, the first first: `[user@]host[:port]` or `ssh://...`, with commas
/// between. Each is then asked about by `ssh -G`, as a name that ssh_config may know.
///
/// # Errors
/// A hop without a name, or with a port that is none.
pub(crate) fn hops(target: &Target) -> Result<Vec<Wanted>> {
    let Some(value) = &target.proxy_jump else { return Ok(Vec::new()) };
    value.split(',').map(|text| hop(text.trim()).ok_or_else(|| wrong(target, text))).collect()
}

fn hop(text: &str) -> Option<Wanted> {
    let text = text.strip_prefix("ssh://").map_or(text, |rest| rest.trim_end_matches('/'));
    // A user's name may hold an `@`, a host's name may not.
    let (user, rest) = text.rsplit_once('@').map_or((None, text), |(user, rest)| (Some(user), rest));
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match rest.split_once(':') {
            // More than one colon without brackets is an IPv6 address.
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (rest, None),
        },
    };
    let port = match port {
        None => None,
        Some(port) => Some(port.parse::<u16>().ok().filter(|port| *port > 0)?),
    };
    if host.is_empty() || user == Some("") {
        return None;
    }
    Some(Wanted { user: user.map(str::to_owned), port, ..Wanted::named(host) })
}

fn wrong(target: &Target, text: &str) -> Error {
    Error::new(Exit::Unreachable, format!("host `{}`: its `ProxyJump` holds `{text}`, which is no host", target.name))
        .help("write it as [user@]host[:port] in ~/.ssh/config, several with commas between")
}

/// The error for jump hosts that lead in a circle, or on without end.
pub(crate) fn circle(route: &[Wanted]) -> Error {
    let names: Vec<&str> = route.iter().map(|wanted| wanted.name.as_str()).collect();
    Error::new(
        Exit::Unreachable,
        format!("the `ProxyJump`s lead in a circle, or over more than {MAX_HOPS} hosts: {}", names.join(" <- ")),
    )
    .help("end it by `ProxyJump none` for the first jump host in ~/.ssh/config")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Hop = (Option<String>, String, Option<u16>);

    fn parsed(value: &str) -> Option<Vec<Hop>> {
        let target = Target { proxy_jump: Some(value.to_owned()), ..Target::bare("web-1", "h", 22) };
        hops(&target).ok().map(|hops| hops.into_iter().map(|hop| (hop.user, hop.name, hop.port)).collect())
    }

    #[test]
    fn each_form_of_a_hop_is_read() {
        let hop = |user: Option<&str>, name: &str, port| (user.map(str::to_owned), name.to_owned(), port);
        assert_eq!(parsed("bastion"), Some(vec![hop(None, "bastion", None)]));
        assert_eq!(
            parsed("a@b@outer:2222, [fe80::1]:22,::1,ssh://u@inner:23/"),
            Some(vec![
                hop(Some("a@b"), "outer", Some(2222)),
                hop(None, "fe80::1", Some(22)),
                hop(None, "::1", None),
                hop(Some("u"), "inner", Some(23)),
            ])
        );
        for bad in ["", "a,,b", "@host", "host:0", "host:x", "[::1", "[::1]22", "host:99999"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn nobody_jumps_where_nothing_is_said() {
        assert!(hops(&Target::bare("web-1", "h", 22)).unwrap().is_empty());
    }
}
