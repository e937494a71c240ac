package secure

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cachekit-io/cachekit-go/backends"
	"github.com/cachekit-io/cachekit-go/backends/cachekitio"
)

// maxIOTTL is the longest TTL of the service (spec/saas-api.md, "TTL Validation
// Rules").
const maxIOTTL = 30 * 24 * time.Hour

// chooseIO finds the API key of NewIO, which is all that there is to choose.
func chooseIO(o *Options, fallback bool) Choice {
	c := Choice{Kind: kinds[envAPIKey], Why: whyOption, PassedOver: withDefault(fallback)}
	text, set := os.LookupEnv(envAPIKey)
	switch {
	case !o.APIKey.IsZero():
		c.Source = "Options.APIKey"
	case o.CachekitIO != nil && !o.CachekitIO.APIKey.IsZero():
		c.Source = "Options.CachekitIO"
	case !set:
		return Choice{Err: misconfigured("no API key: set Options.APIKey, or %s", envAPIKey)}
	case strings.TrimSpace(text) == "":
		return Choice{Err: misconfigured("%s is set but empty: give it a value or unset it", envAPIKey)}
	default:
		c.Source, c.Why = envAPIKey, whyNoAPIKey
		c.PassedOver = slices.DeleteFunc(c.PassedOver, func(name string) bool { return name == envAPIKey })
	}
	return c
}

const whyNoAPIKey = "the options have no API key"

// openIO opens the backend of NewIO, or that of CACHEKIT_API_KEY with nil
// Options.
func openIO(ctx context.Context, o *Options) (*cachekitio.Backend, error) {
	env, err := cachekitio.FromEnv()
	if o == nil {
		o = new(Options)
	}
	key := o.APIKey
	if o.CachekitIO != nil {
		io := *o.CachekitIO
		if key.IsZero() {
			key = io.APIKey
		}
		if key.IsZero() {
			if err != nil {
				return nil, err
			}
			key = env.APIKey
		}
		io.APIKey = key
		return cachekitio.Open(ctx, &io)
	}
	if err != nil {
		return nil, err
	}
	if !key.IsZero() {
		env.APIKey = key
	}
	return cachekitio.Open(ctx, env)
}

// counted are the counters that the service is told of.
func (c *core) counted() backends.Counters {
	n := backends.Counters{BackendHits: c.counts.backendHits.Load(), Misses: c.counts.misses.Load()}
	if c.l1 != nil {
		n.L1, n.L1Hits = true, c.l1.Stats().Hits
	}
	return n
}
