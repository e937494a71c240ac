package peers

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// PythonStore configures a store of the Python peer. Its encryption keys and
// tenant come from the environment that the peer was started with.
type PythonStore struct {
	// Redis is a redis:// URL, File a directory, Memcached host:port addresses,
	// APIKey a key for CachekitIO: one of the four.
	Redis     string   `json:"redis,omitempty"`
	File      string   `json:"file,omitempty"`
	Memcached []string `json:"memcached,omitempty"`
	APIKey    string   `json:"api_key,omitempty"`
	// Encrypted selects the secure preset, otherwise minimal without encryption.
	Encrypted bool `json:"encrypted"`
	// FailClosed makes a failed authentication an error, which by default is a miss.
	FailClosed bool `json:"fail_closed"`
}

// RustStore configures a store of the Rust peer.
type RustStore struct {
	// Redis is a redis:// URL, File a directory, Memcached the host:port of one
	// server, APIKey a key for CachekitIO: one of the four.
	Redis     string   `json:"redis,omitempty"`
	File      string   `json:"file,omitempty"`
	Memcached []string `json:"memcached,omitempty"`
	APIKey    string   `json:"api_key,omitempty"`
	// Key is the hex master key, Previous the decrypt-only ones; Env takes both
	// from the environment instead. Without either the store does not encrypt.
	Key      string   `json:"key,omitempty"`
	Previous []string `json:"previous,omitempty"`
	Env      bool     `json:"env,omitempty"`
	// Tenant is "default" unless given.
	Tenant string `json:"tenant,omitempty"`
	// Namespace is the builder's, put before every key.
	Namespace string `json:"namespace,omitempty"`
	// L1 switches the in-process layer on.
	L1 bool `json:"l1,omitempty"`
}

// Entry names an entry: by an operation and its arguments, or by its key.
type Entry struct {
	namespace, operation string
	args                 []any
	key                  string
}

// Op names the entry of an interop operation. The arguments are those of
// [Peer.Key].
func Op(namespace, operation string, args ...any) Entry {
	return Entry{namespace: namespace, operation: operation, args: args}
}

// Key names the entry of a key of the caller's choice.
func Key(key string) Entry { return Entry{key: key} }

// Store is a cache on a peer.
type Store struct {
	peer *Peer
	name string
}

// Open builds a store from a PythonStore or RustStore. Here and in what follows,
// the error is an *Error if the SDK refused.
func (p *Peer) Open(config any) (*Store, error) {
	text, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	request := map[string]any{}
	if err := json.Unmarshal(text, &request); err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	p.mu.Lock()
	p.stores++
	s := &Store{peer: p, name: fmt.Sprint(p.stores)}
	p.mu.Unlock()
	request["op"], request["name"] = "open", s.name
	if err := p.call(request, nil); err != nil {
		return nil, err
	}
	return s, nil
}

// Key returns the interop key that the peer computes. Arguments are nil, bool,
// int, int64, uint64, float64, string, []byte, time.Time, UUID, []any,
// map[string]any and codec.Set.
func (p *Peer) Key(namespace, operation string, args ...any) (key string, err error) {
	request, err := Op(namespace, operation, args...).request("key")
	if err != nil {
		return "", err
	}
	err = p.call(request, &key)
	return key, err
}

// request begins a request of the given operation about e.
func (e Entry) request(op string) (map[string]any, error) {
	if e.key != "" {
		return map[string]any{"op": op, "key": e.key}, nil
	}
	args, err := tagArguments(e.args)
	if err != nil {
		return nil, err
	}
	return map[string]any{"op": op, "namespace": e.namespace, "operation": e.operation, "args": args}, nil
}

func (s *Store) call(op string, e Entry, more map[string]any, result any) error {
	request, err := e.request(op)
	if err != nil {
		return err
	}
	request["store"] = s.name
	for name, v := range more {
		request[name] = v
	}
	return s.peer.call(request, result)
}

// Set stores value, anything that package codec writes. Python takes whole seconds.
func (s *Store) Set(e Entry, value any, ttl time.Duration) error {
	tagged, err := tagValue(value)
	if err != nil {
		return err
	}
	var seconds any = ttl.Seconds()
	if ttl%time.Second == 0 {
		seconds = int64(ttl / time.Second)
	}
	return s.call("set", e, map[string]any{"value": tagged, "ttl": seconds}, nil)
}

// Get returns the value that the peer reads, as the canonical MessagePack
// document of what its SDK returned.
func (s *Store) Get(e Entry) (doc []byte, found bool, err error) {
	return s.get("get", e)
}

func (s *Store) get(op string, e Entry) (doc []byte, found bool, err error) {
	var reply struct {
		Found bool            `json:"found"`
		Value json.RawMessage `json:"value"`
	}
	if err := s.call(op, e, nil, &reply); err != nil || !reply.Found {
		return nil, false, err
	}
	doc, err = untagDocument(reply.Value)
	return doc, err == nil, err
}

// Delete removes the entry.
func (s *Store) Delete(e Entry) error {
	return s.call("delete", e, nil, nil)
}

// Auto makes the Python peer store value in auto mode, under a key and in a frame
// of its own, as the result of a function of the namespace.
func (s *Store) Auto(namespace string, value any, args ...any) error {
	tagged, err := tagValue(value)
	if err != nil {
		return err
	}
	list, err := tagArguments(args)
	if err != nil {
		return err
	}
	request := map[string]any{"op": "auto", "store": s.name, "namespace": namespace, "args": list, "value": tagged}
	return s.peer.call(request, nil)
}

// RawSet stores bytes under a key through the Python peer's backend alone. A ttl
// of 0 is none.
func (s *Store) RawSet(key string, value []byte, ttl time.Duration) error {
	more := map[string]any{"value": hex.EncodeToString(value)}
	if ttl > 0 {
		more["ttl"] = int64(ttl / time.Second)
	}
	return s.call("raw_set", Key(key), more, nil)
}

// RawGet returns the bytes under a key from the Python peer's backend alone.
func (s *Store) RawGet(key string) (value []byte, found bool, err error) {
	var reply struct {
		Found bool `json:"found"`
		Value struct {
			Hex string `json:"$bytes"`
		} `json:"value"`
	}
	if err := s.call("raw_get", Key(key), nil, &reply); err != nil || !reply.Found {
		return nil, false, err
	}
	value, err = hex.DecodeString(reply.Value.Hex)
	return value, err == nil, err
}

// RawDelete removes a key through the Python peer's backend alone and reports
// whether it was there.
func (s *Store) RawDelete(key string) (existed bool, err error) {
	err = s.call("raw_delete", Key(key), nil, &existed)
	return existed, err
}

// Stats are the counters of a Rust store.
type Stats struct {
	L1Hits uint64 `json:"l1_hits"`
	L2Hits uint64 `json:"l2_hits"`
	Misses uint64 `json:"misses"`
	// PreviousKeyHits counts reads by decrypt-only key, in the keyring's order.
	PreviousKeyHits []uint64 `json:"previous_key_hits"`
}

// Stats returns the counters of a Rust store.
func (s *Store) Stats() (stats Stats, err error) {
	err = s.peer.call(map[string]any{"op": "stats", "store": s.name}, &stats)
	return stats, err
}
