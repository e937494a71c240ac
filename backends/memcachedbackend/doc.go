// Package memcachedbackend stores entries in one or several memcached servers,
// through gomemcache.
//
//	b, err := memcachedbackend.Open(ctx, "cache1:11211,cache2:11211", nil)
//	defer b.Close()
//	cache, err := secure.New(ctx, &secure.Options{Backend: b})
//
// Entries lie under the bare storage key with flags 0, as cachekit-py and
// cachekit-rs store them, and several servers share the keys out as cachekit-py
// does (rendezvous hashing), so that all of them share one memcached. The server
// sees the text of keys, sizes, TTLs and times, and sealed bytes.
//
// # What memcached can hold
//
// Keys have 1 to 250 bytes of printable ASCII without spaces ([Backend.KeyRules]);
// another is refused as a [*backends.KeyError] before anything is sent. A value
// over [Options.MaxValueBytes], 1 MiB by default, is an error of kind TooLarge,
// and so is one that the server itself refuses. Nothing is persistent, and any
// entry or lock may be evicted at any time.
//
// TTLs are whole seconds, rounded up, and end with a tick of a clock that moves
// once a second: an entry lives for its TTL at least and less than two seconds
// longer. memcached takes more than 30 days for a point in time, long past; a
// longer TTL is cut to 30 days, as the family does. [backends.NoExpiry] is kept.
//
// TTL, GetEntry and Swap need the meta commands of memcached 1.6 (2020). For
// older servers, and proxies that lack them, [Options.ClassicProtocol] takes
// these capabilities back. Swap and Replace read an entry and store over that very
// one, by its number (cas): two round trips.
//
// # Several servers
//
// A key lives on one server. When that is down, calls for its keys fail and all
// others work; in a batch, each failed key has its own error. Keys never move to
// another server by themselves: two clients that disagree about which server is
// down would read each other's stale entries. (cachekit-py does move them, after
// three failures and for a minute.)
//
// # Contexts and abandoned calls
//
// gomemcache knows no contexts. Here each connection has a gomemcache client of
// its own and serves one call at a time, so it knows whose context ends its reads
// and writes. When that happens, by deadline or cancel, the call returns within
// some 25 ms and the connection is reset: it serves nobody else, and the bytes
// that the server's host has not received are dropped, where an orderly close
// would have the kernel deliver them later. So after a network failure an
// abandoned write never lands.
//
// Bytes that the host had received but a stalled server process has not read
// cannot be recalled: Linux hands them to memcached even after a reset. When
// such a process goes on, its worker threads execute what lies in their sockets
// in no order among each other. A newer write by the same Backend then waits
// until the server answers again, and 25 ms more, so that it wins; one of another
// process can lose within that moment.
//
// No command of memcached closes that gap at the price of one round trip. A cas (C
// of the meta commands) is executed only over the very item whose number was read
// before, so a write would have to read first, and an add is refused over what is
// there; a blind Set has neither number nor gap. E, which sets an item's number (not
// in 1.6.18, Debian's), does not refuse an older one, and I, which compares two,
// stores the older value all the same, marked stale (doc/protocol.txt, "Meta Set";
// tried). Swap and Replace are cas commands and never land late.
//
// A call without a context that can end is bounded by [Options.Timeout]. A
// request is sent twice only if an idle connection turns out to be closed before
// any of the answer has come, once, on a new connection; for a Delete the first
// may then have been the one that found the entry.
//
// # Lying servers
//
// The connection follows every answer before gomemcache sees it: lengths are
// bounded before memory is allocated, there are no more values than keys, the
// key of each is the one that was asked for, and a connection on which more
// comes than the answer is closed.
//
// There is no authentication: memcached's own (SASL) needs a protocol that
// gomemcache does not speak. Use TLS with client certificates, or a network of its
// own.
package memcachedbackend
