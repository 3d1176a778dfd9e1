#!/usr/bin/env bash
# fakeengine fit: a fake engine of known numbers is measured, and they are found again; what is refused.
. "$(dirname "$0")/lib.sh"
cd "$tmp" || exit 1
fit() {
	"$BIN_DIR/fakeengine" fit "$@"
}

known_profile known.yaml
cat >load.yaml <<YAML
name: load
seed: 2
targets: [{name: known, profile: $tmp/known.yaml}]
workload:
  prompts: {synthetic: {input_tokens: {dist: lognormal, mean: 200, cv: 1, min: 16, max: 1000}}}
  output_tokens: {dist: lognormal, mean: 24, cv: 0.5, min: 8, max: 60}
load:
  closed: {concurrency: [1, 4], requests: 12}
  open: {rate: [60], arrival: poisson, requests: 60}
output: {plots: []}
YAML
# In virtual time, so that what else the machine does is no part of the test.
expect 0 "measure" loadgen run load.yaml --clock virtual --out measured --progress none
# Two terms are given, so that the test is short.
expect 0 "fit" fit measured -o fitted.yaml --set cost.affine.per_attention_pair=0 --set cost.affine.per_token_over_knee=0
grep -q 'mean relative error' out || fail "no account: $(cat out)"
near() { # KEY VALUE SHARE: the fitted number in ms, us or bare
	awk -v key="$1:" -v want="$2" -v share="$3" '$1 == key { v = $2 + 0; ok = v >= want * (1 - share) && v <= want * (1 + share) }
		END { exit !ok }' fitted.yaml || fail "$1 is not near $2: $(cat fitted.yaml)"
}
near step 4 0.05
near per_prefill_token 20 0.25
near ingest 10 0.15
near max_num_seqs 8 0
grep -q '  step: .* # fitted, 95 % between' fitted.yaml || fail "a number without its source: $(cat fitted.yaml)"
expect 0 "the profile is one" "$BIN_DIR/fakeengine" explain "$tmp/fitted.yaml"

# What is refused, with a reason.
expect 2 "no output" fit measured
says '-o PROFILE.yaml'
expect 2 "nothing" fit -o x.yaml
says 'want a results folder'
expect 2 "another target" fit measured -o x.yaml --target nobody
says 'has no target "nobody" (it has "known")'
expect 2 "too small" fit measured -o x.yaml --point 77
says 'no requests in it'
head -6 measured/requests.csv >small.csv
expect 2 "too small" fit small.csv -o x.yaml
says 'too small to fit'
says 'scenarios/probe.yaml'
expect 2 "no columns" fit load.yaml -o x.yaml
expect 2 "policy and profile" fit measured -o x.yaml --profile seed-vllm --policy tgi
says '--policy: the profile says that already'
expect 2 "unknown policy" fit measured -o x.yaml --policy nobody
[ ! -e x.yaml ] || fail "a refused fit left a profile"
