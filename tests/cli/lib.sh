# Sourced by the command-line tests. BIN_DIR holds the programs; every test works in a folder of its own.
set -uo pipefail
: "${BIN_DIR:?set BIN_DIR to the folder of the programs}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tmp=$(mktemp -d)
# A test that fails leaves no program of its own behind; one that is killed neither, of those started as `"${bound[@]}" ... &`.
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$tmp"' EXIT
bound=(setpriv --pdeathsig KILL)
loadgen() {
	"$BIN_DIR/loadgen" "$@"
}

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

# expect CODE NAME COMMAND...: runs it, keeps stdout and stderr in $tmp/out and $tmp/err, holds the exit code.
expect() {
	local want=$1 name=$2 got
	shift 2

	"$@" >"$tmp/out" 2>"$tmp/err"
	got=$?
	[ "$got" = "$want" ] || {
		cat "$tmp/out" "$tmp/err" >&2
		fail "$name: exit code $got, want $want"
	}
}

# says TEXT: the last command's stderr has it.
says() {
	grep -qF -- "$1" "$tmp/err" || {
		cat "$tmp/err" >&2
		fail "stderr does not say: $1"
	}
}

# column FILE NAME: the values of a CSV column (no quoted commas in the files this is used on).
column() {
	awk -F, -v name="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) c = i; if (!c) exit 1; next } { print $c }' "$1"
}

# A scenario with one fast fake engine; the arguments are lines put behind it.
small_scenario() {
	cat <<-'YAML'
		name: small
		seed: 3
		targets:
		  - name: fake
		    launch: {program: fakeengine, args: [--port, "0", --prefill-ms, "20", --per-token-ms, "2", --tokens, "10"]}
		workload:
		  prompts: {text: ["Explain a mutex.", "Now in one line.", "Why?"]}
		  output_tokens: 10
		output: {plots: []}
	YAML
	printf '%s\n' "$@"
}

sum() {
	awk '{ n += $1 } END { print n + 0 }'
}

# await_lines FILE N PID: blocks until FILE has N lines; fails if the process ends before.
await_lines() {
	tail -F -s 0.05 --pid="$3" -n +1 "$1" 2>/dev/null | head -n "$2" >/dev/null
	[ -e "$1" ] && [ "$(wc -l <"$1")" -ge "$2" ] || fail "$1 did not get $2 lines: $(cat err)"
}

# known_profile FILE: an engine whose numbers a fit has to find again.
known_profile() {
	cat >"$1" <<-'YAML'
		name: known
		engine: e
		description: d
		source: s
		model: {name: m}
		scheduler: {policy: vllm-v1, max_num_seqs: 8}
		cost: {affine: {step: 4ms, per_prefill_token: 20us, per_decode_seq: 100us}, ingest: 10ms}
	YAML
}

# The process whose command line begins with the given words.
find_process() {
	local dir
	for dir in /proc/[0-9]*; do
		case "$(tr '\0' ' ' 2>/dev/null <"$dir/cmdline")" in
		"$1"*) echo "${dir#/proc/}" ;;
		esac
	done
}
