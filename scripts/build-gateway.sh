#!/usr/bin/env bash
# Builds the gateway to be shipped. With --pgo, twice: once to learn from traffic in the City which of its code is
# busy, and once with that in mind. It takes some three times as long, and a request then takes a seventh less of
# the processor (README has the figures).
#
#   scripts/build-gateway.sh            target/release/gateway
#   scripts/build-gateway.sh --pgo      target/pgo/gateway
#
# What is learnt is kept nowhere: it fits this source, these dependencies and this compiler alone. --pgo needs Linux,
# for the City, and llvm-profdata of the compiler's LLVM.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly city=pgo$$ traffic=${PGO_SECONDS:-5}
target=${CARGO_TARGET_DIR:-target}
# Whole, since compilers run in many folders.
case $target in /*) ;; *) target=$PWD/$target ;; esac
readonly work=$target/pgo

give_up() {
    echo "build-gateway: $1" >&2
    exit 1
}

# Only that of the compiler's own LLVM reads what its programs have written.
profdata_of_this_compiler() {
    local major tool
    major=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    for tool in "$(rustc --print target-libdir)/../bin/llvm-profdata" "llvm-profdata-$major" llvm-profdata; do
        if command -v "$tool" >/dev/null && "$tool" --version | grep -q "LLVM version $major\."; then
            echo "$tool"
            return
        fi
    done
    give_up "llvm-profdata of LLVM $major is missing; run: rustup component add llvm-tools, or apt-get install llvm-$major"
}

# build FLAGS FOLDER: only the gateway and what it is made of get the flags, not what cargo runs to build it.
build() { RUSTFLAGS=$1 cargo build --release --bin gateway --target "$machine" --target-dir "$work/$2"; }

# Every kind of traffic that conf/gateway.yaml takes, on the City's dev host. Plain requests are the most, as they
# are anywhere.
# shellcheck disable=SC2016
readonly lesson='
    "$0" --config conf/gateway.yaml >/dev/null &
    gateway=$!
    trap "kill -KILL $gateway 2>/dev/null" EXIT
    curl -sf --retry 30 --retry-connrefused --retry-max-time 30 -o /dev/null http://127.0.0.1:6210/ || exit
    city load --clients 1 --for "$1s" http://127.0.0.1:6210/ || exit
    city load --clients 32 --for "$1s" http://127.0.0.1:6210/ || exit
    city load --clients 8 --for "$1s" https://127.0.0.1:6212/canary/tea --sni dev.pingora.local || exit
    city load --clients 8 --for "$1s" http://127.0.0.1:6210/advanced || exit
    curl -sf --http2 --cacert conf/keys/ca.crt --resolve dev.pingora.local:6212:127.0.0.1 "https://dev.pingora.local:6212/[1-200]" >/dev/null || exit
    for number in {1..50}; do city grpc 127.0.0.1:6210 unary "$number" >/dev/null || exit; done
    trap - EXIT
    kill -TERM "$gateway" && wait "$gateway"
'

learn() {
    trap 'cargo city down --name "$city"' EXIT
    cargo city up --detach --name "$city"
    cargo city exec --name "$city" dev env LLVM_PROFILE_FILE="$work/raw/%p.profraw" \
        bash -c "$lesson" "$work/learning/$machine/release/gateway" "$traffic" || give_up 'the traffic did not go as it should'
    trap - EXIT
    cargo city down --name "$city"
}

case ${1-} in
'') exec cargo build --release --bin gateway ;;
--pgo) ;;
*) give_up "'$1' is nothing I know; usage: scripts/build-gateway.sh [--pgo]" ;;
esac

machine=$(rustc -vV | sed -n 's/^host: //p')
readonly machine
profdata=$(profdata_of_this_compiler)
readonly profdata

rm -rf "$work/raw"
build "-Cprofile-generate=$work/raw" learning
learn
"$profdata" merge --output "$work/gateway.profdata" "$work"/raw/*.profraw
build "-Cprofile-use=$work/gateway.profdata" using
cp "$work/using/$machine/release/gateway" "$work/gateway"
echo "$work/gateway"
