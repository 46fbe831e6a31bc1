//! Naming a call as the parent of what runs elsewhere: in a task or on a thread.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

#[cfg(feature = "enabled")]
use crate::{SUPPORTED, chain};

/// A call that calls made elsewhere can have as their parent. [`current_call`] gives one.
///
/// It may outlive the call that it stands for, be copied, and go to other threads. While nobody
/// looks, and without the feature `enabled`, it stands for nothing.
#[derive(Clone, Copy, Debug)]
#[must_use = "it does nothing before something runs in it"]
pub struct Call {
    /// Token of a link, or 0.
    #[cfg(feature = "enabled")]
    token: usize,
}

/// The innermost instrumented call that runs on this thread, or, in what runs [within](Call::run) a
/// call, that one.
///
/// An instrumented call has the one that made it as its parent: what is innermost on the thread.
/// Tasks and threads begin with nothing, because who spawned them does not wait for them. Where the
/// spawning call is to be their parent, take it along:
///
/// ```
/// #[exoscope::instrument]
/// fn sum(numbers: Vec<u64>) -> u64 {
///     let call = exoscope::current_call();
///     let half = numbers.len() / 2;
///     let (left, right) = numbers.split_at(half);
///     std::thread::scope(|scope| {
///         let left = scope.spawn(move || call.run(|| add(left)));
///         add(right) + left.join().unwrap()
///     })
/// }
///
/// #[exoscope::instrument]
/// fn add(numbers: &[u64]) -> u64 {
///     numbers.iter().sum()
/// }
/// # assert_eq!(sum(vec![1, 2, 3]), 6);
/// ```
///
/// For tasks there is [`InCall::in_current_call`].
///
/// The time of such a child is no part of its parent's: the parent may have ended long before.
///
/// There is nothing to give back: one in which nothing runs, or whose task is forgotten, leaves nothing
/// behind. The agent remembers what some 16,000 of them stand for, those that were used last, or with
/// `--capture exits` the 65,536 newest. What runs in one that it has forgotten has no parent.
#[inline]
pub fn current_call() -> Call {
    Call {
        #[cfg(feature = "enabled")]
        token: if SUPPORTED && announcing::is_wanted() {
            announcing::announce()
        } else {
            0
        },
    }
}

impl Call {
    /// Runs a closure within the call: instrumented calls that it makes have it as their parent. If
    /// it stands for nothing, the closure just runs.
    ///
    /// ```
    /// # #[exoscope::instrument]
    /// # fn work() {}
    /// # #[exoscope::instrument]
    /// # fn spawn() {
    /// let call = exoscope::current_call();
    /// std::thread::spawn(move || call.run(work));
    /// # }
    /// ```
    #[inline]
    pub fn run<R>(self, run: impl FnOnce() -> R) -> R {
        let mut within = Within::new(self);
        within.enter();
        run()
    }
}

/// Futures and streams that run within a call, wherever they are polled.
///
/// ```
/// use exoscope::InCall as _;
///
/// #[exoscope::instrument]
/// async fn accept() {
///     // `serve` is a child of `accept`, on whatever thread it runs.
///     tokio::spawn(serve().in_current_call());
/// }
///
/// #[exoscope::instrument]
/// async fn serve() {}
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(accept());
/// ```
pub trait InCall: Sized {
    /// Runs `self` within `call`.
    #[inline]
    fn in_call(self, call: Call) -> Linked<Self> {
        Linked {
            inner: self,
            within: Within::new(call),
        }
    }

    /// Runs `self` within the call that is the [current one](current_call) now, not when it is polled.
    #[inline]
    fn in_current_call(self) -> Linked<Self> {
        self.in_call(current_call())
    }
}

impl<T> InCall for T {}

/// A future or stream that runs within a call. [`InCall`] makes it.
#[derive(Debug)]
#[must_use = "futures and streams do nothing unless polled"]
pub struct Linked<T> {
    inner: T,
    /// Dropped after `inner`, which is dropped within the call too.
    within: Within,
}

impl<T> Linked<T> {
    /// Runs `poll` with what is wrapped, within the call.
    #[inline]
    fn poll_within<R>(self: Pin<&mut Self>, poll: impl FnOnce(Pin<&mut T>) -> R) -> R {
        let call = self.within.call;
        // SAFETY: `inner` is pinned because `self` is: nothing moves out of it.
        let inner = unsafe { self.map_unchecked_mut(|this| &mut this.inner) };
        call.run(|| poll(inner))
    }
}

impl<T: Future> Future for Linked<T> {
    type Output = T::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T::Output> {
        self.poll_within(|inner| inner.poll(context))
    }
}

#[cfg(feature = "stream")]
impl<T: futures_core::Stream> futures_core::Stream for Linked<T> {
    type Item = T::Item;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T::Item>> {
        self.poll_within(|inner| inner.poll_next(context))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

#[cfg(feature = "enabled")]
impl<T> Drop for Linked<T> {
    #[inline]
    fn drop(&mut self) {
        self.within.enter();
    }
}

/// Makes a call the thread's innermost one, from when it is entered until it is dropped.
#[derive(Debug)]
struct Within {
    call: Call,
    /// What was innermost before, once it is entered.
    #[cfg(feature = "enabled")]
    outer: Option<usize>,
}

impl Within {
    #[inline]
    const fn new(call: Call) -> Self {
        Self {
            call,
            #[cfg(feature = "enabled")]
            outer: None,
        }
    }

    #[inline]
    fn enter(&mut self) {
        #[cfg(feature = "enabled")]
        if self.call.token != 0 {
            self.outer = Some(chain::replace(self.call.token));
        }
    }
}

#[cfg(feature = "enabled")]
impl Drop for Within {
    #[inline]
    fn drop(&mut self) {
        if let Some(outer) = self.outer {
            chain::pop(outer);
        }
    }
}

#[cfg(feature = "enabled")]
mod announcing {
    use core::sync::atomic::{AtomicU16, Ordering::Relaxed};

    use crate::{chain, token};

    /// Somebody wants links.
    #[unsafe(link_section = ".probes")]
    static WANTED: AtomicU16 = AtomicU16::new(0);

    #[inline]
    pub fn is_wanted() -> bool {
        WANTED.load(Relaxed) != 0
    }

    /// Takes a token and fires the marker that says for which call it stands. 0 for no call.
    #[cold]
    #[inline(never)]
    pub fn announce() -> usize {
        let call = chain::innermost();
        if call == 0 || token::is_of_link(call) {
            // What runs within a call and made none itself hands on the same one.
            return call;
        }
        let token = token::of_link();
        crate::__markers!(link WANTED call token);
        token
    }
}
