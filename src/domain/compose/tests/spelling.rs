//! A model is byte-equal however it was written: short or long form, list or mapping, one file or
//! several, extended, included, or printed as YAML and read again. A table of pairs, then a generator that writes one random service in many ways; with it
//! the laws of the canonical form and of merging.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::super::interpolate::Variables;
use super::super::keys::SERVICE_SHAPE;
use super::super::merge::merge;
use super::super::read::{Findings, Reading};
use super::super::schema::Shape;
use super::*;
use crate::base::yaml::{Node, parse};

/// The canonical bytes of a project with this `web` service.
fn bytes_of(body: &str) -> String {
    let text = format!("services:\n  web:\n    image: i\n{body}  db:\n    image: d\n{TAIL}");
    case(&[("compose.yaml", &text)]).model().to_string()
}

const TAIL: &str = "models: {m: {model: x}}\nnetworks: {n: {}, m: {}}\nvolumes: {data: {}}\nconfigs: {c: {file: c.txt}}\n\
                    secrets: {s: {file: s.txt}}\n";

/// Two ways of writing the same, as the body of a service.
const PAIRS: &[(&str, &str)] = &[
    ("ports: ['80']", "ports: [80]"),
    ("ports: ['8080:80']", "ports: [{target: 80, published: '8080'}]"),
    ("ports: ['8080:80/udp']", "ports: [{target: '80', published: 8080, protocol: udp}]"),
    ("ports: ['127.0.0.1:8080:80']", "ports: [{target: 80, published: 8080, host_ip: 127.0.0.1}]"),
    ("ports: ['80-81']", "ports: ['80', '81']"),
    ("ports: ['8000-8001:80-81']", "ports: ['8000:80', '8001:81']"),
    ("ports: ['8000-8009:80']", "ports: [{target: 80, published: 8000-8009}]"),
    (
        "volumes: ['data:/data']",
        "volumes: [{type: volume, source: data, target: /data, volume: {}}]",
    ),
    (
        "volumes: ['data:/data:ro']",
        "volumes: [{type: volume, source: data, target: /data/, read_only: true, volume: {}}]",
    ),
    (
        "volumes: ['data:/data:nocopy']",
        "volumes: [{type: volume, source: data, target: /data, volume: {nocopy: true}}]",
    ),
    (
        "volumes: ['./a:/a']",
        "volumes: [{type: bind, source: a, target: /a, bind: {create_host_path: true}}]",
    ),
    (
        "volumes: ['./a:/a:rw,z']",
        "volumes: [{type: bind, source: ./a/, target: /a, bind: {create_host_path: 'true', selinux: z}}]",
    ),
    (
        "volumes: ['/a:/b:rslave,ro']",
        "volumes: [{type: bind, source: /a, target: /b, read_only: 'true', bind: {create_host_path: true, propagation: rslave}}]",
    ),
    ("environment: [A=1, B=, C]", "environment: {A: 1, B: '', C: null}"),
    ("environment: {A: true, B: 1.50, C: 0x10}", "environment: [A=true, B=1.5, C=16]"),
    ("labels: [a=b, c]", "labels: {a: b, c: ''}"),
    ("sysctls: [net.core.somaxconn=1024]", "sysctls: {net.core.somaxconn: 1024}"),
    ("annotations: [a=b]", "annotations: {a: b}"),
    ("extra_hosts: ['a=1.1.1.1', 'b=::1']", "extra_hosts: {a: 1.1.1.1, b: '::1'}"),
    ("extra_hosts: ['a:1.1.1.1']", "extra_hosts: {a: [1.1.1.1]}"),
    ("networks: [n, m]", "networks: {n: null, m: }"),
    ("depends_on: [db]", "depends_on: {db: {condition: service_started, required: true}}"),
    ("command: echo 'a b'", "command: [echo, a b]"),
    ("entrypoint: /bin/sh -c", "entrypoint: ['/bin/sh', '-c']"),
    ("healthcheck: {test: curl -f x}", "healthcheck: {test: [CMD-SHELL, curl -f x]}"),
    ("healthcheck: {interval: 90s, timeout: 1m}", "healthcheck: {interval: 1m30s, timeout: 60s}"),
    ("stop_grace_period: 1500ms", "stop_grace_period: 1.5s"),
    ("stop_grace_period: 2h", "stop_grace_period: 120m"),
    ("mem_limit: 1g", "mem_limit: 1073741824"),
    ("mem_limit: 1GB", "mem_limit: 1024m"),
    ("shm_size: '64k'", "shm_size: 65536b"),
    (
        "deploy: {resources: {limits: {memory: 512M, cpus: '0.50'}}}",
        "deploy: {resources: {limits: {memory: 0.5gb, cpus: 0.5}}}",
    ),
    ("dns: 1.1.1.1", "dns: [1.1.1.1]"),
    ("dns_search: example.org", "dns_search: [example.org]"),
    ("tmpfs: /run", "tmpfs: [/run]"),
    ("configs: [c]", "configs: [{source: c}]"),
    ("secrets: [s]", "secrets: [{source: s, target: /run/secrets/s}]"),
    (
        "secrets: [{source: s, mode: 0440}]",
        "secrets: [{source: s, mode: 288, target: /run/secrets/s}]",
    ),
    ("devices: ['/dev/fuse']", "devices: ['/dev/fuse:/dev/fuse:rwm']"),
    ("devices: ['/dev/a:/dev/b:r']", "devices: [{source: /dev/a, target: /dev/b, permissions: r}]"),
    ("ulimits: {nofile: '5'}", "ulimits: {nofile: 5}"),
    ("build: .", "build: {context: ., dockerfile: Dockerfile}"),
    ("build: {args: [A=1, B]}", "build: {args: {A: '1', B: null}, context: /p}"),
    ("build: {context: https://example.org/a.git}", "build: https://example.org/a.git"),
    ("build: {context: ., ssh: default}", "build: {context: ., ssh: [default]}"),
    ("build: {context: ., ssh: {k: ./key}}", "build: {context: ., ssh: ['k=./key']}"),
    ("env_file: none.env", "env_file: [{path: none.env, required: true}]"),
    ("expose: [80, '81/udp']", "expose: ['80', '81/udp']"),
    ("group_add: [1, mail]", "group_add: ['1', mail]"),
    ("privileged: yes\n    tty: 'true'", "privileged: true\n    tty: on"),
    ("pull_policy: if_not_present", "pull_policy: missing"),
    ("command:\n    deploy:", ""),
    (
        "links: [db]",
        "links: [db]\n    depends_on: {db: {condition: service_started, restart: true}}",
    ),
    (
        "network_mode: 'service:db'",
        "network_mode: 'service:db'\n    depends_on: {db: {condition: service_started, restart: true}}",
    ),
    ("volumes_from: ['db:ro']", "volumes_from: ['db:ro']\n    depends_on: [db]"),
    ("image: ${NONE:-i}", "image: i"),
    ("privileged: ${NONE:-true}", "privileged: true"),
    ("stop_signal: $${X}", "stop_signal: '$${X}'"),
    ("x-own: 1", ""),
    ("annotations: {a: 1}", "annotations: [a=1]"),
    ("build: {extra_hosts: {a: 1.1.1.1}}", "build: {extra_hosts: ['a:1.1.1.1']}"),
    ("build: {labels: [a=b]}", "build: {labels: {a: b}}"),
    ("build: {additional_contexts: [a=./b]}", "build: {additional_contexts: {a: /p/b}}"),
    ("build: {secrets: [s]}", "build: {secrets: [{source: s}]}"),
    ("build: {ulimits: {nproc: '5'}}", "build: {ulimits: {nproc: 5}}"),
    ("build: {shm_size: 1m}", "build: {shm_size: 1048576}"),
    ("deploy: {labels: [a=b]}", "deploy: {labels: {a: b}}"),
    ("deploy: {update_config: {delay: 90s}}", "deploy: {update_config: {delay: 1m30s}}"),
    (
        "deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: all}]}}}",
        "deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: '-1'}]}}}",
    ),
    ("gpus: all", "gpus: [{count: -1}]"),
    ("label_file: none.labels", "label_file: [none.labels]"),
    ("models: [m]", "models: {m: null}"),
    (
        "post_start: [{command: echo a, environment: [A=1]}]",
        "post_start: [{command: [echo, a], environment: {A: '1'}}]",
    ),
    ("pre_stop: [{command: echo a}]", "pre_stop: [{command: [echo, a]}]"),
    (
        "develop: {watch: [{path: w, action: sync, target: /t, ignore: a}]}",
        "develop: {watch: [{path: /p/w, action: sync, target: /t, ignore: [a]}]}",
    ),
    (
        "develop: {watch: [{path: w, action: sync+exec, target: /t, exec: {command: a b}}]}",
        "develop: {watch: [{path: w, action: sync+exec, target: /t, exec: {command: [a, b]}}]}",
    ),
    (
        "blkio_config: {device_read_bps: [{path: /d, rate: 1m}]}",
        "blkio_config: {device_read_bps: [{path: /d, rate: 1048576}]}",
    ),
    (
        "volumes: [{type: volume, source: data, target: /d, volume: {labels: [a=b]}}]",
        "volumes: [{type: volume, source: data, target: /d, volume: {labels: {a: b}}}]",
    ),
    (
        "mem_reservation: 1m\n    memswap_limit: 2m",
        "mem_reservation: 1048576\n    memswap_limit: '2048k'",
    ),
    (
        "healthcheck: {test: curl x, start_period: 60s}",
        "healthcheck: {test: [CMD-SHELL, curl x], start_period: 1m}",
    ),
];

#[test]
fn forms_that_mean_the_same_are_the_same_bytes() {
    for (left, right) in PAIRS {
        if left.starts_with("env_file") || left.starts_with("label_file") {
            let problems = |body: &str| {
                let text = format!("services:\n  web:\n    image: i\n    {body}\n");
                let found = case(&[("compose.yaml", &text)]).problems();
                found.iter().map(|line| line.split(": ").nth(1).map(str::to_owned)).collect()
            };
            let found: Vec<Option<String>> = problems(left);
            assert_eq!(found, problems(right), "{left}");
            continue;
        }
        let body =
            |form: &str| if form.is_empty() { String::new() } else { format!("    {form}\n") };
        let of = |form: &str| match form.strip_prefix("image: ") {
            Some(image) => {
                let text = format!("services:\n  web:\n    image: {image}\n");
                case(&[("compose.yaml", &text)]).model().to_string()
            }
            None => bytes_of(&body(form)),
        };
        assert_eq!(of(left), of(right), "{left}");
    }
}

/// Adds the names of keys below `shape` that may be written in several ways.
fn keys_of_many_forms(
    shape: &'static Shape,
    name: &'static str,
    found: &mut BTreeSet<&'static str>,
) {
    match shape {
        Shape::Short(_, inner) => {
            found.insert(name);
            keys_of_many_forms(inner, name, found);
        }
        Shape::Pairs(_)
        | Shape::Hosts
        | Shape::Command
        | Shape::HealthTest
        | Shape::Bytes
        | Shape::Count
        | Shape::Mode => drop(found.insert(name)),
        Shape::OrNull(inner) | Shape::Map(inner) | Shape::List(inner, _) => {
            keys_of_many_forms(inner, name, found);
        }
        Shape::Object(fields) => {
            for field in fields.known {
                keys_of_many_forms(&field.shape, field.name, found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_key_of_many_forms_has_a_pair() {
    let mut keys = BTreeSet::new();
    keys_of_many_forms(&SERVICE_SHAPE, "", &mut keys);
    let is_paired = |key: &str| {
        let words = [format!("{key}:"), format!("{{{key}: ")];
        PAIRS.iter().any(|(left, right)| {
            words.iter().any(|word| left.contains(word) && right.contains(word))
        })
    };
    // Their sizes are read as those of `device_read_bps` and `mem_limit` are; `extends` is below.
    const ALIKE: [&str; 3] = ["extends", "mem_swappiness", "size"];
    let missing: Vec<&str> =
        keys.iter().copied().filter(|key| !ALIKE.contains(key) && !is_paired(key)).collect();
    assert_eq!(missing, [""; 0]);
    assert!(keys.len() > 35, "{keys:?}");
}

/// What a random service says, apart from how.
#[derive(Debug, Clone)]
struct Said {
    environment: Vec<(&'static str, &'static str)>,
    labels: Vec<(&'static str, &'static str)>,
    ports: Vec<(u16, Option<u16>, &'static str)>,
    mounts: Vec<(&'static str, &'static str, bool)>,
    networks: Vec<&'static str>,
    seconds: Option<u32>,
    mebibytes: Option<u32>,
    command: Vec<&'static str>,
    flag: Option<bool>,
}

fn said() -> impl Strategy<Value = Said> {
    let pairs = || {
        let names = vec!["A", "B_2", "c.d"];
        let values = vec!["1", "x y", "", "#", "a=b", "$$x", "true", "'q'", "1.50"];
        subsequence(names, 0..=3)
            .prop_flat_map(move |names| {
                let values = prop::collection::vec(select(values.clone()), names.len());
                (Just(names), values)
            })
            .prop_map(|(names, values)| names.into_iter().zip(values).collect::<Vec<_>>())
    };
    let ports = subsequence(vec![80_u16, 443, 8080], 0..=3).prop_flat_map(|targets| {
        let published = prop::option::of(9000_u16..9999);
        let rest = prop::collection::vec((published, select(vec!["tcp", "udp"])), targets.len());
        (Just(targets), rest).prop_map(|(targets, rest)| {
            targets.into_iter().zip(rest).map(|(port, (to, by))| (port, to, by)).collect()
        })
    });
    let mounts = subsequence(vec![("data", "/data"), ("./a", "/bind"), ("/abs", "/other")], 0..=3)
        .prop_flat_map(|mounts| {
            let read_only = prop::collection::vec(any::<bool>(), mounts.len());
            (Just(mounts), read_only)
        })
        .prop_map(|(mounts, only)| {
            mounts.into_iter().zip(only).map(|((from, to), only)| (from, to, only)).collect()
        });
    let networks = subsequence(vec!["m", "n"], 0..=2);
    let command = subsequence(vec!["run", "--all", "a b", "it's"], 0..=4);
    let rest = (
        prop::option::of(1_u32..7200),
        prop::option::of(4_u32..4096),
        command,
        any::<Option<bool>>(),
    );
    (pairs(), pairs(), ports, mounts, networks, rest).prop_map(
        |(environment, labels, ports, mounts, networks, rest)| Said {
            environment,
            labels,
            ports,
            mounts,
            networks,
            seconds: rest.0,
            mebibytes: rest.1,
            command: rest.2,
            flag: rest.3,
        },
    )
}

/// A text as a YAML scalar that stays text.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Said {
    /// The service's keys, one a line and written in one of two ways each; bit `n` of `ways`
    /// chooses the way of the `n`th.
    fn lines(&self, ways: u32) -> Vec<String> {
        let is = |bit: u32| ways >> bit & 1 == 1;
        let mut lines = Vec::new();
        for (bit, name, pairs) in
            [(0, "environment", &self.environment), (1, "labels", &self.labels)]
        {
            let (list, map) = (
                pairs.iter().map(|(k, v)| quoted(&format!("{k}={v}"))).collect::<Vec<_>>(),
                pairs.iter().map(|(k, v)| format!("{k}: {}", quoted(v))).collect::<Vec<_>>(),
            );
            if !pairs.is_empty() {
                lines.push(match is(bit) {
                    true => format!("{name}: [{}]", list.join(", ")),
                    false => format!("{name}: {{{}}}", map.join(", ")),
                });
            }
        }
        let ports = self.ports.iter().map(|(target, published, protocol)| match is(2) {
            true => {
                let from = published.map(|port| format!("{port}:")).unwrap_or_default();
                quoted(&format!("{from}{target}/{protocol}"))
            }
            false => {
                let from = published.map(|port| format!(", published: {port}")).unwrap_or_default();
                format!("{{target: {target}, protocol: {protocol}{from}}}")
            }
        });
        lines.push(format!("ports: [{}]", ports.collect::<Vec<_>>().join(", ")));
        let mounts = self.mounts.iter().map(|(source, target, read_only)| match is(3) {
            true => quoted(&format!("{source}:{target}:{}", if *read_only { "ro" } else { "rw" })),
            false => {
                let (kind, details) = match *source {
                    "data" => ("volume", "volume: {}"),
                    _ => ("bind", "bind: {create_host_path: true}"),
                };
                format!(
                    "{{type: {kind}, source: {source}, target: {target}, read_only: {read_only}, \
                     {details}}}"
                )
            }
        });
        lines.push(format!("volumes: [{}]", mounts.collect::<Vec<_>>().join(", ")));
        if !self.networks.is_empty() {
            lines.push(match is(4) {
                true => format!("networks: [{}]", self.networks.join(", ")),
                false => format!("networks: {{{}: null}}", self.networks.join(": null, ")),
            });
        }
        if let Some(seconds) = self.seconds {
            lines.push(match is(5) {
                true => format!("stop_grace_period: {seconds}s"),
                false => format!("stop_grace_period: {}m{}s", seconds / 60, seconds % 60),
            });
        }
        if let Some(mebibytes) = self.mebibytes {
            lines.push(match is(6) {
                true => format!("mem_limit: {mebibytes}m"),
                false => format!("mem_limit: {}", u64::from(mebibytes) << 20),
            });
        }
        if !self.command.is_empty() {
            let words: Vec<String> = self.command.iter().map(|word| quoted(word)).collect();
            lines.push(match is(7) {
                true => format!("command: [{}]", words.join(", ")),
                false => format!("command: {}", quoted(&words.join(" "))),
            });
        }
        if let Some(flag) = self.flag {
            lines.push(format!(
                "init: {}",
                if is(8) { quoted(&flag.to_string()) } else { flag.to_string() }
            ));
        }
        lines
    }

    /// A whole file with these lines of the service.
    fn file(lines: &[String], is_first: bool) -> String {
        let mut text = "services:\n  web:\n    attach: true\n".to_owned();
        if is_first {
            text.push_str("    image: i\n");
        }
        for line in lines {
            let _ = writeln!(text, "    {line}");
        }
        if is_first {
            text.push_str(TAIL);
        }
        text
    }
}

fn load_files(files: &[(&str, &str)]) -> String {
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    load_files_below(files, &names)
}

/// The model of the files of these names; they may use the others.
fn load_files_below(files: &[(&str, &str)], names: &[&str]) -> String {
    let mut case = case(files);
    case.options.files = names.iter().map(|name| (*name).to_owned()).collect();
    case.model().to_string()
}

/// A service as it stands in one file, spelled out.
fn spelled(lines: &[String]) -> Node {
    let text = format!("attach: true\n{}\n", lines.join("\n"));
    let tree = parse("compose.yaml", text.as_bytes()).unwrap();
    let variables = Variables::default();
    let mut reading = Reading {
        base: "/p",
        variables: &variables,
        takes_as_meant: false,
        problems: Findings::default(),
        warnings: Findings::default(),
        interpolated: std::collections::BTreeSet::new(),
    };
    let read = reading.read(tree, &SERVICE_SHAPE, "web").unwrap();
    assert!(reading.problems.0.is_empty(), "{:?}\n{text}", reading.problems.0);
    read
}

/// A tree without its places, with the keys of mappings sorted.
fn shape_of(node: &Node) -> Value {
    match &node.value {
        crate::base::yaml::Value::Null => Value::Null,
        crate::base::yaml::Value::Scalar(scalar) => Value::from(scalar.text.as_str()),
        crate::base::yaml::Value::Seq(items) => items.iter().map(shape_of).collect(),
        crate::base::yaml::Value::Map(map) => {
            let entries = map.0.iter().map(|(key, node)| (key.text.clone(), shape_of(node)));
            Value::Object(entries.collect())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn however_it_is_written_the_model_is_the_same(said in said(), ways: u32, cut: u32) {
        let plain = Said::file(&said.lines(0), true);
        let expect = load_files(&[("compose.yaml", &plain)]);
        let other = Said::file(&said.lines(ways), true);
        prop_assert_eq!(&load_files(&[("compose.yaml", &other)]), &expect);
        // The same in two files: each line stands in one of them.
        let lines = said.lines(ways);
        let (first, second): (Vec<_>, Vec<_>) =
            lines.into_iter().enumerate().partition(|(n, _)| cut >> n & 1 == 0);
        let text = |part: Vec<(usize, String)>| part.into_iter().map(|(_, line)| line).collect();
        let (first, second): (Vec<String>, Vec<String>) = (text(first), text(second));
        let (first, second) = (Said::file(&first, true), Said::file(&second, false));
        let files = [("compose.yaml", first.as_str()), ("over.yaml", second.as_str())];
        prop_assert_eq!(&load_files(&files), &expect);
        // One part in a service of another file, which the other part extends.
        let main = format!("{second}    extends: {{file: base.yaml, service: web}}\n{TAIL}");
        let files = [("compose.yaml", main.as_str()), ("base.yaml", first.as_str())];
        prop_assert_eq!(&load_files_below(&files, &["compose.yaml"]), &expect);
        // The whole in a file that another one includes.
        let files = [("compose.yaml", "include: [inner.yaml]\n"), ("inner.yaml", other.as_str())];
        prop_assert_eq!(&load_files_below(&files, &["compose.yaml"]), &expect);
        // Printed as YAML and read again.
        let yaml = canonical_yaml(&case(&[("compose.yaml", &other)]).load().unwrap());
        prop_assert_eq!(&load_files(&[("compose.yaml", &yaml)]), &expect);
        // Laid over itself, a file says nothing new.
        let twice = [("compose.yaml", other.as_str()), ("over.yaml", other.as_str())];
        prop_assert_eq!(&load_files(&twice), &expect);
    }

    #[test]
    fn the_canonical_form_of_the_canonical_form_is_itself(said in said(), ways: u32) {
        let text = Said::file(&said.lines(ways), true);
        let once = load_files(&[("compose.yaml", &text)]);
        prop_assert_eq!(&load_files(&[("compose.yaml", &once)]), &once);
    }

    #[test]
    fn merging_is_associative(a in said(), b in said(), c in said(), ways: u32) {
        let read = |said: &Said| spelled(&said.lines(ways));
        let merged = |below, above| merge(below, above, &SERVICE_SHAPE).unwrap();
        let left = merged(merged(read(&a), read(&b)), read(&c));
        let right = merged(read(&a), merged(read(&b), read(&c)));
        prop_assert_eq!(shape_of(&left), shape_of(&right));
    }
}
