//! From addresses to functions, with those that the compiler inlined.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;

use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{CodeInfo, Input, Sym, Symbolized, Symbolizer};

use super::memory_map::{MemoryMap, Module, Place};
use crate::event::Frame;

/// What an address is called that lies in no mapping.
pub const UNKNOWN: &str = "[unknown]";

/// Addresses whose functions are remembered.
const REMEMBERED: usize = 1 << 18;
/// Characters of a name that are kept.
const NAME_LEN: usize = 1024;

/// Functions in which threads and programs begin, in glibc and in musl.
const BEGINNINGS: &[&str] = &[
    "_start",
    "_start_c",
    "__libc_start_main",
    "__libc_start_main_impl",
    "__libc_start_call_main",
    "libc_start_main_stage2",
    "main",
    "clone",
    "__clone",
    "clone3",
    "__clone3",
    "start_thread",
];

/// Functions that one address stands for, the outer one first: indices of frames.
pub type Functions = Rc<[u32]>;

/// Where a thread may have begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// In a function that is known to begin threads.
    Named,
    /// Somewhere in a C library without names: what begins threads has none in its table.
    Nameless,
}

impl Beginning {
    fn of(frame: &Frame) -> Option<Self> {
        if BEGINNINGS.contains(&frame.function.as_str()) {
            return Some(Self::Named);
        }
        let c_library = ["libc.so", "libc-2", "libpthread", "ld-musl"];
        let nameless = frame.function.starts_with('[');
        let from_there = |start: &&str| frame.module.starts_with(*start);
        (nameless && c_library.iter().any(from_there)).then_some(Self::Nameless)
    }
}

/// Gives functions to addresses.
pub struct Symbols {
    symbolizer: Symbolizer,
    /// By module and link-time address.
    known: HashMap<(usize, u64), Functions>,
    numbers: HashMap<Frame, u32>,
    /// By index of a frame.
    beginnings: Vec<Option<Beginning>>,
    /// Frames that nobody has taken yet.
    new: Vec<Frame>,
}

impl Default for Symbols {
    fn default() -> Self {
        // A file that is open stays what it is.
        let symbolizer = Symbolizer::builder().enable_auto_reload(false).build();
        Self {
            symbolizer,
            known: HashMap::new(),
            numbers: HashMap::new(),
            beginnings: Vec::new(),
            new: Vec::new(),
        }
    }
}

impl Symbols {
    /// The functions at an address of the target.
    pub fn functions(&mut self, map: &MemoryMap, address: u64) -> Functions {
        match map.find(address) {
            None => self.unknown(),
            Some((Place::Named(name), _)) => self.one(name.clone(), ""),
            Some((Place::Module(number), offset)) => match map.get(*number) {
                Some(module) => self.in_module(*number, module, offset),
                None => self.unknown(),
            },
        }
    }

    /// What stands for an address of no code.
    pub fn unknown(&mut self) -> Functions {
        self.one(UNKNOWN.to_owned(), "")
    }

    /// The frames since the last time, in the order of their indices.
    pub fn take_new(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.new)
    }

    /// Whether a thread may have begun in a frame.
    pub fn beginning(&self, frame: u32) -> Option<Beginning> {
        self.beginnings.get(frame as usize).copied().flatten()
    }

    fn one(&mut self, function: String, module: &str) -> Functions {
        let frame = Frame {
            function,
            file: None,
            line: None,
            module: module.to_owned(),
            inlined: false,
        };
        [self.number(frame)].into()
    }

    fn in_module(&mut self, number: usize, module: &Module, offset: u64) -> Functions {
        let Some(address) = module.address(offset) else {
            return self.one(format!("[{}]", module.name), &module.name);
        };
        if let Some(functions) = self.known.get(&(number, address)) {
            return Rc::clone(functions);
        }
        let found = module.symbols.as_deref();
        let frames = found.and_then(|path| frames(&self.symbolizer, path, &module.name, address));
        let functions: Functions = match frames {
            Some(frames) => frames.into_iter().map(|frame| self.number(frame)).collect(),
            None => self.one(format!("[{}]", module.name), &module.name),
        };
        if self.known.len() == REMEMBERED {
            self.known.clear();
        }
        self.known.insert((number, address), Rc::clone(&functions));
        functions
    }

    fn number(&mut self, frame: Frame) -> u32 {
        let next = self.numbers.len() as u32;
        *self.numbers.entry(frame).or_insert_with_key(|frame| {
            self.beginnings.push(Beginning::of(frame));
            self.new.push(frame.clone());
            next
        })
    }
}

/// The functions at a link-time address; `None` where the file has no name for it.
fn frames(symbolizer: &Symbolizer, path: &Path, module: &str, address: u64) -> Option<Vec<Frame>> {
    let mut elf = Elf::new(path);
    elf.debug_syms = false;
    let symbols = Source::Elf(elf.clone());
    elf.debug_syms = true;
    let debug_information = Source::Elf(elf);
    let ask = |source| {
        let found = symbolizer.symbolize_single(source, Input::VirtOffset(address));
        match found.ok()? {
            Symbolized::Sym(symbol) => Some(symbol),
            Symbolized::Unknown(_) => None,
        }
    };
    // What the file says is not ours: where it leads the parser astray, the address has no name.
    let frames = catch_unwind(AssertUnwindSafe(|| {
        let symbol = ask(&symbols);
        let described = ask(&debug_information).or_else(|| symbol.clone())?;
        let mut frames = frames_of(&described, module);
        // Little debug information knows a function's name without its path.
        if let (Some(symbol), Some(outer)) = (symbol, frames.first_mut()) {
            outer.function = shortened(&symbol.name);
        }
        Some(frames)
    }));
    frames.ok().flatten()
}

fn shortened(name: &str) -> String {
    name.chars().take(NAME_LEN).collect()
}

fn frames_of(symbol: &Sym<'_>, module: &str) -> Vec<Frame> {
    let frame = |name: &str, code: Option<&CodeInfo<'_>>, inlined| Frame {
        function: shortened(name),
        file: code.map(|code| code.to_path().to_string_lossy().into_owned()),
        line: code.and_then(|code| code.line).filter(|line| *line > 0),
        module: module.to_owned(),
        inlined,
    };
    let outer = frame(&symbol.name, symbol.code_info.as_deref(), false);
    let inlined = symbol
        .inlined
        .iter()
        .map(|function| frame(&function.name, function.code_info.as_ref(), true));
    std::iter::once(outer).chain(inlined).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::process::Target;

    #[inline(never)]
    fn here() -> u64 {
        here as *const () as u64
    }

    fn own_map() -> MemoryMap {
        let mut map = MemoryMap::default();
        map.refresh(&Target::open(std::process::id()).unwrap());
        map
    }

    #[test]
    fn an_address_of_this_program_has_a_name_a_file_and_a_line() {
        let map = own_map();
        let mut symbols = Symbols::default();
        let functions = symbols.functions(&map, here());
        let frames = symbols.take_new();
        let outer = &frames[functions[0] as usize];
        assert_eq!(
            outer.function,
            "exoscope_agent::sample::symbols::tests::here"
        );
        let file = outer.file.as_deref().unwrap();
        assert!(file.ends_with("agent/src/sample/symbols.rs"), "{file}");
        assert!(outer.line.is_some());
        assert_eq!(symbols.functions(&map, here()), functions);
        assert!(symbols.take_new().is_empty(), "frames are new once");
    }

    #[test]
    fn threads_begin_in_the_c_library() {
        let of = |function: &str, module: &str| {
            Beginning::of(&Frame {
                function: function.into(),
                file: None,
                line: None,
                module: module.into(),
                inlined: false,
            })
        };
        assert_eq!(of("start_thread", "libc.so.6"), Some(Beginning::Named));
        assert_eq!(of("_start", "static-program"), Some(Beginning::Named));
        assert_eq!(of("[libc.so.6]", "libc.so.6"), Some(Beginning::Nameless));
        assert_eq!(of("_int_free", "libc.so.6"), None);
        assert_eq!(of("[libm.so.6]", "libm.so.6"), None);
        assert_eq!(of("app::main", "app"), None);
    }

    #[test]
    fn addresses_of_no_code_are_unknown() {
        let map = own_map();
        let mut symbols = Symbols::default();
        for address in [0, 1, u64::MAX, 1 << 63, 0xdead_beef_0000] {
            assert_eq!(*symbols.functions(&map, address), [0]);
        }
        let frames = symbols.take_new();
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0].function, UNKNOWN);
    }
}
