package filebackend

import (
	"errors"
	"fmt"
	"time"
)

// Defaults of Options. The sizes are those of the Python SDK.
const (
	DefaultMaxBytes      = 1 << 30
	DefaultMaxValueBytes = 100 << 20
	DefaultSweepInterval = 10 * time.Minute
)

// ErrUnsafe refuses a directory that belongs to somebody else or that others
// can enter. The text says what to do.
var ErrUnsafe = errors.New("filebackend: directory is not safe")

// Options configures a backend; nil or zero is the default.
type Options struct {
	// MaxBytes bounds what the entries take on the disk, each rounded up to
	// blocks of 4 KiB. From nine tenths of it on, the least recently used
	// entries are removed until seven tenths are left. Writes that outrun the
	// removal wait for it, and a process learns of what others wrote within
	// half a minute, so the bound can be passed for a moment. Default 1 GiB;
	// negative is no bound.
	MaxBytes int64
	// MaxValueBytes bounds one value, stored or read; a larger one is a
	// TooLarge error. It is at most half of MaxBytes. Default 100 MiB, or half
	// of MaxBytes if that is less.
	MaxValueBytes int64
	// SweepInterval is the pause between two passes of a goroutine that removes
	// expired entries and locks and the temporary files of killed processes. A
	// pass reads 14 bytes of each entry and works a fifth of the time. Default
	// 10 minutes; negative is no goroutine: then what has expired goes when it
	// is asked for, by the bound, or by [Backend.Sweep].
	SweepInterval time.Duration
	// Sync makes a write survive a power cut from the moment it returns, by
	// fsync of the file and of the directory, at several times the cost. See
	// the package documentation for what a power cut does without it.
	Sync bool
}

// resolve returns a copy of o with every default filled in.
func (o *Options) resolve() (Options, error) {
	var r Options
	if o != nil {
		r = *o
	}
	if r.MaxBytes == 0 {
		r.MaxBytes = DefaultMaxBytes
	}
	if r.SweepInterval == 0 {
		r.SweepInterval = DefaultSweepInterval
	}
	switch half := r.MaxBytes / 2; {
	case r.MaxValueBytes < 0:
		return r, fmt.Errorf("filebackend: Options.MaxValueBytes is %d, want 0 for the default or a positive size", r.MaxValueBytes)
	case r.MaxValueBytes == 0 && r.bounded():
		r.MaxValueBytes = min(DefaultMaxValueBytes, half)
	case r.MaxValueBytes == 0:
		r.MaxValueBytes = DefaultMaxValueBytes
	case r.bounded() && r.MaxValueBytes > half:
		return r, fmt.Errorf("filebackend: Options.MaxValueBytes is %d, want at most half of MaxBytes, which is %d", r.MaxValueBytes, r.MaxBytes)
	}
	return r, nil
}

func (o *Options) bounded() bool { return o.MaxBytes > 0 }
