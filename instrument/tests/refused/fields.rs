use exoscope::instrument;

struct Opaque;

#[instrument(fields(%value))]
fn no_display(value: Opaque) {
    drop(value);
}

#[instrument(fields(shown = ?value))]
async fn no_debug(value: Opaque) {
    drop(value);
}

#[instrument(fields(sum = value + 1))]
fn no_sum(value: Opaque) {
    drop(value);
}

#[instrument(ret(Display))]
fn returns_no_display() -> Opaque {
    Opaque
}

#[instrument(fields(name = missing))]
fn no_such_value() {}

fn main() {}
