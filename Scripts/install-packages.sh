#!/usr/bin/env bash
# Installs the Debian packages that Temper needs and this machine lacks. Does nothing, and needs no rights, when all are there.
# Environment: apt_packages overrides the list.
set -euo pipefail

wanted=${apt_packages:-"pkg-config libzmq3-dev libsodium-dev zlib1g-dev libsqlite3-dev"}
missing=()
for package in $wanted; do
  dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ]; then sudo=(); else
  command -v sudo >/dev/null || {
    echo "error: missing packages: ${missing[*]}" >&2
    echo "  hint: run as root or install sudo, or: apt-get install ${missing[*]}" >&2
    exit 77
  }
  sudo=(sudo)
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
