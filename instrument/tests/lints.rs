//! Code without a warning has none when it is instrumented, whatever lints are on.
#![cfg(feature = "enabled")]
#![deny(warnings, clippy::all, clippy::pedantic)]
#![allow(clippy::unused_async, clippy::manual_async_fn, dead_code)]

use std::future::Future;
use std::pin::Pin;

use exoscope::instrument;

async fn suspend() {
    std::future::ready(()).await;
}

#[instrument]
fn prints() {
    println!("text");
}

#[instrument(args(limit))]
fn leaves_early(empty: bool, limit: u32) -> Option<u32> {
    if empty {
        return None;
    }
    let more = limit.checked_add(1)?;
    Some(more)
}

#[instrument(ret, err)]
fn unit_in_result() -> Result<(), std::fmt::Error> {
    prints();
    Ok(())
}

#[instrument(fields(number, more = number + 1), ret)]
async fn unit_in_future(number: u32) {
    println!("{number}");
    suspend().await;
}

#[instrument]
fn panics(number: u32) -> u32 {
    panic!("{number}");
}

#[instrument]
async fn panics_in_future(number: u32) -> u32 {
    panic!("{number}");
}

#[instrument]
async fn never_in_future() -> ! {
    panic!()
}

#[instrument]
async fn waits_for_ever() {
    loop {
        suspend().await;
    }
}

#[instrument]
fn runs_for_ever() -> ! {
    loop {
        std::thread::yield_now();
    }
}

#[instrument]
#[track_caller]
fn tracked(number: u32) -> u32 {
    if number > 3 {
        return 1;
    }
    unreachable!()
}

#[instrument]
#[track_caller]
fn tracked_panic(number: u32) -> u32 {
    panic!("{number}")
}

#[instrument(fields(?values))]
fn changes(mut values: Vec<u32>) -> Vec<u32> {
    values.push(1);
    values
}

#[instrument]
fn large() -> [u8; 4096] {
    [1; 4096]
}

#[instrument]
async fn borrows<'a>(text: &'a str, _more: &mut String) -> &'a str {
    suspend().await;
    text
}

#[instrument(level = "debug", skip_all, parent = None, follows_from = [cause], fields(later))]
fn caused(cause: u32) {}

#[rustfmt::skip]
mod on_one_line {
    use super::{Future, Pin, instrument};

    #[instrument]
    async fn future() -> u32 { 1 }
    #[instrument]
    #[track_caller]
    fn tracked() -> u32 { 1 }
    #[instrument]
    fn plain() -> u32 { 1 }
    #[instrument]
    fn movable() -> impl Future<Output = u32> + Unpin { std::future::ready(1) }
    #[instrument]
    fn implied() -> impl Future<Output = u32> { std::future::ready(1) }
    #[instrument(fields(number = 1))]
    fn boxed() -> Pin<Box<dyn Future<Output = u32>>> { Box::pin(async { 1 }) }
    #[instrument(fields(number = 1), err, ret)]
    fn block() -> impl Future<Output = Result<u32, String>> { async { Ok(1) } }
    #[instrument]
    async fn never() -> ! { panic!() }
}

struct Store<T> {
    value: T,
}

#[instrument]
impl<T: Clone + Default> Store<T> {
    fn get(&self) -> &T {
        &self.value
    }
    fn get_mut(&mut self) -> &mut T {
        &mut self.value
    }
    #[must_use]
    fn take(&mut self) -> T {
        std::mem::take(&mut self.value)
    }
    async fn wait(&self) -> &T {
        suspend().await;
        &self.value
    }
    fn converted<U: From<T>>(&self) -> U
    where
        T: Clone,
    {
        U::from(self.value.clone())
    }
}

#[async_trait::async_trait]
trait Wait {
    async fn wait(&self, (first, second): (u32, u32)) -> Result<u32, String>;
}

#[async_trait::async_trait]
impl Wait for Store<u32> {
    #[instrument(fields(%self.value), err, ret)]
    async fn wait(&self, (first, second): (u32, u32)) -> Result<u32, String> {
        if first == second {
            return Err("same".into());
        }
        suspend().await;
        Ok(first + self.value)
    }
}

#[test]
fn it_compiles() {
    assert_eq!(leaves_early(false, 1), Some(2));
    assert_eq!(changes(Vec::new()).len() + large().len(), 4097);
    prints();
    assert!(unit_in_result().is_ok());
    caused(1);
}
