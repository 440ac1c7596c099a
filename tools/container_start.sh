#!/bin/sh
# The image's entry point: `headrace` with the words that it is given, and `--healthy` as the image's health check.
# Numba reads only a cache that it could write to, and the image's own is read-only: so it is copied, 7 MB. Containers of
# one pod share /tmp: the whole copy gets its name at once, and who comes second leaves it at that.
set -eu
if [ "${1:-}" = --healthy ]; then
    exec python -c 'import os, sys, urllib.request as http
port = os.environ["HEADRACE_HTTP__LISTEN"].rpartition(":")[2]
sys.exit(http.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=4).status != 200)'
fi
if [ ! -e "$NUMBA_CACHE_DIR" ]; then
    copy=$(mktemp -d "$NUMBA_CACHE_DIR.XXXXXX")
    cp -r /opt/headrace/kernels/. "$copy"
    mv -T "$copy" "$NUMBA_CACHE_DIR" 2>/dev/null || rm -rf "$copy"
fi
exec headrace "$@"
