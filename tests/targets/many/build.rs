//! Writes the functions: ten in `ten`, a thousand in `thousand`, the rest of ten thousand in `rest`.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

/// Modules and how many functions each has: together 10,000.
const MODULES: [(&str, usize); 3] = [("ten", 10), ("thousand", 1000), ("rest", 8990)];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    let mut text = String::new();
    for (index, (name, functions)) in MODULES.into_iter().enumerate() {
        write_module(&mut text, name, functions, index * 10_000)
            .expect("writing to a string never fails");
    }
    fs::write(Path::new(&folder).join("functions.rs"), text)
        .expect("the folder of cargo can be written");
}

/// Appends a module with `functions` functions and `TABLE`, which points at all of them.
///
/// Each adds another number, from `first` up, so that no two are merged into one.
fn write_module(text: &mut String, name: &str, functions: usize, first: usize) -> std::fmt::Result {
    writeln!(text, "/// {functions} functions.\npub mod {name} {{")?;
    for n in 0..functions {
        let number = first + n + 1;
        writeln!(text, "#[exoscope::instrument]\n#[inline(never)]")?;
        writeln!(text, "fn f{n:04}(x: u64) -> u64 {{ x + {number} }}")?;
    }
    writeln!(
        text,
        "/// All of them.\npub static TABLE: [fn(u64) -> u64; {functions}] = ["
    )?;
    for n in 0..functions {
        writeln!(text, "f{n:04},")?;
    }
    writeln!(text, "];\n}}")
}
