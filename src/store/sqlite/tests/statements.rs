use std::path::Path;

use super::*;

/// The texts between quotation marks of a source file, as the compiler reads them.
fn literals(source: &str) -> Vec<String> {
    let code: Vec<&str> =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut chars = code.chars().peekable();
    let mut found = Vec::new();
    while let Some(char) = chars.next() {
        if char != '"' {
            continue;
        }
        let mut text = String::new();
        while let Some(char) = chars.next().filter(|char| *char != '"') {
            match (char, chars.peek()) {
                ('\\', Some('\n')) => while chars.next_if(|char| char.is_whitespace()).is_some() {},
                ('\\', Some(_)) => text.extend(chars.next()),
                _ => text.push(char),
            }
        }
        found.push(text);
    }
    found
}

fn is_statement(text: &str) -> bool {
    let verbs = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "];
    verbs.iter().any(|verb| text.trim_start().starts_with(verb))
}

/// Every statement of this dialect as a database of the newest form understands it. Those with a
/// part that is filled in at run time are counted: the suite executes them.
#[tokio::test]
async fn every_statement_is_understood_by_the_database() {
    let (_fixture, files) = inline().await;
    let connection = Connection::open(files.database()).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/sqlite");
    let (mut prepared, mut filled_in) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_file() || path.ends_with("tests.rs") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for text in literals(source).into_iter().filter(|text| is_statement(text)) {
            if text.contains('{') {
                filled_in += 1;
                continue;
            }
            let told = connection.prepare(&text);
            assert!(told.is_ok(), "{}: {text}: {}", path.display(), told.unwrap_err());
            prepared += 1;
        }
    }
    assert!(prepared > 100, "only {prepared} were found");
    assert_eq!(filled_in, 7, "of {prepared} others");
}

#[test]
fn statements_are_found_in_a_source() {
    let source = "// \"SELECT 0\"\nlet a = \"SELECT \\\n     1\"; let b = \"say \\\"no\\\"\";";
    assert_eq!(literals(source), ["SELECT 1", "say \"no\""]);
}
