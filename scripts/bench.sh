#!/bin/sh
# Benchmarks: ours, each beside the bare library in the same run (the tables of the
# backends alone: see internal/beside), then the
# published peers on the same machine. Absolute times mean little on a shared
# machine; compare within one run.
set -eu
go=${GO:-go}
time=${1:-1s}

$go test -run '^$' -bench . -benchtime "$time" \
	./internal/envelope ./codec/... ./l1 ./internal/flight ./backends/... ./secure
$go test -tags interop -run '^$' -bench 'Python|Rust' -benchtime 1x ./internal/peers
