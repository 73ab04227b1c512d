//! What the headers of an answer say: the next page, how many there are, and when to ask again.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;

/// How long a server is left alone that says no time.
const PAUSE: Duration = Duration::from_secs(60);

/// The longest time that a server is believed: a wrong `Retry-After` must not silence a forge for a year.
const LONGEST: Duration = Duration::from_secs(3600);

/// What the headers of a page say about the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct More {
    /// The number of the next page, from `Link`. Only the number is used: the address in it is the server's idea of its own
    /// name, and a token must not go wherever a header says.
    pub(super) next: Option<u32>,
    /// How many items there are on all pages, from `X-Total-Count`.
    pub(super) total: Option<u64>,
}

impl More {
    pub(super) fn read(headers: &HeaderMap) -> More {
        More { next: text(headers, "link").and_then(next), total: number(headers, "x-total-count") }
    }

    /// The page after `page`, of which `got` items were on it and `all` on all until now.
    pub(super) fn after(self, page: u32, got: usize, all: usize) -> Option<u32> {
        let counted = self.total.is_some_and(|total| (all as u64) < total) && got > 0;
        self.next.filter(|next| *next > page).or(counted.then_some(page + 1))
    }
}

/// The page number of `rel="next"` in a `Link` header.
fn next(link: &str) -> Option<u32> {
    // A comma may stand inside an address, but not `<` or `>`.
    link.split('<').filter_map(|part| part.split_once('>')).find_map(|(address, params)| {
        let params = params.to_ascii_lowercase().replace([' ', '"'], "");
        if !params.split([';', ',']).any(|param| param == "rel=next") {
            return None;
        }
        let (_, query) = address.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix("page="))?.parse().ok()
    })
}

/// For how long the server asks to be left alone, if it does: by `Retry-After`, or by a rate limit that is used up.
pub(super) fn pause(status: u16, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let after = text(headers, "retry-after").and_then(|after| match after.trim().parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = |text: &str| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok();
            // By the server's own clock, if it tells it.
            let from = text(headers, "date").and_then(date).unwrap_or(now);
            Some(Duration::try_from(date(after)?.duration_since(from)).unwrap_or_default())
        }
    });
    let used_up = ["x-ratelimit-remaining", "ratelimit-remaining"].iter().any(|name| number(headers, name) == Some(0));
    let reset = ["x-ratelimit-reset", "ratelimit-reset"].iter().find_map(|name| number(headers, name)).map(|reset| {
        // Some send the second of the epoch, some a number of seconds.
        let epoch = u64::try_from(now.as_second()).unwrap_or_default();
        Duration::from_secs(if reset > 1_000_000_000 { reset.saturating_sub(epoch) } else { reset })
    });
    let pause = match (status, after) {
        (429 | 403 | 503, Some(after)) => after,
        (429, None) => reset.unwrap_or(PAUSE),
        _ if used_up => reset.unwrap_or(PAUSE),
        _ => return None,
    };
    Some(pause.clamp(Duration::from_secs(1), LONGEST))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(all: &[(&str, &str)]) -> HeaderMap {
        let one = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn the_next_page_is_found_and_the_last_one_ends_it() {
        let first = "<http://x/api/v1/repos/a/b/issues?labels=a,b&page=2&state=open>; rel=\"next\",<http://x/?page=3>; rel=\"last\"";
        let more = More::read(&headers(&[("Link", first), ("X-Total-Count", "120")]));
        assert_eq!(more, More { next: Some(2), total: Some(120) });
        assert_eq!(more.after(1, 50, 50), Some(2));
        let last = More::read(&headers(&[("Link", "<http://x/?page=1>; rel=\"first\""), ("X-Total-Count", "120")]));
        assert_eq!(last.after(3, 20, 120), None);
        // Only a count, as labels and reviews have it; a page that is empty all the same ends it.
        let count = More { next: None, total: Some(60) };
        assert_eq!([count.after(1, 30, 30), count.after(2, 30, 60), count.after(2, 0, 30)], [Some(2), None, None]);
        // A server that always names the same page does not go on for ever.
        assert_eq!(More { next: Some(2), total: None }.after(2, 50, 100), None);
        assert_eq!(More::default().after(1, 50, 50), None);
    }

    #[test]
    fn each_way_of_asking_to_be_left_alone_is_understood() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let of = |status, all: &[(&str, &str)]| pause(status, &headers(all), now).map(|pause| pause.as_secs());
        assert_eq!(of(429, &[("Retry-After", "17")]), Some(17));
        assert_eq!(of(429, &[]), Some(60));
        assert_eq!(of(403, &[("Retry-After", "5")]), Some(5));
        assert_eq!(of(503, &[("Retry-After", "5")]), Some(5));
        assert_eq!(of(403, &[]), None);
        assert_eq!(of(200, &[("Retry-After", "5")]), None);
        assert_eq!(of(429, &[("Retry-After", "99999999")]), Some(3600));
        assert_eq!(of(429, &[("Retry-After", "0")]), Some(1));
        let date = [("Retry-After", "Wed, 21 Oct 2026 07:28:30 GMT"), ("Date", "Wed, 21 Oct 2026 07:28:00 GMT")];
        assert_eq!(of(429, &date), Some(30));
        assert_eq!(of(200, &[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1800000090")]), Some(90));
        assert_eq!(of(200, &[("RateLimit-Remaining", "0"), ("RateLimit-Reset", "40")]), Some(40));
        assert_eq!(of(200, &[("RateLimit-Remaining", "1"), ("RateLimit-Reset", "40")]), None);
    }
}
