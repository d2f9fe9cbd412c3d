//! Hooks as they are read, printed and lowered.

use serde_json::json;

use super::{case, check_web, first_lines};
use crate::base::limits::HOOKS_MAX;
use crate::facts::Hook;

#[test]
fn hooks_are_read_printed_and_lowered() {
    let body = "    post_start:
      - command: sh -c 'date > /tmp/began'
        user: root
        privileged: true
        working_dir: /srv
        environment: [A=b, UNSET]
      - command: [prepare, --all]
    pre_stop: [{command: flush}]
";
    check_web(
        body,
        json!({
            "post_start": [
                {
                    "command": ["sh", "-c", "date > /tmp/began"],
                    "user": "root",
                    "privileged": true,
                    "working_dir": "/srv",
                    "environment": {"A": "b", "UNSET": null},
                },
                {"command": ["prepare", "--all"]},
            ],
            "pre_stop": [{"command": ["flush"]}],
        }),
    );
    let text = format!("services:\n  web:\n    image: i\n{body}");
    let spec = case(&[("compose.yaml", &text)]).lower().unwrap();
    let web = &spec.services["web"];
    let [first, second] = &web.post_start[..] else { panic!("{:?}", web.post_start) };
    let words = |hook: &Hook| hook.command.join(" ");
    assert_eq!(words(first), "sh -c date > /tmp/began");
    assert_eq!((first.user.as_deref(), first.privileged), (Some("root"), true));
    assert_eq!(first.working_dir.as_deref(), Some("/srv"));
    assert_eq!(first.environment.keys().collect::<Vec<_>>(), ["A"], "what has no value is not set");
    assert_eq!(first.environment["A"].expose(), "b");
    assert_eq!((words(second), second.user.as_ref()), ("prepare --all".to_owned(), None));
    assert_eq!(web.pre_stop.iter().map(words).collect::<Vec<_>>(), ["flush"]);
}

#[test]
fn hooks_that_cannot_be_executed_are_named_with_their_place() {
    let many = vec!["{command: a}"; HOOKS_MAX + 1].join(", ");
    let long = "x".repeat(128 << 10);
    let variables: Vec<String> = (0..257).map(|n| format!("V{n}: x")).collect();
    let cases = [
        (
            "post_start: [{user: root}]".to_owned(),
            "4:18: `services.web.post_start[0].command` cannot be honoured: a hook has to name a \
             program",
        ),
        (
            "pre_stop: [{command: a}, {command: []}]".to_owned(),
            "4:40: `services.web.pre_stop[1].command` cannot be honoured: a hook has to name a \
             program",
        ),
        (
            format!("pre_stop: [{many}]"),
            "4:15: `services.web.pre_stop` cannot be honoured: it holds 17 commands, and 16 may be",
        ),
        (
            format!("post_start: [{{command: [a, {long}]}}]"),
            "4:28: `services.web.post_start[0].command` cannot be honoured: with its variables it \
             has 131073 bytes, and 131072 may be",
        ),
        (
            format!("post_start: [{{command: a, environment: {{{}}}}}]", variables.join(", ")),
            "4:44: `services.web.post_start[0].environment` cannot be honoured: at most 256 \
             variables may be set",
        ),
    ];
    for (line, expect) in cases {
        let text = format!("services:\n  web:\n    image: i\n    {line}\n");
        let problems = case(&[("compose.yaml", &text)]).lower().unwrap_err();
        assert_eq!(first_lines(&problems), [format!("compose.yaml:{expect}")]);
    }
}
