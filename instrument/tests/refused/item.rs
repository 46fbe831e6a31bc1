#[exoscope::instrument]
struct Store {
    values: Vec<u32>,
}

#[exoscope::instrument]
static COUNT: u32 = 1;

fn main() {}
