// Package dynamodbbackend stores entries in a DynamoDB table.
//
//	b, err := dynamodbbackend.Open(ctx, "cachekit", nil) // region, credentials and endpoint as the AWS SDK finds them
//	defer b.Close()
//	cache, err := secure.New(ctx, &secure.Options{Backend: b})
//
// [New] takes a client that the program has already, [EnsureTable] makes the
// table for development. An entry is one item: the storage key, the sealed bytes,
// the expiry twice and a stamp (see [Attributes]); the lock of a key is the item
// <key>:lock. AWS sees the text of keys, sizes, TTLs and times, and sealed bytes.
// An item holds 400 KB at most; a larger one is refused before it is sent.
//
// # Expiry
//
// DynamoDB deletes expired items hours or days late and knows no milliseconds, so
// it gets the expiry in whole seconds and this package keeps it in milliseconds
// beside: every read and every condition takes an expired item for a missing one.
// DynamoDB has no clock that a request could use. Expiry and leases are judged by
// the clocks of the callers, which have to agree as well as the TTLs demand.
//
// # Contexts and abandoned calls
//
// When the context of a call ends, the call returns at once and its connection is
// reset, so that bytes that have not reached the other side never will, where an
// orderly close would have the kernel deliver them later.
//
// A request that DynamoDB has received cannot be recalled. Therefore each item has
// a stamp, the time of the call that wrote it, and Set, Delete, Touch, Swap and
// Replace carry a condition: they do not replace an item with a later stamp. A write that
// was abandoned and is executed late finds the newer stamp and does nothing. A
// call that is still waited for and meets a later stamp, because the clock of
// another writer is ahead, is sent again with one that is later still, so that no
// write is lost to a slow clock.
//
// What remains: DynamoDB has no condition on the writes of a batch, so SetMany and
// DeleteMany rely on the reset alone; a Set that was abandoned, received and held
// up can bring back an entry that was deleted meanwhile, because no stamp is left
// of it; and it can win over a write of a process whose clock is behind by more
// than the delay. A client whose HTTP connections are not those of net/http over
// TCP, or are shared by HTTP/2, is not reset.
//
// # Retries
//
// Nothing is sent twice, and the retries of the SDK are off, with its header that
// numbers attempts: they are the caller's to make (package resilient). Exceptions: what a batch reports as
// unprocessed or throttled is sent again, with growing, jittered pauses, within
// [Options.Timeout]; the second attempt at a stamp, as above; and a lock whose
// answer was lost, under the same token.
//
// # Bounds
//
// The body of an answer is limited to what DynamoDB can have to say to the
// request, redirects are not followed by what Open makes, and the checksum that
// DynamoDB sends is verified.
package dynamodbbackend
