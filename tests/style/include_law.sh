#!/usr/bin/env bash
# The arrows between the folders, checked twice: as text, and by a compiler that must refuse a forbidden include.
# usage: include_law.sh BUILD_DIR
cd "$(dirname "$0")/../.." || exit 1
build=$1
bad=0

complain() {
	echo "$*"
	bad=1
}

# law FOLDER ROOMS...: files of FOLDER include "room/..." of these rooms only, and their own folder's headers.
# One file is above it: loadgen/transport_sim.c, which runs engines in process.
law() {
	local folder=$1 allowed
	shift
	allowed=$(IFS='|'; echo "$*")
	while IFS= read -r line; do
		complain "forbidden include: $line"
	done < <(grep -nE '^#include "[a-z_]+/' "$folder"/*.[ch] 2>/dev/null | grep -v '^loadgen/transport_sim\.c:' |
		grep -vE "#include \"($allowed)/")
}
law lib/base base
law lib/serve base serve
law fakeengine base serve fakeengine
law gpu_engine/model base serve model
law gpu_engine/text base serve model text
law gpu_engine/cpu base serve model cpu
law gpu_engine/cuda base serve model cuda kernels
law gpu_engine base serve model text cpu gpu_engine
law loadgen base loadgen

# only PATTERN FILES...: headers that match PATTERN stand in these files alone.
only() {
	local pattern=$1
	shift
	while IFS= read -r file; do
		case " $* " in
		*" $file "*) ;;
		*) complain "$file includes $pattern" ;;
		esac
	done < <(grep -lE "^#include <$pattern" lib/*/*.[ch] fakeengine/*.[ch] loadgen/*.[ch] gpu_engine/*/*.[ch])
}
only 'curl/' loadgen/transport_curl.c
only 'yaml\.h' lib/base/yamlx.c
only 'cjson/' lib/base/jsonx.h
only 'pcre2' gpu_engine/text/pretok.c
only 'http_parser\.h' lib/serve/http_request.c loadgen/http_in.c

# The same law through the build: the include path of a room must not reach the others.
refused() {
	local file=$1 header=$2 flags
	flags=$(grep -F '"command"' "$build/compile_commands.json" | grep -E "/$file\"?,?$|-c [^ ]*/$file" | head -1 |
		grep -oE -- '-(I|isystem) ?[^ ]+')
	[ -n "$flags" ] || { complain "no compile command of $file in $build"; return; }
	# shellcheck disable=SC2086
	if (cd / && printf '#include "%s"\n' "$header" | cc -std=c11 -fsyntax-only $flags -xc - 2>/dev/null); then
		complain "$file can include $header"
	fi
}
refused lib/base/buf.c serve/sched.h
refused lib/base/buf.c loadgen/record.h
refused lib/serve/sched.c fakeengine/profile.h
refused lib/serve/sched.c loadgen/record.h
refused fakeengine/profile.c loadgen/record.h
refused loadgen/run.c serve/sched.h
refused loadgen/transport.c fakeengine/simulate.h
refused loadgen/run.c fakeengine/profile.h
exit $bad
