//! The kernel's description of its own types (BTF): where a member lies in a structure, and the
//! number of a function. Format: `Documentation/bpf/btf.rst` of Linux.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Where the running kernel describes its types.
pub const BTF: &str = "/sys/kernel/btf/vmlinux";

/// `magic` of the header.
const MAGIC: u16 = 0xeb9f;
/// Bytes of a type before what its kind adds.
const TYPE_LEN: usize = 12;
/// Bytes of a member of a structure.
const MEMBER_LEN: usize = 12;
/// Types behind names, arrays of arrays, and the like, inside each other at most.
const DEPTH: usize = 32;
/// Structures without a name that are searched for one member, inside each other or not.
const NAMELESS: usize = 1024;

/// Kinds of types, as far as they are told apart.
mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const FWD: u32 = 7;
    pub const TYPEDEF: u32 = 8;
    pub const VOLATILE: u32 = 9;
    pub const CONST: u32 = 10;
    pub const RESTRICT: u32 = 11;
    pub const FUNC: u32 = 12;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const FLOAT: u32 = 16;
    pub const DECL_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// Why something of the kernel's types can't be told.
#[derive(Debug, thiserror::Error)]
pub enum TypesError {
    /// There is no description.
    #[error("can't read {BTF} ({0}); a kernel with CONFIG_DEBUG_INFO_BTF has it")]
    Unreadable(#[from] std::io::Error),
    /// It is not what it should be.
    #[error("{BTF} is no description of types that exoscope can read: {0}")]
    Malformed(&'static str),
    /// The kernel has no such function, structure or member.
    #[error("the kernel has no {0}")]
    Missing(String),
}

/// A member of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bytes from the beginning of the structure.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
}

/// The types of a kernel.
pub struct KernelTypes {
    bytes: Vec<u8>,
    /// Where each type begins in `bytes`; that of number 0, which is no type, is 0.
    types: Vec<usize>,
    /// Where the names begin and end.
    names: (usize, usize),
}

impl KernelTypes {
    /// Those of the running kernel: the same ones for all of this process that have them at one time,
    /// because they are megabytes that take milliseconds to read.
    ///
    /// # Errors
    /// Where the kernel does not describe its types.
    pub fn of_this_kernel() -> Result<Arc<Self>, TypesError> {
        static SHARED: Mutex<Weak<KernelTypes>> = Mutex::new(Weak::new());
        // Whoever panicked had not changed it.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(types) = shared.upgrade() {
            return Ok(types);
        }
        let types = Arc::new(Self::read(Path::new(BTF))?);
        *shared = Arc::downgrade(&types);
        Ok(types)
    }

    fn read(path: &Path) -> Result<Self, TypesError> {
        Self::parse(fs::read(path)?)
    }

    /// Reads a description.
    ///
    /// # Errors
    /// Where the bytes are none.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, TypesError> {
        let malformed = TypesError::Malformed;
        if half(&bytes, 0) != Some(MAGIC) {
            return Err(malformed("it does not begin like one"));
        }
        let header = |at| word(&bytes, at).map(|value| value as usize);
        let [
            Some(header_len),
            Some(types),
            Some(types_len),
            Some(names),
            Some(names_len),
        ] = [4, 8, 12, 16, 20].map(header)
        else {
            return Err(malformed("its header is cut off"));
        };
        // None of these sums overflows: each number has 32 bits.
        let types = header_len + types;
        let names = header_len + names;
        let (types_end, names_end) = (types + types_len, names + names_len);
        if types_end.max(names_end) > bytes.len() {
            return Err(malformed("it is cut off"));
        }
        let types = index(&bytes, types, types_end).ok_or(malformed("its types are broken"))?;
        Ok(Self {
            bytes,
            types,
            names: (names, names_end),
        })
    }

    /// Number of a function.
    ///
    /// # Errors
    /// Where there is no such function.
    pub fn function(&self, name: &str) -> Result<u32, TypesError> {
        self.find(kind::FUNC, name)
            .ok_or_else(|| TypesError::Missing(format!("function {name}")))
    }

    /// Number of a name that stands for another type.
    ///
    /// # Errors
    /// Where there is no such name.
    pub fn type_alias(&self, name: &str) -> Result<u32, TypesError> {
        self.find(kind::TYPEDEF, name)
            .ok_or_else(|| TypesError::Missing(format!("type {name}")))
    }

    /// Bytes of the structure `structure`.
    ///
    /// # Errors
    /// Where there is no such structure.
    pub fn size_of(&self, structure: &str) -> Result<u32, TypesError> {
        self.find(kind::STRUCT, structure)
            .and_then(|id| self.size(id, DEPTH))
            .ok_or_else(|| TypesError::Missing(format!("structure {structure}")))
    }

    /// A member of the structure `structure`; `path` leads to it, such as `se.sum_exec_runtime`.
    ///
    /// # Errors
    /// Where there is no such structure or member, or where it does not begin at a whole byte.
    pub fn member(&self, structure: &str, path: &str) -> Result<Member, TypesError> {
        let missing = || TypesError::Missing(format!("member {structure}.{path}"));
        let mut of = self.find(kind::STRUCT, structure).ok_or_else(missing)?;
        let mut bits = 0;
        for name in path.split('.') {
            let (offset, of_type) = self
                .find_member(of, name, &mut { NAMELESS })
                .ok_or_else(missing)?;
            bits += offset;
            of = self.bare(of_type).ok_or_else(missing)?;
        }
        let size = self.size(of, DEPTH).ok_or_else(missing)?;
        let whole = bits % 8 == 0;
        let offset = u32::try_from(bits / 8).ok().filter(|_| whole);
        let offset = offset.ok_or_else(missing)?;
        Ok(Member { offset, size })
    }

    fn find(&self, kind: u32, name: &str) -> Option<u32> {
        let is =
            |&id: &u32| self.kind(id) == Some(kind) && self.type_name(id) == Some(name.as_bytes());
        (1..self.types.len() as u32).find(is)
    }

    /// Bits from the beginning of the structure or union `of` to its member `name`, and the
    /// member's type. At most `left` structures are searched.
    fn find_member(&self, of: u32, name: &str, left: &mut usize) -> Option<(u64, u32)> {
        let at = self.at(of)?;
        *left = left.checked_sub(1)?;
        if !matches!(self.kind(of), Some(kind::STRUCT | kind::UNION)) {
            return None;
        }
        let info = self.info(of)?;
        let with_width = info >> 31 != 0;
        (0..(info & 0xffff) as usize).find_map(|index| {
            let member = at + TYPE_LEN + index * MEMBER_LEN;
            let [own_name, of_type, offset] =
                [0, 4, 8].map(|part| word(&self.bytes, member + part));
            let (of_type, offset) = (of_type?, offset?);
            if with_width && offset >> 24 != 0 {
                // A bit field.
                return None;
            }
            let offset = u64::from(offset);
            match self.name(own_name?)? {
                [] => {
                    let (within, found) = self.find_member(self.bare(of_type)?, name, left)?;
                    Some((offset + within, found))
                }
                own => (own == name.as_bytes()).then_some((offset, of_type)),
            }
        })
    }

    /// The type behind other names and qualifiers of it.
    fn bare(&self, mut id: u32) -> Option<u32> {
        for _ in 0..DEPTH {
            match self.kind(id)? {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = self.size_or_type(id)?
                }
                _ => return Some(id),
            }
        }
        None
    }

    /// Bytes of a value of a type.
    fn size(&self, id: u32, depth: usize) -> Option<u32> {
        if depth == 0 {
            return None;
        }
        let id = self.bare(id)?;
        match self.kind(id)? {
            kind::PTR => Some(8),
            kind::ARRAY => {
                let at = self.at(id)? + TYPE_LEN;
                let element = self.size(word(&self.bytes, at)?, depth - 1)?;
                element.checked_mul(word(&self.bytes, at + 8)?)
            }
            kind::INT | kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::FLOAT => {
                self.size_or_type(id)
            }
            _ => None,
        }
    }

    fn at(&self, id: u32) -> Option<usize> {
        let at = *self.types.get(id as usize)?;
        (at != 0).then_some(at)
    }

    fn info(&self, id: u32) -> Option<u32> {
        word(&self.bytes, self.at(id)? + 4)
    }

    fn kind(&self, id: u32) -> Option<u32> {
        Some(self.info(id)? >> 24 & 0x1f)
    }

    fn size_or_type(&self, id: u32) -> Option<u32> {
        word(&self.bytes, self.at(id)? + 8)
    }

    fn type_name(&self, id: u32) -> Option<&[u8]> {
        self.name(word(&self.bytes, self.at(id)?)?)
    }

    fn name(&self, offset: u32) -> Option<&[u8]> {
        let names = self.bytes.get(self.names.0..self.names.1)?;
        let name = names.get(offset as usize..)?;
        Some(&name[..name.iter().position(|&byte| byte == 0)?])
    }
}

/// Where each type between `at` and `end` begins; `None` where they don't fill that space.
fn index(bytes: &[u8], mut at: usize, end: usize) -> Option<Vec<usize>> {
    let mut types = vec![0];
    while at < end {
        types.push(at);
        let info = word(bytes, at + 4)?;
        at += TYPE_LEN + added(info >> 24 & 0x1f, (info & 0xffff) as usize)?;
    }
    (at == end).then_some(types)
}

/// Bytes that a kind adds to a type of `count` members, arguments or values.
fn added(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * count,
        kind::ENUM | kind::FUNC_PROTO => 8 * count,
        kind::PTR
        | kind::FWD
        | kind::TYPEDEF
        | kind::VOLATILE
        | kind::CONST
        | kind::RESTRICT
        | kind::FUNC
        | kind::FLOAT
        | kind::TYPE_TAG => 0,
        _ => return None,
    })
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this_kernel() -> Arc<KernelTypes> {
        KernelTypes::of_this_kernel().expect("this kernel describes its types")
    }

    #[test]
    fn members_lie_where_the_kernel_says() {
        let types = this_kernel();
        let name = types.member("task_struct", "comm").unwrap();
        assert_eq!(name.size, 16);
        // A member of a member lies in it.
        let entity = types.member("task_struct", "se").unwrap();
        let runtime = types.member("task_struct", "se.sum_exec_runtime").unwrap();
        let within = types.member("sched_entity", "sum_exec_runtime").unwrap();
        assert_eq!(runtime.offset, entity.offset + within.offset);
        assert_eq!(runtime.size, 8);
        assert_eq!(types.member("task_struct", "signal").unwrap().size, 8);
        assert_eq!(types.member("task_struct", "pid").unwrap().size, 4);
        // In `struct page`, `flags` is followed by unions without names.
        let mapping = types.member("page", "mapping").unwrap();
        assert!((8..64).contains(&mapping.offset), "{mapping:?}");
    }

    #[test]
    fn who_asks_meanwhile_gets_the_same() {
        assert!(Arc::ptr_eq(&this_kernel(), &this_kernel()));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let types = this_kernel();
        let missing = |error: TypesError| error.to_string();
        let error = types.member("task_struct", "se.no_such").unwrap_err();
        assert_eq!(
            missing(error),
            "the kernel has no member task_struct.se.no_such"
        );
        let error = types.member("no_such", "pid").unwrap_err();
        assert_eq!(missing(error), "the kernel has no member no_such.pid");
        let error = types.function("no_such").unwrap_err();
        assert_eq!(missing(error), "the kernel has no function no_such");
        assert!(types.function("bpf_iter_task").is_ok());
    }

    /// A small description: `struct s { int a; struct { int b; }; }`, and a type that names itself.
    fn small() -> Vec<u8> {
        let names = b"\0int\0s\0a\0b\0t\0";
        let types: [u32; 29] = [
            1,
            kind::INT << 24,
            4,
            32, // 1: int
            0,
            kind::STRUCT << 24 | 1,
            4,
            9,
            1,
            0, // 2: struct { int b; }
            5,
            kind::STRUCT << 24 | 2,
            8,
            7,
            1,
            0,
            0,
            2,
            32, // 3: struct s
            11,
            kind::TYPEDEF << 24,
            4, // 4: typedef t t
            11,
            kind::STRUCT << 24 | 1,
            4,
            7,
            4,
            0, // 5: struct t { t a; }
            0,
        ];
        let types: Vec<u8> = types[..28]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        let mut bytes = Vec::from(MAGIC.to_ne_bytes());
        bytes.extend([1, 0]);
        let header = [
            24,
            0,
            types.len() as u32,
            types.len() as u32,
            names.len() as u32,
        ];
        bytes.extend(header.iter().flat_map(|word| word.to_ne_bytes()));
        bytes.extend(types);
        bytes.extend(names);
        bytes
    }

    #[test]
    fn members_of_structures_without_a_name_are_found() {
        let types = KernelTypes::parse(small()).unwrap();
        assert_eq!(
            types.member("s", "a").unwrap(),
            Member { offset: 0, size: 4 }
        );
        assert_eq!(
            types.member("s", "b").unwrap(),
            Member { offset: 4, size: 4 }
        );
        assert!(types.member("t", "a").is_err(), "its type never ends");
    }

    #[test]
    fn broken_descriptions_are_refused_or_answer_nothing() {
        let good = small();
        for len in 0..good.len() {
            // Names at the end may be missing; nothing else may.
            if let Ok(types) = KernelTypes::parse(good[..len].to_vec()) {
                panic!(
                    "{len} bytes of {} gave {} types",
                    good.len(),
                    types.types.len()
                );
            }
        }
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                if let Ok(types) = KernelTypes::parse(bytes) {
                    for path in ["a", "b", "a.a", "b.b"] {
                        let _ = types.member("s", path);
                        let _ = types.member("t", path);
                    }
                    let _ = types.function("s");
                }
            }
        }
    }
}
