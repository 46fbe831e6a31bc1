//! Functions that return futures, and what their bodies do.

use std::error::Error;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use exoscope::InCall as _;
use truth::path;

use crate::at::At;
use crate::body::{Bomb, ending, hold, take};
use crate::executor::{join, select, timeout, yields};
use crate::functions::{Call, Function, get};
use crate::log::{Answer, CallId, Caller, Open, adopt, within};
use crate::program::{Action, Handling, Node, Step};
use crate::streams::consume;
use crate::sync::narrowed;

/// A future of any function.
pub type Boxed = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// All of them.
pub static FUNCTIONS: [Function; 11] = [
    Function::new(path!("leaf"), Call::Leaf(|at| Box::pin(leaf(at)))),
    Function::new(path!("plain"), Call::Async(|at| Box::pin(plain(at)))),
    Function::new(
        path!("generic"),
        Call::Async(|at| Box::pin(generic(at, 1_u8))),
    ),
    Function::new(
        path!("generic"),
        Call::Async(|at| Box::pin(generic(at, "text"))),
    ),
    Function::new(path!("returned"), Call::Async(|at| Box::pin(returned(at)))),
    Function::new(path!("boxed"), Call::Async(boxed)),
    Function::new(
        path!("infallible"),
        Call::Async(|at| Box::pin(async move { Ok(infallible(at).await) })),
    ),
    Function::new(
        path!("widened"),
        Call::Async(|at| Box::pin(async move { narrowed(widened(at).await) })),
    ),
    Function::new(path!("block"), Call::Async(block)).bare(),
    Function::new(path!("recursive"), Call::Async(again)).recursive(),
    Function::new(
        path!("Visitor::visit"),
        Call::Async(|at| Box::pin(async move { Visitor(at).visit().await })),
    ),
];

/// Its future awaits no other one of these, and so can be awaited without a box.
#[exoscope::instrument(fields(call = at.call))]
pub async fn leaf(at: At) -> Answer {
    let open = at.begin();
    let answer = open.during(leaf_steps(at, &open)).await;
    open.end(&answer);
    answer
}

#[exoscope::instrument(fields(call = at.call))]
async fn plain(at: At) -> Answer {
    work(at).await
}

#[exoscope::instrument(fields(call = at.call))]
async fn generic<T: Send>(at: At, _weight: T) -> Answer {
    work(at).await
}

#[allow(clippy::manual_async_fn, reason = "a kind of function of its own")]
#[exoscope::instrument(fields(call = at.call))]
fn returned(at: At) -> impl Future<Output = Answer> + Send {
    async move { work(at).await }
}

#[exoscope::instrument(fields(call = at.call))]
fn boxed(at: At) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
    Box::pin(async move { work(at).await })
}

#[exoscope::instrument(fields(call = at.call))]
async fn infallible(at: At) -> u64 {
    let open = at.begin();
    let answer = open.during(steps(at, &open)).await.unwrap_or(0);
    open.end(&Ok(answer));
    answer
}

#[exoscope::instrument(fields(call = at.call))]
async fn widened(at: At) -> Result<u64, Box<dyn Error + Send + Sync>> {
    let answer = work(at).await?;
    Ok(answer)
}

fn block(at: At) -> Boxed {
    Box::pin(exoscope::future!("block", async move { work(at).await }))
}

#[exoscope::instrument(fields(call = at.call))]
async fn recursive(at: At) -> Answer {
    let open = at.begin();
    let answer = match at.inner() {
        Some(inner) => open.during(again(inner)).await,
        None => open.during(steps(at, &open)).await,
    };
    open.end(&answer);
    answer
}

fn again(at: At) -> Boxed {
    Box::pin(recursive(at))
}

/// Has a method that is a future.
struct Visitor(At);

impl Visitor {
    #[exoscope::instrument(fields(call = self.0.call))]
    async fn visit(&self) -> Answer {
        work(self.0).await
    }
}

/// The whole body of a future.
async fn work(at: At) -> Answer {
    let open = at.begin();
    let answer = open.during(steps(at, &open)).await;
    open.end(&answer);
    answer
}

async fn leaf_steps(at: At, open: &Open) -> Answer {
    let _bomb = Bomb::of(at, open);
    for step in &at.node.steps {
        match step.action {
            Action::Yield { times } => yields(times).await,
            _ => {
                take(at.call, step)?;
            }
        }
    }
    ending(at, open)
}

async fn steps(at: At, open: &Open) -> Answer {
    let _bomb = Bomb::of(at, open);
    let mut held = Vec::new();
    for step in &at.node.steps {
        match step.action {
            Action::Yield { times } => yields(times).await,
            Action::Hold => held.extend(hold(at.call, step)),
            Action::Await => {
                for node in &step.nodes {
                    awaits(at.call, node, step.handling).await?;
                }
            }
            Action::Join | Action::Select | Action::Timeout { .. } | Action::Consume { .. } => {
                handled(step.handling, together(at.call, step)).await?;
            }
            _ => {
                take(at.call, step)?;
            }
        }
    }
    drop(held);
    ending(at, open)
}

/// Awaits one future: where it can be, in its place inside of the caller's.
async fn awaits(caller: CallId, node: &'static Node, handling: Handling) -> Answer {
    let at = At::new(Caller::of(caller), node);
    match get(node.function).call {
        Call::Leaf(_) => handled(handling, leaf(at)).await,
        _ => handled(handling, at.future()).await,
    }
}

/// Takes a step that awaits more than one thing at the same time.
async fn together(caller: CallId, step: &'static Step) -> Answer {
    let mut calls = step
        .nodes
        .iter()
        .map(|node| At::new(Caller::of(caller), node));
    match (step.action, &step.nodes[..]) {
        (Action::Join, [one, other]) if both_leaves(one, other) => {
            let one = pin!(leaf(At::new(Caller::of(caller), one)));
            let other = pin!(leaf(At::new(Caller::of(caller), other)));
            join([one, other]).await
        }
        (Action::Select, [one, other]) if both_leaves(one, other) => {
            let one = pin!(leaf(At::new(Caller::of(caller), one)));
            let other = pin!(leaf(At::new(Caller::of(caller), other)));
            select([one, other]).await
        }
        (Action::Join, _) => join(calls.map(At::future)).await,
        (Action::Select, _) => select(calls.map(At::future)).await,
        (Action::Timeout { polls }, _) => match calls.next() {
            Some(at) => timeout(polls, at.future()).await,
            None => Ok(0),
        },
        (Action::Consume { items }, _) => match calls.next() {
            Some(at) => consume(at.stream(), items, step.handling == Handling::Pass).await,
            None => Ok(0),
        },
        _ => unreachable!("{:?} awaits one thing at a time", step.action),
    }
}

fn both_leaves(one: &Node, other: &Node) -> bool {
    let is_leaf = |node: &Node| matches!(get(node.function).call, Call::Leaf(_));
    is_leaf(one) && is_leaf(other)
}

/// Awaits what can fail, and lets failures pass or not.
async fn handled(handling: Handling, future: impl Future<Output = Answer>) -> Answer {
    let mut future = pin!(future);
    let mut poll = |context: &mut Context<'_>| future.as_mut().poll(context);
    match handling {
        Handling::Pass => poll_fn(poll).await,
        Handling::Swallow => Ok(poll_fn(poll).await.unwrap_or(0)),
        Handling::Catch => {
            let answer = poll_fn(|context| {
                let polled = catch_unwind(AssertUnwindSafe(|| poll(context)));
                polled.unwrap_or(Poll::Ready(Ok(0)))
            });
            Ok(answer.await.unwrap_or(0))
        }
    }
}

/// A future that can be given away.
pub struct Task {
    call: CallId,
    /// Whose child it is wherever it runs, where it is linked.
    link: Option<Caller>,
    /// Whoever polls it first is no longer the parent: its call has begun, or has a link.
    has_parent: bool,
    /// `None` once it is being dropped.
    future: Option<Boxed>,
}

impl Task {
    /// The future of a call of `node`. A linked caller is the one that runs now.
    pub fn new(caller: Caller, node: &'static Node) -> Self {
        let at = At::new(caller, node);
        let future = if caller.linked {
            Box::pin(at.future().in_current_call())
        } else {
            at.future()
        };
        Self {
            call: at.call,
            link: caller.linked.then_some(caller),
            has_parent: caller.linked,
            future: Some(future),
        }
    }

    /// The same; from here on `caller` polls it.
    pub fn polled_by(self, caller: CallId) -> Self {
        if !self.has_parent {
            adopt(self.call, Caller::of(caller));
        }
        self
    }
}

impl Future for Task {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        self.has_parent = true;
        let link = self.link;
        let future = self.future.as_mut().expect("it is not being dropped");
        let mut poll = || future.as_mut().poll(context);
        match link {
            Some(caller) => within(caller, poll),
            None => poll(),
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let future = self.future.take();
        if let Some(caller) = self.link {
            within(caller, || drop(future));
        }
    }
}
