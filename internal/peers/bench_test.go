package peers_test

import (
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/internal/peers"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
)

// BenchmarkPython reports the Python SDK's own figures as ns/op, so that they
// stand beside ours; the number of iterations means nothing.
func BenchmarkPython(b *testing.B) { report(b, peers.MeasurePython) }

func report(b *testing.B, measure func(testing.TB, string, string, time.Duration, ...string) []peers.Figures) {
	redis, dir := testenv.Redis(b, nil), b.TempDir()
	for _, name := range peers.Measurements() {
		f := measure(b, redis.URL(), dir, time.Second, name)[0]
		b.Run(name, func(b *testing.B) {
			b.ReportMetric(f.NsPerOp, "ns/op")
			b.ReportMetric(1e9/f.NsPerOp, "ops/s")
			if f.P50Micros > 0 {
				b.ReportMetric(f.P50Micros, "p50-us")
			}
		})
	}
}
