#[exoscope::instrument]
mod elsewhere;

fn main() {}
