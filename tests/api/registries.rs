//! Logging in to registries through the router: what is kept, what is refused, what is told.

use wharfinger::base::Secret;
use wharfinger::domain::registries::Credentials;

use super::*;

#[tokio::test]
async fn a_login_is_kept_when_the_registry_takes_it_and_its_password_never_comes_back() {
    let agent = Fixture::new().await;
    agent.engine.want_login(Credentials {
        registry: "registry.example.org".parse().unwrap(),
        username: "ci".to_owned(),
        password: Secret::new("SECRET-PASSWORD".to_owned()),
    });
    let path = "/v1/registries/registry.example.org";
    let put = async |path: &str, body: Value| agent.ask(Method::PUT, path, Some(body)).await;
    let (status, problem) = put(path, json!({"username": "ci", "password": "SECRET-WRONG"})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("registry_denied")));
    assert_eq!(agent.get("/v1/registries").await["items"], json!([]));
    let (status, made) = put(path, json!({"username": "ci", "password": "SECRET-PASSWORD"})).await;
    assert_eq!(status, 200, "{made}");
    let (status, _) = put(path, json!({"username": "", "password": "SECRET-PASSWORD"})).await;
    assert_eq!(status, 400);
    let (status, _) = put("/v1/registries/team", json!({"username": "a", "password": "b"})).await;
    assert_eq!(status, 400, "names of images could not say so");
    let away = put("/v1/registries/away.example.org", json!({"username": "a", "password": "b"}));
    assert_eq!(away.await.0, 502);
    let shown = [agent.get("/v1/registries").await, agent.get("/v1/audit").await, made, problem];
    assert_eq!(shown[0]["items"][0]["username"], "ci");
    assert!(shown.iter().all(|body| !body.to_string().contains("SECRET")), "{shown:?}");
    assert!(shown[1].to_string().contains("registry_login.refused"), "{}", shown[1]);
    assert_eq!(agent.ask(Method::DELETE, path, None).await.0, 204);
    assert_eq!(agent.ask(Method::DELETE, path, None).await.0, 404);
}
