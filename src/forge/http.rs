//! Calls to one host over HTTP: bounded in time, size and number, with nothing of a token in any text.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LOCATION};
use reqwest::{Method, Response, StatusCode};
use serde::de::DeserializeOwned;

use super::failure::{Failure, Outage, Why};
use super::host::{Host, origin};
use super::paging::{More, pause};
use super::token::Token;

/// How many items a page is asked for: both servers give at most 50 unless they are told otherwise.
pub(super) const PAGE: usize = 50;

/// The longest message of a server that is kept, in characters.
const SAID: usize = 300;

/// What is in Forgejo's own page for an internal error.
const BROKEN: &[u8] = b"status-page-500";

/// How often a list is read whose length changes meanwhile.
const READS: usize = 3;

/// How many answers with an `ETag` are kept for each token.
const KEPT: usize = 256;

/// What is called.
#[derive(Clone, Debug)]
pub(super) struct Call<'a> {
    method: Method,
    path: Vec<&'a str>,
    query: Vec<(&'a str, String)>,
    body: Option<serde_json::Value>,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, path: impl IntoIterator<Item = &'a str>) -> Call<'a> {
        Call { method, path: path.into_iter().collect(), query: Vec::new(), body: None }
    }

    pub(super) fn get(path: impl IntoIterator<Item = &'a str>) -> Call<'a> {
        Call::new(Method::GET, path)
    }

    pub(super) fn query(mut self, key: &'a str, value: impl Into<String>) -> Call<'a> {
        self.query.push((key, value.into()));
        self
    }

    pub(super) fn body(mut self, body: serde_json::Value) -> Call<'a> {
        self.body = Some(body);
        self
    }
}

/// How the end of a list is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pages {
    /// By `Link` and `X-Total-Count`; a list without both is whole (Forgejo).
    Headers,
    /// By a page that is not full (Woodpecker, which always gives 50).
    Full,
    /// By the document, so that the caller says how far to read; and by a page with nothing on it (Forgejo's Actions).
    Told,
}

/// Calls to a host with one token.
pub struct Client {
    host: Arc<Host>,
    token: Option<Token>,
    /// Answers that had an `ETag`, by their address.
    kept: Mutex<BTreeMap<String, (HeaderValue, Reply)>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("host", &self.host.shown).field("token", &self.token.is_some()).finish()
    }
}

/// A good answer.
#[derive(Clone, Debug)]
struct Reply {
    body: Arc<[u8]>,
    more: More,
}

impl Client {
    pub(super) fn new(host: Arc<Host>, token: Option<Token>) -> Client {
        Client { host, token, kept: Mutex::new(BTreeMap::new()) }
    }

    /// The host that it calls.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// One call whose answer is a document.
    pub(super) async fn one<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T, Failure> {
        let url = self.url(call)?;
        let reply = self.reply(call, url.clone()).await?;
        self.read(call, &url, &reply)
    }

    /// One call whose answer says nothing that is used.
    pub(super) async fn done(&self, call: &Call<'_>) -> Result<(), Failure> {
        let url = self.url(call)?;
        self.reply(call, url).await.map(drop)
    }

    /// All pages of a list; `items` takes those of one page out of its document, and says with false that no more are
    /// wanted. What leaves a list moves the rest over the edge of a page that was read: so where the length of one that tells
    /// it is another one on a later page, it is read again.
    pub(super) async fn all<D: DeserializeOwned, T>(
        &self,
        call: &Call<'_>,
        pages: Pages,
        mut items: impl FnMut(D) -> (Vec<T>, bool),
    ) -> Result<Vec<T>, Failure> {
        for _ in 0..READS {
            if let Some(all) = self.once(call, pages, &mut items).await? {
                return Ok(all);
            }
            // What was kept may be of before.
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        Err(self.told(call, &format!("a list whose length changed while it was read, {READS} times")))
    }

    /// All pages of a list, each read once; none where its length has changed meanwhile.
    async fn once<D: DeserializeOwned, T>(
        &self,
        call: &Call<'_>,
        pages: Pages,
        items: &mut impl FnMut(D) -> (Vec<T>, bool),
    ) -> Result<Option<Vec<T>>, Failure> {
        let per = if pages == Pages::Full { "perPage" } else { "limit" };
        let mut all = Vec::new();
        let (mut page, mut total) = (1, None);
        for _ in 0..self.host.limits.pages.max(1) {
            let call = call.clone().query("page", page.to_string()).query(per, PAGE.to_string());
            let url = self.url(&call)?;
            let reply = self.reply(&call, url.clone()).await?;
            if let (Pages::Headers, Some(told)) = (pages, reply.more.total)
                && *total.get_or_insert(told) != told
            {
                return Ok(None);
            }
            let (got, wanted) = items(self.read(&call, &url, &reply)?);
            let count = got.len();
            all.extend(got);
            let next = match pages {
                Pages::Headers => reply.more.after(page, count, all.len()),
                Pages::Full => (count >= PAGE).then_some(page + 1),
                Pages::Told => (count > 0).then_some(page + 1),
            };
            match next.filter(|_| wanted) {
                Some(next) => page = next,
                None => return Ok(Some(all)),
            }
        }
        let url = self.url(call)?;
        let why = format!("a list of more than {} pages", self.host.limits.pages);
        Err(self.failure(call, &url, Why::Garbled { why }))
    }

    /// A good answer to this call that cannot be true.
    pub(super) fn told(&self, call: &Call<'_>, why: &str) -> Failure {
        let url = self.url(call).unwrap_or_else(|_| self.host.base.clone());
        self.failure(call, &url, Why::Garbled { why: why.to_owned() })
    }

    /// What this call asks for is not there, though it was answered.
    pub(super) fn absent(&self, call: &Call<'_>, said: &str) -> Failure {
        let url = self.url(call).unwrap_or_else(|_| self.host.base.clone());
        self.failure(call, &url, Why::NotFound { said: said.to_owned() })
    }

    fn url(&self, call: &Call<'_>) -> Result<reqwest::Url, Failure> {
        let mut url = self.host.base.clone();
        // A segment of dots would be another path.
        let plain = call.path.iter().all(|part| !matches!(*part, "" | "." | ".."));
        let pushed = url.path_segments_mut().map(|mut path| {
            path.pop_if_empty().extend(&call.path);
        });
        if !plain || pushed.is_err() {
            let why = Why::Invalid { status: 400, said: "not a name that an address can hold".to_owned() };
            return Err(self.failure(call, &self.host.base, why));
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query.iter().map(|(key, value)| (*key, value.as_str())));
        }
        Ok(url)
    }

    /// A failure with the place where it was: what an inventory has in the address is left out of it.
    fn failure(&self, call: &Call<'_>, url: &reqwest::Url, why: Why) -> Failure {
        Failure { at: self.place(call, url), why }
    }

    /// What is called, without what an inventory has in the address, and without query and headers.
    fn place(&self, call: &Call<'_>, url: &reqwest::Url) -> String {
        let own = self.host.base.path().trim_end_matches('/');
        let path = url.path().strip_prefix(own).unwrap_or_default();
        format!("{} {}{path}", call.method, self.host.shown)
    }

    fn read<T: DeserializeOwned>(&self, call: &Call<'_>, url: &reqwest::Url, reply: &Reply) -> Result<T, Failure> {
        serde_json::from_slice(&reply.body).map_err(|error| {
            let why = self.said(&format!("not what its version says: {error}"));
            self.failure(call, url, Why::Garbled { why })
        })
    }

    async fn reply(&self, call: &Call<'_>, url: reqwest::Url) -> Result<Reply, Failure> {
        let begun = Instant::now();
        let place = url.clone();
        let reply = self.asked(call, url).await.map_err(|why| self.failure(call, &place, why));
        let took = begun.elapsed().as_millis();
        match &reply {
            Ok(_) => tracing::debug!(what = self.place(call, &place), took, "called"),
            Err(failure) => tracing::debug!(%failure, took, "call failed"),
        }
        reply
    }

    async fn asked(&self, call: &Call<'_>, url: reqwest::Url) -> Result<Reply, Why> {
        let limits = &self.host.limits;
        let _permit = tokio::time::timeout(limits.patience, self.host.permits.acquire())
            .await
            .map_err(|_| Why::Down { why: Outage::Queued })?;
        self.host.admitted().await?;
        let late = || Why::Down { why: Outage::TimedOut(u64::try_from(limits.whole.as_millis()).unwrap_or(u64::MAX)) };
        // The client has the same time-out; this one holds whatever it does.
        tokio::time::timeout(limits.whole + Duration::from_secs(1), self.sent(call, url)).await.map_err(|_| late())?
    }

    async fn sent(&self, call: &Call<'_>, url: reqwest::Url) -> Result<Reply, Why> {
        let key = url.to_string();
        let known = (call.method == Method::GET)
            .then(|| self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned())
            .flatten();
        let secure = url.scheme() == "https";
        let mut request = self.host.client.request(call.method.clone(), url).header(ACCEPT, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.header());
        }
        if let Some((tag, _)) = &known {
            request = request.header(IF_NONE_MATCH, tag);
        }
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let outage = |error: reqwest::Error| Why::Down { why: self.outage(error, secure) };
        let response = request.send().await.map_err(outage)?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status == StatusCode::NOT_MODIFIED
            && let Some((_, reply)) = known
        {
            return Ok(reply);
        }
        if status.is_redirection() {
            return Err(Why::Down { why: self.sent_on(&headers) });
        }
        let body = self.body(response, secure).await;
        if !status.is_success() {
            // The status tells enough where the body does not come.
            return Err(self.refused(status, &headers, &body.unwrap_or_default()));
        }
        if let Some(pause) = pause(status.as_u16(), &headers, Timestamp::now()) {
            self.host.shut(pause, "its rate limit is used up");
        }
        let body = body?;
        check_json(&headers, &body)?;
        let reply = Reply { body: body.into(), more: More::read(&headers) };
        if let Some(tag) = headers.get(ETAG).filter(|_| call.method == Method::GET) {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= KEPT {
                kept.clear();
            }
            kept.insert(key, (tag.clone(), reply.clone()));
        }
        Ok(reply)
    }

    /// The body, as far as it may be long.
    async fn body(&self, mut response: Response, secure: bool) -> Result<Vec<u8>, Why> {
        let most = self.host.limits.body;
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > most => {
                    return Err(Why::Garbled { why: format!("longer than {} KiB", most >> 10) });
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(body),
                Err(error) => return Err(Why::Down { why: self.outage(error, secure) }),
            }
        }
    }

    /// What an answer that is no success means.
    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Why {
        let html = is_html(headers, body);
        let said = if html { "an HTML page".to_owned() } else { self.said(&message(body)) };
        let status = status.as_u16();
        if let Some(pause) = pause(status, headers, Timestamp::now()) {
            let until = self.host.shut(pause, if said.is_empty() { "it asked for that" } else { &said });
            return Why::Busy { until, said };
        }
        match status {
            // Up to version 11 Forgejo breaks over labels that the account may not set, and answers 403 with its own page.
            403 if html && body.windows(BROKEN.len()).any(|part| part == BROKEN) => {
                Why::Refused { status, said: "Forgejo's page for an internal error".to_owned() }
            }
            // Else the API never says no with a page: a proxy did, so it is not known what the API would say.
            ..500 if html => Why::Garbled { why: format!("an HTML page with status {status}, which is not the API's") },
            404 | 410 => Why::NotFound { said },
            401 | 403 => Why::Refused { status, said },
            405 => Why::Blocked { said },
            409 => Why::Conflict { said },
            500.. => Why::Down { why: Outage::Status(status, said) },
            _ => Why::Invalid { status, said },
        }
    }

    /// A text from elsewhere as it may be shown: short, on one line, without control characters and without the token.
    fn said(&self, text: &str) -> String {
        let text = self.token.as_ref().map_or_else(|| text.to_owned(), |token| token.masked(text));
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(SAID) {
            Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
            None => line,
        }
    }

    /// Where a redirect leads: by scheme and host, or to another name of a repo.
    fn sent_on(&self, headers: &HeaderMap) -> Outage {
        let base = &self.host.base;
        let to = headers.get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| base.join(to).ok());
        let named = |to: &reqwest::Url| {
            let (_, path) = to.path().split_once("/api/v1/repos/")?;
            let mut parts = path.split('/').filter(|part| !part.is_empty());
            Some(format!("{}/{}", parts.next()?, parts.next()?))
        };
        match to {
            Some(to) if to.origin() == base.origin() => match named(&to) {
                Some(name) => Outage::Renamed(self.said(&name)),
                None => Outage::SentOn("another page of its own".to_owned()),
            },
            Some(to) if to.has_host() => Outage::SentOn(origin(&to)),
            _ => Outage::SentOn("nowhere".to_owned()),
        }
    }

    fn outage(&self, error: reqwest::Error, secure: bool) -> Outage {
        let error = error.without_url();
        let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        let causes: Vec<&(dyn std::error::Error + 'static)> = causes.collect();
        let last = self.said(&causes.last().map_or_else(|| error.to_string(), ToString::to_string));
        let by_system = causes.iter().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
        let by_system = by_system.filter(|cause| cause.raw_os_error().is_some()).count() > 0;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        match () {
            () if error.is_timeout() && error.is_connect() => Outage::TimedOut(millis(self.host.limits.connect)),
            () if error.is_timeout() => Outage::TimedOut(millis(self.host.limits.whole)),
            () if error.is_connect() && error.is_dns() => Outage::Name,
            () if error.is_connect() && secure && !by_system => Outage::Tls(last),
            () if error.is_connect() => Outage::Connect(last),
            () => Outage::Cut(last),
        }
    }
}

fn is_html(headers: &HeaderMap, body: &[u8]) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.to_ascii_lowercase().starts_with("text/html") || body.trim_ascii_start().starts_with(b"<")
}

/// Whether a good answer is JSON, or nothing at all, as after a merge.
fn check_json(headers: &HeaderMap, body: &[u8]) -> Result<(), Why> {
    if body.trim_ascii().is_empty() {
        return Ok(());
    }
    if is_html(headers, body) {
        let why = "an HTML page where JSON was asked for: maintenance, a login page, or not the API".to_owned();
        return Err(Why::Garbled { why });
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    if kind.is_empty() || kind.contains("json") {
        return Ok(());
    }
    Err(Why::Garbled { why: "neither JSON nor an HTML page".to_owned() })
}

/// The message of an answer that is no success: Forgejo's `message` and `errors`, or plain text as Woodpecker sends it.
fn message(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Said {
        #[serde(default)]
        message: String,
        #[serde(default)]
        errors: Option<Vec<String>>,
    }
    match serde_json::from_slice::<Said>(body) {
        Ok(said) => {
            let errors = said.errors.unwrap_or_default();
            std::iter::once(said.message).chain(errors).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
        }
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}
