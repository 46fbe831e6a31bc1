#!/bin/sh
# A compiler for cargo, as RUSTC_WORKSPACE_WRAPPER: what exoscope reads with says which of its branches
# were taken, so that libFuzzer knows which bytes lead to something new. Cargo keeps what is compiled
# with it apart from the rest, and shares all other packages with an ordinary build.
case " $* " in
*" --crate-name exoscope_abi "* | *" --crate-name exoscope_agent "* | *" --crate-name exoscope_fuzz "*)
    exec "$@" \
        -C passes=sancov-module \
        -C llvm-args=-sanitizer-coverage-level=4 \
        -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
        -C llvm-args=-sanitizer-coverage-pc-table \
        -C llvm-args=-sanitizer-coverage-trace-compares \
        -C llvm-args=-simplifycfg-branch-fold-threshold=0 \
        -C debug-assertions=on
    ;;
*) exec "$@" ;;
esac
