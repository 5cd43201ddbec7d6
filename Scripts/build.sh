#!/bin/sh
# Builds the command, optimised, and says where it is.
. "$(dirname "$0")/common.sh"
build_roost
say "Built $roost ($(elapsed))"
