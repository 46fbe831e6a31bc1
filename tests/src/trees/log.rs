//! The log of the target `trees`.
//!
//! | line | what it says |
//! |---|---|
//! | `function NUMBER PATH WHAT` | a function has this number; `field`: and its call's as a field |
//! | `tree SEED` | what follows, up to the next such line, happened in the tree of this seed |
//! | `begin CALL TID NS PARENT HOW FUNCTION NODE` | the body of a call began; `PARENT` is 0 for none; `HOW` is `inside`, or `linked` where it runs elsewhere than in its parent |
//! | `stumble CALL TID NS NAMED` | a panic began in the body, and is caught; it names the call itself, or one inside that is not told of |
//! | `panic CALL TID NS NAMED` | a panic began in the body, and is not caught where it began |
//! | `fail CALL TID NS ORIGIN` | it gave an error as an item of its stream, not surely the last |
//! | `end CALL TID NS OUTER HOW OUTCOME ORIGIN [ITEMS]` | it ended, in the call `OUTER`; `ORIGIN` is the call in which its error began; of a stream or iterator, the items that it gave |
//! | `polled CALL POLLS NS` | it was polled so often, so long at least; after everything else of its tree |
//!
//! The lines stand in an order in which the events happened.

use std::collections::HashMap;

/// One moment of a call's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Its place among all moments.
    pub order: u32,
    /// The thread.
    pub tid: u32,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub ns: i64,
}

/// A call in which another one runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its place in [`Log::calls`].
    pub call: usize,
    /// The other one runs elsewhere, and belongs to it because it was asked for.
    pub linked: bool,
}

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// When and where.
    pub moment: Moment,
    /// Whoever ran or dropped it then. A future may begin in one call and end in another.
    pub outer: Option<Parent>,
    /// The word of a row.
    pub outcome: String,
    /// The call in which its error began; 0 for none.
    pub origin: u32,
    /// Items that it gave, where it is a stream or iterator.
    pub items: Option<u32>,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its number.
    pub call: u32,
    /// Whoever made it, or first polled it.
    pub parent: Option<Parent>,
    /// Its function, by its place in [`Log::functions`].
    pub function: usize,
    /// Its place in the program.
    pub node: u32,
    /// The seed of its tree.
    pub seed: u64,
    /// When and where its body began.
    pub begin: Moment,
    /// What the last panic said that began in its body.
    pub panic: Option<String>,
    /// What the last error said that it gave as an item.
    pub failure: Option<String>,
    /// `None` where it is no future and no stream.
    pub polled: Option<Polled>,
    /// `None` where it never ended.
    pub end: Option<End>,
}

/// How a call was polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polled {
    /// How often.
    pub polls: i64,
    /// Nanoseconds of it, as the body saw them.
    pub body_ns: i64,
}

/// One function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Full path.
    pub path: String,
    /// Whether it has its call's number as the field `call`.
    pub field: bool,
}

/// Everything that one process did.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The functions, each once.
    pub functions: Vec<Function>,
    /// Calls in the order of their beginnings.
    pub calls: Vec<Told>,
    /// Seeds of the trees.
    pub seeds: Vec<u64>,
}

impl Log {
    /// Reads the text of a log.
    ///
    /// # Panics
    /// Where the target wrote nonsense; the message has the line.
    pub fn parse(text: &str) -> Self {
        let mut reader = Reader::default();
        for (order, line) in text.lines().enumerate() {
            let order = u32::try_from(order).expect("a log is not that long");
            let known = reader.line(order, line);
            assert!(
                known.is_some(),
                "line {order} of the log makes no sense: {line}"
            );
        }
        reader.log
    }

    /// The function of a call.
    pub fn function(&self, told: &Told) -> &Function {
        &self.functions[told.function]
    }

    /// The full path of a call's function.
    pub fn path(&self, told: &Told) -> &str {
        &self.function(told).path
    }
}

/// What an error says that began in the call `origin`.
pub fn failure(origin: u32) -> String {
    format!("call {origin} failed")
}

#[derive(Default)]
struct Reader {
    log: Log,
    /// Places of functions by number.
    functions: HashMap<u32, usize>,
    /// Places of calls by number.
    places: HashMap<u32, usize>,
}

impl Reader {
    fn line(&mut self, order: u32, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let word = words.next()?;
        match word {
            "function" => return self.function(words),
            "tree" => {
                self.log.seeds.push(words.next()?.parse().ok()?);
                return Some(());
            }
            "polled" => return self.polled(words),
            _ => {}
        }
        let call = words.next()?.parse().ok()?;
        let moment = Moment {
            order,
            tid: words.next()?.parse().ok()?,
            ns: words.next()?.parse().ok()?,
        };
        if word == "begin" {
            return self.begin(call, moment, words);
        }
        let place = *self.places.get(&call)?;
        let outer = match word {
            "end" => self.parent(&mut words)?,
            _ => None,
        };
        let told = &mut self.log.calls[place];
        match word {
            "stumble" => told.panic = Some(format!("call {} stumbled", words.next()?)),
            "panic" => told.panic = Some(format!("call {} panicked", words.next()?)),
            "fail" => told.failure = Some(failure(words.next()?.parse().ok()?)),
            "end" => {
                told.end = Some(End {
                    moment,
                    outer,
                    outcome: words.next()?.to_owned(),
                    origin: words.next()?.parse().ok()?,
                    items: words.next().map(str::parse).transpose().ok()?,
                });
            }
            _ => return None,
        }
        Some(())
    }

    fn function<'a>(&mut self, mut words: impl Iterator<Item = &'a str>) -> Option<()> {
        let number = words.next()?.parse().ok()?;
        let function = Function {
            path: words.next()?.to_owned(),
            field: words.next()? == "field",
        };
        let functions = &mut self.log.functions;
        let known = functions.iter().position(|known| *known == function);
        let place = known.unwrap_or_else(|| {
            functions.push(function);
            functions.len() - 1
        });
        self.functions.insert(number, place);
        Some(())
    }

    fn polled<'a>(&mut self, mut words: impl Iterator<Item = &'a str>) -> Option<()> {
        let place = *self.places.get(&words.next()?.parse().ok()?)?;
        self.log.calls[place].polled = Some(Polled {
            polls: words.next()?.parse().ok()?,
            body_ns: words.next()?.parse().ok()?,
        });
        Some(())
    }

    /// `None` where the words make no sense.
    fn parent<'a>(&self, words: &mut impl Iterator<Item = &'a str>) -> Option<Option<Parent>> {
        let (call, how) = (words.next()?.parse().ok()?, words.next()?);
        if call == 0 {
            return Some(None);
        }
        Some(Some(Parent {
            call: *self.places.get(&call)?,
            linked: how == "linked",
        }))
    }

    fn begin<'a>(
        &mut self,
        call: u32,
        begin: Moment,
        mut words: impl Iterator<Item = &'a str>,
    ) -> Option<()> {
        let parent = self.parent(&mut words)?;
        self.places.insert(call, self.log.calls.len());
        self.log.calls.push(Told {
            call,
            parent,
            function: *self.functions.get(&words.next()?.parse().ok()?)?,
            node: words.next()?.parse().ok()?,
            seed: *self.log.seeds.last()?,
            begin,
            panic: None,
            failure: None,
            polled: None,
            end: None,
        });
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_calls() {
        let log = Log::parse(
            "function 0 a bare\nfunction 1 b field\nfunction 2 a bare\ntree 7\n\
             begin 1 9 100 0 inside 2 4\nstumble 1 9 105 1\nbegin 3 9 110 1 linked 1 5\n\
             end 3 8 120 1 linked err 3\nfail 1 9 125 3\nend 1 9 130 0 inside ok 0 2\npolled 3 4 9\ntree 8",
        );
        assert_eq!((log.functions.len(), &log.seeds), (2, &vec![7, 8]));
        let [outer, inner] = &log.calls[..] else {
            panic!("two calls")
        };
        let parent = Some(Parent {
            call: 0,
            linked: true,
        });
        assert_eq!((log.path(outer), outer.parent), ("a", None));
        assert_eq!(outer.panic.as_deref(), Some("call 1 stumbled"));
        assert_eq!(outer.failure.as_deref(), Some("call 3 failed"));
        assert_eq!((log.path(inner), inner.parent), ("b", parent));
        assert!(log.function(inner).field && !log.function(outer).field);
        let (outer, inner) = (outer.end.as_ref().unwrap(), inner.end.as_ref().unwrap());
        assert_eq!(
            (inner.outcome.as_str(), inner.origin, inner.moment.tid),
            ("err", 3, 8)
        );
        assert_eq!((outer.items, inner.items), (Some(2), None));
        assert_eq!((outer.outer, inner.outer), (None, parent));
        let polled = log
            .calls
            .iter()
            .map(|told| told.polled.map(|polled| polled.polls));
        assert!(polled.eq([None, Some(4)]));
    }

    #[test]
    #[should_panic(expected = "line 1 of the log makes no sense: begin 1 9 100 0 inside 0 4")]
    fn nonsense_is_no_call() {
        Log::parse("function 0 a bare\nbegin 1 9 100 0 inside 0 4");
    }
}
