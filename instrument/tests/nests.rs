//! Futures, streams and iterators within one another: how deep they may be, and how large they get.
#![cfg(feature = "enabled")]
#![deny(warnings)]

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use exoscope::instrument;

/// Polls until it is complete.
fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

fn send<T: Send>(value: T) -> T {
    value
}

/// Functions each of which gives `$next`, put into `$within`, of the function after it.
macro_rules! nest {
    ($define:ident $outermost:ident $($more:ident)*) => {
        nest!(@ $define $outermost $($more)*);
    };
    (@ $define:ident $function:ident $next:ident $($more:ident)*) => {
        $define!($function $next);
        nest!(@ $define $next $($more)*);
    };
    (@ $define:ident $innermost:ident) => {
        $define!($innermost);
    };
}

/// The depth that the crate's documentation promises.
mod async_fns {
    use super::*;

    macro_rules! define {
        ($function:ident $next:ident) => {
            #[instrument]
            pub async fn $function() -> u32 {
                $next().await + 1
            }
        };
        ($innermost:ident) => {
            #[instrument]
            pub async fn $innermost() -> u32 {
                std::future::ready(1).await
            }
        };
    }
    nest!(define a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 c0 c1 c2 c3 c4);

    #[test]
    fn may_be_25_deep_in_a_spawned_task() {
        assert_eq!(run(send(a0())), 25);
    }
}

mod returned_futures {
    use super::*;

    macro_rules! define {
        ($function:ident $next:ident) => {
            #[instrument]
            pub fn $function() -> impl Future<Output = u32> + Send {
                async { $next().await + 1 }
            }
        };
        ($innermost:ident) => {
            #[instrument]
            pub fn $innermost() -> impl Future<Output = u32> + Send {
                std::future::ready(1)
            }
        };
    }
    nest!(define a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 c0 c1 c2 c3 c4);

    #[test]
    fn may_be_25_deep_in_a_spawned_task() {
        assert_eq!(run(send(a0())), 25);
    }
}

mod iterators {
    use super::*;

    macro_rules! define {
        ($function:ident $next:ident) => {
            #[instrument]
            pub fn $function() -> impl Iterator<Item = u32> + Send {
                $next().map(|number| number + 1)
            }
        };
        ($innermost:ident) => {
            #[instrument]
            pub fn $innermost() -> impl Iterator<Item = u32> + Send {
                std::iter::once(1)
            }
        };
    }
    nest!(define a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 b0 b1 b2 b3 b4 b5 b6 b7 b8 b9 c0 c1 c2 c3 c4);

    #[test]
    fn may_be_25_deep() {
        assert_eq!(send(a0()).last(), Some(25));
    }
}

/// The same function bare and marked.
macro_rules! twins {
    (async $bare:ident $marked:ident ($($argument:ident: $type:ty),*) -> $returned:ty $body:block) => {
        async fn $bare($($argument: $type),*) -> $returned $body
        #[instrument]
        async fn $marked($($argument: $type),*) -> $returned $body
    };
    ($(#[$attribute:meta])* $bare:ident $marked:ident ($($argument:ident: $type:ty),*) -> $returned:ty $body:block) => {
        fn $bare($($argument: $type),*) -> $returned $body
        $(#[$attribute])*
        fn $marked($($argument: $type),*) -> $returned $body
    };
}

/// By how much the marked one is larger, in words.
fn added<B, M>(bare: &B, marked: &M) -> usize {
    (size_of_val(marked) - size_of_val(bare)).div_ceil(size_of::<usize>())
}

mod sizes {
    use super::*;

    async fn suspend() {
        std::future::ready(()).await;
    }

    twins!(async bare_leaf leaf (text: &str) -> usize {
        suspend().await;
        text.len()
    });
    twins!(async bare_holds holds (bytes: [u8; 1000], text: String) -> usize {
        let (kept, mut text) = (bytes, text);
        suspend().await;
        text.push('a');
        suspend().await;
        kept.len() + text.len()
    });
    twins!(async bare_fails fails (number: u64) -> Result<[u64; 50], String> {
        suspend().await;
        let large = [number; 50];
        suspend().await;
        if large[1] == 0 {
            Err("0")?;
        }
        Ok(large)
    });
    twins!(#[instrument] bare_returned returned (number: u64) -> impl Future<Output = u64> {
        async move {
            suspend().await;
            number
        }
    });
    twins!(#[instrument] bare_ready ready (number: u64) -> impl Future<Output = u64> + Unpin {
        std::future::ready(number)
    });
    twins!(#[instrument] bare_boxed boxed (number: u64) -> Pin<Box<dyn Future<Output = u64>>> {
        Box::pin(async move {
            suspend().await;
            number
        })
    });
    twins!(#[instrument] bare_numbers numbers (limit: u64) -> impl Iterator<Item = u64> {
        0..limit
    });
    twins!(#[instrument(items)] bare_each each (limit: u64) -> impl Iterator<Item = u64> {
        0..limit
    });

    #[test]
    fn a_call_takes_as_many_words_as_the_documentation_says() {
        assert_eq!(added(&bare_leaf(""), &leaf("")), 3);
        let held = || ([0; 1000], String::new());
        let ((bytes, text), (same, other)) = (held(), held());
        assert_eq!(added(&bare_holds(bytes, text), &holds(same, other)), 3);
        assert_eq!(added(&bare_fails(1), &fails(1)), 3);
        assert_eq!(added(&bare_returned(1), &returned(1)), 4);
        assert_eq!(added(&bare_ready(1), &ready(1)), 4);
        assert_eq!(added(&bare_boxed(1), &boxed(1)), 0);
        assert_eq!(added(&bare_numbers(1), &numbers(1)), 5);
        assert_eq!(added(&bare_each(1), &each(1)), 9);
        assert_eq!(run(leaf("ab")) + run(holds([0; 1000], String::new())), 1003);
        assert!(run(fails(0)).is_err());
        assert_eq!(run(returned(1)) + run(ready(1)) + run(boxed(1)), 3);
        assert_eq!(numbers(2).chain(each(2)).sum::<u64>(), 2);
    }

    twins!(async bare_first first () -> usize { bare_leaf("first").await });
    twins!(async bare_inner inner () -> usize { leaf("inner").await });
    twins!(async bare_middle middle () -> usize {
        let before = bare_first().await + bare_inner().await;
        before + bare_inner().await
    });
    twins!(async bare_middle_of_marked middle_of_marked () -> usize {
        let before = first().await + inner().await;
        before + inner().await
    });

    #[test]
    fn a_nest_takes_them_once_for_each_level_that_is_open_at_once() {
        // One level is marked.
        assert_eq!(added(&bare_middle(), &middle()), 3);
        // The same, its two children (one at a time), and the child of one of them.
        assert_eq!(added(&bare_middle(), &middle_of_marked()), 6);
        assert_eq!(added(&bare_middle_of_marked(), &middle_of_marked()), 3);
        assert_eq!(run(bare_middle()), run(bare_middle_of_marked()));
        assert_eq!(run(middle()), run(middle_of_marked()));
    }

    #[cfg(feature = "stream")]
    mod streams {
        use super::*;
        use futures::stream::{self, Stream};

        twins!(#[instrument] bare_stream stream_of (limit: u64) -> impl Stream<Item = u64> {
            stream::iter(0..limit)
        });
        twins!(#[instrument(items)] bare_counted counted (limit: u64) -> impl Stream<Item = u64> {
            stream::iter(0..limit)
        });

        #[test]
        fn a_stream_takes_as_many_words_as_an_iterator() {
            assert_eq!(added(&bare_stream(1), &stream_of(1)), 5);
            assert_eq!(added(&bare_counted(1), &counted(1)), 9);
        }
    }
}
