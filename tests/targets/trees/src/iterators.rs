//! Functions that return iterators.

use truth::path;

use crate::at::At;
use crate::functions::{Call, Function};
use crate::log::Answer;
use crate::streams::Items;

/// An iterator of any function.
pub type BoxedIterator = Box<dyn Iterator<Item = Answer> + Send>;

/// All of them.
pub static FUNCTIONS: [Function; 3] = [
    Function::new(
        path!("returned"),
        Call::Iterator(|at| Box::new(returned(at))),
    )
    .bare(),
    Function::new(
        path!("generic"),
        Call::Iterator(|at| Box::new(generic(at, "text"))),
    )
    .bare(),
    Function::new(path!("block"), Call::Iterator(block)).bare(),
];

#[exoscope::instrument]
fn returned(at: At) -> impl Iterator<Item = Answer> + Send {
    Items::new(at)
}

#[exoscope::instrument]
fn generic<T: Send>(at: At, _weight: T) -> impl Iterator<Item = Answer> + Send {
    Items::new(at)
}

fn block(at: At) -> BoxedIterator {
    Box::new(exoscope::iterator!("block", Items::new(at)))
}

/// Takes at most so many items. Where errors pass, the first one is the last item that is taken.
pub fn take_items(mut iterator: BoxedIterator, items: u32, errors_pass: bool) -> Answer {
    for _ in 0..items {
        match iterator.next() {
            None => break,
            Some(item) if errors_pass => {
                item?;
            }
            Some(_) => {}
        }
    }
    Ok(1)
}
