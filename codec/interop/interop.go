// Package interop makes the cache keys of interop/v1, which every SDK of the
// CacheKit family computes alike (spec/interop-mode.md, "Interop Key Format"):
//
//	namespace:operation:hash
//
// where hash is the unkeyed BLAKE2b-256 of the canonical MessagePack of the
// flat argument array. [NewOperation] validates a namespace and an operation
// once; [Operation.Key] makes the key of a call.
//
// # Arguments
//
// The model is closed: nil, booleans, integers from -2^63 to 2^64-1 (*big.Int
// too), finite floats (an integral one equals the integer), UTF-8 strings,
// []byte and byte arrays, time.Time (whole microseconds, rounded down), slices
// and arrays, maps with string keys, structs, [codec.Set], pointers to these,
// and types that implement encoding.TextMarshaler, which count as their text (a
// UUID type as its lower-case hyphenated form). Anything else is a
// *codec.TypeError that names the argument and shows nothing of its value.
//
// A struct is one map argument: its exported fields, named by the tags
// `msgpack` or `json`. Other fields are no part of the key; a struct that has
// only such, or that embeds the TextMarshaler whose text would stand for all of
// it, is refused, because different arguments would share a key. Nil pointers,
// slices and maps are nil, which is another argument than an empty list or map;
// a nil Set is the empty set.
//
// Programs agree on an operation's name and on the number, order and types of
// its arguments as they would on the name of a queue.
package interop

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/crypto/blake2b"

	"github.com/cachekit-io/cachekit-go/codec"
)

// MaxSegmentBytes is the longest namespace or operation (spec/interop-mode.md,
// "Segment grammar").
const MaxSegmentBytes = 64

var (
	// ErrSegment refuses a namespace or operation that does not match
	// [a-z0-9][a-z0-9._-]{0,63} from its first to its last byte, or that
	// contains "..".
	ErrSegment = errors.New(`interop: must be 1 to 64 characters of a-z, 0-9, ".", "_" and "-", begin with a letter or digit, and not contain ".."`)
	// ErrReserved refuses the namespaces "ns" and "nsapi", which are the
	// prefixes of the sister SDKs' own keys.
	ErrReserved = errors.New("interop: the namespaces ns and nsapi are reserved")
)

// CheckNamespace returns ErrSegment or ErrReserved unless namespace can be one.
func CheckNamespace(namespace string) error {
	if namespace == "ns" || namespace == "nsapi" {
		return ErrReserved
	}
	return checkSegment("namespace", namespace)
}

// CheckOperation returns ErrSegment unless operation can be the name of one.
func CheckOperation(operation string) error { return checkSegment("operation", operation) }

func checkSegment(what, s string) error {
	if len(s) < 1 || len(s) > MaxSegmentBytes || !alphanumeric(s[0]) || strings.Contains(s, "..") {
		return fmt.Errorf("%w (%s)", ErrSegment, what)
	}
	for i := range len(s) {
		if c := s[i]; !alphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("%w (%s)", ErrSegment, what)
		}
	}
	return nil
}

func alphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// Operation is a validated namespace and operation. It is immutable and safe
// for concurrent use; the zero value is none.
type Operation struct {
	prefix string // "namespace:operation:"
}

// NewOperation validates both segments. The error is ErrSegment or ErrReserved.
func NewOperation(namespace, operation string) (Operation, error) {
	if err := CheckNamespace(namespace); err != nil {
		return Operation{}, err
	}
	if err := CheckOperation(operation); err != nil {
		return Operation{}, err
	}
	return Operation{namespace + ":" + operation + ":"}, nil
}

// buffers hold canonical arguments while they are hashed.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// maxPooled is the largest buffer that is kept for reuse.
const maxPooled = 4 << 10

func release(buf *[]byte) {
	if cap(*buf) <= maxPooled {
		buffers.Put(buf)
	}
}

// Key returns the key of a call with args, at most 194 bytes long. The error is
// a *codec.TypeError, or ErrSegment for the zero Operation. Its one allocation
// is the key, but for arguments that take reflection.
func (o Operation) Key(args ...any) (string, error) {
	if o.prefix == "" {
		return "", fmt.Errorf("%w (an Operation comes from NewOperation)", ErrSegment)
	}
	buf := buffers.Get().(*[]byte)
	defer release(buf)
	canonical, err := codec.AppendArgs((*buf)[:0], args...)
	if err != nil {
		return "", err
	}
	*buf = canonical
	sum := blake2b.Sum256(canonical)
	var key [3*MaxSegmentBytes + 2]byte
	out := append(key[:0], o.prefix...)
	return string(hex.AppendEncode(out, sum[:])), nil
}

// Key validates both segments and returns the key of a call with args.
func Key(namespace, operation string, args ...any) (string, error) {
	op, err := NewOperation(namespace, operation)
	if err != nil {
		return "", err
	}
	return op.Key(args...)
}
