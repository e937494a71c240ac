// Package filebackend stores entries as files in one directory, in the format of
// the CacheKit SDKs for Python and Rust, so that processes of any of them can
// share it (spec/file-backend-format.md).
//
//	b, err := filebackend.Open("/var/cache/app", nil)
//
// # What is on the disk
//
// The name of a file is the unkeyed BLAKE2b-128 of its key in hex: whoever reads
// the directory and guesses a key can test for it. A file begins with a 14-byte
// header: "CK", version 1, a reserved zero byte, flags, and the second in which
// the entry expires. Files with flags or a reserved byte are of another version:
// they read as a miss and are not touched, neither by the sweep nor by the bound.
// Only an explicit Set or Delete of their key replaces them, as in the sister
// SDKs. Names that are not of the family are never looked at.
//
// # Safety
//
// The directory is created with mode 0700, has to belong to the effective user,
// and must not be open to others. Files have mode 0600. The directory is opened
// once and everything is relative to its descriptor. Symbolic links, FIFOs,
// devices, directories and other users' files under the name of an entry are
// never followed, read, replaced or removed: they read as a miss, and a Set is
// refused. Sizes are checked on the open file before it is read.
//
// # Crashes
//
// A write goes to a temporary file that is renamed into place: a reader sees the
// old entry or the new one, whole, also if the writer is killed. The temporary
// file that it leaves is removed after ten minutes. A power cut is another
// matter: the file system may have recorded the rename but not the content, so
// that a recent entry comes back empty or cut off (it reads as a miss, or fails
// to authenticate in package secure) or as zeros. [Options.Sync] excludes that.
//
// google/renameio is not used: its temporary names are not those of the family,
// which the sister SDKs clean up, and it always pays the fsync.
//
// # Sharing
//
// Processes of this package exclude each other where an operation reads and then
// writes (Set, Delete, Swap, Touch, locks, removal), by locks on 64 bytes of the
// file ".cachekit-go.lock". It must not be removed while they run. The sister
// SDKs do not know it, so a Set of theirs that lands during a Swap or the
// removal of an expired entry of ours can be lost, as between themselves. Entry
// files are not locked, because a sister SDK that meets a lock fails.
//
// The sister SDKs round deadlines down; entries written here live up to a second
// longer than theirs. The Python SDK keeps its own bounds (1 GiB, 10,000
// entries) in a shared directory and removes the entries that were written
// first, ours too.
//
// # Clocks
//
// The expiry of an entry and the end of a lock are moments of the machine's wall
// clock. If it is set back, entries are served and locks held for longer by as
// much; if it is set forward, they end earlier, and a write that is under way may
// fail because its temporary file looks abandoned. A load-through call waits 10
// seconds for a lock at most, however its owner ended.
//
// # Contexts
//
// System calls on files cannot be interrupted. With a context that can end, a
// call runs in another goroutine and leaves it behind when the context ends; a
// write that was left behind takes no effect, unless the kernel was at the
// rename already, and then it still comes before every later write of this
// package. At most 128 such goroutines exist; further calls wait for one, within
// their contexts. A SetMany is handed over in groups of up to 32 items, or 256
// KiB: the items of a group that the context cut short all have its error. A
// context that cannot end costs nothing and bounds nothing.
//
// On tmpfs and ramfs there is no device to wait for: there, on Linux, calls that
// move at most 1 MiB run in their caller's goroutine, whatever the context. They
// wait for locks within it and are then a matter of a millisecond, as long as the
// process itself is not stopped or swapped out.
package filebackend
