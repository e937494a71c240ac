package interop_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/cachekit-io/cachekit-go/codec/interop"
)

func TestSegments(t *testing.T) {
	long := strings.Repeat("a", interop.MaxSegmentBytes)
	for _, s := range []string{"a", "0", "users", "a.b", "a.", "a-_.", "0x1f", long} {
		if err := errors.Join(interop.CheckNamespace(s), interop.CheckOperation(s)); err != nil {
			t.Errorf("%q is refused: %v", s, err)
		}
	}
	for _, s := range []string{
		"", " ", ".", "-a", "_a", "..", "a..b", "a...", "A", "getUser", "a\n", "\na", "a\x00", "a:b", "a/b", "a b", "é", "ａ", "a\xff", long + "a",
	} {
		if err := interop.CheckNamespace(s); !errors.Is(err, interop.ErrSegment) {
			t.Errorf("namespace %q: got %v, want ErrSegment", s, err)
		}
		if err := interop.CheckOperation(s); !errors.Is(err, interop.ErrSegment) {
			t.Errorf("operation %q: got %v, want ErrSegment", s, err)
		}
	}
	for _, s := range []string{"ns", "nsapi"} {
		if err := interop.CheckNamespace(s); !errors.Is(err, interop.ErrReserved) {
			t.Errorf("namespace %q: got %v, want ErrReserved", s, err)
		}
		if _, err := interop.NewOperation("users", s); err != nil {
			t.Errorf("operation %q: %v", s, err)
		}
	}
	if err := interop.CheckNamespace("nsapi2"); err != nil {
		t.Error(err)
	}
}

func TestLongestKey(t *testing.T) {
	long := strings.Repeat("z", interop.MaxSegmentBytes)
	if key, err := interop.Key(long, long, 1); err != nil || len(key) != 194 {
		t.Errorf("got %d bytes, %v; want 194", len(key), err)
	}
}

func TestZeroOperationHasNoKeys(t *testing.T) {
	if key, err := (interop.Operation{}).Key(1); !errors.Is(err, interop.ErrSegment) {
		t.Errorf("got %q, %v; want ErrSegment", key, err)
	}
}

// The buffers behind keys are shared between calls, also those that fail.
func TestKeysInParallel(t *testing.T) {
	op, err := interop.NewOperation("users", "get_user")
	if err != nil {
		t.Fatal(err)
	}
	want := make([]string, 64)
	for i := range want {
		if want[i], err = op.Key(i, strings.Repeat("x", 100*i)); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range want {
				if _, err := op.Key(strings.Repeat("y", 50*i), "\xff"); err == nil {
					t.Error("invalid UTF-8 made a key")
				}
				if got, err := op.Key(i, strings.Repeat("x", 100*i)); err != nil || got != want[i] {
					t.Errorf("call %d: got %s, %v; want %s", i, got, err, want[i])
				}
			}
		})
	}
	wg.Wait()
}
