#!/usr/bin/env bash
# Makes the City's keys and certificates in conf/keys/, tells Docker Compose, in .env, whose they are, and makes
# the folders that the containers share with this machine. Safe to run again: what is good is left alone.
# Options go to `cargo city certs`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if command -v cargo >/dev/null; then
    exec cargo city certs --compose "$@"
fi

# Without Rust on this machine: the City's tool comes in an image, which is built first.
command -v docker >/dev/null || { echo "$0: there is neither cargo nor docker on PATH" >&2; exit 1; }
mkdir -p target
docker build --quiet --target upstream --tag pingora-city/upstream --file docker/Dockerfile . >/dev/null
docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/workspace" pingora-city/upstream city certs --compose "$@"
