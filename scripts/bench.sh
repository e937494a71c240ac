#!/bin/sh
# Benchmarks: ours, each beside the bare library in the same run (tables of the
# backends alone: internal/beside), then by turns with the published peers.
# Absolute times mean little on a shared machine; compare within one run.
set -eu
go=${GO:-go}
time=${1:-1s}

$go test -run '^$' -bench . -benchtime "$time" \
	./internal/envelope ./codec/... ./l1 ./internal/flight ./backends/... ./secure
$go test -tags interop -run '^$' -bench 'Python|Rust' -benchtime 7x ./internal/peers
