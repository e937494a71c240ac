// Package backends is the contract between a cache and the storage behind it.
//
// A [Backend] stores bytes under a string key for a time. It never sees a
// value: what a cache of package secure hands it is sealed already (AES-256-GCM
// under a per-tenant key), so a backend needs no key, does no encryption and
// must not interpret what it stores. What it does see, and what anybody who
// reads the storage sees with it, is the text of the storage key (unless the
// cache hides key names), the size of the sealed bytes, the time to live and
// the time of each call.
//
// # Writing one
//
// Implement [Backend] and, where the storage can do more, one or several of the
// small capability interfaces ([Batcher], [BatchReader], [EntryReader], [TTLer], [Locker],
// [BatchLocker], [Scanner], [Swapper], [BatchSwapper], [Rewriter], [Replacer], [KeyRuler], [Metered],
// [Watcher]). Then let package backendtest judge it: the suite is what the
// backends of this module have to pass, and it prints the rule behind each case. A wrapper around another backend implements
// [Wrapper] and names the capabilities of what it wraps, so that wrappers nest
// without combinations.
//
// # Errors
//
// A miss is [ErrNotFound] and nothing else is. A storage that fails returns an
// [*Error] that carries a [Kind]; the kind, not the text, says whether a retry
// can help. A key that the storage cannot hold is a [*KeyError], refused before
// anything is sent. The errors of a context pass through unchanged where the
// caller's context ended the call. No error text holds a key, a value, a
// credential or the body of a server's answer.
//
// # Contexts
//
// A context bounds every call: when it ends, the call returns within 100 ms
// even if the server is stalled. After a call was abandoned in this way its
// connection serves no other caller, its buffers are not reused, and a write
// that was abandoned does not land later over a newer one.
//
// Every backend is safe for concurrent use.
package backends
