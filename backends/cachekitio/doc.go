// Package cachekitio stores entries in the CachekitIO service, or in a server
// that speaks its API, over HTTP/2.
//
//	key, err := cachekitio.ParseAPIKey(text)
//	b, err := cachekitio.Open(ctx, &cachekitio.Options{APIKey: key})
//	defer b.Close()
//	cache, err := secure.New(ctx, &secure.Options{Backend: b})
//
// secure.NewIO does the same in one step, and [FromEnv] reads the settings that
// all SDKs of the family share.
//
// The service sees the text of keys (unless the cache hides key names), sizes,
// TTLs and times, sealed bytes, and the counters of the cache in front
// ([Backend.Meter]): how many of its reads were served by its in-process layer
// and by the service. The family's SDKs report these; the service accounts by
// them. The API key goes to the service alone and is in no error, log or text
// of any kind.
//
// # Connection
//
// All calls share one HTTP/2 connection. Pings notice a dead one, and calls
// succeed again within 2 s. Only https is spoken; redirects are never followed;
// private and loopback addresses are refused in the URL and after name
// resolution; no proxy of the environment is used. Answers are bounded before memory is
// allocated for them. A server without HTTP/2 is spoken to in HTTP/1.1.
//
// A call ends within 100 ms of the end of its context. A write that is given up
// is under way no more when the call returns; only a server process that has read
// it by then may still carry it out. The connection is kept if a ping, answered
// within 40 ms, shows that the server has read everything; otherwise it is reset,
// and other calls on it fail as Transient, but for reads, which are sent once
// more. Nothing else is sent twice by this package, except what the server
// declares unprocessed; package resilient retries.
//
// # What the API cannot do
//
// [Backend.Delete] and [Backend.Unlock] cannot tell whether there was something
// to remove: they report true. An expiry cannot be taken away from an entry
// without writing it anew: [Backend.Touch] refuses NoExpiry. Touch takes two
// round trips, because the API does not tell whether there was an entry. An entry
// lives 30 days at most, or has no expiry. There are no batches, scans or
// compare-and-swap.
//
// # Limits of a tenant
//
// A 429 for the rate limit is a failure of kind Transient, with the wait that the
// service asks for. One for a spent quota or balance is Permanent until that is
// renewed: [StatusError.QuotaSpent] tells it apart, and Error.RetryAfter of the
// [*backends.Error] around it is the wait, if the service names one. The storage
// is there, so it is no outage: package resilient neither retries it nor counts it,
// and GetOrLoad of package secure loads without the cache.
//
// # Stale entries
//
// With [Options.StaleTTL] the service hands an entry out for some time past its
// TTL, marked stale. Package secure then serves it and has it loaded anew in
// the background, by one process of all that read it.
package cachekitio
