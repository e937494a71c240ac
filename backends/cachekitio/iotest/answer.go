package iotest

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// answer is a response before it is sent.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *answer) with(name, value string) *answer {
	a.header.Set(name, value)
	return a
}

// result is a JSON answer.
func result(status int, body any) *answer {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	a := &answer{status: status, header: http.Header{}, body: text}
	return a.with("Content-Type", "application/json")
}

// failure is a refusal. Its text never holds anything of the request.
func failure(status int, text string) *answer {
	return result(status, map[string]string{"error": text})
}

func success() *answer { return result(http.StatusOK, map[string]bool{"success": true}) }

// head sends everything but the body. Every response forbids caches between
// client and server (spec/saas-api.md, "HTTP intermediary caching is prohibited").
func (a *answer) head(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Authorization")
	if a.body != nil {
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	for name, values := range a.header {
		h[name] = values
	}
	w.WriteHeader(a.status)
}

func (a *answer) send(w http.ResponseWriter, r *http.Request) {
	a.head(w)
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.body) // the client may be gone
	}
}
