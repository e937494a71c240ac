package guard

import "net/url"

// Printable returns u, or a copy of it without the credentials that it holds.
// nil stays nil.
func Printable(u *url.URL) *url.URL {
	if u == nil || u.User == nil {
		return u
	}
	shown := *u
	shown.User = url.User("redacted")
	return &shown
}
