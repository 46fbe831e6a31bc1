use exoscope::instrument;

#[instrument]
unsafe extern "C" fn variadic(first: i32, more: ...) -> i32 {
    first
}

#[instrument]
gen fn generates() -> u32 {
    yield 1;
}

#[instrument]
async gen fn generates_later() -> u32 {
    yield 1;
}

#[instrument]
fn gives_generator() -> impl Iterator<Item = u32> {
    gen {
        yield 1;
    }
}

#[instrument]
fn gives_moving_generator(limit: u32) -> impl Iterator<Item = u32> {
    let limit = limit + 1;
    gen move {
        yield limit;
    }
}

fn main() {
    let closure = #[instrument]
    |a: u32| a + 1;
    let moving = #[instrument]
    move |a: u32| a + 1;
    let future = #[instrument]
    async { 1 };
    #[instrument]
    let statement = 1;
    #[instrument]
    {
        1;
    }
}
