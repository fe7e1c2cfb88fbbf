#!/bin/sh
# Bring federation.yaml into force. `binder-node federation ramp --deploy ./deploy.sh` runs this after each change.
set -eu
binder-node federation redirector federation.yaml |
    kubectl create configmap federation-redirect --namespace redirector --from-file=config.json=/dev/stdin \
        --dry-run=client --output yaml |
    kubectl apply --filename -
# The redirector reads its configuration at its start only.
kubectl rollout restart --namespace redirector deployment/federation-redirect
kubectl rollout status --namespace redirector deployment/federation-redirect --timeout 120s
