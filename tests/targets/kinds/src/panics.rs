//! Panics. Not in builds with `panic=abort`.

use crate::case::Case;

/// The cases of this file.
pub const CASES: &[Case] = &[
    through_frames::CASE,
    caught::CASE,
    resumed::CASE,
    never::CASE,
    in_destructor::CASE,
    destructors_run::CASE,
    during_unwinding::CASE,
    in_thread::CASE,
    out_of_thread::CASE,
    scoped_threads::CASE,
    foreign::CASE,
    payloads::CASE,
    own_hook::CASE,
    chained_hook::CASE,
    in_formatting::CASE,
    in_iterator::CASE,
];

/// Runs what panics, and expects that it does.
fn panics<T>(run: impl FnOnce() -> T) {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    assert!(caught.is_err(), "the panic must arrive");
}

/// Through several frames.
pub mod through_frames {
    use super::panics;
    use crate::case::{ok, panic};

    #[exoscope::instrument]
    fn falls(at: usize) -> u32 {
        [1, 2][at]
    }

    #[exoscope::instrument]
    fn passes(at: usize) -> Result<u32, String> {
        Ok(falls(at) + 1)
    }

    #[exoscope::instrument]
    fn passes_too(at: usize) {
        let _ = before();
        let _ = passes(at);
    }

    #[exoscope::instrument]
    fn before() -> u32 {
        1
    }

    fn run() {
        passes_too(1);
        panics(|| passes_too(2));
    }

    case!(run => [
        ok("passes_too").with(&[ok("before"), ok("passes").with(&[ok("falls")])]),
        panic("passes_too").with(&[ok("before"), panic("passes").with(&[panic("falls").said("index out of bounds: the len is 2 but the index is 2")])]),
    ]);
}

/// Caught inside a call, which goes on.
pub mod caught {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use crate::case::{err, ok, panic};

    #[exoscope::instrument]
    fn falls() {
        panic!("asked to");
    }

    #[exoscope::instrument]
    fn catches() -> bool {
        catch_unwind(falls).is_err()
    }

    #[exoscope::instrument]
    fn goes_on() -> u32 {
        let mut caught = 0;
        for _ in 0..2 {
            caught += u32::from(catch_unwind(AssertUnwindSafe(falls)).is_err());
            after();
        }
        caught
    }

    #[exoscope::instrument]
    fn after() {}

    /// Its own panic is over when it fails.
    #[exoscope::instrument]
    fn fails_after_own() -> Result<(), String> {
        let caught = catch_unwind(|| panic!("not inside another call"));
        caught.map_err(|_| "afterwards".to_owned())
    }

    #[exoscope::instrument]
    fn returns_after_own() -> bool {
        catch_unwind(|| panic!("not inside another call")).is_err()
    }

    #[exoscope::instrument]
    fn as_error() -> Result<(), String> {
        catch_unwind(falls).map_err(|_| "it fell".to_owned())
    }

    fn run() {
        assert!(catches());
        assert_eq!(goes_on(), 2);
        assert!(as_error().is_err());
        assert!(fails_after_own().is_err() && returns_after_own());
    }

    case!(run => [
        ok("catches").with(&[panic("falls").said("asked to")]),
        ok("goes_on").with(&[panic("falls").said("asked to"), ok("after"), panic("falls").said("asked to"), ok("after")]),
        err("as_error", "alloc::string::String", "it fell").with(&[panic("falls").said("asked to")]),
        err("fails_after_own", "alloc::string::String", "afterwards"),
        ok("returns_after_own"),
    ]);
}

/// Caught, and begun again, with the payload or another one.
pub mod resumed {
    use std::panic::{catch_unwind, resume_unwind};

    use super::panics;
    use crate::case::{ok, panic};

    #[exoscope::instrument]
    fn falls() {
        panic!("asked to");
    }

    #[exoscope::instrument]
    fn resumes() {
        if let Err(payload) = catch_unwind(falls) {
            between();
            resume_unwind(payload);
        }
    }

    #[exoscope::instrument]
    fn between() {}

    #[exoscope::instrument]
    fn without_hook() {
        resume_unwind(Box::new(7));
    }

    fn run() {
        panics(resumes);
        panics(without_hook);
    }

    case!(run => [
        panic("resumes").with(&[panic("falls").said("asked to"), ok("between")]),
        panic("without_hook"),
    ]);
}

/// Functions that never return, and so end by a panic.
pub mod never {
    use super::panics;
    use crate::case::panic;

    #[exoscope::instrument]
    fn fails(message: &str) -> ! {
        panic!("{message}")
    }

    #[exoscope::instrument]
    fn through() -> ! {
        fails("through");
    }

    #[exoscope::instrument]
    fn coerced(fail: bool) -> u32 {
        if fail { fails("coerced") } else { 1 }
    }

    struct Service(bool);

    #[exoscope::instrument]
    impl Service {
        fn run(&mut self) -> ! {
            loop {
                if self.0 {
                    fails("in a loop");
                }
                self.0 = true;
            }
        }
    }

    #[exoscope::instrument]
    fn unreachable() -> Result<(), std::convert::Infallible> {
        unreachable!("said to be")
    }

    fn run() {
        panics(|| through());
        panics(|| coerced(true));
        panics(|| Service(false).run());
        panics(unreachable);
    }

    case!(run => [
        panic("through").with(&[panic("fails").said("through")]),
        panic("coerced").with(&[panic("fails").said("coerced")]),
        panic("Service::run").with(&[panic("fails").said("in a loop")]),
        panic("unreachable").said("internal error: entered unreachable code: said to be"),
    ]);
}

/// A destructor that panics.
pub mod in_destructor {
    use super::panics;
    use crate::case::{ok, panic};

    struct Falls;

    #[exoscope::instrument]
    impl Drop for Falls {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }

    #[exoscope::instrument]
    fn local() {
        let _falls = Falls;
        work();
    }

    #[exoscope::instrument]
    fn argument(_falls: Falls) {
        work();
    }

    #[exoscope::instrument]
    fn work() {}

    fn run() {
        panics(local);
        panics(|| argument(Falls));
    }

    // The argument is dropped when the call has ended.
    case!(run => [
        panic("local").with(&[ok("work"), panic("Falls::drop").said("in drop")]),
        ok("argument").with(&[ok("work")]),
        panic("Falls::drop").said("in drop"),
    ]);
}

/// Destructors that run while a panic unwinds return like others.
pub mod destructors_run {
    use super::panics;
    use crate::case::{ok, panic};

    struct Guard;

    #[exoscope::instrument]
    impl Drop for Guard {
        fn drop(&mut self) {
            let _ = cleanup();
        }
    }

    #[exoscope::instrument]
    fn cleanup() -> u32 {
        1
    }

    #[exoscope::instrument]
    fn falls() {
        let _guard = Guard;
        panic!("asked to");
    }

    #[exoscope::instrument]
    fn passes() {
        let _guard = Guard;
        falls();
    }

    fn run() {
        panics(passes);
    }

    const GUARD: crate::case::Row = ok("Guard::drop").with(&[ok("cleanup")]);

    case!(run => [panic("passes").with(&[panic("falls").said("asked to").with(&[GUARD]), GUARD])]);
}

/// A panic inside a destructor that runs while another one unwinds, caught there.
pub mod during_unwinding {
    use std::panic::catch_unwind;

    use super::panics;
    use crate::case::{cancelled, ok, panic};

    struct Guard;

    #[exoscope::instrument]
    impl Drop for Guard {
        fn drop(&mut self) {
            assert!(catch_unwind(falls_again).is_err());
        }
    }

    #[exoscope::instrument]
    fn falls_again() {
        panic!("again");
    }

    #[exoscope::instrument]
    fn falls() {
        let _guard = Guard;
        panic!("asked to");
    }

    #[exoscope::instrument]
    async fn waits() {
        std::future::pending().await
    }

    /// A future that is dropped because its owner unwinds is one that was not completed.
    #[exoscope::instrument]
    fn owns_future() {
        let mut future = Box::pin(waits());
        assert!(futures::poll_once(&mut future).is_none());
        panic!("asked to");
    }

    mod futures {
        use std::pin::Pin;
        use std::task::{Context, Poll, Waker};

        pub fn poll_once<F: Future>(future: &mut Pin<Box<F>>) -> Option<F::Output> {
            match future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
            {
                Poll::Ready(output) => Some(output),
                Poll::Pending => None,
            }
        }
    }

    fn run() {
        panics(falls);
        panics(owns_future);
    }

    case!(run => [
        panic("falls").said("asked to").with(&[ok("Guard::drop").with(&[panic("falls_again").said("again")])]),
        panic("owns_future").said("asked to").with(&[cancelled("waits")]),
    ]);
}

/// In another thread, which ends by it.
pub mod in_thread {
    use std::thread;

    use crate::case::{ok, panic};

    #[exoscope::instrument]
    fn body() {
        falls();
    }

    #[exoscope::instrument]
    fn falls() {
        panic!("in a thread");
    }

    #[exoscope::instrument]
    fn joins() -> bool {
        thread::spawn(body).join().is_err()
    }

    fn run() {
        assert!(joins());
    }

    case!(run => [ok("joins"), panic("body").on_thread().with(&[panic("falls").said("in a thread")])]);
}

/// It goes on in who waits for the thread in which it began.
pub mod out_of_thread {
    use std::panic::resume_unwind;
    use std::thread;

    use super::panics;
    use crate::case::panic;

    #[exoscope::instrument]
    fn falls() {
        panic!("in a thread");
    }

    #[exoscope::instrument]
    fn waits() {
        thread::spawn(falls)
            .join()
            .unwrap_or_else(|payload| resume_unwind(payload));
    }

    #[exoscope::instrument]
    fn outer() {
        waits();
    }

    fn run() {
        panics(outer);
    }

    // What is resumed runs no hook, so it says nothing a second time.
    case!(run => [
        panic("outer").with(&[panic("waits")]),
        panic("falls").said("in a thread").on_thread(),
    ]);
}

/// In a scoped thread: the scope panics in its turn.
pub mod scoped_threads {
    use std::thread;

    use super::panics;
    use crate::case::{ok, panic};

    #[exoscope::instrument]
    fn works(value: &mut u32) {
        *value += 1;
    }

    #[exoscope::instrument]
    fn falls() {
        panic!("in a scope");
    }

    #[exoscope::instrument]
    fn scope(value: &mut u32) {
        thread::scope(|scope| {
            scope
                .spawn(|| works(value))
                .join()
                .expect("it does not panic");
            scope.spawn(falls);
        });
    }

    fn run() {
        let mut value = 0;
        panics(|| scope(&mut value));
        assert_eq!(value, 1);
    }

    case!(run => [
        panic("scope").said("a scoped thread panicked"),
        ok("works").on_thread(),
        panic("falls").said("in a scope").on_thread(),
    ]);
}

/// Through frames of other ABIs.
pub mod foreign {
    use super::panics;
    use crate::case::{ok, panic};

    #[exoscope::instrument]
    extern "C-unwind" fn passes(fail: bool) {
        falls(fail);
    }

    #[exoscope::instrument]
    fn falls(fail: bool) {
        assert!(!fail, "asked to");
    }

    fn run() {
        passes(false);
        panics(|| passes(true));
    }

    case!(run => [
        ok("passes").with(&[ok("falls")]),
        panic("passes").with(&[panic("falls").said("asked to")]),
    ]);
}

/// What a panic is thrown with.
pub mod payloads {
    use std::panic::panic_any;

    use super::panics;
    use crate::case::panic;

    #[exoscope::instrument]
    fn literal() {
        panic!("a literal");
    }

    #[exoscope::instrument]
    fn formatted(number: u32) {
        panic!("number {number}");
    }

    #[exoscope::instrument]
    fn any() {
        panic_any(7_u8);
    }

    #[exoscope::instrument]
    fn overflow(number: u8) -> u8 {
        number.checked_add(1).unwrap()
    }

    #[exoscope::instrument]
    fn result() {
        "x".parse::<u8>().expect("a number");
    }

    #[exoscope::instrument]
    fn comparison() {
        assert_eq!(1 + 1, 3, "arithmetic");
    }

    fn run() {
        panics(literal);
        panics(|| formatted(7));
        panics(any);
        panics(|| overflow(255));
        panics(result);
        panics(comparison);
    }

    case!(run => [
        panic("literal").said("a literal"),
        panic("formatted").said("number 7"),
        panic("any").said("Box<dyn Any>"),
        panic("overflow").said("called `Option::unwrap()` on a `None` value"),
        panic("result").said("a number: ParseIntError { kind: InvalidDigit }"),
        panic("comparison").said("assertion `left == right` failed: arithmetic\n  left: 2\n right: 3"),
    ]);
}

/// The user's own panic hook stays, and may call instrumented functions. It takes the place of the one
/// that tells of messages.
pub mod own_hook {
    use std::panic::{set_hook, take_hook};
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::panics;
    use crate::case::{ok, panic};

    static SEEN: AtomicU32 = AtomicU32::new(0);

    #[exoscope::instrument]
    fn reports() {
        SEEN.fetch_add(1, Ordering::Relaxed);
    }

    #[exoscope::instrument]
    fn falls() {
        panic!("for the hook");
    }

    fn run() {
        let before = take_hook();
        set_hook(Box::new(|_| reports()));
        panics(falls);
        set_hook(before);
        assert_eq!(SEEN.load(Ordering::Relaxed), 1, "the user's hook ran");
    }

    // The hook runs before anything unwinds: inside the call.
    case!(run => [panic("falls").with(&[ok("reports")])]);
}

/// A hook of the user that calls the one before it: both do their work.
pub mod chained_hook {
    use std::panic::{PanicHookInfo, set_hook, take_hook};
    use std::sync::Arc;

    use super::panics;
    use crate::case::{ok, panic};

    #[exoscope::instrument]
    fn reports() {}

    #[exoscope::instrument]
    fn falls() {
        panic!("for both hooks");
    }

    fn run() {
        let before: Arc<dyn Fn(&PanicHookInfo<'_>) + Send + Sync> = take_hook().into();
        let next = Arc::clone(&before);
        set_hook(Box::new(move |info| {
            reports();
            next(info);
        }));
        panics(falls);
        set_hook(Box::new(move |info| before(info)));
    }

    case!(run => [panic("falls").said("for both hooks").with(&[ok("reports")])]);
}

/// In the `Display` of an error, which is formatted only because somebody looks: the message ends
/// there, and the call is an error as it was.
pub mod in_formatting {
    use std::fmt;

    use crate::case::{err, err_unsaid};

    struct Falls(&'static str);

    impl fmt::Display for Falls {
        fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str(self.0)?;
            panic!("while it is formatted");
        }
    }

    #[exoscope::instrument]
    fn fails(said: &'static str) -> Result<(), Falls> {
        Err(Falls(said))
    }

    fn run() {
        assert!(fails("").is_err());
        assert!(fails("so far").is_err());
    }

    const KIND: &str = "kinds::panics::in_formatting::Falls";

    case!(run => [err_unsaid("fails", KIND), err("fails", KIND, "so far")]);
}

/// In `next`, under an adapter of the standard library.
pub mod in_iterator {
    use super::panics;
    use crate::case::{ok, panic};

    struct Falls(u32);

    #[exoscope::instrument]
    impl Iterator for Falls {
        type Item = u32;
        fn next(&mut self) -> Option<u32> {
            self.0 = self.0.checked_sub(1).expect("there are more");
            Some(self.0)
        }
    }

    #[exoscope::instrument]
    fn sums() -> u32 {
        Falls(1).map(|number| number + 1).sum()
    }

    fn run() {
        panics(sums);
    }

    case!(run => [panic("sums").with(&[ok("Falls::next"), panic("Falls::next").said("there are more")])]);
}
