// Custombackend stores encrypted entries in a backend of its own, which table.go
// writes in under 60 lines and table_test.go has judged by backendtest.
//
//	go run ./examples/custombackend
//	go test ./examples/custombackend
package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	table := NewTable()
	defer table.Close()
	cache, err := secure.New(ctx, &secure.Options{
		Backend:   table,
		MasterKey: keys.Generate(), // a real program keeps its key
		NoL1:      true,            // so that every read shows what the table says
	})
	if err != nil {
		return err
	}
	defer cache.Close()

	if err := cache.Set(ctx, "42", "Ada Lovelace"); err != nil {
		return err
	}
	stored, err := table.Get(ctx, "42")
	if err != nil {
		return err
	}
	fmt.Printf("in the table %d bytes of ciphertext:\n%s", len(stored), hex.Dump(stored))

	var name string
	found, err := cache.Get(ctx, "42", &name)
	if err != nil {
		return err
	}
	fmt.Printf("read     %s (found: %v)\n", name, found)

	err = cache.Set(ctx, strings.Repeat("k", 251), name)
	if !errors.Is(err, secure.ErrKey) {
		return fmt.Errorf("a key that the table cannot hold was not refused: %v", err)
	}
	fmt.Printf("refused  %v\n", err)
	return nil
}
