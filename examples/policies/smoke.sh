#!/usr/bin/env bash
# Tests each policy by itself, and checks that all of them load together.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
go build -o "$bin/countersign" ./cmd/countersign

all=""
for policy in examples/policies/*/; do
  echo "-- $policy"
  "$bin/countersign" policy test --threshold 100 "$policy"
  all="$all, $PWD/$policy"
done

echo "policy: {paths: [${all#, }]}" >"$bin/all.yaml"
request='{"method":"PATCH","url":"https://graph.microsoft.com/v1.0/users/bg1@contoso.onmicrosoft.com","body":{"passwordProfile":{"password":"x"}}}'
answer=$("$bin/countersign" check -c "$bin/all.yaml" - <<<"$request")
echo "$answer"
[[ $answer == *'"effect":"deny"'*'"code":"break_glass"'* ]]
