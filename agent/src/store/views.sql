-- The stable interface. Columns that no later version may take away come first; what comes after
-- them is an addition. Only what SQLite 3.38 has is used, so that older programs can read it too.

CREATE VIEW sessions AS
SELECT session_id, started_unix_ns, ended_unix_ns, end_reason, host, kernel, agent_version, options,
  started_ns
FROM session;

CREATE VIEW processes AS
SELECT session_id, pid, command, executable, build_id, exit_status
FROM process;

-- With --polls, polled_ns (in polls), ready_ns (from the first wake-up after a poll began, though not from
-- before that poll ended, to the next poll or the end) and suspended_ns add up to duration_ns. They are
-- NULL for calls that are not polled. A call that was open at the end of the session ends there.
-- `error` is what the error of a call with the outcome `err` said, or its panic where it is `panic`.
-- Of a call that was cancelled it is the last item that was an error; of one that was open at the end,
-- a panic that had begun in it, or else such an item. A panic that a call caught is not shown.
-- With --capture exits a call that never ended has no row, and those that it made have no parent.
-- A call that was lost or only counted has no row either (`completeness` says how many); those that it made
-- still name it as their parent, so that they can be told to have the same one. With --capture exits they
-- have none.
--
-- cpu_ns (on a CPU), runqueue_ns (waiting for one) and blocked_ns (waiting for anything else) are of the
-- thread, and add up to duration_ns. So are faults and switches. rss_delta_bytes is of the whole process:
-- by how much its resident memory grew during the call, whoever used it. Calls inside the call are part of
-- all of them. Calls that run in turns are different: while a future waits, its thread does other things.
-- For futures and streams these columns are sums over polls with --polls, so that cpu_ns, runqueue_ns and
-- blocked_ns add up to polled_ns, and else NULL; for iterators, NULL. NULL as well: calls that moved to
-- another thread, calls that were open at the end of the session, what --call-stats left out or the
-- kernel can't tell, and all of --capture exits.
CREATE VIEW calls AS
SELECT
  c.call_id,
  CASE WHEN c.parent_step IS NOT NULL AND NOT EXISTS (
      SELECT 1 FROM unended WHERE unended.call_id = c.call_id - c.parent_step)
    THEN c.call_id - c.parent_step END AS parent_id,
  s.session_id,
  p.pid,
  c.tid,
  f.path AS function,
  f.file,
  f.line,
  s.started_ns + c.start AS start_ns,
  s.started_unix_ns + c.start AS start_unix_ns,
  c.duration_ns,
  CASE c.outcome WHEN 0 THEN 'ok' WHEN 1 THEN 'err' WHEN 2 THEN 'panic' WHEN 3 THEN 'cancelled'
    WHEN 4 THEN 'unfinished' WHEN 5 THEN 'target_died' END AS outcome,
  coalesce(message.text, kind.text) AS error,
  fields.fields,
  coalesce(polls.polled_ns, c.duration_ns) - c.runqueue_ns - c.blocked_ns AS cpu_ns,
  c.runqueue_ns,
  c.blocked_ns,
  c.faults & 4294967295 AS minor_faults,
  c.faults >> 32 AS major_faults,
  c.rss_delta_bytes,
  coalesce(c.self_ns, c.duration_ns) AS self_ns,
  kind.text AS error_kind,
  d.truncated AS error_truncated,
  fields.truncated AS fields_truncated,
  items.items,
  polls.polls,
  polls.polled_ns,
  polls.ready_ns,
  c.duration_ns - polls.polled_ns - polls.ready_ns AS suspended_ns,
  c.switches & 4294967295 AS voluntary_switches,
  c.switches >> 32 AS involuntary_switches,
  c.function_id
FROM session s
JOIN call c ON c.call_id > s.call_base AND c.call_id <= s.call_last
JOIN function f ON f.function_id = c.function_id
LEFT JOIN process p ON p.session_id = s.session_id
LEFT JOIN error_detail d ON d.call_id = c.call_id AND d.panic = CASE c.outcome
  WHEN 1 THEN 0 WHEN 2 THEN 1 WHEN 3 THEN 0
  WHEN 4 THEN (SELECT max(panic) FROM error_detail WHERE call_id = c.call_id)
  WHEN 5 THEN (SELECT max(panic) FROM error_detail WHERE call_id = c.call_id) END
LEFT JOIN text kind ON kind.text_id = d.kind_id
LEFT JOIN text message ON message.text_id = d.message_id
LEFT JOIN call_fields fields ON fields.call_id = c.call_id
LEFT JOIN call_items items ON items.call_id = c.call_id
LEFT JOIN call_polls polls ON polls.call_id = c.call_id;

-- `functions` without its percentiles.
CREATE VIEW function_sums AS
WITH stat AS (
  SELECT function_id, sum(calls) AS calls, sum(ok) AS ok, sum(err) AS err, sum(panic) AS panic,
    sum(cancelled) AS cancelled, sum(unfinished) AS unfinished, sum(target_died) AS target_died,
    sum(total_ns) AS total_ns, sum(self_ns) AS self_ns, min(min_ns) AS min_ns, max(max_ns) AS max_ns,
    sum(cpu_calls) AS cpu_calls, sum(cpu_ns) AS cpu_ns, sum(runqueue_ns) AS runqueue_ns,
    sum(blocked_ns) AS blocked_ns, sum(fault_calls) AS fault_calls,
    sum(minor_faults) AS minor_faults, sum(major_faults) AS major_faults
  FROM function_stat GROUP BY function_id
)
SELECT
  f.path AS function,
  f.file,
  f.line,
  coalesce(stat.calls, 0) AS calls,
  coalesce(ok, 0) AS ok,
  coalesce(err, 0) AS err,
  coalesce(panic, 0) AS panic,
  coalesce(cancelled, 0) AS cancelled,
  coalesce(unfinished, 0) AS unfinished,
  coalesce(target_died, 0) AS target_died,
  coalesce(total_ns, 0) AS total_ns,
  coalesce(self_ns, 0) AS self_ns,
  min_ns,
  max_ns,
  iif(cpu_calls > 0, cpu_ns, NULL) AS cpu_ns,
  iif(cpu_calls > 0, runqueue_ns, NULL) AS runqueue_ns,
  iif(cpu_calls > 0, blocked_ns, NULL) AS blocked_ns,
  iif(fault_calls > 0, minor_faults, NULL) AS minor_faults,
  iif(fault_calls > 0, major_faults, NULL) AS major_faults,
  coalesce(cpu_calls, 0) AS cpu_calls,
  coalesce(fault_calls, 0) AS fault_calls,
  f.function_id
FROM function f
LEFT JOIN stat ON stat.function_id = f.function_id;

-- total_ns and self_ns are plain sums over all rows of the function: a recursive call counts in the
-- total of its outer ones and again in its own. Calls that were open at the end of the session
-- count with the time they had lasted by then. A percentile is the smallest duration that so many
-- per cent of the calls did not exceed, at most 0.4 % off. What the kernel counted is summed over the calls
-- of which it is known: cpu_calls and fault_calls say how many those are, and where there are none, the
-- sums are NULL. Calls that have no row are in `totals` and `histograms`.
CREATE VIEW functions AS
WITH reached AS (
  SELECT function_id, middle_ns,
    100 * sum(calls) OVER (PARTITION BY function_id ORDER BY middle_ns) AS calls_100,
    sum(calls) OVER (PARTITION BY function_id) AS all_calls
  FROM duration_bucket
), percentile AS (
  SELECT function_id,
    min(CASE WHEN calls_100 >= 50 * all_calls THEN middle_ns END) AS p50_ns,
    min(CASE WHEN calls_100 >= 90 * all_calls THEN middle_ns END) AS p90_ns,
    min(CASE WHEN calls_100 >= 99 * all_calls THEN middle_ns END) AS p99_ns
  FROM reached
  GROUP BY function_id
)
SELECT
  function, file, line, calls, ok, err, panic, cancelled, unfinished, target_died, total_ns, self_ns,
  min_ns,
  max(min_ns, min(p50_ns, max_ns)) AS p50_ns,
  max(min_ns, min(p90_ns, max_ns)) AS p90_ns,
  max(min_ns, min(p99_ns, max_ns)) AS p99_ns,
  max_ns, cpu_ns, runqueue_ns, blocked_ns, minor_faults, major_faults, cpu_calls, fault_calls
FROM function_sums
LEFT JOIN percentile USING (function_id);

-- One row per function, kind and message in which errors began. A call that failed got its error
-- from the last of its direct calls to end among those that failed; where none failed, the error
-- began in it. So an earlier attempt of a loop that retries is an error of its own. `count` says
-- how many errors began so, `frames` how many calls the farthest of them ended, its origin included.
CREATE VIEW errors AS
WITH RECURSIVE travelled (origin_id, call_id, frames) AS (
  SELECT call_id, call_id, 1 FROM failed f
  WHERE NOT EXISTS (SELECT 1 FROM failed child WHERE child.parent_id = f.call_id)
  UNION ALL
  SELECT t.origin_id, f.parent_id, t.frames + 1
  FROM travelled t
  JOIN failed f ON f.call_id = t.call_id
  JOIN failed parent ON parent.call_id = f.parent_id
  WHERE t.frames < 10000000 AND NOT EXISTS (
    SELECT 1 FROM failed later
    WHERE later.parent_id = f.parent_id
      AND (later.end_ns, later.call_id) > (f.end_ns, f.call_id))
), origin AS (
  SELECT origin_id, max(frames) AS frames FROM travelled GROUP BY origin_id
)
SELECT
  min(origin_id) AS origin_call_id,
  function.path AS function,
  kind.text AS kind,
  message.text AS message,
  count(*) AS count,
  max(frames) AS frames
FROM origin
JOIN failed ON failed.call_id = origin_id
JOIN function ON function.function_id = failed.function_id
JOIN call ON call.call_id = origin_id
LEFT JOIN error_detail d ON d.call_id = origin_id AND d.panic = (call.outcome = 2)
LEFT JOIN text kind ON kind.text_id = d.kind_id
LEFT JOIN text message ON message.text_id = d.message_id
GROUP BY function.path, kind.text, message.text;

-- The calls begun and not ended by the last look; none once the session has ended.
CREATE VIEW in_flight AS
SELECT
  o.call_id,
  f.path AS function,
  o.tid,
  o.start_ns,
  max(0, s.looked_ns - o.start_ns) AS age_ns,
  o.parent_id
FROM open_call o
JOIN session s ON o.call_id > s.call_base AND o.call_id <= s.call_last AND s.end_reason IS NULL
JOIN function f ON f.function_id = o.function_id
WHERE NOT EXISTS (SELECT 1 FROM call c WHERE c.call_id = o.call_id);

-- What the kernel counted beside the rows that are here. Of calls_missing, calls_only_counted were counted
-- and not recorded, because the agent wanted it so when there was no room for more. `reason` is NULL where there is nothing to say.
-- `function` is NULL in a row about what was lost of which no function is known; there is one such row
-- where anything was.
CREATE VIEW completeness AS
WITH opened AS (
  SELECT function_id, count(*) AS calls FROM open_call o
  WHERE NOT EXISTS (SELECT 1 FROM call c WHERE c.call_id = o.call_id)
  GROUP BY function_id
), part AS (
  SELECT k.*, s.end_reason,
    max(0, k.calls - coalesce(stat.calls, 0) - coalesce(opened.calls, 0)) AS missing
  FROM kernel_count k
  JOIN session s ON s.session_id = k.session_id
  LEFT JOIN function_stat stat
    ON stat.function_id = k.function_id AND stat.session_id = k.session_id
  LEFT JOIN opened ON opened.function_id = k.function_id AND s.end_reason IS NULL
), counted AS (
  SELECT function_id, sum(calls) AS calls, sum(missing) AS missing, sum(lost_ring) AS lost_ring,
    sum(lost_table) AS lost_table, sum(unmatched) AS unmatched, sum(replaced) AS replaced,
    sum(lost_detail) AS lost_detail, sum(lost_fields) AS lost_fields,
    sum(only_counted) AS only_counted,
    sum(CASE WHEN end_reason IS NULL THEN missing END) AS pending,
    sum(CASE WHEN end_reason IS NOT NULL THEN max(0, missing - lost_ring - lost_table - only_counted) END)
      AS unexplained
  FROM part GROUP BY function_id
), stored AS (
  SELECT function_id, sum(calls) AS calls FROM function_stat GROUP BY function_id
), counting AS (
  SELECT c.function_id, printf(' between %s and %s UTC, because %s%s',
    strftime('%Y-%m-%d %H:%M:%S', min(from_unix_ns) / 1000000000, 'unixepoch'),
    strftime('%Y-%m-%d %H:%M:%S', max(until_unix_ns) / 1000000000, 'unixepoch'),
    (SELECT first.reason FROM counted_call first WHERE first.function_id = c.function_id
     ORDER BY first.from_unix_ns LIMIT 1),
    iif(count(*) > 1, printf(' (the first of %d times)', count(*)), '')) AS said
  FROM counted_call c GROUP BY c.function_id
)
SELECT
  f.path AS function,
  coalesce(counted.calls, 0) AS calls_counted,
  coalesce(stored.calls, 0) AS calls_stored,
  coalesce(missing, 0) AS calls_missing,
  nullif(substr(
    CASE WHEN only_counted > 0 THEN printf('; %,d %s counted and not recorded%s', only_counted,
      iif(only_counted = 1, 'call', 'calls'), coalesce(counting.said, '')) ELSE '' END
    || CASE WHEN lost_ring > 0 THEN printf('; %,d %s lost: the ring was full (raise --ring-size)',
      lost_ring, iif(lost_ring = 1, 'record', 'records')) ELSE '' END
    || CASE WHEN lost_table > 0 THEN
      printf('; %,d %s not followed: the table of open calls was full (raise --open-calls)',
        lost_table, iif(lost_table = 1, 'call', 'calls')) ELSE '' END
    || CASE WHEN unmatched > 0 THEN
      printf('; %,d %s without a beginning: %s began before the session%s', unmatched,
        iif(unmatched = 1, 'end', 'ends'), iif(unmatched = 1, 'that call', 'those calls'),
        iif(lost_table > 0, ', or had not been followed', ''))
      ELSE '' END
    || CASE WHEN replaced > 0 THEN printf('; %,d %s never seen: stored as unfinished',
      replaced, iif(replaced = 1, 'end', 'ends')) ELSE '' END
    || CASE WHEN lost_detail > 0 THEN printf('; %,d error %s lost',
      lost_detail, iif(lost_detail = 1, 'message', 'messages')) ELSE '' END
    || CASE WHEN lost_fields > 0 THEN printf('; fields of %,d %s lost',
      lost_fields, iif(lost_fields = 1, 'call', 'calls')) ELSE '' END
    || CASE WHEN pending > lost_ring + lost_table + only_counted THEN
      '; the session is being written: calls are on their way' ELSE '' END
    || CASE WHEN unexplained > 0 THEN printf('; %,d %s never written: the session was cut short',
      unexplained, iif(unexplained = 1, 'call', 'calls')) ELSE '' END,
    3), '') AS reason,
  coalesce(only_counted, 0) AS calls_only_counted
FROM function f
LEFT JOIN counted ON counted.function_id = f.function_id
LEFT JOIN stored ON stored.function_id = f.function_id
LEFT JOIN counting ON counting.function_id = f.function_id
UNION ALL
SELECT NULL, 0, 0, 0,
  substr(
    CASE WHEN panics > 0 THEN printf('; %,d %s lost (raise --ring-size)',
      panics, iif(panics = 1, 'message of a panic', 'messages of panics')) ELSE '' END
    || CASE WHEN links > 0 THEN
      printf('; %,d %s lost: the calls of tasks and threads that %s made for may have no parent '
        || '(raise --ring-size)', links, iif(links = 1, 'link', 'links'),
        iif(links = 1, 'it was', 'they were')) ELSE '' END,
    3),
  0
FROM (SELECT sum(lost_links) AS links, sum(lost_panics) AS panics FROM session)
WHERE links + panics > 0;

-- What the kernel counted of each function, apart from the records: exact, whether calls have rows or not.
-- Calls that were open when the session ended are among the calls, and have no outcome.
CREATE VIEW totals AS
SELECT
  f.path AS function,
  f.file,
  f.line,
  sum(k.calls) AS calls,
  sum(k.err) AS err,
  sum(k.panic) AS panic,
  sum(k.cancelled) AS cancelled,
  sum(k.only_counted) AS only_counted,
  sum(k.lost_ring + k.lost_table) AS lost,
  f.function_id
FROM kernel_count k JOIN function f ON f.function_id = k.function_id
GROUP BY k.function_id;

-- Calls that ended, by duration, likewise: from_ns to to_ns, both included; to_ns is NULL for the longest.
CREATE VIEW histograms AS
WITH RECURSIVE bucket (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM bucket WHERE n < 39),
digit (d) AS (SELECT 0 UNION ALL SELECT d + 1 FROM digit WHERE d < 15),
counted AS (
  -- Two hexadecimal digits a byte, the lowest byte first.
  SELECT function_id, n,
    sum(instr('123456789ABCDEF', substr(hex(substr(histogram, 8 * n + 1, 8)), d + 1, 1))
      << (8 * (d / 2) + 4 * (1 - d % 2))) AS calls
  FROM kernel_count
  JOIN bucket ON 8 * n < length(histogram)
  JOIN digit
  GROUP BY function_id, n
)
SELECT
  f.path AS function,
  iif(n = 0, 0, 1 << n) AS from_ns,
  iif(n = 39, NULL, (2 << n) - 1) AS to_ns,
  counted.calls,
  f.function_id
FROM counted JOIN function f ON f.function_id = counted.function_id
WHERE counted.calls > 0;

-- Calls that were counted and not recorded, by function and by the time in which the agent wanted it so.
CREATE VIEW counted_calls AS
SELECT c.session_id, f.path AS function, c.from_unix_ns, c.until_unix_ns, c.calls, c.reason
FROM counted_call c JOIN function f ON f.function_id = c.function_id;

CREATE VIEW unmatched_exits AS
SELECT
  u.session_id,
  f.path AS function,
  u.tid,
  u.at_ns,
  CASE u.outcome WHEN 0 THEN 'ok' WHEN 1 THEN 'err' WHEN 2 THEN 'panic' WHEN 3 THEN 'cancelled'
    WHEN 4 THEN 'unfinished' WHEN 5 THEN 'target_died' END AS outcome
FROM unmatched_exit u JOIN function f ON f.function_id = u.function_id;

CREATE VIEW agent_events AS
SELECT at_unix_ns, level, kind, message, session_id FROM agent_event;

-- Calls that reached the agent and were lost there; those that the kernel lost are in `completeness`.
CREATE VIEW lost_calls AS
SELECT session_id, at_unix_ns, calls, reason FROM lost_call;

-- `stack` is the functions of a thread's stack, the root first, separated by `;`, as tools for flame
-- graphs take them; what would separate within a name is a `:`. Functions that the compiler inlined
-- are among them. A function without a name is its library in brackets, or `[unknown]`. `call_id` is
-- the innermost captured call of the thread at that moment; NULL where there was none or it is not
-- known. `ns` is the time that a sample stands for: the period, or how long the thread had been off
-- the CPU. `stack_cut` is 1 where the stack does not reach the beginning of its thread.
CREATE VIEW samples AS
SELECT
  a.session_id,
  p.pid,
  a.tid,
  a.at_ns,
  a.call_id,
  k.stack,
  coalesce(a.off_ns, 1000000000 / s.sample_hertz) AS ns,
  a.off_ns IS NOT NULL AS off_cpu,
  k.cut AS stack_cut,
  a.stack_id
FROM sample a
JOIN session s ON s.session_id = a.session_id
JOIN stacks k ON k.stack_id = a.stack_id
LEFT JOIN process p ON p.session_id = a.session_id;

-- Each stack of samples once; `frames` is a JSON list of numbers in `frames`, the root first.
CREATE VIEW stacks AS
SELECT
  stack_id,
  (SELECT group_concat(name, ';') FROM (
    SELECT replace(f.function, ';', ':') AS name
    FROM json_each(stack.frames) j CROSS JOIN frame f ON f.frame_id = j.value
    ORDER BY j.key)) AS stack,
  cut,
  frames
FROM stack;

CREATE VIEW frames AS
SELECT frame_id, function, file, line, module, inlined FROM frame;

-- The target every --stats-interval. Counts and times grow, so that the difference of two rows is
-- what happened between them. blocked_ns is the sum over its threads.
CREATE VIEW process_stats AS
SELECT
  s.session_id, p.pid, s.at_ns,
  s.rss_bytes, s.anon_bytes, s.swap_bytes, s.cpu_user_ns, s.cpu_system_ns, s.minor_faults,
  s.major_faults, s.voluntary_switches, s.involuntary_switches, s.threads,
  s.source,
  s.file_bytes, s.shared_bytes, s.peak_rss_bytes, s.runqueue_ns, s.blocked_ns,
  s.file_descriptors, s.read_bytes, s.written_bytes, s.syscall_read_bytes,
  s.syscall_written_bytes, s.cpu_pressure_some_ns, s.cpu_pressure_full_ns,
  s.memory_pressure_some_ns, s.memory_pressure_full_ns, s.io_pressure_some_ns,
  s.io_pressure_full_ns, s.cgroup_cpu_pressure_some_ns, s.cgroup_cpu_pressure_full_ns,
  s.cgroup_memory_pressure_some_ns, s.cgroup_memory_pressure_full_ns,
  s.cgroup_io_pressure_some_ns, s.cgroup_io_pressure_full_ns, s.cgroup_memory_bytes,
  s.cgroup_memory_limit_bytes, s.cgroup_high_events, s.cgroup_max_events, s.cgroup_oom_kills
FROM process_stat s LEFT JOIN process p ON p.session_id = s.session_id;

-- Each thread in each of these rows. blocked_ns is the time since the thread began less cpu_ns and
-- runqueue_ns. The kernel tells a wait for a CPU when it is over: until then it counts as blocked.
CREATE VIEW thread_stats AS
WITH step AS (
  SELECT *, lead(sample_id) OVER (PARTITION BY thread_id ORDER BY sample_id) AS next_id
  FROM thread_stat
)
SELECT
  t.session_id,
  p.pid,
  t.tid,
  t.name,
  s.at_ns,
  step.cpu_ns,
  step.runqueue_ns,
  max(0, s.at_ns - t.start_ns - step.cpu_ns - step.runqueue_ns) AS blocked_ns,
  step.voluntary_switches,
  step.involuntary_switches,
  t.start_ns
FROM step
JOIN thread t ON t.thread_id = step.thread_id
JOIN process_stat s ON s.sample_id >= step.sample_id
  AND s.sample_id < coalesce(step.next_id, t.end_sample_id, 9223372036854775807)
  AND s.session_id = t.session_id AND s.threads IS NOT NULL
LEFT JOIN process p ON p.session_id = t.session_id;
