//! Every instrumented function: a new one is a line in its module's table.

use std::sync::LazyLock;

use crate::at::At;
use crate::futures::{self, Boxed};
use crate::iterators::{self, BoxedIterator};
use crate::log::Answer;
use crate::streams::{self, BoxedStream};
use crate::sync;

/// A function, and how it is called.
pub struct Function {
    /// Full path, as exoscope names it.
    pub path: &'static str,
    /// Calls it.
    pub call: Call,
    /// Whether it calls itself as often as its node says.
    pub recursive: bool,
    /// Whether it has the number of its call as the field `call`.
    pub field: bool,
}

/// How a function is called.
#[derive(Clone, Copy)]
pub enum Call {
    /// It runs at once.
    Sync(fn(At) -> Answer),
    /// The destructor of a value that is dropped at once. See also [`sync::Held`].
    Destructor(fn(At) -> Answer),
    /// It returns a future.
    Async(fn(At) -> Boxed),
    /// [`futures::leaf`], whose future is awaited without a box too.
    Leaf(fn(At) -> Boxed),
    /// It returns an iterator.
    Iterator(fn(At) -> BoxedIterator),
    /// It returns a stream.
    Stream(fn(At) -> BoxedStream),
}

/// What a function is, and so what its body can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Runs when it is called.
    Sync,
    /// Runs when a value is dropped. It returns, and makes calls that do.
    Destructor,
    /// A future, or one that awaits none of ours.
    Async,
    /// A future that awaits none of ours.
    Leaf,
    /// An iterator.
    Iterator,
    /// A stream.
    Stream,
}

impl Function {
    /// A function that does not call itself, with the number of its call as a field.
    pub const fn new(path: &'static str, call: Call) -> Self {
        Self {
            path,
            call,
            recursive: false,
            field: true,
        }
    }

    /// The same, but it calls itself.
    pub const fn recursive(self) -> Self {
        Self {
            recursive: true,
            ..self
        }
    }

    /// The same without a field.
    pub const fn bare(self) -> Self {
        Self {
            field: false,
            ..self
        }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.call {
            Call::Sync(_) => Kind::Sync,
            Call::Destructor(_) => Kind::Destructor,
            Call::Async(_) => Kind::Async,
            Call::Leaf(_) => Kind::Leaf,
            Call::Iterator(_) => Kind::Iterator,
            Call::Stream(_) => Kind::Stream,
        }
    }
}

/// All of them; a function's number is its place.
pub static ALL: LazyLock<Vec<&Function>> = LazyLock::new(|| {
    let tables: [&[Function]; 4] = [
        &sync::FUNCTIONS,
        &iterators::FUNCTIONS,
        &futures::FUNCTIONS,
        &streams::FUNCTIONS,
    ];
    tables.into_iter().flatten().collect()
});

/// The function with a number.
pub fn get(number: u32) -> &'static Function {
    ALL[number as usize]
}

/// Numbers of the functions of a kind.
pub fn of_kind(kind: Kind) -> Vec<u32> {
    let numbers = 0..ALL.len() as u32;
    numbers
        .filter(|&number| get(number).kind() == kind)
        .collect()
}
