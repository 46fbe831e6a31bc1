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
use crate::program::Action;

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

/// An item a step, and one of its own where it ends with an error.
struct Items {
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
    fn new(at: At) -> Self {
        Self {
            at,
            open: None,
            step: 0,
            pending: 0,
            last: Ok(0),
            given: 0,
        }
    }

    fn advance(&mut self, open: &Open, context: &mut Context<'_>) -> Poll<Option<Answer>> {
        let Some(step) = self.at.node.steps.get(self.step) else {
            return Poll::Ready(self.after_steps(open));
        };
        match step.action {
            Action::Yield { times } if self.pending < times => {
                self.pending += 1;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Action::Yield { .. } => self.last = Ok(0),
            _ => self.last = take(self.at.call, step),
        }
        self.step += 1;
        self.pending = 0;
        Poll::Ready(Some(self.last))
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
        let open = match self.open.take() {
            Some(open) => open,
            None => self.at.begin(),
        };
        open.gave(self.given);
        let item = open.resumed(|| self.advance(&open, context));
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
