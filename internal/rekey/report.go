package rekey

import (
	"cmp"
	"slices"

	"github.com/cachekit-io/cachekit-go/keys"
)

// Report is what a walk has found and done. A storage may name a key several
// times while it is enumerated, and such an entry counts as often.
type Report struct {
	// Seen entries were looked at; Gone of them were no longer there, Skipped
	// belong to no tenant that was given.
	Seen, Gone, Skipped uint64
	// Keys has the entries that opened under each key, as they were found: every
	// key of the keyring for each tenant that was seen, those with none too.
	Keys []KeyCount
	// Unauthenticated entries opened under no key of the keyring. LookLike
	// counts what they look like, which is a guess.
	Unauthenticated uint64
	LookLike        map[string]uint64
	// NoExpiry entries never end by themselves; counted with Config.Ages where
	// the storage can tell. NoExpiryOld of them are under an old key.
	NoExpiry, NoExpiryOld uint64
	// Resealed entries were replaced. Changed entries were written by somebody
	// else meanwhile and opened under the current key, or were gone, when they
	// were looked at again.
	Resealed, Changed uint64
	// Left entries are still under an old key: because the walk only counts, or
	// because somebody keeps writing them so.
	Left uint64
	// Failed entries could not be read or replaced.
	Failed uint64
	// Bytes were read of entries.
	Bytes uint64

	// Cursor resumes the walk; "" at the end, and at the start. Done says which.
	Cursor string
	Done   bool
}

// KeyCount counts the entries of one key of one tenant.
type KeyCount struct {
	Tenant      string
	Fingerprint keys.Fingerprint
	// Place is that of the key in the keyring: 0 is the current one.
	Place   int
	Entries uint64
}

// Old returns how many entries opened under a key that is not the current one.
func (r Report) Old() (n uint64) {
	for _, k := range r.Keys {
		if k.Place > 0 {
			n += k.Entries
		}
	}
	return n
}

// add sums two reports.
func (r *Report) add(o Report) {
	r.Seen += o.Seen
	r.Gone += o.Gone
	r.Skipped += o.Skipped
	r.Unauthenticated += o.Unauthenticated
	r.NoExpiry += o.NoExpiry
	r.NoExpiryOld += o.NoExpiryOld
	r.Resealed += o.Resealed
	r.Changed += o.Changed
	r.Left += o.Left
	r.Failed += o.Failed
	r.Bytes += o.Bytes
	for what, n := range o.LookLike {
		r.look(what, n)
	}
	for _, k := range o.Keys {
		r.count(k, k.Entries)
	}
}

func (r *Report) look(what string, n uint64) {
	if r.LookLike == nil {
		r.LookLike = map[string]uint64{}
	}
	r.LookLike[what] += n
}

func (r *Report) count(k KeyCount, n uint64) {
	for i := range r.Keys {
		if r.Keys[i].Fingerprint == k.Fingerprint && r.Keys[i].Tenant == k.Tenant {
			r.Keys[i].Entries += n
			return
		}
	}
	k.Entries = n
	r.Keys = append(r.Keys, k)
}

// clone returns a copy that shares nothing, with its keys in order.
func (r Report) clone() Report {
	var c Report
	c.add(r)
	c.Cursor, c.Done = r.Cursor, r.Done
	slices.SortFunc(c.Keys, func(a, b KeyCount) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Place, b.Place))
	})
	return c
}
