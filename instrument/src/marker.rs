//! The marker: nops that a tracer can turn into a probe, and the notes that say where they are.
//!
//! [`function!`](crate::__function) declares everything that belongs to one instrumented function:
//! its text in read-only data, its semaphores, and a type that implements [`Function`], whose
//! methods hold the function's markers. They are always inlined, so every place that uses the type
//! becomes a site of its own.

pub use exoscope_abi as abi;

/// The markers of one function.
///
/// Implemented by [`function!`](crate::__function) and by nothing else. Addresses and registers
/// are those of `exoscope_abi::probe`.
pub trait Function {
    /// A call begins: the address of its state, and that of the next outer call, 0, or
    /// [`UNSEEN`](abi::probe::UNSEEN).
    fn entry(call: usize, parent: usize);
    /// A call ended without an error; `ended` is the outcome, with the number of items in its high half.
    fn exit(call: usize, ended: u64, parent: usize, start: u64);
    /// A call ended with an error; `detail` is the address of an `ErrorDetail` or 0.
    fn error(call: usize, ended: u64, parent: usize, start: u64, detail: usize);
    /// Fields of a call: the address of their encoding (`exoscope_abi::field`), and its length with
    /// the flags of `exoscope_abi::field`.
    fn fields(_call: usize, _fields: usize, _size: u64) {}
    /// A poll of a call begins; `waker` is the data pointer of the waker that it got.
    fn poll_begin(_call: usize, _waker: usize) {}
    /// A poll of a call ended, and the call did not.
    fn poll_end(_call: usize) {}
    /// A call hands on an item that is an error; `detail` is the address of an `ErrorDetail`.
    fn item_error(_call: usize, _detail: usize) {}
    /// Somebody looks at calls of the function, so that they are put into their thread's chain.
    fn seen() -> bool;
    /// The markers of a call that begins or ends now are to be passed: somebody looks at the function,
    /// or another tool at any.
    fn wanted() -> bool;
    /// Somebody wants the target to read the time at which a call begins; [`seen`](Self::seen) then too.
    fn start_wanted() -> bool;
    /// Somebody wants the message of an error.
    fn detail_wanted() -> bool;
    /// Somebody wants the fields of a call.
    fn fields_wanted() -> bool {
        false
    }
    /// Somebody wants to know of polls.
    fn polls_wanted() -> bool {
        false
    }
}

/// Declares the type `$name` that holds the markers of the function with the full path `$path`,
/// which stands at `$line` of `$file`. The path is a literal, or a list of constants in brackets.
/// `$text` is the symbol of its text, which says to the agent whether it is the function or its items.
/// After `plain` there are no markers but those of a call's entry and ends, which is half of what the
/// compiler has to read: for functions that take no turns, and of which no fields are captured.
#[doc(hidden)]
#[macro_export]
macro_rules! __function {
    (item $name:ident, $($rest:tt)+) => {
        $crate::__function!($name __EXOSCOPE_ITEM whole: $($rest)+);
    };
    (plain $name:ident, $($rest:tt)+) => {
        $crate::__function!($name __EXOSCOPE_FUNCTION plain: $($rest)+);
    };
    ($name:ident, $($rest:tt)+) => {
        $crate::__function!($name __EXOSCOPE_FUNCTION whole: $($rest)+);
    };
    ($name:ident $text:ident $has:ident: [$($part:expr),+], $file:expr, $line:expr) => {
        $crate::__function!(
            @ $name $text $has,
            $crate::__private::joined_len(&[$($part),+], $file, ::core::concat!($line)),
            $crate::__private::joined(&[$($part),+], $file, ::core::concat!($line))
        );
    };
    ($name:ident $text:ident $has:ident: $path:expr, $file:expr, $line:expr) => {
        $crate::__function!(
            @ $name $text $has,
            $crate::__text!($path, $file, $line).len(),
            match $crate::__text!($path, $file, $line).as_bytes().first_chunk() {
                ::core::option::Option::Some(bytes) => *bytes,
                ::core::option::Option::None => ::core::unreachable!(),
            }
        );
    };
    (@ $name:ident $text:ident plain, $len:expr, $bytes:expr) => {
        $crate::__function!(@ $name $text, $len, $bytes => {} {});
    };
    (@ $name:ident $text:ident whole, $len:expr, $bytes:expr) => {
        $crate::__function!(@ $name $text, $len, $bytes => {
            #[unsafe(link_section = ".probes")]
            static FIELDS: ::core::sync::atomic::AtomicU16 =
                ::core::sync::atomic::AtomicU16::new(0);
            #[unsafe(link_section = ".probes")]
            static POLLS: ::core::sync::atomic::AtomicU16 = ::core::sync::atomic::AtomicU16::new(0);
        } {
            #[inline(always)]
            fn fields(call: usize, fields: usize, size: u64) {
                $crate::__markers!(fields $text FIELDS call fields size);
            }
            #[inline(always)]
            fn poll_begin(call: usize, waker: usize) {
                $crate::__markers!(poll_begin $text POLLS call waker);
            }
            #[inline(always)]
            fn poll_end(call: usize) {
                $crate::__markers!(poll_end $text POLLS call);
            }
            #[inline(always)]
            fn item_error(call: usize, detail: usize) {
                $crate::__markers!(item_error $text DETAIL call detail);
            }
            #[inline(always)]
            fn fields_wanted() -> bool {
                FIELDS.load(::core::sync::atomic::Ordering::Relaxed) != 0
            }
            #[inline(always)]
            fn polls_wanted() -> bool {
                POLLS.load(::core::sync::atomic::Ordering::Relaxed) != 0
            }
        });
    };
    (
        @ $name:ident $text:ident, $len:expr, $bytes:expr =>
        { $($semaphore:item)* } { $($marker:item)* }
    ) => {
        struct $name;
        // Directly in the function, because the note names its symbol: less the last segment, that
        // is the function's path in the program, with the type of the `impl`.
        static $text: [u8; $len] = $bytes;
        const _: () = {
            // Two semaphores, so that one look at both says that nobody looks: `entry` in the low
            // half, `start` in the high one.
            #[unsafe(link_section = ".probes")]
            static CALLS: ::core::sync::atomic::AtomicU32 = ::core::sync::atomic::AtomicU32::new(0);
            #[unsafe(link_section = ".probes")]
            static DETAIL: ::core::sync::atomic::AtomicU16 =
                ::core::sync::atomic::AtomicU16::new(0);
            $($semaphore)*

            impl $crate::__private::Function for $name {
                #[inline(always)]
                fn entry(call: usize, parent: usize) {
                    $crate::__markers!(entry $text CALLS DETAIL call parent);
                }
                #[inline(always)]
                fn exit(call: usize, ended: u64, parent: usize, start: u64) {
                    $crate::__markers!(exit $text CALLS DETAIL call ended parent start);
                }
                #[inline(always)]
                fn error(call: usize, ended: u64, parent: usize, start: u64, detail: usize) {
                    $crate::__markers!(
                        error $text CALLS DETAIL call ended parent start detail
                    );
                }
                #[inline(always)]
                fn seen() -> bool {
                    CALLS.load(::core::sync::atomic::Ordering::Relaxed) != 0
                }
                #[inline(always)]
                fn wanted() -> bool {
                    let calls = CALLS.load(::core::sync::atomic::Ordering::Relaxed);
                    $crate::__private::or_tools(calls) != 0
                }
                #[inline(always)]
                fn start_wanted() -> bool {
                    CALLS.load(::core::sync::atomic::Ordering::Relaxed) >> 16 != 0
                }
                #[inline(always)]
                fn detail_wanted() -> bool {
                    let detail = DETAIL.load(::core::sync::atomic::Ordering::Relaxed);
                    $crate::__private::or_tools(u32::from(detail) << 16) >> 16 != 0
                }
                $($marker)*
            }
        };
    };
}

/// What a marker's first argument points at: `exoscope_abi::note::FunctionText`.
#[doc(hidden)]
#[macro_export]
macro_rules! __text {
    ($path:expr, $file:expr, $line:expr) => {
        ::core::concat!($path, "\0", $file, "\0", $line, "\0")
    };
}

/// Length of [`joined`].
pub const fn joined_len(path: &[&str], file: &str, line: &str) -> usize {
    let mut len = file.len() + line.len() + 3;
    let mut part = 0;
    while part < path.len() {
        len += path[part].len();
        part += 1;
    }
    len
}

/// What [`text!`](crate::__text) makes of literals, of the parts of a path that are constants.
pub const fn joined<const LEN: usize>(path: &[&str], file: &str, line: &str) -> [u8; LEN] {
    let mut text = [0; LEN];
    let mut at = 0;
    let mut part = 0;
    while part < path.len() {
        at = append(&mut text, at, path[part]);
        part += 1;
    }
    at = append(&mut text, at + 1, file);
    append(&mut text, at + 1, line);
    text
}

/// Writes a string at `at`; gives where it ends.
const fn append(text: &mut [u8], mut at: usize, string: &str) -> usize {
    let mut byte = 0;
    while byte < string.len() {
        text[at] = string.as_bytes()[byte];
        assert!(text[at] != 0, "the name of a function holds a NUL");
        at += 1;
        byte += 1;
    }
    at
}

/// The markers with their registers, on x86-64 Linux.
#[cfg(all(
    target_os = "linux",
    target_arch = "x86_64",
    target_pointer_width = "64"
))]
#[doc(hidden)]
#[macro_export]
macro_rules! __markers {
    (entry $function:ident $calls:ident $detail:ident $call:ident $parent:ident) => {
        $crate::__marker!(
            Entry, "entry", "8@%rdi 8@%rsi 8@%rdx", "_.exoscope.tools", "{function}", "0",
            "{calls}", "{function}",
            function = sym $function, calls = sym $calls,
            in("rdi") &raw const $function, in("rsi") $call, in("rdx") $parent,
        )
    };
    (exit $function:ident $calls:ident $detail:ident $call:ident $ended:ident $parent:ident $begun:ident) => {
        $crate::__marker!(
            Exit, "exit", "8@%rdi 8@%rsi 8@%rdx 8@%rcx 8@%r8", "_.exoscope.tools", "{function}",
            "{calls} + 2", "0", "{function}",
            function = sym $function, calls = sym $calls,
            in("rdi") &raw const $function, in("rsi") $call, in("rdx") $ended,
            in("rcx") $parent, in("r8") $begun,
        )
    };
    (error $function:ident $calls:ident $detail:ident $call:ident $ended:ident $parent:ident $begun:ident $said:ident) => {
        $crate::__marker!(
            Error, "error", "8@%rdi 8@%rsi 8@%rdx 8@%rcx 8@%r8 8@%r9",
            "_.exoscope.tools + 2", "{function}", "{calls} + 2", "{detail}", "{function}",
            function = sym $function, calls = sym $calls, detail = sym $detail,
            in("rdi") &raw const $function, in("rsi") $call, in("rdx") $ended,
            in("rcx") $parent, in("r8") $begun, in("r9") $said,
        )
    };
    (fields $function:ident $semaphore:ident $call:ident $fields:ident $size:ident) => {
        $crate::__marker!(
            Fields, "fields", "8@%rdi 8@%rsi 8@%rdx 8@%rcx", "{fields}", "{function}", "0",
            "{fields}", "{function}",
            function = sym $function, fields = sym $semaphore,
            in("rdi") &raw const $function, in("rsi") $call, in("rdx") $fields,
            in("rcx") $size,
        )
    };
    (poll_begin $function:ident $semaphore:ident $call:ident $waker:ident) => {
        $crate::__marker!(
            PollBegin, "poll_begin", "8@%rdi 8@%rsi 8@%rdx", "{polls}", "{function}", "0", "{polls}",
            "{function}",
            function = sym $function, polls = sym $semaphore,
            in("rdi") &raw const $function, in("rsi") $call, in("rdx") $waker,
        )
    };
    (poll_end $function:ident $semaphore:ident $call:ident) => {
        $crate::__marker!(
            PollEnd, "poll_end", "8@%rdi 8@%rsi", "{polls}", "{function}", "0", "{polls}",
            "{function}",
            function = sym $function, polls = sym $semaphore,
            in("rdi") &raw const $function, in("rsi") $call,
        )
    };
    (item_error $function:ident $semaphore:ident $call:ident $said:ident) => {
        $crate::__marker!(
            ItemError, "item_error", "8@%rdi 8@%rsi 8@%rdx", "{detail}", "{function}", "0", "{detail}",
            "{function}",
            function = sym $function, detail = sym $semaphore,
            in("rdi") &raw const $function, in("rsi") $call, in("rdx") $said,
        )
    };
    (wake $waker:ident) => {
        $crate::__marker!(
            Wake, "wake", "8@%rdi 8@%rsi", "0", "0", "0", "0", "",
            in("rdi") 0_usize, in("rsi") $waker,
        )
    };
    (link $semaphore:ident $call:ident $token:ident) => {
        $crate::__marker!(
            Link, "link", "8@%rdi 8@%rsi 8@%rdx", "{wanted}", "0", "0", "{wanted}", "",
            wanted = sym $semaphore,
            in("rdi") 0_usize, in("rsi") $call, in("rdx") $token,
        )
    };
    (panic $semaphore:ident $call:ident $said:ident) => {
        $crate::__marker!(
            Panic, "panic", "8@%rdi 8@%rsi 8@%rdx", "{wanted}", "0", "0", "{wanted}", "",
            wanted = sym $semaphore,
            in("rdi") 0_usize, in("rsi") $call, in("rdx") $said,
        )
    };
}

/// The markers with their registers, on 64-bit ARM Linux.
#[cfg(all(target_os = "linux", target_arch = "aarch64", target_endian = "little"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __markers {
    (entry $function:ident $calls:ident $detail:ident $call:ident $parent:ident) => {
        $crate::__marker!(
            Entry, "entry", "8@x0 8@x1 8@x2", "_.exoscope.tools", "{function}", "0", "{calls}",
            "{function}",
            function = sym $function, calls = sym $calls,
            in("x0") &raw const $function, in("x1") $call, in("x2") $parent,
        )
    };
    (exit $function:ident $calls:ident $detail:ident $call:ident $ended:ident $parent:ident $begun:ident) => {
        $crate::__marker!(
            Exit, "exit", "8@x0 8@x1 8@x2 8@x3 8@x4", "_.exoscope.tools", "{function}",
            "{calls} + 2", "0", "{function}",
            function = sym $function, calls = sym $calls,
            in("x0") &raw const $function, in("x1") $call, in("x2") $ended,
            in("x3") $parent, in("x4") $begun,
        )
    };
    (error $function:ident $calls:ident $detail:ident $call:ident $ended:ident $parent:ident $begun:ident $said:ident) => {
        $crate::__marker!(
            Error, "error", "8@x0 8@x1 8@x2 8@x3 8@x4 8@x5", "_.exoscope.tools + 2",
            "{function}", "{calls} + 2", "{detail}", "{function}",
            function = sym $function, calls = sym $calls, detail = sym $detail,
            in("x0") &raw const $function, in("x1") $call, in("x2") $ended,
            in("x3") $parent, in("x4") $begun, in("x5") $said,
        )
    };
    (fields $function:ident $semaphore:ident $call:ident $fields:ident $size:ident) => {
        $crate::__marker!(
            Fields, "fields", "8@x0 8@x1 8@x2 8@x3", "{fields}", "{function}", "0",
            "{fields}", "{function}",
            function = sym $function, fields = sym $semaphore,
            in("x0") &raw const $function, in("x1") $call, in("x2") $fields,
            in("x3") $size,
        )
    };
    (poll_begin $function:ident $semaphore:ident $call:ident $waker:ident) => {
        $crate::__marker!(
            PollBegin, "poll_begin", "8@x0 8@x1 8@x2", "{polls}", "{function}", "0", "{polls}",
            "{function}",
            function = sym $function, polls = sym $semaphore,
            in("x0") &raw const $function, in("x1") $call, in("x2") $waker,
        )
    };
    (poll_end $function:ident $semaphore:ident $call:ident) => {
        $crate::__marker!(
            PollEnd, "poll_end", "8@x0 8@x1", "{polls}", "{function}", "0", "{polls}",
            "{function}",
            function = sym $function, polls = sym $semaphore,
            in("x0") &raw const $function, in("x1") $call,
        )
    };
    (item_error $function:ident $semaphore:ident $call:ident $said:ident) => {
        $crate::__marker!(
            ItemError, "item_error", "8@x0 8@x1 8@x2", "{detail}", "{function}", "0", "{detail}",
            "{function}",
            function = sym $function, detail = sym $semaphore,
            in("x0") &raw const $function, in("x1") $call, in("x2") $said,
        )
    };
    (wake $waker:ident) => {
        $crate::__marker!(
            Wake, "wake", "8@x0 8@x1", "0", "0", "0", "0", "",
            in("x0") 0_usize, in("x1") $waker,
        )
    };
    (link $semaphore:ident $call:ident $token:ident) => {
        $crate::__marker!(
            Link, "link", "8@x0 8@x1 8@x2", "{wanted}", "0", "0", "{wanted}", "",
            wanted = sym $semaphore,
            in("x0") 0_usize, in("x1") $call, in("x2") $token,
        )
    };
    (panic $semaphore:ident $call:ident $said:ident) => {
        $crate::__marker!(
            Panic, "panic", "8@x0 8@x1 8@x2", "{wanted}", "0", "0", "{wanted}", "",
            wanted = sym $semaphore,
            in("x0") 0_usize, in("x1") $call, in("x2") $said,
        )
    };
}

/// No markers: other targets run the body and nothing else.
#[cfg(not(all(
    target_os = "linux",
    any(
        all(target_arch = "x86_64", target_pointer_width = "64"),
        all(target_arch = "aarch64", target_endian = "little")
    )
)))]
#[doc(hidden)]
#[macro_export]
macro_rules! __markers {
    ($probe:ident $($value:ident)*) => {
        let _ = ($(&raw const $value,)*);
    };
}

/// The nops of a marker on x86-64; see `exoscope_abi::probe::MARKER_X86_64` for why three.
#[cfg(target_arch = "x86_64")]
#[doc(hidden)]
#[macro_export]
macro_rules! __nops {
    () => {
        ".byte 0x90, \
         0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00, \
         0x0f, 0x1f, 0x44, 0x00, 0x00"
    };
}

/// One marker on x86-64.
#[cfg(target_arch = "x86_64")]
#[doc(hidden)]
#[macro_export]
macro_rules! __marker {
    ($($rest:tt)*) => {
        $crate::__marker_with_notes!(
            [$crate::__nops!()] [att_syntax, preserves_flags, readonly] $($rest)*
        )
    };
}

/// One marker of a single nop on 64-bit ARM.
#[cfg(target_arch = "aarch64")]
#[doc(hidden)]
#[macro_export]
macro_rules! __marker {
    ($($rest:tt)*) => {
        $crate::__marker_with_notes!(["nop"] [preserves_flags, readonly] $($rest)*)
    };
}

/// The semaphores that tools other than ours raise: `entry` and `exit` in the low half, `error` in the
/// high one.
///
/// Such a tool raises one semaphore for all places of a probe, so there is one for all functions of a
/// binary. It is a symbol of each binary for itself, as the base symbol is, because notes can't name what
/// lies in another one: this library may be in a shared one.
#[doc(hidden)]
#[macro_export]
macro_rules! __tools_semaphores {
    () => {
        ".ifndef _.exoscope.tools\n\
         .pushsection .probes,\"awG\",\"progbits\",_.exoscope.tools,comdat\n\
         .weak _.exoscope.tools\n\
         .hidden _.exoscope.tools\n\
         .balign 4\n\
         _.exoscope.tools: .4byte 0\n\
         .size _.exoscope.tools,4\n\
         .popsection\n\
         .endif"
    };
}

/// The semaphores in `raised`, and beside them those of [other tools](crate::__tools_semaphores).
#[inline(always)]
pub fn or_tools(raised: u32) -> u32 {
    #[cfg(all(
        target_os = "linux",
        target_arch = "x86_64",
        target_pointer_width = "64"
    ))]
    {
        let mut both = raised;
        // SAFETY: it reads four aligned bytes of this binary, which the kernel alone writes.
        unsafe {
            core::arch::asm!(
                crate::__tools_semaphores!(),
                "orl _.exoscope.tools(%rip), {both:e}",
                both = inout(reg) both,
                options(att_syntax, nostack, readonly),
            );
        }
        both
    }
    #[cfg(all(target_os = "linux", target_arch = "aarch64", target_endian = "little"))]
    {
        let tools: u64;
        // SAFETY: as above.
        unsafe {
            core::arch::asm!(
                crate::__tools_semaphores!(),
                "adrp {tools}, _.exoscope.tools",
                "ldr {tools:w}, [{tools}, :lo12:_.exoscope.tools]",
                tools = out(reg) tools,
                options(nostack, preserves_flags, readonly),
            );
        }
        raised | tools as u32
    }
    #[cfg(not(all(
        target_os = "linux",
        any(
            all(target_arch = "x86_64", target_pointer_width = "64"),
            all(target_arch = "aarch64", target_endian = "little")
        )
    )))]
    raised
}

/// The instructions of a marker, its SystemTap note, and our own note (`exoscope_abi::note`).
///
/// A section flag of `?` puts a note into the group of the function's section, so that both stay or
/// go together. The base symbol lies in an allocated (`a`), retained (`R`) group (`G`): linkers that
/// drop unreferenced sections would otherwise leave tools without it.
#[doc(hidden)]
#[macro_export]
macro_rules! __marker_with_notes {
    (
        [$($instruction:expr),+] [$($option:ident),+]
        $probe:ident, $name:literal, $arguments:literal, $semaphore:literal,
        $function:literal, $start:literal, $detail:literal, $here:literal, $($operands:tt)*
    ) => {
        // SAFETY: the instructions are nops. Without `nostack` the compiler keeps nothing below the
        // stack pointer here, where a kernel that rewrites a nop into a call pushes its return
        // address.
        unsafe {
            ::core::arch::asm!(
                "990:",
                $($instruction,)+
                ".pushsection .note.stapsdt,\"?\",\"note\"",
                ".balign 4",
                ".4byte 992f-991f, 994f-993f, 3",
                "991: .asciz \"stapsdt\"",
                "992: .balign 4",
                "993: .8byte 990b",
                ".8byte _.stapsdt.base",
                ::core::concat!(".8byte ", $semaphore),
                ".asciz \"exoscope\"",
                ::core::concat!(".asciz \"", $name, "\""),
                ::core::concat!(".asciz \"", $arguments, "\""),
                "994: .balign 4",
                ".popsection",
                ".pushsection .note.exoscope,\"?\",\"note\"",
                ".balign 4",
                ".4byte 992f-991f, 994f-993f, {note_type}",
                "991: .asciz \"exoscope\"",
                "992: .balign 4",
                "993: .4byte {abi}",
                ".4byte {probe}",
                ".8byte 990b",
                ::core::concat!(".8byte ", $function),
                ::core::concat!(".8byte ", $start),
                ::core::concat!(".8byte ", $detail),
                ::core::concat!(".asciz \"", $here, "\""),
                "994: .balign 4",
                ".popsection",
                $crate::__tools_semaphores!(),
                ".ifndef _.stapsdt.base",
                ".pushsection .stapsdt.base,\"aGR\",\"progbits\",.stapsdt.base,comdat",
                ".weak _.stapsdt.base",
                ".hidden _.stapsdt.base",
                "_.stapsdt.base: .space 1",
                ".size _.stapsdt.base,1",
                ".popsection",
                ".endif",
                note_type = const $crate::__private::abi::note::TYPE,
                abi = const $crate::__private::abi::ABI_VERSION,
                probe = const $crate::__private::abi::probe::Probe::$probe as u32,
                $($operands)*
                options($($option),+),
            )
        }
    };
}
