//! Items and orders on disk.

use std::fs;
use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::Serialize;

/// Items have the numbers from 1 to this one.
pub const ITEMS: u32 = 1000;

/// Name and cents by the item's number.
const ITEM_TABLE: TableDefinition<u32, (&str, u64)> = TableDefinition::new("items");
/// Item, count and cents by the order's number.
const ORDER_TABLE: TableDefinition<u64, (u32, u32, u64)> = TableDefinition::new("orders");

/// Why the store could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no item with this number.
    #[error("no item {0} in the store")]
    Missing(u32),
    /// The folder of the store could not be made.
    #[error("can't make the folder of the store: {0}")]
    Folder(#[from] std::io::Error),
    /// The database refused.
    #[error("the store failed: {0}")]
    Database(#[source] Box<redb::Error>),
}

/// Turns any of the database's errors into ours.
fn database(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Database(Box::new(error.into()))
}

/// Something to buy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Its number.
    pub id: u32,
    /// What it is called.
    pub name: String,
    /// What one costs.
    pub cents: u64,
}

/// Something bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Number of the item.
    pub item: u32,
    /// How many.
    pub count: u32,
    /// What it cost together.
    pub cents: u64,
}

/// The database of the shop.
pub struct Store {
    database: Database,
}

#[exoscope::instrument]
impl Store {
    /// Opens the store in `folder`, and fills a new one with [`ITEMS`] items.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(folder)?;
        let store = Self {
            database: Database::create(folder.join("shop.redb")).map_err(database)?,
        };
        store.seed()?;
        Ok(store)
    }

    fn seed(&self) -> Result<(), StoreError> {
        let write = self.database.begin_write().map_err(database)?;
        {
            let mut items = write.open_table(ITEM_TABLE).map_err(database)?;
            write.open_table(ORDER_TABLE).map_err(database)?;
            if items.is_empty().map_err(database)? {
                for id in 1..=ITEMS {
                    let name = format!("item number {id}");
                    let cents = 100 + u64::from(id) * 7;
                    items.insert(id, (name.as_str(), cents)).map_err(database)?;
                }
            }
        }
        write.commit().map_err(database)
    }

    /// Reads an item.
    pub fn item(&self, id: u32) -> Result<Item, StoreError> {
        let read = self.database.begin_read().map_err(database)?;
        let items = read.open_table(ITEM_TABLE).map_err(database)?;
        let row = items
            .get(id)
            .map_err(database)?
            .ok_or(StoreError::Missing(id))?;
        let (name, cents) = row.value();
        Ok(Item {
            id,
            name: name.to_owned(),
            cents,
        })
    }

    /// Appends orders: all of them or, on an error, none.
    pub fn append(&self, orders: &[Order]) -> Result<(), StoreError> {
        let write = self.database.begin_write().map_err(database)?;
        {
            let mut table = write.open_table(ORDER_TABLE).map_err(database)?;
            let last = table
                .last()
                .map_err(database)?
                .map_or(0, |(number, _)| number.value());
            for (number, order) in (last + 1..).zip(orders) {
                let row = (order.item, order.count, order.cents);
                table.insert(number, row).map_err(database)?;
            }
        }
        write.commit().map_err(database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_items_and_orders_across_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let order = Order {
            item: 3,
            count: 2,
            cents: 242,
        };
        for appended in [2, 4] {
            let store = Store::open(folder.path()).unwrap();
            store.append(&[order, order]).unwrap();
            let read = store.database.begin_read().unwrap();
            assert_eq!(
                read.open_table(ITEM_TABLE).unwrap().len().unwrap(),
                u64::from(ITEMS)
            );
            assert_eq!(
                read.open_table(ORDER_TABLE).unwrap().len().unwrap(),
                appended
            );
        }
    }

    #[test]
    fn an_item_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.item(ITEMS).unwrap().id, ITEMS);
        let error = store.item(ITEMS + 1).unwrap_err();
        assert_eq!(error.to_string(), "no item 1001 in the store");
    }
}
