#!/usr/bin/env bash
# Runs this example's sidecar.yaml between simulators; nothing leaves the machine.
set -euo pipefail
cd "$(dirname "$0")/../.."
go test -count 1 -run '^TestTheExampleNotifyWorks$|^TestAReceiver' ./internal/e2e ./examples/notify
