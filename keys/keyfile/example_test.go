package keyfile_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
	"github.com/cachekit-io/cachekit-go/secure"
)

// The operator's side of a rotation, and a cache that follows the file.
func Example() {
	dir, err := os.MkdirTemp("", "keyfile")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx, path := context.Background(), filepath.Join(dir, "keyring.json")
	p := keyfile.Cleartext() // in earnest: Passphrase, Age or a KMS key

	ring, _ := keys.NewKeyring(keys.Generate())
	doc, _ := keyfile.NewDocument(ring, "2026", time.Now())
	if err := keyfile.Create(ctx, path, p, doc); err != nil {
		panic(err)
	}

	cache, err := secure.NewMinimal(ctx, &secure.Options{Keyring: keyfile.Open(path, p, nil), L1Only: true})
	if err != nil {
		panic(err)
	}
	defer cache.Close()

	var id string
	_ = keyfile.Update(ctx, path, p, func(d *keyfile.Document) (err error) {
		id, err = d.Stage(keys.Generate(), "2027", time.Now())
		return err
	})
	// Once every process has loaded that:
	err = keyfile.Update(ctx, path, p, func(d *keyfile.Document) error {
		if err := d.Promote(id, time.Now()); err != nil {
			return err
		}
		for _, k := range d.Keys() {
			fmt.Println(k.Note, k.Role)
		}
		return nil
	})
	fmt.Println(err)
	err = keyfile.Update(ctx, path, p, func(d *keyfile.Document) error { return d.Promote(d.Keys()[0].ID, time.Now()) })
	fmt.Println(errors.Is(err, keyfile.ErrTransition))
	// Output:
	// 2026 demoted
	// 2027 current
	// <nil>
	// true
}
