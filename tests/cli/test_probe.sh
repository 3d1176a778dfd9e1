#!/usr/bin/env bash
# fakeengine probe: a server of known numbers is measured and a profile fitted to it, by one command; what is refused.
. "$(dirname "$0")/lib.sh"
cd "$tmp" || exit 1
probe() {
	"$BIN_DIR/fakeengine" probe "$@"
}

expect 2 "no server" probe -o x.yaml
says '--base-url URL'
expect 2 "a fit without an end" probe --base-url http://127.0.0.1:1 --policy tgi
says 'without -o PROFILE.yaml'
expect 2 "nobody there" probe --base-url http://127.0.0.1:1 -o x.yaml
[ ! -e x.yaml ] || fail "a profile of nobody"
[ "$(ls results 2>/dev/null | wc -l)" -le 1 ] || fail "several results folders"

known_profile known.yaml
"$BIN_DIR/fakeengine" --profile "$tmp/known.yaml" --uds "$tmp/sock" >ready 2>log &
await_lines ready 1 $!

# The plan, shortened; two terms are given, so that the fit is short.
short=(--load load.serial.requests=6 --load 'load.closed.concurrency=[4]' --load load.closed.duration=1s
	--load load.open.requests=24 --load workload.output_tokens=12
	--load workload.prompts.synthetic.input_tokens.max=600 --load warmup.requests=1 --load 'output={plots: []}')
expect 0 "measured" probe --base-url "unix:$tmp/sock" --out only "${short[@]}"
grep -qx '  fakeengine fit only -o PROFILE.yaml' out || fail "it does not say how to fit: $(cat out)"
expect 0 "measured and fitted" probe --base-url "unix:$tmp/sock" --out measured -o mine.yaml --no-intervals "${short[@]}" \
	--set cost.affine.per_attention_pair=0 --set cost.affine.per_token_over_knee=0
grep -q 'fakeengine fit measured -o mine.yaml' out || fail "it does not say how to fit again: $(cat out)"
# How near depends on how busy this machine is: only that it is of the server.
awk '$1 == "step:" { v = $2 + 0 } END { exit !(v > 2 && v < 12) }' mine.yaml || fail "step: $(cat mine.yaml)"
expect 0 "the profile is one" "$BIN_DIR/fakeengine" explain "$tmp/mine.yaml"
