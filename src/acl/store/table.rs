//! The table of the lists, over SQL that both databases speak.
//!
//! The columns are those that Asterisk's documentation names: `name`, `rule_order`, `sense`, `rule`; and `systemname` where
//! asterisk.conf has one, for then Asterisk asks for it. Invariant: every value goes as a parameter, never into the text.

use super::super::list::{List, Mistake, Row, of_rows};
use super::super::mapping::{Mapping, Place};
use super::super::rule::Sense;
use super::StoreError;
use super::postgres::Postgres;
use super::sqlite::Sqlite;
use crate::config::paths::Paths;

/// A row as text, `None` for NULL.
pub(super) type Fields = Vec<Option<String>>;

/// A connection that takes SQL with parameters `$1`, `$2` and gives rows back.
pub(super) trait Connection {
    fn query(&mut self, sql: &str, parameters: &[&str]) -> Result<Vec<Fields>, StoreError>;
    /// Begins a transaction in which nobody else writes.
    fn begin(&mut self, table: &str) -> Result<(), StoreError>;
}

/// The open table.
pub struct Table {
    connection: Box<dyn Connection>,
    /// As it stands in SQL.
    table: String,
    /// As people know it.
    pub shown: String,
    system: Option<String>,
}

impl Table {
    /// Connects, and finds out whether the table is there. To write, a SQLite that Asterisk locks for ever is refused.
    ///
    /// # Errors
    /// If it is not there, does not answer, or must not be written.
    pub fn open(paths: &Paths, mapping: &Mapping, to_write: bool) -> Result<Table, StoreError> {
        let table = &mapping.table;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
        if table.is_empty() || !table.bytes().all(plain) {
            return Err(StoreError {
                problem: format!("extconfig.conf names the table `{}`", table.escape_debug()),
                hint: "write letters, digits and `_` only".to_owned(),
                is_configuration: true,
            });
        }
        let connection: Box<dyn Connection> = match &mapping.place {
            Place::Sqlite { batch, section, .. } if to_write && *batch != 0 => {
                return Err(StoreError {
                    problem: format!(
                        "Asterisk holds the database [{section}] locked for good: res_config_sqlite3.conf does not say `batch = 0` for it"
                    ),
                    hint: format!(
                        "write `batch = 0` below [{section}] there, then `asterisk -rx 'module reload res_config_sqlite3.so'`"
                    ),
                    is_configuration: true,
                });
            }
            Place::Sqlite { file, .. } => {
                Box::new(Sqlite::open(&super::below(paths, file), to_write)?)
            }
            Place::Postgres(server) => Box::new(Postgres::open(server)?),
        };
        let mut opened = Table {
            connection,
            table: table.clone(),
            shown: format!("table `{table}` of {}", mapping.place),
            system: mapping.system.clone(),
        };
        opened.names()?;
        Ok(opened)
    }

    fn ask(&mut self, sql: &str, parameters: &[&str]) -> Result<Vec<Fields>, StoreError> {
        let sql = sql.replace("TABLE", &self.table);
        self.connection.query(&sql, parameters)
    }

    /// A condition on the name, and its parameters.
    fn of(&self, name: &str) -> (String, Vec<String>) {
        match &self.system {
            None => ("name = $1".to_owned(), vec![name.to_owned()]),
            Some(system) => (
                "name = $1 AND systemname = $2".to_owned(),
                vec![name.to_owned(), system.clone()],
            ),
        }
    }

    /// All names, sorted.
    ///
    /// # Errors
    /// If the database does not do it.
    pub fn names(&mut self) -> Result<Vec<String>, StoreError> {
        let rows = match self.system.clone() {
            None => self.ask("SELECT DISTINCT name FROM TABLE ORDER BY name", &[])?,
            Some(system) => self.ask(
                "SELECT DISTINCT name FROM TABLE WHERE systemname = $1 ORDER BY name",
                &[&system],
            )?,
        };
        let names = rows.into_iter().filter_map(|row| row.into_iter().next()?);
        Ok(names.collect())
    }

    /// The rows of a list, in order.
    ///
    /// # Errors
    /// If the database does not do it.
    pub fn rows(&mut self, name: &str) -> Result<Vec<Row>, StoreError> {
        let (condition, parameters) = self.of(name);
        let sql = format!(
            "SELECT rule_order, sense, rule FROM TABLE WHERE {condition} ORDER BY rule_order"
        );
        let parameters: Vec<&str> = parameters.iter().map(String::as_str).collect();
        let rows = self.ask(&sql, &parameters)?;
        let row = |row: Fields| {
            let mut fields = row.into_iter().map(Option::unwrap_or_default);
            let mut next = || fields.next().unwrap_or_default();
            Row {
                // As atoi(3) reads it.
                rule_order: next().trim().parse().unwrap_or(0),
                sense: next(),
                rule: next(),
            }
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// A list as Asterisk would take it; the outer error is the database's, the inner one the list's.
    ///
    /// # Errors
    /// If the database does not do it.
    pub fn list(&mut self, name: &str) -> Result<Result<Option<List>, Mistake>, StoreError> {
        let rows = self.rows(name)?;
        Ok(of_rows(&self.shown, name, &rows))
    }

    /// Begins a change: until `commit` nobody else writes, and without it nothing is changed.
    ///
    /// # Errors
    /// If the database does not do it.
    pub fn begin(&mut self) -> Result<(), StoreError> {
        let table = self.table.clone();
        self.connection.begin(&table)
    }

    /// # Errors
    /// If the database does not do it; nothing is changed then.
    pub fn commit(&mut self) -> Result<(), StoreError> {
        self.ask("COMMIT", &[]).map(|_| ())
    }

    /// Adds a rule: before the one with this order, else behind all.
    ///
    /// # Errors
    /// If the database does not do it.
    pub fn add(
        &mut self,
        name: &str,
        (sense, rule): (Sense, &str),
        before: Option<i64>,
    ) -> Result<(), StoreError> {
        let rows = self.rows(name)?;
        let orders = rows.iter().map(|row| row.rule_order);
        let behind = orders
            .clone()
            .max()
            .map_or(1, |last| last.saturating_add(1));
        let order = before.unwrap_or(behind);
        if before.is_some() {
            if orders.clone().any(|order| order < 0) {
                return Err(StoreError::new(
                    format!(
                        "`{name}` has a rule_order below 0, so no rule can be put before another"
                    ),
                    "number its rows from 1 on, or add the rule at the end",
                ));
            }
            // By way of negative numbers: with an index that forbids doubles a row must not meet its neighbour.
            let (condition, parameters) = self.of(name);
            let mut moved: Vec<&str> = parameters.iter().map(String::as_str).collect();
            let order = order.to_string();
            moved.push(&order);
            let at = moved.len();
            let sql = format!(
                "UPDATE TABLE SET rule_order = -1 - rule_order WHERE {condition} AND rule_order >= CAST(${at} AS INTEGER)"
            );
            self.ask(&sql, &moved)?;
            moved.pop();
            let sql = format!(
                "UPDATE TABLE SET rule_order = -rule_order WHERE {condition} AND rule_order < 0"
            );
            self.ask(&sql, &moved)?;
        }
        let order = order.to_string();
        let mut values = vec![name, &order, sense.word(), rule];
        let system = self.system.clone();
        let sql = match &system {
            None => {
                "INSERT INTO TABLE (name, rule_order, sense, rule) VALUES ($1, CAST($2 AS INTEGER), $3, $4)"
            }
            Some(system) => {
                values.push(system);
                "INSERT INTO TABLE (name, rule_order, sense, rule, systemname) VALUES ($1, CAST($2 AS INTEGER), $3, $4, $5)"
            }
        };
        self.ask(sql, &values).map(|_| ())
    }

    /// Removes a rule, or the whole list.
    ///
    /// # Errors
    /// If the database does not do it.
    pub fn remove(&mut self, name: &str, row: Option<&Row>) -> Result<(), StoreError> {
        let (condition, parameters) = self.of(name);
        let mut values: Vec<&str> = parameters.iter().map(String::as_str).collect();
        let Some(row) = row else {
            let sql = format!("DELETE FROM TABLE WHERE {condition}");
            return self.ask(&sql, &values).map(|_| ());
        };
        let order = row.rule_order.to_string();
        let at = values.len();
        values.extend([order.as_str(), &row.sense, &row.rule]);
        let sql = format!(
            "DELETE FROM TABLE WHERE {condition} AND rule_order = CAST(${} AS INTEGER) AND sense = ${} AND rule = ${}",
            at + 1,
            at + 2,
            at + 3
        );
        self.ask(&sql, &values).map(|_| ())
    }
}
