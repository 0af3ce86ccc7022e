# The steps of tests/run.sh, one by one. `just ci` is what the continuous integration runs.

fmt:
    cargo fmt --check

lint:
    cargo clippy --release --all-targets -- --deny warnings

test:
    cargo test --release

deny:
    cargo deny check bans licenses sources

docs:
    RUSTDOCFLAGS="--deny warnings" cargo doc --release --no-deps

bench:
    cargo bench

ci:
    tests/run.sh
