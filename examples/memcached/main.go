// Memcached does what examples/quickstart does against real servers: a struct is
// stored encrypted, read back, and refused after one byte was changed.
//
//	CACHEKIT_MEMCACHED_SERVERS=127.0.0.1:11211 go run ./examples/memcached
package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/cachekit-io/cachekit-go/backends/memcachedbackend"
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
	if err := run(ctx, os.Getenv("CACHEKIT_MEMCACHED_SERVERS")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, servers string) error {
	if servers == "" {
		return errors.New("set CACHEKIT_MEMCACHED_SERVERS, to 127.0.0.1:11211 for example")
	}
	backend, err := memcachedbackend.Open(ctx, servers, nil)
	if err != nil {
		return err
	}
	defer backend.Close()
	for name, text := range backend.Health(ctx).Details {
		fmt.Printf("%s: %s\n", name, text)
	}
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

	server, stored, err := find(strings.Split(servers, ","), "cachekit-example:42")
	if err != nil {
		return err
	}
	fmt.Printf("in memcached %d bytes of ciphertext:\n%s", len(stored.Value), hex.Dump(stored.Value))

	var user User
	found, err := cache.Get(ctx, "42", &user)
	if err != nil {
		return err
	}
	fmt.Printf("read     %+v (found: %v)\n", user, found)

	stored.Value[len(stored.Value)-1] ^= 1
	if err := server.CompareAndSwap(stored); err != nil {
		return err
	}
	if _, err = cache.Get(ctx, "42", &user); !errors.Is(err, secure.ErrAuth) {
		return fmt.Errorf("a changed byte went unnoticed: %v", err)
	}
	fmt.Printf("tampered %v\n", err)
	return nil
}

// find asks each server by a plain client beside the cache, to look at what it
// stored.
func find(servers []string, key string) (*memcache.Client, *memcache.Item, error) {
	for _, addr := range servers {
		client := memcache.New(addr)
		item, err := client.Get(key)
		if !errors.Is(err, memcache.ErrCacheMiss) {
			return client, item, err
		}
	}
	return nil, nil, errors.New("no server has the entry")
}
