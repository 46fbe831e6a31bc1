use exoscope::instrument;

unsafe extern "C" {
    #[instrument]
    fn abs(value: i32) -> i32;
    #[instrument]
    pub safe fn labs(value: i64) -> i64;
}

trait Shape {
    #[instrument]
    fn new() -> Self;
    // Nothing runs here, and nothing is wrong with it.
    #[instrument]
    fn area(&self) -> f64;
}

fn main() {}
