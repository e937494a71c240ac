package keyfile

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/cachekit-io/cachekit-go/keys"
)

// Stage adds k as the staged key and returns its id.
//
// It refuses a zero key (keys.ErrNoKey); a key that the file knows in whatever
// role, destroyed included (keys.ErrCurrentRepeated for the current one, else
// keys.ErrKeyRepeated); a fifth key in use (keys.ErrTooManyKeys); a second
// staged key, a bad note, a key of more than 1024 bytes and a file with 256 keys
// (ErrTransition).
func (d *Document) Stage(k keys.MasterKey, note string, at time.Time) (id string, err error) {
	if err := d.checkStage(k, note); err != nil {
		return "", err
	}
	r := record{Key: Key{Role: Staged, Created: stamp(at), Note: note}}
	m := keyset.NewManagerFromHandle(d.handle)
	if r.ID, r.tinkID, err = addKey(m, k); err != nil {
		return "", err
	}
	if known, err := d.find(r.ID); err == nil {
		return "", repeated(known.Role)
	}
	h, err := m.Handle()
	if err != nil {
		return "", err
	}
	d.handle, d.records = h, append(slices.Clip(d.records), r)
	return r.ID, nil
}

func (d *Document) checkStage(k keys.MasterKey, note string) error {
	var staged, decrypting int
	for _, r := range d.records {
		switch r.Role {
		case Staged:
			staged++
			decrypting++
		case Demoted:
			decrypting++
		}
	}
	switch {
	case k.IsZero():
		return keys.ErrNoKey
	case staged > 0:
		return fmt.Errorf("%w: a key is staged already: promote or retire it first", ErrTransition)
	case decrypting >= keys.MaxPrevious:
		return fmt.Errorf("%w: retire one first", keys.ErrTooManyKeys)
	case len(d.records) >= maxRecords:
		return fmt.Errorf("%w: the file has had %d keys: begin another one", ErrTransition, maxRecords)
	}
	return checkNote(note)
}

func repeated(r Role) error {
	switch r {
	case Current:
		return keys.ErrCurrentRepeated
	case Retired, Destroyed:
		return fmt.Errorf("%w: it is %s in this file: make a fresh key", keys.ErrKeyRepeated, r)
	}
	return keys.ErrKeyRepeated
}

// Promote makes the staged key of id the current one; the one that was current
// is demoted. Do it when every process has loaded the file with the staged key.
//
// It refuses any key that is not staged (ErrTransition): a key that has been
// current never is again, because nobody knows any more how many nonces it has
// used up.
func (d *Document) Promote(id string, at time.Time) error {
	r, err := d.step(id, "promoted", Staged)
	if err != nil {
		return err
	}
	old := d.current()
	if err := d.change(func(m *keyset.Manager) error { return m.SetPrimary(r.tinkID) }); err != nil {
		return err
	}
	old.Role, old.Key.Demoted = Demoted, stamp(at)
	r.Role, r.Promoted = Current, stamp(at)
	return nil
}

// Retire takes the demoted or staged key of id out of use. Entries under it do
// not open any more in processes that have loaded the file, so do it when none
// are left. It cannot be taken back.
//
// It refuses the current key and one that is retired or destroyed already
// (ErrTransition).
func (d *Document) Retire(id string, at time.Time) error {
	r, err := d.step(id, "retired", Staged, Demoted)
	if err != nil {
		return err
	}
	if err := d.change(func(m *keyset.Manager) error { return m.Disable(r.tinkID) }); err != nil {
		return err
	}
	r.Role, r.Key.Retired = Retired, stamp(at)
	return nil
}

// Destroy removes the bytes of the retired key of id; its tombstone stays, so
// that the key never comes back. Older copies of the file and blocks that the
// disk has not overwritten may still hold the bytes.
//
// It refuses any key that is not retired (ErrTransition).
func (d *Document) Destroy(id string, at time.Time) error {
	r, err := d.step(id, "destroyed", Retired)
	if err != nil {
		return err
	}
	if err := d.change(func(m *keyset.Manager) error { return m.Delete(r.tinkID) }); err != nil {
		return err
	}
	r.Role, r.Key.Destroyed, r.tinkID = Destroyed, stamp(at), 0
	return nil
}

// step finds the key of id and checks that its role is one of from.
func (d *Document) step(id, verb string, from ...Role) (*record, error) {
	r, err := d.find(id)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(from, r.Role) {
		return nil, fmt.Errorf("%w: a %s key cannot be %s, only %s", ErrTransition, r.Role, verb, either(from))
	}
	return r, nil
}

func either(roles []Role) string {
	text := "a " + roles[0].String()
	for _, r := range roles[1:] {
		text += " or " + r.String()
	}
	return text + " one"
}

// change applies one change to the keyset, or none.
func (d *Document) change(f func(*keyset.Manager) error) error {
	m := keyset.NewManagerFromHandle(d.handle)
	if err := f(m); err != nil {
		return errors.Join(ErrTransition, err)
	}
	h, err := m.Handle()
	if err != nil {
		return errors.Join(ErrTransition, err)
	}
	d.handle = h
	return nil
}
