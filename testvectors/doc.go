// Package testvectors holds the values that every SDK of the CacheKit family
// agrees on, and checks this module against them.
//
// [Embedded] is the set that is built in; [Verify] checks it, or any directory
// that holds a set with a manifest. README.md beside this file describes the
// format. Verify fails closed: a missing file, block or case, a changed byte, a
// file that the manifest does not list and a block that nobody checks are all
// failures, and a case counts as passed only if it fails or succeeds in exactly
// the way it says.
package testvectors
