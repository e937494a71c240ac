package filebackend

import (
	"context"
	"strconv"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
)

// healthName is the family's name of the key "__health_check__", where the
// sister SDKs put their probes; ours are temporary files of that name.
var healthName = fileName("__health_check__")

// Health writes, reads back and removes a file. Details are the directory
// ("dir"), "max_bytes" if there is a bound, and "entries" and "bytes" as far as
// this process knows, once it has counted them.
func (b *Backend) Health(ctx context.Context) backends.Health {
	start := time.Now()
	h := backends.Health{BackendType: backendType, Details: map[string]string{"dir": b.dir.path}}
	if h.Err = ctx.Err(); h.Err == nil {
		_, h.Err = perform(ctx, b, "health", healthName, func(a *attempt, name string) (struct{}, error) {
			return struct{}{}, b.roundTrip(a, b.tempName(name))
		})
	}
	h.Latency, h.OK = max(time.Since(start), 1), h.Err == nil
	if b.opts.bounded() {
		h.Details["max_bytes"] = strconv.FormatInt(b.opts.MaxBytes, 10)
	}
	if bytes, entries, ok := b.usage.known(); ok {
		h.Details["bytes"] = strconv.FormatInt(bytes, 10)
		h.Details["entries"] = strconv.FormatInt(entries, 10)
	}
	return h
}

func (b *Backend) roundTrip(a *attempt, temp string) error {
	if err := b.create(a, temp, newHeader(1), nil, false); err != nil {
		return err
	}
	_, h, err := b.readBack(temp)
	if removeErr := b.dir.remove(temp); err == nil {
		err = removeErr
	}
	if err == nil && h.expiry != 1 {
		err = errReadBack
	}
	return err
}

func (b *Backend) readBack(temp string) ([]byte, header, error) {
	f, err := b.dir.open(temp, false)
	if err != nil {
		return nil, header{}, err
	}
	defer f.close()
	return b.load(&f)
}
