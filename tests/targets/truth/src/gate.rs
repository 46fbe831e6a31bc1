//! Where a target waits for whoever drives it.

use std::io::{self, BufRead};

/// Prints `WORD PID` on a line of its own and waits for a line, or the end, of standard input.
pub fn pause(word: &str) {
    println!("{word} {}", std::process::id());
    wait();
}

/// Waits for a line, or the end, of standard input.
pub fn wait() {
    // An unreadable standard input can not hold anybody up: it counts as ended.
    let _ = io::stdin().lock().read_line(&mut String::new());
}
