use exoscope::instrument;

#[instrument(level = "info", level = "debug")]
fn twice() {}

#[instrument(err(Json))]
fn unknown_form() {}

#[instrument(fields(a = ))]
fn empty_value_is_fine(a: u32) {}

#[instrument(fields(= a))]
fn field_without_name(a: u32) {}

#[instrument(fields(% "quoted"))]
fn sigil_without_value() {}

#[instrument(args(b))]
fn no_such_argument(a: u32) {}

#[instrument(args(b))]
fn no_argument() {}

#[instrument(skip(c))]
fn nothing_to_skip(&(a, b): &(u32, u32)) {}

#[instrument(level = "loud")]
fn unknown_level() {}

#[instrument(level = 6)]
fn unknown_number() {}

#[instrument(name = "a\0b")]
fn nul() {}

struct Store;

#[instrument(name = "store")]
impl Store {}

#[instrument(skip_all, fields(a = 1))]
impl Store {}

#[instrument(nmae = "store")]
impl Store {}

#[instrument(parent = &self.span)]
impl Store {}

fn main() {}
