async fn wait() {}

async fn outer() {
    exoscope::call!("outer", { wait().await });
}

fn main() {
    drop(outer());
}
