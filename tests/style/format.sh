#!/usr/bin/env bash
# Every C file stands as clang-format leaves it.
cd "$(dirname "$0")/../.." || exit 1
files=$(git ls-files -co --exclude-standard '*.c' '*.h') && [ -n "$files" ] || exit 1
printf '%s\n' "$files" | xargs clang-format --dry-run -Werror
