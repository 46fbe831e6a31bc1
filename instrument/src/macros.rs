//! `call!`, `future!`, `stream!` and `iterator!`: calls where no attribute can stand.

/// Declares the function `module::NAME` where one of the macros below is used, and with `items` another one for
/// the items.
#[cfg(feature = "enabled")]
#[doc(hidden)]
#[macro_export]
macro_rules! __function_here {
    ($($plain:ident)? $name:literal) => {
        $crate::__function!(
            $($plain)? __ExoscopeFunction,
            ::core::concat!(::core::module_path!(), "::", $name),
            ::core::file!(),
            ::core::line!()
        );
    };
    ($name:literal, items) => {
        $crate::__function_here!($name);
        $crate::__function!(
            item __ExoscopeItem,
            ::core::concat!(::core::module_path!(), "::", $name, "::item"),
            ::core::file!(),
            ::core::line!()
        );
    };
}

/// Runs a block as one call with the name `module::NAME`.
///
/// The block runs as a closure, whether or not the feature `enabled` is on: `return` and `?` leave
/// the block, and what they leave it with decides the outcome. Closures are instrumented by putting
/// their body into `call!`.
///
/// ```
/// # fn parse(text: &str) -> Result<u32, std::num::ParseIntError> {
/// let twice = exoscope::call!("twice", { text.parse::<u32>().map(|number| 2 * number) })?;
/// let add = |more: u32| exoscope::call!("add", { twice + more });
/// # Ok(add(1))
/// # }
/// # assert_eq!(parse("20"), Ok(41));
/// # assert!(parse("x").is_err());
/// ```
#[cfg(feature = "enabled")]
#[macro_export]
macro_rules! call {
    ($name:literal, $body:expr $(,)?) => {{
        $crate::__function_here!(plain $name);
        let state = $crate::__private::State::<__ExoscopeFunction>::new();
        let open = state.enter();
        let mut result = $crate::__private::body(|| $body);
        let inspector = $crate::__inspect!($crate::__private::Kind::of(&result));
        $crate::__end!(open, result, inspector);
        result
    }};
}

/// Runs a block: the feature `enabled` is off.
#[cfg(not(feature = "enabled"))]
#[macro_export]
macro_rules! call {
    ($name:literal, $body:expr $(,)?) => {
        $crate::__private::body(|| $body)
    };
}

/// Makes a future one call with the name `module::NAME`, from its first poll to its end.
///
/// ```
/// # async fn fetch() -> u32 { 1 }
/// # async fn service() -> u32 {
/// exoscope::future!("fetch and double", async { 2 * fetch().await }).await
/// # }
/// ```
#[cfg(feature = "enabled")]
#[macro_export]
macro_rules! future {
    ($name:literal, $future:expr $(,)?) => {{
        $crate::__function_here!($name);
        let future = ::core::future::IntoFuture::into_future($future);
        let inspector = $crate::__inspect!($crate::__private::kind_of_output(&future));
        $crate::__private::MovableFutureCall::new(__ExoscopeFunction, inspector, future)
    }};
}

/// Gives the future: the feature `enabled` is off.
#[cfg(not(feature = "enabled"))]
#[macro_export]
macro_rules! future {
    ($name:literal, $future:expr $(,)?) => {
        ::core::future::IntoFuture::into_future($future)
    };
}

/// Makes a stream one call with the name `module::NAME`, from its first poll until it has no more
/// items. With `items` as the last argument each item is a call of its own too. Needs the feature
/// `stream`.
///
/// ```
/// # use futures::stream::{self, Stream};
/// # fn words() -> impl Stream<Item = &'static str> {
/// exoscope::stream!("words", stream::iter(["a", "b"]), items)
/// # }
/// # assert_eq!(futures::executor::block_on_stream(words()).count(), 2);
/// ```
#[cfg(all(feature = "enabled", feature = "stream"))]
#[macro_export]
macro_rules! stream {
    ($name:literal, $stream:expr $(,)?) => {{
        $crate::__function_here!($name);
        let stream = $stream;
        let inspector = $crate::__inspect!($crate::__private::kind_of_item(&stream));
        $crate::__private::StreamCall::new(__ExoscopeFunction, inspector, stream)
    }};
    ($name:literal, $stream:expr, items $(,)?) => {{
        $crate::__function_here!($name, items);
        let stream = $stream;
        let inspector = $crate::__inspect!($crate::__private::kind_of_item(&stream));
        $crate::__private::StreamCall::with_items(
            __ExoscopeFunction,
            __ExoscopeItem,
            inspector,
            stream,
        )
    }};
}

/// Gives the stream: the feature `enabled` is off.
#[cfg(all(not(feature = "enabled"), feature = "stream"))]
#[macro_export]
macro_rules! stream {
    ($name:literal, $stream:expr $(, items)? $(,)?) => {
        $stream
    };
}

/// Makes an iterator one call with the name `module::NAME`, from its first `next` until it has no more
/// items. With `items` as the last argument each item is a call of its own too.
///
/// ```
/// let lines = exoscope::iterator!("lines", "a\nb".lines());
/// assert_eq!(lines.collect::<Vec<_>>(), ["a", "b"]);
/// ```
#[cfg(feature = "enabled")]
#[macro_export]
macro_rules! iterator {
    ($name:literal, $iterator:expr $(,)?) => {{
        $crate::__function_here!($name);
        let iterator = ::core::iter::IntoIterator::into_iter($iterator);
        let inspector = $crate::__inspect!($crate::__private::kind_of_next(&iterator));
        $crate::__private::IteratorCall::new(__ExoscopeFunction, inspector, iterator)
    }};
    ($name:literal, $iterator:expr, items $(,)?) => {{
        $crate::__function_here!($name, items);
        let iterator = ::core::iter::IntoIterator::into_iter($iterator);
        let inspector = $crate::__inspect!($crate::__private::kind_of_next(&iterator));
        $crate::__private::IteratorCall::with_items(
            __ExoscopeFunction,
            __ExoscopeItem,
            inspector,
            iterator,
        )
    }};
}

/// Gives the iterator: the feature `enabled` is off.
#[cfg(not(feature = "enabled"))]
#[macro_export]
macro_rules! iterator {
    ($name:literal, $iterator:expr $(, items)? $(,)?) => {
        ::core::iter::IntoIterator::into_iter($iterator)
    };
}
