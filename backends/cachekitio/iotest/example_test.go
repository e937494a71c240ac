package iotest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

// A program's own test runs it against the server, and sees what the service does.
func Example() {
	ctx := context.Background()
	server, err := iotest.Start(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	cache, err := secure.NewIO(ctx, &secure.Options{CachekitIO: server.Options(), MasterKey: keys.Generate(), NoL1: true})
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()

	if err := cache.SetTTL(ctx, "greeting", "hello", time.Minute); err != nil {
		log.Fatal(err)
	}
	var greeting string
	found, err := cache.Get(ctx, "greeting", &greeting)
	fmt.Println(found, greeting, err)

	server.Advance(time.Minute)
	found, err = cache.Get(ctx, "greeting", &greeting)
	fmt.Println(found, err)

	server.Inject(iotest.Fault{Kind: iotest.Answer, Status: 503, RetryAfter: "1"})
	_, err = cache.Get(ctx, "greeting", &greeting)
	fmt.Println(errors.Is(err, secure.ErrUnavailable))
	// Output:
	// true hello <nil>
	// false <nil>
	// true
}
