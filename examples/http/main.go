// Http does what examples/quickstart does against an HTTP server that keeps
// what it is sent (nginx with WebDAV, for example): a struct is stored encrypted,
// read back, and refused after one byte was changed.
//
//	CACHEKIT_HTTP_URL='http://127.0.0.1:8080/{key}' go run ./examples/http
package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/httpbackend"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

// User is what the program caches.
type User struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := run(ctx, os.Getenv("CACHEKIT_HTTP_URL")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, template string) error {
	if template == "" {
		return errors.New("set CACHEKIT_HTTP_URL, to http://127.0.0.1:8080/{key} for example")
	}
	backend, err := httpbackend.Open(ctx, template, &httpbackend.Options{
		// For a server on this machine; leave both out for one on the Internet.
		PlainHTTP:      true,
		PrivateNetwork: true,
		// Credential: httpbackend.Bearer(token),
		// TTLHeader:  "X-TTL", if the server knows one; otherwise values are framed.
	})
	if err != nil {
		return err
	}
	defer backend.Close()
	cache, err := secure.New(ctx, &secure.Options{
		Namespace: "cachekit-example",
		Backend:   backend,
		MasterKey: keys.Generate(), // a real program keeps its key
		NoL1:      true,            // so that every read shows what the server says
	})
	if err != nil {
		return err
	}
	defer cache.Close()

	ada := User{Name: "Ada Lovelace", Email: "ada@example.org"}
	if err := cache.SetTTL(ctx, "42", ada, time.Minute); err != nil {
		return err
	}
	defer cache.Delete(ctx, "42")
	fmt.Printf("stored   %+v\n", ada)

	target := strings.ReplaceAll(template, "{key}", url.QueryEscape("cachekit-example:42"))
	stored, err := exchange(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	fmt.Printf("at the server %d bytes of frame and ciphertext:\n%s", len(stored), hex.Dump(stored))

	var user User
	found, err := cache.Get(ctx, "42", &user)
	if err != nil {
		return err
	}
	fmt.Printf("read     %+v (found: %v)\n", user, found)

	stored[len(stored)-1] ^= 1
	if _, err := exchange(ctx, http.MethodPut, target, stored); err != nil {
		return err
	}
	if _, err = cache.Get(ctx, "42", &user); !errors.Is(err, secure.ErrAuth) {
		return fmt.Errorf("a changed byte went unnoticed: %v", err)
	}
	fmt.Printf("tampered %v\n", err)
	return nil
}

// exchange makes a plain request beside the cache, to look at what it stored.
func exchange(ctx context.Context, method, target string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode > 299 {
		return nil, fmt.Errorf("%s: %s", method, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
}
