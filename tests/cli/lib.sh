# Sourced by the command-line tests. BIN_DIR holds the programs; every test works in a folder of its own.
set -uo pipefail
: "${BIN_DIR:?set BIN_DIR to the folder of the programs}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
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
