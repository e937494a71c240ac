package keyfile_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/keys"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
)

var day = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

func newDoc(t *testing.T, previous ...keys.MasterKey) *keyfile.Document {
	t.Helper()
	ring, err := keys.NewKeyring(keys.Generate(), previous...)
	if err != nil {
		t.Fatal(err)
	}
	d, err := keyfile.NewDocument(ring, "first", day)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func roles(d *keyfile.Document) (out string) {
	for _, k := range d.Keys() {
		out += k.Role.String()[:1]
	}
	return out
}

// A whole life through a file: every step is there after it was written.
func TestLife(t *testing.T) {
	ctx, path, p := context.Background(), filepath.Join(t.TempDir(), "ring"), keyfile.Cleartext()
	if err := keyfile.Create(ctx, path, p, newDoc(t)); err != nil {
		t.Fatal(err)
	}
	var second string
	for i, step := range []struct {
		do   func(d *keyfile.Document) (err error)
		want string
	}{
		{func(d *keyfile.Document) (err error) { second, err = d.Stage(keys.Generate(), "second", day); return }, "cs"},
		{func(d *keyfile.Document) error { return d.Promote(second, day.Add(time.Hour)) }, "dc"},
		{func(d *keyfile.Document) error { return d.Retire(d.Keys()[0].ID, day.Add(2*time.Hour)) }, "rc"},
		{func(d *keyfile.Document) error { return d.Destroy(d.Keys()[0].ID, day.Add(3*time.Hour)) }, "dc"},
	} {
		if err := keyfile.Update(ctx, path, p, step.do); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		d, err := keyfile.Read(ctx, path, p, nil)
		if err != nil {
			t.Fatalf("after step %d: %v", i, err)
		}
		if roles(d) != step.want || d.Generation() != uint64(i)+2 {
			t.Errorf("after step %d: roles %s, generation %d, want %s, %d", i, roles(d), d.Generation(), step.want, i+2)
		}
	}
	d, err := keyfile.Read(ctx, path, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	old := d.Keys()[0]
	want := keyfile.Key{
		ID: old.ID, Role: keyfile.Destroyed, Created: day, Promoted: day, Note: "first",
		Demoted: day.Add(time.Hour), Retired: day.Add(2 * time.Hour), Destroyed: day.Add(3 * time.Hour),
	}
	if old != want {
		t.Errorf("the tombstone is %+v, want %+v", old, want)
	}
	if _, err := d.MasterKey(old.ID); !errors.Is(err, keyfile.ErrTransition) {
		t.Errorf("a destroyed key: %v", err)
	}
}
