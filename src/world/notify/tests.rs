//! One suite on the receiver in memory and on a real one behind HTTP.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::base::limits::ALERT_ANSWER_BYTES_MAX;
use crate::world::tasks::{Spawn as _, Supervisor};

/// A way to send, to a receiver that does this with its next message.
struct Place {
    notify: Arc<dyn Notify>,
    url: String,
    /// The text of what it got, headers first.
    got: Box<dyn Fn() -> Vec<String>>,
    /// Held as long as the receiver is to live.
    _tasks: Supervisor,
}

fn in_memory(next: Scripted) -> Place {
    let fake = Arc::new(FakeNotify::scripted([next]));
    let got = {
        let fake = Arc::clone(&fake);
        let text = |message: Message| {
            let headers = message.headers.iter();
            let lines = headers.map(|(name, value)| format!("{name}: {}\r\n", value.expose()));
            lines.collect::<String>() + "\r\n" + &String::from_utf8_lossy(&message.body)
        };
        move || fake.got().into_iter().map(text).collect()
    };
    let url = "http://127.0.0.1/hook".to_owned();
    Place { notify: fake, url, got: Box::new(got), _tasks: Supervisor::new() }
}

async fn behind_http(next: Scripted) -> Place {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?a=b", listener.local_addr().unwrap());
    let got = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&got);
    let served = async move {
        let Scripted::Answers { status, text, after } = next else { return drop(listener) };
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !String::from_utf8_lossy(&request).contains("\r\n\r\n{\"a\":1}") {
            let mut piece = [0; 1024];
            let length = stream.read(&mut piece).await.unwrap();
            request.extend_from_slice(&piece[..length]);
        }
        heard.lock().unwrap().push(String::from_utf8(request).unwrap());
        tokio::time::sleep(after).await;
        let location = "location: http://127.0.0.1:1/\r\n";
        let length = text.len();
        let head = format!("HTTP/1.1 {status} X\r\n{location}content-length: {length}\r\n\r\n");
        // The client may have gone away, or have read enough.
        let _ = stream.write_all((head + &text).as_bytes()).await;
        let _ = stream.shutdown().await;
    };
    let tasks = Supervisor::new();
    let _served = tasks.spawn("receiver", served.boxed());
    let got = Box::new(move || got.lock().unwrap().clone());
    Place { notify: Arc::new(HttpNotify::default()), url, got, _tasks: tasks }
}

fn answers(status: u16, text: &str, after: Duration) -> Scripted {
    Scripted::Answers { status, text: text.to_owned(), after }
}

fn message(url: &str) -> Message {
    Message {
        url: Secret::new(url.to_owned()),
        headers: vec![("x-token".to_owned(), Secret::new("secret".to_owned()))],
        body: Bytes::from_static(b"{\"a\":1}"),
        timeout: Duration::from_millis(500),
    }
}

async fn check(next: Scripted, expect: Result<u16, (Option<u16>, &str)>) {
    for place in [in_memory(next.clone()), behind_http(next.clone()).await] {
        let answer = place.notify.send(message(&place.url)).await;
        match (&answer, expect) {
            (Ok(status), Ok(expect)) => assert_eq!(*status, expect),
            (Err(failure), Err((status, error))) => {
                assert_eq!(failure.http_status, status);
                assert!(failure.error.starts_with(error), "{failure:?}");
                assert!(failure.error.len() < ALERT_ANSWER_BYTES_MAX + 100);
                assert!(!failure.error.contains("/hook"), "{failure:?}");
            }
            _ => panic!("{next:?}: {answer:?}"),
        }
        if next != Scripted::IsAway {
            let got = (place.got)();
            assert_eq!(got.len(), 1, "sent once");
            assert!(got[0].contains("x-token: secret"), "{got:?}");
            assert!(got[0].ends_with("\r\n\r\n{\"a\":1}"), "{got:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_of_200_to_299_means_that_it_arrived() {
    check(answers(200, "thanks", Duration::ZERO), Ok(200)).await;
    check(answers(204, "", Duration::ZERO), Ok(204)).await;
}

#[tokio::test]
async fn any_other_answer_is_a_refusal_with_its_reason() {
    let refused = answers(403, "no such token", Duration::ZERO);
    check(refused, Err((Some(403), "it answered 403: no such token"))).await;
    check(answers(500, "", Duration::ZERO), Err((Some(500), "it answered 500"))).await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let redirect = "it answered 302; redirects are not followed";
    check(answers(302, "", Duration::ZERO), Err((Some(302), redirect))).await;
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let endless = "x".repeat(1 << 20);
    check(answers(500, &endless, Duration::ZERO), Err((Some(500), "it answered 500: xxx"))).await;
}

#[tokio::test]
async fn who_does_not_answer_in_time_has_not_got_it() {
    let slow = answers(200, "", Duration::from_secs(5));
    check(slow, Err((None, "it did not answer within 500ms"))).await;
}

#[tokio::test]
async fn who_is_not_there_is_said_to_be_away() {
    check(Scripted::IsAway, Err((None, "it cannot be reached: "))).await;
}
