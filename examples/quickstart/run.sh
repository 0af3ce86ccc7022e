#!/bin/sh
# The quickstart: installs what is missing, builds replant, makes a real small Debian machine that does not boot on
# virtio hardware, migrates it (plan, capture, create, deploy, convert, start) and shows that it boots.
# usage: examples/quickstart/run.sh [FOLDER]    FOLDER keeps the work; default ~/replant-quickstart
# Safe to run again: what is done is not done twice.
set -eu
cd "$(dirname "$0")/../.."
project=$PWD
. tests/packages.sh

# shellcheck disable=SC2086 # lists of words
install_packages $PACKAGES_BUILD $PACKAGES_QEMU $PACKAGES_AGENT $PACKAGES_SOURCE
require_cargo

say "Building replant"
cargo build --release
PATH="$project/target/release:$PATH"
export PATH

work=${1:-$HOME/replant-quickstart}
mkdir -p "$work"
cd "$work"

if [ -e source/web01-sdb.raw ]; then
    # Made anew it would be another machine, with other times and checksums.
    say "The source machine is in $work/source already"
else
    say "Making the source machine in $work/source (a real Debian, two disks; its packages are cached for the next time)"
    "$project/examples/quickstart/make-source.sh" "$work/source"
fi

if [ ! -e plan.yaml ]; then
    say "replant init"
    replant init .
    cp "$project/examples/quickstart/plan.yaml" plan.yaml
fi

say "replant plan plan.yaml"
replant plan plan.yaml

say "replant apply plan.yaml --yes"
replant apply plan.yaml --yes

say "The migrated machine's console"
replant vm console --folder vms/web01 --wait-for QUICKSTART-READY --timeout 5m

say "Comparing what it reports with what the source holds"
expected=$(cat source/web01.expected)
if ! grep -a -q -F "$expected" vms/web01/console.log; then
    echo "    NOT the same: the source would say: $expected" >&2
    echo "    to begin anew: replant vm stop --folder $work/vms/web01; rm -r $work" >&2
    exit 1
fi
echo "    the same checksums on both sides: $expected"

say "replant apply plan.yaml --yes, again: nothing is left to do"
replant apply plan.yaml --yes

say "Done. The VM runs; stop it with: replant vm stop --folder $work/vms/web01"
