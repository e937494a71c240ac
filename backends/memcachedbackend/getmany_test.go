package memcachedbackend_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// Rule: each key of a batch gets its own value, in whatever order a proxy answers,
// and whether it repeats the value of a key that was asked for twice or not. What
// nobody asked for makes the whole answer worthless.
func TestAnswersToBatches(t *testing.T) {
	value := func(key string) string { return "VALUE " + key + " 0 2\r\nv" + key + "\r\n" }
	for name, c := range map[string]struct {
		values string // keys that are answered
		want   string // values of a, b, a, c, d, or why there is none
	}{
		"in order":           {"a b a d", "va vb va not-found vd"},
		"in another order":   {"d a b a", "va vb va not-found vd"},
		"a repetition once":  {"a b d", "va vb va not-found vd"},
		"the last one alone": {"d", "not-found not-found not-found not-found vd"},
		"none":               {"", "not-found not-found not-found not-found not-found"},
		"all":                {"a b a c d", "va vb va vc vd"},
		"another key":        {"a b x", "error error error error error"},
		"one too often":      {"a b a a", "error error error error error"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, lines := liar(t, func(string) string {
				text := ""
				for _, key := range strings.Fields(c.values) {
					text += value(key)
				}
				return text + "END\r\n"
			})
			b := open(t, addr, nil)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			var got []string
			for _, r := range b.GetMany(ctx, []string{"a", "b", "a", "c", "d"}) {
				switch {
				case r.Err == nil:
					got = append(got, string(r.Entry.Value))
				case errors.Is(r.Err, backends.ErrNotFound):
					got = append(got, "not-found")
				default:
					got = append(got, "error"+string(r.Entry.Value))
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
			if all := lines(); all[len(all)-1] != "get a b a c d" {
				t.Errorf("asked %q", all)
			}
		})
	}
}

// Rule: what came before an answer broke off is known, and nothing of the rest.
func TestAnswerThatBreaksOff(t *testing.T) {
	addr, _ := liar(t, func(string) string { return "VALUE a 0 2\r\nva\r\nVALUE b 0 2\r\nv" + hangUp })
	r := open(t, addr, nil).GetMany(t.Context(), []string{"a", "b", "c"})
	var failed *backends.Error
	if r[0].Err != nil || string(r[0].Entry.Value) != "va" {
		t.Errorf("the first: %q, %v", r[0].Entry.Value, r[0].Err)
	}
	for _, r := range r[1:] {
		if !errors.As(r.Err, &failed) || failed.Kind != backends.Transient || r.Entry.Value != nil {
			t.Errorf("after the end: %q, %v", r.Entry.Value, r.Err)
		}
	}
}
