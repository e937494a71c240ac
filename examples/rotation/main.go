// Rotation shows a key rotation from the inside of a running program: a cache
// follows a keyring file through stage, promote, retire and destroy, and reads
// every entry throughout. It needs no server, and prints no key.
//
//	go run ./examples/rotation
//
// Operators take the same steps with cmd/keytool; see docs/key-rotation.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"

	"github.com/cachekit-io/cachekit-go/backends/memorybackend"
	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
	"github.com/cachekit-io/cachekit-go/secure"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	dir, err := os.MkdirTemp("", "cachekit-rotation-")
	if err != nil {
		log.Fatal(err)
	}
	err = run(ctx, filepath.Join(dir, "ring.json"))
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, path string) error {
	protection, err := newRing(ctx, path)
	if err != nil {
		return err
	}
	backend := memorybackend.New(nil)
	defer backend.Close()
	cache, err := secure.New(ctx, &secure.Options{
		Backend: backend,
		Keyring: keyfile.Open(path, protection, &keyfile.Options{Watch: 20 * time.Millisecond}), // default: 10 s
		NoL1:    true,
		Logger:  slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return err
	}
	defer cache.Close()

	for _, step := range []struct {
		name   string
		change func(*keyfile.Document) error
	}{
		{"before", nil},
		{"staged", stage},
		{"promoted", promote},
		{"retired", retire},
		{"destroyed", destroy},
	} {
		if err := apply(ctx, cache, path, protection, step.change); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		// A real fleet lets old entries end by their TTL, or runs "keytool
		// reencrypt"; here the program writes its one entry again.
		if err := cache.Set(ctx, "42", "Ada Lovelace"); err != nil {
			return err
		}
		var name string
		found, err := cache.Get(ctx, "42", &name)
		if err != nil || !found {
			return fmt.Errorf("%s: found %t, %w", step.name, found, err)
		}
		fmt.Printf("%-9s  read %s; %s\n", step.name, name, served(cache.Stats()))
	}
	return nil
}

// newRing makes a keyring file with one key. An operator keeps the identity; here
// it ends with the program.
func newRing(ctx context.Context, path string) (*keyfile.Protection, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	protection, err := keyfile.Age([]byte(id.String()))
	if err != nil {
		return nil, err
	}
	ring, err := keys.NewKeyring(keys.Generate())
	if err != nil {
		return nil, err
	}
	d, err := keyfile.NewDocument(ring, "first", time.Now())
	if err != nil {
		return nil, err
	}
	return protection, keyfile.Create(ctx, path, protection, d)
}

// apply changes the file and waits until the cache has taken it over, as an
// operator waits for the whole fleet.
func apply(ctx context.Context, cache *secure.Cache, path string, p *keyfile.Protection, change func(*keyfile.Document) error) error {
	if change == nil {
		return nil
	}
	before := cache.Stats().KeyringReloads
	if err := keyfile.Update(ctx, path, p, change); err != nil {
		return err
	}
	for cache.Stats().KeyringReloads == before {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

func stage(d *keyfile.Document) error {
	_, err := d.Stage(keys.Generate(), "second", time.Now())
	return err
}

func promote(d *keyfile.Document) error { return d.Promote(d.Keys()[1].ID, time.Now()) }
func retire(d *keyfile.Document) error  { return d.Retire(d.Keys()[0].ID, time.Now()) }
func destroy(d *keyfile.Document) error { return d.Destroy(d.Keys()[0].ID, time.Now()) }

// served shows how many reads each key has served, by fingerprint: what tells an
// operator when an old key can go.
func served(stats secure.Stats) (text string) {
	for i, k := range stats.Keys {
		role := "current"
		if i > 0 {
			role = "only opens"
		}
		text += fmt.Sprintf("  %.8s (%s) served %d", k.Fingerprint.String(), role, k.Opened)
	}
	return text
}
