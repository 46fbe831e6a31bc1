//! A case: code, and the rows that its calls must give.

use serde::Serialize;

/// A kind of function. Its functions are those whose path begins with the case's path, so that every
/// row belongs to one case.
#[derive(Clone, Copy, Serialize)]
pub struct Case {
    #[serde(rename = "case")]
    path: &'static str,
    #[serde(skip)]
    run: fn(),
    rows: &'static [Row],
    /// It runs in a process of its own.
    alone: bool,
    /// How the process ends, as a shell puts it: the exit status, or 128 and the signal.
    status: u8,
    /// What a panic said outside of the case's calls, and so inside `main`.
    main_said: Option<&'static str>,
    /// All its rows are there too where only the ends of calls are captured.
    #[serde(skip)]
    at_ends: bool,
}

impl Case {
    /// A case at the module path `path`: what to run, and the rows at the top in the order of their
    /// start.
    pub const fn new(path: &'static str, run: fn(), rows: &'static [Row]) -> Self {
        Self {
            path,
            run,
            rows,
            alone: false,
            status: 0,
            main_said: None,
            at_ends: true,
        }
    }

    /// It runs in a process of its own, which goes on after it.
    pub const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// It ends the process, which runs nothing else, with this status: calls that are open then have
    /// no end.
    pub const fn ends_process(mut self, status: u8) -> Self {
        self.alone = true;
        self.at_ends = false;
        self.status = status;
        self
    }

    /// A panic that is none of its calls' says this.
    pub const fn main_says(mut self, message: &'static str) -> Self {
        self.main_said = Some(message);
        self
    }

    /// Some calls of it never end, or go on when their parent has ended: what all its rows are does
    /// not follow from the ends of its calls.
    pub const fn needs_entries(mut self) -> Self {
        self.at_ends = false;
        self
    }

    /// The module path without the crate.
    pub fn name(&self) -> &'static str {
        self.path
            .split_once("::")
            .map_or(self.path, |(_, name)| name)
    }

    /// Whether all its rows are there too where only the ends of calls are captured.
    pub const fn shows_at_ends(&self) -> bool {
        self.at_ends
    }

    /// Whether it needs a process of its own.
    pub const fn is_alone(&self) -> bool {
        self.alone
    }

    /// Makes the calls.
    pub fn run(&self) {
        (self.run)();
    }
}

/// Declares a module's `CASE`: `case!(run => [rows])`.
macro_rules! case {
    ($run:ident => [$($row:expr),* $(,)?] $($more:tt)*) => {
        #[doc = "The case."]
        pub const CASE: $crate::case::Case =
            $crate::case::Case::new(module_path!(), $run, &[$($row),*])$($more)*;
    };
}

/// How a call ended.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Ok,
    Err,
    Panic,
    Cancelled,
    TargetDied,
}

/// What one row must be, with those of the calls inside it in the order of their start.
#[derive(Clone, Copy, Serialize)]
pub struct Row {
    /// Path of the function below that of the case.
    function: &'static str,
    outcome: Outcome,
    error: Option<&'static str>,
    kind: Option<&'static str>,
    /// The message of its error was longer.
    cut: bool,
    /// Its fields, as JSON.
    fields: Option<&'static str>,
    /// Not all of its fields did fit.
    truncated: bool,
    /// How many items it gave, where it is a stream or an iterator.
    items: Option<u64>,
    /// It ends on another thread than its parent does; without a parent, than the main thread.
    elsewhere: bool,
    /// It has no parent at all; otherwise calls at the top are inside `main`.
    apart: bool,
    /// It goes on when its parent has ended.
    outlives: bool,
    /// So many calls, each the only one inside the one before.
    chain: u32,
    inside: &'static [Row],
}

impl Row {
    const fn new(function: &'static str, outcome: Outcome) -> Self {
        Self {
            function,
            outcome,
            error: None,
            kind: None,
            cut: false,
            fields: None,
            truncated: false,
            items: None,
            elsewhere: false,
            apart: false,
            outlives: false,
            chain: 1,
            inside: &[],
        }
    }

    /// The calls that it made.
    pub const fn with(mut self, inside: &'static [Row]) -> Self {
        self.inside = inside;
        self
    }

    /// It panicked itself, and that said `message`.
    pub const fn said(mut self, message: &'static str) -> Self {
        self.error = Some(message);
        self.kind = Some("panic");
        self
    }

    /// The last item that it gave was an `Err` of the type `kind` that says `error`.
    pub const fn gave(mut self, kind: &'static str, error: &'static str) -> Self {
        self.error = Some(error);
        self.kind = Some(kind);
        self
    }

    /// The message of its error was longer.
    pub const fn cut(mut self) -> Self {
        self.cut = true;
        self
    }

    /// It has these fields, as JSON.
    pub const fn fields(mut self, fields: &'static str) -> Self {
        self.fields = Some(fields);
        self
    }

    /// Not all of its fields did fit.
    pub const fn truncated(mut self) -> Self {
        self.truncated = true;
        self
    }

    /// It is a stream or an iterator, and gave so many items.
    pub const fn items(mut self, items: u64) -> Self {
        self.items = Some(items);
        self
    }

    /// It ends on another thread than its parent, or than the main thread.
    pub const fn elsewhere(mut self) -> Self {
        self.elsewhere = true;
        self
    }

    /// It began on the main thread outside of every call, or is the outermost of another thread.
    pub const fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// It is the outermost call of another thread.
    pub const fn on_thread(self) -> Self {
        self.apart().elsewhere()
    }

    /// It goes on when its parent has ended.
    pub const fn outlives(mut self) -> Self {
        self.outlives = true;
        self
    }

    /// Recursive: so many calls, each the only one inside the one before.
    pub const fn chain(mut self, calls: u32) -> Self {
        self.chain = calls;
        self
    }
}

/// It returned.
pub const fn ok(function: &'static str) -> Row {
    Row::new(function, Outcome::Ok)
}

/// It returned an `Err` of the type `kind` that says `error`.
pub const fn err(function: &'static str, kind: &'static str, error: &'static str) -> Row {
    Row {
        error: Some(error),
        kind: Some(kind),
        ..Row::new(function, Outcome::Err)
    }
}

/// It returned an `Err` of the type `kind` that can not be printed.
pub const fn err_unsaid(function: &'static str, kind: &'static str) -> Row {
    Row {
        kind: Some(kind),
        ..Row::new(function, Outcome::Err)
    }
}

/// It unwound.
pub const fn panic(function: &'static str) -> Row {
    Row::new(function, Outcome::Panic)
}

/// It was dropped before it was complete.
pub const fn cancelled(function: &'static str) -> Row {
    Row::new(function, Outcome::Cancelled)
}

/// It was open when the process ended.
pub const fn died(function: &'static str) -> Row {
    Row::new(function, Outcome::TargetDied)
}
