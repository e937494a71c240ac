// Io does what examples/quickstart does against a CachekitIO service, and shows
// how an entry past its TTL is served while it is loaded anew. It brings its own
// service, in this process; a real program drops that and sets
//
//	CACHEKIT_API_KEY     the key that the service issued
//	CACHEKIT_MASTER_KEY  64 hex digits that no service ever sees
//
//	go run ./examples/io
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
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
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	service, err := iotest.Start(nil)
	if err != nil {
		return err
	}
	defer service.Close()
	settings := service.Options() // a real program: cachekitio.FromEnv()
	settings.StaleTTL = time.Hour
	cache, err := secure.NewIO(ctx, &secure.Options{
		Namespace:  "users",
		CachekitIO: settings,
		MasterKey:  keys.Generate(), // a real program keeps its key
	})
	if err != nil {
		return err
	}
	defer cache.Close()

	ada := User{Name: "Ada Lovelace", Email: "ada@example.org"}
	if err := cache.Set(ctx, "42", ada); err != nil {
		return err
	}
	fmt.Printf("stored   %+v\n", ada)
	var user User
	found, err := cache.Get(ctx, "42", &user)
	if err != nil {
		return err
	}
	fmt.Printf("read     %+v (found: %v)\n", user, found)
	if err := outlive(ctx, service, cache); err != nil {
		return err
	}
	return tamper(ctx, service)
}

// outlive reads an entry whose TTL is over.
func outlive(ctx context.Context, service *iotest.Server, cache *secure.Cache) error {
	other, err := cache.Namespace("reports")
	if err != nil {
		return err
	}
	reports := secure.For[string](other)
	load := func(context.Context) (string, error) { return "today's report", nil }
	if err := reports.SetTTL(ctx, "daily", "yesterday's report", time.Second); err != nil {
		return err
	}
	service.Advance(time.Minute)
	time.Sleep(1100 * time.Millisecond) // the copy in this process lives as long as the TTL
	for {
		report, err := reports.GetOrLoad(ctx, "daily", load)
		if err != nil {
			return err
		}
		fmt.Printf("served   %s\n", report)
		if report == "today's report" {
			return nil
		}
		time.Sleep(100 * time.Millisecond) // the load runs in the background
	}
}

// tamper looks at what the service has, changes a byte of it, and reads that by a
// cache of another process, as it were.
func tamper(ctx context.Context, service *iotest.Server) error {
	key := keys.Generate()
	cache, err := secure.NewIO(ctx, &secure.Options{CachekitIO: service.Options(), MasterKey: key, NoL1: true})
	if err != nil {
		return err
	}
	defer cache.Close()
	if err := cache.Set(ctx, "secret", "of Ada"); err != nil {
		return err
	}
	bare, err := cachekitio.Open(ctx, service.Options())
	if err != nil {
		return err
	}
	defer bare.Close()
	stored, err := bare.Get(ctx, "secret")
	if err != nil {
		return err
	}
	fmt.Printf("the service has %d bytes of ciphertext:\n%s", len(stored), hex.Dump(stored))
	stored[len(stored)-1] ^= 1
	if err := plant(ctx, service, "secret", stored); err != nil {
		return err
	}
	var text string
	if _, err = cache.Get(ctx, "secret", &text); !errors.Is(err, secure.ErrAuth) {
		return fmt.Errorf("a changed byte went unnoticed: %v", err)
	}
	fmt.Printf("tampered %v\n", err)
	return nil
}

// plant writes to the service past every cache, as its operator could.
func plant(ctx context.Context, service *iotest.Server, key string, value []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, service.URL()+"/v1/cache/"+key, bytes.NewReader(value))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+service.APIKey())
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("X-CacheKit-L1-Status", "disabled")
	req.Header.Set("X-CacheKit-TTL", "60")
	client := http.Client{Transport: &http.Transport{
		DialContext: service.DialContext, TLSClientConfig: &tls.Config{RootCAs: service.RootCAs()},
	}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the service answered %s", resp.Status)
	}
	return nil
}
