use clap::CommandFactory as _;

use super::*;
use crate::fresh_file;

/// Parses a command line; gives the exit code of what is not accepted.
fn check(line: &str, expect: Option<u8>) {
    let words = std::iter::once("wharf").chain(line.split_whitespace());
    let code = match Cli::try_parse_from(words) {
        Ok(_) => None,
        Err(error) if error.use_stderr() => Some(Exit::Usage.code()),
        Err(_) => Some(Exit::Success.code()),
    };
    assert_eq!(code, expect, "wharf {line}");
}

#[test]
fn the_grammar_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn what_people_type_is_understood() {
    for line in [
        "up",
        "up -f a.yaml -f b.yaml -p shop --env-file x.env --profile debug web db",
        "up --dry-run --format json",
        "up --detach",
        "--socket /x/wharf.sock plan",
        "plan --socket /x/wharf.sock",
        "down --volumes",
        "ps",
        "logs --follow --tail 10 web",
        "logs -f compose.yaml web",
        "restart web",
        "pause -p shop",
        "resume -p shop",
        "run ls --type deploy_project --limit 500",
        "run show 0190",
        "audit ls --limit 500 --format json",
        "audit verify",
        "audit verify --file log.jsonl --anchors a.jsonl --key host.key --format json",
        "audit export log.jsonl",
        "audit export --as cloudevents",
        "audit key",
        "audit purge --before 2026-01-01T00:00:00Z",
        "audit erase-person uid:1001",
        "compose config -f compose.yaml -p conf --format json",
        "config check agent.yaml",
        "config keys",
        "store backup a.backup",
        "store backup a.backup --config agent.yaml --format json",
        "store restore a.backup --config agent.yaml",
        "store move --config agent.yaml --host /run/postgresql --port 5433 --password-file /p",
        "doctor",
        "agent --config agent.yaml",
        "completions bash",
    ] {
        check(line, None);
    }
}

#[test]
fn mistakes_are_usage_errors_and_questions_are_not() {
    for line in
        ["", "upp", "up --dry-run --detach", "logs --tail x", "agent", "run", "--format x ps"]
    {
        check(line, Some(64));
    }
    for line in ["--help", "--version", "up --help", "help up", "-h"] {
        check(line, Some(0));
    }
}

#[test]
fn completions_know_every_verb() {
    for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish]
    {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "wharf", &mut script);
        let script = String::from_utf8(script).unwrap();
        for verb in ["up", "plan", "down", "logs", "doctor", "audit"] {
            assert!(script.contains(verb), "{shell} does not know {verb}");
        }
    }
}

/// `docs/cli.md`: the help of every verb, and the exit codes.
#[test]
fn the_manual_in_the_tree_is_fresh() {
    let mut text = String::from(
        "# The command line\n\nMade from the program's own help. Every verb takes `--socket PATH` \
         (else `WHARF_SOCKET`, else\n`/run/wharfinger/wharf.sock`) and `--format text|json`.\n\n",
    );
    text.push_str("## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for exit in Exit::ALL {
        let (code, meaning) = exit.row();
        text.push_str(&format!("| {code} | {meaning} |\n"));
    }
    let mut command = Cli::command().term_width(96);
    command.build();
    describe(&mut command, &mut text);
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    fresh_file("docs/cli.md", &format!("{}\n", lines.join("\n").trim_end()));
}

fn describe(command: &mut clap::Command, text: &mut String) {
    for verb in command.get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
        let name = verb.get_bin_name().unwrap_or_default().to_owned();
        if verb.has_subcommands() {
            describe(verb, text);
            continue;
        }
        let help = verb.render_help().to_string();
        text.push_str(&format!("\n## `{name}`\n\n```text\n{}\n```\n", help.trim_end()));
    }
}

#[test]
fn what_is_no_project_name_is_a_mistake_of_the_command_line() {
    let cli = Cli::try_parse_from(["wharf", "down", "-p", "NOTVALID"]).unwrap();
    let grammar::Verb::Down(down) = cli.verb else { unreachable!() };
    let refused = down.files.name().unwrap_err();
    assert_eq!(
        (refused.exit, refused.message.as_str()),
        (Exit::Usage, "`NOTVALID` is not a project name")
    );
    assert!(refused.hint.unwrap().contains("lower-case"));
}
