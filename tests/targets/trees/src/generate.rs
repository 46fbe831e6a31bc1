//! Random programs: the same seed and size make the same one.

use crate::functions::{Kind, get, of_kind};
use crate::program::{Action, Ending, Fate, Handling, Node, Program, Step};

/// Calls inside each other at most: what fits on any thread's stack.
const DEPTH: u32 = 120;
/// Calls inside each other that a recursive function makes at most.
const LEVELS: u32 = 60;
/// Calls that a step makes of one node at most.
const TIMES: u32 = 24;
/// Steps of a body at most, but for those outside of every call.
const STEPS: usize = 12;

/// Makes a program of at most `size` calls, and often of far fewer.
pub fn program(seed: u64, size: u32) -> Program {
    let mut random = Random(seed);
    // As many programs of ten to twenty calls as of a thousand to two thousand.
    let bits = f64::from(size.max(1)).log2();
    let calls = (bits * random.fraction()).exp2() as u32;
    let place = Place {
        body: Body::Outside,
        depth: 0,
        quiet: false,
    };
    let steps = Generator { random }.steps(place, calls.clamp(1, size));
    let mut program = Program { seed, steps };
    program.number();
    program
}

/// Whose body it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    /// Nobody's.
    Outside,
    /// That of a function.
    Plain,
    /// That of a future that awaits no other.
    Leaf,
    /// That of a future.
    Async,
    /// That of an iterator.
    Iterator,
    /// That of a stream.
    Stream,
}

/// Where a step is taken.
#[derive(Clone, Copy)]
struct Place {
    body: Body,
    /// Calls around it.
    depth: u32,
    /// Inside a destructor: it may run while the thread unwinds, so nothing panics.
    quiet: bool,
}

/// What a step does, and how often that is chosen.
type Choices = &'static [(u32, Choice)];

#[derive(Clone, Copy)]
enum Choice {
    Call,
    Stumble,
    Hold,
    Threads,
    Pool,
    Poll,
    Hand,
    Take,
    Await,
    Join,
    Select,
    Timeout,
    Consume,
}

impl Body {
    fn choices(self) -> Choices {
        use Choice::{
            Await, Call, Consume, Hand, Hold, Join, Poll, Pool, Select, Stumble, Take, Threads,
            Timeout,
        };
        match self {
            Self::Outside => &[(60, Call), (10, Threads), (10, Pool), (15, Poll), (5, Hand)],
            Self::Plain => &[
                (80, Call),
                (3, Stumble),
                (6, Hold),
                (1, Threads),
                (1, Pool),
                (6, Poll),
                (3, Hand),
                (4, Take),
            ],
            Self::Async => &[
                (20, Call),
                (2, Stumble),
                (5, Hold),
                (1, Threads),
                (1, Pool),
                (4, Poll),
                (2, Hand),
                (2, Take),
                (35, Await),
                (14, Join),
                (9, Select),
                (4, Timeout),
                (5, Consume),
            ],
            Self::Leaf | Self::Iterator | Self::Stream => &[
                (85, Call),
                (4, Stumble),
                (1, Threads),
                (6, Poll),
                (4, Hand),
                (2, Take),
            ],
        }
    }
}

struct Generator {
    random: Random,
}

impl Generator {
    /// Steps that make at most `budget` calls.
    fn steps(&mut self, place: Place, budget: u32) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut left = if place.depth < DEPTH { budget } else { 0 };
        let (pauses, most) = match place.body {
            Body::Outside => (false, usize::MAX),
            Body::Plain | Body::Iterator => (false, STEPS),
            Body::Leaf | Body::Async | Body::Stream => (true, STEPS),
        };
        loop {
            if pauses && self.random.percent(35) {
                steps.push(self.pause());
            }
            if left == 0 || steps.len() >= most {
                return steps;
            }
            let share = if self.random.percent(25) {
                left
            } else {
                self.random.within(1, left)
            };
            let step = self.step(place, share);
            left -= step.calls();
            steps.push(step);
        }
    }

    fn pause(&mut self) -> Step {
        let times = self.random.within(1, 3);
        Step {
            action: Action::Yield { times },
            handling: Handling::Pass,
            linked: false,
            nodes: Vec::new(),
        }
    }

    fn step(&mut self, place: Place, budget: u32) -> Step {
        let handling = self.handling(place);
        let choice = self.random.choose(place.body.choices());
        let (action, nodes) = match choice {
            Choice::Hold => {
                let quiet = Place {
                    quiet: true,
                    ..place
                };
                (
                    Action::Hold,
                    vec![self.node(Kind::Destructor, quiet, budget)],
                )
            }
            Choice::Threads => (Action::Threads, self.several(place, budget, 3, Self::any)),
            Choice::Pool => (Action::Pool, self.several(place, budget, 4, Self::future)),
            Choice::Poll => {
                let (polls, fate) = self.fate();
                (
                    Action::Poll { polls, fate },
                    vec![self.future(place, budget)],
                )
            }
            Choice::Hand if budget > 1 => self.hand(place, budget),
            Choice::Stumble if !place.quiet => (Action::Stumble, Vec::new()),
            Choice::Call | Choice::Hand | Choice::Stumble => self.call(place, budget),
            Choice::Await => (Action::Await, self.several(place, budget, 2, Self::future)),
            Choice::Join => (Action::Join, self.several(place, budget, 5, Self::future)),
            Choice::Select => (Action::Select, self.several(place, budget, 4, Self::future)),
            Choice::Timeout => {
                let polls = self.random.within(0, 4);
                (Action::Timeout { polls }, vec![self.future(place, budget)])
            }
            Choice::Take => {
                let items = self.items();
                (
                    Action::Take { items },
                    vec![self.node(Kind::Iterator, place, budget)],
                )
            }
            Choice::Consume => {
                let items = self.items();
                (
                    Action::Consume { items },
                    vec![self.node(Kind::Stream, place, budget)],
                )
            }
        };
        Step {
            action,
            handling,
            linked: place.body != Body::Outside && self.random.percent(40) && can_link(action),
            nodes,
        }
    }

    /// How many items somebody takes at most.
    fn items(&mut self) -> u32 {
        if self.random.percent(60) {
            u32::MAX
        } else {
            self.random.within(0, 4)
        }
    }

    fn handling(&mut self, place: Place) -> Handling {
        match self.random.below(100) {
            _ if place.body == Body::Outside => Handling::Catch,
            0..45 => Handling::Pass,
            45..75 => Handling::Swallow,
            _ => Handling::Catch,
        }
    }

    fn call(&mut self, place: Place, budget: u32) -> (Action, Vec<Node>) {
        let times = if self.random.percent(30) {
            self.random.within(1, budget.min(TIMES))
        } else {
            1
        };
        (
            Action::Call { times },
            vec![self.any(place, budget / times)],
        )
    }

    fn fate(&mut self) -> (u32, Fate) {
        let fate = self.random.choose(&[
            (40, Fate::Drop),
            (5, Fate::Forget),
            (25, Fate::Roam),
            (20, Fate::Leave),
            (10, Fate::DropLater),
        ]);
        (self.random.within(0, 4), fate)
    }

    /// A future, and a call that it is handed to.
    fn hand(&mut self, place: Place, budget: u32) -> (Action, Vec<Node>) {
        let given = self.random.within(1, budget - 1);
        let task = self.future(place, given);
        let mut taker = self.any(place, budget - given);
        taker.steps.insert(
            0,
            Step {
                action: Action::Finish,
                handling: self.handling(place),
                linked: false,
                nodes: Vec::new(),
            },
        );
        let polls = self.random.within(0, 2);
        (
            Action::Poll {
                polls,
                fate: Fate::Hand,
            },
            vec![task, taker],
        )
    }

    /// Up to `most` nodes that share a budget.
    fn several(
        &mut self,
        place: Place,
        budget: u32,
        most: u32,
        one: fn(&mut Self, Place, u32) -> Node,
    ) -> Vec<Node> {
        let count = self.random.within(1, most.min(budget));
        (0..count)
            .map(|_| one(self, place, budget / count))
            .collect()
    }

    /// A call of any kind.
    fn any(&mut self, place: Place, budget: u32) -> Node {
        match self.random.below(100) {
            0..76 => self.node(Kind::Sync, place, budget),
            76..91 => self.future(place, budget),
            91..94 => self.node(Kind::Iterator, place, budget),
            94..97 => self.node(Kind::Stream, place, budget),
            _ => self.node(Kind::Destructor, place, budget),
        }
    }

    fn future(&mut self, place: Place, budget: u32) -> Node {
        let kind = if self.random.percent(40) {
            Kind::Leaf
        } else {
            Kind::Async
        };
        self.node(kind, place, budget)
    }

    fn node(&mut self, kind: Kind, place: Place, budget: u32) -> Node {
        let functions = of_kind(kind);
        let function = functions[self.random.below(functions.len() as u32) as usize];
        let levels = if get(function).recursive {
            let room = DEPTH.saturating_sub(place.depth);
            self.random.within(1, budget.min(LEVELS).min(room))
        } else {
            1
        };
        let inside = Place {
            body: match kind {
                Kind::Sync | Kind::Destructor => Body::Plain,
                Kind::Async => Body::Async,
                Kind::Leaf => Body::Leaf,
                Kind::Iterator => Body::Iterator,
                Kind::Stream => Body::Stream,
            },
            depth: place.depth + levels,
            quiet: place.quiet || kind == Kind::Destructor,
        };
        Node {
            number: 0,
            function,
            levels,
            steps: self.steps(inside, budget.saturating_sub(levels)),
            ending: self.ending(inside, budget),
        }
    }

    /// Small calls fail more often than those with many others inside.
    fn ending(&mut self, inside: Place, budget: u32) -> Ending {
        let most = if budget > 3 { 2000 } else { 1000 };
        match self.random.below(most) {
            0..100 => Ending::Fail,
            _ if inside.quiet => Ending::Return,
            100..115 => Ending::Panic,
            115..125 => Ending::Unwind,
            125..140 if !matches!(inside.body, Body::Iterator | Body::Stream) => {
                Ending::PanicInDestructor
            }
            _ => Ending::Return,
        }
    }
}

/// Whether the calls of a step run elsewhere, and so may be linked to the one that takes it.
fn can_link(action: Action) -> bool {
    matches!(action, Action::Threads | Action::Pool | Action::Poll { .. })
}

/// Numbers from a seed (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: u32) -> u32 {
        // The high half of the product is as even as the high bits.
        (((self.next() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// A number from `least` to `most`, or `least` where that is more.
    fn within(&mut self, least: u32, most: u32) -> u32 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// From 0 to below 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of the choices, each as often as its weight says.
    fn choose<T: Copy>(&mut self, choices: &[(u32, T)]) -> T {
        let all = choices.iter().map(|(weight, _)| weight).sum();
        let mut left = self.below(all);
        for (weight, choice) in choices {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return *choice,
            }
        }
        unreachable!("less than the sum of the weights is left")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_program_and_no_larger_one() {
        for seed in 0..200 {
            let text = program(seed, 500).to_string();
            assert_eq!(program(seed, 500).to_string(), text);
            assert!(program(seed, 500).calls() <= 500, "{text}");
        }
    }

    fn walk(steps: &[Step], visit: &mut impl FnMut(&Step)) {
        for step in steps {
            visit(step);
            for node in &step.nodes {
                walk(&node.steps, visit);
            }
        }
    }

    #[test]
    fn every_function_and_every_way_occurs() {
        let (mut functions, mut actions, mut handlings, mut endings) = (
            HashSet::new(),
            HashSet::new(),
            HashSet::new(),
            HashSet::new(),
        );
        for seed in 0..100 {
            walk(&program(seed, 4000).steps, &mut |step| {
                handlings.insert(step.handling);
                actions.insert(match step.action {
                    Action::Poll { fate, .. } => format!("{fate:?}"),
                    action => format!("{:?}", std::mem::discriminant(&action)),
                });
                functions.extend(step.nodes.iter().map(|node| node.function));
                endings.extend(step.nodes.iter().map(|node| node.ending));
            });
        }
        assert_eq!(functions.len(), crate::functions::ALL.len());
        assert_eq!((actions.len(), handlings.len(), endings.len()), (19, 3, 5));
    }

    #[test]
    fn numbers_are_spread_over_the_whole_range() {
        let mut random = Random(7);
        let mut seen = [0_u32; 10];
        (0..10_000).for_each(|_| seen[random.below(10) as usize] += 1);
        assert!(
            seen.iter().all(|count| (900..1100).contains(count)),
            "{seen:?}"
        );
        assert_eq!(random.within(3, 2), 3);
    }
}
