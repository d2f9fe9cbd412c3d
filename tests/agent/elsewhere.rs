//! The command line and an agent that it reaches through TLS: tokens, certificates, who is trusted, and
//! certificates that are renewed.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use super::*;

/// Writes a certificate for `name`, signed by a new CA: `NAME.pem`, `NAME.key`, `NAME.both`, `NAME.ca`.
fn certify(dir: &Path, name: &str, subject: &str) {
    let ca_key = KeyPair::generate().unwrap();
    let mut of = CertificateParams::new(Vec::new()).unwrap();
    of.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = of.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let of = CertificateParams::new(vec![subject.to_owned()]).unwrap();
    let certificate = of.signed_by(&key, &ca, &ca_key).unwrap().pem();
    let write = |kind: &str, text: &str| {
        let path = dir.join(format!("{name}.{kind}"));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("ca", &ca.pem());
    write("key", &key.serialize_pem());
    write("both", &format!("{certificate}{}", key.serialize_pem()));
    write("pem", &certificate);
}

/// The command line on another host.
struct There<'a> {
    agent: &'a Agent,
    dir: &'a Path,
    host: String,
}

impl There<'_> {
    fn wharf(&self, ca: &str, token: Option<&str>, args: &[&str]) -> (Option<i32>, String) {
        let mut command = self.agent.command(args);
        command.env_remove("WHARF_SOCKET").env("WHARF_HOST", &self.host);
        command.env("WHARF_CA", self.dir.join(ca));
        if let Some(token) = token {
            command.env("WHARF_TOKEN", token);
        }
        let output = command.output().unwrap();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }
}

#[test]
fn the_command_line_reaches_an_agent_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    certify(dir, "agent", "localhost");
    certify(dir, "client", "ci.example.org");
    let path = |name: &str| dir.join(name).display().to_string();
    let agent = Agent::start(&format!(
        "listen: {{tcp: {{address: '127.0.0.1:0', certificate: {}, key: {}, client_ca: {}}}}}\n",
        path("agent.pem"),
        path("agent.key"),
        path("client.ca")
    ));
    let log = agent.log();
    let port: String = log
        .split_once("address=127.0.0.1:")
        .map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect())
        .unwrap_or_else(|| panic!("no port: {log}"));
    let there = There { agent: &agent, dir, host: format!("https://localhost:{port}") };
    let here = |args: &[&str]| {
        let output = agent.wharf(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    here(&["access", "add-user", "ci", "--no-uid", "--role", "viewer"]);
    let token = here(&["access", "token", "create", "a test", "--user", "ci"]).trim().to_owned();
    let whoami = ["access", "whoami"];
    let (code, said) = there.wharf("agent.ca", Some(&token), &whoami);
    assert!(code == Some(0) && said.starts_with("ci, by token"), "{said}");
    let (code, said) = there.wharf("agent.ca", Some(&token), &["run", "ls"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = there.wharf("agent.ca", Some(&token), &["access", "tokens"]);
    assert_eq!(code, Some(64), "no such verb: {said}");
    let (code, said) = there.wharf("agent.ca", Some(&token), &["access", "token", "ls"]);
    assert!(code == Some(77) && said.contains("access.view"), "{said}");
    let (code, said) = there.wharf("agent.ca", None, &whoami);
    assert!(code == Some(77) && said.contains("token"), "{said}");
    let (code, said) = there.wharf("client.ca", Some(&token), &whoami);
    assert!(code == Some(69) && said.contains("certificate"), "who is not trusted: {said}");
    let listed = agent.json(&["access", "token", "ls"]);
    let id = listed["items"][0]["id"].as_str().unwrap();
    assert!(!listed.to_string().contains(&token), "a token is shown once");
    here(&["access", "token", "revoke", id]);
    assert_eq!(there.wharf("agent.ca", Some(&token), &whoami).0, Some(77));

    let certificate = path("client.both");
    let with_certificate = ["access", "whoami", "--certificate", &certificate];
    assert_eq!(there.wharf("agent.ca", None, &with_certificate).0, Some(77));
    here(&["access", "certificate", "add", "ci", &path("client.pem")]);
    let (code, said) = there.wharf("agent.ca", None, &with_certificate);
    assert!(code == Some(0) && said.starts_with("ci, by certificate"), "{said}");

    // Renewed under the same name, by somebody else.
    let old = std::fs::read(dir.join("agent.ca")).unwrap();
    std::fs::write(dir.join("old.ca"), old).unwrap();
    certify(dir, "agent", "localhost");
    assert_eq!(there.wharf("old.ca", None, &with_certificate).0, Some(0));
    agent.signal("HUP");
    wait_until("the new certificate is used", || {
        there.wharf("agent.ca", None, &with_certificate).0 == Some(0)
    });
    assert_eq!(there.wharf("old.ca", None, &with_certificate).0, Some(69));
}

#[test]
fn the_command_line_breaks_the_glass_and_mends_it() {
    let agent = Agent::start("");
    let start = ["access", "break-glass", "start", "--reason", "incident", "--text"];
    let refused = agent.wharf(&[&start[..], &[" "]].concat());
    assert_eq!(refused.status.code(), Some(64), "{}", text(&refused.stderr));
    let broken = agent.wharf(&[&start[..], &["it burns", "--minutes", "5"]].concat());
    assert!(broken.status.success(), "{}", text(&broken.stderr));
    let listed = agent.json(&["access", "break-glass", "ls"]);
    assert_eq!(listed["items"][0]["holds"], true, "{listed}");
    assert_eq!(listed["items"][0]["reason"]["reason_text"], "it burns");
    assert!(agent.wharf(&["access", "break-glass", "end"]).status.success());
    let listed = agent.json(&["access", "break-glass", "ls"]);
    assert_eq!(listed["items"][0]["holds"], false, "{listed}");
    let again = agent.wharf(&["access", "break-glass", "end"]);
    assert_eq!(again.status.code(), Some(66), "{}", text(&again.stderr));
}

#[test]
fn files_that_cannot_be_used_are_said_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    certify(dir.path(), "agent", "localhost");
    let key = dir.path().join("agent.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut agent = Agent { dir: tempfile::tempdir().unwrap(), child: None };
    agent.configure(&format!(
        "listen: {{tcp: {{address: '127.0.0.1:0', certificate: {}, key: {}}}}}\n",
        dir.path().join("agent.pem").display(),
        key.display()
    ));
    agent.spawn(|_| {});
    let ended = agent.child.take().unwrap().wait().unwrap();
    assert_eq!(ended.code(), Some(78), "{}", agent.log());
    assert!(agent.log().contains("chmod 0640"), "{}", agent.log());
    agent.configure("listen: {tcp: {address: '0.0.0.0:8443', plain: true}}\n");
    agent.spawn(|_| {});
    let ended = agent.child.take().unwrap().wait().unwrap();
    assert_eq!(ended.code(), Some(78), "{}", agent.log());
    assert!(agent.log().contains("loopback"), "{}", agent.log());
}
