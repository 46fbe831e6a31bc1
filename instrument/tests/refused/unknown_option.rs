// Unknown options are passed over with a warning, as `tracing` does.
#![deny(warnings)]

#[exoscope::instrument(nmae = "other", skip_all)]
fn misspelt() {}

fn main() {
    misspelt();
}
