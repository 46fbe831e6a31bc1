//! The command `exoscope`.

fn main() -> std::process::ExitCode {
    exoscope_agent::cli::main()
}
