#!/bin/sh
# Runs every fuzz target of the module for the given time each. Inputs that only
# reach new code are hardly minimised: that takes up to a minute an input, in
# which nothing new is tried.
#
# Up to Go 1.26 a run can end in a bare "context deadline exceeded" when the
# time is up (go.dev/issue/75804, fixed in 1.27). A run that ends so has found
# nothing: a finding, a panic and a failed build all print more than that.
set -eu
time=${1:-10s}
go=${GO:-go}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# only_time reports whether the deadline is the one thing that failed.
only_time() {
	grep -q '^    context deadline exceeded$' "$log" &&
		! grep -Eq 'Failing input written|panic:|fuzzing process|_test\.go:|\[build failed\]' "$log"
}

$go list -f '{{.Dir}}' ./... | while read -r dir; do
	grep -ho '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go 2>/dev/null | sed 's/^func //' | while read -r target; do
		echo "fuzz: $target in ${dir#"$PWD"/}"
		if $go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x "$dir" </dev/null >"$log" 2>&1; then
			tail -n 3 "$log"
		elif only_time; then
			echo "fuzz: time is up, no failing input"
		else
			cat "$log"
			exit 1
		fi
	done
done
