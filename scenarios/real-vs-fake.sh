#!/usr/bin/env bash
# A real engine and its simulation on one figure: fetches a small model (or takes yours), builds, measures gpu_engine,
# fits a profile to what was measured, simulates the profile under the same load, lays both on each other. About three
# minutes.
#
#   bash scenarios/real-vs-fake.sh                    SmolLM2-135M
#   bash scenarios/real-vs-fake.sh -m my-model.gguf   another one
#   bash scenarios/real-vs-fake.sh --set ...          further words go to both runs of loadgen
set -euo pipefail
cd "$(dirname "$0")/.."
. scenarios/setup.sh

model=
case "${1:-}" in
-h | --help)
	sed -n '2,8s/^# \{0,1\}//p' "$0"
	exit 0
	;;
-m)
	[ $# -ge 2 ] || {
		say "-m: want a path"
		exit 2
	}
	model=$2
	shift 2
	;;
esac

# shellcheck disable=SC2086
need_packages $runtime_packages
model=$(realpath "$(bash scenarios/fetch-model.sh $model)")
build release loadgen fakeengine gpu_engine
out=results/real-vs-fake-$(date -u +%Y%m%dT%H%M%SZ)
bin=build/release/bin
scenario=scenarios/real-vs-fake.yaml

"$bin/loadgen" run "$scenario" --out "$out/measured" --set "targets[0].launch.args[1]=$model" "$@"
# What gpu_engine's command line says is no matter of guessing.
"$bin/fakeengine" fit "$out/measured" -o "$out/fitted.yaml" --set scheduler.max_num_seqs=64 \
	--set scheduler.max_num_batched_tokens=512
"$bin/loadgen" run "$scenario" --out "$out/simulated" --clock virtual "$@" \
	--set "targets=[{name: engine, dialect: openai-completions, profile: $PWD/$out/fitted.yaml}]"
"$bin/loadgen" compare "$out/measured" "$out/simulated" --out "$out/compared"
echo "Figures:"
find "$out/compared" -name '*.png' | sort | sed 's/^/  /'
