//! A program as data: calls, what their bodies do, and what becomes of their failures.

use std::fmt;

use crate::functions;

/// One call that is to be made, or as many as its step says.
#[derive(Debug)]
pub struct Node {
    /// Its place in the program, in the order of [`Program`]'s text.
    pub number: u32,
    /// Its function, by number.
    pub function: u32,
    /// Calls inside each other that a recursive function makes of it; 1 for the others.
    pub levels: u32,
    /// What the body does, the innermost one of a recursion. A stream or iterator gives an item a step.
    pub steps: Vec<Step>,
    /// How the body ends after its steps.
    pub ending: Ending,
}

/// How a body ends where nothing ended it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// It returns a value.
    Return,
    /// It returns an error of its own. A stream or iterator gives it as its last item.
    Fail,
    /// It panics.
    Panic,
    /// It unwinds without the panic hook.
    Unwind,
    /// The destructor of a local value panics, where the body returns or its future is dropped.
    PanicInDestructor,
}

/// One thing that a body does.
#[derive(Debug)]
pub struct Step {
    /// What.
    pub action: Action,
    /// What becomes of failures of the calls.
    pub handling: Handling,
    /// Calls that run elsewhere have the one that takes the step as their parent.
    pub linked: bool,
    /// The calls.
    pub nodes: Vec<Node>,
}

/// What a body does with its calls. A future that is called like a function runs to its end there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Calls a function so many times.
    Call {
        /// How often.
        times: u32,
    },
    /// Panics, and catches it in the same body.
    Stumble,
    /// Makes a local value, whose destructor is the call.
    Hold,
    /// Calls each function on a thread of its own, and waits for the threads.
    Threads,
    /// Runs futures to their ends on threads that pass them around.
    Pool,
    /// Polls a future at most so many times; then what is left of it meets its fate.
    Poll {
        /// How often.
        polls: u32,
        /// What becomes of it.
        fate: Fate,
    },
    /// Takes at most so many items from an iterator.
    Take {
        /// How many.
        items: u32,
    },
    /// Runs the future that the caller handed to this call.
    Finish,
    /// Is pending so many times. Only in futures and streams, as all that follow.
    Yield {
        /// How often.
        times: u32,
    },
    /// Awaits futures one after the other.
    Await,
    /// Awaits futures at the same time, until all are complete or one has failed.
    Join,
    /// Awaits futures at the same time, until one is complete, and drops the others.
    Select,
    /// Awaits a future for at most so many polls.
    Timeout {
        /// How many.
        polls: u32,
    },
    /// Takes at most so many items from a stream.
    Consume {
        /// How many.
        items: u32,
    },
}

/// What becomes of a future that was polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is dropped.
    Drop,
    /// It is forgotten, and its call never ends.
    Forget,
    /// Another thread runs it to its end, while this call waits.
    Roam,
    /// It is run to its end after everything else, perhaps long after the call in which it began.
    Leave,
    /// It is dropped after everything else.
    DropLater,
    /// The step's second call gets it, and runs it to its end.
    Hand,
}

/// What becomes of a failure of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Handling {
    /// It ends the caller too.
    Pass,
    /// An error goes no further; a panic does.
    Swallow,
    /// Neither an error nor a panic goes further.
    Catch,
}

/// Steps that are taken outside of every call.
#[derive(Debug)]
pub struct Program {
    /// What it was made from.
    pub seed: u64,
    /// In this order.
    pub steps: Vec<Step>,
}

impl Node {
    /// Calls that it makes at most, its own included.
    pub fn calls(&self) -> u32 {
        self.levels + self.steps.iter().map(Step::calls).sum::<u32>()
    }
}

impl Step {
    /// Calls that it makes at most. A panic counts as one: it takes its place in the log.
    pub fn calls(&self) -> u32 {
        let times = match self.action {
            Action::Stumble => return 1,
            Action::Call { times } => times,
            _ => 1,
        };
        times * self.nodes.iter().map(Node::calls).sum::<u32>()
    }
}

impl Program {
    /// Calls that it makes at most.
    pub fn calls(&self) -> u32 {
        self.steps.iter().map(Step::calls).sum()
    }

    /// Gives every call its number.
    pub fn number(&mut self) {
        let mut next = 0;
        number(&mut self.steps, &mut next);
    }

    /// Leaves out the calls with these numbers and everything inside them. The others keep theirs.
    pub fn leave_out(&mut self, numbers: &[u32]) {
        leave_out(&mut self.steps, numbers);
    }
}

fn number(steps: &mut [Step], next: &mut u32) {
    for node in steps.iter_mut().flat_map(|step| &mut step.nodes) {
        node.number = *next;
        *next += 1;
        number(&mut node.steps, next);
    }
}

fn leave_out(steps: &mut Vec<Step>, numbers: &[u32]) {
    steps.retain_mut(|step| {
        let had = step.nodes.len();
        step.nodes.retain(|node| !numbers.contains(&node.number));
        for node in &mut step.nodes {
            leave_out(&mut node.steps, numbers);
        }
        let left = step.nodes.len();
        // What is handed over needs both who gives and who takes.
        let hands = matches!(
            step.action,
            Action::Poll {
                fate: Fate::Hand,
                ..
            }
        );
        left == had || (left > 0 && !hands)
    });
    // A call that is handed something is the second of its step: it is gone with the first.
}

/// The program as text: a line a call, each with what its caller does with it.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "tree {} (at most {} calls)", self.seed, self.calls())?;
        write_steps(f, &self.steps, 1)
    }
}

fn write_steps(f: &mut fmt::Formatter<'_>, steps: &[Step], depth: usize) -> fmt::Result {
    for (place, step) in steps.iter().enumerate() {
        if step.nodes.is_empty() {
            writeln!(f, "{:1$}- {2:?}", "", 2 * depth, step.action)?;
        }
        for node in &step.nodes {
            let path = functions::get(node.function).path;
            write!(f, "{:1$}{2} {path}", "", 2 * depth, node.number)?;
            write!(f, ": {place} {:?} {:?}", step.action, step.handling)?;
            if step.linked {
                write!(f, ", linked")?;
            }
            if node.levels > 1 {
                write!(f, ", {} levels", node.levels)?;
            }
            if node.ending != Ending::Return {
                write!(f, ", ends with {:?}", node.ending)?;
            }
            writeln!(f)?;
            write_steps(f, &node.steps, depth + 1)?;
        }
    }
    Ok(())
}
