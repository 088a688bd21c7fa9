#!/usr/bin/env bash
# Makes the two images on which those of the Docker City are built, where no image registry is reachable:
# debian:bookworm-slim from Debian's own packages, rust:1-bookworm from that and this machine's Rust toolchain.
#
# Both trust whom this machine trusts: a company's network often has a certificate authority of its own, without
# which cargo in a container fails with 'self-signed certificate in certificate chain'.
#
# It does nothing where the images are there. Where they can be pulled, it pulls them. It needs Docker, and to
# make an image debootstrap and root.
set -euo pipefail

readonly debian=debian:bookworm-slim rust=rust:1-bookworm
readonly mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
readonly authorities=${CITY_CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}

give_up() {
    echo "base-images: $1" >&2
    exit 1
}

is_there() { docker image inspect "$1" >/dev/null 2>&1; }

# within SECONDS COMMAND...: macOS has no `timeout`, and there it takes what it takes.
within() { if command -v timeout >/dev/null; then timeout "$@"; else "${@:2}"; fi; }

command -v docker >/dev/null || give_up 'there is no docker; install it: https://docs.docker.com/engine/install/'
docker version --format '{{.Server.Version}}' >/dev/null 2>&1 || give_up 'no Docker engine answers; start it, or add yourself to the group docker'

missing=()
for image in "$debian" "$rust"; do
    if is_there "$image"; then
        echo "$image is there"
    elif within 120 docker pull --quiet "$image" >/dev/null 2>&1; then
        echo "$image is pulled"
    else
        missing+=("$image")
    fi
done
if [[ ${#missing[@]} -eq 0 ]]; then exit 0; fi

[[ $(uname -s) == Linux ]] || give_up "${missing[*]} cannot be pulled, and only Linux can make them"
[[ $(id -u) -eq 0 ]] || give_up "${missing[*]} cannot be pulled; to make them, run: sudo $0"
command -v debootstrap >/dev/null || give_up 'debootstrap is missing; run: apt-get install debootstrap'

work=$(mktemp -d)
root=$work/root
trap 'rm -rf --one-file-system "$work"' EXIT

# What this machine trusts beyond Debian's own list, one file each, as update-ca-certificates wants them.
trust_what_this_machine_trusts() {
    [[ -r $authorities ]] || return 0
    local folder=$1/usr/local/share/ca-certificates
    mkdir -p "$folder"
    awk -v folder="$folder" '
        FNR == 1 { file++ }
        /-----BEGIN CERTIFICATE-----/ { text = "" }
        { text = text $0 "\n" }
        /-----END CERTIFICATE-----/ {
            if (file == 1) known[text] = 1
            else if (!known[text]++) printf "%s", text > sprintf("%s/machine-%03d.crt", folder, ++number)
        }' "$1/etc/ssl/certs/ca-certificates.crt" "$authorities"
    chroot "$1" update-ca-certificates >/dev/null 2>&1
}

# What no container needs: package lists, documentation, translations.
strip() {
    rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/* "$1"/usr/share/{doc,man,info,locale}/*
    mkdir -p "$1"/etc/dpkg/dpkg.cfg.d "$1"/etc/apt/apt.conf.d
    printf 'path-exclude /usr/share/%s/*\n' doc man info locale >"$1"/etc/dpkg/dpkg.cfg.d/slim
    printf '%s\n' 'Acquire::Languages "none";' 'Dir::Cache::pkgcache "";' 'Dir::Cache::srcpkgcache "";' >"$1"/etc/apt/apt.conf.d/slim
}

if [[ " ${missing[*]} " == *" $debian "* ]]; then
    echo "$debian is made from the packages of $mirror: about a minute"
    debootstrap --variant=minbase --include=ca-certificates bookworm "$root" "$mirror" >"$work/log" 2>&1 ||
        { tail -n 5 "$work/log" >&2; give_up "debootstrap failed; is $mirror reachable? (DEBIAN_MIRROR names another)"; }
    trust_what_this_machine_trusts "$root"
    echo "deb $mirror bookworm main" >"$root/etc/apt/sources.list"
    strip "$root"
    tar -C "$root" --numeric-owner -c . | docker import --change 'CMD ["bash"]' - "$debian" >/dev/null
fi

if [[ " ${missing[*]} " == *" $rust "* ]]; then
    command -v rustc >/dev/null || give_up 'there is no rustc on PATH (under sudo: sudo env "PATH=$PATH" '"$0)"
    toolchain=$(rustc --print sysroot)
    echo "$rust is made from $debian and $toolchain"
    mkdir -p "$work/rust/toolchain"
    tar -C "$toolchain" -c --exclude=./share bin lib libexec etc 2>/dev/null | tar -C "$work/rust/toolchain" -x ||
        [[ -x $work/rust/toolchain/bin/cargo ]]
    cat >"$work/rust/Dockerfile" <<END
FROM $debian
COPY toolchain /usr/local/rust
ENV PATH=/usr/local/cargo/bin:/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
    CARGO_HOME=/usr/local/cargo
END
    docker build --tag "$rust" "$work/rust" >"$work/log" 2>&1 ||
        { tail -n 5 "$work/log" >&2; give_up "$rust does not build"; }
fi
for image in "${missing[@]}"; do
    echo "$image: $(docker image inspect --format '{{.Size}}' "$image" | awk '{printf "%.0f MB", $1 / 1000000}')"
done
