#!/bin/sh
# Install the independent OPC UA peers into DIR (default: .cache/node-opcua of the checkout), once per package.json.
# No lock file: it would carry the addresses of whatever registry this machine uses; the versions are exact.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/../../../.cache/node-opcua}
mkdir -p "$dir"
if [ -d "$dir/node_modules" ] && cmp -s "$here/package.json" "$dir/package.json"; then
    exit 0
fi
work=$(mktemp -d "$dir/install.XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$here/package.json" "$work/package.json"
(cd "$work" && npm install --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error)
rm -rf "$dir/node_modules"
mv "$work/node_modules" "$dir/node_modules"
mv "$work/package.json" "$dir/package.json"
