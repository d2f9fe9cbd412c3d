use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

use super::*;

fn advisory(id: &str, package: &str) -> String {
    format!(
        r#"{{"id": "{id}", "modified": "2024-01-02T00:00:00Z", "affected": [{{"package":
            {{"ecosystem": "PyPI", "name": "{package}"}}, "versions": ["1"]}}]}}"#
    )
    .replace('\n', " ")
}

fn now() -> Timestamp {
    "2024-06-01T00:00:00Z".parse().unwrap()
}

async fn found(advisories: &Arc<Advisories>, package: &str) -> Vec<String> {
    let keys = [format!("PyPI/{package}"), "PyPI/none".to_owned()].into();
    let (_, entries) = advisories.entries(keys).await.unwrap();
    entries.into_values().flatten().map(|entry| entry.id).collect()
}

/// A zip archive with one compressed and one stored member.
fn zipped(members: &[(&str, &str)]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (number, (name, text)) in members.iter().enumerate() {
        let at = bytes.len() as u32;
        let (method, packed) = if number % 2 == 0 {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            (8_u16, encoder.finish().unwrap())
        } else {
            (0, text.as_bytes().to_vec())
        };
        let sizes =
            [(packed.len() as u32).to_le_bytes(), (text.len() as u32).to_le_bytes()].concat();
        let name_bytes = (name.len() as u16).to_le_bytes();
        bytes.extend(b"PK\x03\x04\x14\0\0\0");
        bytes.extend(method.to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(&sizes);
        bytes.extend(name_bytes);
        bytes.extend([0, 0]);
        bytes.extend(name.as_bytes());
        bytes.extend(&packed);
        directory.extend(b"PK\x01\x02\x14\0\x14\0\0\0");
        directory.extend(method.to_le_bytes());
        directory.extend([0; 8]);
        directory.extend(&sizes);
        directory.extend(name_bytes);
        directory.extend([0; 12]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let at = bytes.len() as u32;
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend((members.len() as u16).to_le_bytes());
    bytes.extend((members.len() as u16).to_le_bytes());
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(at.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn tarred(members: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, text) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&archive.into_inner().unwrap()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn every_form_of_a_list_is_read() {
    let (one, two) = (advisory("A-1", "one"), advisory("A-2", "two"));
    let (one, two) = (one.as_str(), two.as_str());
    let forms: [(&str, Vec<u8>); 6] = [
        ("list.json", format!("[{one},\n{two}]").into_bytes()),
        ("lines.jsonl", format!("{one}\n\n{two}\n").into_bytes()),
        ("one-line-list.json", format!("[{one}, {two}]").into_bytes()),
        ("all.zip", zipped(&[("A-1.json", one), ("A-2.json", two)])),
        ("all.tar.gz", tarred(&[("x/A-1.json", one), ("x/README", "no"), ("x/A-2.json", two)])),
        (
            "pretty.json",
            serde_json::to_vec_pretty(&serde_json::json!([
                serde_json::from_str::<serde_json::Value>(one).unwrap(),
                serde_json::from_str::<serde_json::Value>(two).unwrap(),
            ]))
            .unwrap(),
        ),
    ];
    for (name, content) in forms {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        let advisories = Advisories::below(&dir.path().join("state"), Some(Source::Path(path)));
        let Updated::Replaced(head) = advisories.update(now()).await.unwrap() else {
            panic!("{name} is new");
        };
        assert_eq!((head.advisories, head.entries, head.not_read), (2, 2, 0), "{name}");
        assert_eq!(found(&advisories, "one").await, ["A-1"], "{name}");
        assert_eq!(found(&advisories, "two").await, ["A-2"], "{name}");
    }
}

#[tokio::test]
async fn a_folder_is_read_again_only_when_it_changed_and_a_broken_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("osv/inner");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("A-1.json"), advisory("A-1", "one")).unwrap();
    fs::write(folder.join("notes.txt"), "not read").unwrap();
    let source = Source::Path(dir.path().join("osv"));
    let advisories = Advisories::below(&dir.path().join("state"), Some(source.clone()));
    assert!(matches!(advisories.entries(BTreeSet::new()).await, Err(AdvisoryError::None)));
    let first = advisories.update(now()).await.unwrap();
    assert!(matches!(first, Updated::Replaced(_)));
    let later: Timestamp = "2024-06-02T00:00:00Z".parse().unwrap();
    let Updated::Unchanged(head) = advisories.update(later).await.unwrap() else {
        panic!("it is as before");
    };
    assert_eq!((head.checked_at, head.compiled_at), (later, now()));
    assert_eq!(advisories.head().unwrap(), Some(head.clone()));
    for broken in ["{", "[]", r#"{"no": "id"}"#, ""] {
        fs::write(folder.join("A-1.json"), broken).unwrap();
        let error = advisories.update(later).await.unwrap_err();
        assert!(matches!(error, AdvisoryError::Broken { .. }), "{broken}: {error}");
        assert_eq!(found(&advisories, "one").await, ["A-1"], "the last good list stays");
    }
    fs::write(folder.join("A-1.json"), advisory("A-9", "one")).unwrap();
    let Updated::Replaced(next) = advisories.update(later).await.unwrap() else { panic!("new") };
    assert_ne!(next.digest, head.digest);
    assert_eq!(found(&advisories, "one").await, ["A-9"]);
    let again = Advisories::below(&dir.path().join("state"), None);
    assert_eq!(found(&again, "one").await, ["A-9"], "after a restart");
    assert!(matches!(again.update(later).await, Err(AdvisoryError::NoSource)));
}

#[tokio::test]
async fn archives_that_are_cut_off_are_broken() {
    let text = advisory("A-1", "one");
    let members = [("A-1.json", text.as_str()), ("A-2.json", text.as_str())];
    for (name, content) in [("a.zip", zipped(&members)), ("a.tgz", tarred(&members))] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, &content[..content.len() - 40]).unwrap();
        let advisories = Advisories::below(dir.path(), Some(Source::Path(path)));
        assert!(advisories.update(now()).await.is_err(), "{name}");
        assert_eq!(advisories.head().unwrap(), None);
    }
}

#[test]
fn an_address_is_shown_without_what_it_may_hide() {
    let shown =
        Source::Url("https://user:secret@osv.example.org/all.zip?token=x#y".to_owned()).shown();
    assert_eq!(shown, "https://osv.example.org/all.zip");
}

/// A server that answers each request with the next of these.
async fn serve(answers: Vec<String>) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    #[expect(clippy::disallowed_methods, reason = "the server ends with its test")]
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let size = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..size]).to_lowercase();
            let is_known = request.contains("if-none-match: \"one\"");
            let answer = if is_known && answer.contains("\"one\"") {
                "HTTP/1.1 304 Not Modified\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".into()
            } else {
                answer
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    format!("http://{address}/all.json")
}

fn answer(status: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn an_address_is_asked_on_condition_and_a_failure_changes_nothing() {
    let list = format!("[{}]", advisory("A-1", "one"));
    let url = serve(vec![
        answer("200 OK", "etag: \"one\"\r\n", &list),
        answer("200 OK", "etag: \"one\"\r\n", &list),
        answer("500 No", "", ""),
        answer("302 Found", "location: https://elsewhere.example.org/x?secret\r\n", ""),
        answer("200 OK", "etag: \"two\"\r\n", "<html>"),
    ])
    .await;
    let dir = tempfile::tempdir().unwrap();
    let advisories = Advisories::below(dir.path(), Some(Source::Url(url)));
    assert!(matches!(advisories.update(now()).await.unwrap(), Updated::Replaced(_)));
    assert!(matches!(advisories.update(now()).await.unwrap(), Updated::Unchanged(_)));
    for word in ["status 500", "moved to https://elsewhere.example.org/x;", "no list"] {
        let error = advisories.update(now()).await.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        assert_eq!(found(&advisories, "one").await, ["A-1"]);
    }
    let plain = Source::Url("http://osv.example.org/all.zip".to_owned());
    let plain = Advisories::below(dir.path(), Some(plain));
    let error = plain.update(now()).await.unwrap_err().to_string();
    assert!(error.contains("only `https://`"), "{error}");
}
