//! What an error of the store means: whether it may go away.

use anyhow::Error;
use rusqlite::ErrorCode;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It may go away: a full disk, an I/O error, a lock, no file descriptors. Try again.
    Transient,
    /// The file does not hold what was written: another one has to take its place.
    Damaged,
    /// The same would be said again: lose what was to be written, and say so.
    Refused,
}

/// What an error means.
pub fn fault(error: &Error) -> Fault {
    use ErrorCode as Code;
    let sqlite = error.downcast_ref::<rusqlite::Error>();
    let extended = sqlite
        .and_then(rusqlite::Error::sqlite_error)
        .map(|error| error.extended_code);
    match sqlite.and_then(rusqlite::Error::sqlite_error_code) {
        // A page is not where it was, or a table of ours is no more.
        _ if extended == Some(rusqlite::ffi::SQLITE_IOERR_SHORT_READ) => Fault::Damaged,
        Some(Code::DatabaseCorrupt | Code::NotADatabase | Code::Unknown) => Fault::Damaged,
        Some(
            Code::DatabaseBusy
            | Code::DatabaseLocked
            | Code::DiskFull
            | Code::SystemIoFailure
            | Code::CannotOpen
            | Code::ReadOnly
            | Code::PermissionDenied
            | Code::OutOfMemory
            | Code::FileLockingProtocolFailed
            | Code::OperationInterrupted
            | Code::OperationAborted
            | Code::NoLargeFileSupport
            | Code::SchemaChanged,
        ) => Fault::Transient,
        _ => Fault::Refused,
    }
}

/// A new connection may help: the old one may remember what no longer holds.
pub fn reopening_helps(error: &Error) -> bool {
    let sqlite = error.downcast_ref::<rusqlite::Error>();
    matches!(
        sqlite.and_then(rusqlite::Error::sqlite_error_code),
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::ReadOnly)
    )
}
