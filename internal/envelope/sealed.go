package envelope

// Sealed is an entry in the form that a backend stores. The zero value is no
// entry and is refused everywhere. A Sealed is immutable; copies share bytes.
type Sealed struct {
	b   []byte
	key string
}

// Key returns the storage key that the entry is sealed for.
func (s Sealed) Key() string { return s.key }

// Bytes returns the sealed bytes themselves. They must not be modified.
func (s Sealed) Bytes() []byte { return s.b }

// Len returns the number of sealed bytes.
func (s Sealed) Len() int { return len(s.b) }

// IsZero reports whether s is no entry.
func (s Sealed) IsZero() bool { return s.b == nil }

// Received is what a backend returned for a key, not yet authenticated. All
// that can be done with it is to open it, and to look what it is not.
type Received struct {
	b   []byte
	key string
}

// Receive takes over b, read from a backend under key. The caller must not
// modify b afterwards.
func Receive(key string, b []byte) Received {
	if b == nil {
		b = []byte{}
	}
	return Received{b: b, key: key}
}

// Key returns the storage key that the bytes were read under.
func (r Received) Key() string { return r.key }

// Len returns the number of bytes received.
func (r Received) Len() int { return len(r.b) }

// Peek shows the bytes to see, which must neither keep nor modify them: for a
// person's diagnosis of what did not open, nothing else.
func (r Received) Peek(see func([]byte)) { see(r.b) }
