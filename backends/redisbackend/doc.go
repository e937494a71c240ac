// Package redisbackend stores entries in Redis or a server that speaks its
// protocol (6.0 or later): one server, Sentinel, or Cluster.
//
//	b, err := redisbackend.Open(ctx, "rediss://user:password@host:6379", nil)
//	defer b.Close()
//	cache, err := secure.New(ctx, &secure.Options{Backend: b})
//
// [New] takes a client that the program has already. Entries are plain strings
// under the bare storage key with a TTL in milliseconds, the lock of a key is
// <key>:lock: what the sister SDKs store, so that all share one Redis. The
// server sees the text of keys, sizes, TTLs and times, and sealed bytes.
//
// # Contexts and abandoned calls
//
// When the context of a call ends, by deadline or cancel, the call returns within
// some 25 ms and the connection that served it is reset: it serves nobody else,
// and the bytes that the server's host has not received are dropped, where an
// orderly close would have the kernel deliver them later. So after a network
// failure an abandoned write never lands.
//
// Bytes that the host had received but a stalled server process has not read
// cannot be recalled: Linux hands them to Redis even after a reset. Redis
// executes them when it goes on, in the order of their arrival, that is, before
// every write that was sent later by anybody. Two settings break that order:
// io-threads-do-reads, and a proxy between client and server that buffers. Then
// a newer write by the same Backend still wins: it is preceded by a read of the
// key whose answer shows that the server has caught up. A newer write of another
// process can lose there.
//
// Waiting for a connection, for a handshake and for a Cluster's map of slots end
// with the context too. A call without a context that can end is bounded by
// [Options.Timeout]. No command that changes a key is sent twice by this package
// or by go-redis, except as a server redirects or refuses it, and a lock whose reply was
// lost, under the same token. A Cluster client repeats commands that only read
// after a network failure, up to its MaxRedirects.
//
// # Failover
//
// After a failover of a Cluster or by Sentinel the backend finds the new master
// by itself; until then calls fail as an outage. A failure makes a Cluster client
// ask for the map of slots, at most twice a second, because a dead master
// redirects nobody and go-redis alone looks once a minute. What a master had
// acknowledged and not replicated when it died is lost, as with any client.
//
// # Connections
//
// On one server and on a Cluster that [Open] has connected to, the commands that
// are a cache's traffic (GET, SET, MGET, UNLINK, EXISTS, PTTL, locks and scripts)
// have a pool of connections of their own, up to pool_size to each server, beside
// that of go-redis: a call writes its command and reads its answer there without
// an allocation but the value's. It spares a quarter of the CPU time that a call
// through go-redis takes. Everything else goes through go-redis, and so do these
// commands where go-redis knows better: behind Sentinel, with a client that was
// given to [New], when pool_size connections are busy, after a Cluster's MOVED, and
// with a server that refuses HELLO (then for a minute). So up to twice pool_size
// connections can stand. They honour client_name, conn_max_idle_time and
// conn_max_lifetime; the other settings of the pool are go-redis's alone.
//
// A read on a connection that turns out to have been lost is made once more; a
// write never is. A connection that is being made when its call ends is made for the
// next one, for a second more at most.
//
// go-redis has a log of its own, one for the whole program, on standard error: it
// tells of failed connections, with addresses, and of no key, value or password.
// redis.SetLogger silences or redirects it.
//
// # Many callers
//
// From five concurrent reads on, small reads are gathered and sent as pipelines,
// so that they share round trips and system calls; a read that is alone, or of
// large values, has a connection of its own. A write always has, because a
// command that is given up cannot be taken out of a pipeline; only writes of
// somebody who watches his keys ([backends.WrittenBy]) share one, which is reset
// when one of them is given up.
//
// # Bounds
//
// The length of a value is checked before memory is allocated for it
// ([Options.MaxValueBytes]). go-redis itself trusts a server: a few forged bytes
// would have it allocate all memory, panic or overflow the stack. So every byte
// that arrives for it is followed first, in the handshake too: strings of more than
// MaxValueBytes (or 1 MiB, if that is more), more than 2^20 outstanding elements,
// nesting deeper than 32 and lines over 64 KiB end the connection, as RESP3
// attributes do. Connections that a client given to [New] had before are not
// followed.
package redisbackend
