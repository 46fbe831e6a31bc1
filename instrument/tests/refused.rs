//! What can not be instrumented is a compile error at the user's tokens that says what to do.
#![cfg(feature = "enabled")]

#[test]
fn errors_point_at_the_users_code() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/refused/*.rs");
    if cfg!(not(feature = "stream")) {
        cases.compile_fail("tests/refused/without_stream/*.rs");
    }
}
