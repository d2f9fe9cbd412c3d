use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::store::sqlite;
use crate::store::transfer::{FORMS, HOSTS, NEWEST, TABLES, table};

/// A table as both dialects should have it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shape {
    /// Each column with its type, and whether it may be empty.
    columns: BTreeMap<String, (String, bool)>,
    /// The columns that tell one row from another.
    primary: BTreeSet<String>,
    /// What else is unique, and whether only some rows count.
    unique: BTreeSet<(Vec<String>, bool)>,
}

type Shapes = BTreeMap<String, Shape>;

/// What each dialect does for reasons of its own is taken out: SQLite keeps no `host_id` where all is
/// of one host, and one row without an id for that host.
fn without_hosts(mut shapes: Shapes) -> Shapes {
    if let Some(host) = shapes.remove("host") {
        shapes.insert(HOSTS.to_owned(), host);
    }
    for (name, shape) in &mut shapes {
        if table(name).is_some_and(|table| table.is_of_host) {
            shape.columns.remove("host_id");
            shape.primary.remove("host_id");
        }
        if name == HOSTS {
            shape.columns.remove("batch");
            shape.columns.remove("id");
        }
    }
    shapes
}

fn of_sqlite(path: &std::path::Path) -> Shapes {
    let connection = rusqlite::Connection::open(path).unwrap();
    let names = |sql: &str, of: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([of], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let tables = "SELECT name FROM sqlite_schema WHERE type = ? AND name NOT LIKE 'sqlite%'";
    let mut shapes = Shapes::new();
    for name in names(tables, "table") {
        let mut shape = Shape::default();
        let mut statement = connection.prepare("SELECT * FROM pragma_table_info(?)").unwrap();
        let mut rows = statement.query([&name]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let column: String = row.get("name").unwrap();
            let kind: String = row.get("type").unwrap();
            let is_key = row.get::<_, i64>("pk").unwrap() > 0;
            let kind = match kind.as_str() {
                "INTEGER" => "int8",
                "TEXT" => "text",
                "BLOB" => "bytea",
                other => panic!("{name}.{column} is {other}"),
            };
            let is_empty = row.get::<_, i64>("notnull").unwrap() == 0 && !is_key;
            if is_key {
                shape.primary.insert(column.clone());
            }
            shape.columns.insert(column, (kind.to_owned(), is_empty));
        }
        let sql = "SELECT * FROM pragma_index_list(?) WHERE \"unique\" = 1 AND origin <> 'pk'";
        let mut statement = connection.prepare(sql).unwrap();
        let mut rows = statement.query([&name]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let index: String = row.get("name").unwrap();
            let sql = "SELECT name FROM pragma_index_info(?) ORDER BY seqno";
            let is_partial = row.get::<_, i64>("partial").unwrap() == 1;
            shape.unique.insert((names(sql, &index), is_partial));
        }
        shapes.insert(name, shape);
    }
    shapes
}

async fn of_postgres(database: &Database) -> Shapes {
    let client = super::queries::client(database).await;
    let mut shapes = Shapes::new();
    let sql = "SELECT table_name::text, column_name::text, udt_name::text, is_nullable = 'YES'
        FROM information_schema.columns WHERE table_schema = 'wharf'";
    for row in client.query(sql, &[]).await.unwrap() {
        let shape: &mut Shape = shapes.entry(row.get(0)).or_default();
        shape.columns.insert(row.get(1), (row.get(2), row.get(3)));
    }
    let sql = "SELECT t.relname::text, i.indisprimary, i.indpred IS NOT NULL,
            ARRAY(SELECT a.attname::text FROM unnest(i.indkey) WITH ORDINALITY k (number, place)
                JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number ORDER BY place)
        FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
        JOIN pg_namespace n ON n.oid = t.relnamespace
        WHERE n.nspname = 'wharf' AND i.indisunique";
    for row in client.query(sql, &[]).await.unwrap() {
        let shape: &mut Shape = shapes.entry(row.get(0)).or_default();
        let columns: Vec<String> = row.get(3);
        match row.get::<_, bool>(1) {
            true => shape.primary = columns.into_iter().collect(),
            false => drop(shape.unique.insert((columns, row.get(2)))),
        }
    }
    shapes
}

/// A database of the newest form in either dialect.
async fn both() -> (Shapes, Shapes) {
    let database = Database::new().await;
    let postgres = of_postgres(&database).await;
    let clock = Arc::new(crate::base::time::TestClock::at("2026-01-01T00:00:00Z".parse().unwrap()));
    let crash_points = Arc::new(crate::base::crash_points::NoCrashPoints);
    let ambient = crate::store::suite::ambient(&clock, 1, crash_points);
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::open_or_create(dir.path(), &*ambient.entropy).unwrap();
    let opened = sqlite::open(sqlite::Opening {
        state_dir: dir.path(),
        keys: &keys,
        ambient: &ambient,
        os_user: "ada",
        hostname: "host-1",
        agent_version: "0.0.0",
        mode: sqlite::Mode::Inline,
        on_commit: None,
    });
    drop(opened.unwrap());
    (of_sqlite(&dir.path().join("wharf.db")), postgres)
}

#[tokio::test]
async fn both_dialects_have_the_same_tables_columns_and_keys() {
    let (sqlite, postgres) = both().await;
    let (sqlite, postgres) = (without_hosts(sqlite), without_hosts(postgres));
    assert_eq!(sqlite.keys().collect::<Vec<_>>(), postgres.keys().collect::<Vec<_>>());
    for (name, shape) in &sqlite {
        assert_eq!(shape, &postgres[name], "{name}: SQLite beside PostgreSQL");
    }
    let columns: usize = sqlite.values().map(|shape| shape.columns.len()).sum();
    assert!(sqlite.len() > 20 && columns > 150, "{} tables, {columns} columns", sqlite.len());
}

#[tokio::test]
async fn every_table_is_carried_and_it_is_known_which_are_of_a_host() {
    let (sqlite, postgres) = both().await;
    let mut carried: BTreeSet<&str> = TABLES.iter().map(|table| table.name).collect();
    carried.insert("migrations");
    assert_eq!(postgres.keys().map(String::as_str).collect::<BTreeSet<_>>(), carried);
    for table in TABLES.iter().filter(|table| table.name != HOSTS) {
        let only_there = postgres[table.name].columns.contains_key("host_id")
            && !sqlite[table.name].columns.contains_key("host_id");
        assert_eq!(table.is_of_host, only_there, "{}", table.name);
    }
}

#[test]
fn the_newest_form_is_that_of_both_dialects() {
    assert_eq!((NEWEST.sqlite, NEWEST.postgres), (sqlite::NEWEST_FORM, migrations::NEWEST));
    let grows = |pair: &[crate::store::transfer::Form]| {
        let [a, b] = pair else { return false };
        a.number < b.number && a.sqlite <= b.sqlite && a.postgres <= b.postgres
    };
    assert!(FORMS.windows(2).all(grows), "{FORMS:?}");
}
