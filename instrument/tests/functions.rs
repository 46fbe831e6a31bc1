//! Instrumented functions do what bare ones do.
#![cfg(feature = "enabled")]
use exoscope::instrument;

#[instrument]
fn add(a: u32, b: u32) -> u32 {
    a + b
}
struct V {
    v: Vec<u32>,
    s: String,
}
#[instrument]
impl V {
    fn get(&mut self) -> &mut u32 {
        &mut self.v[0]
    }
    fn name(&self) -> &str {
        &self.s
    }
    fn iter(&self) -> impl Iterator<Item = &u32> {
        self.v.iter()
    }
    fn into(self) -> String {
        self.s
    }
    async fn a(&self, (x, _): (u32, u8), mut y: u32) -> &u32 {
        y += x;
        let _ = y;
        tokio_free().await;
        &self.v[0]
    }
    const fn c() -> u32 {
        1
    }
}
#[instrument]
async fn tokio_free() {}
#[instrument]
fn q(s: &str) -> Result<u32, std::num::ParseIntError> {
    let x: u32 = s.parse()?;
    if x == 3 {
        return Ok(4);
    }
    Ok(x)
}
#[instrument]
fn forever() -> ! {
    panic!("no")
}
#[instrument]
async fn aforever() -> ! {
    panic!("no")
}

#[instrument]
fn boxed(x: u32) -> std::pin::Pin<Box<dyn Future<Output = Result<u32, String>> + Send>> {
    Box::pin(async move { Ok(x) })
}
#[instrument]
async fn dy(x: u32) -> Result<Box<dyn std::fmt::Debug>, Box<dyn std::error::Error + Send + Sync>> {
    if x == 3 {
        return Err("e".into());
    }
    let v: u32 = "1".parse()?;
    Ok(Box::new(v))
}

#[test]
fn values() {
    assert_eq!(add(1, 2), 3);
    let mut v = V {
        v: vec![1],
        s: "x".into(),
    };
    *v.get() = 5;
    assert_eq!(v.name(), "x");
    assert_eq!(v.iter().count(), 1);
    assert_eq!(V::c(), 1);
    assert_eq!(v.into(), "x");
    assert_eq!(q("3"), Ok(4));
    assert!(q("x").is_err());
    assert!(std::panic::catch_unwind(|| forever()).is_err());
    assert_eq!(exoscope::call!("x", { 1 + 1 }), 2);
    std::mem::drop(boxed(1));
    std::mem::drop(dy(1));
    std::mem::drop(aforever());
}
