//! Functions that return streams.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use truth::path;

use crate::at::At;
use crate::body::{ending, take};
use crate::functions::{Call, Function};
use crate::log::{Answer, Open};
use crate::program::{Action, Step};

/// A stream of any function.
pub type BoxedStream = Pin<Box<dyn Stream<Item = Answer> + Send>>;

/// All of them.
pub static FUNCTIONS: [Function; 3] = [
    Function::new(path!("returned"), Call::Stream(|at| Box::pin(returned(at)))).bare(),
    Function::new(path!("boxed"), Call::Stream(boxed)).bare(),
    Function::new(path!("block"), Call::Stream(block)).bare(),
];

#[exoscope::instrument]
fn returned(at: At) -> impl Stream<Item = Answer> + Send {
    Items::new(at)
}

#[exoscope::instrument]
fn boxed(at: At) -> Pin<Box<dyn Stream<Item = Answer> + Send>> {
    Box::pin(Items::new(at))
}

fn block(at: At) -> BoxedStream {
    Box::pin(exoscope::stream!("block", Items::new(at)))
}

/// An item a step, and one of its own where it ends with an error: the body of a stream or iterator.
pub struct Items {
    at: At,
    /// `None` before the first poll and after the end.
    open: Option<Open>,
    /// The next step.
    step: usize,
    /// How often it was pending in that step.
    pending: u32,
    last: Answer,
    given: u32,
}

impl Items {
    /// Those of a call that has not begun.
    pub fn new(at: At) -> Self {
        Self {
            at,
            open: None,
            step: 0,
            pending: 0,
            last: Ok(0),
            given: 0,
        }
    }

    fn poll(&mut self, open: &Open, context: &mut Context<'_>) -> Poll<Option<Answer>> {
        if let Some(Step {
            action: Action::Yield { times },
            ..
        }) = self.at.node.steps.get(self.step)
            && self.pending < *times
        {
            self.pending += 1;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.pending = 0;
        Poll::Ready(self.advance(open))
    }

    fn advance(&mut self, open: &Open) -> Option<Answer> {
        let Some(step) = self.at.node.steps.get(self.step) else {
            return self.after_steps(open);
        };
        self.last = match step.action {
            Action::Yield { .. } => Ok(0),
            _ => take(self.at.call, step),
        };
        self.step += 1;
        Some(self.last)
    }

    /// The body, which begins where this is the first time.
    fn resume(&mut self) -> Open {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.at.begin(),
        };
        open.gave(self.given);
        open
    }

    /// The body has come to an item, to its end, or to where it waits.
    fn suspend(&mut self, open: Open, item: Poll<Option<Answer>>) {
        self.given += u32::from(matches!(item, Poll::Ready(Some(_))));
        if let Poll::Ready(Some(Err(failure))) = item {
            open.fails(failure);
        }
        open.gave(self.given);
        if matches!(item, Poll::Ready(None)) {
            open.end(&self.last);
        } else {
            self.open = Some(open);
        }
    }

    fn after_steps(&mut self, open: &Open) -> Option<Answer> {
        let steps = self.at.node.steps.len();
        if self.step > steps {
            return None;
        }
        self.step = steps + 1;
        let answer = ending(self.at, open);
        answer.is_err().then(|| {
            self.last = answer;
            answer
        })
    }
}

impl Stream for Items {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Answer>> {
        let open = self.resume();
        let item = open.resumed(|| self.poll(&open, context));
        self.suspend(open, item);
        item
    }
}

impl Iterator for Items {
    type Item = Answer;

    fn next(&mut self) -> Option<Answer> {
        let open = self.resume();
        let item = open.advanced(|| self.advance(&open));
        self.suspend(open, Poll::Ready(item));
        item
    }
}

/// Awaits at most so many items. Where errors pass, the first one is the last item that is taken.
pub async fn consume(mut stream: BoxedStream, items: u32, errors_pass: bool) -> Answer {
    for _ in 0..items {
        match poll_fn(|context| stream.as_mut().poll_next(context)).await {
            None => break,
            Some(item) if errors_pass => {
                item?;
            }
            Some(_) => {}
        }
    }
    Ok(1)
}
