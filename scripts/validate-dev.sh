#!/usr/bin/env bash
# Does everything answer that dev needs? Every upstream by address and by name, the name server, the black hole.
#
# Run it on dev, in either City: docker exec pingora_dev scripts/validate-dev.sh, or
# cargo city exec dev scripts/validate-dev.sh. On the machine itself it does the latter.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ -z ${CITY_HOST:-} ]]; then exec cargo city exec dev scripts/validate-dev.sh "$@"; fi
if [[ $CITY_HOST != dev ]]; then
    echo "this is the host $CITY_HOST; run $0 on dev" >&2
    exit 2
fi

readonly keys=conf/keys patience=10
failures=0 unasked=0 names=''

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'; else green='' red='' plain=''; fi

ok() { echo "${green}OK${plain}    $1"; }

# fail WHAT EXPECTED GOT
fail() {
    echo "${red}FAIL${plain}  $1: expected $2, got ${3:-nothing}"
    failures=$((failures + 1))
}

# probe WHAT EXPECTED COMMAND...: until the last line of its output is what is expected, for the whole script's
# patience at most. Everything is asked with the User-Agent of a health probe, which journals leave out of their
# counts.
deadline=$((SECONDS + patience))
probe() {
    local what=$1 expected=$2 got
    shift 2
    while :; do
        got=$("$@" 2>&1 | tr -d '\r')
        # What curl complains of says more than the answer that it did not get.
        case $got in curl:*) got=${got%%$'\n'*} ;; *) got=${got##*$'\n'} ;; esac
        if [[ $got == "$expected" ]]; then
            ok "$what: $expected"
            return
        fi
        if ((SECONDS >= deadline)); then
            fail "$what" "'$expected'" "'$got'"
            return 1
        fi
        sleep 0.2
    done
}

# named ...: a probe that asks by name. Without a name server it would blame a host that is well.
named() { if [[ -n $names ]]; then probe "$@"; else unasked=$((unasked + 1)); fi; }

get() { curl -sS --max-time 2 -A city-health "$@"; }
status() { get -o /dev/null -w '%{http_code} HTTP/%{http_version}\n' "$@"; }
# on_https PORT: the wildcard certificate is for names, so the address is asked for by one.
on_https() {
    local port=$1
    shift
    get --cacert "$keys/ca.crt" --connect-to "::172.28.0.22:$port" "https://v1.api.pingora.local:$port/" "$@"
}
address_of() { getent ahostsv4 "$1" | awk 'NR == 1 { print $1 }'; }

if probe 'the name server' 172.28.0.20 address_of blue.pingora.local; then names=yes; fi
named 'a name of the wildcard' 172.28.0.22 address_of anything.api.pingora.local

for host in blue green; do
    address=$([[ $host == blue ]] && echo 172.28.0.20 || echo 172.28.0.21)
    probe "$host by address" "Response from ${host^^}" get "http://$address:8080/"
    named "$host by name" "Response from ${host^^}" get "http://$host.pingora.local:8080/"
done

probe 'advanced by address, HTTP' 'Response from Advanced Upstream (HTTP)' get http://172.28.0.22/
named 'advanced by name, HTTP' 'Response from Advanced Upstream (HTTP)' get http://advanced.pingora.local/
probe 'advanced by address, HTTPS' 'Response from Advanced Upstream (HTTPS + HTTP/2)' on_https 443
named 'advanced by name, HTTPS' 'Response from Advanced Upstream (HTTPS + HTTP/2)' \
    get --cacert "$keys/ca.crt" https://advanced.pingora.local/
named 'advanced, ALPN' '200 HTTP/2' status --cacert "$keys/ca.crt" https://v2.api.pingora.local/
named 'advanced, h2c' 'Response from Advanced Upstream (H2C - Cleartext HTTP/2)' \
    get --http2-prior-knowledge http://advanced.pingora.local:8081/
named 'advanced, mTLS with a certificate' 'Response from mTLS Protected Upstream. Hello, Authenticated Client!' \
    get --cacert "$keys/ca.crt" --cert "$keys/client.crt" --key "$keys/client.key" https://advanced.pingora.local:8443/
named 'advanced, mTLS without one' '400 HTTP/1.1' \
    status --http1.1 --cacert "$keys/ca.crt" https://advanced.pingora.local:8443/
named 'advanced, /cache-control' 'public, max-age=60' \
    get -o /dev/null -w '%header{cache-control}\n' http://advanced.pingora.local/cache-control

probe 'grpc by address' 'grpc-status: 0 (OK)' city grpc --deadline 2s 172.28.0.23:9000 health
named 'grpc by name' 'grpc-status: 0 (OK)' city grpc --deadline 2s grpc.pingora.local:9000 health
named 'grpc over TLS' 'grpc-status: 0 (OK)' city grpc --deadline 2s --tls grpc.pingora.local:9001 health

# 28: the time was up, which is not a refusal.
probe 'nowhere never answers' 28 bash -c 'curl -s --max-time 1 http://172.28.0.99/; echo $?'

if [[ $failures -gt 0 ]]; then
    [[ $unasked -eq 0 ]] || echo "Without the name server, $unasked more were not asked by name."
    echo "validate-dev: $failures failed"
    exit 1
fi
echo 'validate-dev: all passed'
