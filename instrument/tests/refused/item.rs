#[exoscope::instrument]
struct Store {
    values: Vec<u32>,
}

#[exoscope::instrument]
static COUNT: u32 = 1;

#[exoscope::instrument]
const LIMIT: u32 = 1;

#[exoscope::instrument]
enum Kind {}

#[exoscope::instrument]
union Word {
    number: u32,
}

#[exoscope::instrument]
type Number = u32;

#[exoscope::instrument]
use std::fmt;

#[exoscope::instrument]
extern crate core;

#[exoscope::instrument]
macro_rules! rules {
    () => {};
}

#[exoscope::instrument]
std::thread_local!(static LOCAL: u32 = 1);

struct Ours;

impl Ours {
    #[exoscope::instrument]
    const LIMIT: u32 = 1;
}

fn main() {}
