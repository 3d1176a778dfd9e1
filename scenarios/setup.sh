# Sourced by demo.sh and tests/run.sh: what must be on the machine, and how to build. Not a program of its own.
#
#   need_packages PACKAGE...   installs the Debian packages that are missing, or says how and ends with 2
#   build PRESET TARGET...     configures (once) and builds; a build that fails ends with 2

say() {
	printf '%s\n' "$*" >&2
}

need_packages() {
	local package missing=""

	command -v dpkg-query >/dev/null || {
		say "this script installs Debian packages and finds no dpkg here; install the like of these: $*"
		exit 2
	}
	for package in "$@"; do
		case "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)" in
		*" installed") ;;
		*) missing="$missing $package" ;;
		esac
	done
	[ -n "$missing" ] || return 0
	local sudo=""
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null || {
			say "missing packages; as root: apt-get install -y$missing"
			exit 2
		}
		sudo=sudo
	fi
	say "installing$missing"
	# Package lists may be absent or old: ask for new ones only where an install needs them.
	# shellcheck disable=SC2086
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing >/dev/null 2>&1 ||
		{ $sudo apt-get update -qq >&2 &&
			$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing >&2; } || {
		say "that failed; try: ${sudo:+sudo }apt-get update && ${sudo:+sudo }apt-get install -y$missing"
		exit 2
	}
}

runtime_packages="build-essential cmake ninja-build pkg-config libevent-dev libcurl4-openssl-dev libcjson-dev
	libyaml-dev libhttp-parser-dev libnlopt-dev libpcre2-dev gnuplot-nox fonts-dejavu-core"
test_packages="$runtime_packages git libcmocka-dev libssl-dev clang clang-format clang-tidy libclang-rt-14-dev"
# What the benchmarks compare with and count by.
bench_packages="wrk strace"

build() {
	local preset=$1 log
	shift

	log=$(mktemp)
	if ! { { [ -f "build/$preset/build.ninja" ] || cmake --preset "$preset"; } &&
		ninja -C "build/$preset" "$@"; } >"$log" 2>&1; then
		tail -40 "$log" >&2
		rm -f "$log"
		say "building $preset failed"
		exit 2
	fi
	rm -f "$log"
}
