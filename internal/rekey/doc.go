// Package rekey walks the entries of a storage: it finds out which key each is
// sealed under and, if told to, seals those under an old key anew under the
// current one.
//
// A newer write is never overwritten: an entry is replaced only while the storage
// still holds the very bytes that were opened ([backends.Swapper]; where the
// storage can, it watches the entry from before the read, [backends.Rewriter]), and
// its time to live stays. A walk can be stopped at any entry, by a signal or by force, and
// run again, from its cursor or from the start: an entry under the current key is
// left alone.
//
// Memory is bounded by Config.Parallel times the bytes of a chunk (see Config);
// nothing is kept of the entries that were seen.
package rekey
