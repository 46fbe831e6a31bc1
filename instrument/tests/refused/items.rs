use exoscope::instrument;

#[instrument(items)]
fn no_items() -> Vec<u32> {
    Vec::new()
}

#[instrument(items)]
async fn no_stream() -> impl Iterator<Item = u32> {
    0..1
}

// What is more than an iterator is no call of its own.
#[instrument(items)]
fn more() -> impl Iterator<Item = u32> + Clone {
    0..1
}

struct Store;

// For a block it is said for what gives items in it.
#[instrument(items)]
impl Store {
    fn len(&self) -> usize {
        0
    }
    #[instrument(items)]
    fn size(&self) -> usize {
        0
    }
}

fn main() {}
