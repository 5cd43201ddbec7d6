# What the scripts of this folder share. Sourced by them, never run.
# shellcheck shell=sh disable=SC2034
#
# The cache holds everything that is fetched or made from what was fetched:
#   packages/PACKAGE.deb   Debian packages, never installed
#   bzImage vmlinux        the kernel taken out of its package, packed and unpacked
#   initrd.cpio            the guest's first file system
#   unicorn-VERSION        a Python environment with Unicorn, for Scripts/unicorn-compare.sh alone
#   manifest               one line a file: SHA-256, file, package or origin, version (tab-separated)
set -eu
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

root=$(cd "$(dirname "$0")/.." && pwd)
cache=${ROOST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/roost}
manifest=$cache/manifest
started=$(date +%s)

say() { printf '==> %s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
elapsed() { echo "$(($(date +%s) - started)) s"; }

# Opens the cache for this script alone: two builds at once would write the same files.
open_cache() {
    mkdir -p "$cache/packages" 2>/dev/null || fail "The cache folder $cache cannot be made: set ROOST_CACHE to one that can."
    exec 9>"$cache/lock"
    flock 9
    [ -f "$manifest" ] || : > "$manifest"
}

# --- Debian packages ---

# Runs a command as root; never asks for a password.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n --preserve-env=DEBIAN_FRONTEND,LC_ALL "$@"; fi
}

can_be_root() { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }

# apt-get as root, its own progress shown on a terminal only.
apt() {
    if [ -t 2 ]; then
        as_root apt-get -o DPkg::Lock::Timeout=120 "$@" </dev/null >&2
    else
        as_root apt-get -qq -o DPkg::Lock::Timeout=120 "$@" </dev/null >/dev/null
    fi
}

refresh_package_lists() {
    can_be_root || fail "Debian's package lists are missing or old: run 'apt-get update' as root and try again."
    say "Refreshing Debian's package lists"
    apt update || fail "Debian's package lists cannot be refreshed: check the network and the sources in /etc/apt, then try again."
}

# Installs those of the named packages that are missing.
need() {
    missing=
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    can_be_root || fail "Debian packages are missing: run 'apt-get install$missing' as root and try again."
    say "Installing Debian packages:$missing"
    # The lists may be absent or older than what the archive still holds.
    # shellcheck disable=SC2086
    apt install -y --no-install-recommends $missing 2>/dev/null && return 0
    refresh_package_lists
    # shellcheck disable=SC2086
    apt install -y --no-install-recommends $missing ||
        fail "Debian packages could not be installed: apt's messages say why; run 'apt-get install$missing' as root and try again."
}

# --- Cached files ---

digest() { sha256sum "$1" | cut -d ' ' -f 1; }

# The version recorded for a file of the cache.
version_of() { awk -F '\t' -v file="$1" '$2 == file { print $4 }' "$manifest"; }

# Whether a file of the cache is there and is what was recorded.
intact() {
    recorded=$(awk -F '\t' -v file="$1" '$2 == file { print $1 }' "$manifest")
    [ -n "$recorded" ] && [ -f "$cache/$1" ] || return 1
    [ "$(digest "$cache/$1")" = "$recorded" ] || { say "$1 in the cache is damaged: making it again"; return 1; }
}

# record FILE ORIGIN VERSION: notes in the manifest what a file is.
record() {
    awk -F '\t' -v file="$1" '$2 != file' "$manifest" > "$manifest.new"
    printf '%s\t%s\t%s\t%s\n' "$(digest "$cache/$1")" "$1" "$2" "$3" >> "$manifest.new"
    mv "$manifest.new" "$manifest"
}

# Fetches a Debian package without installing it. Leaves its path in `deb`.
fetch() {
    deb=$cache/packages/$1.deb
    intact "packages/$1.deb" && return 0
    say "Fetching Debian package $1"
    download "$1" || { refresh_package_lists; download "$1"; } ||
        fail "Debian package $1 could not be fetched: check the network and the sources in /etc/apt, then try again."
    record "packages/$1.deb" "$1" "$(dpkg-deb --field "$deb" Version)"
}

# apt-get checks what it downloads against Debian's signed lists.
download() {
    folder=$(mktemp -d "$cache/packages/new.XXXXXX")
    quiet=-qq
    [ -t 2 ] && quiet=-q
    if (cd "$folder" && apt-get $quiet -o APT::Sandbox::User=root download "$1" >&2) && mv "$folder"/*.deb "$deb"; then
        rmdir "$folder"
    else
        rm -rf "$folder"
        return 1
    fi
}

# unpack_file DEB PATH: writes one file of a package to standard output.
unpack_file() { dpkg-deb --fsys-tarfile "$1" | tar -xO "./$2"; }

# --- Swift ---

# The toolchain, and Debian 12's libraries and headers that it leaves to the system.
need_swift() {
    command -v swift >/dev/null || fail "There is no Swift toolchain in PATH: install Swift 6.3 from https://www.swift.org/install and try again."
    swift build --version >/dev/null 2>&1 || need libcurl4 libncurses6 libsqlite3-0 libxml2
    swift build --version >/dev/null 2>&1 || fail "The Swift toolchain in PATH does not run: 'swift build --version' says why."
    [ -e /usr/include/stdlib.h ] || need libc6-dev
    ls /usr/lib/gcc/*/*/libstdc++.so >/dev/null 2>&1 || need libstdc++-12-dev
    command -v ld >/dev/null || need binutils
    [ -e /usr/include/zlib.h ] || need zlib1g-dev
    [ -e /usr/include/zstd.h ] || need libzstd-dev
}

# Builds the command, optimised. Leaves its path in `roost`.
# With Swift's libraries inside the command: it starts sooner, and runs where there is no Swift. LLD does not warn of what they use.
build_roost() {
    need_swift
    say "Building roost (release)"
    (cd "$root" && swift build -c release --static-swift-stdlib -Xswiftc -use-ld=lld --product roost >&2) || fail "The build failed: the compiler's messages above say where."
    roost=$(cd "$root" && swift build -c release --show-bin-path)/roost
}
