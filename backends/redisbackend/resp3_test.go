package redisbackend_test

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
)

// judge is a watch that checks what it is told.
type judge struct {
	t       testing.TB
	changed []string
	ups     int
	flushes int
}

func (j *judge) Up()    { j.ups++ }
func (j *judge) Down()  {}
func (j *judge) Flush() { j.flushes++ }
func (j *judge) Changed(keys []string) {
	if len(keys) == 0 || len(keys) > 256 {
		j.t.Errorf("%d keys at a time", len(keys))
	}
	for _, k := range keys {
		if len(k) == 0 || len(k) > backends.MaxKeyBytes {
			j.t.Errorf("a key of %d bytes", len(k))
		}
		j.changed = append(j.changed, k)
	}
}

const (
	helloAnswer = "%2\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"
	opened      = helloAnswer + "+OK\r\n"
)

func TestHear(t *testing.T) {
	for _, tc := range []struct {
		rule, said string
		changed    string
		flushes    int
		err        string
	}{
		{"reports come between answers", opened + ">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n+OK\r\n", "a b", 0, "unexpected EOF"},
		{"a report without keys is a flush", opened + ">2\r\n$10\r\ninvalidate\r\n_\r\n", "", 1, "unexpected EOF"},
		{"nothing is reported before the order is answered", helloAnswer + ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n", "", 0, "unexpected EOF"},
		{"other pushes and attributes are skipped", opened + ">2\r\n$3\r\nfoo\r\n%1\r\n+a\r\n*1\r\n:1\r\n|1\r\n+a\r\n+b\r\n+OK\r\n", "", 0, "unexpected EOF"},
		{"a replica is no source", strings.Replace(opened, "master", "slave!", 1), "", 0, "the server is no master"},
		{"an answer that nobody waits for ends it", opened + strings.Repeat("+OK\r\n", 4), "", 0, "malformed reply"},
		{"an answer of another kind ends it", opened + "*1\r\n+OK\r\n", "", 0, "malformed reply"},
		{"a long error is not kept", opened + "-" + strings.Repeat("E", 1<<20), "", 0, "bufio: buffer full"},
		{"a replica that refuses a write ends it", opened + "-READONLY no\r\n", "", 0, "the server is no master"},
		{"deep nesting ends it", opened + strings.Repeat("*1\r\n", 50), "", 0, "malformed reply"},
		{"deep nesting in a push ends it", opened + ">2\r\n+x\r\n" + strings.Repeat("*1\r\n", 50), "", 0, "malformed reply"},
		{"a key that is too long is nobody's", opened + ">2\r\n$10\r\ninvalidate\r\n*2\r\n$2000\r\n" + strings.Repeat("x", 2000) + "\r\n$1\r\nb\r\n", "b", 0, "unexpected EOF"},
	} {
		for _, callers := range []bool{false, true} {
			j := &judge{t: t}
			outcomes, err := redisbackend.Hear([]byte(tc.said), 3, callers, j)
			if outcomes != 3 || err == nil || err.Error() != tc.err || strings.Join(j.changed, " ") != tc.changed || j.flushes != tc.flushes {
				t.Errorf("%s (callers read: %v): %d outcomes, changed %q, %d flushes, %v", tc.rule, callers, outcomes, j.changed, j.flushes, err)
			}
		}
	}
}

// FuzzHear: whatever a server says on a link, reading it ends, takes no memory
// beyond what was said, and every write has one outcome.
func FuzzHear(f *testing.F) {
	for _, said := range []string{
		"", opened, opened + ">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n+OK\r\n:1\r\n-OOM\r\n",
		opened + ">2\r\n$10\r\ninvalidate\r\n_\r\n", opened + ">2\r\n$10\r\ninvalidate\r\n*2147483647\r\n$1\r\na\r\n",
		opened + "$2147483647\r\n", opened + ">2147483647\r\n+a\r\n", opened + "|2147483647\r\n", opened + "%2147483647\r\n",
		"%2147483647\r\n$4\r\nrole\r\n", opened + ">3\r\n+a\r\n*2\r\n*2\r\n~1\r\n=5\r\ntxt:a\r\n!1\r\na\r\n,1\r\n#t\r\n(1\r\n",
		"-NOAUTH no\r\n", opened + "-READONLY no\r\n", opened + "-MOVED 1 a:1\r\n+OK\r\n", opened + "*-1\r\n", "\r\n", "+OK\n",
	} {
		f.Add([]byte(said), byte(3), false)
		f.Add([]byte(said), byte(3), true)
	}
	f.Fuzz(func(t *testing.T, said []byte, writes byte, callers bool) {
		j := &judge{t: t}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		outcomes, err := redisbackend.Hear(bytes.Clone(said), int(writes), callers, j)
		runtime.ReadMemStats(&after)
		if outcomes != int(writes) || err == nil {
			t.Errorf("%d of %d writes have an outcome; the link ended with %v", outcomes, writes, err)
		}
		if took, most := after.TotalAlloc-before.TotalAlloc, uint64(1<<20+64*len(said)); took > most {
			t.Errorf("%d bytes said made it take %d", len(said), took)
		}
		if len(j.changed) > len(said) {
			t.Errorf("%d keys in %d bytes", len(j.changed), len(said))
		}
	})
}
