// Redis does what examples/quickstart does against a real server: a struct is
// stored encrypted, read back, and refused after one byte was changed.
//
//	CACHEKIT_REDIS_URL=redis://127.0.0.1:6379 go run ./examples/redis
package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
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
	if err := run(ctx, os.Getenv("CACHEKIT_REDIS_URL")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string) error {
	if url == "" {
		return errors.New("set CACHEKIT_REDIS_URL, to redis://127.0.0.1:6379 for example")
	}
	backend, err := redisbackend.Open(ctx, url, nil)
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

	server, err := connect(url)
	if err != nil {
		return err
	}
	defer server.Close()
	stored, err := server.Get(ctx, "cachekit-example:42").Bytes()
	if err != nil {
		return err
	}
	fmt.Printf("in Redis %d bytes of ciphertext:\n%s", len(stored), hex.Dump(stored))

	var user User
	found, err := cache.Get(ctx, "42", &user)
	if err != nil {
		return err
	}
	fmt.Printf("read     %+v (found: %v)\n", user, found)

	stored[len(stored)-1] ^= 1
	if err := server.Set(ctx, "cachekit-example:42", stored, time.Minute).Err(); err != nil {
		return err
	}
	if _, err = cache.Get(ctx, "42", &user); !errors.Is(err, secure.ErrAuth) {
		return fmt.Errorf("a changed byte went unnoticed: %v", err)
	}
	fmt.Printf("tampered %v\n", err)
	return nil
}

// connect opens a plain client beside the cache, to look at what it stored.
func connect(url string) (*redis.Client, error) {
	opts, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("CACHEKIT_REDIS_URL is not a Redis URL")
	}
	return redis.NewClient(opts), nil
}
