//! What scans are made of, held to other implementations: the orders of versions to those of Python, RubyGems,
//! Composer, Semantic Versioning and apk, bills of materials to CycloneDX's schema and to package URLs,
//! compressed layers to zstd and gzip, severities to CVSS. Pairs are made from a seed. Never skips: a reference
//! that is not there is a failure.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "a proof says how much it tried")]

#[path = "support/random.rs"]
mod random;
#[path = "support/references.rs"]
mod references;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use random::Random;
use wharfinger::base::Timestamp;
use wharfinger::domain::advisories::base_score;
use wharfinger::domain::advisories::order::{Order, compare};
use wharfinger::domain::sbom::{Described, Reading, cyclonedx};
use wharfinger::world::image_archive::unpack;

const PAIRS: usize = 4000;

/// How versions of an ecosystem look: what one begins with, and what follows.
struct Form {
    starts: &'static [&'static str],
    parts: &'static [&'static str],
    /// Pairs that somebody would get wrong.
    chosen: &'static [(&'static str, &'static str)],
}

const PEP440: Form = Form {
    starts: &["0", "1", "2", "10", "1.0", "1.2", "v1", "1!1", "0!1", "01", "V1.0", "2024.1"],
    parts: &[
        ".0",
        ".1",
        ".10",
        ".01",
        "a",
        "a1",
        ".a1",
        "-alpha.1",
        "_beta_2",
        "b",
        "rc1",
        "c2",
        ".pre",
        "pre3",
        "preview",
        "-preview-4",
        ".post",
        ".post1",
        "-1",
        "-01",
        "post2",
        "-rev3",
        "r4",
        ".dev",
        ".dev0",
        "dev1",
        "_dev_2",
        "+local",
        "+1",
        "+abc.1",
        "+abc-2",
        "+ABC_10",
        "+1.a",
        "+01",
        "-",
        ".",
        "_",
        "x",
        " ",
        "!",
    ],
    chosen: &[
        ("1.0a-", "1.0a0"),
        ("1.0a--post1", "1.0a0.post1"),
        ("1.0-post-dev", "1.0.post0.dev0"),
        ("1.0.dev-", "1.0.dev0"),
        ("1.0.dev1", "1.0a0.dev1"),
        ("1.0a1.dev1", "1.0a1"),
        ("1.0.post1.dev1", "1.0"),
        ("1.0+1", "1.0+a"),
        ("1.0+1.1", "1.0+1"),
        ("1.0+10", "1.0+9"),
        ("1.0+", "1.0"),
        ("1!0", "99"),
        (" 1.0\n", "1.0"),
        ("1.0rc", "1.0c0"),
        ("1.0alpha1beta1", "1.0"),
        ("1.0.post1.post2", "1.0"),
        ("", "1.0"),
        ("1_0", "1.0"),
        ("1.0١", "1.0"),
        ("99999999999999999999999", "100000000000000000000000"),
    ],
};

const SEMVER: Form = Form {
    starts: &["0.0.0", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0", "10.0.0"],
    parts: &[
        "-",
        "-0",
        "-1",
        "-alpha",
        "-alpha.1",
        "-alpha.beta",
        "-beta.11",
        "-beta.2",
        "-rc.1",
        "-a-b",
        "--",
        "-A",
        ".0",
        ".1",
        ".10",
        ".a",
        ".A",
        ".-",
        ".x-y",
        "+build",
        "+build.5",
        "+incompatible",
        "-20190308221718-c2843e01d9a2",
        "-0.20200622213623-75b288015ac9",
        "-pre.0.20200622213623-75b288015ac9",
        "-next.7",
        "-01",
        "1",
        "a",
    ],
    chosen: &[
        ("1.0.0-alpha", "1.0.0-alpha.1"),
        ("1.0.0-alpha.1", "1.0.0-alpha.beta"),
        ("1.0.0-beta.2", "1.0.0-beta.11"),
        ("1.0.0-rc.1", "1.0.0"),
        ("1.0.0+a", "1.0.0+b"),
        ("1.0.0--", "1.0.0-0"),
        ("1.0.0-a", "1.0.0-A"),
        ("1.0.0-1", "1.0.0-a"),
        ("1.0.0-99999999999999999999999", "1.0.0-100000000000000000000000"),
        ("0.0.0-20190308221718-c2843e01d9a2", "0.0.0-20200622213623-75b288015ac9"),
        ("1.2.4-0.20200622213623-75b288015ac9", "1.2.3"),
        ("1.2.4-0.20200622213623-75b288015ac9", "1.2.4"),
        ("1.2.3-pre.0.20200622213623-75b288015ac9", "1.2.3-pre"),
        ("2.0.0+incompatible", "2.0.0"),
        ("0.0.0-0.20200622213623-75b288015ac9", "0.0.0-20200622213623-75b288015ac9"),
    ],
};

const GEM: Form = Form {
    starts: &["0", "1", "1.0", "1.2", "2.10", "01", "1.0.0"],
    parts: &[
        ".0", ".1", ".10", ".01", ".a", ".b2", ".pre", ".rc1", ".beta.1", ".A", ".a0", ".0a", "-1",
        "-a", "-a-b", "--", "-", ".", "a", "..", ".a1b2", ".dev", "-pre.1", ".00", ".a.0",
    ],
    chosen: &[
        ("1.0.a", "1.0"),
        ("1.0.0.a", "1.a"),
        ("1.0.a.0", "1.0.a"),
        ("1.0-1", "1.0"),
        ("1.0-1", "1.0.pre.1"),
        ("1-a-b", "1.pre.a.pre.b"),
        ("1--a", "1"),
        ("1a", "1"),
        ("1.0.rc1", "1.0.rc.1"),
        ("1.0.rc10", "1.0.rc9"),
        ("1.0.a", "1.0.A"),
        (" 1.0 ", "1.0"),
        ("1.0-", "1.0"),
        ("1.", "1"),
        ("1.0.0.0.0", "1"),
        ("1.99999999999999999999999", "1.100000000000000000000000"),
        ("5.3", "5.a"),
        ("1.9.3", "1.9.2.99"),
    ],
};

const COMPOSER: Form = Form {
    starts: &[
        "0", "1", "1.0", "1.2.3", "v1", "v2.0.1", "1.2.3.4", "2024.01", "20240101", "01.2", "V1.0",
    ],
    parts: &[
        ".0",
        ".1",
        ".10",
        ".01",
        "-alpha",
        "-alpha1",
        "a2",
        "-beta.2",
        "b1",
        "-RC1",
        "rc",
        ".rc.3",
        "-patch1",
        "-p2",
        "pl3",
        "p",
        "-dev",
        "@dev",
        "-stable",
        "+build.1",
        "+2",
        "-",
        "_",
        ".",
        "x",
        "-beta-2",
        "-alpha-dev",
        "-p1-dev",
        "@stable",
        "-beta.1.2",
        "_beta1",
    ],
    chosen: &[
        ("1.0.0-dev", "1.0.0-alpha1"),
        ("1.0.0-alpha1", "1.0.0a1"),
        ("1.0.0-RC1", "1.0.0"),
        ("1.0.0-p1", "1.0.0"),
        ("1.0.0-patch10", "1.0.0-pl9"),
        ("1.0", "1.0.0.0"),
        ("1.0.0+build", "1.0.0"),
        ("1.0.0-beta.10", "1.0.0-beta.9"),
        ("1.0.0-beta", "1.0.0-beta0"),
        ("1.0.0-beta", "1.0.0-beta1"),
        ("2024.01.02", "2024.1.2"),
        ("dev-main", "1.0"),
        ("1.x-dev", "1.0"),
        ("1.0.x", "1.0"),
        ("1.0.0-stable", "1.0.0"),
        ("1.0 as 2.0", "1.0"),
        ("1.0.0-alpha2.1", "1.0.0-alpha2"),
        ("100000", "1"),
        ("1.2.3.4.5", "1.2.3.4"),
        ("1.0.0-rc.1-dev", "1.0.0-rc.1"),
        ("1.0.0 ", "1.0.0"),
    ],
};

impl Form {
    /// The chosen pairs, then random ones: half of them differ in little.
    fn pairs(&self) -> Vec<(String, String)> {
        let mut random = Random(10);
        let chosen = self.chosen.iter().map(|(one, other)| ((*one).into(), (*other).into()));
        let mut pairs: Vec<(String, String)> = chosen.collect();
        while pairs.len() < PAIRS {
            let one = self.version(&mut random);
            let other = match random.below(2) {
                0 => self.version(&mut random),
                _ => {
                    let mut places = one.char_indices().map(|(at, _)| at).chain([one.len()]);
                    let at = places.nth(random.below(one.len() + 1)).unwrap_or(one.len());
                    let (kept, rest) = one.split_at(at);
                    let rest = if random.below(2) == 0 { rest } else { "" };
                    format!("{kept}{}{rest}", random.of(self.parts))
                }
            };
            pairs.push((one, other));
        }
        pairs
    }

    fn version(&self, random: &mut Random) -> String {
        let mut version = random.of(self.starts).to_owned();
        for _ in 0..random.below(4) {
            version.push_str(random.of(self.parts));
        }
        version
    }
}

fn sign(order: Option<Ordering>) -> char {
    match order {
        Some(Ordering::Less) => '<',
        Some(Ordering::Equal) => '=',
        Some(Ordering::Greater) => '>',
        None => '?',
    }
}

/// How a program orders the pairs.
fn asked(program: &str, arguments: &[&str], pairs: &[(String, String)]) -> Vec<char> {
    let lines: String = pairs.iter().map(|(one, other)| format!("{one}\t{other}\n")).collect();
    let said = references::ask(program, arguments, lines.as_bytes());
    let errors = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success(), "{program}: {errors}");
    let said = String::from_utf8(said.stdout).unwrap();
    let signs: Vec<char> = said.lines().map(|line| line.chars().next().unwrap()).collect();
    assert_eq!(signs.len(), pairs.len(), "{program}: {errors}");
    signs
}

/// Every pair that is ordered otherwise here, and how many there were of each sign.
fn differences(
    order: Order,
    pairs: &[(String, String)],
    expect: &[char],
    is_lenient: impl Fn(&str) -> bool,
) -> (Vec<String>, BTreeMap<char, usize>) {
    let mut counts = BTreeMap::new();
    let mut wrong = Vec::new();
    for ((one, other), &expect) in pairs.iter().zip(expect) {
        *counts.entry(expect).or_insert(0) += 1;
        let ours = sign(compare(order, one, other));
        let is_excused = expect == '?' && (is_lenient(one) || is_lenient(other));
        if ours != expect && !is_excused {
            wrong.push(format!("{one:?} {other:?}: {expect} there, {ours} here"));
        }
    }
    (wrong, counts)
}

/// Orders as the reference does, and refuses what that refuses, unless we are the more lenient on purpose.
fn check(
    order: Order,
    form: &Form,
    program: &str,
    arguments: &[&str],
    is_lenient: impl Fn(&str) -> bool,
) {
    let pairs: Vec<_> = form
        .pairs()
        .into_iter()
        .filter(|(one, other)| {
            let is_line = |text: &str| !text.contains(['\t', '\n']);
            is_line(one) && is_line(other)
        })
        .collect();
    let expect = asked(program, arguments, &pairs);
    let (wrong, counts) = differences(order, &pairs, &expect, is_lenient);
    let first: Vec<&String> = wrong.iter().take(40).collect();
    assert!(wrong.is_empty(), "{order:?}: {} of {}: {first:#?}", wrong.len(), pairs.len());
    // Of each kind there were enough for the comparison to say something.
    assert!("<=>?".chars().all(|sign| counts.get(&sign) > Some(&50)), "{order:?}: {counts:?}");
    println!("{order:?}: {} pairs, as {program} orders them: {counts:?}", pairs.len());
}

#[test]
fn versions_of_python_are_ordered_as_its_packaging_does() {
    check(Order::Pep440, &PEP440, "orders.py", &["pep440"], |_| false);
}

#[test]
fn semantic_versions_are_ordered_as_their_reference_does() {
    // We take `v1.2` and `1.02.0` too: advisories and modules of Go are written so.
    check(Order::Semver, &SEMVER, "orders.py", &["semver"], |_| true);
}

#[test]
fn gems_are_ordered_as_rubygems_does() {
    check(Order::Gem, &GEM, "orders.rb", &[], |_| false);
}

#[test]
fn packages_of_php_are_ordered_as_composer_does() {
    // Which dates are versions differs from one Composer to the next.
    check(Order::Composer, &COMPOSER, "orders.php", &[], |text| text.contains("20240101"));
}

#[test]
fn packages_of_alpine_are_ordered_as_apk_does() {
    let recorded = include_str!("support/references/apk.txt");
    let lines = recorded.lines().filter(|line| !line.starts_with('#'));
    let (pairs, expect): (Vec<(String, String)>, Vec<char>) = lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            ((words[0].to_owned(), words[2].to_owned()), words[1].chars().next().unwrap())
        })
        .unzip();
    let (wrong, counts) = differences(Order::Apk, &pairs, &expect, |_| false);
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), pairs.len());
    println!("Apk: {} pairs, as apk orders them: {counts:?}", pairs.len());
    assert!("<=>?".chars().all(|sign| counts.get(&sign) > Some(&30)), "{counts:?}");
}

#[test]
fn an_order_that_is_wrong_is_found() {
    // Ruby does not order as Python does: held to it, differences show.
    let pairs = PEP440.pairs();
    let pairs: Vec<_> = pairs.into_iter().filter(|(one, _)| !one.contains('\n')).collect();
    let expect = asked("orders.rb", &[], &pairs);
    let (wrong, _) = differences(Order::Pep440, &pairs, &expect, |_| true);
    let wrong: Vec<_> = wrong.iter().filter(|it| !it.contains("? here")).collect();
    assert!(wrong.len() > 10, "{wrong:?}");
}

/// Packages of every ecosystem, with names and versions that a careless writer would break.
const FILES: &[(&str, &str)] = &[
    (
        "etc/os-release",
        "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian <12> & \\\"more\\\"\"\n",
    ),
    (
        "var/lib/dpkg/status",
        "Package: libstdc++6\nStatus: install ok installed\nSource: gcc-12 (12.2.0-14)\nArchitecture: amd64\n\
         Version: 1:12.2.0-14+deb12u1~bpo\n\nPackage: python3.11\nStatus: install ok installed\n\
         Version: 3.11.2-6\n\n",
    ),
    (
        "lib/apk/db/installed",
        "P:so:libc.musl\nV:1.2.4_git20230717-r4\nA:x86_64\nL:MIT AND (BSD-2-Clause)\no:musl\n\n",
    ),
    (
        "x/Zope.Interface-1.dist-info/METADATA",
        "Name: Zope.Interface\nVersion: 1!1.0+local.1\nLicense: ZPL 2.1\n\n",
    ),
    ("a/requirements.txt", "ruamel.yaml==0.17.0\nA_b==1.0.post1\n"),
    (
        "a/node_modules/@types/node/package.json",
        r#"{"name": "@types/node", "version": "20.0.0-rc.1+b", "license": "MIT"}"#,
    ),
    ("a/node_modules/JSONStream/package.json", r#"{"name": "JSONStream", "version": "1.3.5"}"#),
    ("a/Cargo.lock", "[[package]]\nname = \"a_b\"\nversion = \"1.0.0+1\"\nsource = \"registry\"\n"),
    (
        "a/go.sum",
        "github.com/BurntSushi/toml v1.2.0 h1:x=\ngolang.org/x/net v0.0.0-20190308221718-c2843e01d9a2 h1:x=\n\
      github.com/a/b/v2 v2.0.0+incompatible h1:x=\n",
    ),
    ("a/Gemfile.lock", "GEM\n  specs:\n    ruby_parser (3.0.0.pre.1)\n    RedCloth (4.3.2)\n"),
    (
        "a/composer.lock",
        r#"{"packages": [{"name": "Symfony/HTTP-kernel", "version": "v6.3.1", "license": ["MIT", "GPL"]}]}"#,
    ),
    ("b/package-lock.json", "not JSON \u{7f}\u{1}"),
];

fn document() -> serde_json::Value {
    let mut reading = Reading::default();
    FILES.iter().for_each(|(path, text)| reading.file(path, text.as_bytes()));
    let digests = ["app@sha256:00".to_owned()];
    let described = Described {
        name: "registry:5000/team/app:1",
        image_id: &format!("sha256:{}", "ab".repeat(32)),
        digests: &digests,
        at: "2026-01-02T03:04:05.678Z".parse::<Timestamp>().unwrap(),
        version: "0.1.0",
    };
    cyclonedx(&reading.done(), &described)
}

/// What the schema and the package URLs of others say against a document.
fn faults(document: &serde_json::Value) -> String {
    let said = references::ask("sbom.py", &[], document.to_string().as_bytes());
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&said.stderr));
    let (wrong, _) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
    assert_eq!(said.status.success(), wrong.is_empty(), "{text}");
    wrong.to_owned()
}

#[test]
fn a_bill_of_materials_of_every_ecosystem_is_valid_and_faults_are_found() {
    let whole = document();
    assert_eq!(faults(&whole), "");
    assert!(whole["components"].as_array().unwrap().len() >= 13);
    let broken = |place: &str, value: serde_json::Value, word: &str| {
        let mut document = whole.clone();
        *document.pointer_mut(place).unwrap() = value;
        let faults = faults(&document);
        assert!(faults.contains(word), "{place}: {faults:?}");
    };
    broken("/components/0/type", "packages".into(), "is not one of");
    broken("/components/0/name", serde_json::Value::Null, "is not of type");
    broken("/serialNumber", "urn:uuid:1".into(), "does not match");
    broken("/metadata/timestamp", "yesterday".into(), "date-time");
    broken("/components/0/purl", "pkg:deb/debian/a b@1".into(), "is spelled");
    broken("/components/1/bom-ref", whole["components"][0]["bom-ref"].clone(), "are called");
    broken("/dependencies/0/dependsOn/0", "nobody".into(), "no component is called");
    let mut document = whole.clone();
    document["unheard-of"] = true.into();
    assert!(faults(&document).contains("unheard-of"));
}

/// A layer of files that tell of packages, the last one long.
fn layer() -> (Vec<u8>, BTreeMap<String, Vec<u8>>) {
    let long: String = (0..5000).map(|at| format!("p{at}=={}\n", at * 7919 % 1000)).collect();
    let last = ("z/requirements.txt", long.as_str());
    let mut archive = tar::Builder::new(Vec::new());
    let mut files = BTreeMap::new();
    for (path, text) in FILES.iter().copied().chain([last]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        archive.append_data(&mut header, path, text.as_bytes()).unwrap();
        files.insert(path.to_owned(), text.as_bytes().to_vec());
    }
    (archive.into_inner().unwrap(), files)
}

/// As an engine saves it: an OCI layout whose layer has this media type.
fn saved(layer: &[u8], media_type: &str) -> Vec<u8> {
    let manifest = serde_json::json!({"schemaVersion": 2, "layers": [{"mediaType": media_type, "digest": "sha256:01"}]});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [{"digest": "sha256:02"}]});
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in [
        ("blobs/sha256/01", layer),
        ("blobs/sha256/02", manifest.to_string().as_bytes()),
        ("index.json", index.to_string().as_bytes()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, path, bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn layers_that_zstd_and_gzip_compressed_are_read_to_their_end() {
    let (plain, files) = layer();
    let forms =
        ["gzip", "gzip-members", "zstd-1", "zstd-3", "zstd-19", "zstd-stream", "zstd-frames"];
    for form in forms {
        let packed = references::ask("compress.py", &[form], &plain);
        assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
        let packed = packed.stdout;
        assert!(packed.len() < plain.len() && !packed.is_empty(), "{form}: {}", packed.len());
        let kind = form.split('-').next().unwrap();
        let media_type = format!("application/vnd.oci.image.layer.v1.tar+{kind}");
        let contents = unpack(&mut &saved(&packed, &media_type)[..]).unwrap();
        assert_eq!(contents.files, files, "{form}");
        // A layer that is cut off, or damaged, is told: it is never a layer with fewer files.
        let cut = &packed[..packed.len() * 2 / 3];
        assert!(unpack(&mut &saved(cut, &media_type)[..]).is_err(), "{form}, cut off");
        println!("{form}: {} bytes of {}", packed.len(), plain.len());
    }
}

/// The base metrics of CVSS, and their values.
type Metrics = &'static [(&'static str, &'static [&'static str])];

const CVSS_3: Metrics = &[
    ("AV", &["N", "A", "L", "P"]),
    ("AC", &["L", "H"]),
    ("PR", &["N", "L", "H"]),
    ("UI", &["N", "R"]),
    ("S", &["U", "C"]),
    ("C", &["H", "L", "N"]),
    ("I", &["H", "L", "N"]),
    ("A", &["H", "L", "N"]),
];

const CVSS_4: Metrics = &[
    ("AV", &["N", "A", "L", "P"]),
    ("AC", &["L", "H"]),
    ("AT", &["N", "P"]),
    ("PR", &["N", "L", "H"]),
    ("UI", &["N", "P", "A"]),
    ("VC", &["H", "L", "N"]),
    ("VI", &["H", "L", "N"]),
    ("VA", &["H", "L", "N"]),
    ("SC", &["H", "L", "N"]),
    ("SI", &["H", "L", "N"]),
    ("SA", &["H", "L", "N"]),
];

/// Every vector of these metrics.
fn vectors(prefix: &str, metrics: Metrics) -> Vec<String> {
    let all = vec![prefix.to_owned()];
    metrics.iter().fold(all, |vectors, (name, values)| {
        let one = |vector: &String| {
            values.iter().map(|it| format!("{vector}/{name}:{it}")).collect::<Vec<_>>()
        };
        vectors.iter().flat_map(one).collect()
    })
}

#[test]
fn base_scores_are_those_of_another_implementation() {
    let mut vectors = vectors("CVSS:3.1", CVSS_3);
    let all_of_4 = self::vectors("CVSS:4.0", CVSS_4);
    // Each of version 3, and of the 104,976 of version 4 every seventh.
    vectors.extend(all_of_4.into_iter().step_by(7));
    let said = references::ask("scores.py", &[], vectors.join("\n").as_bytes());
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let scores = String::from_utf8(said.stdout).unwrap();
    assert_eq!(scores.lines().count(), vectors.len());
    for (vector, score) in vectors.iter().zip(scores.lines()) {
        assert_eq!(base_score(vector), score.parse().ok(), "{vector}");
    }
    println!("{} vectors", vectors.len());
}
