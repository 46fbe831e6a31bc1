//! What the programs of a debug build log, on standard error.

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

/// Reads the log of the programs. A release build's programs have none.
pub struct ProgramLog(Option<EbpfLogger<Printer>>);

impl ProgramLog {
    /// The log of a loaded object.
    pub fn of(ebpf: &mut Ebpf) -> Self {
        Self(EbpfLogger::init_with_logger(ebpf, Printer).ok())
    }

    /// Prints what was logged since the last time.
    pub fn flush(&mut self) {
        if let Some(logger) = &mut self.0 {
            logger.flush();
        }
    }
}

/// Prints each line of the log.
struct Printer;

impl Log for Printer {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        eprintln!("exoscope: bpf: {}", record.args());
    }

    fn flush(&self) {}
}
