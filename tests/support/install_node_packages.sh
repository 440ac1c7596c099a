#!/bin/sh
# Install the packages that FOLDER/package.json names into .cache/ of the checkout, once per package.json; says where.
# No lock file: it would carry the addresses of whatever registry this machine uses; the versions are exact.
set -eu
folder=$(cd "$1" && pwd)
dir=$(cd "$(dirname "$0")/../.." && pwd)/.cache/$(basename "$folder")
mkdir -p "$dir"
echo "$dir/node_modules"
if [ -d "$dir/node_modules" ] && cmp -s "$folder/package.json" "$dir/package.json"; then
    exit 0
fi
work=$(mktemp -d "$dir/install.XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$folder/package.json" "$work/package.json"
(cd "$work" && npm install --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error >&2)
rm -rf "$dir/node_modules"
mv "$work/node_modules" "$dir/node_modules"
mv "$work/package.json" "$dir/package.json"
