// Package secure is a cache whose storage sees only ciphertext.
//
// Every value is turned into one MessagePack document, sealed on the client
// with AES-256-GCM under a key derived for its tenant, and only then handed to
// a backend: Redis, Memcached, a directory of files, the CachekitIO service,
// DynamoDB, an HTTP server, or one of your own.
//
//	cache, err := secure.New(ctx, nil) // key and backend from the environment
//	if err != nil { ... }
//	defer cache.Close()
//
//	err = cache.Set(ctx, "42", user)
//	found, err := cache.Get(ctx, "42", &user)
//
//	users := secure.For[User](cache)
//	user, err := users.GetOrLoad(ctx, "42", fetchUser)
//
// Importing this package is the choice to encrypt: every profile seals what
// reaches a backend. The only way out is Options.Plaintext, for sharing entries
// with clients that do not encrypt, and the secure profile refuses it. The
// presets of the sister SDKs differ: their production, minimal and io presets
// store plaintext unless told otherwise.
//
// # What the storage sees, and what it can do
//
// It sees the text of storage keys (unless Options.KeyNameSecret hides it), the
// size of values, times to live, and when a key is used. It cannot read a value,
// change one, or move one to another key, namespace or tenant without the next
// read failing with ErrAuth. It can withhold an entry, and it can present an
// older value of the same key again: sealed bytes carry no version.
//
// # Keys
//
// The master key comes from Options.Keyring, Options.MasterKey or
// CACHEKIT_MASTER_KEY, in this order; CACHEKIT_PREVIOUS_MASTER_KEYS adds
// decrypt-only keys to the last. It is a source, never a switch: without a
// usable key the constructors fail. See package keys for what is accepted.
//
// A keyring file (package keyfile) as Options.Keyring is followed while the cache
// lives: keys can be staged, promoted and retired without a restart. A file that
// cannot be used is logged and counted, and the keyring in use kept.
//
// # Resolution
//
// The first line that applies decides; what comes after it is passed over.
//
//	backend   Options.L1Only                  no backend
//	          Options.Backend                 that one; it stays the caller's to close
//	          SetDefaultBackend               that one; likewise
//	          CACHEKIT_API_KEY                CachekitIO
//	          CACHEKIT_REDIS_URL              Redis
//	          CACHEKIT_MEMCACHED_SERVERS      Memcached
//	          CACHEKIT_FILE_CACHE_DIR         a directory of files
//	          REDIS_URL                       Redis
//	          nothing of these                ErrConfig, which lists the choices
//	keys      Options.Plaintext               none
//	          Options.Keyring                 what that source returns
//	          Options.MasterKey               that one key
//	          CACHEKIT_KEYRING                ErrConfig: a keyring file is passed as Options.Keyring
//	          CACHEKIT_MASTER_KEY             with CACHEKIT_PREVIOUS_MASTER_KEYS
//	          nothing of these                ErrConfig
//
// The four selectors from CACHEKIT_API_KEY to CACHEKIT_FILE_CACHE_DIR have no
// order: two of them are ErrConfig, which names them. A variable that is set but
// blank is ErrConfig if it would decide, and counts as set beside another
// selector: it is a broken deployment, not a choice. Resolve shows what would be
// chosen, and why, without opening anything.
//
// NewIO takes CachekitIO and nothing else, with the API key of Options.APIKey,
// Options.CachekitIO or CACHEKIT_API_KEY.
//
// # Failures
//
// A miss is found == false and never an error. Everything else is an error of
// exactly one class: ErrAuth, ErrMalformed, ErrType, ErrTooLarge,
// ErrUnavailable, ErrBackend, ErrKey, ErrTTL, ErrClosed, ErrConfig, or the
// context's own. No error, log line or panic holds a key, a value or a secret;
// entries are named by a short keyed hash.
//
// # The in-process layer
//
// Unless switched off, recently used entries are also held in this process, as
// ciphertext, and opened on every hit. Another process's write shows after the
// copy's life, at most Options.L1BackfillTTL for a copy made by a read and the
// entry's own TTL for a copy made by a write of this process. With
// Options.Coherence it shows within milliseconds where the backend can report it.
//
// # Compatibility
//
// Values are the family's interop/v1 format, which cachekit for Python (in its
// interop mode) and cachekit-rs read and write, with keys of Cache.Op or keys
// that both sides choose. Entries of Python's auto mode are private to Python
// and fail with ErrAuth.
package secure
