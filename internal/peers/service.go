package peers

import "time"

// What follows is the interface of the SDKs' backends, below their caches: keys
// are storage keys. Rust offers it on CachekitIO alone, but for Exists.

// Exists reports whether there is an entry under a storage key.
func (s *Store) Exists(key string) (exists bool, err error) {
	err = s.call("exists", Key(key), nil, &exists)
	return exists, err
}

// TTL returns the remaining TTL; 0 is an entry without expiry, or none.
func (s *Store) TTL(key string) (time.Duration, error) {
	var seconds *int64
	if err := s.call("ttl", Key(key), nil, &seconds); err != nil || seconds == nil {
		return 0, err
	}
	return time.Duration(*seconds) * time.Second, nil
}

// Touch gives an entry a new TTL, in whole seconds, and returns what the SDK
// reports.
func (s *Store) Touch(key string, ttl time.Duration) (done bool, err error) {
	err = s.call("touch", Key(key), map[string]any{"ttl": int64(ttl / time.Second)}, &done)
	return done, err
}

// Lock tries once to take the lock of a key and keeps it until Unlock.
func (s *Store) Lock(key string, lease time.Duration) (held bool, err error) {
	err = s.call("lock", Key(key), map[string]any{"lease": lease.Seconds()}, &held)
	return held, err
}

// Unlock releases a lock that Lock took.
func (s *Store) Unlock(key string) error {
	return s.call("unlock", Key(key), nil, nil)
}

// Health returns whether the SDK finds its storage healthy, and of which type.
func (s *Store) Health() (healthy bool, backendType string, err error) {
	var reply struct {
		Healthy bool   `json:"healthy"`
		Type    string `json:"type"`
	}
	err = s.peer.call(map[string]any{"op": "health", "store": s.name}, &reply)
	return reply.Healthy, reply.Type, err
}
