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

#[instrument]
async fn asynchronous_unit() {
    5
}

#[instrument]
fn missing() -> u32 {
    let _ = 1;
}

#[instrument]
async fn asynchronous_missing() -> u32 {
    1;
}

#[instrument]
fn early(text: bool) -> u32 {
    if text {
        return "text";
    }
    1
}

#[instrument]
async fn asynchronous_early(text: bool) -> u32 {
    if text {
        return "text";
    }
    1
}

#[instrument]
#[track_caller]
fn tracked(text: bool) -> u32 {
    if text {
        return "text";
    }
    true
}

#[instrument]
fn unsatisfied() -> impl std::fmt::Display {
    ("",)
}

#[instrument]
async fn asynchronous_unsatisfied() -> impl std::fmt::Display {
    ("",)
}

#[instrument]
fn question(text: &str) -> Option<u32> {
    Some(text.parse::<u32>()?)
}

#[instrument]
fn future() -> impl Future<Output = u32> {
    async { "text" }
}

#[instrument]
fn boxed() -> std::pin::Pin<Box<dyn Future<Output = u32>>> {
    Box::pin(async { "text" })
}

fn main() {}
