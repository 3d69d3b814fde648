#!/bin/sh
# Installs kubectl-gt @VERSION@, the plugin of gastown-operator, after it has compared its hash with the one below.
#
#   curl -fsSL @BASE@/install.sh | sh
#
# GASTOWN_BASE_URL  a mirror with the files of the release
# GASTOWN_EDITION   community (the default) or fips
# GASTOWN_BIN       the folder to install to, /usr/local/bin by default
set -eu

sums='@SUMS@'

fail() {
  echo "install.sh: $1" >&2
  exit 1
}

main() {
  base=${GASTOWN_BASE_URL:-@BASE@}
  folder=${GASTOWN_BIN:-/usr/local/bin}
  case ${GASTOWN_EDITION:-community} in
    community) name=kubectl-gt ;;
    fips) name=kubectl-gt-fips ;;
    *) fail "there is no edition '$GASTOWN_EDITION'; it is community or fips" ;;
  esac
  system=$(uname -s | tr '[:upper:]' '[:lower:]')
  case $(uname -m) in
    x86_64) machine=amd64 ;;
    aarch64 | arm64) machine=arm64 ;;
    *) machine=$(uname -m) ;;
  esac
  file="$name-$system-$machine"
  wanted=$(echo "$sums" | sed -n "s/^\([0-9a-f]\{64\}\)  $file\$/\1/p")
  [ -n "$wanted" ] || fail "this release has no $file"

  place=$(mktemp -d)
  trap 'rm -rf "$place"' EXIT
  curl -fsSL --proto '=https,http,file' -o "$place/$file" "$base/$file" || fail "failed to download $base/$file"
  if command -v sha256sum >/dev/null; then
    found=$(sha256sum "$place/$file")
  else
    found=$(shasum -a 256 "$place/$file")
  fi
  found=${found%% *}
  [ "$found" = "$wanted" ] || fail "$base/$file has sha256 $found, not $wanted; nothing is installed"
  chmod 755 "$place/$file"
  mkdir -p "$folder"
  mv "$place/$file" "$folder/kubectl-gt" || fail "failed to write $folder/kubectl-gt; set GASTOWN_BIN to a folder of yours"
  echo "installed $folder/kubectl-gt (@VERSION@)"
}

# A script that is cut short on its way defines this function, and does nothing.
main
