//! The model as YAML: the very text that Docker Compose prints, and a compose file again whatever
//! the texts in it are.

use super::*;

const FILE: &str = r#"
services:
  web:
    volumes: ["data:/data:ro", "./x:/x"]
    image: nginx:1
    command: ["sh", "-c", "echo hi\necho two"]
    environment: {ANSWER: "yes", PORT: "80", EMPTY: "", RULE: "a: b", LINES: "one\ntwo\n"}
    ports: ["8080:80"]
    shm_size: 64m
    stop_grace_period: 90s
    healthcheck: {test: [CMD, x], interval: 90s, retries: 3}
    deploy: {replicas: 2, resources: {limits: {cpus: '0.50', memory: 512M}}}
    secrets: [{source: token, target: /t, mode: 0440}]
    networks: {n: {aliases: [z], priority: 1}, front: }
    depends_on: {db: {condition: service_healthy}}
    ulimits: {nofile: {hard: 2, soft: 1}, nproc: 5}
    build: {args: {A: b}, context: .}
    profiles: [p]
    x-own: {b: 1, a: [1, null]}
  db2: {image: d, entrypoint: []}
  db10: {image: d}
  db: {image: db, network_mode: host}
networks: {n: {internal: true, driver: bridge}, front: }
volumes: {data: {labels: {a: "1"}}}
secrets: {token: {environment: PATH}}
x-top: {z: 1}
"#;

/// What Docker Compose 2.26 prints for `FILE`, byte by byte.
const PRINTED: &str = r#"name: p
services:
  db:
    image: db
    network_mode: host
  db2:
    entrypoint: []
    image: d
    networks:
      default: null
  db10:
    image: d
    networks:
      default: null
  web:
    profiles:
      - p
    build:
      context: /p
      dockerfile: Dockerfile
      args:
        A: b
    command:
      - sh
      - -c
      - |-
        echo hi
        echo two
    depends_on:
      db:
        condition: service_healthy
        required: true
    deploy:
      replicas: 2
      resources:
        limits:
          cpus: 0.5
          memory: "536870912"
    environment:
      ANSWER: "yes"
      EMPTY: ""
      LINES: |
        one
        two
      PORT: "80"
      RULE: 'a: b'
    healthcheck:
      test:
        - CMD
        - x
      interval: 1m30s
      retries: 3
    image: nginx:1
    networks:
      front: null
      "n":
        priority: 1
        aliases:
          - z
    ports:
      - mode: ingress
        target: 80
        published: "8080"
        protocol: tcp
    secrets:
      - source: token
        target: /t
        mode: 288
    shm_size: "67108864"
    stop_grace_period: 1m30s
    ulimits:
      nofile:
        soft: 1
        hard: 2
      nproc: 5
    volumes:
      - type: volume
        source: data
        target: /data
        read_only: true
        volume: {}
      - type: bind
        source: /p/x
        target: /x
        bind:
          create_host_path: true
    x-own:
      a:
        - 1
        - null
      b: 1
networks:
  default:
    name: p_default
  front:
    name: p_front
  "n":
    name: p_n
    driver: bridge
    internal: true
volumes:
  data:
    name: p_data
    labels:
      a: "1"
secrets:
  token:
    name: p_token
    environment: PATH
x-top:
  z: 1
"#;

#[test]
fn the_yaml_form_is_that_of_docker_compose() {
    let files = [("compose.yaml", FILE)];
    let mut case = case(&files);
    case.options.profiles = vec!["p".to_owned()];
    assert_eq!(canonical_yaml(&case.load().unwrap()), PRINTED);
    let empty = [("compose.yaml", "services: {}\n")];
    assert_eq!(canonical_yaml(&super::case(&empty).load().unwrap()), "name: p\nservices: {}\n");
}

proptest! {
    #[test]
    fn every_text_survives_yaml(
        value in "[ -~]{0,12}|[a-c:#\\-? \n]{0,10}|\\PC{0,8}|[\t\r\n x\u{85}\u{2028}]{0,6}|[0-9._:eExo+-]{1,6}",
        name in "[A-Za-z0-9._ :#'\"-]{1,8}",
    ) {
        // A dollar sign in a key is doubled when it is printed and not halved when it is read.
        let environment = json!({name: value.replace('$', "$$")});
        let text = json!({"services": {"web": {"image": "i", "environment": environment}}});
        let once = case(&[("compose.yaml", &text.to_string())]).load();
        prop_assume!(once.is_ok());
        let once = once.unwrap();
        let yaml = canonical_yaml(&once);
        let again = case(&[("compose.yaml", &yaml)]).load().map_err(|problems| {
            TestCaseError::fail(format!("{problems}\n{yaml}"))
        })?;
        prop_assert_eq!(canonical(&again), canonical(&once), "{}", yaml);
        prop_assert_eq!(canonical_yaml(&again), yaml);
    }
}
