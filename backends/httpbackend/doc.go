// Package httpbackend stores entries in any HTTP server that keeps bodies under
// URLs: a key/value service, an object store, WebDAV.
//
//	b, err := httpbackend.Open(ctx, "https://kv.example.com/cache/{key}", &httpbackend.Options{
//		Credential: httpbackend.Bearer(token),
//		TTLHeader:  "X-TTL",
//	})
//	defer b.Close()
//	cache, err := secure.New(ctx, &secure.Options{Backend: b})
//
// A key becomes one segment of the path, or the value of a query parameter,
// with every byte but A-Z a-z 0-9 - . _ ~ percent-encoded. GET reads, PUT writes,
// DELETE removes and HEAD looks; [Options.Methods] changes that. The server and
// whoever reads its log see the text of keys, sizes, times, the TTL and sealed
// bytes.
//
// # Time to live
//
// HTTP has no notion of it, so say how the server expires entries:
//
//   - [Options.TTLHeader], or {ttl} in the query of the URL, tells the server
//     the TTL of each write. The server has to keep it: nothing else does.
//   - [Options.StoreExpires] says that the server has a rule of its own (a
//     lifecycle policy, an eviction). The TTL of a write is dropped then.
//   - Without either, each value is framed: 12 bytes before it hold the time of
//     its end, and every reader of this package takes an expired entry for a
//     miss. That works with every server and keeps a TTL to the millisecond, as
//     far as the clocks of the clients agree. Nothing is removed from the server
//     until it is overwritten or deleted, because a DELETE of what has expired
//     could hit what another client has just written; a server that can remove
//     files by age should be told to. Exists reads the first 12 bytes with GET
//     and Range.
//
// The frame is the characters CKH1 and the end in milliseconds since 1970 as 8
// bytes, big-endian, 0 for never.
//
// # Network
//
// Only https to public addresses: http ([Options.PlainHTTP]) and private
// networks ([Options.PrivateNetwork]) have to be allowed. Addresses are checked
// in the URL, in every spelling, and again when a connection is made, after DNS.
// No redirect is followed and no proxy of the environment is used. HTTP/2 is
// spoken where the server can, over one connection that all calls share, which
// pings keep under watch; otherwise HTTP/1.1.
//
// # Contexts and abandoned calls
//
// A call returns within 100 ms of the end of its context. A write that is given
// up is not under way any more then: its connection is reset, unless the server
// has shown that it has read the request. What it has read, it may still execute,
// also after a newer write: HTTP has no order between requests.
//
// No call is repeated, but for a read whose connection is lost, once, and what an
// HTTP/2 server turns away unprocessed (GOAWAY, REFUSED_STREAM).
//
// # Not there
//
// Locks, batches, scans and compare-and-swap: HTTP has no common form of them. A
// program that fills an entry in several processes at once loads it in each.
package httpbackend
