// Package resilient keeps a program up while its storage is not: it wraps any
// [backends.Backend] with a bound on concurrent calls, a circuit breaker and
// retries, in this order from the outside in.
//
//	b, err := resilient.New(inner, nil)
//
// The caches of package secure do this themselves, on every profile but
// minimal. Wrap a backend by hand to use it without them, or to share one
// breaker among several caches.
//
// # What happens to a call
//
// A call first takes one of Options.MaxRunning places, and keeps it until it
// returns; if there is none within Options.MaxWait, it is an error of kind
// Overload. While the circuit is open, it is an error of kind CircuitOpen.
// Neither sends anything. Then the storage is asked, up to Options.Attempts
// times, with exponential backoff and full jitter between: a random part of
// BaseDelay, of twice BaseDelay, and so on, but never less than the server's
// Retry-After.
//
// The caller's context ends every part of this. A call whose context has no
// deadline gets one of Options.Timeout for all attempts together; where that
// ends the call, the error is of kind Timeout. No attempt begins later than
// Options.Timeout after the first, nor after a wait that the context would not
// survive, nor where the server asks to wait longer than 30 s: the call then
// returns the storage's error at once, with its RetryAfter.
//
// # What is retried
//
// Only failures of kind Transient and Timeout, and a Timeout once: a second one
// is no broken connection but a stalled storage, and costs as long as the first.
// Misses, locks held by others, refused keys, values and credentials, calls on a
// closed backend and the end of a context are final.
//
//   - Reads (Get, GetEntry, GetMany, Exists, TTL, Scan) are retried.
//   - Set, Delete, Touch and their batches are retried, with the same value. An
//     attempt whose outcome is unknown does no harm: it and its retry do the
//     same, and the backend keeps it from landing after the call (package
//     backends, "Contexts"). The call lasts until its last attempt, so a write
//     of another process that comes between two attempts is concurrent with it,
//     and either may stay. Within the wrapper the newer write stays: a write is
//     not retried once another write of the same key has begun. Nothing is
//     retried after the call has returned. A Delete that was retried may report
//     that there was no entry where its first attempt removed it.
//   - Unlock is retried: it names the token, so it cannot release another
//     owner's lock. It may report false for a lock that its first attempt
//     released.
//   - Lock, Swap, SwapMany, RewriteMany and Replace are not. A second Lock would draw a second token and find
//     the first one's lock; a second Swap would find the first one's bytes and
//     report false; and no error of the contract proves that nothing was done.
//   - Of a batch, only the keys that failed are sent again.
//   - Health is not a part of this: it asks the storage itself, also while the
//     circuit is open, and adds the state of the circuit to its details.
//
// # What opens the circuit
//
// Options.Failures calls that failed within Options.Window, each counted once
// with its retries. A call has failed if its last error is of kind Transient or
// Timeout, or if its context ended after the storage left it unanswered for a
// second or longer; a context that ends sooner says nothing of the storage. A
// batch has failed if none of its keys was answered. Misses, refusals and
// authentication failures are answers.
//
// After Options.OpenFor, up to Options.Probes calls at a time are let through,
// one attempt each. As many successes close the circuit, one failure opens it
// again.
package resilient
