#!/bin/sh
# Carries out random instructions on Unicorn and on 'roost cpu step', in 16-bit real and 32-bit protected mode, and compares.
# Unicorn comes from PyPI into the cache; nothing of Roost needs it. Arguments are handed on:
#   --count N     how many, spread evenly over the groups of instructions and both modes (1000000)
#   --seed N      what they are made from; the same seed makes the same (1)
#   --mode MODE   only real16 or prot32
#   --group NAME  only one group
#   --show N      how many unexplained differences of a kind are shown in full (2)
. "$(dirname "$0")/common.sh"
version=2.1.4
need python3 python3-venv
open_cache
python=$cache/unicorn-$version/bin/python
if ! "$python" -c 'import unicorn' 2>/dev/null; then
    say "Fetching Unicorn $version from PyPI"
    python3 -m venv --clear "$cache/unicorn-$version" >&2 || fail "Python made no environment: its messages above say why."
    "$python" -m pip install --quiet --disable-pip-version-check --only-binary :all: "unicorn==$version" >&2 ||
        fail "Unicorn could not be fetched: check the network and try again."
fi
exec 9>&-
build_roost
exec "$python" "$root/Scripts/unicorn-compare.py" "$roost" "$@"
