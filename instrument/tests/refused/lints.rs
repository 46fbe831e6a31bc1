// What the compiler says of the bare function, it says of the instrumented one.
#![deny(warnings)]

use exoscope::instrument;

#[instrument]
fn unused_argument(a: u32) {
    let b = 1;
    Ok::<u32, u32>(1);
}

#[instrument]
async fn unused_in_future(a: u32, mut b: String) {
    let c = 1;
    async {};
    b.len();
    return;
    unreachable();
}

#[instrument]
fn unreachable() -> u32 {
    return 1;
    2
}

#[instrument]
#[must_use]
fn important() -> u32 {
    1
}

#[instrument]
#[deprecated]
fn old() {}

fn main() {
    unused_argument(1);
    drop(unused_in_future(1, String::new()));
    important();
    old();
    unused_later();
}

#[instrument]
async fn unused_later() {}
