//go:build race

package faults_test

// The race detector allows 8128 goroutines, and counts shadow memory into the
// size of the process.
const (
	raceEnabled    = true
	callersOfCrowd = 5_000
)
