#!/usr/bin/env bash
# Every C file stands as clang-format leaves it.
cd "$(dirname "$0")/../.." || exit 1
git ls-files -co --exclude-standard '*.c' '*.h' | xargs -r clang-format --dry-run -Werror
