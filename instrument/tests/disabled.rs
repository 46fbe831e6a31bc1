//! With the feature `enabled` off nothing of the crate is left: neither in the code that the
//! attribute gives back nor in the binary.

use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object, ObjectSection};

/// A program that uses what the crate offers, and a `const fn`, which the attribute would refuse if it
/// looked at it.
const PROGRAM: &str = r#"
#[exoscope::instrument(name = "other", fields(a), skip_all)]
fn add(a: u32, b: u32) -> u32 { a + b }
struct Store;
#[exoscope::instrument]
impl Store {
    async fn get(&self) -> u32 { 1 }
    #[exoscope::skip]
    fn left_out(&self) -> u32 { 2 }
    const fn constant() -> u32 { 3 }
}
#[exoscope::instrument]
const fn constant() -> u32 { 4 }
fn main() {
    let sum = exoscope::call!("sum", { add(1, 2) + Store.left_out() + Store::constant() });
    let future = exoscope::future!("get", Store.get());
    println!("{} {}", sum + constant(), size_of_val(&future));
}
"#;

/// Builds the program in a folder of its own and gives the path of its binary.
fn build(name: &str, features: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let library = env!("CARGO_MANIFEST_DIR");
    std::fs::create_dir_all(folder.join("src")).expect("the folder can be made");
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\nexoscope = {{ path = {library:?}, features = [{features}] }}\n"
    );
    std::fs::write(folder.join("Cargo.toml"), manifest).expect("the manifest can be written");
    // In `enabled` mode a `const fn` is refused; that is another test's subject.
    let program = if features.is_empty() {
        PROGRAM.to_owned()
    } else {
        PROGRAM.replace("#[exoscope::instrument]\nconst", "const")
    };
    std::fs::write(folder.join("src/main.rs"), program).expect("the source can be written");
    let target = folder.join("target");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .status()
        .expect("cargo starts");
    assert!(status.success(), "{name} does not build");
    target.join("debug").join(name)
}

fn output(binary: &Path) -> String {
    let output = Command::new(binary).output().expect("the program starts");
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

fn sections(binary: &Path) -> Vec<String> {
    let bytes = std::fs::read(binary).expect("the binary can be read");
    let file = object::File::parse(bytes.as_slice()).expect("it is an ELF file");
    let names = file
        .sections()
        .map(|section| section.name().unwrap_or_default().to_owned());
    names
        .filter(|name| name.contains("exoscope") || name.contains("stapsdt") || name == ".probes")
        .collect()
}

fn symbols(binary: &Path) -> usize {
    let bytes = std::fs::read(binary).expect("the binary can be read");
    let mentions = |text: &[u8]| {
        bytes
            .windows(text.len())
            .filter(|part| *part == text)
            .count()
    };
    mentions(b"__EXOSCOPE_FUNCTION") + mentions(b"pthread_atfork")
}

#[test]
fn the_binary_has_no_trace_of_markers() {
    let binary = build("disabled", "");
    assert_eq!(output(&binary), "12 16\n");
    assert_eq!(sections(&binary), [""; 0]);
    assert_eq!(symbols(&binary), 0);
}

#[test]
fn the_same_program_has_markers_when_the_feature_is_on() {
    let binary = build("enabled", "\"enabled\"");
    let mut sections = sections(&binary);
    sections.sort();
    assert_eq!(
        sections,
        [
            ".exoscope.chain",
            ".note.exoscope",
            ".note.stapsdt",
            ".probes",
            ".stapsdt.base"
        ]
    );
    assert!(symbols(&binary) > 0);
    assert!(output(&binary).starts_with("12 "));
}
