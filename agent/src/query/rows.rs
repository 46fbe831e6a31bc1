//! What queries give. Names, units and meaning are those of the views' columns: times in
//! nanoseconds, numbers as they stand in the file. A column that is not recorded is `None`.

use rusqlite::Row;
use serde::Serialize;

/// Names separated by commas.
macro_rules! joined {
    ($first:ident $($rest:ident)*) => { concat!(stringify!($first) $(, ", ", stringify!($rest))*) };
}

/// Defines a row: each field stands for the column of its name.
macro_rules! row {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $name {
            /// The columns that [`Self::read`] expects, in its order.
            pub(super) const COLUMNS: &str = joined!($($field)*);

            /// Reads a row of [`Self::COLUMNS`].
            pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
                let mut columns = 0..;
                let mut next = || columns.next().unwrap_or_default();
                Ok(Self { $($field: row.get(next())?,)* })
            }
        }
    };
}

row! {
    /// A session with its target.
    SessionRow {
        /// Number of the session, from 1.
        session_id: i64,
        /// Nanoseconds since 1970.
        started_unix_ns: i64,
        /// Nanoseconds since 1970; `None` while it is being written, or where it was cut short.
        ended_unix_ns: Option<i64>,
        /// Why it ended; `None` while it is being written.
        end_reason: Option<String>,
        /// Name of the machine.
        host: String,
        /// Release of the kernel.
        kernel: String,
        /// Version of the agent.
        agent_version: String,
        /// Options of the command line.
        options: String,
        /// Process number of the target.
        pid: Option<i64>,
        /// Command line of the target.
        command: Option<String>,
        /// Path of its binary.
        executable: Option<String>,
        /// Build ID of its binary.
        build_id: Option<String>,
        /// Its exit status, as shells give it.
        exit_status: Option<i64>,
        /// Calls in the file.
        calls: i64,
    }
}

row! {
    /// The sums of one function.
    FunctionRow {
        /// Full path.
        function: String,
        /// Source file.
        file: String,
        /// Line, from 1.
        line: i64,
        /// Calls in the file: the sum of the six outcomes.
        calls: i64,
        /// That returned, and not an error.
        ok: i64,
        /// That returned an error.
        err: i64,
        /// That unwound.
        panic: i64,
        /// Whose future was dropped before it was complete.
        cancelled: i64,
        /// That were open at the end of the session.
        unfinished: i64,
        /// That were open when the target ended.
        target_died: i64,
        /// Sum of the durations, nanoseconds.
        total_ns: i64,
        /// Sum of the durations less those of captured calls made directly, nanoseconds.
        self_ns: i64,
        /// Shortest, nanoseconds; `None` without calls.
        min_ns: Option<i64>,
        /// Half of the calls took no longer, at most 0.4 % off.
        p50_ns: Option<i64>,
        /// 90 % of the calls took no longer.
        p90_ns: Option<i64>,
        /// 99 % of the calls took no longer.
        p99_ns: Option<i64>,
        /// Longest, nanoseconds.
        max_ns: Option<i64>,
        /// Sum of the times on a CPU, nanoseconds; this and the next two: of `cpu_calls`.
        cpu_ns: Option<i64>,
        /// Sum of the times waiting for a CPU, nanoseconds.
        runqueue_ns: Option<i64>,
        /// Sum of the times waiting for something else, nanoseconds.
        blocked_ns: Option<i64>,
        /// Page faults without reading; this and the next one: of `fault_calls`.
        minor_faults: Option<i64>,
        /// Page faults that read.
        major_faults: Option<i64>,
        /// Calls of which the times are known.
        cpu_calls: i64,
        /// Calls of which the faults are known.
        fault_calls: i64,
    }
}

row! {
    /// One call.
    CallRow {
        /// Number of the call.
        call_id: i64,
        /// Number of its parent.
        parent_id: Option<i64>,
        /// Number of its session.
        session_id: i64,
        /// Process.
        pid: Option<i64>,
        /// Thread that ended it.
        tid: i64,
        /// Full path of the function.
        function: String,
        /// Source file.
        file: String,
        /// Line, from 1.
        line: i64,
        /// `CLOCK_MONOTONIC` nanoseconds.
        start_ns: i64,
        /// Nanoseconds since 1970.
        start_unix_ns: i64,
        /// Nanoseconds.
        duration_ns: i64,
        /// Nanoseconds less those of captured calls made directly.
        self_ns: i64,
        /// How it ended, in the words of the interface.
        outcome: String,
        /// What the error said or, where it said nothing, its type.
        error: Option<String>,
        /// Type of the error.
        error_kind: Option<String>,
        /// The message was longer than what is here.
        error_truncated: Option<bool>,
        /// Captured fields: a JSON object.
        fields: Option<String>,
        /// Some of them did not fit.
        fields_truncated: Option<bool>,
        /// Items that a stream gave.
        items: Option<i64>,
        /// How often it was polled; `None` where that was not captured, or it is not polled.
        polls: Option<i64>,
        /// Nanoseconds in polls.
        polled_ns: Option<i64>,
        /// Nanoseconds in which it had been woken and was not polled.
        ready_ns: Option<i64>,
        /// Nanoseconds in which it was neither polled nor ready.
        suspended_ns: Option<i64>,
        /// Nanoseconds on a CPU. What follows, this included, is `None` where it is not known.
        cpu_ns: Option<i64>,
        /// Nanoseconds waiting for a CPU.
        runqueue_ns: Option<i64>,
        /// Nanoseconds waiting for something else.
        blocked_ns: Option<i64>,
        /// Page faults of the thread without reading.
        minor_faults: Option<i64>,
        /// Page faults of the thread that read.
        major_faults: Option<i64>,
        /// Bytes by which the resident memory of the process grew meanwhile.
        rss_delta_bytes: Option<i64>,
        /// Switches from the thread to another one because it waited.
        voluntary_switches: Option<i64>,
        /// Switches from the thread to another one because its turn was over.
        involuntary_switches: Option<i64>,
    }
}

row! {
    /// The polls of one function's calls.
    PollsRow {
        /// Full path.
        function: String,
        /// Calls whose polls are known.
        calls: i64,
        /// Polls of these calls.
        polls: i64,
        /// Nanoseconds in polls.
        polled_ns: i64,
        /// Nanoseconds in which they had been woken and were not polled.
        ready_ns: i64,
        /// Nanoseconds in which they were neither polled nor ready.
        suspended_ns: i64,
    }
}

row! {
    /// Errors that began alike.
    ErrorRow {
        /// First call in which one began.
        origin_call_id: i64,
        /// Full path of that call's function.
        function: String,
        /// Type of the error; `None` where unknown.
        kind: Option<String>,
        /// What it said; `None` where unknown.
        message: Option<String>,
        /// Errors that began so.
        count: i64,
        /// Calls that the farthest-travelled of them ended, its origin included.
        frames: i64,
    }
}

row! {
    /// A call begun and not ended.
    InFlightRow {
        /// Number of the call.
        call_id: i64,
        /// Full path of the function.
        function: String,
        /// Thread that began it.
        tid: i64,
        /// `CLOCK_MONOTONIC` nanoseconds.
        start_ns: i64,
        /// Nanoseconds from its beginning to the last look.
        age_ns: i64,
    }
}

row! {
    /// What the kernel counted beside what is in the file.
    CompletenessRow {
        /// Full path; `None` for what was lost of no known function.
        function: Option<String>,
        /// Calls that began, as counted in the kernel.
        calls_counted: i64,
        /// Calls in the file.
        calls_stored: i64,
        /// Calls that were counted, and are neither in the file nor open.
        calls_missing: i64,
        /// Why, and what to do about it; `None` where there is nothing to say.
        reason: Option<String>,
        /// Those of `calls_missing` that were counted and not recorded, as the agent wanted.
        calls_only_counted: i64,
    }
}

row! {
    /// What the kernel counted of a function.
    TotalsRow {
        /// Full path.
        function: String,
        /// Calls that began.
        calls: i64,
        /// That returned an error.
        err: i64,
        /// That unwound.
        panic: i64,
        /// Whose future was dropped before it was complete.
        cancelled: i64,
        /// That have no row, as the agent wanted.
        only_counted: i64,
        /// Half of the calls took no longer, nanoseconds: a power of two less 1. `None` where none
        /// has ended, or it is out of bounds.
        p50_ns: Option<i64>,
        /// 90 % of the calls took no longer.
        p90_ns: Option<i64>,
        /// 99 % of the calls took no longer.
        p99_ns: Option<i64>,
    }
}

row! {
    /// Ends of calls that began before the session.
    UnmatchedRow {
        /// Full path.
        function: String,
        /// How many.
        ends: i64,
    }
}

row! {
    /// What was sampled of running threads.
    #[derive(Default)]
    SamplingRow {
        /// Samples a second on each CPU; `None` where no session took any.
        hertz: Option<i64>,
        /// Samples in the file.
        samples: i64,
        /// That happened in a captured call.
        with_call: i64,
        /// Whose stack does not reach the beginning of its thread.
        cut: i64,
        /// CPU time that they stand for, nanoseconds.
        cpu_ns: i64,
    }
}

row! {
    /// A call in which the target died.
    DiedRow {
        /// Number of the call.
        call_id: i64,
        /// Number of its session.
        session_id: i64,
        /// Full path of the function.
        function: String,
        /// Thread that began it.
        tid: i64,
        /// Name of that thread; `None` where it is not known.
        thread: Option<String>,
        /// `CLOCK_MONOTONIC` nanoseconds.
        start_ns: i64,
        /// Nanoseconds that it lasted.
        duration_ns: i64,
    }
}

row! {
    /// What the samples of a session say of its process. Where nothing tells of something, it is
    /// `None`.
    ProcessStatsRow {
        /// Number of the session.
        session_id: i64,
        /// Samples.
        samples: i64,
        /// The most memory that was resident, in bytes: between samples too, unless there was as much
        /// before the session.
        peak_rss_bytes: Option<i64>,
        /// The most that was swapped out, in bytes.
        swap_bytes: Option<i64>,
        /// CPU time in user mode, nanoseconds. This and all that follow up to `major_faults`: in the
        /// session.
        cpu_user_ns: Option<i64>,
        /// CPU time in the kernel, nanoseconds.
        cpu_system_ns: Option<i64>,
        /// Nanoseconds that threads waited for a CPU.
        runqueue_ns: Option<i64>,
        /// Bytes read from storage.
        read_bytes: Option<i64>,
        /// Bytes written to storage.
        written_bytes: Option<i64>,
        /// Page faults without reading.
        minor_faults: Option<i64>,
        /// Page faults that read.
        major_faults: Option<i64>,
        /// The most threads at once.
        threads: Option<i64>,
        /// The most open file descriptors.
        file_descriptors: Option<i64>,
        /// The least limit of the control group, in bytes.
        cgroup_memory_limit_bytes: Option<i64>,
    }
}

row! {
    /// What the kernel could not hand on, of all sessions.
    #[derive(Default)]
    LossRow {
        /// Records of calls for which the ring had no room.
        lost_ring: i64,
        /// Calls that were not followed: the table of open calls was full.
        lost_table: i64,
        /// Calls that were counted and not recorded, as the agent wanted.
        only_counted: i64,
        /// Ends of calls that began before the session.
        unmatched: i64,
        /// Calls whose end was never seen.
        replaced: i64,
        /// Messages of errors.
        lost_detail: i64,
        /// Calls whose fields are not there.
        lost_fields: i64,
        /// Links between calls and what they started.
        lost_links: i64,
        /// Messages of panics.
        lost_panics: i64,
    }
}

row! {
    /// Calls that reached the agent and were lost there.
    LostCallsRow {
        /// Why.
        reason: String,
        /// How many.
        calls: i64,
    }
}

row! {
    /// What the agent warned of.
    WarningRow {
        /// `warning`, or `error` where data was lost.
        level: String,
        /// One word, stable.
        kind: String,
        /// The first message of its kind.
        message: String,
        /// How many there are of its kind.
        count: i64,
    }
}
