package keyfile

import (
	"fmt"
	"time"
)

// Role says what a key of a keyring file is for. It moves one way: staged,
// current, demoted, retired, destroyed; a staged key may be retired at once.
// The zero value is no role.
type Role uint8

const (
	// Staged keys open entries and do not seal yet: every process gets to know
	// the key before the first entry is sealed under it.
	Staged Role = iota + 1
	// Current is the one key that seals.
	Current
	// Demoted keys have been current and still open entries.
	Demoted
	// Retired keys are not used any more; the file still holds their bytes.
	Retired
	// Destroyed keys are tombstones: the file has their id and no bytes.
	Destroyed
)

var roleNames = [...]string{Staged: "staged", Current: "current", Demoted: "demoted", Retired: "retired", Destroyed: "destroyed"}

// String returns the role as the file has it.
func (r Role) String() string {
	if r < Staged || r > Destroyed {
		return "invalid role"
	}
	return roleNames[r]
}

// inUse reports whether a key of this role opens entries.
func (r Role) inUse() bool { return r >= Staged && r <= Demoted }

// MarshalText returns the role as the file has it.
func (r Role) MarshalText() ([]byte, error) {
	if r < Staged || r > Destroyed {
		return nil, fmt.Errorf("%w: invalid role", ErrFormat)
	}
	return []byte(r.String()), nil
}

// UnmarshalText is the reverse of MarshalText; the error is ErrFormat.
func (r *Role) UnmarshalText(text []byte) error {
	for role := Staged; role <= Destroyed; role++ {
		if role.String() == string(text) {
			*r = role
			return nil
		}
	}
	return fmt.Errorf("%w: a key has an unknown role", ErrFormat)
}

// Key describes one key of a keyring file, without its bytes.
type Key struct {
	// ID is the SHA-256 of a prefix and the key, as 64 hex digits. It names the
	// key to the operations and tells nothing about it. It is no fingerprint:
	// those belong to a tenant (see keys.MasterKey).
	ID string
	// Role is what the key is for now.
	Role Role
	// Created is when the key came into the file. The others are when it took
	// that role, and zero if it never did or if that was before it came here.
	// All are UTC, to the second.
	Created, Promoted, Demoted, Retired, Destroyed time.Time
	// Note is what the operator wrote down.
	Note string
}
