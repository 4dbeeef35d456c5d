//! A separate connection to the server's database, to inspect it or to lock it.

use sqlx::any::{AnyConnectOptions, install_default_drivers};
use sqlx::{AnyConnection, AssertSqlSafe, ConnectOptions, Connection};

use crate::database::Database;

/// Connects, and creates the SQLite file if it does not exist.
pub(crate) async fn connect(database: &Database) -> AnyConnection {
    install_default_drivers();
    let url = if database.plain_url.starts_with("sqlite") {
        format!("{}?mode=rwc", database.plain_url)
    } else {
        database.plain_url.clone()
    };
    let options: AnyConnectOptions = url.parse().unwrap();
    options.connect().await.unwrap()
}

/// Executes one statement.
pub(crate) async fn execute(database: &Database, statement: &str) {
    let mut connection = connect(database).await;
    let query = sqlx::query(AssertSqlSafe(statement.to_owned()));
    query.execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
