#!/bin/sh
# Installs what is missing and runs every test: format, licences, lints, documents, architecture, units, stages, whole migrations.
# Safe to run again. Needs root or sudo, for packages and for the tests that mount file systems.
set -eu
cd "$(dirname "$0")/.."
. tests/packages.sh

# shellcheck disable=SC2086 # lists of words
install_packages $PACKAGES_BUILD $PACKAGES_QEMU $PACKAGES_AGENT $PACKAGES_NETBOOT $PACKAGES_POWER $PACKAGES_SOURCE $PACKAGES_WINDOWS $PACKAGES_TEST

install_emulators
require_cargo

step() {
    say "$*"
    begin=$(date +%s)
    "$@"
    echo "    ($(($(date +%s) - begin)) s)"
}

step cargo fmt --check
if command -v cargo-deny >/dev/null 2>&1; then
    step cargo deny check bans licenses sources
else
    echo "    cargo-deny is not installed: the licence test of the suite checks the same list"
fi
if cargo clippy --version >/dev/null 2>&1; then
    step cargo clippy --release --all-targets -- --deny warnings
elif [ -n "${CI:-}" ]; then
    echo "clippy is not installed (rustup component add clippy): in CI the lints must run" >&2
    exit 1
else
    echo "    clippy is not installed: the LINTS WERE NOT CHECKED (rustup component add clippy)"
fi
step env RUSTDOCFLAGS="--deny warnings" cargo doc --release --no-deps
step cargo test --release
say "All checks passed"
