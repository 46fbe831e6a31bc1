use exoscope::instrument;

#[instrument]
fn synchronous() -> u32 {
    "text"
}

#[instrument]
async fn asynchronous() -> u32 {
    "text"
}

#[instrument]
fn unit() {
    5
}

fn main() {}
