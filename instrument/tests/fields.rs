//! Fields, arguments and results, as the markers hand them on.
#![cfg(all(feature = "enabled", target_os = "linux", target_arch = "x86_64"))]
#![deny(warnings)]

mod probes;

use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::{CString, OsStr, OsString};
use std::fmt::{self, Debug, Display};
use std::future::Future;
use std::num::{NonZeroI8, Wrapping};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use exoscope::instrument;
use exoscope_abi::field::FIELDS_LEN;
use exoscope_abi::probe::Probe;

use probes::{error, fields, returned, watch};

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

/// Has neither `Debug` nor `Display`.
struct Opaque;

struct Shown;

impl Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("shown")
    }
}

#[derive(Debug)]
#[allow(dead_code, reason = "read by `Debug`")]
struct User {
    id: u32,
    name: &'static str,
}

impl Display for User {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

const USER: User = User { id: 7, name: "ada" };

#[test]
fn every_form_of_a_field_is_taken() {
    const NAME: &str = "constant";
    #[instrument(fields(
        a,
        %user,
        ?user.id,
        plus = a + 1,
        shown = %user,
        debugged = ?user,
        nested.name.of.r#type = user.name,
        "quoted name" = "text",
        { NAME } = true,
        { concat!("con", "cat") } = 1.5,
        %twice = user.id,
        r#type,
        empty =,
        not_an_argument,
        not.one,
        block = { let b = a; b * 2 },
    ))]
    fn all(a: u32, user: &User, r#type: &str) {
        let _ = (a, user, r#type);
    }
    assert_eq!(
        fields(|| all(1, &USER, "raw")),
        [
            "a=1_u",
            "user=ada",
            "user.id=7",
            "plus=2_u",
            "shown=ada",
            "debugged=User { id: 7, name: \"ada\" }",
            "nested.name.of.type=\"ada\"",
            "quoted name=\"text\"",
            "constant=true",
            "concat=1.5_f",
            "twice=7",
            "type=\"raw\"",
            "block=2_u",
        ]
    );
}

#[test]
fn a_value_is_written_as_its_type_asks_for() {
    macro_rules! value {
        ($value:expr) => {{
            #[instrument(fields(value = $value))]
            fn with_value() {}
            fields(with_value).concat()
        }};
    }
    assert_eq!(value!(-1_i8), "value=-1_i");
    assert_eq!(value!(i64::MIN), format!("value={}_i", i64::MIN));
    assert_eq!(value!(-1_isize), "value=-1_i");
    assert_eq!(value!(i128::MIN), format!("value={}_i128", i128::MIN));
    assert_eq!(value!(u64::MAX), format!("value={}_u", u64::MAX));
    assert_eq!(value!(usize::MAX), format!("value={}_u", usize::MAX));
    assert_eq!(value!(u128::MAX), format!("value={}_u128", u128::MAX));
    assert_eq!(value!(1), "value=1_i");
    assert_eq!(value!(0.5_f32), "value=0.5_f");
    assert_eq!(value!(f64::NAN), "value=NaN_f");
    assert_eq!(value!(false), "value=false");
    assert_eq!(value!('ä'), "value=\"ä\"");
    assert_eq!(value!(Wrapping(3_u16)), "value=3_u");
    assert_eq!(value!(NonZeroI8::MIN), "value=-128_i");
    assert_eq!(value!("a\0b"), "value=\"a\\0b\"");
    assert_eq!(value!(String::from("text")), "value=\"text\"");
    assert_eq!(value!(&&"text"), "value=\"text\"");
    assert_eq!(value!(Cow::Borrowed("text")), "value=\"text\"");
    assert_eq!(value!(Box::<str>::from("text")), "value=\"text\"");
    assert_eq!(value!(Rc::<str>::from("text")), "value=\"text\"");
    assert_eq!(value!(Arc::new(String::from("text"))), "value=\"text\"");
    assert_eq!(value!(*"unsized"), "value=\"unsized\"");
    assert_eq!(value!(b"\xff\0a"), "value=b\"\\xff\\x00a\"");
    assert_eq!(value!(vec![0_u8, 200]), "value=b\"\\x00\\xc8\"");
    assert_eq!(value!(&[1_u8][..]), "value=b\"\\x01\"");
    assert_eq!(value!(c"text"), "value=\"text\"");
    assert_eq!(value!(CString::from(c"\xff")), "value=b\"\\xff\"");
    assert_eq!(value!(c"\xfe"), "value=b\"\\xfe\"");
    assert_eq!(value!(OsStr::from_bytes(b"a\xff")), "value=b\"a\\xff\"");
    assert_eq!(value!(OsString::from("text")), "value=\"text\"");
    assert_eq!(value!(Path::new("/a")), "value=\"/a\"");
    assert_eq!(value!(PathBuf::from("/a")), "value=\"/a\"");
    assert_eq!(value!(Some(1_u8)), "value=1_u");
    assert_eq!(value!(Some(Some("text"))), "value=\"text\"");
    assert_eq!(value!(None::<u8>), "");
    assert_eq!(value!(format_args!("{}", 1)), "value=1");
    assert_eq!(value!(Some(USER).map(|user| user.id)), "value=7_u");
    // Everything else by `Debug`, else by `Display`, else not at all.
    assert_eq!(value!(USER), "value=User { id: 7, name: \"ada\" }");
    assert_eq!(
        value!(Some(USER)),
        "value=Some(User { id: 7, name: \"ada\" })"
    );
    assert_eq!(value!([1_u16, 2]), "value=[1, 2]");
    assert_eq!(value!(Shown), "value=shown");
    assert_eq!(value!(Opaque), "");
    assert_eq!(
        value!(Box::<dyn std::error::Error>::from("failed")),
        "value=failed"
    );
    // What `tracing` has for values.
    assert_eq!(value!(tracing::field::Empty), "");
    assert_eq!(value!(tracing::field::display(USER)), "value=ada");
    assert_eq!(value!(tracing::field::debug("text")), "value=\"text\"");
}

struct Store {
    name: String,
    size: u16,
}

impl Store {
    #[instrument(fields(self.name, %self.size, len = self.name.len()))]
    fn reads(&self) -> usize {
        self.name.len()
    }
    #[instrument(fields(self.size), args(by))]
    fn writes(&mut self, by: u16) -> &mut Self {
        self.size += by;
        self
    }
    #[instrument(fields(self.name))]
    fn consumes(self) -> String {
        self.name
    }
    #[instrument(fields(self.name, by))]
    async fn waits(&mut self, by: u16) -> u16 {
        self.size += by;
        self.size
    }
}

#[test]
fn self_is_an_argument() {
    let mut store = Store {
        name: "books".into(),
        size: 3,
    };
    assert_eq!(
        fields(|| store.reads()),
        ["self.name=\"books\"", "self.size=3", "len=5_u"]
    );
    assert_eq!(fields(|| store.writes(2).size), ["by=2_u", "self.size=3_u"]);
    assert_eq!(
        fields(|| block_on(store.waits(1))),
        ["self.name=\"books\"", "by=1_u"]
    );
    assert_eq!(fields(|| store.consumes()), ["self.name=\"books\""]);
}

#[test]
fn arguments_are_taken_by_name() {
    #[instrument(args(a, c, e, left_out, f), fields(b), skip(g))]
    fn patterns(
        a: u32,
        (b, c): (&str, Option<bool>),
        User { id: e, .. }: User,
        left_out: &Opaque,
        mut f: Vec<u8>,
        g: u8,
    ) -> usize {
        let _ = (a, b, c, e, left_out, g);
        f.push(1);
        f.len()
    }
    assert_eq!(
        fields(|| patterns(1, ("b", Some(true)), USER, &Opaque, vec![b'f'], 1)),
        ["a=1_u", "c=true", "e=7_u", "f=b\"f\"", "b=\"b\""]
    );
    #[instrument(args(a), fields(a = "instead"))]
    fn renamed(a: u32) -> u32 {
        a
    }
    assert_eq!(fields(|| renamed(1)), ["a=\"instead\""]);
}

#[test]
fn what_tracing_has_in_scope_for_values_is_in_scope() {
    #[instrument(fields(shown = display(USER), debugged = Some(debug("text")), other = tests::debug(1)))]
    fn called() {}
    #[instrument(args(display), fields(len = display(1).len()))]
    fn bound(display: fn(u32) -> &'static str) {
        let _ = display;
    }
    mod tests {
        pub fn debug(number: u32) -> u32 {
            number + 1
        }
    }
    assert_eq!(
        fields(called),
        ["shown=ada", "debugged=Some(\"text\")", "other=2_u"]
    );
    assert!(fields(|| bound(|_| "abc")).contains(&"len=3_u".to_owned()));
}

#[test]
fn arguments_without_bounds_are_left_out() {
    #[instrument(args(shown, any))]
    fn generic<T: Debug, U>(shown: T, any: U) -> (T, U) {
        (shown, any)
    }
    assert_eq!(fields(|| generic(1, 2)), ["shown=1"]);
}

#[test]
fn fields_are_evaluated_while_wanted_and_before_the_body() {
    thread_local! {
        static STEPS: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    }
    fn step(name: &'static str) -> &'static str {
        STEPS.with_borrow_mut(|steps| steps.push(name));
        name
    }
    #[instrument(fields(a = step("a"), b = step("b")), ret)]
    fn steps() -> &'static str {
        step("body")
    }
    let (fired, _) = watch(steps);
    assert_eq!(STEPS.take(), ["a", "b", "body"]);
    let probes: Vec<_> = fired
        .iter()
        .map(|fired| (fired.probe, fired.returned))
        .collect();
    let (fields, call) = (Probe::Fields, fired[0].call);
    assert_eq!(
        probes,
        [
            (Probe::Entry, false),
            (fields, false),
            (fields, true),
            (Probe::Exit, false)
        ]
    );
    assert!(
        fired
            .iter()
            .all(|fired| fired.call == call && fired.function == "fields::steps")
    );
}

#[test]
fn fields_of_a_future_are_captured_at_its_first_poll() {
    /// Pending at its first poll.
    async fn suspend() {
        let mut first = true;
        std::future::poll_fn(move |_| {
            if std::mem::take(&mut first) {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }
    #[instrument(fields(text, len = text.len()), args(moved), ret)]
    async fn asynchronous(text: &str, moved: String) -> usize {
        suspend().await;
        drop(moved);
        suspend().await;
        text.len()
    }
    #[instrument(fields(text), ret(Display))]
    fn returned(text: String) -> impl Future<Output = User> + Send {
        let doubled = text.repeat(2);
        async move {
            suspend().await;
            drop(doubled);
            USER
        }
    }
    #[instrument(fields(text, n = text.len()), err, ret)]
    fn boxed(text: &str) -> Pin<Box<dyn Future<Output = Result<usize, Shown>> + Send + '_>> {
        Box::pin(async {
            suspend().await;
            if text.is_empty() {
                Err(Shown)
            } else {
                Ok(text.len())
            }
        })
    }
    let probes = |name: &str, fired: &[probes::Fired]| {
        let call = fired[0].call;
        assert!(
            fired
                .iter()
                .all(|fired| fired.call == call && fired.function == name)
        );
        fired
            .iter()
            .map(|fired| match fired.probe {
                Probe::Fields => fired.fields.join(" "),
                probe => probe.name().to_owned(),
            })
            .collect::<Vec<_>>()
    };
    let (fired, _) = watch(|| block_on(asynchronous("abc", "moved".into())));
    assert_eq!(
        probes("fields::asynchronous", &fired),
        [
            "entry",
            "moved=\"moved\" text=\"abc\" len=3_u",
            "return=3_u",
            "exit"
        ]
    );
    let (fired, _) = watch(|| block_on(self::returned_of(returned("ab".into()))));
    assert_eq!(
        probes("fields::returned", &fired),
        ["entry", "text=\"ab\"", "return=ada", "exit"]
    );
    let (fired, _) = watch(|| block_on(boxed("abc")));
    assert_eq!(
        probes("fields::boxed", &fired),
        ["entry", "text=\"abc\" n=3_u", "return=3_u", "exit"]
    );
    let (fired, _) = watch(|| block_on(boxed("")));
    assert_eq!(
        probes("fields::boxed", &fired),
        ["entry", "text=\"\" n=0_u", "error"]
    );
}

/// A future inside another.
async fn returned_of<F: Future>(future: F) -> F::Output {
    future.await
}

#[async_trait::async_trait]
trait Fetch {
    async fn fetch(&self, key: &str, count: u32) -> Result<usize, String>;
}

#[async_trait::async_trait]
impl Fetch for Store {
    #[instrument(fields(self.name, %key, next = count + 1, Self = std::any::type_name::<Self>()), ret)]
    async fn fetch(&self, key: &str, count: u32) -> Result<usize, String> {
        Ok(key.len() + count as usize)
    }
}

#[test]
fn fields_of_a_trait_made_asynchronous_are_captured() {
    let store = Store {
        name: "books".into(),
        size: 3,
    };
    let (fired, _) = watch(|| block_on(store.fetch("key", 2)));
    assert_eq!(
        fired[1].fields,
        [
            "self.name=\"books\"",
            "key=key",
            "next=3_u",
            "Self=\"fields::Store\""
        ]
    );
    assert_eq!(fired[2].fields, ["return=Ok(5)"]);
}

#[test]
fn what_is_returned_is_a_field() {
    #[instrument(ret)]
    fn number() -> u8 {
        8
    }
    #[instrument(ret(Debug))]
    fn debugged() -> &'static str {
        "text"
    }
    #[instrument(ret(Display, level = "info"))]
    fn displayed() -> User {
        USER
    }
    #[instrument(ret)]
    fn implied() -> impl Copy {
        42
    }
    #[instrument(ret)]
    fn option(some: bool) -> Option<u32> {
        some.then_some(1)
    }
    #[instrument(ret)]
    fn large(text: &str) -> [String; 3] {
        [0, 1, 2].map(|count| text.repeat(count))
    }
    #[instrument(ret)]
    fn opaque() -> Opaque {
        Opaque
    }
    #[instrument(ret)]
    fn result(text: &str) -> Result<u32, std::num::ParseIntError> {
        text.parse()
    }
    #[instrument(ret, err)]
    fn in_ok(text: &str) -> Result<u32, std::num::ParseIntError> {
        let number = text.parse()?;
        Ok(number)
    }
    #[instrument(err, ret)]
    fn no_result() -> u32 {
        1
    }
    assert_eq!(returned(number).as_deref(), Some("return=8_u"));
    assert_eq!(returned(debugged).as_deref(), Some("return=\"text\""));
    assert_eq!(returned(displayed).as_deref(), Some("return=ada"));
    assert_eq!(returned(implied).as_deref(), Some("return=42_i"));
    assert_eq!(returned(|| option(true)).as_deref(), Some("return=Some(1)"));
    assert_eq!(returned(|| option(false)).as_deref(), Some("return=None"));
    assert_eq!(
        returned(|| large("a")).as_deref(),
        Some("return=[\"\", \"a\", \"aa\"]")
    );
    assert_eq!(returned(opaque), None);
    assert_eq!(returned(|| result("1")).as_deref(), Some("return=Ok(1)"));
    assert_eq!(
        returned(|| result("x")).as_deref(),
        Some("return=Err(ParseIntError { kind: InvalidDigit })")
    );
    assert_eq!(returned(|| in_ok("1")).as_deref(), Some("return=1_u"));
    assert_eq!(returned(|| in_ok("x")), None);
    assert_eq!(returned(no_result).as_deref(), Some("return=1_u"));
}

struct Block;

#[instrument(ret, err(Debug))]
impl Block {
    fn inherits(&self) -> u32 {
        1
    }
    #[instrument(args(number))]
    fn has_its_own(&self, number: u32) -> u32 {
        number
    }
    async fn fails(&self) -> Result<u32, User> {
        Err(USER)
    }
}

#[test]
fn functions_have_the_options_of_their_block_unless_they_have_their_own() {
    assert_eq!(returned(|| Block.inherits()).as_deref(), Some("return=1_u"));
    assert_eq!(returned(|| Block.has_its_own(2)), None);
    assert_eq!(fields(|| Block.has_its_own(2)), ["number=2_u"]);
    let (_, message) = error(|| block_on(Block.fails()).is_ok()).expect("it fails");
    assert_eq!(message, "User { id: 7, name: \"ada\" }");
}

#[test]
fn err_chooses_how_the_message_is_written() {
    struct Both;
    impl Debug for Both {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("debug")
        }
    }
    impl Display for Both {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("display")
        }
    }
    #[derive(Debug)]
    struct OnlyDebug;
    #[instrument]
    fn unsaid() -> Result<(), Both> {
        Err(Both)
    }
    #[instrument(err)]
    fn said() -> Result<(), Both> {
        Err(Both)
    }
    #[instrument(err(Display, level = "info"))]
    fn displayed() -> Result<(), Both> {
        Err(Both)
    }
    #[instrument(err(level = "info", Debug))]
    async fn debugged() -> Result<(), Both> {
        Err(Both)
    }
    #[instrument(err(Debug))]
    fn only_displayed() -> Result<(), Shown> {
        Err(Shown)
    }
    #[instrument(err)]
    fn only_debugged() -> Result<(), OnlyDebug> {
        Err(OnlyDebug)
    }
    #[instrument(err, ret)]
    fn neither() -> Result<Opaque, Opaque> {
        Err(Opaque)
    }
    let message = |run: &dyn Fn() -> bool| error(run).map(|(_, message)| message);
    assert_eq!(message(&|| unsaid().is_ok()).as_deref(), Some("display"));
    assert_eq!(message(&|| said().is_ok()).as_deref(), Some("display"));
    assert_eq!(message(&|| displayed().is_ok()).as_deref(), Some("display"));
    assert_eq!(
        message(&|| block_on(debugged()).is_ok()).as_deref(),
        Some("debug")
    );
    assert_eq!(
        message(&|| only_displayed().is_ok()).as_deref(),
        Some("shown")
    );
    assert_eq!(
        message(&|| only_debugged().is_ok()).as_deref(),
        Some("OnlyDebug")
    );
    assert_eq!(message(&|| neither().is_ok()).as_deref(), Some(""));
}

#[test]
fn what_does_not_fit_is_cut_and_said() {
    #[instrument(fields(text, number = 1, bytes = bytes))]
    fn long(text: &str, bytes: &[u8]) -> usize {
        text.len() + bytes.len()
    }
    #[instrument(fields(%text, more = 1))]
    fn formatted(text: &str) -> usize {
        text.len()
    }
    #[instrument(fields({ name } = 1))]
    fn named(name: &str) -> usize {
        name.len()
    }
    fn only<T>(run: impl FnOnce() -> T) -> (Vec<String>, bool) {
        let (fired, _) = watch(run);
        (fired[1].fields.clone(), fired[1].truncated)
    }
    let whole = "a".repeat(100);
    assert_eq!(
        only(|| long(&whole, b"bc")),
        (
            vec![
                format!("text={whole:?}"),
                "number=1_i".into(),
                "bytes=b\"bc\"".into()
            ],
            false
        )
    );
    // All but the header and name of one entry, and the whole of another.
    let room = FIELDS_LEN - (4 + "text".len()) - (4 + "number".len() + 8);
    let fits = "a".repeat(room - (4 + "bytes".len()) - 3);
    let (found, truncated) = only(|| long(&fits, b"bcdef"));
    assert_eq!(found[1..], ["number=1_i", "bytes=b\"bcd\"…"]);
    assert!(truncated);
    let longest = "a".repeat(FIELDS_LEN - (4 + "text".len()));
    let (found, truncated) = only(|| long(&longest, b""));
    assert_eq!(found, [format!("text={longest:?}")]);
    assert!(truncated);
    let (found, truncated) = only(|| long(&"a".repeat(100_000), b""));
    assert_eq!(found, [format!("text={longest:?}…")]);
    assert!(truncated);
    let (found, truncated) = only(|| formatted(&"a".repeat(100_000)));
    assert_eq!(found, [format!("text={longest}…")]);
    assert!(truncated);
    let (found, truncated) = only(|| named(&"n".repeat(300)));
    assert_eq!(found, [format!("{}=1_i", "n".repeat(255))]);
    assert!(truncated);
}

#[test]
fn a_panic_in_the_users_formatting_goes_no_further() {
    struct Panics;
    impl Debug for Panics {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("until")?;
            panic!("in formatting")
        }
    }
    #[instrument(fields(value, after = 1), ret)]
    fn formats(value: Panics) -> Panics {
        value
    }
    #[instrument(fields(before = 1, value = values[3], after = 1))]
    fn indexes(values: &[u32]) -> usize {
        values.len()
    }
    let (fired, _) = watch(|| formats(Panics));
    assert_eq!(fired[1].fields, ["value=until…", "after=1_i"]);
    assert!(fired[1].truncated);
    assert_eq!(fired[2].fields, ["return=until…"]);
    let (fired, _) = watch(|| indexes(&[1]));
    assert_eq!(fired[1].fields, ["before=1_i"]);
    assert!(fired[1].truncated);
    assert_eq!(fired[2].probe, Probe::Exit);
}

#[test]
fn names_are_those_that_were_given() {
    const NAME: &str = "constant";
    mod names {
        pub const NAME: &str = "in_module";
    }
    #[instrument(name = NAME)]
    fn constant() {}
    #[instrument(name = names::NAME, level = "warn")]
    async fn path() {}
    #[instrument(name = "literal")]
    fn literal() {}
    #[instrument("alone", skip_all)]
    fn alone() {}
    let name = |run: &dyn Fn()| watch(run).0[0].function.clone();
    assert_eq!(name(&constant), "fields::constant");
    assert_eq!(name(&|| block_on(path())), "fields::in_module");
    assert_eq!(name(&literal), "fields::literal");
    assert_eq!(name(&alone), "fields::alone");
}
