package iotest

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxKeyBytes is the longest key of the service (spec/cache-key-format.md,
// "Server-Side Requirements").
const maxKeyBytes = 400

// The endpoints of the API.
const (
	value  = "value"
	ttl    = "ttl"
	locks  = "lock"
	health = "health"
)

// allow holds the methods of each endpoint (spec/saas-api.md, "HTTP Status Codes").
var allow = map[string]string{
	value:  "GET, HEAD, PUT, DELETE",
	ttl:    "GET, PATCH",
	locks:  "POST, DELETE",
	health: "GET",
}

// cacheKey is a decoded key with the write space ("ns", "nsapi" or "") and the
// namespace that its text begins with.
type cacheKey struct {
	text, space, namespace string
}

// split finds the endpoint of a request target and the segment of its key,
// undecoded. The path is read as the WHATWG URL Standard reads it and split before
// anything is decoded.
func split(target string) (endpoint, segment string) {
	path, _, _ := strings.Cut(target, "?")
	if !strings.HasPrefix(path, "/") { // absolute form
		_, rest, _ := strings.Cut(path, "://")
		_, path, _ = strings.Cut(rest, "/")
		path = "/" + path
	}
	segments := normalize(path)
	if len(segments) < 3 || segments[0] != "v1" || segments[1] != "cache" {
		return "", ""
	}
	switch rest := segments[2:]; {
	case len(rest) == 1 && rest[0] == health:
		return health, ""
	case len(rest) == 1 && (rest[0] == ttl || rest[0] == locks):
		return rest[0], "" // read as an empty key
	case len(rest) == 1 && rest[0] != "":
		return value, rest[0]
	case len(rest) == 2 && (rest[1] == ttl || rest[1] == locks):
		return rest[1], rest[0]
	}
	return "", ""
}

// normalize splits an absolute path and removes its dot segments, escaped ones
// too; a backslash is a slash (URL Standard, 4.4, path state).
func normalize(path string) []string {
	var out []string
	segments := strings.Split(strings.ReplaceAll(path, `\`, "/"), "/")[1:]
	for i, s := range segments {
		last := i == len(segments)-1
		switch strings.ReplaceAll(strings.ToLower(s), "%2e", ".") {
		case "..":
			out = out[:max(0, len(out)-1)]
		case ".":
		default:
			out = append(out, s)
			continue
		}
		if last {
			out = append(out, "")
		}
	}
	return out
}

// decodeKey decodes a segment once and applies the rules of the service. The
// reason says which one is broken; it never repeats the key.
func decodeKey(segment string) (key cacheKey, reason string) {
	text, err := url.PathUnescape(segment)
	if err != nil || !utf8.ValidString(text) {
		return key, "the key is not percent-encoded UTF-8"
	}
	key = cacheKey{text: text, namespace: "default"}
	switch {
	case text == "":
		return key, "the key is empty"
	case len(text) > maxKeyBytes:
		return key, "the key is longer than 400 characters"
	case strings.Contains(text, ".."):
		return key, "the key holds .."
	case !charset(text, "_.:-"):
		return key, "the key holds a character outside of A-Z a-z 0-9 _ . : -"
	}
	space, rest, _ := strings.Cut(text, ":")
	if (space != "ns" && space != "nsapi") || len(space) == len(text) {
		return key, ""
	}
	namespace, _, found := strings.Cut(rest, ":")
	if !found || namespace == "" || len(namespace) > 64 || !charset(namespace, "_-") {
		return key, "the namespace is not 1 to 64 characters of A-Z a-z 0-9 _ -"
	}
	key.space, key.namespace = space, namespace
	return key, ""
}

// charset reports whether text has ASCII letters, digits and the bytes of more alone.
func charset(text, more string) bool {
	for i := range len(text) {
		c := text[i]
		if ('a' > c || c > 'z') && ('A' > c || c > 'Z') && ('0' > c || c > '9') && strings.IndexByte(more, c) < 0 {
			return false
		}
	}
	return true
}
