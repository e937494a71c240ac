// Package iotest is a CachekitIO service for tests, on loopback and in memory,
// as net/http/httptest is one for handlers:
//
//	server, err := iotest.Start(nil)
//	defer server.Close()
//	cache, err := secure.NewIO(ctx, &secure.Options{CachekitIO: server.Options(), MasterKey: key})
//
// It keeps to spec/saas-api.md and to the server's part of
// spec/cache-key-format.md of the family's protocol: authentication before
// everything else, the three classes of API key and their write spaces, the
// grammar of keys after a single decoding, TTL and stale windows in whole seconds
// of the server's clock, freshness headers, locks whose contention stands in the
// body, limits and their refusals. It speaks HTTP/2 and HTTP/1.1 over TLS.
//
// # Reaching it
//
// A client of CachekitIO refuses loopback addresses and unknown hosts, and this
// package does not ask it to stop: the server has a certificate for
// api.cachekit.io from a CA of its own, and a client is given that CA and a dialer
// that leads the name here ([Server.RootCAs], [Server.DialContext]). A client in
// another process or language takes the CA from SSL_CERT_FILE and the way here
// from HTTPS_PROXY: [Server.Proxy] is a CONNECT proxy that leads to this server
// and nowhere else. The key of the CA exists in the memory of one [Start] alone.
//
// # Time and trouble
//
// [Server.Advance] moves the server's clock, so that windows, locks and rate
// limits pass without a wait. [Server.Inject] makes requests fail as services and
// networks do; [Server.BlackHole] and [Server.Partition] drop packets.
//
// The server is for tests: entries lie in memory as the client sent them,
// and API keys are handed out to whoever holds the [Server].
package iotest
