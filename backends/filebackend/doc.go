// Package filebackend stores entries as files in one directory, in the format
// that the CacheKit SDKs for Python and Rust use, so that processes of any of
// them can share it (spec/file-backend-format.md).
//
//	b, err := filebackend.Open("/var/cache/app", nil)
//
// # What is on the disk
//
// The name of a file is the unkeyed BLAKE2b-128 of its key in hex: whoever
// guesses a key can test for it. A file begins with a 14-byte header: "CK",
// version 1, a reserved zero byte, flags, and the second in which the entry
// expires. Files with flags or a reserved byte that this package does not know
// are another version's: they read as a miss and are never touched.
//
// # Safety
//
// The directory is created with mode 0700, must belong to the user and must not
// be open to others. Files are created with mode 0600. Symbolic links, FIFOs,
// devices and other users' files are never followed, read or removed.
//
// A write goes to a temporary file that is renamed into place, so a reader sees
// the old entry or the new one, whole, also when the writer is killed. What a
// power cut can do depends on the file system; [Options.Sync] makes every write
// durable before it returns, at several times the cost.
//
// # Sharing
//
// Processes of this package exclude each other where an operation reads and
// then writes (Swap, Touch, locks, removal of expired files). The sister SDKs do
// not know these locks; a Set of theirs during a Swap of ours can be lost as if
// it had come first.
//
// The size bound is kept by this process for the directory as it finds it: the
// least recently used entries go first, by the times at which this process used
// them and at which any process wrote them.
package filebackend
