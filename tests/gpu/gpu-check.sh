#!/usr/bin/env bash
# Proves or disproves gpu_engine's CUDA executor on this machine's card: builds what that takes, runs gpu_check, leaves
# one JSON report. Less than ten minutes on a card, not counting the build. Never run on a card so far.
#
#   bash tests/gpu/gpu-check.sh                       report in ./gpu-check.json
#   bash tests/gpu/gpu-check.sh -m model.gguf         ... with this model's tokens and speed as well
#   bash tests/gpu/gpu-check.sh -o FILE --only LIST   what build/release-tests/bin/gpu_check --help lists
#
# Exit code: 0 all is right and no goal is missed, 1 something is not, 2 it can not run.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
. "$here/scenarios/setup.sh"

case "${1:-}" in
-h | --help)
	sed -n '2,9s/^# \{0,1\}//p' "$0"
	exit 0
	;;
esac

# shellcheck disable=SC2086
need_packages $runtime_packages libcmocka-dev
nvcc=$(bash "$here/tests/nvcc.sh") || exit 2
say "building, with $nvcc"
# Configured anew, in case it was before there was an nvcc.
(cd "$here" && cmake --preset release-tests -DNVCC="$nvcc" >/dev/null && build release-tests gpu_check) || exit 2

sanitizer=$(command -v compute-sanitizer || true)
[ -n "$sanitizer" ] || sanitizer=${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer
options=(-o gpu-check.json)
[ ! -x "$sanitizer" ] || options+=(--sanitizer "$sanitizer")
exec "$here/build/release-tests/bin/gpu_check" "${options[@]}" "$@"
