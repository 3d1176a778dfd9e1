#!/usr/bin/env bash
# The repository speaks of the project alone: no path of a machine, no open ends.
cd "$(dirname "$0")/../.." || exit 1
git ls-files --error-unmatch README.md >/dev/null || exit 1 # no git, nothing would be found
bad=$(git grep -nE '(^|[^a-zA-Z0-9._-])/(work|root|home)/[a-z]' -- . ':!tests/style/words.sh' ':!*.jsonl'
	git grep -nE '\b(TODO|FIXME|XXX)\b' -- '*.c' '*.h' '*.sh' '*.gp' '*.txt' ':!tests/style/words.sh')
[ -z "$bad" ] || { printf '%s\n' "$bad"; exit 1; }
