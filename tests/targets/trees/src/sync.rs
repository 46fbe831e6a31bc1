//! Functions that run when they are called, and the destructor.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use truth::path;

use crate::at::At;
use crate::body::{recurse, succeed, work};
use crate::functions::{Call, Function};
use crate::log::{Answer, Failure};

/// All of them.
pub static FUNCTIONS: [Function; 18] = [
    Function::new(path!("plain"), Call::Sync(plain)),
    Function::new(path!("inlined"), Call::Sync(inlined)),
    Function::new(path!("generic"), Call::Sync(|at| generic(at, 1_u8))),
    Function::new(path!("generic"), Call::Sync(|at| generic(at, "text"))),
    Function::new(path!("constant"), Call::Sync(constant::<3>)),
    Function::new(path!("infallible"), Call::Sync(|at| Ok(infallible(at)))),
    Function::new(
        path!("optional"),
        Call::Sync(|at| Ok(optional(at).unwrap_or(0))),
    ),
    Function::new(
        path!("aliased"),
        Call::Sync(|at| aliased(at).map_err(|error| origin(&error))),
    ),
    Function::new(path!("widened"), Call::Sync(|at| narrowed(widened(at)))),
    Function::new(
        path!("large"),
        Call::Sync(|at| large(at).map(|[first, ..]| first)),
    ),
    Function::new(path!("closure"), Call::Sync(closure)).bare(),
    Function::new(path!("recursive"), Call::Sync(recursive)).recursive(),
    Function::new(
        path!("Walker::by_value"),
        Call::Sync(|at| Walker(at).by_value()),
    ),
    Function::new(
        path!("Walker::by_reference"),
        Call::Sync(|at| Walker(at).by_reference()),
    ),
    Function::new(
        path!("Walker::boxed"),
        Call::Sync(|at| Box::new(Walker(at)).boxed()),
    ),
    Function::new(
        path!("Walker::pinned"),
        Call::Sync(|at| Pin::new(&mut Walker(at)).pinned()),
    ),
    Function::new(
        path!("Walk::walk"),
        Call::Sync(|at| {
            let walk: Rc<dyn Walk> = Rc::new(Walker(at));
            walk.walk()
        }),
    )
    .bare(),
    Function::new(
        path!("Held::drop"),
        Call::Destructor(|at| {
            drop(Held(at));
            Ok(1)
        }),
    ),
];

#[exoscope::instrument(fields(call = at.call))]
#[inline(never)]
fn plain(at: At) -> Answer {
    work(at)
}

#[exoscope::instrument(fields(call = at.call))]
#[inline(always)]
fn inlined(at: At) -> Answer {
    work(at)
}

#[exoscope::instrument(fields(call = at.call))]
fn generic<T>(at: At, _weight: T) -> Answer {
    work(at)
}

#[exoscope::instrument(fields(call = at.call))]
fn constant<const N: usize>(at: At) -> Answer {
    let answers = [work(at); N];
    answers[N - 1]
}

#[exoscope::instrument(fields(call = at.call))]
fn infallible(at: At) -> u64 {
    succeed(at)
}

#[exoscope::instrument(fields(call = at.call))]
fn optional(at: At) -> Option<u64> {
    Some(succeed(at)).filter(|answer| *answer > 0)
}

#[exoscope::instrument(fields(call = at.call))]
fn aliased(at: At) -> io::Result<u64> {
    work(at).map_err(io::Error::other)
}

#[exoscope::instrument(fields(call = at.call))]
fn widened(at: At) -> Result<u64, Box<dyn Error + Send + Sync>> {
    let answer = work(at)?;
    Ok(answer)
}

/// An answer whose error was boxed on its way.
pub fn narrowed(answer: Result<u64, Box<dyn Error + Send + Sync>>) -> Answer {
    answer.map_err(|error| *error.downcast().expect("the body fails with nothing else"))
}

/// The failure in an error of the system.
fn origin(error: &io::Error) -> Failure {
    let inner = error.get_ref().and_then(|error| error.downcast_ref());
    *inner.expect("the body fails with nothing else")
}

/// Its answer is returned through memory.
#[exoscope::instrument(fields(call = at.call))]
fn large(at: At) -> Result<[u64; 9], Failure> {
    work(at).map(|answer| [answer; 9])
}

fn closure(at: At) -> Answer {
    let call = || exoscope::call!("closure", { work(at) });
    call()
}

#[exoscope::instrument(fields(call = at.call))]
fn recursive(at: At) -> Answer {
    recurse(at, recursive)
}

/// Has methods.
struct Walker(At);

impl Walker {
    #[exoscope::instrument(fields(call = self.0.call))]
    fn by_value(self) -> Answer {
        work(self.0)
    }

    #[exoscope::instrument(fields(call = self.0.call))]
    fn by_reference(&self) -> Answer {
        work(self.0)
    }

    #[allow(clippy::boxed_local, reason = "a kind of method of its own")]
    #[exoscope::instrument(fields(call = self.0.call))]
    fn boxed(self: Box<Self>) -> Answer {
        work(self.0)
    }

    #[exoscope::instrument(fields(call = self.0.call))]
    fn pinned(self: Pin<&mut Self>) -> Answer {
        work(self.0)
    }
}

/// Has a method that is called through a table.
#[exoscope::instrument]
trait Walk {
    fn at(&self) -> At;

    fn walk(&self) -> Answer {
        work(self.at())
    }
}

impl Walk for Walker {
    fn at(&self) -> At {
        self.0
    }
}

/// A value whose destructor is a call.
pub struct Held(pub At);

impl Drop for Held {
    #[exoscope::instrument(fields(call = self.0.call))]
    fn drop(&mut self) {
        succeed(self.0);
    }
}
