//! The crates: code that nobody here wrote, each using the attribute in ways of its own.

/// A published crate.
#[derive(Clone, Copy, Debug)]
pub struct Crate {
    /// Its name in the registry.
    pub name: &'static str,
    /// The exact version.
    pub version: &'static str,
    /// What it shows that others do not.
    pub shows: &'static str,
    /// Features, and whether its default ones are on, as arguments of cargo.
    pub features: &'static [&'static str],
    /// Which of its test binaries, as arguments of `cargo test`.
    pub tests: &'static [&'static str],
    /// Parts of the names of tests that are left out; why stands beside each.
    pub without: &'static [&'static str],
    /// Its tests run one after another: they share state of the process, and disturb each other even as
    /// published.
    pub in_turn: bool,
    /// It is built and tested within a minute or so: one of those that CI takes.
    pub quick: bool,
    /// At least so many functions are seen to be called.
    pub functions: usize,
    /// At least so many calls are seen.
    pub calls: u64,
}

/// Every crate.
pub const CRATES: &[Crate] = &[
    Crate {
        name: "wmf-core",
        version: "0.1.2",
        shows: "`cfg_attr`, `err(level = …, Display)`, `fields`",
        features: &[],
        tests: &["--tests"],
        without: &[],
        in_turn: false,
        quick: true,
        functions: 69,
        calls: 479,
    },
    Crate {
        name: "tower-sessions-core",
        version: "0.15.0",
        shows: "methods that are `async` and fail, `err`",
        features: &[],
        tests: &["--lib"],
        without: &[],
        in_turn: false,
        quick: true,
        functions: 2,
        calls: 7,
    },
    Crate {
        name: "openraft",
        version: "0.9.25",
        shows: "`async_trait`",
        features: &[],
        tests: &["--lib"],
        without: &[],
        in_turn: false,
        quick: false,
        functions: 47,
        calls: 395,
    },
    Crate {
        name: "reactive_graph",
        version: "0.3.0-rc1",
        shows: "track_caller",
        features: &["--features=tracing,effects"],
        tests: &["--tests"],
        without: &[],
        // `ImmediateEffect` has one batch a process: an effect of one test that runs while another test has
        // it open is late. On a busy machine that is one run in a hundred.
        in_turn: true,
        quick: true,
        functions: 10,
        calls: 40_000,
    },
];
