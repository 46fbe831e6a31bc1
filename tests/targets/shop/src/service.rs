//! What the shop does, apart from how it is asked.

use std::io;
use std::sync::Arc;

use serde::Serialize;

use crate::error::AppError;
use crate::ledger::Ledger;
use crate::pricing::{self, Pool};
use crate::store::{Item, Order, Store};

/// An accepted order.
#[derive(Debug, Serialize)]
pub struct Receipt {
    /// What was ordered.
    pub item: u32,
    /// How many.
    pub count: u32,
    /// What it costs together.
    pub cents: u64,
    /// Proves that the price is ours.
    pub seal: String,
}

/// The shop.
pub struct Service {
    store: Arc<Store>,
    pool: Pool,
    ledger: Ledger,
}

#[exoscope::instrument]
impl Service {
    /// A shop on `store` with `workers` threads for prices.
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn new(store: Arc<Store>, workers: usize) -> io::Result<Self> {
        let pool = Pool::start(workers)?;
        let ledger = Ledger::start(Arc::clone(&store))?;
        Ok(Self {
            store,
            pool,
            ledger,
        })
    }

    /// Looks an item up.
    pub async fn item(&self, id: u32) -> Result<Item, AppError> {
        let item = self.store.item(id)?;
        Ok(item)
    }

    /// Orders `count` of an item: checks, prices, and writes it down.
    pub async fn order(&self, item: u32, count: u32) -> Result<Receipt, AppError> {
        pricing::validate(count)?;
        let offer = self.store.item(item)?;
        let quote = self.pool.quote(offer.cents, count).await?;
        self.ledger
            .append(Order {
                item,
                count,
                cents: quote.cents,
            })
            .await?;
        Ok(Receipt {
            item,
            count,
            cents: quote.cents,
            seal: quote.seal,
        })
    }
}
