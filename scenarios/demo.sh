#!/usr/bin/env bash
# The demo: installs what is missing, builds, runs scenarios/demo.yaml, and names the figures it drew.
set -euo pipefail
cd "$(dirname "$0")/.."
. scenarios/setup.sh

case "${1:-}" in
-h | --help)
	cat <<-'TXT'
		usage: bash scenarios/demo.sh [flags of loadgen run]

		Two fake engines under 1, 2, 4, 8 and 16 concurrent requests: installs missing Debian packages, builds,
		runs scenarios/demo.yaml (about a minute) and ends with the paths of the figures.

		  bash scenarios/demo.sh --set load.requests=40      any key of the scenario can be overridden
	TXT
	exit 0
	;;
esac

# shellcheck disable=SC2086
need_packages $runtime_packages
build release loadgen fakeengine
out=results/demo-$(date -u +%Y%m%dT%H%M%SZ)
build/release/bin/loadgen run scenarios/demo.yaml --out "$out" "$@"
echo "Figures:"
find "$out/plots" -name '*.png' 2>/dev/null | sort | sed 's/^/  /'
