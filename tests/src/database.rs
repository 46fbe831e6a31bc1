//! What the agent wrote, read through the views that anybody may rely on.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use crate::calls::{Calls, Outcomes};

/// A file of the agent, finished or being written.
pub struct Database(Connection);

impl Database {
    /// Opens it for reading only.
    ///
    /// # Panics
    /// Where it is no SQLite database.
    pub fn open(path: &Path) -> Self {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
        Self(connection.unwrap_or_else(|error| panic!("can't open {}: {error}", path.display())))
    }

    /// The rows of a query, every value as text, `NULL` as `-`.
    ///
    /// # Panics
    /// Where the query is wrong or the file broken.
    pub fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        self.try_rows(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    fn try_rows(&self, sql: &str) -> rusqlite::Result<Vec<Vec<String>>> {
        let mut statement = self.0.prepare(sql)?;
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            (0..columns).map(|i| Ok(text(row.get(i)?))).collect()
        })?;
        rows.collect()
    }

    /// What `read` makes of each row of a query.
    ///
    /// # Panics
    /// Where the query is wrong, or a value of another type than `read` wants.
    pub fn map<T>(
        &self,
        sql: &str,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Vec<T> {
        let rows = || -> rusqlite::Result<Vec<T>> {
            let mut statement = self.0.prepare(sql)?;
            statement.query_map([], read)?.collect()
        };
        rows().unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The one integer that a query gives.
    ///
    /// # Panics
    /// Where it gives none.
    pub fn number(&self, sql: &str) -> i64 {
        self.0
            .query_row(sql, [], |row| row.get(0))
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The calls that the view `functions` sums up.
    pub fn functions(&self) -> Calls {
        self.calls_of(
            "SELECT function, ok, err, panic, cancelled, unfinished, target_died, calls FROM functions",
        )
    }

    /// The calls that are rows of the view `calls`, where `condition` holds.
    pub fn calls_where(&self, condition: &str) -> Calls {
        let count = |outcome| format!("sum(outcome = '{outcome}')");
        let counts = [
            "ok",
            "err",
            "panic",
            "cancelled",
            "unfinished",
            "target_died",
        ]
        .map(count)
        .join(", ");
        self.calls_of(&format!(
            "SELECT function, {counts}, count(*) FROM calls WHERE {condition} GROUP BY function"
        ))
    }

    fn calls_of(&self, sql: &str) -> Calls {
        let mut calls = Calls::default();
        for row in self.rows(sql) {
            let number = |at: usize| row[at].parse().expect("a count is an integer");
            let outcomes = Outcomes {
                ok: number(1),
                err: number(2),
                panic: number(3),
                cancelled: number(4),
                unfinished: number(5),
                target_died: number(6),
            };
            assert_eq!(
                outcomes.total(),
                number(7),
                "the outcomes of {row:?} are not all its calls"
            );
            calls.add(&row[0], outcomes);
        }
        calls
    }

    /// Expects that the file holds exactly these calls, and knows that none is missing.
    ///
    /// # Panics
    /// Where it does not; the message names every function that differs.
    pub fn holds(&self, truth: &Calls) {
        let functions = self.functions().differences(truth);
        assert!(
            functions.is_empty(),
            "functions (left) and truth differ:\n{}",
            functions.join("\n")
        );
        let calls = self.calls_where("true").differences(truth);
        assert!(
            calls.is_empty(),
            "calls (left) and truth differ:\n{}",
            calls.join("\n")
        );
        self.is_complete(truth);
    }

    /// Expects that the kernel counted exactly these calls and that every one of them is stored.
    ///
    /// Several functions may have one path: an inherent method, and that of a trait.
    fn is_complete(&self, truth: &Calls) {
        let rows = self.rows(
            "SELECT function, sum(calls_counted), sum(calls_stored), sum(calls_missing), max(reason)
             FROM completeness
             WHERE calls_counted + calls_stored + calls_missing > 0 OR reason IS NOT NULL
             GROUP BY function",
        );
        for row in &rows {
            let calls = truth.of(&row[0]).total().to_string();
            let expected = [row[0].as_str(), &calls, &calls, "0", "-"];
            assert_eq!(row, &expected, "completeness (left) and truth (right)");
        }
        assert_eq!(
            rows.len(),
            truth.0.len(),
            "functions that completeness counts: {rows:#?}"
        );
    }
}

fn text(value: Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text,
        Value::Blob(bytes) => format!("{bytes:?}"),
    }
}
