//! What can go wrong with a request, and how HTTP says it.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::ledger::LedgerError;
use crate::pricing::{InvalidOrder, PoolStopped};
use crate::store::StoreError;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// There is no such item: 404.
    #[error("item {0} does not exist")]
    NotFound(u32),
    /// The order makes no sense: 422.
    #[error(transparent)]
    Invalid(#[from] InvalidOrder),
    /// The store failed: 500.
    #[error(transparent)]
    Store(StoreError),
    /// The order could not be written down: 500.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The service is about to end: 503.
    #[error(transparent)]
    Stopped(#[from] PoolStopped),
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Missing(item) => Self::NotFound(item),
            other => Self::Store(other),
        }
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Store(_) | Self::Ledger(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Stopped(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, self.to_string()).into_response()
    }
}
