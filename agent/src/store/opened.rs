//! The file, open to be written: the connection, and the claim that it is ours.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags};

use super::file::Claim;
use super::schema;

/// How long a statement waits for the lock of another process. The writer tries again by itself.
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);
/// Prepared statements that are kept.
const STATEMENTS: usize = 32;
/// How often, and at what distance, the end of a session tries to leave a single file behind while
/// others read it.
const SINGLE_FILE_TRIES: (u32, Duration) = (5, Duration::from_millis(100));
/// Bytes of a page of a new file.
pub const PAGE_BYTES: u32 = 8192;

/// The log goes into the file every 32 MiB.
const PRAGMAS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA wal_autocheckpoint = 4096;
    PRAGMA journal_size_limit = 67108864;
    PRAGMA cache_size = -16384;
    PRAGMA temp_store = MEMORY;
";

/// A file that nobody reads before it is [`finished`](finish): nothing is on disk until then.
const UNFINISHED: &str = "
    PRAGMA journal_mode = MEMORY;
    PRAGMA synchronous = OFF;
    PRAGMA cache_size = -16384;
    PRAGMA temp_store = MEMORY;
";

/// A new file with its tables and nothing in them, without a log, to be [`finished`](finish).
///
/// # Errors
/// Where it can't be created or written.
pub fn create(path: &Path) -> Result<Connection> {
    Claim::new(path)?;
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.execute_batch(UNFINISHED)?;
    schema::migrate(&mut connection)?;
    Ok(connection)
}

/// Closes a file that was [`created`](create), and waits until all of it is on disk.
///
/// # Errors
/// Where it can't be written.
pub fn finish(connection: Connection, path: &Path) -> Result<()> {
    // Whoever opens it next has its first page as it should be.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.close().map_err(|(_, error)| error)?;
    File::open(path)?.sync_all()?;
    Ok(())
}

/// A file that is open to be written.
pub struct Opened {
    // Closed before `claim` gives up its descriptor: fields drop in this order.
    pub connection: Connection,
    pub claim: Arc<Claim>,
}

impl Opened {
    /// A connection to a file of this version.
    ///
    /// # Errors
    /// Where its tables are not ours, or SQLite can't read or write the file.
    pub fn new(claim: &Arc<Claim>) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&claim.path, flags)?;
        // SQLite opens what it may not write for reading alone, and stays with that.
        if connection.is_readonly(MAIN_DB)? {
            let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
            return Err(rusqlite::Error::SqliteFailure(error, None).into());
        }
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        if claim.created {
            connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        }
        // Before the log is switched on, so that the first bytes of the file itself say what it is.
        schema::migrate(&mut connection)?;
        if !claim.created {
            schema::check(&connection)?;
            schema::check_no_triggers(&connection)?;
        }
        connection.execute_batch(PRAGMAS)?;
        Ok(Self {
            connection,
            claim: Arc::clone(claim),
        })
    }

    /// Brings the log into the file and removes it. Readers prevent that; then they, or whoever
    /// opens the file next, do it.
    pub fn leave_single_file(&self) {
        self.connection.flush_prepared_statement_cache();
        let _ = self.connection.busy_timeout(Duration::ZERO);
        let (tries, pause) = SINGLE_FILE_TRIES;
        for attempt in 0..tries {
            if attempt > 0 {
                std::thread::sleep(pause);
            }
            match self
                .connection
                .pragma_update(None, "journal_mode", "DELETE")
            {
                Err(error) if is_busy(&error) => {}
                // Any other failure leaves a complete file with its log beside it.
                _ => break,
            }
        }
        let _ = self.connection.busy_timeout(BUSY_TIMEOUT);
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}
