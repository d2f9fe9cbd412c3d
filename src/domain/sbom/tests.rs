use super::*;
use crate::base::Timestamp;

/// The packages of one file, as `name version`, and the notes.
fn read(path: &str, text: &str) -> (Vec<String>, Vec<String>) {
    let mut reading = Reading::default();
    reading.file(path, text.as_bytes());
    let inventory = reading.done();
    let named = inventory.packages.iter().map(|it| format!("{} {}", it.name, it.version));
    (named.collect(), inventory.notes)
}

fn check(path: &str, text: &str, expect: &[&str]) {
    let (found, notes) = read(path, text);
    assert_eq!(found, expect, "{path}");
    assert!(notes.is_empty(), "{path}: {notes:?}");
}

fn check_note(path: &str, text: &str, expect: &[&str], note: &str) {
    let (found, notes) = read(path, text);
    assert_eq!(found, expect, "{path}");
    assert!(notes.iter().any(|it| it.contains(note)), "{path}: {notes:?}");
}

#[test]
fn files_that_tell_of_packages_are_known_by_their_paths() {
    for path in [
        "var/lib/dpkg/status",
        "var/lib/dpkg/status.d/tzdata",
        "lib/apk/db/installed",
        "etc/os-release",
        "usr/lib/python3/dist-packages/six-1.16.0.dist-info/METADATA",
        "app/x.egg-info/PKG-INFO",
        "srv/node_modules/left-pad/package.json",
        "srv/node_modules/@types/node/package.json",
        "app/go.sum",
        "app/uv.lock",
        "var/lib/rpm/rpmdb.sqlite",
    ] {
        assert!(is_wanted(path), "{path}");
    }
    for path in [
        "var/lib/dpkg/status-old",
        "var/lib/dpkg/status.d/tzdata.md5sums",
        "srv/package.json",
        "srv/node_modules/a/lib/package.json",
        "x/METADATA",
        "",
        "/",
    ] {
        assert!(!is_wanted(path), "{path}");
    }
}

#[test]
fn installed_packages_of_dpkg_are_read_with_what_they_were_built_from() {
    let text = "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\n\
                Source: openssl\nVersion: 3.0.11-1~deb12u2\nDescription: x\n more\n .\n\n\
                Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\n\
                Package: bash\nStatus: install ok installed\nSource: bash (5.2.15-2)\n\
                Version: 5.2.15-2+b2\n\nStatus: install ok installed\nVersion: 9\n\n\
                Package: half\nStatus: install ok installed\n";
    let mut reading = Reading::default();
    reading.file("var/lib/dpkg/status", text.as_bytes());
    let found = reading.done();
    let bash = &found.packages[0];
    assert_eq!((bash.name.as_str(), bash.version.as_str()), ("bash", "5.2.15-2+b2"));
    assert_eq!(bash.source.as_ref().unwrap().version, "5.2.15-2");
    let ssl = &found.packages[1];
    assert_eq!(ssl.source.as_ref().unwrap().name, "openssl");
    assert_eq!(ssl.source.as_ref().unwrap().version, "3.0.11-1~deb12u2");
    assert_eq!(ssl.architecture.as_deref(), Some("amd64"));
    assert_eq!(found.packages.len(), 2);
    assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
    check("var/lib/dpkg/status.d/base", "Package: base-files\nVersion: 12\n", &["base-files 12"]);
}

#[test]
fn packages_of_alpine_and_its_release_are_read() {
    let text = "C:Q1x=\nP:libcrypto3\nV:3.1.4-r5\nA:x86_64\nL:Apache-2.0\no:openssl\n\n\
                P:musl\nV:1.2.4_git20230717-r4\no:musl\n";
    let mut reading = Reading::default();
    reading.file("lib/apk/db/installed", text.as_bytes());
    let release =
        "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.19.1\nPRETTY_NAME=\"Alpine v3.19\"\n";
    reading.file("etc/os-release", release.as_bytes());
    let found = reading.done();
    assert_eq!(found.packages[0].source.as_ref().unwrap().name, "openssl");
    assert_eq!(found.packages[0].license.as_deref(), Some("Apache-2.0"));
    assert_eq!(found.packages[1].source, None);
    let os = found.os.unwrap();
    assert_eq!((os.id.as_str(), os.version.as_str()), ("alpine", "3.19.1"));
    assert_eq!(
        purl(&found.packages[0], Some(&os)),
        "pkg:apk/alpine/libcrypto3@3.1.4-r5?arch=x86_64&distro=alpine-3.19.1&upstream=openssl%403.1.4-r5"
    );
}

#[test]
fn python_is_read_from_metadata_and_lock_files() {
    check(
        "lib/Foo.Bar-1.0.dist-info/METADATA",
        "Metadata-Version: 2.1\nName: Foo.Bar\nVersion: 1.0\nLicense: MIT\n\nName: not this\n",
        &["foo-bar 1.0"],
    );
    check_note(
        "app/requirements.txt",
        "# x\nflask==2.0.1 ; python_version > '3'\nrequests[security] == 2.31.0 \\\n  --hash=sha256:00\n\
         -r other.txt\nDjango>=4\nx==1.*\n",
        &["flask 2.0.1", "requests 2.31.0"],
        "1 requirements",
    );
    check(
        "app/Pipfile.lock",
        r#"{"default": {"Six": {"version": "==1.16.0"}}, "develop": {"b": {"version": "==2"}}}"#,
        &["b 2", "six 1.16.0"],
    );
    check(
        "app/poetry.lock",
        "[[package]]\nname = \"A_b\"\nversion = \"1.2\"\n\n[package.dependencies]\nname = \"no\"\n\n\
         [[package]]\nname = \"c\"\nversion = \"3\"\n\n[metadata]\nversion = \"9\"\n",
        &["a-b 1.2", "c 3"],
    );
    check(
        "app/uv.lock",
        "version = 1\n\n[[package]]\nname = \"own\"\nversion = \"0\"\nsource = { virtual = \".\" }\n\n\
         [[package]]\nname = \"x\"\nversion = \"1\"\nsource = { registry = \"r\" }\n",
        &["x 1"],
    );
}

#[test]
fn javascript_is_read_in_all_forms_of_its_lock_files() {
    check(
        "a/node_modules/left-pad/package.json",
        r#"{"name": "left-pad", "version": "1.3.0", "license": {"type": "MIT"}}"#,
        &["left-pad 1.3.0"],
    );
    check(
        "a/package-lock.json",
        r#"{"lockfileVersion": 1, "dependencies": {"a": {"version": "1.0.0", "dependencies":
            {"b": {"version": "2.0.0"}}}, "al": {"version": "npm:@s/real@3.0.0"}}}"#,
        &["@s/real 3.0.0", "a 1.0.0", "b 2.0.0"],
    );
    check(
        "a/package-lock.json",
        r#"{"lockfileVersion": 3, "packages": {"": {"name": "own", "version": "0"},
            "node_modules/@s/a": {"version": "1.0.0"}, "node_modules/x/node_modules/b":
            {"version": "2.0.0"}, "node_modules/l": {"link": true, "resolved": "l"}}}"#,
        &["@s/a 1.0.0", "b 2.0.0"],
    );
    check(
        "a/yarn.lock",
        "# yarn lockfile v1\n\n\n\"@s/a@^1.0.0\", \"@s/a@~1.1.0\":\n  version \"1.1.2\"\n  dependencies:\n\
         \x20   version \"9\"\n\nb@^2:\n  version \"2.0.0\"\n",
        &["@s/a 1.1.2", "b 2.0.0"],
    );
    check(
        "a/yarn.lock",
        "__metadata:\n  version: 8\n\n\"own@workspace:.\":\n  version: 0.0.0-use.local\n\n\
         \"mine@npm:theirs@^1.0.0\":\n  version: 1.0.3\n\n\"c@npm:^3\":\n  version: 3.1.0\n",
        &["c 3.1.0", "theirs 1.0.3"],
    );
    check(
        "a/pnpm-lock.yaml",
        "lockfileVersion: '9.0'\nimporters:\n  .: {}\npackages:\n\n  '@s/a@1.0.0':\n    x: 1\n\n  \
         b@2.0.0(c@1.0.0):\n    y: 2\nsnapshots:\n  z@9.0.0: {}\n",
        &["@s/a 1.0.0", "b 2.0.0"],
    );
    check(
        "a/pnpm-lock.yaml",
        "lockfileVersion: 5.4\npackages:\n  /@s/a/1.0.0_c@2.0.0:\n    x: 1\n  /b/2.0.0:\n    x: 1\n",
        &["@s/a 1.0.0", "b 2.0.0"],
    );
    check(
        "a/pnpm-lock.yaml",
        "lockfileVersion: '6.0'\npackages:\n  /@s/a@1.0.0(b@2.0.0):\n    x: 1\n",
        &["@s/a 1.0.0"],
    );
}

#[test]
fn other_languages_are_read() {
    check(
        "a/Cargo.lock",
        "version = 3\n\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"serde\"\n\
         version = \"1.0.1\"\nsource = \"registry+x\"\n",
        &["serde 1.0.1"],
    );
    check(
        "a/go.mod",
        "module x\n\ngo 1.22\n\nrequire (\n\tgolang.org/x/net v0.1.0 // indirect\n\tb.example/b v1.0.0\n)\n\
         require c.example/c v2.0.0\nreplace b.example/b => d.example/d v3.0.0\n\
         replace c.example/c => ../c\n",
        &["d.example/d v3.0.0", "golang.org/x/net v0.1.0"],
    );
    check(
        "a/go.sum",
        "a.example/a v1.0.0 h1:x=\na.example/a v1.0.0/go.mod h1:y=\nb.example/b v1.0.0/go.mod h1:z=\n",
        &["a.example/a v1.0.0"],
    );
    check(
        "a/Gemfile.lock",
        "GEM\n  remote: r\n  specs:\n    nokogiri (1.15.4-x86_64-linux)\n      racc (~> 1.4)\n    \
         racc (1.7.1)\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n    x (= 1)\n",
        &["nokogiri 1.15.4", "racc 1.7.1"],
    );
    check(
        "a/composer.lock",
        r#"{"packages": [{"name": "Symfony/Http", "version": "v6.3.1", "license": ["MIT"]}],
            "packages-dev": [{"name": "p/q", "version": "1.0"}]}"#,
        &["p/q 1.0", "symfony/http v6.3.1"],
    );
}

#[test]
fn what_cannot_be_read_is_said() {
    check_note("a/package-lock.json", "{", &[], "no JSON");
    check_note("a/composer.lock", "", &[], "no JSON");
    check_note("a/Cargo.lock", "nothing", &[], "no package");
    check_note("var/lib/rpm/Packages", "x", &[], "RPM");
    check_note("etc/os-release", "nothing", &[], "which distribution");
    check_note("nothing/at/all", "", &[], "no package database");
    let deep = format!("{}{}", "{\"dependencies\":{\"a\":".repeat(60), "{}");
    check_note("a/package-lock.json", &deep, &[], "no JSON");
    let mut reading = Reading::default();
    reading.file("a/requirements.txt", b"a==1\n\xff\xfe==2\n");
    reading.missed("b/go.sum", "it is larger than any such file");
    let notes = reading.done().notes.join("\n");
    assert!(notes.contains("UTF-8") && notes.contains("b/go.sum: it is larger"), "{notes}");
}

#[test]
fn more_packages_than_are_listed_are_counted() {
    let lines: String = (0..SBOM_PACKAGES_MAX + 5).map(|at| format!("p{at}==1\n")).collect();
    let mut reading = Reading::default();
    reading.file("requirements.txt", lines.as_bytes());
    let found = reading.done();
    assert_eq!(found.packages.len(), SBOM_PACKAGES_MAX);
    assert!(found.notes[0].starts_with("5 packages beyond"), "{:?}", found.notes);
}

#[test]
fn equal_inventories_make_equal_documents_with_all_that_the_form_requires() {
    let mut reading = Reading::default();
    reading.file("etc/os-release", b"ID=debian\nVERSION_ID=\"12\"\n");
    reading.file(
        "var/lib/dpkg/status",
        b"Package: libstdc++6\nVersion: 1:2.3-4+b1\nArchitecture: amd64\n",
    );
    reading.file("a/node_modules/@s/a/package.json", br#"{"name": "@s/a", "version": "1.0.0"}"#);
    let inventory = reading.done();
    let digests = vec!["app@sha256:00".to_owned()];
    let id = format!("sha256:{}", "ab".repeat(32));
    let described = Described {
        name: "app:1",
        image_id: &id,
        digests: &digests,
        at: Timestamp::UNIX_EPOCH,
        version: "0.1.0",
    };
    let document = cyclonedx(&inventory, &described);
    assert_eq!(document, cyclonedx(&inventory, &described));
    assert_eq!(document["bomFormat"], "CycloneDX");
    assert_eq!(document["specVersion"], SPEC_VERSION);
    let serial = document["serialNumber"].as_str().unwrap();
    assert!(serial.strip_prefix("urn:uuid:").unwrap().parse::<uuid::Uuid>().is_ok(), "{serial}");
    let components = document["components"].as_array().unwrap();
    let urls: Vec<_> = components.iter().map(|it| it["purl"].as_str().unwrap()).collect();
    let expect = [
        "pkg:deb/debian/libstdc%2B%2B6@1:2.3-4%2Bb1?arch=amd64&distro=debian-12",
        "pkg:npm/%40s/a@1.0.0",
    ];
    assert_eq!(urls, expect);
    assert_eq!(document["metadata"]["component"]["hashes"][0]["content"], "ab".repeat(32));
    let other = Described { image_id: "sha256:1", ..described };
    assert_ne!(cyclonedx(&inventory, &other)["serialNumber"], document["serialNumber"]);
}
