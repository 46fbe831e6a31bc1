//! The BPF programs of exoscope.
//!
//! Three programs take the markers ([`marker`]): `entry` puts a call into the table of open calls
//! ([`table`]), `exit` and `error` take it out and submit one record ([`emit`]). A call's parent is
//! found along the chain of open calls in the target's memory ([`chain`]). What some calls have
//! besides, fields and links and the messages of panics, is in [`extras`], and polls and wake-ups in [`polls`]. Apart from the
//! records, every program counts ([`totals`]), so that the agent can prove that nothing is missing.
//! On request [`sample`] takes stacks of running threads, and [`off_cpu`] those of others. The agent
//! sets [`config`] and the sizes of [`maps`] when it loads the object.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![allow(internal_features)]

mod atomic;
mod chain;
mod config;
mod cpu_time;
mod emit;
mod extras;
mod figures;
mod kernel;
mod log;
mod maps;
mod marker;
mod off_cpu;
mod polls;
mod ring;
mod sample;
mod table;
mod tasks;
mod totals;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // Nothing here panics: the verifier would reject a program that reaches this loop.
    loop {}
}

/// The helpers that the programs use are open to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
