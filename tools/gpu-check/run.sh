#!/usr/bin/env bash
# On the machine with the GPU: unpacks what `main.mjs pack` has packed, where it has, and runs the checks by the Node that lies in it.
# usage: [PYTHON=python3] bash run.sh [--device cuda|cpu] [--batch 256] [--to gpu-check.json] …
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export CHAMELEON_PYTHON=${PYTHON:-python3}
CHAMELEON_PYTHON=$(command -v "$CHAMELEON_PYTHON") || { echo "There is no ${PYTHON:-python3} here. Set PYTHON to the one that has torch." >&2; exit 2; }
checkout=$here/checkout
if [ -f "$here/checkout.tar.xz" ] && [ ! -f "$checkout/.complete" ]; then
  # Python's own, for xz need not be there.
  "$CHAMELEON_PYTHON" -c 'import sys, tarfile; tarfile.open(sys.argv[1], "r:xz").extractall(sys.argv[2])' "$here/checkout.tar.xz" "$checkout"
  touch "$checkout/.complete"
fi
[ -f "$here/checkout.tar.xz" ] || checkout=$(cd "$here/../.." && pwd)
node=$checkout/.setup/gpu-check/node
[ -x "$node" ] || node=$(command -v node) || { echo "There is no Node here: pack with \`node tools/gpu-check/main.mjs pack\`." >&2; exit 2; }
exec "$node" "$checkout/tools/gpu-check/main.mjs" run "$@"
