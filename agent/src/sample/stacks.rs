//! Stacks of frames: each of them once, and whether it is whole.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use super::memory_map::MemoryMap;
use super::symbols::{Beginning, Symbols};
use crate::event::Stack;

/// Stacks of addresses that are remembered.
const REMEMBERED: usize = 1 << 14;

/// Makes stacks of functions out of stacks of addresses.
#[derive(Default)]
pub struct Stacks {
    /// What gives names.
    pub symbols: Symbols,
    /// By addresses.
    known: HashMap<Vec<u64>, u32>,
    /// By [`Stacks::key`]: whole stacks would take more memory than a long session has.
    numbers: HashMap<u128, u32>,
    hashers: [RandomState; 2],
    new: Vec<Stack>,
}

impl Stacks {
    /// The index of a stack: where the thread was, then its return addresses, the innermost first.
    pub fn number(&mut self, map: &MemoryMap, addresses: &[u64]) -> u32 {
        if let Some(number) = self.known.get(addresses) {
            return *number;
        }
        let stack = self.stack(map, addresses);
        let next = self.numbers.len() as u32;
        let number = *self.numbers.entry(self.key(&stack)).or_insert(next);
        if number == next {
            self.new.push(stack);
        }
        if self.known.len() == REMEMBERED {
            self.known.clear();
        }
        self.known.insert(addresses.to_vec(), number);
        number
    }

    /// The stacks since the last time, in the order of their indices.
    pub fn take_new(&mut self) -> Vec<Stack> {
        std::mem::take(&mut self.new)
    }

    /// Forgets which addresses make which stack: the target maps other code.
    pub fn forget_addresses(&mut self) {
        self.known.clear();
    }

    fn stack(&mut self, map: &MemoryMap, addresses: &[u64]) -> Stack {
        let mut frames = Vec::with_capacity(addresses.len());
        if addresses.is_empty() {
            frames.extend_from_slice(&self.symbols.unknown());
        }
        for (depth, address) in addresses.iter().enumerate().rev() {
            // A return address is that of the instruction after the call, which may be another
            // line's or, where the call never returns, another function's.
            let called = address.wrapping_sub(u64::from(depth > 0));
            frames.extend_from_slice(&self.symbols.functions(map, called));
        }
        let cut = !is_whole(&self.symbols, &frames, addresses.len());
        Stack { frames, cut }
    }

    /// 128 bits that no two stacks of a session share by chance, and none by intent.
    fn key(&self, stack: &Stack) -> u128 {
        let [high, low] = [0, 1].map(|half| self.hashers[half].hash_one(stack));
        u128::from(high) << 64 | u128::from(low)
    }
}

/// Whether a stack of `addresses` reaches the beginning of its thread. Code without frame pointers
/// leads elsewhere, mostly soon, and to no code.
fn is_whole(symbols: &Symbols, frames: &[u32], addresses: usize) -> bool {
    let outermost = frames.first().and_then(|frame| symbols.beginning(*frame));
    match outermost {
        Some(Beginning::Named) => true,
        // The innermost function alone may be any of a library's.
        Some(Beginning::Nameless) => addresses > 1,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::process::Target;

    fn own_map() -> MemoryMap {
        let mut map = MemoryMap::default();
        map.refresh(&Target::open(std::process::id()).unwrap());
        map
    }

    /// Addresses in two functions of this program; return addresses are behind a call.
    fn inner() -> u64 {
        inner as *const () as u64 + 1
    }

    fn outer() -> u64 {
        outer as *const () as u64 + 1
    }

    fn text(frames: &[crate::event::Frame], stack: &Stack) -> Vec<String> {
        let name = |index: &u32| &frames[*index as usize].function;
        let short = |index| {
            name(index)
                .rsplit("::")
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        stack.frames.iter().map(short).collect()
    }

    #[test]
    fn stacks_begin_at_the_root_and_are_stored_once() {
        let map = own_map();
        let mut stacks = Stacks::default();
        assert_eq!(stacks.number(&map, &[inner(), outer()]), 0);
        assert_eq!(stacks.number(&map, &[inner()]), 1);
        assert_eq!(stacks.number(&map, &[inner(), outer()]), 0);
        stacks.forget_addresses();
        assert_eq!(stacks.number(&map, &[inner(), outer()]), 0);
        let new = stacks.take_new();
        let frames = stacks.symbols.take_new();
        assert_eq!(new.len(), 2);
        assert_eq!(text(&frames, &new[0]), ["outer", "inner"]);
        assert!(new.iter().all(|stack| stack.cut), "neither begins a thread");
    }

    #[test]
    fn hostile_stacks_have_frames_and_are_cut() {
        let map = own_map();
        let mut stacks = Stacks::default();
        let garbage: Vec<u64> = (0..256)
            .map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .collect();
        for addresses in [&garbage[..], &[], &[0], &[u64::MAX; 256]] {
            stacks.number(&map, addresses);
        }
        let new = stacks.take_new();
        assert!(
            new.iter()
                .all(|stack| stack.cut && !stack.frames.is_empty())
        );
        assert_eq!(stacks.symbols.take_new().len(), 1, "all of it is unknown");
    }
}
