//! What the body of any function does: its steps, and its end.

use std::iter::repeat_n;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Poll;
use std::thread;

use crate::at::At;
use crate::executor::{block_on, poll_once, pool};
use crate::futures::Task;
use crate::iterators::take_items;
use crate::log::{Answer, CallId, Caller, Failure, Open, link_to, stumble, within};
use crate::parcels;
use crate::program::{Action, Ending, Fate, Handling, Node, Step};
use crate::sync::Held;

/// Threads of a pool.
const WORKERS: usize = 2;

/// The whole body of a function that is no future.
#[inline]
pub fn work(at: At) -> Answer {
    logged(at, |open| steps(at, open))
}

/// As [`work`], for a function that returns no error: its calls' errors end in it.
#[inline]
pub fn succeed(at: At) -> u64 {
    let answer = logged(at, |open| Ok(steps(at, open).unwrap_or(0)));
    answer.unwrap_or(0)
}

/// As [`work`], for a function that calls itself, as `again`, and does the rest in the innermost call.
#[inline]
pub fn recurse(at: At, again: fn(At) -> Answer) -> Answer {
    logged(at, |open| match at.inner() {
        Some(inner) => again(inner),
        None => steps(at, open),
    })
}

#[inline]
fn logged(at: At, body: impl FnOnce(&Open) -> Answer) -> Answer {
    let open = at.begin();
    let answer = body(&open);
    open.end(&answer);
    answer
}

fn steps(at: At, open: &Open) -> Answer {
    let _bomb = Bomb::of(at, open);
    let mut held = Vec::new();
    for step in &at.node.steps {
        match step.action {
            Action::Hold => held.extend(hold(at.call, step)),
            _ => {
                take(at.call, step)?;
            }
        }
    }
    drop(held);
    ending(at, open)
}

/// The local values that a step makes.
pub fn hold(caller: CallId, step: &'static Step) -> impl Iterator<Item = Held> {
    let nodes = step.nodes.iter();
    nodes.map(move |node| Held(At::new(Caller::of(caller), node)))
}

/// Panics when it is dropped, unless the thread panics already.
pub struct Bomb<'a>(&'a Open);

impl<'a> Bomb<'a> {
    /// The one that the body of `at` has among its local values, if any.
    pub fn of(at: At, open: &'a Open) -> Option<Self> {
        (at.node.ending == Ending::PanicInDestructor).then(|| Self(open))
    }
}

impl Drop for Bomb<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.0.panic();
        }
    }
}

/// What a body ends with after its steps.
pub fn ending(at: At, open: &Open) -> Answer {
    match at.node.ending {
        Ending::Return | Ending::PanicInDestructor => Ok(1),
        Ending::Fail => Err(Failure { origin: at.call }),
        Ending::Panic => open.panic(),
        Ending::Unwind => open.unwind(),
    }
}

/// Takes a step that any body can take. `caller` is the call that takes it; 0 is none.
pub fn take(caller: CallId, step: &'static Step) -> Answer {
    match step.action {
        Action::Stumble => stumble(caller),
        Action::Call { times } => {
            for node in step
                .nodes
                .iter()
                .flat_map(|node| repeat_n(node, times as usize))
            {
                let at = || At::new(Caller::of(caller), node);
                handled(step.handling, || at().run())?;
            }
        }
        _ => return handled(step.handling, || act(caller, step)),
    }
    Ok(1)
}

/// Takes a step whose calls fail together.
fn act(caller: CallId, step: &'static Step) -> Answer {
    let elsewhere = if step.linked {
        link_to(caller)
    } else {
        Caller::NONE
    };
    match step.action {
        Action::Threads => settle(on_threads(elsewhere, &step.nodes)),
        Action::Pool => {
            let task = |node| Task::new(elsewhere, node);
            settle(pool(step.nodes.iter().map(task).collect(), WORKERS))
        }
        Action::Poll { polls, fate } => poll(caller, step, polls, fate),
        Action::Take { items } => match step.nodes.first() {
            Some(node) => {
                let iterator = At::new(Caller::of(caller), node).iterator();
                take_items(iterator, items, step.handling == Handling::Pass)
            }
            None => Ok(0),
        },
        Action::Finish => match parcels::take(caller) {
            Some(task) => block_on(task.polled_by(caller)),
            None => Ok(0),
        },
        action => unreachable!("{action:?} is for the bodies of futures and streams"),
    }
}

/// Does what can fail, and lets failures pass or not.
fn handled(handling: Handling, work: impl FnOnce() -> Answer) -> Answer {
    match handling {
        Handling::Pass => work(),
        Handling::Swallow => Ok(work().unwrap_or(0)),
        Handling::Catch => {
            let caught = catch_unwind(AssertUnwindSafe(work));
            Ok(caught.unwrap_or(Ok(0)).unwrap_or(0))
        }
    }
}

/// Runs each call on a thread of its own.
fn on_threads(caller: Caller, nodes: &'static [Node]) -> Vec<thread::Result<Answer>> {
    let link = caller.linked.then(exoscope::current_call);
    let start = |node| {
        let run = move || At::new(caller, node).run();
        thread::spawn(move || match link {
            Some(link) => within(caller, || link.run(run)),
            None => run(),
        })
    };
    let threads: Vec<_> = nodes.iter().map(start).collect();
    threads.into_iter().map(thread::JoinHandle::join).collect()
}

/// Goes on with the first panic of other threads, or else gives the first error.
fn settle(results: Vec<thread::Result<Answer>>) -> Answer {
    let unwind =
        |result: thread::Result<Answer>| result.unwrap_or_else(|panic| resume_unwind(panic));
    let answers: Vec<Answer> = results.into_iter().map(unwind).collect();
    answers.into_iter().sum()
}

/// Polls the future of the first call, and does with it what `fate` says.
fn poll(caller: CallId, step: &'static Step, polls: u32, fate: Fate) -> Answer {
    let [node, takers @ ..] = &step.nodes[..] else {
        return Ok(0);
    };
    let made_by = if step.linked {
        link_to(caller)
    } else {
        Caller::of(caller)
    };
    let mut task = Task::new(made_by, node);
    for _ in 0..polls {
        if let Poll::Ready(answer) = poll_once(&mut task) {
            return answer;
        }
    }
    match fate {
        Fate::Drop => drop(task),
        Fate::Forget => std::mem::forget(task),
        Fate::Roam => {
            let other = thread::spawn(|| block_on(task.polled_by(0)));
            return settle(vec![other.join()]);
        }
        Fate::Leave => parcels::leave(task, true),
        Fate::DropLater => parcels::leave(task, false),
        Fate::Hand => {
            let Some(node) = takers.first() else {
                return Ok(0);
            };
            let taker = At::new(Caller::of(caller), node);
            parcels::give(taker.call, task);
            return taker.run();
        }
    }
    Ok(0)
}
