//! Orders on their way to disk: one thread writes, and commits all that wait in one go.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::oneshot;

use crate::store::{Order, Store};

/// Most orders in one commit.
const BATCH: usize = 256;

/// The order was not written down.
#[derive(Debug, thiserror::Error)]
#[error("can't write the order down: {0}")]
pub struct LedgerError(String);

/// What the writer tells whoever waits.
type Written = Result<(), LedgerError>;

/// An order that waits for its commit.
struct Entry {
    order: Order,
    written: oneshot::Sender<Written>,
}

/// The way to the writer.
pub struct Ledger {
    /// `None` once the ledger is being dropped.
    entries: Option<Sender<Entry>>,
    writer: Option<JoinHandle<()>>,
}

impl Ledger {
    /// Starts the writer.
    pub fn start(store: Arc<Store>) -> io::Result<Self> {
        // Never longer than there are connections, each of which waits for its answer.
        let (entries, queue) = crossbeam_channel::unbounded();
        let writer = thread::Builder::new()
            .name("ledger".into())
            .spawn(move || write(&store, &queue))?;
        Ok(Self {
            entries: Some(entries),
            writer: Some(writer),
        })
    }

    /// Writes an order down; done once it is on disk.
    #[exoscope::instrument]
    pub async fn append(&self, order: Order) -> Result<(), LedgerError> {
        let stopped = || LedgerError("the service is stopping".into());
        let (written, answer) = oneshot::channel();
        let entries = self.entries.as_ref().ok_or_else(stopped)?;
        entries
            .send(Entry { order, written })
            .map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.entries = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so itself.
            let _ = writer.join();
        }
    }
}

/// The life of the writer: takes what waits, commits it, answers.
fn write(store: &Store, queue: &Receiver<Entry>) {
    while let Ok(first) = queue.recv() {
        let mut entries = vec![first];
        entries.extend(queue.try_iter().take(BATCH - 1));
        let orders: Vec<Order> = entries.iter().map(|entry| entry.order).collect();
        let result = store.append(&orders).map_err(|error| error.to_string());
        for entry in entries {
            // Whoever waited may have gone; the order is written all the same.
            let _ = entry.written.send(result.clone().map_err(LedgerError));
        }
    }
}
