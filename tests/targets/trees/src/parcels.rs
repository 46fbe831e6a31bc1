//! Futures that one call begins or makes, and another one finishes.

use std::collections::HashMap;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::executor::block_on;
use crate::futures::Task;
use crate::log::CallId;

/// Futures for a call, by its number.
static HANDED: LazyLock<Mutex<HashMap<CallId, Task>>> = LazyLock::new(Mutex::default);
/// Futures that are left until everything else is done, and whether they are to be finished then.
static LEFT: Mutex<Vec<(Task, bool)>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done while the lock is held leaves anything half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands a future to `call`, which has not begun.
pub fn give(call: CallId, task: Task) {
    locked(&HANDED).insert(call, task);
}

/// What was handed to `call`.
pub fn take(call: CallId) -> Option<Task> {
    locked(&HANDED).remove(&call)
}

/// Leaves a future for [`clear`] to finish, or to drop.
pub fn leave(task: Task, finish: bool) {
    locked(&LEFT).push((task, finish));
}

/// Does what is left to do, outside of every call; it may leave more.
pub fn clear() {
    loop {
        let mut left = mem::take(&mut *locked(&LEFT));
        left.extend(
            mem::take(&mut *locked(&HANDED))
                .into_values()
                .map(|task| (task, false)),
        );
        if left.is_empty() {
            return;
        }
        for (task, finish) in left {
            // Nobody waits for its answer.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                if finish {
                    let _ = block_on(task.polled_by(0));
                }
            }));
        }
    }
}
