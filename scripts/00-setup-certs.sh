#!/usr/bin/env bash
# Makes the City's keys and certificates in conf/keys/, and tells Docker Compose, in .env, whose they are.
# Safe to run again: what is good is left alone. Options go to `cargo city certs`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo city certs "$@"

# The containers read the keys as their owner, who under sudo is the user who called it.
settings=$(mktemp .env.XXXXXX)
trap 'rm -f "$settings"' EXIT
{
    if [[ -f .env ]]; then grep -vE '^CITY_(UID|GID)=' .env || true; fi
    echo "CITY_UID=${SUDO_UID:-$(id -u)}"
    echo "CITY_GID=${SUDO_GID:-$(id -g)}"
} >"$settings"
chmod 644 "$settings"
if [[ -n ${SUDO_UID:-} ]]; then chown "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$settings"; fi
mv "$settings" .env
