//! The comparison of a log with rows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;

use super::log::{Log, Moment, Parent, Told, failure};
use super::rows::Row;
use crate::calls::{Calls, Outcomes};

/// What was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Only ends: a call that never ends has no row, and what is around a call at its end is its parent.
    pub exits: bool,
    /// Fields too.
    pub fields: bool,
    /// Polls too.
    pub polls: bool,
}

/// Something that the log and the rows say differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Seed of the tree in which it happened.
    pub seed: u64,
    /// A sentence.
    pub text: String,
}

/// Every difference between a log and rows; none where they say the same.
pub fn differences(log: &Log, rows: &[Row], capture: Capture) -> Vec<Difference> {
    let mut comparison = Comparison {
        log,
        rows,
        capture,
        row_of: vec![None; log.calls.len()],
        found: Vec::new(),
    };
    comparison.pair();
    comparison.compare_calls();
    comparison.compare_orders();
    comparison.compare_self_times();
    comparison.found
}

/// How often which function ended how, in `log`.
pub fn calls(log: &Log, capture: Capture) -> Calls {
    let mut calls = Calls::default();
    for told in &log.calls {
        if told.end.is_none() && capture.exits {
            continue;
        }
        let mut outcomes = Outcomes::default();
        match outcome(told) {
            "ok" => outcomes.ok = 1,
            "err" => outcomes.err = 1,
            "panic" => outcomes.panic = 1,
            "cancelled" => outcomes.cancelled = 1,
            _ => outcomes.target_died = 1,
        }
        calls.add(log.path(told), outcomes);
    }
    calls
}

/// The outcome that a call's row must have.
fn outcome(told: &Told) -> &str {
    match &told.end {
        Some(end) => &end.outcome,
        None => "target_died",
    }
}

struct Comparison<'a> {
    log: &'a Log,
    rows: &'a [Row],
    capture: Capture,
    /// The row of each call of the log, by place.
    row_of: Vec<Option<usize>>,
    found: Vec<Difference>,
}

/// Places of calls in the log and of rows, each in the order of the thread.
type Threads = BTreeMap<u32, (Vec<usize>, Vec<usize>)>;

impl Comparison<'_> {
    /// Finds the row of every call: the ends of one thread have one order.
    fn pair(&mut self) {
        for ended in [true, false] {
            let mut threads = Threads::new();
            for (place, told) in self.log.calls.iter().enumerate() {
                if told.end.is_some() == ended && (ended || !self.capture.exits) {
                    let last = told.end.as_ref().map_or(told.begin, |end| end.moment);
                    threads.entry(last.tid).or_default().0.push(place);
                }
            }
            for (place, row) in self.rows.iter().enumerate() {
                if row.ended() == ended {
                    threads.entry(row.tid).or_default().1.push(place);
                }
            }
            for (mut calls, mut rows) in threads.into_values() {
                calls.sort_by_key(|&call| self.last_order(call));
                rows.sort_by_key(|&row| {
                    let row = &self.rows[row];
                    if ended { row.end_ns } else { row.start_ns }
                });
                self.align(&calls, &rows);
            }
        }
    }

    /// The place of a call's end among all moments; of its beginning where it has no end.
    fn last_order(&self, call: usize) -> u32 {
        let told = &self.log.calls[call];
        let last = told.end.as_ref().map_or(told.begin, |end| end.moment);
        last.order
    }

    /// Pairs the calls of one thread with its rows, one after the other. What has no partner is a
    /// difference.
    fn align(&mut self, calls: &[usize], rows: &[usize]) {
        let (mut calls, mut rows) = (calls.iter().peekable(), rows.iter().peekable());
        loop {
            match (calls.peek(), rows.peek()) {
                (None, None) => return,
                (Some(&&call), Some(&&row)) if self.fits(call, row) => {
                    self.row_of[call] = Some(row);
                    calls.next();
                    rows.next();
                }
                (Some(&&call), row) if row.is_none_or(|&&row| self.precedes(call, row)) => {
                    self.differs(call, "has no row of its function that encloses its body");
                    calls.next();
                }
                (_, Some(&&row)) => {
                    self.surplus(row);
                    rows.next();
                }
                (Some(_), None) => unreachable!("an absent row is preceded by every call"),
            }
        }
    }

    /// Whether a row may be that of a call: the markers enclose the body.
    fn fits(&self, call: usize, row: usize) -> bool {
        let (told, row) = (&self.log.calls[call], &self.rows[row]);
        let ends_inside = told
            .end
            .as_ref()
            .is_none_or(|end| end.moment.ns <= row.end_ns);
        self.log.path(told) == row.function && row.start_ns <= told.begin.ns && ends_inside
    }

    /// Whether a call that does not fit a row lies before it.
    fn precedes(&self, call: usize, row: usize) -> bool {
        let (told, row) = (&self.log.calls[call], &self.rows[row]);
        match &told.end {
            // The row before was that of an earlier end, so the next end comes before this row's.
            Some(end) => end.moment.ns <= row.end_ns,
            None => told.begin.ns <= row.start_ns,
        }
    }

    fn differs(&mut self, call: usize, what: impl Into<String>) {
        let told = &self.log.calls[call];
        let (number, node, path) = (told.call, told.node, self.log.path(told));
        self.found.push(Difference {
            seed: told.seed,
            text: format!("call {number} of {path} (node {node}) {}", what.into()),
        });
    }

    fn surplus(&mut self, row: usize) {
        let row = &self.rows[row];
        let begun = self
            .log
            .calls
            .partition_point(|told| told.begin.ns < row.start_ns);
        let near = self.log.calls.get(begun).or(self.log.calls.last());
        self.found.push(Difference {
            seed: near.map_or(0, |told| told.seed),
            text: format!("no call fits where this row is: {row:?}"),
        });
    }

    fn compare_calls(&mut self) {
        let ids: HashSet<i64> = self.rows.iter().map(|row| row.id).collect();
        for call in 0..self.log.calls.len() {
            let (log, rows) = (self.log, self.rows);
            let (told, Some(row)) = (&log.calls[call], self.row_of[call]) else {
                continue;
            };
            let row = &rows[row];
            self.compare(call, "outcome", outcome(told), &row.outcome);
            self.compare(call, "error", &Self::error(told), &row.error);
            self.compare(call, "fields", &self.fields(told), &row.fields);
            let items = told.end.as_ref().and_then(|end| end.items);
            self.compare(call, "items", &items, &row.items);
            self.compare_polls(call, row);
            self.compare_parent(call, row, &ids);
        }
    }

    fn compare<T: PartialEq + Debug + ?Sized>(
        &mut self,
        call: usize,
        what: &str,
        is: &T,
        said: &T,
    ) {
        if is != said {
            self.differs(call, format!("has {what} {is:?}, in its row {said:?}"));
        }
    }

    /// The text that a row must have as its error.
    fn error(told: &Told) -> Option<String> {
        match outcome(told) {
            "ok" => None,
            "err" if !is_stream(told) => told.end.as_ref().map(|end| failure(end.origin)),
            // That of a stream was said by its last item.
            "err" | "cancelled" => told.failure.clone(),
            "panic" => told.panic.clone(),
            _ => told.panic.as_ref().or(told.failure.as_ref()).cloned(),
        }
    }

    /// The fields that a row must have.
    fn fields(&self, told: &Told) -> Option<String> {
        let captured = self.capture.fields && self.log.function(told).field;
        captured.then(|| format!(r#"{{"call":{}}}"#, told.call))
    }

    fn compare_polls(&mut self, call: usize, row: &Row) {
        let polled = self.log.calls[call].polled.filter(|_| self.capture.polls);
        let polls = polled.map(|polled| polled.polls);
        self.compare(call, "polls", &polls, &row.polls.map(|split| split.polls));
        let (Some(polled), Some(split)) = (polled, row.polls) else {
            return;
        };
        let sum = split.polled_ns + split.ready_ns + split.suspended_ns;
        let parts = [split.polled_ns, split.ready_ns, split.suspended_ns];
        let split_up = sum == row.end_ns - row.start_ns && parts.iter().all(|&part| part >= 0);
        if !split_up || split.polled_ns < polled.body_ns {
            self.differs(call, format!("has {polled:?}, in its row {split:?}"));
        }
    }

    /// The parent that the row of a call must name.
    fn parent(&self, told: &Told) -> Option<Parent> {
        match &told.end {
            Some(end) if self.capture.exits => end.outer,
            _ => told.parent,
        }
    }

    fn compare_parent(&mut self, call: usize, row: &Row, ids: &HashSet<i64>) {
        let (log, rows) = (self.log, self.rows);
        let told = &log.calls[call];
        let Some(Parent { call: parent, .. }) = self.parent(told) else {
            if row.parent.is_some() {
                self.differs(call, format!("is in no call: {row:?}"));
            }
            return;
        };
        let Some(of_parent) = self.row_of[parent].map(|row| &rows[row]) else {
            // Either the parent's lack of a row is a difference of its own, or it has no end.
            let unended = self.capture.exits && log.calls[parent].end.is_none();
            if row.parent.is_some_and(|id| unended || ids.contains(&id)) {
                self.differs(call, format!("has a parent without a row: {row:?}"));
            }
            return;
        };
        if row.parent != Some(of_parent.id) {
            self.differs(call, format!("is in row {}: {row:?}", of_parent.id));
        }
        if !lies_alike(told, &log.calls[parent], row, of_parent) {
            let what = format!("lies otherwise in its parent: {row:?} in {of_parent:?}");
            self.differs(call, what);
        }
    }

    /// The order of all beginnings and ends on one thread, and of the beginnings in one parent.
    fn compare_orders(&mut self) {
        let mut threads: HashMap<u32, Vec<Mark>> = HashMap::new();
        let mut siblings: HashMap<usize, Vec<Mark>> = HashMap::new();
        for (call, told) in self.log.calls.iter().enumerate() {
            let Some(row) = self.row_of[call].map(|row| &self.rows[row]) else {
                continue;
            };
            let mark = |moment: Moment, row_ns| Mark {
                order: moment.order,
                row_ns,
                call,
            };
            let begin = mark(told.begin, row.start_ns);
            threads.entry(told.begin.tid).or_default().push(begin);
            // What is linked runs beside its siblings.
            if let Some(Parent {
                call: parent,
                linked: false,
            }) = told.parent
            {
                siblings.entry(parent).or_default().push(begin);
            }
            if let Some(end) = &told.end {
                let marks = threads.entry(end.moment.tid).or_default();
                marks.push(mark(end.moment, row.end_ns));
            }
        }
        for marks in threads.into_values().chain(siblings.into_values()) {
            self.compare_order(marks);
        }
    }

    fn compare_order(&mut self, mut marks: Vec<Mark>) {
        marks.sort_unstable_by_key(|mark| mark.order);
        for pair in marks.windows(2) {
            if pair[0].row_ns >= pair[1].row_ns {
                let before = self.log.calls[pair[0].call].call;
                let what = format!("and call {before} stand in another order in their rows");
                self.differs(pair[1].call, what);
            }
        }
    }

    /// What a call spent outside of the calls in it.
    fn compare_self_times(&mut self) {
        let mut spans: HashMap<usize, Vec<(i64, i64)>> = HashMap::new();
        for (call, told) in self.log.calls.iter().enumerate() {
            if let Some(Parent {
                call: parent,
                linked: false,
            }) = self.parent(told)
                && let Some(row) = self.row_of[call].map(|row| &self.rows[row])
            {
                let end_ns = if row.ended() { row.end_ns } else { i64::MAX };
                let span = (row.start_ns, end_ns);
                spans.entry(parent).or_default().push(span);
            }
        }
        for call in 0..self.log.calls.len() {
            if let Some(row) = self.row_of[call].map(|row| &self.rows[row]) {
                let inside = spans.remove(&call).unwrap_or_default();
                let spent = covered(inside, row.start_ns, row.end_ns);
                let of_itself = row.end_ns - row.start_ns - spent;
                self.compare(call, "own time", &of_itself, &row.self_ns);
            }
        }
    }
}

/// Whether a row begins and ends before or after its parent's beginning and end, as its call did.
fn lies_alike(told: &Told, parent: &Told, row: &Row, of_parent: &Row) -> bool {
    let after_begin = told.begin.order > parent.begin.order;
    let before_end = |order: u32| match &parent.end {
        Some(end) => order < end.moment.order,
        None => true,
    };
    let ends_inside = match &told.end {
        Some(end) => before_end(end.moment.order),
        None => parent.end.is_none(),
    };
    after_begin == (row.start_ns > of_parent.start_ns)
        && before_end(told.begin.order) == (row.start_ns < of_parent.end_ns)
        && (!row.ended() || ends_inside == (row.end_ns < of_parent.end_ns))
}

fn is_stream(told: &Told) -> bool {
    told.end.as_ref().is_some_and(|end| end.items.is_some())
}

/// The time between two moments that lies in at least one of the spans.
fn covered(mut spans: Vec<(i64, i64)>, start_ns: i64, end_ns: i64) -> i64 {
    spans.sort_unstable();
    let (mut sum, mut until) = (0, start_ns);
    for (start, end) in spans {
        let end = end.min(end_ns);
        sum += (end - start.max(until)).max(0);
        until = until.max(end);
    }
    sum
}

/// A beginning or an end: its place in the log, and its time in the row.
#[derive(Clone, Copy)]
struct Mark {
    order: u32,
    row_ns: i64,
    call: usize,
}

/// One line of the view `errors`, as its documentation says it comes from the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorLine {
    /// The first call in which such an error began.
    pub origin: i64,
    /// How many began so.
    pub count: i64,
    /// Calls that the farthest of them ended.
    pub frames: i64,
}

/// The lines by function and message.
pub type ErrorLines = BTreeMap<(String, Option<String>), ErrorLine>;

/// The lines of the view `errors` that follow from these rows.
pub fn errors(rows: &[Row]) -> ErrorLines {
    let failed = |row: &&Row| matches!(row.outcome.as_str(), "err" | "panic");
    // Of the failed calls of a parent, the one that ended last.
    let mut last: HashMap<i64, (i64, i64)> = HashMap::new();
    for row in rows.iter().filter(failed) {
        if let Some(parent) = row.parent {
            let latest = last.entry(parent).or_default();
            *latest = (*latest).max((row.end_ns, row.id));
        }
    }
    let mut frames: HashMap<i64, i64> = HashMap::new();
    for row in rows.iter().filter(failed) {
        let (mut origin, mut length) = (row.id, 1);
        while let Some(&(_, child)) = last.get(&origin) {
            (origin, length) = (child, length + 1);
        }
        let farthest = frames.entry(origin).or_default();
        *farthest = length.max(*farthest);
    }
    let mut lines = ErrorLines::new();
    for row in rows {
        if let Some(&frames) = frames.get(&row.id) {
            let key = (row.function.clone(), row.error.clone());
            let line = lines.entry(key).or_insert(ErrorLine {
                origin: row.id,
                count: 0,
                frames: 0,
            });
            line.origin = line.origin.min(row.id);
            line.count += 1;
            line.frames = line.frames.max(frames);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::rows::Polls;
    use super::*;

    type Change = fn(&mut Vec<Row>);

    const FULL: Capture = Capture {
        exits: false,
        fields: true,
        polls: false,
    };
    const EXITS: Capture = Capture {
        exits: true,
        ..FULL
    };

    /// `a` calls `b`, which fails, and is called again after `a` has caught a panic; the stream `c`
    /// is linked to it from another thread and gives an item; another `c` has no end.
    const LOG: &str = "function 0 a bare\nfunction 1 b field\nfunction 2 c bare\ntree 7\n\
        begin 1 9 100 0 inside 0 0\n\
        begin 2 9 110 1 inside 1 1\n\
        end 2 9 120 1 inside err 2\n\
        begin 3 8 125 0 inside 2 2\n\
        stumble 1 9 128 1\n\
        begin 4 9 130 1 inside 1 1\n\
        begin 5 7 135 1 linked 2 3\n\
        end 4 9 140 1 inside ok 0\n\
        end 5 7 145 1 linked cancelled 0 1\n\
        end 1 9 150 0 inside err 2";

    fn row(id: i64, parent: Option<i64>, function: &str, start_ns: i64, end_ns: i64) -> Row {
        Row {
            id,
            parent,
            tid: 9,
            function: function.to_owned(),
            start_ns,
            end_ns,
            self_ns: end_ns - start_ns,
            outcome: "ok".to_owned(),
            error: None,
            fields: None,
            items: None,
            polls: None,
        }
    }

    /// The rows of `LOG`.
    fn all_rows() -> Vec<Row> {
        let failed = |row: Row| Row {
            outcome: "err".to_owned(),
            error: Some("call 2 failed".to_owned()),
            ..row
        };
        let with_field = |row: Row, call: u32| Row {
            fields: Some(format!(r#"{{"call":{call}}}"#)),
            ..row
        };
        let open = Row {
            outcome: "target_died".to_owned(),
            tid: 8,
            ..row(13, None, "c", 124, 900)
        };
        let stream = Row {
            outcome: "cancelled".to_owned(),
            tid: 7,
            items: Some(1),
            ..row(15, Some(11), "c", 134, 146)
        };
        let mut outer = failed(row(11, None, "a", 99, 151));
        outer.self_ns = 28;
        vec![
            outer,
            with_field(failed(row(12, Some(11), "b", 109, 121)), 2),
            open,
            with_field(row(14, Some(11), "b", 129, 141), 4),
            stream,
        ]
    }

    fn texts(log: &str, rows: &[Row]) -> Vec<String> {
        let found = differences(&Log::parse(log), rows, FULL);
        assert!(found.iter().all(|difference| difference.seed == 7));
        found
            .into_iter()
            .map(|difference| difference.text)
            .collect()
    }

    /// The first difference that `change` makes to the rows.
    fn found(change: impl FnOnce(&mut Vec<Row>)) -> String {
        let mut rows = all_rows();
        change(&mut rows);
        texts(LOG, &rows).swap_remove(0)
    }

    #[test]
    fn what_says_the_same_does_not_differ() {
        assert_eq!(texts(LOG, &all_rows()), [""; 0]);
    }

    #[test]
    fn a_mutation_of_the_log_is_found() {
        for (was, is) in [
            ("begin 4 9 130 1 inside", "begin 4 9 130 2 inside"),
            ("begin 4 9 130 1 inside", "begin 4 9 130 0 inside"),
            ("begin 4 9 130 1 inside 1", "begin 4 9 130 1 inside 2"),
            ("begin 4 9 130 1 inside 1 1\n", ""),
            ("begin 5 7 135 1 linked", "begin 5 7 135 4 linked"),
            (
                "end 4 9 140 1 inside ok 0",
                "end 4 9 140 1 inside cancelled 0",
            ),
            ("end 4 9 140 1 inside ok 0", "end 4 8 140 1 inside ok 0"),
            ("end 4 9 140 1 inside ok 0", "end 4 9 140 1 inside ok 0 0"),
            ("end 4 9 140 1 inside ok 0\n", ""),
            (
                "end 5 7 145 1 linked cancelled 0 1",
                "end 5 7 145 1 linked cancelled 0 2",
            ),
            ("begin 3 8 125 0 inside", "begin 3 9 125 0 inside"),
            ("end 1 9 150 0 inside err 2", "end 1 9 150 0 inside err 1"),
            ("end 1 9 150 0 inside err 2", "end 1 9 150 0 inside panic 0"),
            ("end 1 9 150 0 inside err 2", "end 1 9 155 0 inside err 2"),
            ("begin 2 9 110 1", "begin 2 9 105 1"),
            ("function 1 b field", "function 1 b bare"),
        ] {
            let mut log = LOG.replace(was, is);
            assert_ne!(log, LOG);
            if !log.contains("begin 4") {
                log = log.replace("end 4 9 140 1 inside ok 0\n", "");
            }
            assert!(!texts(&log, &all_rows()).is_empty(), "{was} as {is}");
        }
    }

    #[test]
    fn a_row_with_another_parent_is_found() {
        let text = found(|rows| rows[3].parent = Some(12));
        assert!(
            text.starts_with("call 4 of b (node 1) is in row 11: "),
            "{text}"
        );
        let text = found(|rows| rows[2].parent = Some(11));
        assert!(
            text.starts_with("call 3 of c (node 2) is in no call: "),
            "{text}"
        );
    }

    #[test]
    fn a_row_that_says_something_else_is_found() {
        let changes: [(Change, &str); 5] = [
            (
                |rows| rows[3].outcome = "panic".to_owned(),
                r#"call 4 of b (node 1) has outcome "ok", in its row "panic""#,
            ),
            (
                |rows| rows[0].error = Some("call 1 stumbled".to_owned()),
                r#"call 1 of a (node 0) has error Some("call 2 failed"), in its row Some("call 1 stumbled")"#,
            ),
            (
                |rows| rows[3].fields = None,
                r#"call 4 of b (node 1) has fields Some("{\"call\":4}"), in its row None"#,
            ),
            (
                |rows| rows[4].items = Some(0),
                "call 5 of c (node 3) has items Some(1), in its row Some(0)",
            ),
            (
                |rows| rows[0].self_ns = 16,
                "call 1 of a (node 0) has own time 28, in its row 16",
            ),
        ];
        for (change, text) in changes {
            assert_eq!(found(change), text);
        }
    }

    #[test]
    fn a_panic_is_the_error_of_what_unwinds() {
        let ends = |outcome| LOG.replace("0 inside err 2", &format!("0 inside {outcome} 0"));
        let mut rows = all_rows();
        let stumbled = Some("call 1 stumbled");
        for (outcome, error) in [("panic", stumbled), ("ok", None), ("cancelled", None)] {
            rows[0].outcome = outcome.to_owned();
            rows[0].error = error.map(str::to_owned);
            assert_eq!(texts(&ends(outcome), &rows), [""; 0]);
        }
    }

    #[test]
    fn an_item_is_the_error_of_a_stream_whatever_it_has_caught() {
        let fails = "fail 5 7 138 2\nstumble 5 7 139 5\nend 5 7 145";
        let mut rows = all_rows();
        for outcome in ["cancelled", "err"] {
            let end = format!("{outcome} 0 1");
            let log = LOG
                .replace("end 5 7 145", fails)
                .replace("cancelled 0 1", &end);
            rows[4].outcome = outcome.to_owned();
            rows[4].error = Some("call 2 failed".to_owned());
            assert_eq!(texts(&log, &rows), [""; 0]);
            rows[4].error = Some("call 5 stumbled".to_owned());
            assert_eq!(texts(&log, &rows).len(), 1);
        }
    }

    #[test]
    fn polls_that_differ_are_found() {
        let capture = Capture {
            polls: true,
            ..FULL
        };
        let log = Log::parse(&format!("{LOG}\npolled 5 2 4"));
        let polls = |polls, polled_ns, ready_ns, suspended_ns| {
            let mut rows = all_rows();
            rows[4].polls = Some(Polls {
                polls,
                polled_ns,
                ready_ns,
                suspended_ns,
            });
            differences(&log, &rows, capture).len()
        };
        assert_eq!(polls(2, 5, 3, 4), 0);
        for (wrong, how) in [
            (polls(3, 5, 3, 4), "number"),
            (polls(2, 5, 3, 5), "sum"),
            (polls(2, 3, 5, 4), "less polled than its body"),
            (polls(2, 14, -2, 0), "negative"),
        ] {
            assert_eq!(wrong, 1, "{how}");
        }
        assert_eq!(differences(&log, &all_rows(), capture).len(), 1);
        assert_eq!(differences(&log, &all_rows(), FULL), []);
    }

    #[test]
    fn a_missing_row_is_named_and_the_others_still_fit() {
        let missing = "has no row of its function that encloses its body";
        for (place, call) in [(1, "call 2 of b"), (2, "call 3 of c"), (3, "call 4 of b")] {
            let mut rows = all_rows();
            rows[0].self_ns += if place == 2 { 0 } else { 12 };
            rows.remove(place);
            let found = texts(LOG, &rows);
            assert_eq!(found.len(), 1, "{found:#?}");
            assert!(
                found[0].starts_with(call) && found[0].ends_with(missing),
                "{found:#?}"
            );
        }
    }

    #[test]
    fn a_row_too_many_is_found() {
        let text = found(|rows| rows.push(row(16, Some(11), "b", 142, 144)));
        assert!(
            text.starts_with("no call fits where this row is: "),
            "{text}"
        );
    }

    #[test]
    fn a_row_of_another_thread_or_function_is_found() {
        let changes: [fn(&mut Row); 2] = [|row| row.tid = 8, |row| row.function = "c".to_owned()];
        for change in changes {
            let mut rows = all_rows();
            change(&mut rows[3]);
            let found = texts(LOG, &rows);
            let has = |start| found.iter().any(|text| text.starts_with(start));
            assert!(has("call 4 of b (node 1) has no row"), "{found:#?}");
            assert!(has("no call fits where this row is: "), "{found:#?}");
        }
    }

    #[test]
    fn times_out_of_order_are_found() {
        // All enclose their bodies, and yet the second call of `b` begins before the first one ends.
        let text = found(|rows| rows[3].start_ns = 121);
        assert_eq!(
            text,
            "call 4 of b (node 1) and call 2 stand in another order in their rows"
        );
        let text = found(|rows| rows[3].end_ns = 152);
        assert!(
            text.starts_with("call 4 of b (node 1) has no row"),
            "{text}"
        );
    }

    #[test]
    fn a_call_that_outlasts_its_parent_in_the_rows_alone_is_found() {
        let outlasts = |rows: &mut Vec<Row>| {
            rows[4].end_ns += 6;
            rows[4].self_ns += 6;
        };
        let text = found(outlasts);
        assert!(
            text.starts_with("call 5 of c (node 3) lies otherwise in its parent: "),
            "{text}"
        );
        let end = "end 5 7 145 1 linked cancelled 0 1\n";
        let log = LOG.replace(end, "") + "\nend 5 7 151 1 linked cancelled 0 1";
        let mut rows = all_rows();
        outlasts(&mut rows);
        assert_eq!(texts(&log, &rows), [""; 0]);
    }

    #[test]
    fn to_ends_alone_a_parent_is_what_is_around_an_end() {
        let log = LOG.replace("140 1 inside", "140 0 inside");
        let mut rows = all_rows();
        assert_eq!(texts(&log, &rows), [""; 0]);
        rows.remove(2);
        let found = differences(&Log::parse(&log), &rows, EXITS);
        assert_eq!(found.len(), 2, "{found:#?}");
        rows[2].parent = None;
        rows[0].self_ns += 12;
        assert_eq!(differences(&Log::parse(&log), &rows, EXITS), []);
    }

    #[test]
    fn time_in_more_than_one_call_counts_once() {
        let spans = |spans: &[(i64, i64)]| covered(spans.to_vec(), 10, 50);
        assert_eq!(spans(&[]), 0);
        assert_eq!(spans(&[(30, 40), (12, 20), (15, 18), (19, 25)]), 23);
        assert_eq!(spans(&[(0, 12), (5, 9), (48, i64::MAX), (60, 70)]), 4);
    }

    #[test]
    fn to_ends_alone_an_open_call_has_no_row() {
        let mut rows = all_rows();
        rows.remove(2);
        let log = Log::parse(LOG);
        assert_eq!(differences(&log, &rows, EXITS), []);
        assert_eq!(differences(&log, &all_rows(), EXITS).len(), 1);
        assert_eq!(calls(&log, EXITS).total(), 4);
        assert_eq!(calls(&log, FULL).total(), 5);
    }

    #[test]
    fn an_error_is_that_of_the_last_failed_call() {
        let line = |origin, frames| ErrorLine {
            origin,
            count: 1,
            frames,
        };
        let key = |function: &str| (function.to_owned(), Some("call 2 failed".to_owned()));
        let mut rows = all_rows();
        assert_eq!(errors(&rows), [(key("b"), line(12, 2))].into());
        rows[3].outcome = "panic".to_owned();
        let panic = (("b".to_owned(), None), line(14, 2));
        assert_eq!(errors(&rows), [panic, (key("b"), line(12, 1))].into());
    }
}
