//! Tests of exoscope from outside. They need root and Linux on x86-64; without the rights they fail.

mod variants;
