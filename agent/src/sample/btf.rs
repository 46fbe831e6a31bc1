//! Where a field lies in a structure of the running kernel, as the kernel itself describes it.
//!
//! The format: `Documentation/bpf/btf.rst` of the kernel's sources.

use std::collections::HashMap;
use std::path::Path;

/// Where the kernel describes its types.
pub const PATH: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const TYPE_LEN: usize = 12;
const STRUCT: u32 = 4;
const UNION: u32 = 5;

/// Bytes after a type of this kind, for each of its members and besides; `None` for an unknown kind.
const fn extra(kind: u32) -> Option<(usize, usize)> {
    Some(match kind {
        1 | 14 | 17 => (0, 4),
        2 | 7..=12 | 16 | 18 => (0, 0),
        3 => (0, 12),
        STRUCT | UNION | 15 | 19 => (12, 0),
        6 | 13 => (8, 0),
        _ => return None,
    })
}

/// The types of a kernel.
pub struct Btf {
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Where each type begins in `types`; the first one is number 1.
    starts: Vec<usize>,
    structs: HashMap<String, u32>,
}

impl Btf {
    /// The running kernel's; `None` where it does not describe its types.
    pub fn of_kernel() -> Option<Self> {
        Self::parse(&std::fs::read(Path::new(PATH)).ok()?)
    }

    /// The types in the bytes of a file.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if u16::from_ne_bytes(*bytes.first_chunk()?) != MAGIC {
            return None;
        }
        let header = |index: usize| word(bytes, 4 + 4 * index).map(|value| value as usize);
        let part = |offset: usize, len: usize| {
            let start = header(0)?.checked_add(header(offset)?)?;
            bytes.get(start..start.checked_add(header(len)?)?)
        };
        let mut btf = Self {
            types: part(1, 2)?.to_vec(),
            strings: part(3, 4)?.to_vec(),
            starts: Vec::new(),
            structs: HashMap::new(),
        };
        btf.index()?;
        Some(btf)
    }

    fn index(&mut self) -> Option<()> {
        let mut at = 0;
        while at + TYPE_LEN <= self.types.len() {
            self.starts.push(at);
            let info = word(&self.types, at + 4)?;
            let (kind, members) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            if kind == STRUCT {
                let name = self.string(word(&self.types, at)?)?.to_owned();
                let number = self.starts.len() as u32;
                self.structs.entry(name).or_insert(number);
            }
            let (each, besides) = extra(kind)?;
            at += TYPE_LEN + members * each + besides;
        }
        Some(())
    }

    /// Bytes from the start of a structure to the field that `path` leads to: a field, a field of
    /// that field, and so on. Structures without a name are looked through.
    pub fn offset(&self, structure: &str, path: &[&str]) -> Option<u64> {
        let mut within = *self.structs.get(structure)?;
        let mut offset = 0;
        for field in path {
            let (bits, kind) = self.field(within, field, 8)?;
            offset += u64::from(bits / 8);
            within = kind;
        }
        Some(offset)
    }

    /// Offset in bits and type of a field; `depth` bounds structures within each other.
    fn field(&self, structure: u32, name: &str, depth: u32) -> Option<(u32, u32)> {
        let start = *self.starts.get((structure as usize).checked_sub(1)?)?;
        let info = word(&self.types, start + 4)?;
        if !matches!(info >> 24 & 0x1f, STRUCT | UNION) || depth == 0 {
            return None;
        }
        // Bit fields share the word with the offset.
        let mask = if info >> 31 == 1 { 0xff_ffff } else { u32::MAX };
        (0..(info & 0xffff) as usize).find_map(|member| {
            let at = start + TYPE_LEN + member * 12;
            let found = self.string(word(&self.types, at)?)?;
            let kind = word(&self.types, at + 4)?;
            let bits = word(&self.types, at + 8)? & mask;
            if found == name {
                Some((bits, kind))
            } else if found.is_empty() {
                let (inner, kind) = self.field(kind, name, depth - 1)?;
                Some((bits + inner, kind))
            } else {
                None
            }
        })
    }

    fn string(&self, offset: u32) -> Option<&str> {
        let rest = self.strings.get(offset as usize..)?;
        let end = rest.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(&rest[..end]).ok()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int a; union { struct inner { int b; int c; }; }; }`, offsets in bits.
    fn example() -> Vec<u8> {
        let strings = b"\0int\0outer\0a\0inner\0b\0c\0";
        let name = |text: &str| {
            let text = format!("\0{text}\0");
            let at = strings
                .windows(text.len())
                .position(|part| part == text.as_bytes());
            at.unwrap() as u32 + 1
        };
        let kind = |kind: u32, members: u32| kind << 24 | members;
        let types: Vec<u32> = [
            vec![name("int"), kind(1, 0), 4, 32],
            vec![
                name("inner"),
                kind(STRUCT, 2),
                8,
                name("b"),
                1,
                0,
                name("c"),
                1,
                32,
            ],
            vec![0, kind(UNION, 1), 8, 0, 2, 0],
            vec![
                name("outer"),
                kind(STRUCT, 2),
                12,
                name("a"),
                1,
                0,
                0,
                3,
                32,
            ],
        ]
        .concat();
        let len = 4 * types.len() as u32;
        let header = [24, 0, len, len, strings.len() as u32];
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        bytes.extend(
            header
                .iter()
                .chain(&types)
                .flat_map(|word| word.to_ne_bytes()),
        );
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn fields_are_found_through_structures_without_a_name() {
        let btf = Btf::parse(&example()).unwrap();
        assert_eq!(btf.offset("outer", &["a"]), Some(0));
        assert_eq!(btf.offset("outer", &["c"]), Some(8));
        assert_eq!(btf.offset("inner", &["c"]), Some(4));
        assert_eq!(btf.offset("outer", &["d"]), None);
        assert_eq!(btf.offset("outer", &["a", "c"]), None);
    }

    #[test]
    fn broken_files_are_refused_or_lack_fields() {
        let bytes = example();
        for len in 0..bytes.len() {
            if let Some(btf) = Btf::parse(&bytes[..len]) {
                btf.offset("outer", &["c"]);
            }
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] = 0xff;
            if let Some(btf) = Btf::parse(&bytes) {
                btf.offset("outer", &["c"]);
            }
        }
    }
}
