#!/bin/sh
# fuzz/run.sh [SECONDS] [TARGET...]: runs each target (all if none is named) under libFuzzer for so many seconds (20), on the
# stable toolchain: the flags that cargo-fuzz gives to everything are given to our own crate alone, so that the libraries
# are those that the tests use. New inputs stay in fuzz/corpus/TARGET, what fails in fuzz/artifacts/TARGET. Needs g++.
set -eu
cd "$(dirname "$0")"
seconds=${1:-20}
[ $# -gt 0 ] && shift

wrapper=$PWD/target/instrument.sh
mkdir -p target corpus artifacts
cat >"$wrapper" <<'WRAPPER'
#!/bin/sh
case " $* " in
*" --crate-name replant "* | *" --crate-name any "*)
    exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing
    ;;
esac
exec "$@"
WRAPPER
chmod +x "$wrapper"
[ -f Cargo.lock ] || cp ../Cargo.lock Cargo.lock
# The folder of the tests: their libraries are built already.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/../target}"
RUSTC_WRAPPER=$wrapper ${CARGO:-cargo} build --bin any
fuzzer=$CARGO_TARGET_DIR/debug/any

for target in ${*:-$(sed -n 's/^name = "\(.*\)"/\1/p' Cargo.toml | grep -v -e '^any$' -e '^replant-fuzz$')}; do
    mkdir -p "corpus/$target" "artifacts/$target"
    log=artifacts/$target/log
    if REPLANT_FUZZ_TARGET=$target "$fuzzer" "corpus/$target" -max_total_time="$seconds" -max_len=65536 -timeout=10 \
        -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="artifacts/$target/" >"$log" 2>&1; then
        echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions, nothing found"
    else
        echo "$target: FAILED after $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions, see $log"
        failed=1
    fi
done
exit ${failed:-0}
