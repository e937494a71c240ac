//go:build !linux

package faults_test

func fullDisk(c *cell) { c.t.Log("only Linux gives a test a file system of its own") }
