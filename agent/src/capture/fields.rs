//! Fields as a JSON object: what the target encoded ([`exoscope_abi::field`]), for people and SQL.
//!
//! | the value | becomes |
//! |---|---|
//! | an integer, a finite float, a bool | a number or a bool |
//! | another float | a string: `NaN`, `inf`, `-inf` |
//! | text | a string; a byte that is no UTF-8 as `\xNN` |
//! | bytes | a string in which bytes that are no printable ASCII are escaped as in Rust: `\x00`, `\n` |

use std::borrow::Cow;
use std::fmt::Write as _;

use exoscope_abi::field::{CUT, ENTRY_HEADER_LEN, Kind};
use serde::Serialize;

use super::decode::whole_characters;

/// The object, and whether every entry made sense and was whole. What comes after an entry that
/// makes no sense is left out.
pub fn to_json(bytes: &[u8]) -> (String, bool) {
    let mut json = Vec::with_capacity(bytes.len() + bytes.len() / 8 + 2);
    json.push(b'{');
    let mut rest = bytes;
    let mut whole = true;
    while !rest.is_empty() {
        let Some((entry, after)) = Entry::split(rest) else {
            whole = false;
            break;
        };
        rest = after;
        whole &= !entry.cut;
        let before = json.len();
        if before > 1 {
            json.push(b',');
        }
        push(&lossless(entry.name), &mut json);
        json.push(b':');
        if entry.push_value(&mut json).is_none() {
            whole = false;
            json.truncate(before);
        }
    }
    json.push(b'}');
    let json = String::from_utf8(json).expect("texts and numbers were pushed, and nothing else");
    (json, whole)
}

/// One field, still encoded.
struct Entry<'a> {
    kind: Kind,
    /// The value is not whole.
    cut: bool,
    name: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The first entry and what comes after it.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[kind, name_len, low, high], rest) = bytes.split_first_chunk::<ENTRY_HEADER_LEN>()?;
        let (name, rest) = rest.split_at_checked(usize::from(name_len))?;
        let value_len = u16::from_le_bytes([low, high]);
        let (bytes, rest) = rest.split_at_checked(usize::from(value_len))?;
        let entry = Self {
            kind: Kind::from_number(kind & !CUT)?,
            cut: kind & CUT != 0,
            name,
            bytes,
        };
        Some((entry, rest))
    }

    /// Appends the value in JSON; `None` where its length is not that of its kind.
    fn push_value(&self, json: &mut Vec<u8>) -> Option<()> {
        match self.kind {
            Kind::Formatted | Kind::Text => push(&lossless(self.text()), json),
            Kind::Bytes => push(&self.bytes.escape_ascii().to_string(), json),
            Kind::Signed => push(&i64::from_le_bytes(self.exactly()?), json),
            Kind::Unsigned => push(&u64::from_le_bytes(self.exactly()?), json),
            Kind::SignedWide => push(&i128::from_le_bytes(self.exactly()?), json),
            Kind::UnsignedWide => push(&u128::from_le_bytes(self.exactly()?), json),
            Kind::Bool => match self.exactly()? {
                [0] => push(&false, json),
                [1] => push(&true, json),
                _ => return None,
            },
            Kind::Float => {
                let value = f64::from_le_bytes(self.exactly()?);
                if value.is_finite() {
                    push(&value, json);
                } else {
                    push(&value.to_string(), json);
                }
            }
        }
        Some(())
    }

    fn exactly<const N: usize>(&self) -> Option<[u8; N]> {
        self.bytes.try_into().ok()
    }

    /// The bytes of a text, without the part of a character at which it was cut.
    fn text(&self) -> &'a [u8] {
        if self.cut {
            whole_characters(self.bytes)
        } else {
            self.bytes
        }
    }
}

/// Text in which bytes that are no UTF-8 stand as `\xNN`.
fn lossless(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    Cow::Owned(text)
}

/// Appends a text or a number in JSON.
fn push<T: Serialize + ?Sized>(value: &T, json: &mut Vec<u8>) {
    // Neither can fail to be written to memory.
    let _ = serde_json::to_writer(json, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u8, name: &str, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(value.len()).unwrap().to_le_bytes();
        let header = [kind, u8::try_from(name.len()).unwrap(), len[0], len[1]];
        [&header[..], name.as_bytes(), value].concat()
    }

    fn json(entries: &[Vec<u8>]) -> (String, bool) {
        to_json(&entries.concat())
    }

    #[test]
    fn every_kind_becomes_json() {
        let (text, whole) = json(&[
            entry(Kind::Formatted as u8, "shown", b"Point { x: 1 }"),
            entry(Kind::Text as u8, "text", "gr\u{fc}n\0".as_bytes()),
            entry(Kind::Bytes as u8, "bytes", b"a\xff\0\n"),
            entry(Kind::Signed as u8, "signed", &(-5_i64).to_le_bytes()),
            entry(Kind::Unsigned as u8, "unsigned", &u64::MAX.to_le_bytes()),
            entry(Kind::Float as u8, "float", &1.5_f64.to_le_bytes()),
            entry(Kind::Float as u8, "none", &f64::NAN.to_le_bytes()),
            entry(Kind::Bool as u8, "yes", &[1]),
            entry(Kind::SignedWide as u8, "wide", &i128::MIN.to_le_bytes()),
        ]);
        assert!(whole);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["shown"], "Point { x: 1 }");
        assert_eq!(value["text"], "gr\u{fc}n\0");
        assert_eq!(value["bytes"], r"a\xff\x00\n");
        assert_eq!(value["signed"], -5);
        assert_eq!(value["unsigned"], u64::MAX);
        assert_eq!(value["float"], 1.5);
        assert_eq!(value["none"], "NaN");
        assert_eq!(value["yes"], true);
        assert!(text.contains(&format!("\"wide\":{}", i128::MIN)), "{text}");
    }

    #[test]
    fn bytes_that_are_no_text_survive() {
        let (text, whole) = json(&[entry(Kind::Text as u8, "a", b"x\xffy")]);
        assert_eq!((text.as_str(), whole), (r#"{"a":"x\\xffy"}"#, true));
    }

    #[test]
    fn a_cut_text_ends_with_a_whole_character() {
        let cut = &"gr\u{fc}n".as_bytes()[..3];
        let (text, whole) = json(&[entry(Kind::Text as u8 | CUT, "a", cut)]);
        assert_eq!((text.as_str(), whole), (r#"{"a":"gr"}"#, false));
    }

    #[test]
    fn nonsense_is_left_out() {
        let good = entry(Kind::Unsigned as u8, "n", &7_u64.to_le_bytes());
        let short = entry(Kind::Unsigned as u8, "m", &[1]);
        assert_eq!(
            json(&[short, good.clone()]),
            (r#"{"n":7}"#.to_owned(), false)
        );
        assert_eq!(
            json(&[good.clone(), entry(99, "m", b"")]),
            (r#"{"n":7}"#.to_owned(), false)
        );
        for len in 0..good.len() {
            let (text, whole) = to_json(&good[..len]);
            assert_eq!((text.as_str(), whole), ("{}", len == 0));
        }
    }
}
