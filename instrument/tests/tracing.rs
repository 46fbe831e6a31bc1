//! Whatever `tracing`'s attribute takes, this one takes in its place, whether or not the feature
//! `enabled` is on.
#![cfg_attr(feature = "enabled", deny(warnings))]
// What an attribute alone mentions is not mentioned where the attribute vanishes.
#![cfg_attr(not(feature = "enabled"), allow(unused))]

use std::convert::Infallible;
use std::fmt::{self, Debug, Display};
use std::future::Future;
use std::num::TryFromIntError;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use exoscope::instrument;

/// Polls until it is complete.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            return output;
        }
    }
}

/// Has no `Debug`.
struct Silent;

#[derive(Debug, Clone)]
struct Request {
    path: &'static str,
    size: usize,
}

impl Display for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.path)
    }
}

const REQUEST: Request = Request {
    path: "/books",
    size: 12,
};

mod levels {
    use exoscope::instrument;

    #[instrument(level = "trace")]
    pub fn lower() {}
    #[instrument(level = "Warn")]
    pub fn mixed() {}
    #[instrument(level = "ERROR")]
    pub fn upper() {}
    #[instrument(level = 1)]
    pub fn lowest() {}
    #[instrument(level = 5)]
    pub fn highest() {}
    #[instrument(level = tracing::Level::DEBUG)]
    pub fn path() {}
    #[instrument(level = LEVEL, err(level = LEVEL), ret(level = "info"))]
    pub fn constant() -> Result<(), std::fmt::Error> {
        Ok(())
    }
    #[allow(dead_code, reason = "mentioned by an option without a meaning")]
    const LEVEL: tracing::Level = tracing::Level::INFO;
}

#[test]
fn levels_in_all_their_forms() {
    levels::lower();
    levels::mixed();
    levels::upper();
    levels::lowest();
    levels::highest();
    levels::path();
    assert!(levels::constant().is_ok());
}

mod names {
    use exoscope::instrument;

    const NAME: &str = "a name";
    const TARGET: &str = "a target";

    #[instrument(name = "a name")]
    pub fn literal() {}
    #[instrument("a name")]
    pub fn alone() {}
    #[instrument("a name", level = "info", skip_all)]
    pub fn first() {}
    #[instrument(name = NAME)]
    pub fn constant() {}
    #[instrument(target = "a::target", name = NAME)]
    pub fn target() {}
    #[instrument(target = TARGET, level = "debug")]
    pub async fn constant_target() {}
}

#[test]
fn names_and_targets_are_literals_or_constants() {
    names::literal();
    names::alone();
    names::first();
    names::constant();
    names::target();
    block_on(names::constant_target());
    #[instrument(name = LOCAL, target = LOCAL)]
    fn local() {}
    const LOCAL: &str = "a constant of this function";
    local();
}

mod skips {
    use super::{Request, Silent};
    use exoscope::instrument;

    #[instrument(skip(a))]
    pub fn one(a: Silent, b: u32) -> u32 {
        let Silent = a;
        b
    }
    #[instrument(skip(a, b,))]
    pub fn two(a: Silent, b: Silent) -> (Silent, Silent) {
        (a, b)
    }
    #[instrument(skip_all)]
    pub fn all(a: Silent) -> Silent {
        a
    }
    pub struct Pair(pub bool, pub u8);
    #[instrument(skip(path, r#type, rest, second))]
    pub fn in_patterns(
        &Request { path, size: _ }: &Request,
        (r#type, [rest, ..]): (&str, [u8; 2]),
        Pair(first, second): Pair,
    ) -> usize {
        assert!(first);
        path.len() + r#type.len() + usize::from(rest) + usize::from(second)
    }

    impl Request {
        #[instrument(skip(self), fields(path = self.path))]
        pub fn method(&self, more: usize) -> usize {
            self.size + more
        }
    }
}

#[test]
fn arguments_are_skipped_by_name() {
    assert_eq!(skips::one(Silent, 2), 2);
    skips::two(Silent, Silent);
    skips::all(Silent);
    let pair = skips::Pair(true, 3);
    assert_eq!(skips::in_patterns(&REQUEST, ("text", [2, 0]), pair), 15);
    assert_eq!(REQUEST.method(1), 13);
}

mod fields {
    use super::Request;
    use exoscope::instrument;

    const NAME: &str = "constant.name";
    const fn name() -> &'static str {
        "name.of.a.function"
    }
    pub struct Names;
    impl Names {
        const NAME: &'static str = "associated.name";
    }

    #[instrument(fields(text = "text", truth = true, number = 1, float = 1.5, recorded_later))]
    pub fn literals() {}
    #[instrument(fields(size = request.size, request.path = %request.path, nested.r#type.fn = 1))]
    pub fn nested(request: &Request) {
        let _ = request;
    }
    #[instrument(fields(%request, ?request.size, later = tracing::field::Empty))]
    pub fn shorthand(request: Request) -> usize {
        request.size
    }
    #[instrument(fields({ NAME } = 1, { name() } = %2, { Names::NAME } = ?3, { "literal" } = 4))]
    pub fn constants() {}
    #[instrument(fields(request = "instead of the argument"), err)]
    pub fn shadowing(request: &Request) -> Result<usize, std::fmt::Error> {
        Ok(request.size)
    }
    #[instrument(
        skip_all,
        fields(
            sum = %first + second,
            closure = Some(first).map(|first| first * 2),
            block = { let twice = first; twice * 2 },
            chosen = if first > second { "first" } else { "second" },
            mac = ?vec![first, second],
            cast = first as u64,
            negative = -1,
            range = ?(first..second),
            reference = &first,
            option = Some(first),
            nothing = None::<u32>,
            display = tracing::field::display(first),
            debug = tracing::field::debug(second),
            shown = display(&first),
            debugged = debug(second),
            Self = std::any::type_name::<Request>(),
        ),
    )]
    pub fn expressions(first: u32, second: u32) -> u32 {
        first + second
    }
    #[instrument(fields(item = iterator.next(), count))]
    pub fn changing(mut iterator: impl Iterator<Item = u32>) -> usize {
        iterator.count()
    }
}

#[test]
fn fields_in_all_their_forms() {
    fields::literals();
    fields::nested(&REQUEST);
    assert_eq!(fields::shorthand(REQUEST), 12);
    fields::constants();
    assert_eq!(fields::shadowing(&REQUEST), Ok(12));
    assert_eq!(fields::expressions(1, 2), 3);
    assert_eq!(fields::changing(0..3), 3);
}

mod relations {
    use exoscope::instrument;

    pub struct Job {
        pub span: tracing::Span,
    }

    impl Job {
        #[instrument(parent = &self.span, skip(self))]
        pub fn run(&self) {}
    }
    #[instrument(parent = None)]
    pub fn root() {}
    #[instrument(parent = parent, skip(parent))]
    pub fn generic<P: Into<Option<tracing::Id>>>(parent: P) {}
    #[instrument(follows_from = causes, skip(causes))]
    pub fn caused(causes: impl IntoIterator<Item = impl Into<Option<tracing::Id>>>) {}
    #[instrument(follows_from = [&tracing::Span::current()])]
    pub async fn caused_later() {}
}

#[test]
fn relations_are_accepted() {
    let span = tracing::Span::none();
    relations::Job { span: span.clone() }.run();
    relations::root();
    relations::generic(&span);
    relations::caused([&span]);
    block_on(relations::caused_later());
}

mod results {
    use super::{Request, TryFromIntError};
    use exoscope::instrument;

    #[instrument(err)]
    pub fn tail() -> Result<u8, TryFromIntError> {
        u8::try_from(1234)
    }
    #[instrument(err)]
    pub fn block_first() -> Result<u8, TryFromIntError> {
        {}
        u8::try_from(1234)
    }
    #[instrument(err, ret)]
    pub fn early() -> Result<u8, TryFromIntError> {
        u8::try_from(1234)?;
        Ok(5)
    }
    #[instrument(err)]
    pub fn borrows(out: &mut u8) -> Result<(), TryFromIntError> {
        *out = u8::try_from(12)?;
        Ok(())
    }
    #[instrument(err(Debug), ret(Display))]
    pub async fn later(out: &mut u8) -> Result<u8, TryFromIntError> {
        std::future::ready(()).await;
        *out = u8::try_from(1234)?;
        Ok(*out)
    }
    #[instrument(err)]
    pub fn implied(size: usize) -> Result<impl Iterator<Item = usize>, String> {
        Ok(0..size)
    }
    #[instrument(err())]
    pub async fn implied_later(size: usize) -> Result<impl Iterator<Item = usize>, &'static str> {
        std::future::ready(()).await;
        Ok((0..10).filter(move |number| *number < size))
    }
    #[instrument(err(Debug, level = "info"), ret(level = "warn", Debug))]
    pub fn both() -> Result<u8, TryFromIntError> {
        u8::try_from(1234)
    }
    #[instrument(level = "warn", ret(level = tracing::Level::INFO))]
    pub fn returned(number: &mut i32) -> i32 {
        *number *= 2;
        *number
    }
    #[instrument(ret(Display))]
    pub fn displayed() -> Request {
        super::REQUEST
    }
    #[instrument(ret)]
    pub fn copied() -> impl Copy {
        42
    }
    #[instrument(err, err, ret, ret(Debug))]
    pub fn repeated() -> Result<(), std::fmt::Error> {
        Ok(())
    }
    #[instrument(skip_all err, , ret)]
    pub fn without_commas() -> Result<(), std::fmt::Error> {
        Ok(())
    }
}

#[test]
fn errors_and_returned_values_in_all_their_forms() {
    let mut out = 0;
    assert!(results::tail().is_err());
    assert!(results::block_first().is_err());
    assert!(results::early().is_err());
    assert!(results::borrows(&mut out).is_ok());
    assert!(block_on(results::later(&mut out)).is_err());
    assert_eq!(results::implied(3).map(Iterator::count), Ok(3));
    assert_eq!(
        block_on(results::implied_later(3)).map(Iterator::count),
        Ok(3)
    );
    assert!(results::both().is_err());
    assert_eq!(results::returned(&mut 4), 8);
    assert_eq!(results::displayed().size, 12);
    let _ = results::copied();
    assert!(results::repeated().is_ok());
    assert!(results::without_commas().is_ok());
}

#[deny(unfulfilled_lint_expectations)]
#[expect(dead_code)]
#[instrument]
fn unused() {}

#[expect(dead_code)]
#[instrument]
async fn unused_later() {}

#[deny(unused_variables)]
#[allow(clippy::mixed_attributes_style)]
#[instrument]
fn with_inner_attributes() {
    #![allow(unused_variables)]
    let unused = 1;
}

#[deny(unused_variables)]
#[allow(clippy::mixed_attributes_style)]
#[instrument]
async fn with_inner_attributes_later() {
    #![allow(unused_variables)]
    let unused = 1;
}

#[instrument]
#[rustfmt::skip]
#[deny(clippy::suspicious_else_formatting)]
async fn printing(truth: bool) {
    println!(
        "{}",
        if truth { "true" } else { "false" }
    );
}

#[instrument]
async unsafe fn unsafe_later() {}

#[instrument]
#[deny(unused_braces)]
fn boxed() -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {})
}

#[instrument(ret, err)]
#[deny(unused_braces)]
#[allow(clippy::manual_async_fn)]
fn implied() -> impl Future<Output = Result<(), Infallible>> {
    async { Ok(()) }
}

#[instrument]
fn generic<S, T: Debug>(first: S, second: T) -> (S, T)
where
    S: Debug,
{
    (first, second)
}

#[test]
fn lints_are_those_of_the_bare_function() {
    with_inner_attributes();
    block_on(with_inner_attributes_later());
    block_on(printing(true));
    // SAFETY: it does nothing.
    block_on(unsafe { unsafe_later() });
    block_on(boxed());
    assert_eq!(block_on(implied()), Ok(()));
    assert_eq!(generic(1, 2), (1, 2));
}

#[async_trait::async_trait]
trait Serve {
    async fn serve(&mut self, size: usize) -> usize;
    async fn name() -> &'static str;
}

struct Server(Request);

impl Server {
    fn path(&self) -> usize {
        self.0.path.len()
    }

    #[instrument(skip(self, _request), fields(app_id))]
    fn call(&mut self, _request: ()) -> Pin<Box<dyn Future<Output = Arc<str>> + Send + Sync>> {
        let path: Arc<str> = self.0.path.into();
        Box::pin(async move { path })
    }

    #[instrument(skip_all, fields(Self = std::any::type_name::<Self>()))]
    fn wait(&self) -> Pin<Box<dyn Future<Output = usize> + Send + '_>> {
        let path = self.0.path;
        Box::pin(async move { path.len() })
    }
}

#[async_trait::async_trait]
impl Serve for Server {
    #[instrument(
        skip(self),
        fields(path = self.path(), of_self = Self::path(self), more = %size + 5, Self = size_of::<Self>())
    )]
    async fn serve(&mut self, size: usize) -> usize {
        self.0.size += size;
        self.wait().await + self.0.size
    }
    #[instrument]
    async fn name() -> &'static str {
        "server"
    }
}

#[test]
fn traits_made_asynchronous_are_as_any_other() {
    let mut server = Server(REQUEST);
    assert_eq!(block_on(server.serve(3)), 21);
    assert_eq!(block_on(Server::name()), "server");
    assert_eq!(&*block_on(server.call(())), "/books");
}

mod with_both_attributes {
    use super::{Infallible, instrument};

    #[instrument]
    #[tracing::instrument]
    pub fn ours_first(size: usize) -> Result<usize, Infallible> {
        Ok(size + 1)
    }
    #[tracing::instrument(skip_all, err)]
    #[instrument(args(size))]
    pub fn theirs_first(size: usize) -> Result<usize, Infallible> {
        Ok(size + 2)
    }
    #[instrument(err)]
    #[tracing::instrument(err)]
    pub async fn ours_first_async(size: &usize) -> Result<usize, Infallible> {
        Ok(size + 3)
    }
    #[tracing::instrument]
    #[instrument]
    pub async fn theirs_first_async(size: &usize) -> Result<usize, Infallible> {
        Ok(size + 4)
    }
}

#[test]
fn a_function_may_have_both_attributes() {
    use with_both_attributes::*;
    assert_eq!(ours_first(1), Ok(2));
    assert_eq!(theirs_first(1), Ok(3));
    assert_eq!(block_on(ours_first_async(&1)), Ok(4));
    assert_eq!(block_on(theirs_first_async(&1)), Ok(5));
}

/// A module that has the name of the crate in whose place this one is.
#[test]
fn a_module_may_have_the_name_of_a_crate() {
    mod tracing {
        pub fn number() -> u32 {
            7
        }
    }
    #[allow(dead_code, reason = "it has the name of a crate that expansions use")]
    mod exoscope {
        pub fn number() -> u32 {
            8
        }
    }
    #[instrument(fields(number = exoscope::number()))]
    fn number() -> u32 {
        tracing::number() + exoscope::number()
    }
    assert_eq!(number(), 15);
}
