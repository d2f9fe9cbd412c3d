//! Tables: what a condition may say, what it comes to, what it may cost.

use std::sync::Arc;

use super::*;
use crate::base::limits::{
    CONDITION_BYTES_MAX, CONDITION_DEPTH_MAX, CONDITION_STEPS_ALL_MAX, CONDITION_STEPS_MAX,
};

const PORT: &[Field] = &[
    field("number", "service.ports.number", Shape::Whole),
    field("address", "service.ports.address", Shape::Text),
];
const LIMITS: &[Field] = &[field("memory", "service.limits.memory", Shape::Whole)];
const SERVICE: &[Field] = &[
    field("name", "service.name", Shape::Text),
    field("user", "service.user", Shape::Text),
    field("privileged", "service.privileged", Shape::YesNo),
    field("weight", "service.weight", Shape::Number),
    field("labels", "service.labels", Shape::Map(&Shape::Text)),
    field("ports", "service.ports", Shape::List(&Shape::Object(PORT))),
    field("drops", "service.drops", Shape::List(&Shape::Text)),
    field("environment", "service.environment", Shape::List(&Shape::Text)),
    field("limits", "service.limits", Shape::Object(LIMITS)),
    field("logging", "service.logging", Shape::Object(LIMITS)),
];
const IMAGE: &[Field] = &[
    field("user", "image.user", Shape::Text),
    field("tags", "image.tags", Shape::List(&Shape::Text)),
];
const ROOT: &[Field] = &[
    field("service", "service", Shape::Object(SERVICE)),
    field("image", "image", Shape::Object(IMAGE)),
];

const fn field(name: &'static str, path: &'static str, shape: Shape) -> Field {
    Field { name, path, shape, tells: "" }
}

fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Value)>, is_object: bool) -> Value {
    let entries = entries.into_iter().map(|(key, value)| (Key::text(key), value)).collect();
    Value::Map(Arc::new(Map { entries, open: None, is_object }))
}

fn port(number: i64, address: Option<&str>) -> Value {
    let address = address.map_or(Value::Null, Value::text);
    map([("number", Value::Whole(number)), ("address", address)], true)
}

/// A service whose image is not known: its user is not either, nor what else is in its environment.
fn root() -> Value {
    let environment = List { items: vec![Value::text("TZ")], open: Some("image.environment") };
    let labels = [("tier", Value::text("web")), ("a.b", Value::text("1"))];
    let service = map(
        [
            ("name", Value::text("web")),
            ("user", Value::unknown("image.user")),
            ("privileged", Value::YesNo(false)),
            ("weight", Value::Number(0.5)),
            ("labels", map(labels, false)),
            ("ports", Value::list([port(80, None), port(8080, Some("127.0.0.1"))])),
            ("drops", Value::list([])),
            ("environment", Value::List(Arc::new(environment))),
            ("limits", map([("memory", Value::Null)], true)),
            ("logging", Value::Null),
        ],
        true,
    );
    let image = [("user", Value::unknown("image.user")), ("tags", Value::unknown("image.tags"))];
    map([("service", service), ("image", map(image, true))], true)
}

/// What a condition comes to, in a word.
fn told(text: &str) -> String {
    let condition = match Condition::compile(text, ROOT) {
        Ok(condition) => condition,
        Err(error) => return format!("refused at {}: {error}", error.at),
    };
    match condition.evaluate(&root(), &mut Steps::default()) {
        Ok(Outcome::Known(value)) => value.to_string(),
        Ok(Outcome::Unknown(needs)) => {
            format!("unknown {}", needs.into_iter().collect::<Vec<_>>().join(" "))
        }
        Err(error) => format!("error: {error}"),
    }
}

fn check(table: &[(&str, &str)]) {
    let wrong = table.iter().filter(|(text, expect)| told(text) != *expect);
    let wrong: Vec<String> =
        wrong.map(|(text, expect)| format!("{text}\n  {}\n  not {expect}", told(text))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn operators_do_what_the_language_says() {
    check(&[
        ("true", "true"),
        ("!true", "false"),
        ("!!true", "true"),
        ("true && false || true", "true"),
        ("true || false && false", "true"),
        ("true ? false : true", "false"),
        ("false ? true : true ? false : true", "false"),
        ("1 + 2 * 3 == 7", "true"),
        ("(1 + 2) * 3 == 9", "true"),
        ("10 - 3 - 2 == 5", "true"),
        ("7 / 2 == 3 && -7 / 2 == -3 && -7 % 2 == -1", "true"),
        ("7.0 / 2.0 == 3.5", "true"),
        ("-9223372036854775808 < 0", "true"),
        ("0x1F == 31 && .5 == 0.5 && 1e3 == 1000.0", "true"),
        ("1 == 1.0 && 2 > 1.5 && 1.5 < 2", "true"),
        ("9007199254740993 == 9007199254740992.0", "false"),
        ("9007199254740993 > 9007199254740992.0", "true"),
        ("0.0 / 0.0 == 0.0 / 0.0", "false"),
        ("0.0 / 0.0 != 0.0 / 0.0", "true"),
        ("0.0 / 0.0 < 1.0 || 0.0 / 0.0 >= 1.0", "false"),
        ("'a' + 'b' == 'ab' && 'a' < 'b' && 'B' < 'a'", "true"),
        ("[1, 2] + [3] == [1, 2, 3]", "true"),
        ("[1, 2] == [2, 1]", "false"),
        ("[1, 2] == [1.0, 2.0]", "true"),
        ("{'a': 1, 'b': [2]} == {'b': [2], 'a': 1}", "true"),
        ("{'a': 1} == {'a': 2}", "false"),
        ("{'a': 1} == {'b': 1}", "false"),
        ("2 in [1, 2] && !(3 in [1, 2]) && 1.0 in [1]", "true"),
        ("'tier' in service.labels", "true"),
        ("'other' in service.labels", "false"),
        ("service.labels['a.b'] == '1'", "true"),
        ("service.labels.tier == 'web'", "true"),
        ("{'a': {'b': 3}}.a.b == 3 && {1: 'x'}[1] == 'x'", "true"),
        ("[1, 2, 3][1] == 2", "true"),
        ("null == null && service.limits.memory == null", "true"),
        ("service.limits.memory != null", "false"),
        ("'it''s' == 'its'", "refused at 4: expected an operator or its end, found a text"),
        ("'\\x41\\u00e4\\101\\n' == \"Aä\\x41\\n\"", "true"),
        ("r'\\d' == '\\\\d' && '''a\nb''' == 'a\\nb'", "true"),
        ("true // it is", "true"),
        ("service\n  .ports[0]\n  .number == 80", "true"),
    ]);
}

#[test]
fn functions_and_loops_do_what_the_language_says() {
    check(&[
        ("size('äöü') == 3 && 'ab'.size() == 2", "true"),
        ("size(service.ports) == 2 && size({'a': 1}) == 1", "true"),
        ("'postgres:16'.startsWith('postgres') && 'a.b'.endsWith('.b')", "true"),
        ("'abc'.contains('bc') && !'abc'.contains('x')", "true"),
        ("'web-12'.matches('^[a-z]+-[0-9]+$')", "true"),
        ("matches('web-12', r'\\d\\d')", "true"),
        ("'ä'.matches(r'\\w')", "false"),
        ("' A '.trim().lowerAscii() == 'a' && 'b'.upperAscii() == 'B'", "true"),
        ("'a:b:c'.split(':') == ['a', 'b', 'c'] && 'ä1'.split('') == ['ä', '1']", "true"),
        ("int('12') + int(3.9) == 15 && double(2) == 2.0 && string(5) + 'x' == '5x'", "true"),
        ("service.ports.exists(p, p.number == 80)", "true"),
        ("service.ports.all(p, p.address != null)", "false"),
        ("service.ports.exists_one(p, p.address == null)", "true"),
        ("service.ports.existsOne(p, p.number > 1)", "false"),
        ("service.ports.map(p, p.number) == [80, 8080]", "true"),
        ("service.ports.map(p, p.number > 80, p.number * 2) == [16160]", "true"),
        ("service.ports.filter(p, p.number < 100).map(p, p.number) == [80]", "true"),
        ("service.drops.all(it, false) && !service.drops.exists(it, true)", "true"),
        ("service.labels.all(key, key.size() > 2)", "true"),
        ("service.labels.exists(key, service.labels[key] == 'web')", "true"),
        ("[1, 2].all(x, [1, 2].exists(y, x == y))", "true"),
        ("[1].map(x, [2].map(x, x)) == [[2]]", "true"),
        ("[1, 0].exists(x, 1 / x == 1) && [0, 1].exists(x, 1 / x == 1)", "true"),
        ("[0, 2].all(x, 1 / x == 1)", "false"),
    ]);
}

#[test]
fn what_is_declared_is_asked_for() {
    check(&[
        ("has(service.name)", "true"),
        ("has(service.limits.memory)", "false"),
        ("has(service.drops)", "false"),
        ("has(service.ports)", "true"),
        ("has(service.labels.tier)", "true"),
        ("has(service.labels.other)", "false"),
        ("has(service.logging)", "false"),
        ("has(service.logging.memory)", "false"),
        ("service.logging.memory == null", "true"),
        ("has(service.user)", "unknown image.user"),
        ("has(service.environment)", "true"),
    ]);
}

#[test]
fn what_is_not_known_is_never_a_pass() {
    check(&[
        ("service.user == 'root'", "unknown image.user"),
        ("service.user != 'root'", "unknown image.user"),
        ("!(service.user == 'root')", "unknown image.user"),
        ("service.user == 'a' || true", "true"),
        ("true || service.user == 'a'", "true"),
        ("service.user == 'a' && false", "false"),
        ("service.user == 'a' && true", "unknown image.user"),
        ("service.user == 'a' && 'x' in image.tags", "unknown image.tags image.user"),
        ("service.user == 'a' ? true : true", "unknown image.user"),
        ("size(image.tags) > 0", "unknown image.tags"),
        ("image.tags.all(t, t != 'latest')", "unknown image.tags"),
        ("image.tags[0] == 'a'", "unknown image.tags"),
        ("service.user.startsWith('a')", "unknown image.user"),
        ("service.user.matches('a')", "unknown image.user"),
        ("int(service.user) + 1 > 2", "unknown image.user"),
        ("-int(service.user) > 2", "unknown image.user"),
        ("service.user in ['a', 'b']", "unknown image.user"),
        ("service.user in service.labels", "unknown image.user"),
        ("service.user in []", "unknown image.user"),
        ("int(service.user) in service.drops.map(it, size(it))", "unknown image.user"),
        ("service.user in image.tags", "unknown image.tags image.user"),
        ("'a' in ['a', service.user]", "unknown image.user"),
        ("'b' in ['a', service.user]", "unknown image.user"),
        ("['a', service.user] == ['a', 'b']", "unknown image.user"),
        ("['a', service.user] == ['x', 'b']", "unknown image.user"),
        ("{'a': service.user} == {'b': 1}", "unknown image.user"),
        ("{service.user: 1} == {'b': 1}", "unknown image.user"),
        // A list that is known in part.
        ("'TZ' in service.environment", "true"),
        ("'X' in service.environment", "unknown image.environment"),
        ("service.environment.exists(e, e == 'TZ')", "true"),
        ("service.environment.exists(e, e == 'X')", "unknown image.environment"),
        ("service.environment.all(e, e == 'TZ')", "unknown image.environment"),
        ("service.environment.all(e, e == 'X')", "false"),
        ("service.environment.exists_one(e, true)", "unknown image.environment"),
        ("size(service.environment) == 1", "unknown image.environment"),
        ("service.environment[0] == 'TZ'", "unknown image.environment"),
        ("service.environment == ['TZ']", "unknown image.environment"),
        ("service.environment.filter(e, e == 'TZ').exists(e, true)", "unknown image.environment"),
        ("size(service.environment.map(e, e)) == 1", "unknown image.environment"),
        ("size(service.environment + ['a']) == 2", "unknown image.environment"),
        ("[1, 2].filter(x, service.user == 'a').exists(x, true)", "unknown image.user"),
        ("size([1, 2].map(x, service.user == 'a', x)) == 2", "unknown image.user"),
        ("size([1, 2].map(x, service.user)) == 2", "unknown image.user"),
        ("[1, 2].exists_one(x, x == 1 || service.user == 'a')", "unknown image.user"),
        // It could still decide, so that what has no value is not the end.
        ("1 / 0 == 1 || service.user == 'a'", "unknown image.user"),
        ("1 / 0 == 1 && service.user == 'a'", "unknown image.user"),
        ("service.user == 'a' && 1 / 0 == 1 && false", "false"),
    ]);
}

#[test]
fn what_has_no_value_is_told() {
    check(&[
        ("1 / 0 == 1", "error: a number is divided by zero"),
        ("1 % 0 == 1", "error: a number is divided by zero"),
        ("1 / 0 == 1 || true", "true"),
        ("false && 1 / 0 == 1", "false"),
        ("9223372036854775807 + 1 > 0", "error: a number gets too large"),
        ("-9223372036854775808 / -1 > 0", "error: a number gets too large"),
        ("-9223372036854775808 * -1 > 0", "error: a number gets too large"),
        ("-(-9223372036854775808) > 0", "error: a number gets too large"),
        ("service.labels.other == 'a'", "error: there is no `other`"),
        ("service.labels['x.y'] == 'a'", "error: there is no `x.y`"),
        ("[1][1] == 1", "error: there is no item 1"),
        ("[1][-1] == 1", "error: there is no item -1"),
        ("service.limits.memory > 1", "error: `>` does not work on nothing and a whole number"),
        ("int('x') == 1", "error: a value is no whole number"),
        ("int(1e300) == 1", "error: a value is no whole number"),
        ("double('x') == 1.0", "error: a value is no number"),
        ("{'a': 1}['a']", "error: a condition is true or false, this is a whole number"),
        (
            "{'a': 1}['a'].startsWith('x')",
            "error: `startsWith` does not work on a whole number and a text",
        ),
        ("[1, 'a'][0] && true", "error: `&&` does not work on a whole number"),
        ("[1, 'a'].all(x, x)", "error: `&&` does not work on a whole number"),
    ]);
}

#[test]
fn what_can_never_have_a_value_is_refused_where_it_stands() {
    check(&[
        ("", "refused at 0: expected a value, found its end"),
        ("// nothing", "refused at 10: expected a value, found its end"),
        ("1 +", "refused at 3: expected a value, found its end"),
        ("(true", "refused at 5: expected `)`, found its end"),
        ("true)", "refused at 4: expected an operator or its end, found `)`"),
        ("[1, 2", "refused at 5: expected `,`, found its end"),
        ("a = b", "refused at 2: `=` has no meaning here"),
        ("a & b", "refused at 2: `&` has no meaning here"),
        ("ä == 1", "refused at 0: `\\u{e4}` has no meaning here"),
        ("'a", "refused at 0: the text has no closing '"),
        ("'a\nb'", "refused at 0: a text ends on the line that it begins on"),
        ("'\\q' == ''", "refused at 1: what follows the `\\` has no meaning"),
        ("'\\ud800' == ''", "refused at 1: what follows the `\\` has no meaning"),
        ("'\\x4' == ''", "refused at 1: what follows the `\\` has no meaning"),
        ("1u == 1", "refused at 0: unsigned numbers have no meaning here"),
        ("b'a' == b'a'", "refused at 0: bytes have no meaning here"),
        ("1x == 1", "refused at 1: `x` cannot follow a number"),
        ("0x == 1", "refused at 0: `0x` needs digits"),
        ("9223372036854775808 > 0", "refused at 0: the number is too large"),
        ("-9223372036854775809 < 0", "refused at 1: the number is too large"),
        ("1e999 > 0.0", "refused at 0: the number is too large"),
        ("for == 1", "refused at 0: `for` is a word of the language"),
        ("1 ? true : false", "refused at 0: `?` does not work on a whole number"),
        ("service", "refused at 0: a condition is true or false, this is an object"),
        ("service.name", "refused at 8: a condition is true or false, this is a text"),
        ("servce.name == ''", "refused at 0: nothing is called `servce`"),
        ("service.nam == ''", "refused at 8: there is no field `nam`"),
        ("service.ports.exists(p, p.numbr == 1)", "refused at 26: there is no field `numbr`"),
        ("service.ports[0].numbr == 1", "refused at 17: there is no field `numbr`"),
        ("has(service.nam)", "refused at 12: there is no field `nam`"),
        ("has(service)", "refused at 0: `has` asks for one field"),
        ("has(service['name'])", "refused at 0: `has` asks for one field"),
        ("service['name'] == ''", "refused at 7: an object has fields, no items"),
        ("service.name.x == ''", "refused at 13: a text has no fields"),
        ("service.ports.x == ''", "refused at 14: a list has no fields"),
        ("service.name[0] == ''", "refused at 12: a text has no items"),
        ("service.ports['a'] == null", "refused at 14: an item of a list has a number, not a text"),
        (
            "service.labels[1] == ''",
            "refused at 15: a key of this map is a text, not a whole number",
        ),
        ("service.name == 1", "refused at 13: a text is never equal to a whole number"),
        ("service.ports == 1", "refused at 14: a list is never equal to a whole number"),
        ("service.drops == [1]", "refused at 14: a list is never equal to a list"),
        ("1 in service.drops", "refused at 2: a whole number is never in this list: a list"),
        ("'a' in 'abc'", "refused at 4: `in` does not work on a text and a text"),
        ("service.name > 1", "refused at 13: `>` does not work on a text and a whole number"),
        ("service.name && true", "refused at 8: `&&` does not work on a text"),
        ("!service.name", "refused at 9: `!` does not work on a text"),
        ("-service.name == ''", "refused at 0: `-` does not work on a text"),
        (
            "1 + 1.0 == 2.0",
            "refused at 2: `+` does not work on a whole number and a number with a fraction",
        ),
        ("'a' * 2 == ''", "refused at 4: `*` does not work on a text and a whole number"),
        (
            "1.5 % 2.0 == 1.0",
            "refused at 4: `%` does not work on a number with a fraction and a number with a fraction",
        ),
        ("service.ports.exists(p)", "refused at 14: `exists` takes 2 arguments"),
        (
            "service.ports.exists(1, true)",
            "refused at 21: the first argument of `exists` names the item",
        ),
        (
            "service.ports.exists(p, 1)",
            "refused at 24: the condition of a loop is true or false, this is a whole number",
        ),
        ("service.name.exists(p, true)", "refused at 13: a text has no items to go through"),
        ("service.name.startWith('a')", "refused at 13: there is no function `startWith`"),
        ("startsWith('a', 'b')", "refused at 0: `startsWith` is written `text.startsWith(part)`"),
        (
            "service.name.startsWith()",
            "refused at 13: `startsWith` is written `text.startsWith(part)`",
        ),
        ("service.ports.contains('a')", "refused at 8: `contains` does not work on a list"),
        ("'a'.matches(service.name)", "refused at 20: the pattern of `matches` is written out"),
        ("'a'.matches('(')", "refused at 12: no pattern: unclosed group"),
        (
            "'a'.matches('(?=a)')",
            "refused at 12: no pattern: look-around, including look-ahead and look-behind, is not supported",
        ),
        ("type(1) == int", "refused at 0: there is no function `type`"),
        ("a.?b == 1", "refused at 2: expected the name of a field or a function, found `?`"),
        (
            "{1.5: 1} == {}",
            "refused at 1: the key of a map is a text, not a number with a fraction",
        ),
    ]);
}

#[test]
fn a_slip_of_the_hand_is_recognised() {
    let help = |text| Condition::compile(text, ROOT).unwrap_err().help.unwrap_or_default();
    assert_eq!(help("servce.name == ''"), "did you mean `service`?");
    assert_eq!(help("service.nam == ''"), "did you mean `name`?");
    assert_eq!(help("service.ports.exist(p, true)"), "did you mean `exists`?");
    assert_eq!(help("service.name.startWith('a')"), "did you mean `startsWith`?");
    assert_eq!(help("has(service)"), "write `has(service.user)`");
}

/// Runs on half the stack that a thread of the agent has.
fn on_a_small_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    const STACK_BYTES: usize = 1 << 20;
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run);
    thread.unwrap().join().unwrap()
}

/// What nests in a condition, so many deep.
fn nested(depth: usize) -> Vec<String> {
    let around = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
    };
    vec![
        around("(", "true", ")"),
        around("[", "1", "]") + " == []",
        around("size([", "1", "])") + " == 1",
        around("{'a': ", "1", "}") + " == {}",
        around("!", "true", ""),
        around("- ", "service.limits.memory", "") + " == 1",
        around("true ? ", "true", " : true"),
        around("true ? true : ", "true", ""),
        around("[1][", "0", "]") + " == 0",
        around("[1].map(x, ", "1", ")") + " == []",
        around("[1]", "", ".map(x, x)") + " == []",
        around("1", " == 1", " + 1"),
        around("1", " == 1", " - 1"),
        around("true", " == true", " == true"),
        around("service", "", "[0]") + " == 1",
        around("{}", "", ".a") + " == 1",
        around("'a'", "", ".trim()") + " == 'a'",
        around("true", "", " && true"),
        around("true", "", " || true"),
    ]
}

#[test]
fn what_nests_too_deep_is_refused_on_a_small_stack() {
    on_a_small_stack(|| {
        for depth in [CONDITION_DEPTH_MAX - 2, CONDITION_DEPTH_MAX + 1, 100, 10_000, 200_000] {
            for text in nested(depth) {
                let told = told(&text);
                // Rows of `&&` and `||` are no nesting.
                let is_refused = told.starts_with("refused");
                let is_row = text.contains("&&") || text.contains("||");
                let is_deep = depth > CONDITION_DEPTH_MAX;
                let shown: String = text.chars().take(60).collect();
                let has_to = is_deep && !is_row || text.len() > CONDITION_BYTES_MAX;
                assert!(is_refused || !has_to, "{shown}: {told}");
            }
        }
    });
}

/// The depths and lengths that CEL's specification asks of every implementation.
#[test]
fn what_everybody_has_to_read_is_read() {
    on_a_small_stack(|| {
        let around = |open: &str, inner: &str, close: &str, depth: usize| {
            format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
        };
        let numbers: Vec<String> = (0..32).map(|number| number.to_string()).collect();
        let entries: Vec<String> = (0..32).map(|number| format!("{number}: 'a'")).collect();
        check(&[
            (&(around("(", "7", ")", 32) + " == 7"), "true"),
            (&(around("[0][", "0", "]", 12) + " == 0"), "true"),
            (&(around("int(", "7", ")", 12) + " == 7"), "true"),
            (&format!("size({}) == 1", around("[", "0", "]", 12)), "true"),
            (&format!("size({}) == 1", around("{0: ", "1", "}", 12)), "true"),
            (&around("true ? true : ", "false", "", 24), "true"),
            (&around("false || ", "true", "", 31), "true"),
            (&around("true && ", "false", "", 31), "false"),
            (&(around("3 - 3 + ", "3", "", 12) + " == 3"), "true"),
            (&(around("4 * 4 / ", "4", "", 12) + " == 4"), "true"),
            (&around("!", "true", "", 32), "true"),
            (&(around("-", "19", "", 32) + " == 19"), "true"),
            (&format!("{}{} == 'a'", around("[", "'a'", "]", 12), "[0]".repeat(12)), "true"),
            (&format!("[{}][17] == 17", numbers.join(", ")), "true"),
            (&format!("{{{}}}[17] == 'a'", entries.join(", ")), "true"),
        ]);
    });
}

#[test]
fn what_is_huge_is_refused_before_it_is_read() {
    let huge = format!("'{}' == ''", "a".repeat(1 << 20));
    assert_eq!(told(&huge), "refused at 0: a condition has at most 2000 bytes");
    let words = format!("[{}] == []", "1,".repeat(600));
    assert_eq!(told(&words), "refused at 500: a condition has at most 500 words");
    let loops = "[1].all(a, [1].all(b, [1].all(c, [1].all(d, true))))";
    assert_eq!(told(loops), "refused at 37: at most 3 loops are in one another");
    let pattern = format!("'a'.matches('{}')", "a".repeat(201));
    assert_eq!(told(&pattern), "refused at 12: a pattern has at most 200 bytes");
    let repeated = "'a'.matches('((a{100}){100}){100}')";
    assert_eq!(told(repeated), "refused at 12: the pattern becomes too large: it repeats too much");
}

/// A service with this name and so many ports.
fn large(name: usize, ports: i64) -> Value {
    let ports = (0..ports).map(|number| port(number, None));
    let fields = [("name", Value::text("a".repeat(name))), ("ports", Value::list(ports))];
    map([("service", map(fields, true))], true)
}

#[test]
fn what_is_slow_runs_out_of_steps() {
    let costs = |text: &str, root: &Value| {
        let condition = Condition::compile(text, ROOT).unwrap_or_else(|it| panic!("{text}: {it}"));
        let mut steps = Steps::default();
        let end = condition.evaluate(root, &mut steps);
        (end.map_err(|error| error.to_string()), CONDITION_STEPS_MAX - steps.left())
    };
    let out = Err("it needs more than 100000 steps".to_owned());
    let ports = large(1, 2_000);
    let twice = "service.ports.all(a, service.ports.all(b, a.number >= 0))";
    assert_eq!(costs(twice, &ports).0, out);
    // What decides at the end cannot make up for it.
    assert_eq!(costs(&format!("{twice} || true"), &ports).0, out);
    let (end, steps) = costs("service.ports.all(a, a.number >= 0)", &ports);
    assert_eq!(end, Ok(Outcome::Known(true)));
    assert!((8_000..12_000).contains(&steps), "{steps}");
    // Lists that double, and texts that do.
    let doubled = format!("size([0]{}) > 0", ".map(x, [x, x])".repeat(20));
    assert_eq!(costs(&doubled, &ports).0, Ok(Outcome::Known(true)));
    let longer = "service.ports + service.ports";
    let lists = format!("size([{longer}].map(x, x + x).map(x, x + x)) > 0");
    assert_eq!(costs(&lists, &ports).0, Err("a list gets longer than 10000 items".to_owned()));
    let texts = format!("[service.name]{}.all(x, size(x) > 0)", ".map(x, x + x)".repeat(20));
    let too_long = Err("a text gets longer than 16384 bytes".to_owned());
    assert_eq!(costs(&texts, &large(100, 0)).0, too_long);
    // Shared parts of a value are compared as often as they stand in it.
    let tree = format!("[0]{}", ".map(x, [x, x])".repeat(20));
    assert_eq!(costs(&format!("{tree} == {tree}"), &ports).0, out);
    let pattern = "service.name.matches('(a*)*b') || service.name.matches('(a|a)*b')";
    assert_eq!(costs(pattern, &large(8_000, 0)).0, Ok(Outcome::Known(false)));
    let too_long = Err("a text for `matches` has more than 8192 bytes".to_owned());
    assert_eq!(costs(pattern, &large(9_000, 0)).0, too_long);
    let many = "service.ports.all(p, service.name.matches('(a|a)*b'))";
    assert_eq!(costs(&many.replace("all", "exists"), &large(8_000, 1_000)).0, out);
    assert_eq!(
        costs("size(service.name.split('')) > 0", &large(10_001, 0)).0,
        Err("a list gets longer than 10000 items".to_owned())
    );
}

#[test]
fn all_conditions_of_a_service_share_their_steps() {
    let condition = Condition::compile("service.ports.all(a, a.number >= 0)", ROOT).unwrap();
    let (root, mut steps) = (large(1, 10_000), Steps::default());
    let mut count: u64 = 0;
    let error = loop {
        steps.begin();
        match condition.evaluate(&root, &mut steps) {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
        assert!(count < 1_000, "it ends");
    };
    assert_eq!(error, EvaluationError::OutOfAllSteps);
    // Each takes some 40,000.
    assert!((20..=25).contains(&count), "{count}");
    assert!(count * 40_000 < CONDITION_STEPS_ALL_MAX);
}
