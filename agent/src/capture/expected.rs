//! In `exits` mode: calls of which something is known before their end.
//!
//! Records name calls by address or token there. The first one that names a call which has not ended
//! gives it its number, and the call takes it when it ends.

use std::collections::{HashMap, VecDeque};

use exoscope_abi::probe::LINK;

use super::covered::Covered;

/// Calls that are remembered at most. More than that were never open at once: their ends were lost.
const CALLS: usize = 1 << 20;
/// Tokens of links that are remembered; the oldest ones are forgotten where there are more.
const LINKS: usize = 1 << 16;

/// The calls that have not ended, and what links stand for.
#[derive(Debug, Default)]
pub struct Expected {
    calls: HashMap<u64, Call>,
    /// Numbers of calls by the tokens that stand for them.
    links: HashMap<u64, u64>,
    /// These tokens, the oldest first.
    tokens: VecDeque<u64>,
    /// Numbers given so far.
    numbered: u64,
    /// Numbers of calls that will not be heard of again, since the last [`Expected::take_unended`].
    unended: Vec<u64>,
}

/// A call that has not ended.
#[derive(Debug)]
struct Call {
    number: u64,
    /// When it was first known to be open: a call that began later is another one at its address.
    first_ns: u64,
    /// When something was last heard of it.
    last_ns: u64,
    children: Covered,
}

impl Expected {
    /// The number of the call that `call` names, which is open at `at_ns`. `None` for the token of a
    /// link that is not known.
    pub fn open(&mut self, call: u64, at_ns: u64) -> Option<u64> {
        if is_link(call) {
            return self.links.get(&call).copied();
        }
        Some(self.call(call, at_ns).number)
    }

    /// The number of the call that `call` names, after a child of it ran from `start_ns` to `end_ns`.
    /// `None` as in [`Expected::open`]. What a link leads to may run longer than the call that the
    /// link stands for, so it does not count among its children's times.
    pub fn parent(&mut self, call: u64, start_ns: u64, end_ns: u64) -> Option<u64> {
        if is_link(call) {
            return self.links.get(&call).copied();
        }
        // It was open at the child's end, and perhaps not yet at its beginning: futures move.
        let call = self.call(call, end_ns);
        call.children.add(start_ns, end_ns);
        Some(call.number)
    }

    /// From `at_ns` on the token of a link stands for `call`.
    pub fn link(&mut self, token: u64, call: u64, at_ns: u64) {
        let Some(number) = self.open(call, at_ns) else {
            return;
        };
        if self.links.insert(token, number).is_none() {
            self.tokens.push_back(token);
        }
        if self.tokens.len() > LINKS
            && let Some(oldest) = self.tokens.pop_front()
        {
            self.links.remove(&oldest);
        }
    }

    /// The number of a call that began at `start_ns` and has ended, and the nanoseconds that its
    /// children ran.
    pub fn end(&mut self, call: u64, start_ns: u64) -> (u64, u64) {
        match self.calls.remove(&call) {
            Some(call) if call.first_ns >= start_ns => {
                (call.number, call.children.ns_since(start_ns))
            }
            other => {
                // Another call began where that one was, which has never ended.
                self.unended.extend(other.map(|call| call.number));
                (self.next_number(), 0)
            }
        }
    }

    /// No call ends any more.
    pub fn give_up(&mut self) {
        let left = self.calls.drain().map(|(_, call)| call.number);
        self.unended.extend(left);
    }

    /// Numbers that were given to calls of which no end is known, each once.
    pub fn take_unended(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.unended)
    }

    /// The call that `call` identifies, which is open at `at_ns`.
    fn call(&mut self, call: u64, at_ns: u64) -> &mut Call {
        if self.calls.len() == CALLS && !self.calls.contains_key(&call) {
            self.forget();
        }
        let numbered = &mut self.numbered;
        let call = self.calls.entry(call).or_insert_with(|| {
            *numbered += 1;
            Call {
                number: *numbered,
                first_ns: at_ns,
                last_ns: at_ns,
                children: Covered::default(),
            }
        });
        call.first_ns = call.first_ns.min(at_ns);
        call.last_ns = call.last_ns.max(at_ns);
        call
    }

    /// Forgets the half of the calls that nothing was heard of for longest.
    fn forget(&mut self) {
        let mut heard: Vec<u64> = self.calls.values().map(|call| call.last_ns).collect();
        let middle = heard.len() / 2;
        let (_, &mut since, _) = heard.select_nth_unstable(middle);
        let forgotten = self.calls.extract_if(|_, call| call.last_ns <= since);
        self.unended.extend(forgotten.map(|(_, call)| call.number));
    }

    fn next_number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }
}

/// Whether this is the token of a link.
fn is_link(call: u64) -> bool {
    call & LINK != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: u64 = LINK | 12;

    #[test]
    fn what_is_known_of_a_call_has_its_number() {
        let mut expected = Expected::default();
        let number = expected.open(0x10, 20).unwrap();
        assert_eq!(expected.parent(0x10, 30, 40), Some(number));
        expected.link(TOKEN, 0x10, 45);
        assert_eq!(expected.parent(0x10, 35, 50), Some(number));
        assert_eq!(expected.end(0x10, 10), (number, 20));
        assert_eq!(expected.parent(TOKEN, 60, 70), Some(number));
        assert_eq!(expected.open(TOKEN + 8, 70), None);
    }

    #[test]
    fn a_child_may_have_begun_before_the_call_that_it_ends_in() {
        let mut expected = Expected::default();
        let number = expected.parent(0x10, 20, 60).unwrap();
        assert_eq!(expected.end(0x10, 50), (number, 10));
    }

    #[test]
    fn a_call_that_began_later_is_another_one() {
        let mut expected = Expected::default();
        let number = expected.parent(0x10, 20, 30).unwrap();
        assert_ne!(expected.end(0x10, 40).0, number);
        assert_eq!(expected.take_unended(), [number]);
    }

    #[test]
    fn what_has_not_ended_is_told_once() {
        let mut expected = Expected::default();
        let never = expected.parent(0x10, 20, 30).unwrap();
        let ended = expected.parent(0x20, 20, 30).unwrap();
        assert_eq!(expected.end(0x20, 10).0, ended);
        assert!(expected.take_unended().is_empty());
        expected.give_up();
        assert_eq!(expected.take_unended(), [never]);
        assert!(expected.take_unended().is_empty());
    }

    #[test]
    fn the_oldest_links_and_calls_are_forgotten() {
        let mut expected = Expected::default();
        for link in 0..LINKS as u64 + 1 {
            expected.link(LINK | link << 3, 0x10, 1);
        }
        assert_eq!(expected.open(LINK, 2), None);
        assert!(expected.open(LINK | 1 << 3, 2).is_some());
        for call in 0..CALLS as u64 + 1 {
            expected.open(call << 3, call);
        }
        assert!(expected.calls.len() < CALLS);
        assert_eq!(expected.calls.len() + expected.unended.len(), CALLS + 1);
        let numbered = expected.numbered;
        assert!(expected.open((CALLS as u64) << 3, 0).unwrap() <= numbered);
        assert!(expected.open(8, 0).unwrap() > numbered);
    }
}
