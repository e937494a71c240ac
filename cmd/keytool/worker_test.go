package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/keys/keyfile"
	"github.com/cachekit-io/cachekit-go/secure"
)

const (
	workerJob   = "KEYTOOL_TEST_JOB"
	workerWatch = "KEYTOOL_TEST_WATCH"
	// siteEntries are what every worker reads and writes.
	siteEntries = 300
)

// openSite opens a cache as a program would, which follows the keyring file that
// the environment names.
func openSite(ctx context.Context, url string, source *keyfile.Source) (*secure.Cache, *secure.Op, error) {
	b, err := redisbackend.Open(ctx, url, nil)
	if err != nil {
		return nil, nil, err
	}
	c, err := secure.New(ctx, &secure.Options{Backend: b, Keyring: source, NoL1: true, TTL: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	op, err := c.Op("users", "get_user")
	return c, op, err
}

// status is what a worker says of itself, again and again.
type status struct {
	Reads, Writes, Misses, Errors, Reloads uint64
	Error                                  string // the first
	Current                                string
	Old                                    uint64 // reads that old keys have served: the drain counter
}

// key is the value of an entry.
func key(i int) string { return fmt.Sprint("key ", i) }

// work is the main function of a worker. It ends when its parent does.
func work(job string) error {
	watch, err := time.ParseDuration(os.Getenv(workerWatch))
	if err != nil {
		return err
	}
	ctx := context.Background()
	c, op, err := openSite(ctx, os.Getenv("CACHEKIT_REDIS_URL"), keyfile.FromEnv(&keyfile.Options{Watch: watch}))
	if err != nil {
		return err
	}
	defer c.Close()
	var st status
	for said := time.Now(); ; time.Sleep(time.Millisecond) {
		i := rand.N(siteEntries)
		if job == "write" {
			err = op.Set(ctx, key(i), i)
			st.Writes++
		} else {
			err = st.read(ctx, op, i)
		}
		if err != nil {
			if st.Errors++; st.Errors == 1 {
				st.Error = err.Error()
			}
		}
		if time.Since(said) < 20*time.Millisecond {
			continue
		}
		said = time.Now()
		st.observe(c.Stats())
		if err := json.NewEncoder(os.Stdout).Encode(st); err != nil {
			return err
		}
	}
}

func (st *status) read(ctx context.Context, op *secure.Op, i int) error {
	var got string
	st.Reads++
	found, err := op.Get(ctx, &got, i)
	switch {
	case err != nil:
		return err
	case !found:
		st.Misses++
	case got != key(i):
		return fmt.Errorf("entry %d holds %q", i, got)
	}
	return nil
}

func (st *status) observe(stats secure.Stats) {
	st.Reloads, st.Current, st.Old = stats.KeyringReloads, stats.Keys[0].Fingerprint.String(), 0
	for _, k := range stats.Keys[1:] {
		st.Old += k.Opened
	}
}
