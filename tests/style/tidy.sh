#!/usr/bin/env bash
# clang-tidy over every C file that the build compiles. usage: tidy.sh BUILD_DIR [FILE...]
cd "$(dirname "$0")/../.." || exit 1
build=$1
shift
files=("$@")
[ $# -gt 0 ] || mapfile -t files < <(git ls-files -co --exclude-standard '*.c')
[ ${#files[@]} -gt 0 ] || exit 1
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 1 clang-tidy -p "$build" --quiet 2>/dev/null
