//! The handlers: one call of one of them a request.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;

use crate::error::AppError;
use crate::service::{Receipt, Service};
use crate::store::Item;

/// All routes.
pub fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/item/{id}", get(get_item))
        .route("/order", get(order))
        .with_state(service)
}

/// The query of an order.
#[derive(Deserialize)]
struct Order {
    item: u32,
    count: u32,
}

#[exoscope::instrument]
async fn get_item(
    State(service): State<Arc<Service>>,
    Path(id): Path<u32>,
) -> Result<Json<Item>, AppError> {
    let item = service.item(id).await?;
    Ok(Json(item))
}

#[exoscope::instrument]
async fn order(
    State(service): State<Arc<Service>>,
    Query(Order { item, count }): Query<Order>,
) -> Result<Json<Receipt>, AppError> {
    let receipt = service.order(item, count).await?;
    Ok(Json(receipt))
}
