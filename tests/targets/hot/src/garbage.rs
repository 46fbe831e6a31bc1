//! A function whose frame pointer leads nowhere, or to a chain of addresses of no code.
//!
//! | function | calls |
//! |---|---|
//! | `astray` | one for every 3 ms of `--cpu-ms` |

use std::arch::asm;

use crate::clock::cpu_ns;

/// What a frame pointer points at: the next one, and a return address.
type Fake = [u64; 2];

/// Runs with `frame` as the frame pointer for a while.
#[exoscope::instrument]
#[inline(never)]
fn astray(frame: u64) {
    // SAFETY: the loop touches no memory, and the frame pointer is put back.
    unsafe {
        asm!(
            "push rbp",
            "mov rbp, {frame}",
            "2: dec {rounds}",
            "jnz 2b",
            "pop rbp",
            frame = in(reg) frame,
            rounds = inout(reg) 8_000_000_u64 => _,
        );
    }
}

/// Works for about `cpu_ns`.
pub fn run(cpu_ns_wanted: u64) {
    let mut chain: Vec<Fake> = (0..300).map(|n| [0, 0xdead_0000 + n]).collect();
    let first = chain.as_ptr() as u64;
    for (n, fake) in chain.iter_mut().enumerate() {
        fake[0] = first + 16 * (n as u64 + 1);
    }
    let begin = cpu_ns();
    for frame in [first, 1, 8, !7, 0xffff_8000_0000_0000, first + 3]
        .into_iter()
        .cycle()
    {
        astray(frame);
        if cpu_ns() - begin > cpu_ns_wanted {
            break;
        }
    }
}
