package envelope_test

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/envelope"
)

func TestSealOpenRoundTrip(t *testing.T) {
	for _, cfg := range []envelope.Config{{}, {RandomNonces: true}, {Compressed: true}, {Tenant: strings.Repeat("t", 255)}} {
		b := box(t, cfg, master(t, "1"))
		for _, size := range []int{0, 1, 15, 16, 17, 1023, 1024, 65536, 1 << 20} {
			doc := make([]byte, size)
			rand.Read(doc)
			before := bytes.Clone(doc)
			key := strings.Repeat("k", 1+size%1024)
			s := b.Seal(time.Now(), key, doc)
			if !bytes.Equal(doc, before) {
				t.Fatal("sealing changed its input")
			}
			if s.Len() != size+envelope.Overhead || cap(s.Bytes()) != s.Len() {
				t.Errorf("%d bytes sealed to %d with capacity %d, want exactly %d", size, s.Len(), cap(s.Bytes()), size+envelope.Overhead)
			}
			sealed := bytes.Clone(s.Bytes())
			got, _, err := b.Open([]byte("> "), received(s))
			if err != nil || !bytes.Equal(got, append([]byte("> "), doc...)) {
				t.Fatalf("%d bytes do not come back: %v", size, err)
			}
			if !bytes.Equal(s.Bytes(), sealed) {
				t.Fatal("opening changed its input: an L1 copy is opened many times")
			}
		}
	}
}

// Open is given scratch buffers of any capacity; none of their content may show.
func TestOpenIntoReusedBuffer(t *testing.T) {
	b := box(t, envelope.Config{}, master(t, "1"), master(t, "2"))
	s := b.Seal(time.Now(), "k", []byte("short"))
	for capacity := range 64 {
		dirty := bytes.Repeat([]byte{0xee}, capacity)
		got, _, err := b.Open(dirty[:0], received(s))
		if err != nil || string(got) != "short" {
			t.Fatalf("capacity %d: got %q, %v", capacity, got, err)
		}
	}
}

func TestOneBoxServesManyGoroutines(t *testing.T) {
	b := box(t, envelope.Config{}, master(t, "1"), master(t, "2"))
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			key := strings.Repeat("k", g+1)
			for i := range 500 {
				doc := bytes.Repeat([]byte{byte(g)}, i)
				got, _, err := b.Open(nil, received(b.Seal(time.Now(), key, doc)))
				if err != nil || !bytes.Equal(got, doc) {
					t.Errorf("goroutine %d: %d bytes do not come back: %v", g, i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := b.Seals(); got != 16*500 {
		t.Errorf("%d seals counted, want %d", got, 16*500)
	}
}

// In FIPS 140-only mode crypto/cipher refuses counted nonces; the bytes on the
// wire are the same, so both modes read each other. The mode is set at start, so
// the test runs itself again.
func TestFIPSOnlyMode(t *testing.T) {
	if os.Getenv("ENVELOPE_TEST_FIPS") == "" {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(exe, "-test.run=^(TestFIPSOnlyMode|TestSealOpenRoundTrip|TestEveryByteIsAuthenticated|TestOpensWhatTheFamilySealed|TestKeyringOrderAndUse)$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140=only", "ENVELOPE_TEST_FIPS=1")
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Count(string(out), "--- PASS") != 5 {
			t.Fatalf("under fips140=only: %v\n%s", err, out)
		}
		return
	}
	b := box(t, envelope.Config{}, master(t, "1"))
	if _, _, err := b.Open(nil, received(b.Seal(time.Now(), "k", []byte("value")))); err != nil {
		t.Fatal(err)
	}
}

// Sealed and Received can be made in no other way than by sealing, receiving and
// opening: their zero values are refused.
func TestZeroValuesAreNoEntries(t *testing.T) {
	if s := (envelope.Sealed{}); !s.IsZero() || s.Len() != 0 {
		t.Error("the zero Sealed is an entry")
	}
	if s := box(t, envelope.Config{}, master(t, "1")).Seal(time.Now(), "k", nil); s.IsZero() {
		t.Error("an empty document seals to no entry")
	}
}

// received is what the storage would give back.
func received(s envelope.Sealed) envelope.Received { return envelope.Receive(s.Key(), s.Bytes()) }
