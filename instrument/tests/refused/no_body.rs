use exoscope::instrument;

unsafe extern "C" {
    #[instrument]
    fn abs(value: i32) -> i32;
    #[instrument]
    pub safe fn labs(value: i64) -> i64;
}

trait Shape {
    #[instrument]
    fn area(&self) -> f64;
    #[instrument]
    async fn draw(&self);
}

// Those of an instrumented trait are left alone.
#[instrument]
trait Fine {
    fn fine(&self) -> u32;
}

fn main() {}
