//! Builds the BPF object that becomes part of the program.

fn main() {
    exoscope_ebpf_build::emit();
}
