//! Builds the restriction of a list, for every dialect. Owns the only place where SQL is put
//! together. Face: `Restriction`, `Bound`, `Marks`, `nanos`. Never puts a value into the text: values are
//! bound.

use crate::base::Timestamp;
use crate::domain::access::Reach;

/// A time as it is stored: nanoseconds since 1970. Times past the year 2262 stop there.
pub(super) fn nanos(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

/// A value that is bound to a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
    /// Any of these texts: one mark where the dialect knows lists.
    Texts(Vec<String>),
}

impl From<String> for Bound {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Bound {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// How a dialect writes what differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marks {
    /// SQLite: `?`, one for each value, and `LIKE`, which ignores the case.
    Question,
    /// PostgreSQL: `$1`, `$2` …, lists, and `ILIKE`.
    Dollar,
}

/// The conditions of a query, all of which must hold.
#[derive(Debug)]
pub(super) struct Restriction {
    marks: Marks,
    conditions: Vec<String>,
    values: Vec<Bound>,
}

impl Restriction {
    /// No condition yet.
    pub(super) fn new(marks: Marks) -> Self {
        Self { marks, conditions: Vec::new(), values: Vec::new() }
    }

    /// Binds a value and answers its mark.
    fn mark(&mut self, value: impl Into<Bound>) -> String {
        self.values.push(value.into());
        match self.marks {
            Marks::Question => "?".to_owned(),
            Marks::Dollar => format!("${}", self.values.len()),
        }
    }

    /// The column has this value.
    pub(super) fn equals(mut self, column: &'static str, value: impl Into<Bound>) -> Self {
        let mark = self.mark(value);
        self.conditions.push(format!("{column} = {mark}"));
        self
    }

    /// The same when there is a value; else no restriction.
    pub(super) fn equals_if<T: ToString>(self, column: &'static str, value: Option<&T>) -> Self {
        match value {
            Some(value) => self.equals(column, value.to_string()),
            None => self,
        }
    }

    /// A condition without a value.
    pub(super) fn literally(mut self, condition: Option<&'static str>) -> Self {
        self.conditions.extend(condition.map(str::to_owned));
        self
    }

    /// The column has one of these values; none means no restriction.
    pub(super) fn any_of<T: ToString>(mut self, column: &'static str, values: &[T]) -> Self {
        if let [value] = values {
            return self.equals(column, value.to_string());
        }
        if values.is_empty() {
            return self;
        }
        let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
        let condition = match self.marks {
            Marks::Question => {
                let marks: Vec<_> = texts.into_iter().map(|text| self.mark(text)).collect();
                format!("{column} IN ({})", marks.join(", "))
            }
            Marks::Dollar => format!("{column} = ANY({})", self.mark(Bound::Texts(texts))),
        };
        self.conditions.push(condition);
        self
    }

    /// The row is of a tenant within reach. What is of none is within the reach of all alone.
    pub(super) fn within(mut self, column: &'static str, reach: &Reach) -> Self {
        match reach {
            Reach::All => self,
            Reach::Some(tenants) if tenants.is_empty() => {
                self.conditions.push("1 = 0".to_owned());
                self
            }
            Reach::Some(tenants) => {
                let tenants: Vec<_> = tenants.iter().collect();
                self.any_of(column, &tenants)
            }
        }
    }

    /// The column is at least this.
    pub(super) fn at_least(self, column: &'static str, value: Option<i64>) -> Self {
        self.compare(column, ">=", value)
    }

    /// The column is less than this.
    pub(super) fn less_than(self, column: &'static str, value: Option<i64>) -> Self {
        self.compare(column, "<", value)
    }

    /// The column is more than this.
    pub(super) fn more_than(self, column: &'static str, value: Option<i64>) -> Self {
        self.compare(column, ">", value)
    }

    fn compare(mut self, column: &'static str, sign: &'static str, value: Option<i64>) -> Self {
        if let Some(value) = value {
            let mark = self.mark(value);
            self.conditions.push(format!("{column} {sign} {mark}"));
        }
        self
    }

    /// The row comes after the one with this key, in descending order.
    pub(super) fn below(mut self, columns: &'static str, key: Option<Vec<Bound>>) -> Self {
        if let Some(key) = key {
            let marks: Vec<_> = key.into_iter().map(|value| self.mark(value)).collect();
            self.conditions.push(format!("({columns}) < ({})", marks.join(", ")));
        }
        self
    }

    /// The column contains this text, whatever the case.
    pub(super) fn contains(mut self, column: &'static str, text: Option<&str>) -> Self {
        if let Some(text) = text {
            let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            let mark = self.mark(format!("%{escaped}%"));
            let like = match self.marks {
                Marks::Question => "LIKE",
                Marks::Dollar => "ILIKE",
            };
            self.conditions.push(format!("{column} {like} {mark} ESCAPE '\\'"));
        }
        self
    }

    /// The query `select … where … order by … limit`, and the values to bind.
    pub(super) fn query(mut self, select: &str, order: &str, limit: usize) -> (String, Vec<Bound>) {
        let limit = self.mark(i64::try_from(limit).unwrap_or(i64::MAX));
        let conditions = self.conditions.join(" AND ");
        (format!("{select} WHERE {conditions} ORDER BY {order} LIMIT {limit}"), self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::TenantId;

    #[test]
    fn reach_restricts_to_its_tenants_and_none_to_nothing() {
        let (one, two) = (TenantId::from_u128(1), TenantId::from_u128(2));
        let check = |reach: Reach, expect: &str, values: usize| {
            let built = Restriction::new(Marks::Question).equals("a", "x".to_owned());
            let (text, bound) = built.within("t", &reach).query("SELECT 1", "a", 1);
            assert_eq!(text, format!("SELECT 1 WHERE a = ?{expect} ORDER BY a LIMIT ?"));
            assert_eq!(bound.len(), values);
        };
        check(Reach::All, "", 2);
        check(Reach::Some([].into()), " AND 1 = 0", 2);
        check(Reach::Some([one].into()), " AND t = ?", 3);
        check(Reach::Some([one, two].into()), " AND t IN (?, ?)", 4);
    }

    #[test]
    fn each_dialect_gets_its_own_marks_and_the_same_values() {
        let build = |marks| {
            Restriction::new(marks)
                .equals("a", "x".to_owned())
                .any_of("b", &["y"])
                .any_of("c", &["1", "2"])
                .any_of::<String>("d", &[])
                .at_least("e", Some(5))
                .less_than("e", None)
                .contains("f", Some("50%"))
                .below("g, h", Some(vec![7.into(), "z".to_owned().into()]))
                .query("SELECT * FROM t", "g DESC, h DESC", 10)
        };
        let (sqlite, values) = build(Marks::Question);
        assert_eq!(
            sqlite,
            "SELECT * FROM t WHERE a = ? AND b = ? AND c IN (?, ?) AND e >= ? \
             AND f LIKE ? ESCAPE '\\' AND (g, h) < (?, ?) ORDER BY g DESC, h DESC LIMIT ?"
        );
        assert_eq!(values.len(), 9);
        let (postgres, values) = build(Marks::Dollar);
        assert_eq!(
            postgres,
            "SELECT * FROM t WHERE a = $1 AND b = $2 AND c = ANY($3) AND e >= $4 \
             AND f ILIKE $5 ESCAPE '\\' AND (g, h) < ($6, $7) ORDER BY g DESC, h DESC LIMIT $8"
        );
        let bound = vec![
            Bound::Text("x".to_owned()),
            Bound::Text("y".to_owned()),
            Bound::Texts(vec!["1".to_owned(), "2".to_owned()]),
            Bound::Number(5),
            Bound::Text("%50\\%%".to_owned()),
            Bound::Number(7),
            Bound::Text("z".to_owned()),
            Bound::Number(10),
        ];
        assert_eq!(values, bound);
    }
}
