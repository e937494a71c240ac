package backendtest

import (
	"bytes"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// rewriteMany holds whether the backend rewrites all, some or none of what it may.
func (t *probe) rewriteMany() {
	b := t.backend()
	c := backends.CapabilitiesOf(b).Rewriter
	if got := c.RewriteMany(t.ctx, nil, nil, nil); len(got) != 0 {
		t.Errorf("RewriteMany of nothing has %d results", len(got))
	}
	one, two := payload("one", 40), payload("two", 4000)
	t.set(b, key("same"), one, hour)
	t.set(b, key("left"), one, hour)
	t.set(b, key("kept"), one, backends.NoExpiry)
	keys := []string{key("same"), key("left"), "", key("none"), key("kept")}
	seen, back := map[int][]byte{}, map[int][]byte{}
	got := c.RewriteMany(t.ctx, keys, func(i int, value []byte) []byte {
		if seen[i] != nil {
			t.Errorf("entry %d came twice", i)
		}
		if seen[i] = value; i == 1 {
			return nil
		}
		return two
	}, func(i int, value []byte) { back[i] = bytes.Clone(value) })
	if len(got) != len(keys) || len(seen) != 3 {
		t.Fatalf("RewriteMany of %d keys with 3 entries has %d results and gave %d", len(keys), len(got), len(seen))
	}
	for i, r := range got {
		if (r.Err != nil) != (i == 2) || r.Found != (seen[i] != nil) || r.Rewritten && seen[i] == nil || i == 1 && r.Rewritten {
			t.Errorf("result %d = %+v", i, r)
		}
		if r.Found && !bytes.Equal(seen[i], one) || bytes.Equal(back[i], two) != r.Rewritten {
			t.Errorf("entry %d: %d bytes were given, %d read back", i, len(seen[i]), len(back[i]))
		}
	}
	for i, ttl := range map[int]time.Duration{0: hour, 1: hour, 4: backends.NoExpiry} {
		want := one
		if got[i].Rewritten {
			want = two
		}
		t.holds(b, keys[i], want)
		t.ttlIs(b, keys[i], ttl)
	}
	t.misses(b, key("none"))
}
