//! The marker: three nops that a tracer can turn into a probe, and the notes that say where it is.
//!
//! [`function!`](crate::__function) declares everything that belongs to one instrumented function:
//! its text in read-only data, its semaphores, and a type that implements [`Function`], whose
//! methods hold the function's markers. They are always inlined, so every place that uses the type
//! becomes a site of its own.

/// The markers of one function.
///
/// Implemented by [`function!`](crate::__function) and by nothing else.
pub trait Function {
    /// A call begins: the address of its state, and that of the next outer call or 0.
    fn entry(call: usize, parent: usize);
    /// A call ended without an error.
    fn exit(call: usize, outcome: u32, parent: usize, start: u64);
    /// A call ended with an error; `detail` is the address of an `ErrorDetail` or 0.
    fn error(call: usize, outcome: u32, parent: usize, start: u64, detail: usize);
    /// Somebody wants the target to read the time at which a call begins.
    fn start_wanted() -> bool;
    /// Somebody wants the message of an error.
    fn detail_wanted() -> bool;
}

/// Declares the type `$name` that holds the markers of a function, with the full path `$path`.
#[doc(hidden)]
#[macro_export]
macro_rules! __function {
    ($name:ident, $path:expr) => {
        struct $name;
        const _: () = {
            const TEXT: &str = ::core::concat!($path, "\0", ::core::file!(), "\0", ::core::line!(), "\0");
            static FUNCTION: [u8; TEXT.len()] = match TEXT.as_bytes().first_chunk() {
                Some(bytes) => *bytes,
                None => ::core::unreachable!(),
            };
            #[unsafe(link_section = ".probes")]
            static START: ::core::sync::atomic::AtomicU16 = ::core::sync::atomic::AtomicU16::new(0);
            #[unsafe(link_section = ".probes")]
            static DETAIL: ::core::sync::atomic::AtomicU16 = ::core::sync::atomic::AtomicU16::new(0);
            fn here() {}

            impl $crate::__private::Function for $name {
                #[inline(always)]
                fn entry(call: usize, parent: usize) {
                    $crate::__marker!(
                        "entry", 0, "8@%rdi 8@%rsi 8@%rdx", "0", "0", "0",
                        function = sym FUNCTION, here = sym here,
                        in("rdi") &raw const FUNCTION, in("rsi") call, in("rdx") parent,
                    );
                }
                #[inline(always)]
                fn exit(call: usize, outcome: u32, parent: usize, start: u64) {
                    $crate::__marker!(
                        "exit", 1, "8@%rdi 8@%rsi 8@%rdx 8@%rcx 8@%r8", "0", "{start}", "0",
                        function = sym FUNCTION, here = sym here, start = sym START,
                        in("rdi") &raw const FUNCTION, in("rsi") call, in("rdx") outcome as u64,
                        in("rcx") parent, in("r8") start,
                    );
                }
                #[inline(always)]
                fn error(call: usize, outcome: u32, parent: usize, start: u64, detail: usize) {
                    $crate::__marker!(
                        "error", 2, "8@%rdi 8@%rsi 8@%rdx 8@%rcx 8@%r8 8@%r9", "{detail}", "{start}", "{detail}",
                        function = sym FUNCTION, here = sym here, start = sym START, detail = sym DETAIL,
                        in("rdi") &raw const FUNCTION, in("rsi") call, in("rdx") outcome as u64,
                        in("rcx") parent, in("r8") start, in("r9") detail,
                    );
                }
                #[inline(always)]
                fn start_wanted() -> bool {
                    START.load(::core::sync::atomic::Ordering::Relaxed) != 0
                }
                #[inline(always)]
                fn detail_wanted() -> bool {
                    DETAIL.load(::core::sync::atomic::Ordering::Relaxed) != 0
                }
            }
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __marker {
    ($probe:literal, $number:literal, $args:literal, $semaphore:literal, $start:literal, $detail:literal, $($operands:tt)*) => {
        // SAFETY: the instructions are nops. Without `nostack` the compiler keeps nothing below the
        // stack pointer here, where a kernel that rewrites a nop into a call pushes its return address.
        unsafe {
            ::core::arch::asm!(
                "990:",
                ".byte 0x90",
                ".byte 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00",
                ".byte 0x0f, 0x1f, 0x44, 0x00, 0x00",
                ".pushsection .note.stapsdt,\"?\",\"note\"",
                ".balign 4",
                ".4byte 992f-991f, 994f-993f, 3",
                "991: .asciz \"stapsdt\"",
                "992: .balign 4",
                "993: .8byte 990b",
                ".8byte _.stapsdt.base",
                ::core::concat!(".8byte ", $semaphore),
                ".asciz \"exoscope\"",
                ::core::concat!(".asciz \"", $probe, "\""),
                ::core::concat!(".asciz \"", $args, "\""),
                "994: .balign 4",
                ".popsection",
                ".pushsection .note.exoscope,\"?\",\"note\"",
                ".balign 4",
                ".4byte 992f-991f, 994f-993f, 1",
                "991: .asciz \"exoscope\"",
                "992: .balign 4",
                "993: .4byte 1",
                ::core::concat!(".4byte ", $number),
                ".8byte 990b",
                ".8byte {function}",
                ::core::concat!(".8byte ", $start),
                ::core::concat!(".8byte ", $detail),
                ".asciz \"{here}\"",
                "994: .balign 4",
                ".popsection",
                ".ifndef _.stapsdt.base",
                ".pushsection .stapsdt.base,\"aGR\",\"progbits\",.stapsdt.base,comdat",
                ".weak _.stapsdt.base",
                ".hidden _.stapsdt.base",
                "_.stapsdt.base: .space 1",
                ".size _.stapsdt.base,1",
                ".popsection",
                ".endif",
                $($operands)*
                options(att_syntax, preserves_flags, readonly),
            );
        }
    };
}
