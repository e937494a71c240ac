package dynamodbbackend

import (
	"errors"
	"math"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// stamps hands out the order of a Backend's writes: the wall clock, made
// strictly increasing.
type stamps struct{ last atomic.Int64 }

func (s *stamps) next() int64 {
	now := time.Now().UnixMicro()
	for {
		last := s.last.Load()
		if at := max(now, last+1); s.last.CompareAndSwap(last, at) {
			return at
		}
	}
}

// stamp is what one attempt at a write says of its order.
type stamp struct {
	at     int64
	number types.AttributeValue // at, as the item has it
	seen   types.AttributeValue // the later stamp that the write may replace, or nil
}

// condition is the expression over #s that lets the write take place.
func (s stamp) condition() string {
	if s.seen != nil {
		return reordered
	}
	return unordered
}

// values adds the values of the condition to others.
func (s stamp) values(others attributes) attributes {
	others[":s"] = s.number
	if s.seen != nil {
		others[":seen"] = s.seen
	}
	return others
}

// stamped runs write, whose condition includes that of the stamp, until the stamp
// is not what refuses it: the caller waits, so its write is newer than what it
// meets. If another part of the condition refuses, refused is true and found the
// item that is there, or nil.
func (b *Backend) stamped(write func(stamp) error) (found attributes, refused bool, err error) {
	at := b.stamps.next()
	s := stamp{at: at, number: number(at)}
	for {
		err := write(s)
		if err == nil {
			return nil, false, nil
		}
		var failed *types.ConditionalCheckFailedException
		if !errors.As(err, &failed) {
			return nil, false, err
		}
		there := failed.Item[b.attr.Stamp]
		if there == nil || !s.behind(there) {
			return failed.Item, true, nil
		}
		at = b.stamps.next()
		if later, ok := integer(there); ok && later < math.MaxInt64 {
			at = max(at, later+1)
		}
		s = stamp{at: at, number: number(at), seen: there}
	}
}

// behind reports whether the stamp of the stored item refuses the write. One that
// is no integer does, until it has been seen.
func (s stamp) behind(there types.AttributeValue) bool {
	if reflect.DeepEqual(s.seen, there) {
		return false
	}
	at, ok := integer(there)
	return !ok || at > s.at
}
