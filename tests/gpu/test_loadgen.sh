#!/usr/bin/env bash
# From loadgen to a kernel: scenarios/real-single.yaml, its engine on the card that ENGINE_LIBCUDA names (ctest: the
# stand-in, which interprets the kernels) and a tiny model. The seconds a token that this prints are an emulator's.
. "$(dirname "$0")/../cli/lib.sh"
cd "$tmp" || exit 1
model=$("$BIN_DIR/write_tiny_model" "$tmp") || fail "no model"

# on DEVICE LEVELS: the scenario on it, made small
on() {
	expect 0 "$1" loadgen run "$here/scenarios/real-single.yaml" --out "$1" --progress none \
		--set "targets[0].launch.args=[-m, \"$model\", --served-model-name, smollm2, --port, \"0\", --device, $1, \
--ctx-size, \"256\", --max-num-batched-tokens, \"64\"]" \
		--set 'workload.prompts={text: ["Why?"]}' \
		--set workload.output_tokens=4 --set "load={closed: {concurrency: $2, requests: 2}}" --set 'warmup={}'
	for pair in outcome:ok output_tokens:4 token_source:usage finish_reason:length; do
		[ "$(column "$1/requests.csv" "${pair%%:*}" | sort -u)" = "${pair#*:}" ] ||
			fail "--device $1: ${pair%%:*} is not ${pair#*:} in every row"
	done
	[ "$(column "$1/points.csv" ok | sort -u)" = 2 ] || fail "--device $1: not all ok"
}

on cuda "[1, 2]"
grep -q 'PTX interpreter 0 (no GPU)' cuda/engine-0.log || fail "the engine does not say what it runs on: $(cat cuda/engine-0.log)"
echo "emulated, not a GPU: $(column cuda/points.csv tpot_p50_ms | xargs) ms a token alone and beside another"
on auto 1
grep -q 'PTX interpreter 0 (no GPU)' auto/engine-0.log || fail "auto does not take the card: $(cat auto/engine-0.log)"
