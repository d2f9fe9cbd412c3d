//! Fetches a list of advisories from its address. Owns the one request: conditional, bounded, without a proxy
//! of the environment. Face: `get`. Never follows a redirect, and never speaks without TLS but to this host.

use std::error::Error;
use std::net::IpAddr;
use std::path::Path;

use bytes::Bytes;
use http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::AsyncWriteExt as _;

use super::{AdvisoryError, system};
use crate::base::limits::{ADVISORIES_DOWNLOAD_BYTES_MAX, ADVISORIES_DOWNLOAD_TIMEOUT};

/// Fetches it into a file, unless it is as `mark` says. Answers with its new mark.
pub(super) async fn get(
    url: &str,
    mark: Option<&str>,
    into: &Path,
    shown: &str,
) -> Result<Option<String>, AdvisoryError> {
    let away = |why: String| AdvisoryError::Away { what: shown.to_owned(), why };
    let uri: Uri = url.parse().map_err(|_| away("it is no address".to_owned()))?;
    let is_plain = uri.scheme_str() == Some("http");
    if uri.scheme_str() != Some("https") && !(is_plain && is_loopback(&uri)) {
        return Err(away("only `https://` is asked, so that nobody changes it on its way".into()));
    }
    #[expect(clippy::disallowed_methods, reason = "the disk is waited for on a thread")]
    let roots = tokio::task::spawn_blocking(|| HttpsConnectorBuilder::new().with_native_roots());
    let roots = roots.await.map_err(std::io::Error::other).flatten().map_err(|error| {
        let mend = "install the package `ca-certificates`";
        away(format!("this host trusts no certificate: {error}; {mend}"))
    });
    let connector = match (roots, is_plain) {
        (Ok(roots), _) => roots.https_or_http().enable_http1().build(),
        (Err(error), _) => return Err(error),
    };
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let mut request = Request::get(uri).header(USER_AGENT, "wharfinger");
    if let Some(mark) = mark {
        request = match mark.split_once(' ') {
            Some(("etag", value)) => request.header(IF_NONE_MATCH, value),
            Some(("date", value)) => request.header(IF_MODIFIED_SINCE, value),
            _ => request,
        };
    }
    let request = request.body(Empty::new()).map_err(|error| away(error.to_string()))?;
    let fetching = async {
        let answered = client.request(request).await.map_err(|error| away(chain(&error)))?;
        let mark = match answered.status() {
            StatusCode::NOT_MODIFIED if mark.is_some() => return Ok(None),
            StatusCode::OK => mark_of(answered.headers()),
            status if status.is_redirection() => {
                let place = answered.headers().get(http::header::LOCATION);
                let place = place.and_then(|it| it.to_str().ok()).unwrap_or("another place");
                let place: String = place.split('?').next().unwrap_or_default().into();
                return Err(away(format!("it has moved to {place}; configure that address")));
            }
            status => return Err(away(format!("it is answered with status {status}"))),
        };
        let file = tokio::fs::File::create(into).await;
        let mut file = file.map_err(system("create", into))?;
        let mut left = ADVISORIES_DOWNLOAD_BYTES_MAX;
        let mut body = answered.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| away(chain(&error)))?;
            let Ok(part) = frame.into_data() else { continue };
            left = left.checked_sub(part.len() as u64).ok_or_else(|| {
                away(format!("it has more than {} MiB", ADVISORIES_DOWNLOAD_BYTES_MAX >> 20))
            })?;
            file.write_all(&part).await.map_err(system("write", into))?;
        }
        // What was written last is still under way, and may fail yet.
        file.flush().await.map_err(system("write", into))?;
        Ok(Some(mark))
    };
    match tokio::time::timeout(ADVISORIES_DOWNLOAD_TIMEOUT, fetching).await {
        Ok(done) => done,
        Err(_) => Err(away("it took too long".to_owned())),
    }
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn mark_of(headers: &HeaderMap) -> String {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let text = |name| text(name).filter(|value: &&str| value.len() < 500);
    match (text(ETAG), text(LAST_MODIFIED)) {
        (Some(tag), _) => format!("etag {tag}"),
        (None, Some(date)) => format!("date {date}"),
        (None, None) => String::new(),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
