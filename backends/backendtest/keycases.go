package backendtest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cachekit-io/cachekit-go/backends"
)

// storable are keys that the family allows; a backend holds those that its own
// rules allow too.
var storable = []string{
	"a", "A", "a:b", "a:b:c", "a/b", "../a", "..", ".", "a b", "a%20b", "a+b", "a?b#c", `a\b`, "a*", "a[b]", "a{b}", "~", "a\"b'c",
	"ключ", "漢字", "🔑", "é", "e\u0301", "lock", "a:lock:b", ":lock ", strings.Repeat("k", 250), strings.Repeat("k", 251), strings.Repeat("x", 1024),
}

// refused are keys that no backend may take.
var refused = map[string]string{
	"empty": "", "1025 bytes": strings.Repeat("k", 1025), "a newline": "a\nb", "NUL": "a\x00", "DEL": "a\x7f", "a C1 control": "a\u0085",
	"not UTF-8": "a\xff", "the key of a lock": keyCanary + ":lock",
}

func keyCases() []Case {
	return []Case{
		{Name: "Keys", Rule: "every key that the family and the backend's own rules allow has an entry of its own; others are a *KeyError", run: func(t *probe) {
			b := t.backend()
			rules := rulesOf(b)
			for i, k := range storable {
				err := b.Set(t.ctx, k, payload(fmt.Sprint(i), 40), hour)
				if rules.Check(k) == nil {
					if err != nil {
						t.Errorf("Set under storable key %d = %v", i, err)
					}
					continue
				}
				t.refusesKey("Set", err)
			}
			for i, k := range storable {
				if rules.Check(k) == nil {
					t.holds(b, k, payload(fmt.Sprint(i), 40))
				}
			}
		}},
		{Name: "KeysRefused", Rule: "a key that the family forbids is a *KeyError from every operation, its text tells nothing of the key, and nothing is stored", run: func(t *probe) {
			b := t.backend()
			for what, k := range refused {
				for _, op := range operations(b) {
					if op.keyed {
						t.refusesKey(op.name+" with a key that is "+what, op.call(t.ctx, k))
					}
				}
			}
		}},
		{Name: "KeyRules", Rule: "KeyRules refuses what CheckKey refuses, and says why without the key", Needs: []string{"KeyRuler"}, once: true, run: func(t *probe) {
			rules := rulesOf(t.backend())
			for what, k := range refused {
				t.refusesKey("KeyRules.Check of a key that is "+what, rules.Check(k))
			}
			if err := rules.Check(key("k")); err != nil {
				t.Errorf("KeyRules.Check of a plain key = %v", err)
			}
		}},
	}
}

func rulesOf(b backends.Backend) backends.KeyRules {
	if c := backends.CapabilitiesOf(b).KeyRuler; c != nil {
		return c.KeyRules()
	}
	return backends.KeyRules{}
}

func (t *probe) refusesKey(what string, err error) {
	t.Helper()
	var e *backends.KeyError
	if !errors.As(err, &e) || e.Reason == "" {
		t.Errorf("%s = %v, want a *backends.KeyError with a reason", what, err)
	}
	t.clean(err)
}
