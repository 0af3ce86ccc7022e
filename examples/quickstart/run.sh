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

say "Making the source machine in $work/source (a real Debian, two disks; cached for the next time)"
"$project/examples/quickstart/make-source.sh" "$work/source"

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
expected=$(cat source/expected)
marker=$(grep -a -o 'QUICKSTART-READY.*' vms/web01/console.log | tail -n 1 | tr -d '\r')
for word in $expected; do
    case " $marker " in
        *" $word "*) echo "    same on both sides: $word" ;;
        *) echo "    NOT the same: the source holds $word, the VM says: $marker" >&2; exit 1 ;;
    esac
done

say "replant apply plan.yaml --yes, again: nothing is left to do"
replant apply plan.yaml --yes

say "Done. The VM runs; stop it with: replant vm stop --folder $work/vms/web01"
