-- Version 1 of the tables. They are the store's own; what others rely on are the views.

-- One attach-to-detach run. Its calls have the numbers above call_base, up to call_last.
CREATE TABLE session (
  session_id INTEGER PRIMARY KEY,
  started_unix_ns INTEGER NOT NULL,
  started_ns INTEGER NOT NULL,     -- CLOCK_MONOTONIC at started_unix_ns
  ended_unix_ns INTEGER,
  end_reason TEXT,                 -- NULL while the session is being written
  host TEXT NOT NULL,
  kernel TEXT NOT NULL,
  agent_version TEXT NOT NULL,
  options TEXT NOT NULL,
  sample_hertz INTEGER,            -- samples a second on each CPU; NULL without --sample
  call_base INTEGER NOT NULL,
  call_last INTEGER NOT NULL DEFAULT 9223372036854775807,
  looked_ns INTEGER,               -- CLOCK_MONOTONIC of the last look at the open calls
  lost_links INTEGER NOT NULL DEFAULT 0,
  lost_panics INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What whoever goes on with a session has to know that was cut short; the row goes with its end.
CREATE TABLE writing (
  session_id INTEGER PRIMARY KEY,
  message INTEGER NOT NULL,        -- number of the last message that is in this file
  frames INTEGER NOT NULL,         -- the largest frame_id before the session, and so on
  stacks INTEGER NOT NULL,
  threads INTEGER NOT NULL,
  spool_key INTEGER NOT NULL,      -- what the segments of its spool say that they belong to
  spool_folder TEXT                -- NULL where they are beside this file
) STRICT;

-- Calls that reached the agent and are not in the file, as far as it is known how many.
CREATE TABLE lost_call (
  session_id INTEGER NOT NULL,
  at_unix_ns INTEGER NOT NULL,
  calls INTEGER NOT NULL,
  reason TEXT NOT NULL
) STRICT;

-- The target of a session.
CREATE TABLE process (
  session_id INTEGER PRIMARY KEY,
  pid INTEGER NOT NULL,
  command TEXT NOT NULL,
  executable TEXT NOT NULL,
  build_id TEXT,
  exit_status INTEGER
) STRICT;

-- The functions of all sessions; sessions share them.
CREATE TABLE function (
  function_id INTEGER PRIMARY KEY,
  path TEXT NOT NULL,
  file TEXT NOT NULL,
  line INTEGER NOT NULL,
  UNIQUE (path, file, line)
) STRICT;

-- The calls. Written millions of times a second, so: no secondary index, and small numbers where
-- the views can compute the large ones.
CREATE TABLE call (
  call_id INTEGER PRIMARY KEY,
  parent_step INTEGER,             -- call_id less that of the parent
  function_id INTEGER NOT NULL,
  tid INTEGER NOT NULL,
  start INTEGER NOT NULL,          -- nanoseconds since the session's started_ns
  duration_ns INTEGER NOT NULL,
  self_ns INTEGER,                 -- NULL where it equals duration_ns
  outcome INTEGER NOT NULL,        -- 0 ok, 1 err, 2 panic, 3 cancelled, 4 unfinished, 5 target_died
  -- What the kernel counted meanwhile; NULL where it is not known. What is neither waiting for a CPU nor
  -- blocked, of the duration or (call_polls) of the time in polls, is time on a CPU.
  runqueue_ns INTEGER,
  blocked_ns INTEGER,
  faults INTEGER,                  -- minor ones, and 2³² times the major ones
  switches INTEGER,                -- voluntary ones, and 2³² times the involuntary ones
  rss_delta_bytes INTEGER
) STRICT;

-- The calls that ended in an error or a panic once more: what `errors` is computed from.
CREATE TABLE failed (
  call_id INTEGER PRIMARY KEY,
  parent_id INTEGER,
  function_id INTEGER NOT NULL,
  end_ns INTEGER NOT NULL          -- CLOCK_MONOTONIC
) STRICT;
CREATE INDEX failed_by_parent ON failed (parent_id, end_ns) WHERE parent_id IS NOT NULL;

-- The calls in which the target died once more: a report asks for them first.
CREATE TABLE died (
  call_id INTEGER PRIMARY KEY
) STRICT;

-- What the error and the last panic of a call said.
CREATE TABLE error_detail (
  call_id INTEGER NOT NULL,
  panic INTEGER NOT NULL,          -- 1 for the panic, which the call may have caught
  kind_id INTEGER,
  message_id INTEGER,
  truncated INTEGER NOT NULL,
  PRIMARY KEY (call_id, panic)
) STRICT, WITHOUT ROWID;

-- Calls that others name as their parents, and that have no row: with --capture exits they never ended.
CREATE TABLE unended (
  call_id INTEGER PRIMARY KEY
) STRICT;

-- Fields, arguments and returned values of the calls that have any: one JSON object a call.
CREATE TABLE call_fields (
  call_id INTEGER PRIMARY KEY,
  fields TEXT NOT NULL,
  truncated INTEGER NOT NULL       -- 1 where something did not fit
) STRICT;

-- How many items the calls gave that are streams.
CREATE TABLE call_items (
  call_id INTEGER PRIMARY KEY,
  items INTEGER NOT NULL
) STRICT;

-- How the time of polled calls was split; what neither has of the duration, the call was suspended.
CREATE TABLE call_polls (
  call_id INTEGER PRIMARY KEY,
  polls INTEGER NOT NULL,
  polled_ns INTEGER NOT NULL,
  ready_ns INTEGER NOT NULL
) STRICT;

-- Texts of error_detail. One text may stand here more than once.
CREATE TABLE text (
  text_id INTEGER PRIMARY KEY,
  text TEXT NOT NULL
) STRICT;

-- Ends of calls that began before the session.
CREATE TABLE unmatched_exit (
  session_id INTEGER NOT NULL,
  function_id INTEGER NOT NULL,
  tid INTEGER NOT NULL,
  at_ns INTEGER NOT NULL,          -- CLOCK_MONOTONIC
  outcome INTEGER NOT NULL
) STRICT;

-- The calls that were open at the last look of the session that is being written.
CREATE TABLE open_call (
  call_id INTEGER PRIMARY KEY,
  parent_id INTEGER,
  function_id INTEGER NOT NULL,
  tid INTEGER NOT NULL,
  start_ns INTEGER NOT NULL        -- CLOCK_MONOTONIC
) STRICT;

-- Sums over the rows of `call`, kept up to date by every commit.
CREATE TABLE function_stat (
  function_id INTEGER NOT NULL,
  session_id INTEGER NOT NULL,
  calls INTEGER NOT NULL,
  ok INTEGER NOT NULL,
  err INTEGER NOT NULL,
  panic INTEGER NOT NULL,
  cancelled INTEGER NOT NULL,
  unfinished INTEGER NOT NULL,
  target_died INTEGER NOT NULL,
  total_ns INTEGER NOT NULL,
  self_ns INTEGER NOT NULL,
  min_ns INTEGER NOT NULL,
  max_ns INTEGER NOT NULL,
  cpu_calls INTEGER NOT NULL,      -- calls of which the next three are known
  cpu_ns INTEGER NOT NULL,
  runqueue_ns INTEGER NOT NULL,
  blocked_ns INTEGER NOT NULL,
  fault_calls INTEGER NOT NULL,    -- calls of which the next two are known
  minor_faults INTEGER NOT NULL,
  major_faults INTEGER NOT NULL,
  PRIMARY KEY (function_id, session_id)
) STRICT, WITHOUT ROWID;

-- Likewise over the rows of `call_polls`.
CREATE TABLE poll_stat (
  function_id INTEGER PRIMARY KEY,
  calls INTEGER NOT NULL,
  polls INTEGER NOT NULL,
  polled_ns INTEGER NOT NULL,
  ready_ns INTEGER NOT NULL,
  suspended_ns INTEGER NOT NULL
) STRICT;

-- Rows of `call` by duration: buckets of at most 1/128 of their value, named by their middle. While a
-- session is being written, the calls of the last second may be missing.
CREATE TABLE duration_bucket (
  function_id INTEGER NOT NULL,
  middle_ns INTEGER NOT NULL,
  calls INTEGER NOT NULL,
  PRIMARY KEY (function_id, middle_ns)
) STRICT, WITHOUT ROWID;

-- What the kernel counted, apart from the records.
CREATE TABLE kernel_count (
  function_id INTEGER NOT NULL,
  session_id INTEGER NOT NULL,
  calls INTEGER NOT NULL,
  err INTEGER NOT NULL,
  panic INTEGER NOT NULL,
  cancelled INTEGER NOT NULL,
  lost_ring INTEGER NOT NULL,
  lost_table INTEGER NOT NULL,
  unmatched INTEGER NOT NULL,
  replaced INTEGER NOT NULL,
  lost_detail INTEGER NOT NULL,
  lost_fields INTEGER NOT NULL,
  only_counted INTEGER NOT NULL,
  histogram BLOB NOT NULL,         -- little-endian 64-bit counts by power of two; zeros at the end left out
  PRIMARY KEY (function_id, session_id)
) STRICT, WITHOUT ROWID;

-- Calls that were counted and not recorded, by the time in which the agent had them counted only.
CREATE TABLE counted_call (
  session_id INTEGER NOT NULL,
  function_id INTEGER NOT NULL,
  from_unix_ns INTEGER NOT NULL,
  until_unix_ns INTEGER NOT NULL,
  calls INTEGER NOT NULL,
  reason TEXT NOT NULL
) STRICT;

-- What stands on stacks: the function of an address, or one that the compiler put into it.
CREATE TABLE frame (
  frame_id INTEGER PRIMARY KEY,
  function TEXT NOT NULL,
  file TEXT,
  line INTEGER,
  module TEXT NOT NULL,
  inlined INTEGER NOT NULL
) STRICT;

-- The stacks of samples, each of them once a session.
CREATE TABLE stack (
  stack_id INTEGER PRIMARY KEY,
  frames TEXT NOT NULL,            -- a JSON list of frame_id, the root first
  cut INTEGER NOT NULL             -- 1 where it does not reach the beginning of its thread
) STRICT;

CREATE TABLE sample (
  session_id INTEGER NOT NULL,
  at_ns INTEGER NOT NULL,          -- CLOCK_MONOTONIC
  tid INTEGER NOT NULL,
  call_id INTEGER,
  stack_id INTEGER NOT NULL,
  off_ns INTEGER                   -- how long the thread had been off the CPU; NULL for a running one
) STRICT;

-- The target at one moment. A figure is NULL where no source told it; counts and times grow from the
-- beginning of the process, of its control group, or of the machine. What each is:
-- agent/src/stats/sample.rs.
CREATE TABLE process_stat (
  sample_id INTEGER PRIMARY KEY,
  session_id INTEGER NOT NULL,
  at_ns INTEGER NOT NULL,          -- CLOCK_MONOTONIC
  source TEXT NOT NULL,            -- who answered, joined by +
  rss_bytes INTEGER,
  anon_bytes INTEGER,
  file_bytes INTEGER,
  shared_bytes INTEGER,
  swap_bytes INTEGER,
  peak_rss_bytes INTEGER,
  cpu_user_ns INTEGER,
  cpu_system_ns INTEGER,
  runqueue_ns INTEGER,
  blocked_ns INTEGER,
  minor_faults INTEGER,
  major_faults INTEGER,
  voluntary_switches INTEGER,
  involuntary_switches INTEGER,
  threads INTEGER,
  file_descriptors INTEGER,
  read_bytes INTEGER,
  written_bytes INTEGER,
  syscall_read_bytes INTEGER,
  syscall_written_bytes INTEGER,
  cpu_pressure_some_ns INTEGER,
  cpu_pressure_full_ns INTEGER,
  memory_pressure_some_ns INTEGER,
  memory_pressure_full_ns INTEGER,
  io_pressure_some_ns INTEGER,
  io_pressure_full_ns INTEGER,
  cgroup_cpu_pressure_some_ns INTEGER,
  cgroup_cpu_pressure_full_ns INTEGER,
  cgroup_memory_pressure_some_ns INTEGER,
  cgroup_memory_pressure_full_ns INTEGER,
  cgroup_io_pressure_some_ns INTEGER,
  cgroup_io_pressure_full_ns INTEGER,
  cgroup_memory_bytes INTEGER,
  cgroup_memory_limit_bytes INTEGER,
  cgroup_high_events INTEGER,
  cgroup_max_events INTEGER,
  cgroup_oom_kills INTEGER
) STRICT;

-- A thread of the target that lived in a session.
CREATE TABLE thread (
  thread_id INTEGER PRIMARY KEY,
  session_id INTEGER NOT NULL,
  tid INTEGER NOT NULL,
  name TEXT NOT NULL,              -- the last one it had
  start_ns INTEGER NOT NULL,       -- CLOCK_MONOTONIC
  end_sample_id INTEGER            -- the first sample in which it was gone
) STRICT;

-- A thread that had run, or was new, when a sample was taken. Until its next row nothing changes. In the
-- order in which rows come: where each thread had its own place, every sample would write to a page of each.
CREATE TABLE thread_stat (
  thread_id INTEGER NOT NULL,
  sample_id INTEGER NOT NULL,
  cpu_ns INTEGER NOT NULL,
  runqueue_ns INTEGER NOT NULL,
  voluntary_switches INTEGER NOT NULL,
  involuntary_switches INTEGER NOT NULL,
  PRIMARY KEY (sample_id, thread_id)
) STRICT, WITHOUT ROWID;

-- What the agent did or met, in words.
CREATE TABLE agent_event (
  session_id INTEGER NOT NULL,
  at_unix_ns INTEGER NOT NULL,
  level TEXT NOT NULL,
  kind TEXT NOT NULL,
  message TEXT NOT NULL
) STRICT;
