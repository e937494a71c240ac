package httpbackend

import (
	"net/url"
	"strings"

	"github.com/cachekit-io/cachekit-go/internal/guard"
	"github.com/cachekit-io/cachekit-go/internal/pathkey"
)

// Stand-ins for {key} and {ttl} while a URL is parsed.
const (
	keyMark = "cachekit-key-goes-here"
	ttlMark = "cachekit-ttl-goes-here"
)

// template makes the targets of requests. Around the key there are constant
// texts; a query parameter for the TTL is left out where there is none.
type template struct {
	read  [2]string
	write [3]string // the TTL stands before the last, if told
	told  bool
	// ttlFirst is true if the TTL stands before the key.
	ttlFirst bool
}

// parseTemplate returns the origin of raw, and what its path and query are made
// of. An error is a [*guard.URLError] or an [*OptionsError].
func parseTemplate(raw string, rules guard.Rules) (*url.URL, template, error) {
	rules.Query = true
	rules.Remedies = guard.Remedies{Plain: "Options.PlainHTTP allows http", Private: "Options.PrivateNetwork allows private addresses"}
	var tmpl template
	marked := strings.ReplaceAll(strings.ReplaceAll(raw, "{key}", keyMark), "{ttl}", ttlMark)
	u, err := rules.Parse(marked)
	if err != nil {
		return nil, tmpl, &OptionsError{err.Error()}
	}
	target := u.RequestURI()
	switch {
	case strings.ContainsAny(marked, "{}") || strings.Contains(u.Host, keyMark) || strings.Contains(u.Host, ttlMark):
		return nil, tmpl, &OptionsError{"invalid URL: braces are for {key} and {ttl}, in path and query"}
	case strings.Count(target, keyMark) != 1:
		return nil, tmpl, &OptionsError{"invalid URL: it must hold {key} once, as in https://kv.example.com/cache/{key}"}
	case strings.HasPrefix(target, "//"):
		return nil, tmpl, &OptionsError{"invalid URL: its path begins with two slashes"}
	case strings.Count(target, ttlMark) != strings.Count(u.RawQuery, "="+ttlMark) || strings.Count(target, ttlMark) > 1:
		return nil, tmpl, &OptionsError{"invalid URL: {ttl} must be the value of one query parameter"}
	}
	return u, newTemplate(u, target), nil
}

func newTemplate(u *url.URL, target string) template {
	var t template
	before, after, told := strings.Cut(target, ttlMark)
	t.told = told
	t.ttlFirst = told && strings.Contains(after, keyMark)
	switch {
	case t.ttlFirst:
		t.write[0] = before
		t.write[1], t.write[2], _ = strings.Cut(after, keyMark)
	case told:
		t.write[0], t.write[1], _ = strings.Cut(before, keyMark)
		t.write[2] = after
	default:
		t.write[0], t.write[1], _ = strings.Cut(target, keyMark)
	}
	plain := *u
	plain.RawQuery = withoutTTL(u.RawQuery)
	t.read[0], t.read[1], _ = strings.Cut(plain.RequestURI(), keyMark)
	return t
}

func withoutTTL(query string) string {
	var kept []string
	for _, p := range strings.Split(query, "&") {
		if !strings.HasSuffix(p, "="+ttlMark) {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, "&")
}

// target returns the escaped path and query for key; ttl is "" where none is to
// be told.
func (t *template) target(key, ttl string) (string, error) {
	k, err := pathkey.Encode(key)
	switch {
	case err != nil:
		return "", err
	case ttl == "" || !t.told:
		return t.read[0] + k + t.read[1], nil
	case t.ttlFirst:
		return t.write[0] + ttl + t.write[1] + k + t.write[2], nil
	}
	return t.write[0] + k + t.write[1] + ttl + t.write[2], nil
}
