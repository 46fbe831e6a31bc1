use exoscope::instrument;

#[instrument(nmae = "other")]
fn misspelt() {}

#[instrument(level = "info", level = "debug")]
fn twice() {}

#[instrument(err(Json))]
fn unknown_form() {}

#[instrument(fields(a = ))]
fn empty_value_is_fine(a: u32) {}

#[instrument(fields(= a))]
fn field_without_name(a: u32) {}

struct Store;

#[instrument(name = "store")]
impl Store {}

fn main() {}
