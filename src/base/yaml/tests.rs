//! Tables for the YAML reader.

use proptest::prelude::*;

use super::*;

/// The tree in one line: quoted text in quotes, everything else bare.
fn show(node: &Node) -> String {
    let tag = node.tag.as_ref().map(|tag| format!("{tag} ")).unwrap_or_default();
    let value = match &node.value {
        Value::Null => "null".to_owned(),
        Value::Scalar(scalar) if scalar.plain => scalar.text.clone(),
        Value::Scalar(scalar) => format!("{:?}", scalar.text),
        Value::Seq(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Map(map) => {
            let entries = map.0.iter().map(|(key, node)| format!("{}: {}", key.text, show(node)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    };
    tag + &value
}

fn check(text: &str, expect: &str) {
    match parse("f.yaml", text.as_bytes()) {
        Ok(node) => assert_eq!(show(&node), expect, "{text}"),
        Err(problems) => panic!("{text}: {problems}"),
    }
}

fn refuse(text: &str, expect: &str) {
    match parse("f.yaml", text.as_bytes()) {
        Ok(node) => panic!("{text}: accepted as {}", show(&node)),
        Err(problems) => {
            let first = problems.to_string().lines().next().unwrap_or_default().to_owned();
            assert_eq!(first, expect, "{text}");
        }
    }
}

#[test]
fn documents_become_trees() {
    check("", "null");
    check("# nothing\n", "null");
    check("---\na: 1\n...\n", "{a: 1}");
    check(
        "a: yes\nb: 'no'\nc: ~\nd:\ne: \"x\\ty\"\n",
        r#"{a: yes, b: "no", c: null, d: null, e: "x\ty"}"#,
    );
    check("a:\n- 1\n- b: 2\n", "{a: [1, {b: 2}]}");
    check("a: |\n  x\n  y\nb: >-\n  x\n  y\n", r#"{a: "x\ny\n", b: "x y"}"#);
    check(
        "a: !reset null\nb: !override [1]\nc: !!str 12\n",
        r#"{a: !reset null, b: !override [1], c: "12"}"#,
    );
    check("\u{feff}a: 1", "{a: 1}");
}

#[test]
fn anchors_and_merge_keys_expand_and_explicit_keys_win() {
    check("a: &x {p: 1}\nb: *x\n", "{a: {p: 1}, b: {p: 1}}");
    check("a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  p: 3\n", "{a: {p: 1, q: 2}, b: {p: 3, q: 2}}");
    check(
        "a: &x {p: 1}\nb: &y {p: 2, q: 2}\nc: {<<: [*x, *y]}\n",
        "{a: {p: 1}, b: {p: 2, q: 2}, c: {p: 1, q: 2}}",
    );
}

#[test]
fn bad_documents_name_the_place() {
    refuse("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: `a` is given twice");
    refuse("a: 1\n---\nb: 2\n", "f.yaml:3:1: a second document begins here");
    refuse("a: &x [*x]\n", "f.yaml:1:8: the anchor contains this alias to itself");
    refuse("<<: 3\n", "f.yaml:1:5: `<<` takes a mapping or a list of them");
    refuse("[1]: 3\n", "f.yaml:1:1: a key must be text");
    refuse(&"- ".repeat(1_000), "f.yaml:1:129: nested more than 64 levels deep");
    assert!(parse("f.yaml", "[".repeat(100_000).as_bytes()).is_err());
    assert!(parse("f.yaml", b"a: [1\nb: 2").is_err());
    assert!(parse("f.yaml", b"a: \xff").is_err());
}

#[test]
fn every_duplicate_is_reported_with_both_places() {
    let problems = parse("f.yaml", b"a: 1\na: 2\nb:\n  c: 1\n  c: 2\n").unwrap_err();
    assert_eq!(problems.0.len(), 2);
    let help = problems.0[1].help.as_deref();
    assert_eq!(help, Some("it was first given in line 4, column 3"));
}

#[test]
fn bombs_are_refused_before_they_cost_anything() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let problems = parse("f.yaml", bomb.as_bytes()).unwrap_err();
    assert_eq!(problems.0[0].code, "yaml.too_many_nodes");
    // A level holds 9 × the one before and itself; the five first hold 74,737 with their keys, and
    // the sixth may take 66,430 once: it is refused at its second alias, before that is copied.
    let place = problems.0[0].location.as_ref().unwrap();
    assert_eq!((place.line, place.column), (6, 15));
}

#[test]
fn endless_mappings_and_endless_problems_stop() {
    let many: String = (0..100_000).map(|n| format!("k{n}: 1\n")).collect();
    let problems = parse("f.yaml", many.as_bytes()).unwrap_err();
    assert_eq!(
        problems.to_string().lines().next(),
        Some("f.yaml:4097:1: more than 4096 keys in one mapping")
    );
    let twice = "a: 1\n".repeat(50_000);
    assert_eq!(parse("f.yaml", twice.as_bytes()).unwrap_err().0.len(), 100);
}

#[test]
fn fields_report_everything_that_is_wrong_at_once() {
    let text = "sockt: x\nport: 99999\nwait: soon\nsize: 64k\nname: 12\non: true\nlist: [a, b]\n";
    let node = parse("f.yaml", text.as_bytes()).unwrap();
    let known = ["socket", "port", "wait", "size", "name", "on", "list", "mode"];
    let mut fields = Fields::of(&node, "config", &known);
    assert_eq!(fields.integer("port", 1..=65535), None);
    assert_eq!(fields.duration("wait"), None);
    assert_eq!(fields.bytes("size"), Some(64 << 10));
    assert_eq!(fields.string("name"), None);
    assert_eq!(fields.boolean("on"), Some(true));
    assert_eq!(fields.strings("list"), Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(fields.word("mode", &[("a", 1)]), None);
    assert!(fields.required("socket").is_none());
    let problems = fields.finish().unwrap_err();
    let first_lines: Vec<String> = problems.0.iter().map(|p| p.message.clone()).collect();
    assert_eq!(
        first_lines,
        [
            "unknown key `sockt`",
            "`port` must be a whole number from 1 to 65535, found `99999`",
            "`wait` must be a duration, such as `90s` or `1m30s`, found `soon`",
            "`name` must be text, found `12`",
            "`socket` is missing",
        ]
    );
    assert_eq!(problems.0[0].help.as_deref(), Some("did you mean `socket`?"));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[ \\-:\\[\\]{}&*!<>|'\"#a-c0-2\n]{0,200}") {
        let _ = parse_all("f.yaml", text.as_bytes());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_all("f.yaml", &bytes);
    }
}

#[test]
fn a_place_within_a_text_is_found_where_the_file_holds_it() {
    let check = |yaml: &str, word: &str, expect: (usize, usize)| {
        let node = parse("a.yaml", yaml.as_bytes()).unwrap();
        let node = node.as_map().and_then(|map| map.get("a")).unwrap();
        let text = &node.as_scalar().unwrap().text;
        let at = text[..text.find(word).unwrap()].chars().count();
        let place = node.place_inside(at);
        assert_eq!((place.line, place.column), expect, "{yaml}");
    };
    check("a: x == bad", "bad", (1, 9));
    check("a: 'ä == bad'", "bad", (1, 10));
    check("b: 1\na: \"x == bad\" # bad", "bad", (2, 10));
    check("a: |\n  x\n    && bad\n", "bad", (3, 8));
    check("a: |-\n  bad\n", "bad", (2, 3));
    // Folded or escaped: the file does not hold the text as it is.
    check("a: 'x ''y'' bad'", "bad", (1, 4));
    check("a: >\n  x &&\n  bad\n", "bad", (2, 3));
}
