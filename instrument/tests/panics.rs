//! What a panic says is told before it unwinds, and nothing of it changes.
#![cfg(all(feature = "enabled", target_os = "linux", target_arch = "x86_64"))]
#![deny(warnings)]

mod probes;

use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Mutex;
use std::task::{Context, Waker};

use exoscope::instrument;
use exoscope_abi::Outcome;
use exoscope_abi::probe::Probe;
use exoscope_abi::record::MESSAGE_LEN;
use probes::{Fired, watch};

/// One hook at a time.
static HOOK: Mutex<()> = Mutex::new(());

/// The messages of panics, with the function of the innermost call of each.
fn messages(run: impl FnOnce()) -> Vec<(String, String)> {
    let _alone = HOOK.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (fired, _) = watch(|| catch_unwind(AssertUnwindSafe(run)));
    let function = |call: u64| {
        let entry = fired
            .iter()
            .find(|fired| fired.probe == Probe::Entry && fired.call == call);
        entry.map_or_else(String::new, |entry| entry.name().to_owned())
    };
    let panics = fired.iter().filter(|fired| fired.probe == Probe::Panic);
    panics
        .map(|fired| {
            let (kind, message) = fired.error.clone().expect("it says something");
            assert_eq!(kind, "panic");
            (function(fired.arguments[1]), message)
        })
        .collect()
}

fn one(function: &str, message: &str) -> Vec<(String, String)> {
    vec![(function.to_owned(), message.to_owned())]
}

#[instrument]
fn says(message: String) {
    panic!("{message}")
}

#[instrument]
fn falls() {
    panic!("a constant")
}

#[test]
fn the_message_is_that_of_the_panic() {
    assert_eq!(messages(|| says("one".into())), one("says", "one"));
    assert_eq!(messages(falls), one("falls", "a constant"));
    assert_eq!(messages(|| panic!("outside")), one("", "outside"));
    assert_eq!(messages(|| panic::panic_any(3)), one("", "Box<dyn Any>"));
    assert_eq!(messages(|| says(String::new())), one("says", ""));
    let long = "x".repeat(2 * MESSAGE_LEN);
    let told = messages(|| says(long.clone()));
    assert_eq!(told, one("says", &long[..MESSAGE_LEN]));
    let nothing = Vec::<u32>::new();
    assert_eq!(
        messages(|| assert_eq!(nothing.as_slice()[nothing.len()], 0)),
        one("", "index out of bounds: the len is 0 but the index is 0")
    );
}

#[test]
fn the_call_that_panicked_is_open_when_it_is_told() {
    let _alone = HOOK.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (fired, _) = watch(|| catch_unwind(falls));
    let probes: Vec<_> = fired
        .iter()
        .map(|fired| (fired.probe, fired.outcome()))
        .collect();
    assert_eq!(
        probes,
        [
            (Probe::Entry, None),
            (Probe::Panic, None),
            (Probe::Error, Some(Outcome::Panic))
        ]
    );
}

#[test]
fn a_panic_that_goes_on_is_told_once() {
    let told = messages(|| {
        let payload = catch_unwind(falls).expect_err("it panics");
        exoscope::call!("resumes", {
            if !payload.is::<u32>() {
                panic::resume_unwind(payload);
            }
        });
    });
    assert_eq!(told, one("falls", "a constant"));
}

#[test]
fn panics_in_destructors_are_told_too() {
    struct Falls;
    impl Drop for Falls {
        fn drop(&mut self) {
            // Caught here, for otherwise the program would end.
            catch_unwind(|| says("second".into())).expect_err("it panics");
        }
    }
    let told = messages(|| {
        let _falls = Falls;
        says("first".into());
    });
    assert_eq!(told, [one("says", "first"), one("says", "second")].concat());
}

#[test]
fn a_future_that_is_dropped_while_the_thread_unwinds_is_cancelled() {
    #[instrument]
    async fn waits() {
        std::future::pending::<()>().await;
    }
    fn falls_beside_it() {
        let mut future = Box::pin(waits());
        let mut context = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_pending());
        panic!("beside it");
    }
    fn falls_in_a_call() {
        exoscope::call!("outer", { falls_beside_it() });
    }
    let _alone = HOOK.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for (outer, run) in [
        (1, falls_in_a_call as fn()),
        // Without a parent, which is 0.
        (0, falls_beside_it),
    ] {
        let (fired, _) = watch(|| catch_unwind(run));
        let of_waits: Vec<_> = fired
            .iter()
            .filter(|fired| fired.name() == "waits")
            .collect();
        let [entry, exit] = of_waits[..] else {
            panic!("it begins and ends: {of_waits:#?}")
        };
        assert_eq!(exit.outcome(), Some(Outcome::Cancelled));
        assert_eq!(exit.parent(), entry.parent());
        let ends_of_all = fired.iter().filter_map(Fired::outcome).count();
        assert_eq!(ends_of_all, 1 + outer);
    }
}

#[test]
fn a_panic_in_what_only_we_ask_for_is_not_told() {
    struct Unspeakable;
    impl std::fmt::Display for Unspeakable {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("unspeakable")
        }
    }
    #[instrument]
    fn fails() -> Result<(), Unspeakable> {
        Err(Unspeakable)
    }
    assert_eq!(messages(|| assert!(fails().is_err())), []);
}

#[test]
fn a_hook_of_the_program_takes_our_place() {
    static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let _alone = HOOK.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let before = panic::take_hook();
    panic::set_hook(Box::new(|info| {
        let message = info.payload().downcast_ref::<String>();
        SEEN.lock()
            .unwrap()
            .push(message.cloned().unwrap_or_default());
    }));
    let (fired, _) = watch(|| catch_unwind(|| says("for the program".into())));
    panic::set_hook(before);
    assert_eq!(*SEEN.lock().unwrap(), ["for the program"]);
    let is_panic = |fired: &&Fired| fired.probe == Probe::Panic;
    assert_eq!(fired.iter().find(is_panic), None);
    // What the program took and put back was ours.
    let (fired, _) = watch(|| catch_unwind(falls));
    assert!(fired.iter().any(|fired| is_panic(&fired)));
}

/// Runs in a process of its own, for [`what_users_see_is_what_the_default_hook_writes`].
#[test]
fn falls_and_writes() {
    if std::env::var_os("EXOSCOPE_FALLS").is_some() {
        falls();
    }
}

#[test]
fn what_users_see_is_what_the_default_hook_writes() {
    let child = |backtrace| {
        let output = Command::new("/proc/self/exe")
            .args(["--exact", "--nocapture", "falls_and_writes"])
            .env("EXOSCOPE_FALLS", "1")
            .env("RUST_BACKTRACE", backtrace)
            .output()
            .expect("it starts");
        assert!(!output.status.success());
        String::from_utf8(output.stderr).expect("it is UTF-8")
    };
    let plain = child("0");
    let lines: Vec<_> = plain.lines().filter(|line| !line.is_empty()).collect();
    let [place, message, note] = lines.as_slice() else {
        panic!("three lines: {plain}")
    };
    assert!(place.contains("panicked at instrument/tests/panics.rs:"));
    assert_eq!(*message, "a constant");
    assert!(note.starts_with("note: run with `RUST_BACKTRACE=1`"));
    // Frames of the hook come before those that are shown.
    let backtrace = child("1");
    assert!(backtrace.contains("panics::falls"), "{backtrace}");
    assert!(!backtrace.contains("exoscope::panic"), "{backtrace}");
}
