trait Stream {
    type Item;
}

impl Stream for u32 {
    type Item = u32;
}

#[exoscope::instrument]
fn numbers() -> impl Stream<Item = u32> {
    1_u32
}

fn main() {}
