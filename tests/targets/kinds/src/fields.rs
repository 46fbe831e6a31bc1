//! What `fields(…)`, `args(…)` and `ret` say of calls.
#![cfg_attr(
    not(feature = "profile"),
    allow(unused, reason = "only the attribute uses it")
)]

use crate::case::Case;

/// The cases of this file.
pub const CASES: &[Case] = &[
    forms::CASE,
    values::CASE,
    arguments::CASE,
    returned::CASE,
    methods::CASE,
    futures::CASE,
    bytes::CASE,
    sizes::CASE,
    errors::CASE,
    unwanted::CASE,
    evaluated::CASE,
    without_allocation::CASE,
];

/// Every form that `tracing` has. A name alone is a value where it is an argument's; `user.id` is not,
/// and so is a field that would be recorded later.
pub mod forms {
    use crate::case::ok;

    #[derive(Debug)]
    #[expect(dead_code, reason = "shown by `Debug`, and named in a field")]
    struct User {
        id: u32,
        name: &'static str,
    }

    const NAME: &str = "constant";

    #[exoscope::instrument(skip_all, fields(
        a,
        ?user,
        user.id,
        %user.name,
        sum = a + 1,
        shown = %user.name,
        debugged = ?user.name,
        called = display(a + 1),
        called_too = debug(user.name),
        nested.name.of.r#type = true,
        "quoted name" = "text",
        { NAME } = 1.5,
        empty = tracing_like_empty(),
    ))]
    fn all(a: u32, user: &User) {}

    fn tracing_like_empty() -> Option<u32> {
        None
    }

    fn run() {
        all(1, &User { id: 7, name: "ada" });
    }

    case!(run => [ok("all").fields(concat!(
        r#"{"a":1,"user":"User { id: 7, name: \"ada\" }","user.name":"ada","sum":2,"#,
        r#""shown":"ada","debugged":"\"ada\"","called":"2","#,
        r#""called_too":"\"ada\"","nested.name.of.type":true,"quoted name":"text","#,
        r#""constant":1.5}"#,
    ))]);
}

/// Numbers are numbers, text is text.
pub mod values {
    use std::borrow::Cow;
    use std::path::Path;

    use crate::case::ok;

    #[exoscope::instrument(fields(
        least = i64::MIN,
        most = u64::MAX,
        wide = u128::MAX,
        negative_wide = i128::MIN,
        small = -1_i8,
        single = 0.5_f32,
        double = -1e300,
        not_a_number = f64::NAN,
        infinite = f64::INFINITY,
        yes = true,
        letter = 'ä',
        some = Some(1),
        none = None::<u8>,
    ))]
    fn numbers() {}

    #[exoscope::instrument(fields(
        borrowed = "a \"quoted\" \\ text\n",
        owned = String::from("ä"),
        cow = Cow::Borrowed("cow"),
        path = Path::new("/a"),
        empty = "",
        list = ?[1, 2],
        unit = ?(),
    ))]
    fn texts() {}

    fn run() {
        numbers();
        texts();
    }

    case!(run => [
        ok("numbers").fields(concat!(
            r#"{"least":-9223372036854775808,"most":18446744073709551615,"#,
            r#""wide":340282366920938463463374607431768211455,"#,
            r#""negative_wide":-170141183460469231731687303715884105728,"small":-1,"#,
            r#""single":0.5,"double":-1e+300,"not_a_number":"NaN","infinite":"inf","yes":true,"#,
            r#""letter":"ä","some":1}"#,
        )),
        ok("texts").fields(concat!(
            r#"{"borrowed":"a \"quoted\" \\ text\n","owned":"ä","cow":"cow","path":"/a","#,
            r#""empty":"","list":"[1, 2]","unit":"()"}"#,
        )),
    ]);
}

/// `args(…)`: arguments by name, of every pattern.
pub mod arguments {
    use crate::case::ok;

    #[exoscope::instrument(args(a, c, mutable, generic))]
    fn chosen<T: std::fmt::Debug>(a: u32, (_b, c): (u32, u32), mut mutable: Vec<u8>, generic: T) {
        mutable.push(1);
        let _ = generic;
    }

    #[exoscope::instrument(args(shown), skip(hidden))]
    fn some(shown: &str, hidden: &str) -> usize {
        shown.len() + hidden.len()
    }

    fn run() {
        chosen(1, (2, 3), b"m".to_vec(), [4_u16]);
        assert_eq!(some("a", "b"), 2);
    }

    case!(run => [
        ok("chosen").fields(r#"{"a":1,"c":3,"mutable":"m","generic":"[4]"}"#),
        ok("some").fields(r#"{"shown":"a"}"#),
    ]);
}

/// `ret`: what the function returned, under `return`.
pub mod returned {
    use crate::case::{err, ok};

    #[exoscope::instrument(ret)]
    fn number(a: u32) -> u32 {
        a + 1
    }

    #[exoscope::instrument(fields(a), ret)]
    fn both(a: u32) -> &'static str {
        if a == 0 {
            return "none";
        }
        "some"
    }

    #[exoscope::instrument(ret(Display))]
    fn shown() -> char {
        'a'
    }

    #[exoscope::instrument(err, ret)]
    fn result(fail: bool) -> Result<u32, String> {
        if fail {
            Err("failed".to_owned())
        } else {
            Ok(7)
        }
    }

    #[exoscope::instrument(ret)]
    fn unit() {}

    fn run() {
        assert_eq!(number(1), 2);
        assert_eq!(both(0), "none");
        assert_eq!(shown(), 'a');
        assert!(result(false).is_ok() && result(true).is_err());
        unit();
    }

    case!(run => [
        ok("number").fields(r#"{"return":2}"#),
        ok("both").fields(r#"{"a":0,"return":"none"}"#),
        ok("shown").fields(r#"{"return":"a"}"#),
        ok("result").fields(r#"{"return":7}"#),
        err("result", "alloc::string::String", "failed"),
        ok("unit").fields(r#"{"return":"()"}"#),
    ]);
}

/// `self` and what is in it, in blocks and alone.
pub mod methods {
    use crate::case::ok;

    struct Store {
        name: String,
        size: u16,
    }

    #[exoscope::instrument]
    impl Store {
        #[exoscope::instrument(fields(self.name, size = self.size))]
        fn reads(&self) -> usize {
            self.name.len()
        }
        #[exoscope::instrument(fields(self.size), args(by), ret)]
        fn writes(&mut self, by: u16) -> u16 {
            self.size += by;
            self.size
        }
        fn plain(&self) {}
    }

    impl Store {
        #[exoscope::instrument(fields(%self.name))]
        fn consumes(self) -> String {
            self.name
        }
    }

    fn run() {
        let mut store = Store {
            name: "books".to_owned(),
            size: 3,
        };
        assert_eq!(store.reads(), 5);
        assert_eq!(store.writes(2), 5);
        store.plain();
        assert_eq!(store.consumes(), "books");
    }

    case!(run => [
        ok("Store::reads").fields(r#"{"self.name":"books","size":3}"#),
        ok("Store::writes").fields(r#"{"by":2,"self.size":3,"return":5}"#),
        ok("Store::plain"),
        ok("Store::consumes").fields(r#"{"self.name":"books"}"#),
    ]);
}

/// Of futures: at the first poll, and when they are complete.
pub mod futures {
    use crate::case::{cancelled, err, ok};
    use crate::futures::{once_pending, poll_once};

    #[exoscope::instrument(fields(text, len = text.len()), ret)]
    async fn waits(text: &str) -> usize {
        once_pending().await;
        text.len()
    }

    #[exoscope::instrument(args(id), err, ret)]
    async fn fails(id: u32) -> Result<u32, String> {
        once_pending().await;
        if id == 0 {
            Err("zero".to_owned())
        } else {
            Ok(id)
        }
    }

    #[exoscope::instrument(fields(id))]
    async fn stalls(id: u32) {
        std::future::pending().await
    }

    #[exoscope::instrument(fields(id), ret)]
    fn made(id: u32) -> impl Future<Output = u32> {
        async move { id + 1 }
    }

    fn run() {
        assert_eq!(pollster::block_on(waits("abc")), 3);
        assert!(pollster::block_on(fails(0)).is_err());
        assert_eq!(pollster::block_on(fails(7)), Ok(7));
        let mut stalled = Box::pin(stalls(8));
        assert!(poll_once(stalled.as_mut()).is_pending());
        drop(stalled);
        assert_eq!(pollster::block_on(made(1)), 2);
    }

    case!(run => [
        ok("waits").fields(r#"{"text":"abc","len":3,"return":3}"#),
        err("fails", "alloc::string::String", "zero").fields(r#"{"id":0}"#),
        ok("fails").fields(r#"{"id":7,"return":7}"#),
        cancelled("stalls").fields(r#"{"id":8}"#),
        ok("made").fields(r#"{"id":1,"return":2}"#),
    ]);
}

/// Bytes that are no text, and NULs, survive.
pub mod bytes {
    use std::ffi::{CString, OsString};
    use std::os::unix::ffi::OsStringExt;

    use crate::case::ok;

    #[exoscope::instrument(fields(
        text = "a\0b",
        raw = b"\xff\x00a\n",
        c = CString::from(c"c\xfe"),
        os = OsString::from_vec(vec![b'o', 0xff]),
    ))]
    fn all() {}

    fn run() {
        all();
    }

    case!(run => [ok("all").fields(
        r#"{"text":"a\u0000b","raw":"\\xff\\x00a\\n","c":"c\\xfe","os":"o\\xff"}"#,
    )]);
}

/// Up to 2016 bytes; what does not fit is cut, and the row says so.
pub mod sizes {
    use crate::case::ok;

    #[exoscope::instrument(args(text))]
    fn takes(text: &str) -> usize {
        text.len()
    }

    #[exoscope::instrument(fields(a = text, b = text))]
    fn takes_twice(text: &str) -> usize {
        text.len()
    }

    const BYTES: [u8; 4000] = [b'x'; 4000];

    const fn text(length: usize) -> &'static str {
        match str::from_utf8(BYTES.split_at(length).0) {
            Ok(text) => text,
            Err(_) => "",
        }
    }

    macro_rules! json {
        ($name:literal, $length:literal) => {{
            const TEXT: &str = text($length);
            const LENGTH: usize = $length + $name.len() + 7;
            const JSON: [u8; LENGTH] = {
                let mut json = [b'"'; LENGTH];
                json[0] = b'{';
                let (_, after) = json.split_at_mut(2);
                after
                    .split_at_mut($name.len())
                    .0
                    .copy_from_slice($name.as_bytes());
                json[3 + $name.len()] = b':';
                let (_, after) = json.split_at_mut(5 + $name.len());
                after
                    .split_at_mut($length)
                    .0
                    .copy_from_slice(TEXT.as_bytes());
                json[LENGTH - 1] = b'}';
                json
            };
            match str::from_utf8(&JSON) {
                Ok(text) => text,
                Err(_) => "",
            }
        }};
    }

    fn run() {
        // 4 bytes before each entry, and its name.
        takes(text(2008));
        takes(text(2009));
        takes(text(200));
        takes(text(4000));
        takes_twice(text(2007));
    }

    const FULL: &str = json!("text", 2008);
    const SMALL: &str = json!("text", 200);
    const FIRST: &str = json!("a", 2007);

    case!(run => [
        ok("takes").fields(FULL),
        ok("takes").fields(FULL).truncated(),
        ok("takes").fields(SMALL),
        ok("takes").fields(FULL).truncated(),
        ok("takes_twice").fields(FIRST).truncated(),
    ]);
}

/// Beside errors and panics.
pub mod errors {
    use crate::case::{err, ok};

    #[exoscope::instrument(fields(id))]
    fn inner(id: u32) -> Result<(), String> {
        Err(format!("id {id}"))
    }

    #[exoscope::instrument(args(id))]
    fn outer(id: u32) -> Result<(), String> {
        inner(id + 1)
    }

    fn run() {
        assert!(outer(1).is_err());
        exoscope::call!("block", ());
    }

    const KIND: &str = "alloc::string::String";

    case!(run => [
        err("outer", KIND, "id 2").fields(r#"{"id":1}"#).with(&[
            err("inner", KIND, "id 2").fields(r#"{"id":2}"#),
        ]),
        ok("block"),
    ]);
}

/// What the options name and nobody can print is left out.
pub mod unwanted {
    use crate::case::ok;

    struct Opaque;

    #[exoscope::instrument(args(opaque, number))]
    fn takes(opaque: &Opaque, number: u32) -> u32 {
        let _ = opaque;
        number
    }

    #[exoscope::instrument(args(opaque))]
    fn nothing(opaque: &Opaque) {
        let _ = opaque;
    }

    fn run() {
        assert_eq!(takes(&Opaque, 1), 1);
        nothing(&Opaque);
    }

    case!(run => [ok("takes").fields(r#"{"number":1}"#), ok("nothing")]);
}

/// Calls in a field's expression are calls. Alone, because there are none where fields are not wanted.
pub mod evaluated {
    use crate::case::ok;

    #[exoscope::instrument]
    fn called() -> u32 {
        7
    }

    #[exoscope::instrument(fields(value = called()))]
    fn calls() {}

    fn run() {
        calls();
    }

    case!(run => [ok("calls").fields(r#"{"value":7}"#).with(&[ok("called")])].alone());
}

/// Nothing is allocated for what is captured: fields, returned values, messages, and polls.
pub mod without_allocation {
    use std::pin::pin;

    use crate::allocations;
    use crate::case::{cancelled, err, ok};
    use crate::futures::{once_pending, poll_once};

    #[exoscope::instrument(fields(text, %number, list = ?[number, 2], sum = number + 1), ret)]
    fn plain(text: &str, number: u64) -> usize {
        text.len()
    }

    #[exoscope::instrument(args(id), err, ret)]
    fn fails(id: u32) -> Result<u32, std::num::TryFromIntError> {
        Ok(u32::from(u8::try_from(id)?))
    }

    #[exoscope::instrument(fields(text), ret)]
    async fn waits(text: &str) -> usize {
        once_pending().await;
        text.len()
    }

    #[exoscope::instrument(items)]
    fn numbers() -> impl Iterator<Item = Result<u32, &'static str>> {
        [Ok(1), Err("the last")].into_iter()
    }

    fn run() {
        assert_eq!(allocations::of(|| Box::new(1)), 1, "it counts");
        assert_eq!(allocations::of(|| plain("text", 1)), 0);
        assert_eq!(allocations::of(|| fails(300)), 0);
        let twice = allocations::of(|| {
            let mut future = pin!(waits("abc"));
            assert!(poll_once(future.as_mut()).is_pending());
            assert!(poll_once(future).is_ready());
        });
        assert_eq!(twice, 0);
        assert_eq!(allocations::of(|| numbers().count()), 0);
    }

    case!(run => [
        ok("plain").fields(r#"{"text":"text","number":"1","list":"[1, 2]","sum":2,"return":4}"#),
        err(
            "fails",
            "core::num::error::TryFromIntError",
            "out of range integral type conversion attempted",
        ).fields(r#"{"id":300}"#),
        ok("waits").fields(r#"{"text":"abc","return":3}"#),
        err("numbers", "&str", "the last").items(2).with(&[
            ok("numbers::item"),
            err("numbers::item", "&str", "the last"),
            cancelled("numbers::item"),
        ]),
    ]);
}
