package filebackend_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/filebackend"
)

// vectorCount is pinned, so that an empty file fails.
const vectorCount = 12

type vector struct {
	Name     string `json:"name"`
	Key      string `json:"key_utf8"`
	Filename string `json:"filename"`
	File     string `json:"file_hex"`
	Payload  string `json:"payload_hex"`
	Expiry   int64  `json:"expiry_unix_seconds"`
	Now      int64  `json:"reader_now_unix_seconds"`
	Action   string `json:"reader_action"`
}

func (v vector) file(tb testing.TB) []byte    { return unhex(tb, v.File) }
func (v vector) payload(tb testing.TB) []byte { return unhex(tb, v.Payload) }

func unhex(tb testing.TB, text string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// vectors are the published values of the family, file-backend.json 1.2.0.
func vectors(tb testing.TB) []vector {
	tb.Helper()
	raw, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		tb.Fatal(err)
	}
	var doc struct{ Vectors []vector }
	if err := json.Unmarshal(raw, &doc); err != nil {
		tb.Fatal(err)
	}
	if len(doc.Vectors) != vectorCount {
		tb.Fatalf("testdata has %d vectors, want %d", len(doc.Vectors), vectorCount)
	}
	return doc.Vectors
}

// Rule: names and headers are those of the family, and each file is read,
// missed or kept as its vector says, at the time that it says.
func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			if got := filebackend.FileName(v.Key); got != v.Filename {
				t.Errorf("file name = %s, want %s", got, v.Filename)
			}
			want := map[string]string{"return_payload": "live", "miss_preserve": "unknown", "miss_expired": "expired"}[v.Action]
			if got, _ := filebackend.HeaderState(v.file(t), time.Unix(v.Now, 0)); got != want {
				t.Errorf("at second %d the file is %s, want %s", v.Now, got, want)
			}
			readVector(t, v)
		})
	}
}

func readVector(t *testing.T, v vector) {
	dir := privateDir(t)
	b := openAt(t, dir, nil)
	ctx := context.Background()
	path := pathOf(dir, v.Key)
	if err := os.WriteFile(path, v.file(t), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := b.Get(ctx, v.Key)
	switch v.Action {
	case "return_payload":
		if err != nil || !bytes.Equal(got, v.payload(t)) {
			t.Errorf("Get = %x, %v, want the payload", got, err)
		}
		ttl, err := b.TTL(ctx, v.Key)
		if left := time.Until(time.Unix(v.Expiry, 0)); err != nil || v.Expiry == 0 && ttl != backends.NoExpiry || v.Expiry != 0 && (ttl < left-time.Minute || ttl > left+time.Minute) {
			t.Errorf("TTL = %v, %v, want about %v (0 is for ever)", ttl, err, left)
		}
	case "miss_expired":
		missesAll(t, b, v.Key)
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after a read the expired file is there (%v), want it removed", err)
		}
	case "miss_preserve":
		missesAll(t, b, v.Key)
		if _, err := b.Sweep(ctx); err != nil {
			t.Errorf("Sweep = %v", err)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, v.file(t)) {
			t.Errorf("the file of another version is now %x (%v), want it unchanged", now, err)
		}
	default:
		t.Fatalf("unknown action %q", v.Action)
	}
}

// missesAll checks that every operation but Set and Delete sees no entry.
func missesAll(t *testing.T, b *filebackend.Backend, key string) {
	t.Helper()
	ctx := context.Background()
	if got, err := b.Get(ctx, key); got != nil || !errors.Is(err, backends.ErrNotFound) {
		t.Errorf("Get = %x, %v, want nil, ErrNotFound", got, err)
	}
	if ok, err := b.Exists(ctx, key); ok || err != nil {
		t.Errorf("Exists = %t, %v, want false, nil", ok, err)
	}
	if _, err := b.TTL(ctx, key); !errors.Is(err, backends.ErrNotFound) {
		t.Errorf("TTL = %v, want ErrNotFound", err)
	}
	if ok, err := b.Touch(ctx, key, time.Hour); ok || err != nil {
		t.Errorf("Touch = %t, %v, want false, nil", ok, err)
	}
	if ok, err := b.Swap(ctx, key, nil, []byte("new")); ok || err != nil {
		t.Errorf("Swap = %t, %v, want false, nil", ok, err)
	}
}

// Rule: what Set writes is, byte for byte, what the vectors publish.
func TestSetWritesVectors(t *testing.T) {
	ctx := context.Background()
	for _, v := range vectors(t) {
		if v.Action != "return_payload" || v.Expiry != 0 {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			dir := privateDir(t)
			b := openAt(t, dir, nil)
			if err := b.Set(ctx, v.Key, v.payload(t), backends.NoExpiry); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(pathOf(dir, v.Key)); err != nil || !bytes.Equal(got, v.file(t)) {
				t.Errorf("the file is %x (%v), want %s", got, err, v.File)
			}
		})
	}
}

// Rule: a deadline is the next whole second, so an entry never goes early, and
// far deadlines saturate instead of wrapping.
func TestExpiry(t *testing.T) {
	const year = 365 * 24 * time.Hour
	at := func(s, ns int64) time.Time { return time.Unix(s, ns) }
	for _, c := range []struct {
		rule   string
		now    time.Time
		ttl    time.Duration
		expiry uint64
	}{
		{"whole seconds stay", at(1000, 0), time.Second, 1001},
		{"a nanosecond rounds up", at(1000, 0), 1, 1001},
		{"999 ms round up", at(1000, 0), 999 * time.Millisecond, 1001},
		{"the sum rounds up", at(1000, 1), time.Second, 1002},
		{"parts that make a second do not round twice", at(1000, 5e8), 500 * time.Millisecond, 1001},
		{"parts over a second round up", at(1000, 6e8), 500 * time.Millisecond, 1002},
		{"100 years", at(1000, 0), 100 * year, 1000 + 100*365*86400},
		{"the longest duration but one", at(2e9, 0), backends.NoExpiry - 1, 2e9 + 9223372037},
		{"no expiry is 0", at(1000, 0), backends.NoExpiry, 0},
		{"a clock before 1970 does not make it 0", at(-100, 0), time.Second, 1},
	} {
		h, err := filebackend.NewHeader(c.now, c.ttl)
		if err != nil {
			t.Errorf("%s: %v", c.rule, err)
			continue
		}
		want := append([]byte("CK\x01\x00\x00\x00"), byte(c.expiry>>56), byte(c.expiry>>48), byte(c.expiry>>40), byte(c.expiry>>32),
			byte(c.expiry>>24), byte(c.expiry>>16), byte(c.expiry>>8), byte(c.expiry))
		if !bytes.Equal(h, want) {
			t.Errorf("%s: header %x, want %x", c.rule, h, want)
		}
		if got, left := filebackend.HeaderState(h, c.now); got != "live" || left < c.ttl && c.now.Unix() > 0 {
			t.Errorf("%s: read at once it is %s with %v left, want live and at least %v", c.rule, got, left, c.ttl)
		}
	}
	for _, ttl := range []time.Duration{0, -1, -time.Hour} {
		if _, err := filebackend.NewHeader(time.Now(), ttl); !errors.Is(err, backends.ErrTTL) {
			t.Errorf("a ttl of %v = %v, want ErrTTL", ttl, err)
		}
	}
}

// Rule: the last nanosecond before the expiry is live, the expiry itself is not.
func TestExpiryEdge(t *testing.T) {
	h, _ := filebackend.NewHeader(time.Unix(1000, 0), 10*time.Second)
	for _, c := range []struct {
		now   time.Time
		state string
		left  time.Duration
	}{
		{time.Unix(1009, 999999999), "live", 1},
		{time.Unix(1010, 0), "expired", 0},
		{time.Unix(1010, 1), "expired", -1},
		{time.Unix(1<<40, 0), "expired", -time.Second},
		{time.Unix(-5, 0), "live", 1015 * time.Second},
	} {
		if state, left := filebackend.HeaderState(h, c.now); state != c.state || left != c.left {
			t.Errorf("at %v: %s with %v, want %s with %v", c.now.UnixNano(), state, left, c.state, c.left)
		}
	}
	far := []byte("CK\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff")
	if state, left := filebackend.HeaderState(far, time.Unix(1000, 0)); state != "live" || left != backends.NoExpiry {
		t.Errorf("the largest expiry is %s with %v, want live for ever", state, left)
	}
}
