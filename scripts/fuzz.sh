#!/bin/sh
# Runs every fuzz target of the module for the given time each.
set -eu
time=${1:-10s}
go=${GO:-go}

$go list -f '{{.Dir}}' ./... | while read -r dir; do
	grep -ho '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go 2>/dev/null | sed 's/^func //' | while read -r target; do
		echo "fuzz: $target in ${dir#"$PWD"/}"
		$go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$dir" </dev/null
	done
done
