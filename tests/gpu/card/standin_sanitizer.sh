#!/usr/bin/env bash
# Stands in for compute-sanitizer: takes its options and runs the program.
set -eu
[ "$1 $3" = "--tool --error-exitcode" ]
shift 4
exec "$@"
