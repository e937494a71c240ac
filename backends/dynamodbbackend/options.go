package dynamodbbackend

import (
	"slices"
	"strings"
	"time"
)

const (
	// defaultTimeout is the command timeout of the family's other backends.
	defaultTimeout = 5 * time.Second
	// maxNameBytes is the longest name of an attribute (DynamoDB Developer Guide,
	// "Naming rules"; key attributes 255 bytes).
	maxNameBytes = 255
	// maxTableBytes is the longest table name or ARN (API reference, GetItem).
	maxTableBytes = 1024
)

// Options adjusts a Backend; nil or zero values are the defaults.
type Options struct {
	// Attributes names the attributes of an item.
	Attributes Attributes

	// EventualReads halves the price of reads: they may return what was there
	// before a write that has returned, usually for less than a second. By
	// default reads are strongly consistent.
	EventualReads bool

	// Timeout bounds each call besides its context; in a batch, each part of
	// 100 reads or 25 writes with its repetitions. Default 5 s.
	Timeout time.Duration
}

// Attributes are the names of the attributes of an item, at most 255 bytes each
// and all different. Short names leave more of the 400 KB to the value.
type Attributes struct {
	// Key is the partition key of the table, a string: the storage key. The
	// table has no sort key. Default "key".
	Key string
	// Value is the sealed bytes, binary. Default "value".
	Value string
	// TTL is the expiry in seconds since 1970, rounded up, a number: the TTL
	// attribute of the table. Absent for entries without expiry. Default
	// "expires".
	TTL string
	// Expiry is the expiry in milliseconds since 1970, a number, the one that
	// this package reads. Default "expires_ms".
	Expiry string
	// Stamp orders the writes of an item, a number: microseconds since 1970.
	// Default "stamp".
	Stamp string
}

// ConfigError refuses options, a table name or an AWS configuration. Its text
// says what to change.
type ConfigError struct {
	Reason string
}

// Error says what to change.
func (e *ConfigError) Error() string { return "dynamodbbackend: invalid configuration: " + e.Reason }

func (o *Options) validate(table string) (Options, error) {
	var v Options
	if o != nil {
		v = *o
	}
	if v.Timeout == 0 {
		v.Timeout = defaultTimeout
	}
	a := &v.Attributes
	names := []struct {
		name         *string
		defaultValue string
	}{{&a.Key, "key"}, {&a.Value, "value"}, {&a.TTL, "expires"}, {&a.Expiry, "expires_ms"}, {&a.Stamp, "stamp"}}
	var seen []string
	for _, n := range names {
		if *n.name == "" {
			*n.name = n.defaultValue
		}
		if len(*n.name) > maxNameBytes {
			return v, &ConfigError{"a name in Options.Attributes is longer than 255 bytes"}
		}
		if slices.Contains(seen, *n.name) {
			return v, &ConfigError{"two names in Options.Attributes are the same"}
		}
		seen = append(seen, *n.name)
	}
	if v.Timeout < 0 {
		return v, &ConfigError{"Options.Timeout is negative"}
	}
	return v, checkTable(table)
}

// checkTable accepts names and ARNs of tables.
func checkTable(table string) error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
	allowed := letters
	if strings.HasPrefix(table, "arn:") {
		allowed += ":/"
	}
	if len(table) < 3 || len(table) > maxTableBytes {
		return &ConfigError{"a table name has 3 to 255 characters, an ARN at most 1024"}
	}
	if strings.ContainsFunc(table, func(r rune) bool { return !strings.ContainsRune(allowed, r) }) {
		return &ConfigError{"a table name consists of a-z, A-Z, 0-9 and _ . -, or is an ARN"}
	}
	return nil
}
