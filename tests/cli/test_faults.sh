#!/usr/bin/env bash
# Faults: each has the outcome it must have; those that are drawn come out the same for one seed; and none
# reaches the numbers of the requests that succeed.
. "$(dirname "$0")/lib.sh"
matrix=$(dirname "$(readlink -f "$0")")/fault_matrix.sh
cd "$tmp" || exit 1

expect 0 "matrix" bash "$matrix"
cat out
expect 0 "matrix, of a server that closes after each stream" bash "$matrix" --wire llamacpp

# run NAME ENGINE-ARGS...: 60 requests, one at a time, against an engine with these arguments.
run() {
	local name=$1
	shift
	small_scenario 'load: {closed: {concurrency: 1, requests: 60}}' >s.yaml
	local args='"--port", "0", "--prefill-ms", "3", "--per-token-ms", "1", "--tokens", "10"' arg
	for arg; do
		args+=", \"$arg\""
	done
	loadgen run s.yaml --set "targets[0].launch.args=[$args, \"--truth\", \"$tmp/$name.truth\"]" \
		--out "$name" --progress none --no-preflight >out 2>err
}

# The outcome of each request, in order.
outcomes() {
	paste -d' ' <(column "$1/requests.csv" request_id) <(column "$1/requests.csv" outcome) | sort
}

faults='--fault 429:0.15 --fault cut_rst@3:0.15 --fault half_chunk@5:0.1 --fault error_event@4:0.1'
run clean || fail "a run without faults fails: $(cat err)"
# shellcheck disable=SC2086
run mixed $faults --seed 7 && fail "faults, and exit code 0"
# shellcheck disable=SC2086
run again $faults --seed 7
# shellcheck disable=SC2086
run other $faults --seed 8
[ "$(outcomes mixed)" = "$(outcomes again)" ] || fail "one seed, two sets of faults"
[ "$(outcomes mixed)" = "$(outcomes other)" ] && fail "another seed draws the same faults"
for outcome in ok http_429 truncated in_band_error; do
	outcomes mixed | grep -q " $outcome$" || fail "no request came out as $outcome"
done
ok=$(outcomes mixed | grep -c ' ok$')
[ "$(column mixed/points.csv planned)" = 60 ] || fail "planned is not 60"
[ "$(column mixed/points.csv ok)" = "$ok" ] || fail "points.csv counts other ok than the rows"
[ "$(column mixed/points.csv failed)" = $((60 - ok)) ] || fail "planned = ok + failed does not hold"

# The engine's own times are those of a run without faults: each token due at its place after the first.
offsets() {
	awk -F, 'NR > 1 { if ($2 == 0) first[$1] = $3; print $2, $3 - first[$1] }' "$1" | sort -u
}
[ "$(offsets clean.truth)" = "$(offsets mixed.truth)" ] || fail "faults moved the times of tokens"
[ "$(offsets clean.truth | wc -l)" = 10 ] || fail "a static engine has one time for each token"

# Every ok row has its ten tokens, and the latency figures are made of these rows alone.
paste -d' ' <(column mixed/requests.csv outcome) <(column mixed/requests.csv output_tokens) |
	awk '$1 == "ok" && $2 != 10 { exit 1 }' || fail "an ok row without its ten tokens"
paste -d' ' <(column mixed/requests.csv outcome) <(column mixed/requests.csv send_ns) \
	<(column mixed/requests.csv token1_ns) <(column mixed/requests.csv token_last_ns) |
	awk '$1 == "ok" { ttft += $3 - $2; tpot += ($4 - $3) / 9; n++ }
		END { printf "%.4f %.4f\n", ttft / n / 1e6, tpot / n / 1e6 }' >want
printf '%.4f %.4f\n' "$(column mixed/points.csv ttft_mean_ms)" "$(column mixed/points.csv tpot_mean_ms)" >got
cmp -s got want || fail "figures of the ok rows: $(cat want), of points.csv: $(cat got)"

# A fault that does not exist, and one that a request asks for in vain.
expect 2 "bad fault" "$BIN_DIR/fakeengine" --port 0 --fault cut_fn
says 'did you mean cut_fin?'
expect 2 "bad rate" "$BIN_DIR/fakeengine" --port 0 --fault 429:2
says 'rate'
expect 2 "bad wire" "$BIN_DIR/fakeengine" --port 0 --wire vlm
says 'did you mean vllm'
