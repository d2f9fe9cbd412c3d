//! Reads columns as the domain's types and back. Owns the text and number forms. Face: the
//! functions. Never guesses: a column that says nothing known is an error with its noun.

use std::fmt::Display;
use std::str::FromStr;

use rusqlite::types::Value;
use rusqlite::{Connection, Params, Row, RowIndex};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::Fault;
use crate::base::{Timestamp, canonical};
use crate::store::filter::Bound;

pub(super) use crate::store::filter::nanos;

/// Reads what a query finds, row by row.
pub(super) fn collect<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(read(row)?);
    }
    Ok(items)
}

pub(super) fn optional_nanos(time: Option<Timestamp>) -> Option<i64> {
    time.map(nanos)
}

fn timestamp(nanos: i64) -> Result<Timestamp, Fault> {
    Timestamp::from_nanosecond(i128::from(nanos)).map_err(|error| Fault::unreadable("time", error))
}

pub(super) fn time(row: &Row<'_>, column: impl RowIndex) -> Result<Timestamp, Fault> {
    timestamp(row.get(column)?)
}

pub(super) fn optional_time(
    row: &Row<'_>,
    column: impl RowIndex,
) -> Result<Option<Timestamp>, Fault> {
    row.get::<_, Option<i64>>(column)?.map(timestamp).transpose()
}

/// A column that holds an id, a digest or a key.
pub(super) fn parsed<T>(
    row: &Row<'_>,
    column: impl RowIndex,
    noun: &'static str,
) -> Result<T, Fault>
where
    T: FromStr,
    T::Err: Display,
{
    parse(&row.get::<_, String>(column)?, noun)
}

pub(super) fn optional_parsed<T>(
    row: &Row<'_>,
    column: impl RowIndex,
    noun: &'static str,
) -> Result<Option<T>, Fault>
where
    T: FromStr,
    T::Err: Display,
{
    let text = row.get::<_, Option<String>>(column)?;
    text.map(|text| parse(&text, noun)).transpose()
}

pub(super) fn parse<T>(text: &str, noun: &'static str) -> Result<T, Fault>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| Fault::unreadable(noun, error))
}

/// A column that holds JSON.
pub(super) fn json<T: DeserializeOwned>(
    row: &Row<'_>,
    column: impl RowIndex,
    noun: &'static str,
) -> Result<T, Fault> {
    let text = row.get_ref(column)?.as_str().map_err(|error| Fault::unreadable(noun, error))?;
    serde_json::from_str(text).map_err(|error| Fault::unreadable(noun, error))
}

/// A column that holds JSON or nothing.
pub(super) fn optional_json<T: DeserializeOwned>(
    row: &Row<'_>,
    column: impl RowIndex,
    noun: &'static str,
) -> Result<Option<T>, Fault> {
    let value = row.get_ref(column)?;
    let text = value.as_str_or_null().map_err(|error| Fault::unreadable(noun, error))?;
    let read = |text| serde_json::from_str(text).map_err(|error| Fault::unreadable(noun, error));
    text.map(read).transpose()
}

pub(super) fn to_json<T: Serialize>(value: &T, noun: &'static str) -> Result<String, Fault> {
    let bytes = canonical::to_bytes(value).map_err(|error| Fault::not_canonical(noun, &error))?;
    String::from_utf8(bytes).map_err(|error| Fault::unreadable(noun, error))
}

/// An unsigned number, which SQLite keeps as a signed one.
pub(super) fn unsigned(row: &Row<'_>, column: impl RowIndex) -> Result<u64, Fault> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|error| Fault::unreadable("number", error))
}

pub(super) fn small(row: &Row<'_>, column: impl RowIndex) -> Result<u32, Fault> {
    u32::try_from(row.get::<_, i64>(column)?).map_err(|error| Fault::unreadable("number", error))
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What is bound to the marks of a statement. Lists have a mark for each of their texts here.
pub(super) fn bound(values: Vec<Bound>) -> Vec<Value> {
    let texts = |bound| match bound {
        Bound::Text(text) => vec![Value::Text(text)],
        Bound::Number(number) => vec![Value::Integer(number)],
        Bound::Texts(texts) => texts.into_iter().map(Value::Text).collect(),
    };
    values.into_iter().flat_map(texts).collect()
}
