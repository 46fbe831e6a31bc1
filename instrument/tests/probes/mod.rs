//! Catches the markers that this very process fires, as a debugger would: a breakpoint in place of the
//! one-byte nop, and the semaphores raised.
#![allow(dead_code, reason = "not every test looks at everything")]

use std::cell::RefCell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::sync::{Once, OnceLock};

use exoscope_abi::Outcome;
use exoscope_abi::field::{CUT, ENTRY_HEADER_LEN, Kind, RETURNED, TRUNCATED};
use exoscope_abi::note::{SECTION, VENDOR};
use exoscope_abi::probe::{ErrorDetail, MARKER_X86_64, Probe, TOKEN};
use object::read::elf::{ElfFile64, FileHeader, SectionHeader};
use object::{LittleEndian, Object, ObjectSegment};

const BREAKPOINT: u8 = 0xcc;

/// A marker that has fired.
#[derive(Clone, Debug, PartialEq)]
pub struct Fired {
    /// Which probe.
    pub probe: Probe,
    /// Path of the function; empty where the probe serves all of them.
    pub function: String,
    /// The argument that identifies the call.
    pub call: u64,
    /// All arguments.
    pub arguments: [u64; 6],
    /// The first word of the parent's state, where an `entry` marker names one by its address.
    pub parent_word: u64,
    /// Fields as `name=value`, where it is a `fields` marker.
    pub fields: Vec<String>,
    /// The flags of a `fields` marker.
    pub truncated: bool,
    /// The flags of a `fields` marker.
    pub returned: bool,
    /// Kind and message of an error.
    pub error: Option<(String, String)>,
}

impl Fired {
    /// The last segment of the function's path.
    pub fn name(&self) -> &str {
        self.function.rsplit("::").next().unwrap_or_default()
    }

    /// How the call ended, where it is an `exit` or `error` marker.
    pub fn outcome(&self) -> Option<Outcome> {
        let ends = matches!(self.probe, Probe::Exit | Probe::Error);
        ends.then(|| Outcome::from_number(self.arguments[2] as u8))?
    }

    /// How many items the call gave.
    pub fn items(&self) -> u64 {
        self.arguments[2] >> 32
    }

    /// The parent, where it is an `entry`, `exit` or `error` marker.
    pub fn parent(&self) -> u64 {
        self.arguments[if self.probe == Probe::Entry { 2 } else { 3 }]
    }
}

struct Site {
    address: usize,
    probe: Probe,
}

static SITES: OnceLock<Vec<Site>> = OnceLock::new();
/// Addresses of the semaphores, with what they ask for.
static SEMAPHORES: OnceLock<Vec<(Asked, usize)>> = OnceLock::new();

/// What a semaphore asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The time of a beginning.
    Start,
    /// Polls.
    Polls,
    /// Everything else, which is wanted from the start.
    Rest,
}

thread_local! {
    static FIRED: RefCell<Vec<Fired>> = const { RefCell::new(Vec::new()) };
}

/// The markers that fire on this thread while `run` runs, and what it returns.
pub fn watch<T>(run: impl FnOnce() -> T) -> (Vec<Fired>, T) {
    static ATTACHED: Once = Once::new();
    ATTACHED.call_once(|| {
        attach();
        want(Asked::Rest, true);
    });
    FIRED.take();
    let returned = run();
    (FIRED.take(), returned)
}

/// The marker that fired last on this thread.
pub fn latest() -> Fired {
    let latest = FIRED.with_borrow(|fired| fired.last().cloned());
    latest.expect("a marker has fired")
}

/// From now on, whether somebody asks for something, for all tests of the executable.
pub fn want(asked: Asked, wanted: bool) {
    if asked != Asked::Rest {
        watch(|| ());
    }
    for &(what, semaphore) in SEMAPHORES.get().expect("attached before") {
        if what == asked {
            // SAFETY: a semaphore of this process, in writable memory.
            unsafe { &*(semaphore as *const AtomicU16) }.store(wanted.into(), Relaxed);
        }
    }
}

/// The fields of the only `fields` marker of entered calls that fires while `run` runs.
pub fn fields<T>(run: impl FnOnce() -> T) -> Vec<String> {
    let (fired, _) = watch(run);
    let mut fields = fired
        .into_iter()
        .filter(|fired| fired.probe == Probe::Fields && !fired.returned);
    let found = fields.next().map(|fired| fired.fields).unwrap_or_default();
    assert_eq!(fields.next(), None);
    found
}

/// What the only `fields` marker for a returned value holds that fires while `run` runs.
pub fn returned<T>(run: impl FnOnce() -> T) -> Option<String> {
    let (fired, _) = watch(run);
    let mut fields = fired.into_iter().filter(|fired| fired.returned);
    let found = fields.next().map(|fired| fired.fields.concat());
    assert_eq!(fields.next(), None);
    found
}

/// Kind and message of the only error that fires while `run` runs.
pub fn error<T>(run: impl FnOnce() -> T) -> Option<(String, String)> {
    let (fired, _) = watch(run);
    let mut errors = fired
        .into_iter()
        .filter(|fired| fired.probe == Probe::Error);
    let found = errors.next().and_then(|fired| fired.error);
    assert_eq!(errors.next(), None);
    found
}

fn attach() {
    let bytes = std::fs::read("/proc/self/exe").expect("the test's own executable can be read");
    let file = ElfFile64::<LittleEndian>::parse(bytes.as_slice()).expect("it is an ELF file");
    let base = base();
    let (mut sites, mut semaphores) = (Vec::new(), Vec::new());
    for note in notes(&file) {
        let number = |at: usize| u64::from_le_bytes(note[at..at + 8].try_into().expect("8 bytes"));
        let probe = u32::from_le_bytes(note[4..8].try_into().expect("4 bytes"));
        let probe = Probe::from_number(probe).expect("it is a probe");
        let marker = number(8);
        if probe == Probe::ForkGuard || !is_marker(&file, marker) {
            continue;
        }
        let of_probe = match probe {
            Probe::PollBegin | Probe::PollEnd => Asked::Polls,
            _ => Asked::Rest,
        };
        let asked = [(Asked::Start, number(24)), (of_probe, number(32))];
        let there = asked.into_iter().filter(|&(_, address)| address != 0);
        semaphores.extend(there.map(|(asked, address)| (asked, base + address as usize)));
        sites.push(Site {
            address: base + marker as usize,
            probe,
        });
    }
    for site in &sites {
        break_at(site.address);
    }
    let first = SITES.set(sites).is_ok() && SEMAPHORES.set(semaphores).is_ok();
    assert!(first, "attached once");
    // SAFETY: the handler has the signature that `SA_SIGINFO` asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(
            libc::sigaction(libc::SIGTRAP, &raw const action, std::ptr::null_mut()),
            0
        );
    }
}

/// Where the executable lies in memory.
fn base() -> usize {
    unsafe extern "C" fn first(
        info: *mut libc::dl_phdr_info,
        _: usize,
        base: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: both are valid: the loader's, and what `base` below hands over.
        unsafe { *base.cast::<usize>() = (*info).dlpi_addr as usize };
        1
    }
    let mut base = 0_usize;
    // SAFETY: the callback writes one `usize`; the executable comes first.
    unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut base).cast()) };
    base
}

/// Descriptors of our notes.
fn notes(file: &ElfFile64<'_, LittleEndian>) -> Vec<Vec<u8>> {
    let endian = file.endian();
    let sections = file
        .elf_header()
        .sections(endian, file.data())
        .expect("it has sections");
    let (_, section) = sections
        .section_by_name(endian, SECTION.as_bytes())
        .expect("it has notes");
    let mut notes = section
        .notes(endian, file.data())
        .expect("they parse")
        .expect("there are some");
    let mut found = Vec::new();
    while let Some(note) = notes.next().expect("the note parses") {
        assert_eq!(note.name_bytes(), VENDOR);
        found.push(note.desc().to_vec());
    }
    found
}

/// Whether a marker lies at this link-time address. Of a function that the linker dropped, notes stay.
fn is_marker(file: &ElfFile64<'_, LittleEndian>, address: u64) -> bool {
    file.segments().any(|segment| {
        address
            .checked_sub(segment.address())
            .and_then(|offset| segment.data().ok()?.get(offset as usize..))
            .is_some_and(|bytes| bytes.starts_with(&MARKER_X86_64))
    })
}

fn break_at(address: usize) {
    let page = address & !4095;
    // SAFETY: a page of this executable, and the first byte of a marker in it, which is a nop.
    unsafe {
        let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        assert_eq!(libc::mprotect(page as *mut libc::c_void, 4096, all), 0);
        (address as *mut u8).write_volatile(BREAKPOINT);
    }
}

/// Runs after a breakpoint. The thread is at a marker, so it is in no allocation and holds no lock.
extern "C" fn handle(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands over the thread's context.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let register = |number: i32| registers[number as usize] as u64;
    let address = register(libc::REG_RIP) as usize - 1;
    let site = SITES
        .get()
        .and_then(|sites| sites.iter().find(|site| site.address == address))
        .expect("the breakpoint is ours");
    let arguments = [
        register(libc::REG_RDI),
        register(libc::REG_RSI),
        register(libc::REG_RDX),
        register(libc::REG_RCX),
        register(libc::REG_R8),
        register(libc::REG_R9),
    ];
    // SAFETY: the arguments are those that `exoscope_abi::probe` promises.
    let fired = unsafe { fired(site.probe, arguments) };
    FIRED.with_borrow_mut(|all| all.push(fired));
}

unsafe fn fired(probe: Probe, arguments: [u64; 6]) -> Fired {
    let [function, call, third, fourth, _, sixth] = arguments;
    let function = if probe.has_function() {
        // SAFETY: as promised by the caller.
        unsafe { CStr::from_ptr(function as *const libc::c_char) }
    } else {
        c""
    };
    let mut fired = Fired {
        probe,
        function: function.to_string_lossy().into_owned(),
        call,
        arguments,
        parent_word: if probe == Probe::Entry && third != 0 && third & TOKEN == 0 {
            // SAFETY: as promised by the caller, it is the state of an open call.
            unsafe { *(third as *const u64) }
        } else {
            0
        },
        fields: Vec::new(),
        truncated: false,
        returned: false,
        error: None,
    };
    if probe == Probe::Fields {
        // SAFETY: as promised by the caller.
        fired.fields = decode(unsafe { bytes(third, fourth as u32) });
        fired.truncated = fourth & TRUNCATED != 0;
        fired.returned = fourth & RETURNED != 0;
    }
    let detail = match probe {
        Probe::Error => sixth,
        Probe::Panic | Probe::ItemError => third,
        _ => 0,
    };
    if detail != 0 {
        // SAFETY: as promised by the caller.
        let detail = unsafe { &*(detail as *const ErrorDetail) };
        let text = |address, len| {
            // SAFETY: as promised by the caller.
            String::from_utf8_lossy(unsafe { bytes(address, len) }).into_owned()
        };
        fired.error = Some((
            text(detail.kind, detail.kind_len),
            text(detail.message, detail.message_len),
        ));
    }
    fired
}

unsafe fn bytes<'a>(address: u64, len: u32) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: as promised by the caller.
    unsafe { std::slice::from_raw_parts(address as *const u8, len as usize) }
}

/// Entries as `name=value`, with `…` where the value was cut.
fn decode(mut bytes: &[u8]) -> Vec<String> {
    let mut fields = Vec::new();
    while let Some((header, rest)) = bytes.split_at_checked(ENTRY_HEADER_LEN) {
        let kind = Kind::from_number(header[0] & !CUT).expect("the kind is known");
        let (name, rest) = rest.split_at(usize::from(header[1]));
        let (value, rest) = rest.split_at(usize::from(u16::from_le_bytes([header[2], header[3]])));
        let cut = if header[0] & CUT == 0 { "" } else { "…" };
        fields.push(format!(
            "{}={}{cut}",
            String::from_utf8_lossy(name),
            show(kind, value)
        ));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "the last entry is whole");
    fields
}

fn show(kind: Kind, value: &[u8]) -> String {
    let wide = || value.try_into().expect("16 bytes");
    let long = || value.try_into().expect("8 bytes");
    match kind {
        Kind::Formatted => String::from_utf8_lossy(value).into_owned(),
        Kind::Text => format!("{:?}", String::from_utf8_lossy(value)),
        Kind::Bytes => format!("b\"{}\"", value.escape_ascii()),
        Kind::Signed => format!("{}_i", i64::from_le_bytes(long())),
        Kind::Unsigned => format!("{}_u", u64::from_le_bytes(long())),
        Kind::Float => format!("{:?}_f", f64::from_le_bytes(long())),
        Kind::Bool => format!("{}", value == [1]),
        Kind::SignedWide => format!("{}_i128", i128::from_le_bytes(wide())),
        Kind::UnsignedWide => format!("{}_u128", u128::from_le_bytes(wide())),
    }
}
