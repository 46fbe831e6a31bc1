//! What an error of the store means: whether it may go away.

use anyhow::Error;
use rusqlite::ErrorCode;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It may go away: a full disk, an I/O error, a lock, no file descriptors. Try again.
    Transient,
    /// The same would be said again: lose what was to be written, and say so.
    Refused,
}

/// What an error means.
pub fn fault(error: &Error) -> Fault {
    use ErrorCode as Code;
    let sqlite = error.downcast_ref::<rusqlite::Error>();
    match sqlite.and_then(rusqlite::Error::sqlite_error_code) {
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
