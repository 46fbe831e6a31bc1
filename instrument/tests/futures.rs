//! Instrumented futures are polled, moved, cancelled and dropped as bare ones are.
#![cfg(feature = "enabled")]
#![deny(warnings)]

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use exoscope::instrument;

thread_local! {
    static DROPPED: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

struct Noisy(&'static str);

impl Drop for Noisy {
    fn drop(&mut self) {
        DROPPED.with_borrow_mut(|dropped| dropped.push(self.0));
    }
}

/// Polls once without waking.
fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls until it is complete.
fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = poll(future.as_mut()) {
            return output;
        }
    }
}

/// Pending at its first poll, and wakes its task at once.
async fn suspend() {
    let mut first = true;
    std::future::poll_fn(move |context| {
        context.waker().wake_by_ref();
        if std::mem::take(&mut first) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
}

type Answer<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[instrument]
async fn parse(text: &str) -> Answer<u32> {
    suspend().await;
    if text.is_empty() {
        return Err("empty".into());
    }
    Ok(text.parse()?)
}

#[instrument]
async fn generic<T: Clone, const N: usize>(values: &[T; N], copies: impl Into<usize>) -> Vec<T> {
    let copies = copies.into();
    suspend().await;
    values.iter().cycle().take(copies).cloned().collect()
}

#[instrument]
async fn patterns((a, _): (Noisy, Noisy), mut count: u32, _: Noisy) -> (u32, &'static str) {
    let _local = Noisy("local");
    suspend().await;
    count += 1;
    (count, a.0)
}

async fn bare_patterns((a, _): (Noisy, Noisy), mut count: u32, _: Noisy) -> (u32, &'static str) {
    let _local = Noisy("local");
    suspend().await;
    count += 1;
    (count, a.0)
}

#[instrument]
async fn recursive(depth: u32) -> u32 {
    if depth == 0 {
        0
    } else {
        Box::pin(recursive(depth - 1)).await + 1
    }
}

#[instrument]
fn by_hand(value: u32) -> impl Future<Output = u32> + Send {
    async move {
        suspend().await;
        value
    }
}

#[instrument]
fn boxed(value: u32) -> Pin<Box<dyn Future<Output = Result<u32, String>> + Send>> {
    let doubled = 2 * value;
    Box::pin(async move {
        suspend().await;
        Ok(doubled)
    })
}

#[instrument]
fn boxed_early(value: u32) -> Pin<Box<dyn Future<Output = u32> + Send>> {
    if value == 0 {
        return Box::pin(std::future::ready(0));
    }
    Box::pin(async move { value })
}

#[instrument]
async fn never() -> ! {
    suspend().await;
    panic!("never")
}

struct Store(Vec<u32>);

#[instrument]
impl Store {
    async fn first(&self) -> Option<&u32> {
        suspend().await;
        self.0.first()
    }
    async fn push(&mut self, value: u32) -> &mut Self {
        self.0.push(value);
        self
    }
    async fn into_inner(self) -> Vec<u32> {
        self.0
    }
    async fn two<'a>(&'a self, other: &str) -> &'a [u32] {
        suspend().await;
        &self.0[..other.len()]
    }
}

trait Fetch {
    fn fetch(&self, key: &str) -> impl Future<Output = usize> + Send;
    fn twice(&self, key: &str) -> impl Future<Output = usize>;
}

#[instrument]
impl Fetch for Store {
    async fn fetch(&self, key: &str) -> usize {
        key.len() + self.0.len()
    }
    async fn twice(&self, key: &str) -> usize {
        2 * self.fetch(key).await
    }
}

#[instrument]
#[async_trait::async_trait]
trait Dynamic: Sync {
    async fn get(&self) -> Answer<usize>;
    async fn or_zero(&self) -> usize {
        self.get().await.unwrap_or(0)
    }
}

#[async_trait::async_trait]
impl Dynamic for Store {
    #[instrument]
    async fn get(&self) -> Answer<usize> {
        suspend().await;
        Ok(self.0.len())
    }
}

#[instrument]
#[tokio::test]
async fn the_runtime_may_come_after() {
    tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>())
        .await
        .expect_err("it never ends");
}

#[tokio::test]
#[instrument]
async fn the_runtime_may_come_before() {
    let spawned = tokio::spawn(parse("3"));
    assert_eq!(spawned.await.expect("it does not panic").ok(), Some(3));
}

#[test]
fn values_are_those_of_the_bare_function() {
    assert_eq!(run(parse("12")).ok(), Some(12));
    assert!(run(parse("")).is_err());
    assert!(run(parse("x")).is_err());
    assert_eq!(run(generic(&[1, 2], 3_u8)), [1, 2, 1]);
    assert_eq!(run(recursive(100)), 100);
    assert_eq!(run(by_hand(4)), 4);
    assert_eq!(run(boxed(4)), Ok(8));
    assert_eq!(run(boxed_early(0)), 0);
    assert_eq!(run(boxed_early(1)), 1);
    let mut store = Store(vec![1]);
    assert_eq!(run(store.first()), Some(&1));
    assert_eq!(run(run(store.push(2)).push(3)).0.len(), 3);
    assert_eq!(run(store.two("ab")), [1, 2]);
    assert_eq!(run(store.fetch("abc")), 6);
    assert_eq!(run(store.twice("abc")), 12);
    assert_eq!(run(store.get()).ok(), Some(3));
    assert_eq!(run(store.or_zero()), 3);
    assert_eq!(run(store.into_inner()), [1, 2, 3]);
    assert_eq!(run(exoscope::future!("ready", std::future::ready(5))), 5);
}

#[test]
fn panics_go_through_and_end_the_future() {
    let mut future = Box::pin(never());
    assert!(poll(future.as_mut()).is_pending());
    assert!(catch_unwind(AssertUnwindSafe(|| poll(future.as_mut()).is_pending())).is_err());
}

/// What a poll count leads to, from the drops of the bare function and of the instrumented one.
fn drops_after<F: Future>(polls: usize, future: F) -> Vec<&'static str> {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        let _ = poll(future.as_mut());
    }
    drop(future);
    DROPPED.take()
}

#[test]
fn arguments_are_dropped_in_the_order_of_the_bare_function() {
    fn arguments() -> ((Noisy, Noisy), u32, Noisy) {
        ((Noisy("a"), Noisy("b")), 1, Noisy("c"))
    }
    for polls in 0..3 {
        let (a, b, c) = arguments();
        let bare = drops_after(polls, bare_patterns(a, b, c));
        let (a, b, c) = arguments();
        assert_eq!(
            drops_after(polls, patterns(a, b, c)),
            bare,
            "after {polls} polls"
        );
    }
    assert_eq!(
        run(patterns((Noisy("a"), Noisy("b")), 1, Noisy("c"))),
        (2, "a")
    );
}

#[test]
fn futures_stay_small() {
    async fn bare(bytes: [u8; 1000], text: &str) -> usize {
        suspend().await;
        bytes.len() + text.len()
    }
    #[instrument]
    async fn marked(bytes: [u8; 1000], text: &str) -> usize {
        suspend().await;
        bytes.len() + text.len()
    }
    let (bare, marked) = (
        size_of_val(&bare([0; 1000], "")),
        size_of_val(&marked([0; 1000], "")),
    );
    assert!(
        marked <= bare + 3 * size_of::<usize>(),
        "{marked} bytes in place of {bare}"
    );
}

#[test]
fn send_is_kept_and_not_asked_for() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    drop(send(parse("1")));
    drop(send(Store(Vec::new()).first()));
    #[instrument]
    async fn local(value: Rc<u32>) -> u32 {
        suspend().await;
        *value
    }
    assert_eq!(run(local(Rc::new(3))), 3);
}

#[instrument]
fn movable(value: u32) -> impl Future<Output = u32> + Unpin + Send {
    std::future::ready(value)
}

#[instrument]
fn boxed_movable(value: u32) -> Pin<Box<dyn Future<Output = u32> + Unpin>> {
    Box::pin(std::future::ready(value))
}

#[instrument]
fn more_than_a_future(value: u32) -> impl Future<Output = u32> + Clone {
    std::future::ready(value)
}

trait Captures<'a> {}
impl<T: ?Sized> Captures<'_> for T {}

#[instrument]
fn capturing<'a>(text: &'a str) -> impl Future<Output = usize> + Captures<'a> + use<'a> {
    async move { text.len() }
}

#[test]
fn futures_that_have_to_be_more_stay_what_they_are() {
    let mut future = movable(1);
    assert_eq!(poll(Pin::new(&mut future)), Poll::Ready(1));
    let mut future = boxed_movable(2);
    assert_eq!(poll(Pin::new(&mut future)), Poll::Ready(2));
    assert_eq!(run(more_than_a_future(3).clone()), 3);
    assert_eq!(run(capturing("abcd")), 4);
}

struct Opaque;

#[instrument]
fn inferred(fails: bool) -> Pin<Box<dyn Future<Output = Result<u32, Opaque>>>> {
    Box::pin(async move {
        if fails {
            Err(Opaque)?
        }
        Ok(1)
    })
}

#[instrument]
fn inferred_from_bound() -> impl Future<Output = Result<u32, Opaque>> {
    async { Ok(1) }
}

#[instrument]
fn unsaid(fails: bool) -> impl Future {
    async move {
        suspend().await;
        if fails { Err(Opaque) } else { Ok(1) }
    }
}

#[instrument]
fn unsaid_early(value: u32) -> impl Future + Send + use<> {
    if value == 0 {
        return std::future::ready(1);
    }
    std::future::ready(value)
}

#[instrument]
fn unsaid_iterator(limit: u32) -> impl Iterator {
    (0..limit).map(|number| number.checked_sub(1).ok_or(Opaque))
}

#[test]
fn what_comes_of_it_may_be_left_unsaid() {
    run(async { drop(unsaid(true).await) });
    run(async { drop(unsaid(false).await) });
    run(async { drop(unsaid_early(0).await) });
    assert_eq!(unsaid_iterator(3).count(), 3);
}

#[test]
fn what_a_future_comes_to_is_known_from_the_signature() {
    assert!(run(inferred(true)).is_err());
    assert!(run(inferred(false)).is_ok());
    assert!(run(inferred_from_bound()).is_ok());
}
