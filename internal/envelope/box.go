package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/secret"
	"github.com/cachekit-io/cachekit-go/keys"
)

// Overhead is how many bytes sealing adds to a document.
const Overhead = nonceSize + tagSize

// SealBudget is the number of seals under one key after which the odds of a
// repeated nonce, over all processes, leave what NIST SP 800-38D, 8.3 allows
// for random nonces.
const SealBudget = 1 << 32

// ErrAuth is returned when bytes do not open under any key of the keyring:
// tampered, truncated, never sealed, sealed under another key, for another
// tenant, for another storage key or in another mode. AES-GCM cannot tell
// these apart.
var ErrAuth = errors.New("envelope: entry failed authentication")

// ErrZero refuses a Sealed that is no entry.
var ErrZero = errors.New("envelope: no sealed entry")

// Config says for whom and how a Box seals.
type Config struct {
	// Tenant is the exact string used for derivation and bound into the AAD.
	Tenant string
	// Compressed marks the documents as interop/v2 containers.
	Compressed bool
	// RandomNonces draws each nonce afresh instead of counting.
	RandomNonces bool
}

// Box seals and opens the entries of one tenant. It is safe for concurrent use.
type Box struct {
	aad   aad
	plain bool
	// fresh draws nonces inside the AEAD (NonceSize 0), counted otherwise.
	fresh bool
	cfg   Config
	*sealing
	keys []openKey
	// scratch holds *[]byte for additional data, which would otherwise escape
	// to the heap on every call.
	scratch sync.Pool
}

// sealing belongs to the current key.
type sealing struct {
	nonces nonces
	seals  atomic.Uint64
}

type openKey struct {
	aead        cipher.AEAD
	fingerprint keys.Fingerprint
	opened      *atomic.Uint64
}

// New derives the tenant's keys from ring and returns a Box that seals with the
// current one and opens with each in turn.
func New(ring *keys.Keyring, cfg Config) (*Box, error) {
	derived, err := ring.Derive(secret.NewGrant(), keys.DomainEncryption, cfg.Tenant)
	if err != nil {
		return nil, err
	}
	b := newBox(cfg)
	for _, d := range derived {
		aead, err := b.newAEAD(d.Bytes.Reveal())
		if err != nil {
			return nil, fmt.Errorf("envelope: setting up AES-256-GCM: %w", err)
		}
		b.keys = append(b.keys, openKey{aead, d.Fingerprint, new(atomic.Uint64)})
	}
	return b, nil
}

// Rekey returns a Box like b for another keyring. Keys that both have keep their
// counts, and a current key that stays current its nonces. b may stay in use.
func (b *Box) Rekey(ring *keys.Keyring) (*Box, error) {
	n, err := New(ring, b.cfg)
	if err != nil {
		return nil, err
	}
	for i := range n.keys {
		for _, old := range b.keys {
			if old.fingerprint == n.keys[i].fingerprint {
				n.keys[i].opened = old.opened
			}
		}
	}
	if n.keys[0].fingerprint == b.keys[0].fingerprint {
		n.sealing = b.sealing
	}
	return n, nil
}

// Lacks reports whether other has a key that b does not have.
func (b *Box) Lacks(other *Box) bool {
	return slices.ContainsFunc(other.keys, func(o openKey) bool {
		return !slices.ContainsFunc(b.keys, func(k openKey) bool { return k.fingerprint == o.fingerprint })
	})
}

// NewPlain returns a Box that seals nothing: what it calls sealed is the
// document itself, for sharing entries with unencrypted peers.
func NewPlain() *Box {
	b := newBox(Config{})
	b.plain = true
	return b
}

func newBox(cfg Config) *Box {
	return &Box{
		cfg:     cfg,
		sealing: new(sealing),
		aad:     newAAD(cfg.Tenant, cfg.Compressed),
		fresh:   cfg.RandomNonces || fips140.Enforced(),
		scratch: sync.Pool{New: func() any { return new([]byte) }},
	}
}

func (b *Box) newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if b.fresh {
		return cipher.NewGCMWithRandomNonce(block)
	}
	return cipher.NewGCM(block)
}

// Seal encrypts doc for storage key under the current key. The result is a
// fresh allocation of exactly its size; doc is only read. now is the time on
// both clocks, as time.Now returns it.
func (b *Box) Seal(now time.Time, key string, doc []byte) Sealed {
	if b.plain {
		return Sealed{b: append(make([]byte, 0, len(doc)), doc...), key: key}
	}
	scratch := b.scratch.Get().(*[]byte)
	*scratch = b.aad.append((*scratch)[:0], key)
	out := make([]byte, nonceSize, nonceSize+len(doc)+tagSize)
	if aead := b.keys[0].aead; b.fresh {
		out = aead.Seal(out[:0], nil, doc, *scratch)
	} else {
		b.nonces.put(out, now)
		out = aead.Seal(out, out, doc, *scratch)
	}
	b.scratch.Put(scratch)
	b.seals.Add(1)
	return Sealed{b: out, key: key}
}

// Open authenticates r under each key of the keyring in turn, always with the
// same AAD, appends the document to dst and returns the extended slice and the
// entry in sealed form. dst must not overlap the received bytes. The error is
// ErrAuth; dst is returned as it was then. What lies between its length and its
// capacity is undefined afterwards, and room for the additional data is part of
// that.
func (b *Box) Open(dst []byte, r Received) ([]byte, Sealed, error) {
	doc, sealed, _, err := b.OpenAt(dst, r)
	return doc, sealed, err
}

// OpenAt is Open and says which key opened r, by its place in the keyring: 0 is
// the current one.
func (b *Box) OpenAt(dst []byte, r Received) (doc []byte, sealed Sealed, place int, err error) {
	doc, place, err = b.open(dst, r.b, r.key)
	if err != nil {
		return doc, Sealed{}, 0, err
	}
	return doc, Sealed(r), place, nil
}

// Reopen is Open for an entry that is in sealed form already.
func (b *Box) Reopen(dst []byte, s Sealed) ([]byte, error) {
	doc, _, err := b.open(dst, s.b, s.key)
	return doc, err
}

func (b *Box) open(dst, entry []byte, key string) (doc []byte, place int, err error) {
	switch {
	case entry == nil:
		return dst, 0, ErrZero
	case b.plain:
		return append(dst, entry...), 0, nil
	case len(entry) < Overhead:
		return dst, 0, ErrAuth
	}
	// The additional data lies behind where the document will: elsewhere it
	// would escape to the heap.
	end := len(dst) + len(entry) - Overhead
	dst = slices.Grow(dst, end-len(dst)+b.aad.size(key))
	aad := b.aad.append(dst[end:end], key)
	nonce, body := entry[:nonceSize], entry[nonceSize:]
	if b.fresh {
		nonce, body = nil, entry
	}
	for i := range b.keys {
		k := &b.keys[i]
		if doc, err := k.aead.Open(dst, nonce, body, aad); err == nil {
			k.opened.Add(1)
			return doc, i, nil
		}
	}
	return dst, 0, ErrAuth
}

// Plain reports whether the Box seals nothing.
func (b *Box) Plain() bool { return b.plain }

// Seals returns how many entries were sealed under the current key, by this Box
// and those that it was made from.
func (b *Box) Seals() uint64 { return b.seals.Load() }

// KeyUse says how many entries one key of the keyring has opened.
type KeyUse struct {
	Fingerprint keys.Fingerprint
	Opened      uint64
}

// Use returns the count of each key, current key first.
func (b *Box) Use() []KeyUse {
	out := make([]KeyUse, len(b.keys))
	for i, k := range b.keys {
		out[i] = KeyUse{k.fingerprint, k.opened.Load()}
	}
	return out
}
