//! What an error says, written to the stack while somebody wants to know it.

use core::fmt;

use exoscope_abi::probe::ErrorDetail;
use exoscope_abi::record::MESSAGE_LEN;

use crate::contain::contain;
use crate::inspect::Inspect;
use crate::marker::Function;

/// Calls `report` with the address of the error's [`ErrorDetail`], or with 0 while nobody wants it.
#[inline(always)]
pub(crate) fn with<F: Function, R, I: Inspect<R>>(returned: &R, report: impl FnOnce(usize)) {
    if !F::detail_wanted() {
        return report(0);
    }
    let mut message = Message {
        bytes: [0; MESSAGE_LEN],
        len: 0,
        truncated: false,
    };
    // Where the formatting fails or panics, the message is what was written until then.
    contain(|| _ = I::describe(returned, &mut message));
    let kind = I::kind();
    let detail = ErrorDetail {
        kind: kind.as_ptr() as u64,
        message: if message.len == 0 {
            0
        } else {
            message.bytes.as_ptr() as u64
        },
        kind_len: kind.len() as u32,
        message_len: message.len as u32,
        truncated: u32::from(message.truncated),
        reserved: 0,
    };
    report(&raw const detail as usize);
}

/// A message on the stack; what does not fit is left out.
struct Message {
    bytes: [u8; MESSAGE_LEN],
    len: usize,
    truncated: bool,
}

impl fmt::Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let taken = text.len().min(MESSAGE_LEN - self.len);
        self.bytes[self.len..self.len + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        if taken < text.len() {
            self.truncated = true;
            // Formatting ends early: nothing more would fit.
            return Err(fmt::Error);
        }
        Ok(())
    }
}
