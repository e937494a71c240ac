package keyfile

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/cachekit-io/cachekit-go/internal/secret"
	"github.com/cachekit-io/cachekit-go/keys"
)

// Bounds of a document. They keep a file within maxFileBytes.
const (
	maxRecords   = 256
	maxNoteBytes = 256
	maxKeyBytes  = 1024
)

// Document is the content of a keyring file: keys with their roles, and the
// generation of the whole. It prints nothing and is for one goroutine at a time.
//
// Operations change the document in memory; when one returns an error, it has
// changed nothing. Update writes the outcome. Times are the caller's and kept to
// the second.
type Document struct {
	redacted
	ring       string // random, the same for the life of the keyring
	generation uint64
	written    time.Time
	protection string // kind of the protection it was read under
	records    []record
	handle     *keyset.Handle
	recipients []string          // of age, as read
	sum        [sha256.Size]byte // of the document as read
	next       *Protection       // for the next write, if it is to change
}

// record is a key of the document; its bytes are in the keyset.
type record struct {
	Key
	tinkID uint32 // 0 for tombstones
}

// NewDocument returns a document of generation 0 with the keys of ring: its
// current key, and its decrypt-only keys as demoted. To begin, pass a keyring of
// keys.Generate(); to import the family's variables, that of keys.Environment.
// A key that is staged in those variables cannot be told from a demoted one and
// could not be promoted here, so import when no rotation is under way.
//
// It refuses a nil ring (keys.ErrNoKey), a key of more than 1024 bytes and a bad
// note (ErrTransition): valid UTF-8 without control characters, 256 bytes.
func NewDocument(ring *keys.Keyring, note string, at time.Time) (*Document, error) {
	if ring == nil {
		return nil, keys.ErrNoKey
	}
	masters, err := ring.MasterKeys(secret.NewGrant())
	if err != nil {
		return nil, err
	}
	var id [16]byte
	rand.Read(id[:])
	at = stamp(at)
	d := &Document{ring: hex.EncodeToString(id[:]), written: at}
	m := keyset.NewManager()
	for i, k := range masters {
		r := record{Key: Key{Role: Demoted, Created: at, Demoted: at, Note: note}}
		if i == 0 {
			r.Key = Key{Role: Current, Created: at, Promoted: at, Note: note}
		}
		if err := checkNote(note); err != nil {
			return nil, err
		}
		if r.ID, r.tinkID, err = addKey(m, k); err != nil {
			return nil, err
		}
		if i == 0 {
			err = m.SetPrimary(r.tinkID)
		}
		if err != nil {
			return nil, err
		}
		d.records = append(d.records, r)
	}
	d.handle, err = m.Handle()
	return d, err
}

func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func checkNote(note string) error {
	if len(note) > maxNoteBytes || !utf8.ValidString(note) || strings.ContainsFunc(note, unicode.IsControl) {
		return fmt.Errorf("%w: a note is valid UTF-8 without control characters, at most %d bytes", ErrTransition, maxNoteBytes)
	}
	return nil
}

// Generation counts the writes of the keyring. It is 0 before the first.
func (d *Document) Generation() uint64 { return d.generation }

// Written is when the file was written, by the clock of who wrote it.
func (d *Document) Written() time.Time { return d.written }

// RingID identifies the keyring across its generations: 32 hex digits. It is
// inside what the protection seals.
func (d *Document) RingID() string { return d.ring }

// Protection names what the file was read under: "passphrase", "age", "kms" or
// "cleartext"; "" if it was not read from a file.
func (d *Document) Protection() string { return d.protection }

// Protect makes the next write use p in place of what the file was read under.
func (d *Document) Protect(p *Protection) { d.next = p }

// Keys returns all keys in the order in which they came, tombstones included.
// The slice is the caller's.
func (d *Document) Keys() []Key {
	out := make([]Key, len(d.records))
	for i, r := range d.records {
		out[i] = r.Key
	}
	return out
}

// MasterKey returns the key of id, whatever its role. The error is
// ErrTransition for an unknown id and for a destroyed key.
func (d *Document) MasterKey(id string) (keys.MasterKey, error) {
	r, err := d.find(id)
	if err != nil {
		return keys.MasterKey{}, err
	}
	if r.Role == Destroyed {
		return keys.MasterKey{}, fmt.Errorf("%w: the key was destroyed, its bytes are gone", ErrTransition)
	}
	all, err := entries(d.handle)
	if err != nil {
		return keys.MasterKey{}, err
	}
	return masterKey(all[r.tinkID])
}

// Keyring returns the keys in use: the current one, then the staged one, then
// the demoted ones, last demoted first. The errors are those of keys.NewKeyring.
func (d *Document) Keyring() (*keys.Keyring, error) {
	all, err := d.inUse()
	if err != nil {
		return nil, err
	}
	return keys.NewKeyring(all[0], all[1:]...)
}

// Export returns the values of CACHEKIT_MASTER_KEY and of
// CACHEKIT_PREVIOUS_MASTER_KEYS for the keys in use. They are the secrets
// themselves. previous is "" if the current key is the only one: set the
// variable to that all the same.
func (d *Document) Export() (current, previous string, err error) {
	all, err := d.inUse()
	if err != nil {
		return "", "", err
	}
	texts := make([]string, len(all))
	for i, k := range all {
		texts[i] = k.RevealHex()
	}
	return texts[0], strings.Join(texts[1:], ","), nil
}

func (d *Document) inUse() ([]keys.MasterKey, error) {
	var used []record
	for _, r := range d.records {
		if r.Role.inUse() {
			used = append(used, r)
		}
	}
	rank := func(r Role) int { return map[Role]int{Current: 0, Staged: 1, Demoted: 2}[r] }
	slices.Reverse(used)
	slices.SortStableFunc(used, func(a, b record) int {
		if a.Role != b.Role {
			return rank(a.Role) - rank(b.Role)
		}
		return b.Demoted.Compare(a.Demoted)
	})
	all, err := entries(d.handle)
	if err != nil {
		return nil, err
	}
	out := make([]keys.MasterKey, len(used))
	for i, r := range used {
		if out[i], err = masterKey(all[r.tinkID]); err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, keys.ErrNoKey
	}
	return out, nil
}

// copy returns a document that can be written in d's place.
func (d *Document) copy() *Document {
	c := *d
	c.records = slices.Clone(d.records)
	return &c
}

func (d *Document) find(id string) (*record, error) {
	i := slices.IndexFunc(d.records, func(r record) bool { return r.ID == id })
	if i < 0 {
		return nil, fmt.Errorf("%w: the keyring has no key of that id", ErrTransition)
	}
	return &d.records[i], nil
}

// current returns the record of the current key, which every document has.
func (d *Document) current() *record {
	i := slices.IndexFunc(d.records, func(r record) bool { return r.Role == Current })
	return &d.records[i]
}

// validate checks everything that a reader relies on: the rules of the roles,
// and that the keyset has exactly the keys and states that they ask for.
func (d *Document) validate() error {
	all, err := entries(d.handle)
	if err != nil {
		return err
	}
	if len(d.records) > maxRecords {
		return fmt.Errorf("%w: it has %d keys, the most is %d", ErrFormat, len(d.records), maxRecords)
	}
	ids := make(map[string]bool)
	var count [Destroyed + 1]int
	for _, r := range d.records {
		if ids[r.ID] {
			return fmt.Errorf("%w: a key is there twice", ErrFormat)
		}
		ids[r.ID] = true
		count[r.Role]++
		if err := r.validate(all); err != nil {
			return err
		}
		delete(all, r.tinkID)
	}
	switch {
	case len(all) != 0:
		return fmt.Errorf("%w: the keyset has keys without a role", ErrFormat)
	case count[Current] != 1:
		return fmt.Errorf("%w: it has %d current keys, want 1", ErrFormat, count[Current])
	case count[Staged] > 1:
		return fmt.Errorf("%w: it has %d staged keys, the most is 1", ErrFormat, count[Staged])
	case count[Staged]+count[Demoted] > keys.MaxPrevious:
		return fmt.Errorf("%w: %w: got %d", ErrFormat, keys.ErrTooManyKeys, count[Staged]+count[Demoted])
	}
	return nil
}

// validate checks one record against the entry of the keyset that it names.
func (r *record) validate(all map[uint32]*keyset.Entry) error {
	if err := r.checkTimes(); err != nil {
		return err
	}
	if err := checkNote(r.Note); err != nil {
		return fmt.Errorf("%w: a note is too long or not plain text", ErrFormat)
	}
	if r.Role == Destroyed {
		if raw, err := hex.DecodeString(r.ID); err != nil || len(raw) != 32 || r.tinkID != 0 {
			return fmt.Errorf("%w: a tombstone is malformed", ErrFormat)
		}
		return nil
	}
	e := all[r.tinkID]
	if e == nil {
		return fmt.Errorf("%w: the keyset lacks a key", ErrFormat)
	}
	b, err := entryBytes(e)
	if err != nil {
		return err
	}
	defer clear(b)
	switch {
	case keyID(b) != r.ID:
		return fmt.Errorf("%w: a key is not the one that its id names", ErrFormat)
	case e.KeyStatus() != statusOf(r.Role) || e.IsPrimary() != (r.Role == Current):
		return fmt.Errorf("%w: the keyset has a key in another state than its role asks for", ErrFormat)
	}
	return nil
}

func (r *record) checkTimes() error {
	needed := map[Role]time.Time{
		Staged: r.Created, Current: r.Promoted, Demoted: r.Demoted, Retired: r.Retired, Destroyed: r.Destroyed,
	}[r.Role]
	if r.Created.IsZero() || needed.IsZero() {
		return fmt.Errorf("%w: a key lacks the time of its role", ErrFormat)
	}
	return nil
}

var errNoProtection = errors.New("keyfile: no protection given: pass keyfile.Passphrase, Age, KMS or, knowingly, Cleartext")
