#!/usr/bin/env bash
# Builds the gateway to be shipped. With --pgo, twice: once to learn from traffic in the City which of its code is
# busy, and once with that in mind. It takes some three times as long, and a request then takes a seventh less of
# the processor (README has the figures).
#
#   scripts/build-gateway.sh            target/release/gateway
#   scripts/build-gateway.sh --pgo      target/pgo/gateway
#   scripts/build-gateway.sh --order    build/functions
#
# What --pgo learns is kept nowhere: it fits this source, these dependencies and this compiler alone. It needs Linux,
# for the City, and llvm-profdata of the compiler's LLVM.
#
# --order writes anew which functions every build puts side by side (build/main.rs says what for). Names outlive
# changes, so that is for when many have changed: a new Pingora, say. It needs Linux and valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly city=build$$ traffic=${PGO_SECONDS:-5} functions=build/functions
target=${CARGO_TARGET_DIR:-target}
# Whole, since compilers run in many folders.
case $target in /*) ;; *) target=$PWD/$target ;; esac
readonly work=$target/pgo order=$target/order

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

# Traffic on the City's dev host, of every kind that conf/gateway.yaml takes. Plain requests are the most, as they are
# anywhere.
# shellcheck disable=SC2016
readonly start='
    "$@" --config conf/gateway.yaml >/dev/null &
    gateway=$!
    trap "kill -KILL $gateway 2>/dev/null" EXIT
    curl -sf --retry 30 --retry-connrefused --retry-max-time 60 -o /dev/null http://127.0.0.1:6210/ || exit
' plain='
    city load --clients 1 --for "${traffic}s" http://127.0.0.1:6210/ || exit
    city load --clients 32 --for "${traffic}s" http://127.0.0.1:6210/ || exit
' other='
    city load --clients 8 --for "${traffic}s" https://127.0.0.1:6212/canary/tea --sni dev.pingora.local || exit
    city load --clients 8 --for "${traffic}s" http://127.0.0.1:6210/advanced || exit
    curl -sf --http2 --cacert conf/keys/ca.crt --resolve dev.pingora.local:6212:127.0.0.1 "https://dev.pingora.local:6212/[1-200]" >/dev/null || exit
    for number in {1..50}; do city grpc 127.0.0.1:6210 unary "$number" >/dev/null || exit; done
' stop='
    trap - EXIT
    kill -TERM "$gateway" && wait "$gateway"
'

# in_the_city SCRIPT COMMAND…: the script on the dev host; the command starts the gateway.
in_the_city() {
    local script=$1
    shift
    trap 'cargo city down --name "$city"' EXIT
    cargo city up --detach --name "$city"
    cargo city exec --name "$city" dev env traffic="$traffic" bash -c "$script" in_the_city "$@" ||
        give_up 'the traffic did not go as it should'
    trap - EXIT
    cargo city down --name "$city"
}

build_with_profile() {
    local profdata
    machine=$(rustc -vV | sed -n 's/^host: //p')
    readonly machine
    profdata=$(profdata_of_this_compiler)
    rm -rf "$work/raw"
    build "-Cprofile-generate=$work/raw" learning
    in_the_city "$start$plain$other$stop" \
        env LLVM_PROFILE_FILE="$work/raw/%p.profraw" "$work/learning/$machine/release/gateway"
    "$profdata" merge --output "$work/gateway.profdata" "$work"/raw/*.profraw
    build "-Cprofile-use=$work/gateway.profdata" using
    cp "$work/using/$machine/release/gateway" "$work/gateway"
    echo "$work/gateway"
}

# What a name has for this compiler alone: hashes, and marks of the linker.
any_hash() { sed -E 's/17h[0-9a-f]{16}E/17h*E/; s/Cs[0-9A-Za-z]+_/Cs*_/g; s/\.llvm\.[0-9]+$/*/'; }

# often FILE: which functions were called a hundred times or more, in the order in which they lie.
often() {
    awk '
        match($0, /^c?fn=\([0-9]+\)/) {
            number = substr($0, index($0, "("), RLENGTH - index($0, "(") + 1)
            # A number stands for the name that it was given at first. Recursion is counted beside it.
            if (length($0) > RLENGTH) { name[number] = substr($0, RLENGTH + 2); sub(/\x27.*/, "", name[number]) }
            called = number
        }
        match($0, /^calls=[0-9]+/) { calls[name[called]] += substr($0, 7, RLENGTH - 6) }
        END { for (each in calls) if (calls[each] >= 100) print each }
    ' "$1" | awk 'NR == FNR { ran[$1]; next } $NF in ran { print $NF }' - "$order/symbols"
}

order() {
    command -v valgrind >/dev/null || give_up 'valgrind is missing; run: apt-get install valgrind'
    rm -rf "$order" && mkdir -p "$order"
    cargo build --release --bin gateway
    nm --defined-only --numeric-sort "$target/release/gateway" | awk '$2 ~ /^[tTwW]$/' >"$order/symbols"
    # shellcheck disable=SC2016
    in_the_city "$start"'
        callgrind_control --instr=on "$gateway" || exit
        '"$plain"'
        callgrind_control --dump "$gateway" || exit
        '"$other"'
        callgrind_control --dump "$gateway" || exit
        '"$stop" \
        valgrind --quiet --tool=callgrind --callgrind-out-file="$order/ran" --instr-atstart=no --demangle=no \
        "$target/release/gateway"
    # Of plain requests first.
    { often "$order/ran.1"; often "$order/ran.2"; } | awk '!before[$1]++' >"$order/names"
    # A name may be that of many functions, of which one or two run: those first, by their hashes, and then, in case the
    # hashes are others, all of them.
    awk '{ print $NF }' "$order/symbols" | any_hash | sort | uniq -d >"$order/shared"
    paste "$order/names" <(any_hash <"$order/names") |
        awk 'NR == FNR { shared[$1]; next } { print $2 in shared ? $1 : $2 }' "$order/shared" - >"$order/first"
    {
        echo '# Functions that requests run, for build/main.rs. Written by scripts/build-gateway.sh --order.'
        { cat "$order/first"; any_hash <"$order/names"; } | awk '!before[$1]++ { print $1 }'
    } >"$order/functions"
    mv "$order/functions" "$functions"
    echo "$functions: $(wc -l <"$order/names") functions"
}

case ${1-} in
'') exec cargo build --release --bin gateway ;;
--pgo) build_with_profile ;;
--order) order ;;
*) give_up "'$1' is nothing I know; usage: scripts/build-gateway.sh [--pgo | --order]" ;;
esac
