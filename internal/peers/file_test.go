package peers_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/internal/peers"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// TestPythonFiles: one directory, two processes, bytes under the same names.
func TestPythonFiles(t *testing.T) {
	dir := cacheDir(t)
	b := openFiles(t, dir)
	store := openStore(t, peers.Python(t), peers.PythonStore{File: dir})
	g := newGenerator(t)
	for i := range 50 {
		key, value := fmt.Sprint(i, g.key()), bytes.Repeat(g.bytes(), 1+g.IntN(100))
		if err := b.Set(t.Context(), key, value, time.Hour); err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		if got, found, err := store.RawGet(key); !found || err != nil || !bytes.Equal(got, value) {
			t.Fatalf("%q: Python reads %d bytes, found=%v, %v, want %d", key, len(got), found, err, len(value))
		}
		value = append(value, "theirs"...)
		if err := store.RawSet(key, value, time.Hour); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Get(t.Context(), key); err != nil || !bytes.Equal(got, value) {
			t.Fatalf("%q: we read %d bytes, %v, want %d", key, len(got), err, len(value))
		}
		if left, err := b.TTL(t.Context(), key); err != nil || left <= time.Hour-2*time.Minute || left > time.Hour+time.Second {
			t.Fatalf("%q: %v left, %v, want an hour", key, left, err)
		}
		if i%2 == 0 {
			if existed, err := store.RawDelete(key); !existed || err != nil {
				t.Fatalf("%q: Python deletes, existed=%v, %v", key, existed, err)
			}
			if _, err := b.Get(t.Context(), key); !errors.Is(err, backends.ErrNotFound) {
				t.Fatalf("%q: after Python's delete: %v, want ErrNotFound", key, err)
			}
			continue
		}
		if existed, err := b.Delete(t.Context(), key); !existed || err != nil {
			t.Fatalf("%q: we delete, existed=%v, %v", key, existed, err)
		}
		if _, found, err := store.RawGet(key); found || err != nil {
			t.Fatalf("%q: after our delete Python reads found=%v, %v", key, found, err)
		}
	}
}

// TestPythonFilesExpire: each side stops reading the other's entry at its end, and
// an entry without one stays.
func TestPythonFilesExpire(t *testing.T) {
	dir := cacheDir(t)
	b := openFiles(t, dir)
	store := openStore(t, peers.Python(t), peers.PythonStore{File: dir})
	if err := errors.Join(
		b.Set(t.Context(), "ours", []byte("x"), time.Second),
		store.RawSet("theirs", []byte("x"), time.Second),
		b.Set(t.Context(), "ours for ever", []byte("x"), backends.NoExpiry),
		store.RawSet("theirs for ever", []byte("x"), 0),
	); err != nil {
		t.Fatal(err)
	}
	testenv.Poll(t, 5*time.Second, "Python not to read our entry any more", func() bool {
		_, found, err := store.RawGet("ours")
		return !found && err == nil
	})
	testenv.Poll(t, 5*time.Second, "Python's entry to be a miss", func() bool {
		_, err := b.Get(t.Context(), "theirs")
		return errors.Is(err, backends.ErrNotFound)
	})
	if _, found, err := store.RawGet("ours for ever"); !found || err != nil {
		t.Errorf("Python reads our entry without an end: found=%v, %v", found, err)
	}
	if left, err := b.TTL(t.Context(), "theirs for ever"); err != nil || left != backends.NoExpiry {
		t.Errorf("Python's entry without an end has %v left, %v", left, err)
	}
}

func TestPythonFilesRotation(t *testing.T) {
	dir := cacheDir(t)
	rotate(t, openFiles(t, dir), "DecryptionAuthenticationError", func(ring keyring) *peers.Store {
		py := peers.Python(t, ring.env()...)
		return openStore(t, py, peers.PythonStore{File: dir, Encrypted: true, FailClosed: true})
	})
}
