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
scripts/base-images.sh
user=$(id -u):$(id -g)
# In a rootless engine's containers, root is the person who runs the engine.
if docker info --format '{{.SecurityOptions}}' | grep -q rootless; then user=0:0; fi
mkdir -p target
docker image inspect pingora-city/upstream >/dev/null 2>&1 || echo "Building the image with the City's tool: some minutes, once."
docker build --target upstream --tag pingora-city/upstream --file docker/Dockerfile . >target/docker-build.log 2>&1 ||
    { echo "$0: the image with the City's tool does not build; target/docker-build.log says why" >&2; exit 1; }
docker run --rm --user "$user" --volume "$PWD:/workspace" pingora-city/upstream city certs --compose "$@"
