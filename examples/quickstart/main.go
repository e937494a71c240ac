// Quickstart shows the main job of cachekit-go without any server: a struct is
// stored encrypted in a directory of files, read back, and refused after one
// byte of the stored file was changed.
//
//	go run ./examples/quickstart
package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/cachekit-io/cachekit-go/backends/filebackend"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/secure"
)

// User is what the program caches.
type User struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "cachekit-quickstart-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	backend, err := filebackend.Open(dir, nil)
	if err != nil {
		return err
	}
	defer backend.Close()

	// A real program keeps its key in CACHEKIT_MASTER_KEY or a secret store.
	cache, err := secure.New(ctx, &secure.Options{
		Namespace: "users",
		Backend:   backend,
		MasterKey: keys.Generate(),
		NoL1:      true, // so that every read shows what the storage says
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

	path, stored, err := storedFile(dir)
	if err != nil {
		return err
	}
	fmt.Printf("on disk  %d bytes, a 14-byte header and ciphertext:\n%s", len(stored), hex.Dump(stored))

	var user User
	found, err := cache.Get(ctx, "42", &user)
	if err != nil {
		return err
	}
	fmt.Printf("read     %+v (found: %v)\n", user, found)

	stored[len(stored)-1] ^= 1
	if err := os.WriteFile(path, stored, 0o600); err != nil {
		return err
	}
	_, err = cache.Get(ctx, "42", &user)
	if !errors.Is(err, secure.ErrAuth) {
		return fmt.Errorf("a changed byte went unnoticed: %v", err)
	}
	fmt.Printf("tampered %v\n", err)
	return nil
}

// storedFile returns the one entry in dir.
func storedFile(dir string) (path string, content []byte, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "[0-9a-f]*"))
	if err != nil || len(paths) != 1 {
		return "", nil, fmt.Errorf("%d entries on disk, want 1: %v", len(paths), err)
	}
	content, err = os.ReadFile(paths[0])
	return paths[0], content, err
}
