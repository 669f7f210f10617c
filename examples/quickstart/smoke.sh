#!/usr/bin/env bash
# The quick start's own promise: one call allowed, one refused after a denial, one refused outright, and nothing executed.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(go run ./examples/quickstart --answer deny)
grep -q 'verification_denied' <<<"$out"
grep -q 'requester_unknown' <<<"$out"
grep -q 'Graph     received the call 0 times' <<<"$out"
if go run ./examples/quickstart --answer maybe 2>/dev/null; then
  echo "an unknown answer was accepted" >&2
  exit 1
fi
