//! Reads columns as the domain's types and back. Owns the text and number forms. Face: the
//! functions. Never guesses: a column that says nothing known is an error with its noun.

use std::fmt::Display;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::fault::Fault;
use crate::base::{Digest, Timestamp, canonical, chain};
use crate::store::filter::Bound;

pub(super) use crate::store::filter::nanos;

pub(super) fn optional_nanos(time: Option<Timestamp>) -> Option<i64> {
    time.map(nanos)
}

fn timestamp(nanos: i64) -> Result<Timestamp, Fault> {
    Timestamp::from_nanosecond(i128::from(nanos)).map_err(|error| Fault::unreadable("time", error))
}

pub(super) fn time(row: &Row, column: usize) -> Result<Timestamp, Fault> {
    timestamp(row.try_get(column)?)
}

pub(super) fn optional_time(row: &Row, column: usize) -> Result<Option<Timestamp>, Fault> {
    row.try_get::<_, Option<i64>>(column)?.map(timestamp).transpose()
}

pub(super) fn text(row: &Row, column: usize) -> Result<String, Fault> {
    Ok(row.try_get(column)?)
}

/// A column that holds an id, a digest or a key.
pub(super) fn parsed<T>(row: &Row, column: usize, noun: &'static str) -> Result<T, Fault>
where
    T: FromStr,
    T::Err: Display,
{
    parse(row.try_get(column)?, noun)
}

pub(super) fn optional_parsed<T>(
    row: &Row,
    column: usize,
    noun: &'static str,
) -> Result<Option<T>, Fault>
where
    T: FromStr,
    T::Err: Display,
{
    row.try_get::<_, Option<&str>>(column)?.map(|text| parse(text, noun)).transpose()
}

pub(super) fn parse<T>(text: &str, noun: &'static str) -> Result<T, Fault>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error: T::Err| Fault::unreadable(noun, error))
}

pub(super) fn digest(text: &str) -> Result<Digest, Fault> {
    Digest::from_hex(text).ok_or_else(|| Fault::unreadable("digest", "64 digits are expected"))
}

/// A column that holds JSON.
pub(super) fn json<T: DeserializeOwned>(
    row: &Row,
    column: usize,
    noun: &'static str,
) -> Result<T, Fault> {
    from_json(row.try_get(column)?, noun)
}

pub(super) fn optional_json<T: DeserializeOwned>(
    row: &Row,
    column: usize,
    noun: &'static str,
) -> Result<Option<T>, Fault> {
    row.try_get::<_, Option<&str>>(column)?.map(|text| from_json(text, noun)).transpose()
}

fn from_json<T: DeserializeOwned>(text: &str, noun: &'static str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::unreadable(noun, error))
}

pub(super) fn to_json<T: Serialize>(value: &T, noun: &'static str) -> Result<String, Fault> {
    let bytes =
        canonical::to_bytes(value).map_err(|error| Fault::unreadable(noun, chain(&error)))?;
    String::from_utf8(bytes).map_err(|error| Fault::unreadable(noun, error))
}

/// Yes or no, which both dialects keep as a number.
pub(super) fn flag(row: &Row, column: usize) -> Result<bool, Fault> {
    Ok(row.try_get::<_, i64>(column)? != 0)
}

pub(super) fn unsigned(row: &Row, column: usize) -> Result<u64, Fault> {
    number(row.try_get(column)?)
}

pub(super) fn small(row: &Row, column: usize) -> Result<u32, Fault> {
    number(row.try_get(column)?)
}

/// A number of another width, when it fits.
pub(super) fn number<T: TryFrom<i64>>(number: i64) -> Result<T, Fault>
where
    T::Error: Display,
{
    T::try_from(number).map_err(|error| Fault::unreadable("number", error))
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What is bound to the marks of a statement.
pub(super) fn bound(values: &[Bound]) -> Vec<&(dyn ToSql + Sync)> {
    values
        .iter()
        .map(|value| match value {
            Bound::Text(text) => text as &(dyn ToSql + Sync),
            Bound::Number(number) => number,
            Bound::Texts(texts) => texts,
        })
        .collect()
}
