//! A call that is about to be made: the argument of every function.

use crate::executor::block_on;
use crate::functions::{Call, get};
use crate::futures::Boxed;
use crate::iterators::{BoxedIterator, take_items};
use crate::log::{self, Answer, CallId, Caller, Open};
use crate::program::Node;
use crate::streams::{BoxedStream, consume};

/// A call that is about to be made.
#[derive(Clone, Copy)]
pub struct At {
    /// What it is to do.
    pub node: &'static Node,
    /// Its number.
    pub call: CallId,
    /// Calls of a recursive function that are to come inside this one.
    levels: u32,
}

impl At {
    /// A call that `caller` makes.
    pub fn new(caller: Caller, node: &'static Node) -> Self {
        Self {
            node,
            call: log::announce(caller, node),
            levels: node.levels - 1,
        }
    }

    /// The call of itself that a recursive function makes; `None` where this is the innermost.
    pub fn inner(self) -> Option<Self> {
        let levels = self.levels.checked_sub(1)?;
        Some(Self {
            call: log::announce(Caller::of(self.call), self.node),
            levels,
            ..self
        })
    }

    /// The body begins.
    pub fn begin(self) -> Open {
        log::begin(self.call, self.node)
    }

    /// Makes the call and comes back when it has ended.
    pub fn run(self) -> Answer {
        match get(self.node.function).call {
            Call::Sync(function) | Call::Destructor(function) => function(self),
            Call::Async(function) | Call::Leaf(function) => block_on(function(self)),
            Call::Iterator(function) => take_items(function(self), u32::MAX, true),
            Call::Stream(function) => block_on(consume(function(self), u32::MAX, true)),
        }
    }

    /// The future of the call.
    pub fn future(self) -> Boxed {
        match get(self.node.function).call {
            Call::Async(function) | Call::Leaf(function) => function(self),
            _ => unreachable!("programs await only futures"),
        }
    }

    /// The iterator of the call.
    pub fn iterator(self) -> BoxedIterator {
        match get(self.node.function).call {
            Call::Iterator(function) => function(self),
            _ => unreachable!("programs take items only of iterators"),
        }
    }

    /// The stream of the call.
    pub fn stream(self) -> BoxedStream {
        match get(self.node.function).call {
            Call::Stream(function) => function(self),
            _ => unreachable!("programs consume only streams"),
        }
    }
}
