//! What lies in the target's binary: one ELF note of ours beside each SystemTap note.
//!
//! The SystemTap note (`.note.stapsdt`) tells any tool where a marker is. It cannot say which
//! function the marker belongs to, so a second note of the vendor [`VENDOR`] in [`SECTION`] does.
//! Both sections are not loaded at run time; linkers write the addresses, strip keeps the notes.

/// Section that holds the notes.
pub const SECTION: &str = ".note.exoscope";
/// Vendor name of the notes, with its NUL.
pub const VENDOR: &[u8; 9] = b"exoscope\0";
/// Type number of the notes.
pub const TYPE: u32 = 1;
/// Section that holds the semaphores.
pub const SEMAPHORE_SECTION: &str = ".probes";

/// Fixed part of a note's descriptor, little-endian, without padding between fields.
///
/// After it comes the NUL-terminated mangled symbol of an item inside the function, or an empty
/// string. Its demangled form less the last segment is the function's path with the type of the
/// `impl`, which an attribute on a single method cannot know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct NoteHeader {
    /// [`crate::ABI_VERSION`] of the library that wrote the note.
    pub abi: u32,
    /// [`crate::probe::Probe`] as a number.
    pub probe: u32,
    /// Link-time address of the marker's first byte. Where the linker dropped the function it is a
    /// small number instead, often but not always 0, that lies in no executable segment.
    pub marker: u64,
    /// Link-time address of the function's [`FunctionText`]; 0 where there is none.
    pub function: u64,
    /// Link-time address of the semaphore that makes the target read the time at which a call
    /// begins; 0 for none.
    pub start_semaphore: u64,
    /// Link-time address of the semaphore that makes the target fire this marker, or prepare its
    /// costly arguments (the parent of a beginning, the error's message); 0 for none.
    pub detail_semaphore: u64,
}

/// Bytes of [`NoteHeader`] in the file.
pub const NOTE_HEADER_LEN: usize = 40;
const _: () = assert!(size_of::<NoteHeader>() == NOTE_HEADER_LEN);

/// What a note's `function` points at: three NUL-terminated UTF-8 strings in read-only data.
///
/// 1. the full path of the function,
/// 2. its source file,
/// 3. its line in decimal digits.
///
/// Because the path comes first, any tool can print it with `str(arg0)`.
pub struct FunctionText;

/// Longest text of a function that the agent accepts, in bytes.
pub const FUNCTION_TEXT_MAX: usize = 8192;
