//! Tables: what a file may say, what an expression yields, what is next.

use super::*;
use crate::base::limits::{RUNBOOK_EXPRESSION_DEPTH_MAX, RUNBOOK_STEPS_MAX};
use crate::domain::access::Capability;
use crate::domain::runbooks::{Argument, Ask, Kind, ReasonRule, Scope};

const WHOLE: &str = r#"key: shop.maintenance
label: Maintain the shop
description: Holds the nightly run back, restarts what was named, lets it go on.
capability: runbooks.run
estimated_duration: 5m
scopes: [single_tenant, all_tenants]
reason: always
parameters:
  service: {type: text, label: What is restarted, enum: [web, worker], default: web}
  tries: {type: whole, min: 1, max: 5, default: 2}
  careful: {type: yes_no}
preflight:
  - id: shop
    call: project.show
    with: {project: shop}
steps:
  - id: hold
    name: Hold the nightly run back
    call: schedule.pause
    with: {schedule: nightly}
    on_unknown: probe
    undo:
      call: schedule.resume
      with: {schedule: nightly}
  - id: go
    when: params.careful && preflight.shop.is_kept
    approve: {message: "Restart ${{ params.service }}?", deadline: 2h}
  - id: restart
    call: project.restart
    with:
      project: shop
      service: ${{ params.service }}
    when: ${{ steps.go.outcome in ['succeeded', 'skipped'] }}
    retry: {attempts: 3, pause: 10s}
    timeout: 10m
    on_unknown: ask
  - id: release
    call: schedule.resume
    with: {schedule: nightly}
    when: steps.hold.changed
"#;

fn file(text: &str) -> RunbookFile {
    read("test.yaml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// `line:column message` of each problem, in the order of the file.
fn problems(text: &str) -> Vec<String> {
    read("test.yaml", text).err().map(|found| found.placed()).unwrap_or_default()
}

#[test]
fn a_whole_file_is_read() {
    let read = file(WHOLE);
    assert_eq!(read.name.as_str(), "shop.maintenance");
    assert_eq!(read.entry.scopes[..], [Scope::SingleTenant, Scope::AllTenants]);
    assert_eq!((read.entry.reason, read.entry.estimated_seconds), (ReasonRule::Always, 300));
    assert_eq!(read.entry.capability, Capability::RunbooksRun);
    let words = vec!["web".to_owned(), "worker".to_owned()];
    assert_eq!(read.parameters()[0].kind, Kind::Choice { words });
    assert!(read.parameters()[2].is_needed);
    assert_eq!(read.looks.len(), 1);
    let needs: Vec<&str> = read.needs().iter().map(Capability::key).collect();
    let expect = ["projects.view", "projects.restart", "schedules.manage", "runbooks.run"];
    assert_eq!(needs, expect);
    let ids: Vec<&str> = read.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["hold", "go", "restart", "release"]);
    let Act::Call(restart) = &read.steps[2].act else { panic!("{:?}", read.steps[2]) };
    assert_eq!((restart.tries, restart.pause), (3, Duration::from_secs(10)));
    assert_eq!((restart.timeout, restart.on_unknown), (Duration::from_secs(600), OnUnknown::Ask));
    let other = file(&WHOLE.replace("10m", "11m"));
    assert_ne!(read.digest, other.digest, "another content is another runbook");
}

#[test]
fn every_planted_fault_is_found_at_its_place() {
    let mut missed = Vec::new();
    let mut check = |from: &str, to: &str, expect: &[&str]| {
        assert!(WHOLE.contains(from), "{from}");
        let found = problems(&WHOLE.replacen(from, to, 1));
        if found != expect {
            missed.push((from.to_owned(), to.to_owned(), found));
        }
    };
    check(
        "key: shop.maintenance",
        "key: shop",
        &["1:6 `shop` has no dot: write `<of what>.<what it does>`, such as `shop.drain`"],
    );
    check(
        "key: shop.maintenance",
        "key: audit.verify",
        &["1:6 `audit.verify` is a runbook of the agent's own: choose another key"],
    );
    check(
        "key: shop.maintenance",
        "key: Shop.X",
        &["1:6 \"Shop.X\" is no name: up to 40 lower-case letters and digits, in words joined by \
         `.`, `_` or `-`, beginning with a letter"],
    );
    check("label: Maintain the shop\n", "", &["1:1 `label` is missing"]);
    check("description:", "descripton:", &["3:1 unknown key `descripton`"]);
    check(
        "[single_tenant, all_tenants]",
        "[some]",
        &["6:10 \"some\" is not a known scope; known are single_tenant, all_tenants"],
    );
    check(
        "estimated_duration: 5m",
        "estimated_duration: soon",
        &["5:21 `estimated_duration` must be a duration, such as `90s` or `1m30s`, found `soon`"],
    );
    check(
        "default: web}",
        "default: db}",
        &["9:81 `default` must be one of web, worker, found text"],
    );
    check(
        "max: 5, default: 2",
        "max: 1, default: 2",
        &["10:49 `default` must be a whole number from 1 to 1, found a number"],
    );
    check(
        "{type: yes_no}",
        "{type: yes_no, min: 3}",
        &["11:32 `min` has no meaning for this type"],
    );
    check(
        "{type: yes_no}",
        "{type: list}",
        &["11:19 `type` must be one of text, whole, yes_no, found `list`"],
    );
    check(
        "call: project.show",
        "call: project.remove",
        &["14:11 `project.remove` changes something: a preflight only looks"],
    );
    check(
        "call: schedule.pause",
        "call: schedule.stop",
        &["19:11 there is no operation `schedule.stop`"],
    );
    check(
        "with: {schedule: nightly}\n    on",
        "with: {shedule: nightly}\n    on",
        &["19:11 `schedule.pause` needs `with: {schedule: …}`", "20:12 unknown key `shedule`"],
    );
    check(
        "on_unknown: probe",
        "on_unknown: guess",
        &["21:17 `on_unknown` must be one of retry, probe, ask, found `guess`"],
    );
    check(
        "deadline: 2h",
        "deadline: 2000h",
        &["27:68 `deadline` lies between one moment and 744h0m0s"],
    );
    check(
        "attempts: 3",
        "attempts: 11",
        &["34:23 `attempts` must be a whole number from 1 to 10, found `11`"],
    );
    check(
        "- id: go",
        "- id: hold",
        &["25:9 `hold` is the id of an earlier one", "33:11 `go` is not an earlier step"],
    );
    check(
        "- id: go",
        "- id: Go!",
        &[
            "25:9 `Go!` is no id: up to 40 lower-case letters, digits and `_`, beginning with a letter",
            "33:11 `go` is not an earlier step",
        ],
    );
    check("approve: {", "call: project.show\n    approve: {", &["27:5 unknown key `call`"]);
    // Names that stand for nothing, and expressions that are none, at their place in the line.
    check(
        "${{ params.service }}?",
        "${{ params.servise }}?",
        &["27:24 `servise` is not a parameter"],
    );
    check(
        "service: ${{ params.service }}",
        "service: a-${{ params. }}",
        &["32:30 expected a name, found its end"],
    );
    check(
        "when: steps.hold.changed",
        "when: steps.restart.changed",
        &["40:11 `changed` is not told by `restart`"],
    );
    check(
        "when: steps.hold.changed",
        "when: steps.release.outcome == 'succeeded'",
        &["40:11 `release` is not an earlier step"],
    );
    check(
        "when: steps.hold.changed",
        "when: steps.hold.changed ==",
        &["40:32 expected a value, found its end"],
    );
    check(
        "when: steps.hold.changed",
        "when: env.HOME == 'x'",
        &["40:11 `env.HOME` stands for nothing"],
    );
    check(
        "when: steps.hold.changed",
        "when: steps.hold.changed; true",
        &["40:29 `;` has no meaning here"],
    );
    assert!(missed.is_empty(), "{missed:#?}");
    // A call that needs a reason, in a runbook that asks for none.
    let reasonless = WHOLE.replace("reason: always\n", "").replace(
        "call: schedule.resume\n    with: {schedule: nightly}\n    when",
        "call: audit.verify\n    when",
    );
    assert_eq!(
        problems(&reasonless),
        ["16:3 step `release` works for all tenants, which needs a reason; write `reason: always`",]
    );
}

#[test]
fn several_faults_are_told_at_once_in_the_order_of_the_file() {
    let text = "key: x\nlabel: 3\nsteps:\n  - call: nothing\n  - id: b\n    approve: {}\nmore: 1\n";
    let found = problems(text);
    let places: Vec<&str> = found.iter().map(|it| it.split(' ').next().unwrap()).collect();
    assert_eq!(places, ["1:6", "2:8", "4:5", "4:11", "6:14", "7:1"], "{found:#?}");
}

#[test]
fn a_file_is_bounded() {
    let many = |steps: usize| {
        let mut text = "key: a.b\nlabel: x\nsteps:\n".to_owned();
        for step in 0..steps {
            text.push_str(&format!("  - {{id: s{step}, call: store.maintenance}}\n"));
        }
        text + "reason: always\n"
    };
    assert_eq!(problems(&many(RUNBOOK_STEPS_MAX)), Vec::<String>::new());
    let found = problems(&many(RUNBOOK_STEPS_MAX + 1));
    assert_eq!(found, ["54:5 `steps` has at most 50 entries"]);
    let long = format!("{}# {}", many(1), "x".repeat(40_000));
    assert_eq!(problems(&long), ["test.yaml: a runbook has at most 32 KiB"]);
    assert_eq!(
        problems("key: a.b\nlabel: x\nsteps: []\n"),
        ["3:8 a runbook has at least one step"]
    );
    assert_eq!(problems("key: a.b\nlabel: x\n"), ["1:1 `steps` is missing"]);
    let bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b]\n\
                key: a.b\nlabel: x\nsteps: *c\n";
    let found = problems(bomb);
    assert!(!found.is_empty() && found.len() < 20, "{found:#?}");
}

fn known() -> Known {
    let text = |text: &str| Argument::Text(text.to_owned());
    let mut journal = Journal::default();
    let looks = Told::from([("count".to_owned(), Argument::Whole(3))]);
    journal.looks = Some([("letters".to_owned(), looks)].into());
    journal.end(Ended {
        id: "hold".to_owned(),
        standing: Standing::Succeeded,
        told: Told::from([("changed".to_owned(), Argument::YesNo(true))]),
    });
    let arguments = Arguments::from([
        ("name".to_owned(), text("web")),
        ("count".to_owned(), Argument::Whole(7)),
        ("sure".to_owned(), Argument::YesNo(false)),
    ]);
    Known { arguments, journal }
}

#[test]
fn expressions_have_the_values_that_cel_gives_them() {
    let check = |text: &str, expect: &str| {
        let value = Expression::parse(text).unwrap().evaluate(&known());
        let shown = value.map_or_else(|error| error.to_string(), |it| it.to_string());
        assert_eq!(shown, expect, "{text}");
    };
    check("1 + 2 - 4", "-1");
    check("-3 < 2", "true");
    check("'a' + \"b\"", "ab");
    check("params.name == 'web'", "true");
    check("params.name + '-1'", "web-1");
    check("params.count >= 7 && !params.sure", "true");
    check("params.sure || params.count == 8", "false");
    check("true || false && false", "true");
    check("(true || false) && false", "false");
    check("1 + 1 == 2", "true");
    check("params.name in ['db', 'web']", "true");
    check("params.count in []", "false");
    check("steps.hold.outcome == 'succeeded' && steps.hold.changed", "true");
    check("preflight.letters.count > 2", "true");
    check("has(params.name) && !has(params.other)", "true");
    // What decides already leaves the rest alone.
    check("false && params.other", "false");
    check("params.other == 1", "`params.other` has no value here");
    check("'a' == 1", "`==` does not take a text and a number");
    check("true < false", "`<` does not take a truth value and a truth value");
    check("!1", "it must be true or false, not a number");
    check("9223372036854775807 + 1", "the number is too large");
}

#[test]
fn an_expression_that_is_none_is_refused_where_it_goes_wrong() {
    let check = |text: &str, at: usize, expect: &str| {
        let error = Expression::parse(text).unwrap_err();
        assert_eq!((error.at, error.message.as_str()), (at, expect), "{text}");
    };
    check("", 0, "expected a value, found its end");
    check("1 +", 3, "expected a value, found its end");
    check("(1", 2, "expected `)`, found its end");
    check("1 2", 2, "expected nothing more, found `2`");
    check("a == b == c", 7, "expected nothing more, found `==`");
    check("x in 3", 5, "expected `[`, found `3`");
    check("'open", 0, "the text has no closing '");
    check("a.'b'", 2, "expected a name, found 'b'");
    check("a ? b : c", 2, "`?` has no meaning here");
    check("99999999999999999999", 0, "the number is too large");
    check("has(1)", 4, "expected a name, found `1`");
}

#[test]
fn no_expression_costs_much() {
    let deep = RUNBOOK_EXPRESSION_DEPTH_MAX;
    let nested = |depth: usize| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Expression::parse(&nested(deep)).is_ok());
    let refused = Expression::parse(&nested(deep + 1)).unwrap_err();
    assert_eq!(refused.message, "an expression nests at most 16 deep");
    assert!(Expression::parse(&format!("{}true", "!".repeat(400))).is_err());
    assert!(Expression::parse(&"[".repeat(400)).is_err());
    let long = format!("1{}", " + 1".repeat(130));
    assert_eq!(
        Expression::parse(&long).unwrap_err().message,
        "an expression has at most 500 characters"
    );
    let row = format!("1{}", " + 1".repeat(40));
    assert_eq!(
        Expression::parse(&row).unwrap_err().message,
        "expected fewer operators in a row, found `+`"
    );
    // A text cannot be made longer and longer.
    let mut known = known();
    known.arguments.insert("long".to_owned(), Argument::Text("x".repeat(400)));
    let doubled = Expression::parse("params.long + params.long").unwrap();
    assert_eq!(doubled.evaluate(&known), Err(EvaluationError::TooLong));
    let template = Template::parse("${{ params.long }}-${{ params.long }}").unwrap();
    assert_eq!(template.evaluate(&known), Err(EvaluationError::TooLong));
}

#[test]
fn a_template_keeps_the_kind_of_a_single_expression() {
    let check = |text: &str, expect: Argument| {
        assert_eq!(Template::parse(text).unwrap().evaluate(&known()), Ok(expect), "{text}");
    };
    check("plain", Argument::Text("plain".to_owned()));
    check("", Argument::Text(String::new()));
    check("${{ params.count }}", Argument::Whole(7));
    check("n${{ params.count }}", Argument::Text("n7".to_owned()));
    check("${{params.name}}/${{ params.sure }}", Argument::Text("web/false".to_owned()));
    let open = Template::parse("ab ${{ params.x").unwrap_err();
    assert_eq!((open.at, open.message.as_str()), (3, "`${{` has no `}}`"));
}

fn step(id: &str, undo: bool) -> String {
    let undo = if undo { ", undo: {call: schedule.resume, with: {schedule: a}}" } else { "" };
    format!("  - {{id: {id}, call: schedule.pause, with: {{schedule: a}}{undo}}}\n")
}

#[test]
fn a_run_goes_forward_and_backward_over_what_was_done() {
    let steps = step("a", true) + &step("b", false) + &step("c", true) + &step("d", true);
    let read = file(&format!("key: a.b\nlabel: x\nsteps:\n{steps}"));
    let mut known = Known::default();
    let mut order = Vec::new();
    for _ in 0..20 {
        let (word, id, standing) = match next(&read, &known) {
            Next::Call(step, _) if step.id == "d" => ("do", "d", Standing::Failed),
            Next::Call(step, _) => ("do", step.id.as_str(), Standing::Succeeded),
            // That one cannot be taken back stops the others' undo in no way.
            Next::Undo(step, _) if step.id == "c" => ("undo", "c", Standing::Failed),
            Next::Undo(step, _) => ("undo", step.id.as_str(), Standing::Succeeded),
            Next::End => break,
            other => panic!("{other:?}"),
        };
        order.push(format!("{word} {id}"));
        let id = id.to_owned();
        known.journal.end(Ended { id, standing, told: Told::new() });
    }
    assert_eq!(order, ["do a", "do b", "do c", "do d", "undo c", "undo a"]);
    assert_eq!(known.journal.phase(), Phase::Backward);
}

#[test]
fn what_was_begun_is_done_whatever_its_condition_says_by_now() {
    let read = file(
        "key: a.b\nlabel: x\nparameters: {go: {type: yes_no}}\nsteps:\n  - id: a\n    when: \
         params.go\n    call: schedule.pause\n    with: {schedule: a}\n",
    );
    let mut known = Known::default();
    assert!(matches!(next(&read, &known), Next::Wrong(_, EvaluationError::NoValue(_))));
    known.arguments.insert("go".to_owned(), Argument::YesNo(false));
    assert!(matches!(next(&read, &known), Next::Skip(_)));
    known.journal.begin("a");
    assert!(matches!(next(&read, &known), Next::Call(..)));
}

#[test]
fn a_plan_tells_what_is_done_left_out_and_decided_later() {
    let read = file(WHOLE);
    let arguments = Arguments::from([
        ("service".to_owned(), Argument::Text("web".to_owned())),
        ("careful".to_owned(), Argument::YesNo(false)),
    ]);
    let mut known = Known { arguments, ..Known::default() };
    let look = Told::from([("is_kept".to_owned(), Argument::YesNo(true))]);
    known.journal.looks = Some([("shop".to_owned(), look)].into());
    let found = plan(&read, &known);
    assert_eq!((found.affected_count, found.total_count), (3, 4));
    let facts: Vec<String> = found.facts.iter().map(|(name, it)| format!("{name}: {it}")).collect();
    assert_eq!(
        facts,
        [
            "preflight.shop.is_kept: true",
            "step 01 hold: schedule.pause schedule=nightly",
            "step 02 go: left out: its condition does not hold",
            "step 03 restart: project.restart project=shop service=web; decided when it is reached",
            "step 04 release: schedule.resume schedule=nightly; decided when it is reached",
        ]
    );
    let ask = Ask::new(&read.entry, Scope::AllTenants, None, &known.arguments).unwrap();
    let digest = |definition| found.digest(&ask, definition).unwrap();
    assert_ne!(digest(read.digest), digest(file(&WHOLE.replace("10m", "9m")).digest));
}

#[test]
fn the_run_of_a_step_has_the_same_id_each_time_and_no_other_step_has_it() {
    let run = RunId::from_u128(0x019a_0000_0000_7000_8000_1234_5678_9abc);
    let id = run_of_step(run, "a", 0, false);
    assert_eq!(id, run_of_step(run, "a", 0, false));
    let others = [
        run_of_step(run, "b", 0, false),
        run_of_step(run, "a", 1, false),
        run_of_step(run, "a", 0, true),
        run_of_step(RunId::from_u128(1), "a", 0, false),
        run,
    ];
    assert!(!others.contains(&id), "{id} {others:?}");
    assert_eq!(id.to_string()[..18], run.to_string()[..18], "it sorts where the run does");
}
