#!/usr/bin/env bash
# The manifests of Cluster/kubernetes against the schemas of the oldest and the newest release that they are for, offline.
set -euo pipefail
cd "$(dirname "$0")/../.."
for release in 1.33.0 1.37.0; do
  .venv-schedulers/bin/kubernetes-validate --strict --kubernetes-version "$release" --quiet Cluster/kubernetes/*.yaml
  echo "kubernetes $release: $(cat Cluster/kubernetes/*.yaml | grep -c "^kind:") resources are valid"
done
