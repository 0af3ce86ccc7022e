# Debian packages that replant needs, by purpose, and the function that installs what is missing of them.
# Sourced by tests/run.sh and examples/quickstart/run.sh.

# A linker and a C compiler for the crates that bring C.
PACKAGES_BUILD="gcc libc6-dev"
# The embedded provider: QEMU with firmware for BIOS and UEFI.
PACKAGES_QEMU="qemu-system-x86 qemu-system-common qemu-utils ovmf seabios"
# The agent is assembled from packages with these.
PACKAGES_AGENT="busybox-static kmod zstd xz-utils cpio lz4"
# Network boot: DHCP, TFTP, the first stage.
PACKAGES_NETBOOT="dnsmasq-base ipxe iproute2 xorriso mtools grub-pc-bin grub-efi-amd64-bin grub-common"
# Power: the client, and the emulators that tests talk to.
PACKAGES_POWER="ipmitool openipmi openssl python3-venv"
# The quickstart's source machine and those of the guest matrix are built with these.
PACKAGES_SOURCE="mmdebstrap e2fsprogs fdisk grub-pc-bin grub-common grub-efi-amd64-bin extlinux syslinux-common dosfstools mtools xfsprogs btrfs-progs cpio"
# Drivers are taken out of ISO images and packages, and put into Windows guests, with these.
PACKAGES_WINDOWS="ntfs-3g libhivex-bin python3-hivex libarchive-tools"
# The tests check scripts, XML and mounted disks with these.
PACKAGES_TEST="partclone shellcheck dash libxml2-utils util-linux xfsprogs btrfs-progs ntfs-3g dosfstools mtools lvm2 fuse3 xorriso sysstat libvirt-clients openssh-server openssh-client"

# The comparison with virt-v2v, on demand: the peer, and a kernel for its appliance. No test of tests/run.sh needs them.
# shellcheck disable=SC2034 # for a person
PACKAGES_PEER="virt-v2v libguestfs-tools linux-image-cloud-amd64 nbdkit libnbd-bin"

say() { printf '\n==> %s\n' "$*"; }

# as_root COMMAND...: runs it as root, through sudo where we are not.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# installed PACKAGE: whether Debian's package manager has it installed.
installed() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'
}

# install_packages PACKAGE...: installs those that are missing, by name, and says so. Safe to run again.
install_packages() {
    missing=
    for package in "$@"; do
        installed "$package" || missing="$missing $package"
    done
    if [ -z "$missing" ]; then
        say "Debian packages: nothing is missing"
        return
    fi
    say "Installing Debian packages:$missing"
    as_root apt-get update -q
    # A QEMU part that is installed from a suite which is no longer configured blocks the others: bring all
    # parts to the version that the configured suites have.
    pinned=
    candidate=$(apt-cache policy qemu-system-x86 | awk '/Candidate:/ { print $2 }')
    for package in qemu-utils qemu-system-common; do
        if installed "$package" && [ "$(dpkg-query -W -f '${Version}' "$package")" != "$candidate" ]; then
            pinned="$pinned $package=$candidate"
        fi
    done
    # shellcheck disable=SC2086 # lists of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends --allow-downgrades $missing $pinned
}

# install_emulators: sushy-tools (Redfish) from PyPI, once, below ~/.cache/replant. Safe to run again.
install_emulators() {
    emulators="$HOME/.cache/replant/emulators"
    [ -x "$emulators/bin/sushy-emulator" ] && return
    say "Installing sushy-tools into $emulators"
    python3 -m venv "$emulators"
    "$emulators/bin/pip" install -q "sushy-tools==2.2.0" bcrypt
}

# require_cargo: says how to get Rust when it is not there.
require_cargo() {
    if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
    fi
    if ! command -v cargo >/dev/null 2>&1; then
        echo "cargo is not on PATH: install Rust 1.95 or newer (https://rustup.rs), then run this again" >&2
        exit 1
    fi
}
