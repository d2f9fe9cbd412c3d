//! Builds the restriction of a list. Owns the only place where SQL is put together. Face:
//! `Restriction`. Never puts a value into the text: values are bound.

use rusqlite::types::Value;

/// The conditions of a query, all of which must hold.
#[derive(Debug, Default)]
pub(super) struct Restriction {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Restriction {
    /// The column has this value.
    pub(super) fn equals(mut self, column: &'static str, value: impl Into<Value>) -> Self {
        self.conditions.push(format!("{column} = ?"));
        self.values.push(value.into());
        self
    }

    /// The same when there is a value; else no restriction.
    pub(super) fn equals_if<T: ToString>(self, column: &'static str, value: Option<&T>) -> Self {
        match value {
            Some(value) => self.equals(column, value.to_string()),
            None => self,
        }
    }

    /// A condition without a value, for an index over only those rows that fulfil it.
    pub(super) fn literally(mut self, condition: Option<&'static str>) -> Self {
        self.conditions.extend(condition.map(str::to_owned));
        self
    }

    /// The column has one of these values; none means no restriction.
    pub(super) fn any_of<T: ToString>(mut self, column: &'static str, values: &[T]) -> Self {
        if let [value] = values {
            return self.equals(column, value.to_string());
        }
        if !values.is_empty() {
            let marks = vec!["?"; values.len()].join(", ");
            self.conditions.push(format!("{column} IN ({marks})"));
            self.values.extend(values.iter().map(|value| Value::Text(value.to_string())));
        }
        self
    }

    /// The column is at least this.
    pub(super) fn at_least(self, column: &'static str, value: Option<i64>) -> Self {
        self.compare(column, ">=", value)
    }

    /// The column is less than this.
    pub(super) fn less_than(self, column: &'static str, value: Option<i64>) -> Self {
        self.compare(column, "<", value)
    }

    fn compare(mut self, column: &'static str, sign: &'static str, value: Option<i64>) -> Self {
        if let Some(value) = value {
            self.conditions.push(format!("{column} {sign} ?"));
            self.values.push(value.into());
        }
        self
    }

    /// The row comes after the one with this key, in descending order.
    pub(super) fn below(mut self, columns: &'static str, key: Option<(i64, String)>) -> Self {
        if let Some((first, second)) = key {
            self.conditions.push(format!("({columns}) < (?, ?)"));
            self.values.push(first.into());
            self.values.push(second.into());
        }
        self
    }

    /// The column contains this text, whatever the case.
    pub(super) fn contains(mut self, column: &'static str, text: Option<&str>) -> Self {
        if let Some(text) = text {
            let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            self.conditions.push(format!("{column} LIKE ? ESCAPE '\\'"));
            self.values.push(format!("%{escaped}%").into());
        }
        self
    }

    /// The query `select … where … order by … limit`, and the values to bind.
    pub(super) fn query(mut self, select: &str, order: &str, limit: usize) -> (String, Vec<Value>) {
        let conditions = self.conditions.join(" AND ");
        self.values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
        (format!("{select} WHERE {conditions} ORDER BY {order} LIMIT ?"), self.values)
    }
}
