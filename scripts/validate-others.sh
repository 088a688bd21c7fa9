#!/usr/bin/env bash
# The smoke test: does this City carry a lesson from end to end?
#
# Both clients reach every upstream. Example 05 runs on dev; both clients visit it, each by address and by name; it
# must have counted exactly four connections, and end cleanly on SIGTERM. Run it on the machine itself, not on a
# host of the City.
#
# It uses the City that is up (CITY_NAME chooses among several), or one of its own that goes when it is done. With
# --docker, or where there is no cargo, it uses the Docker City, which must be up, and nothing but docker.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly example=05_background_services port=6145 address=172.28.0.10 name=dev.pingora.local
failures=0 own_city='' pid='' output=$(mktemp)

if [[ ${1:-} == --docker || ${CITY_NAME:-} == docker ]] || ! command -v cargo >/dev/null; then kind=docker; else kind=local; fi
readonly kind

# on HOST CMD...: runs a command on a host of the City.
on() {
    local host=$1
    shift
    if [[ $kind == docker ]]; then
        docker exec "pingora_${host/client/client_}" "$@" </dev/null
    else
        cargo city exec "$host" "$@" </dev/null
    fi
}

# wait_for ...: of dev, which in a container can be asked of itself.
wait_for() { if [[ $kind == docker ]]; then on dev city wait-for "$@"; else cargo city wait-for "$@"; fi; }

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'; else green='' red='' plain=''; fi

ok() { echo "${green}OK${plain}    $1"; }

# fail WHAT EXPECTED GOT
fail() {
    echo "${red}FAIL${plain}  $1: expected $2, got ${3:-nothing}"
    failures=$((failures + 1))
}

# equal WHAT EXPECTED GOT
equal() { if [[ $3 == "$2" ]]; then ok "$1: $2"; else fail "$1" "'$2'" "'$3'"; fi; }

# holds WHAT CONDITION: waits for it, as long as wait-for does by default.
holds() {
    local said
    if said=$(wait_for "$2" 2>&1); then ok "$1"; else fail "$1" "'$2'" "${said#city: }"; return 1; fi
}

clean_up() {
    trap '' INT TERM
    if [[ -n $pid ]]; then
        on dev pkill -TERM "${example:0:15}" 2>/dev/null
        wait "$pid" 2>/dev/null
    fi
    if [[ -n $own_city ]]; then cargo city down --name "$own_city" >/dev/null; fi
    rm -f "$output"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [[ -n ${CITY_HOST:-} ]]; then
    echo "this is the host $CITY_HOST of a City; run $0 on the machine itself" >&2
    exit 2
fi
if ! why=$(on dev true 2>&1); then
    if [[ $kind == docker ]]; then
        fail 'the Docker City' 'it to be up' "${why##*$'\n'}"
        exit 1
    fi
    echo "No City to use (${why#city: }): bringing one up for this test."
    export CITY_NAME=validate-$$
    own_city=$CITY_NAME
    if ! said=$(cargo city up --detach 2>&1); then
        own_city=''
        fail 'a City of its own' 'it to come up' "$(tail -n 1 <<<"$said")"
        exit 1
    fi
fi

for client in client1 client2; do
    # As health probes, which journals leave out of their counts.
    equal "$client reaches blue" 'Response from BLUE' "$(on "$client" curl -sS --max-time 5 -A city-health http://172.28.0.20:8080/ 2>&1)"
    equal "$client reaches green" 'Response from GREEN' "$(on "$client" curl -sS --max-time 5 -A city-health http://172.28.0.21:8080/ 2>&1)"
    equal "$client reaches advanced" 'Response from Advanced Upstream (HTTP)' "$(on "$client" curl -sS --max-time 5 -A city-health http://172.28.0.22/ 2>&1)"
    equal "$client reaches grpc" 'grpc-status: 0 (OK)' "$(on "$client" city grpc --deadline 5s 172.28.0.23:9000 health 2>&1 | tail -n 1)"
    equal "$client reaches dns" '172.28.0.20' "$(on "$client" getent ahostsv4 blue.pingora.local 2>&1 | awk 'NR == 1 { print $1 }')"
done

# Built before it is started, so that no deadline has to allow for a compiler.
if ! on dev cargo build --quiet --example "$example"; then
    fail "$example builds" 'no error' 'the errors above'
    exit 1
fi
if ! wait_for "dev closed $port" --within 2s >/dev/null 2>&1; then
    fail "port $port of dev is free" 'nothing to listen there' 'a listener; end the example that runs there'
    exit 1
fi

on dev cargo run --quiet --example "$example" >"$output" 2>&1 &
pid=$!

# Seen in dev's list of listeners: a connection would be counted, and four are all there may be.
if holds "$example listens on $port" "dev listens $port"; then
    visitor=0
    for client in client1 client2; do
        for host in "$address" "$name"; do
            visitor=$((visitor + 1))
            got=$(on "$client" curl -sS --max-time 5 "http://$host:$port/" 2>&1)
            equal "$client by $host" "Hello! You are visitor #$visitor" "$got"
        done
    done
    holds 'the exporter reports four connections' 'dev log "Current Total Connections: 4"'
fi

on dev pkill -TERM "${example:0:15}"
wait "$pid"
status=$?
pid=''
equal 'exit status after SIGTERM' 0 "$status"
# The exporter's last line, written after the shutdown: not one connection more than the four.
equal 'connections counted at the end' 4 "$(grep -o 'Current Total Connections: [0-9]*' "$output" | tail -n 1 | grep -o '[0-9]*$')"
holds "port $port is closed again" "dev closed $port"

if [[ $failures -gt 0 ]]; then
    echo "validate-others: $failures failed"
    exit 1
fi
echo 'validate-others: all passed'
