//! Logging for debug builds: what is rare and hard to see otherwise. Without the feature `log`
//! nothing of it is in the programs.

/// Logs a sentence, with the context of the program first.
#[cfg(feature = "log")]
macro_rules! debug {
    ($ctx:expr, $($arguments:tt)*) => {
        aya_log_ebpf::debug!($ctx, $($arguments)*)
    };
}

/// Logs nothing.
#[cfg(not(feature = "log"))]
macro_rules! debug {
    ($ctx:expr, $($arguments:tt)*) => {{
        let _ = $ctx;
    }};
}

pub(crate) use debug;
