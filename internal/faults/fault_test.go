package faults_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/cachekitio/iotest"
)

// fault is a row of the matrix.
type fault struct {
	name string
	// what explains it in a sentence.
	what string
	// on says which storages it can happen to.
	on func(backend string) bool
	// alone: the cell needs a server of its own.
	alone bool
	// dns: the backend's connections go to a name that a resolver has to tell.
	dns bool
	// storage, if given, is what the cell runs on.
	storage func(*testing.T) *rig
	inflict func(c *cell)
	heal    func(c *cell)
	// get, set and load are what a patient caller may see.
	get, set, load []string
	// unreached: no other process reaches the storage either.
	unreached bool
}

var (
	outage  = []string{"unavailable"}
	perhaps = []string{"ok", "unavailable"}
	fine    = []string{"ok"}
)

func networked(backend string) bool { return backend != "file" }
func hasServer(backend string) bool {
	return backend == "redis" || backend == "memcached" || backend == "http"
}
func isIO(backend string) bool { return backend == "cachekitio" }

func resume(c *cell) { c.rig.proxy.Resume() }

// networkFaults are those that a patient caller, an impatient one and another
// process are put through; see cell.run.
var networkFaults = []fault{
	{name: "refused", what: "Nothing listens on the server's port; open connections are reset.",
		on: networked, inflict: func(c *cell) { c.rig.proxy.Kill() }, heal: func(c *cell) { c.rig.proxy.Revive() }, get: outage, set: outage, load: fine},
	{name: "stall at connect", what: "Open connections are reset; new ones are accepted, and then no byte passes.",
		on: networked, inflict: func(c *cell) { c.rig.proxy.Stall(); c.rig.proxy.Cut() }, heal: resume, get: outage, set: outage, load: fine},
	{name: "stall mid-request", what: "Three bytes of a request reach the server, and no more.",
		on: networked, inflict: func(c *cell) { c.rig.proxy.StallMidRequest() }, heal: resume, get: outage, set: outage, load: fine},
	{name: "reply stalls", what: "Requests reach the server and are carried out; no byte of an answer comes back.",
		on: networked, inflict: func(c *cell) { c.rig.proxy.StallReplies() }, heal: resume, get: outage, set: outage, load: fine},
	{name: "stall mid-reply", what: "Three bytes of an answer come back, and no more.",
		on: networked, inflict: func(c *cell) { c.rig.proxy.StallMidReply() }, heal: resume, get: outage, set: outage, load: fine},
	{name: "drip", what: "One byte a second passes in each direction.",
		on: networked, inflict: func(c *cell) { c.rig.proxy.Drip(time.Second) }, heal: resume, get: outage, set: outage, load: fine},
	{name: "reset", what: "All open connections are reset, once; new ones work.",
		on: networked, inflict: func(c *cell) { c.rig.proxy.Cut() }, heal: resume, get: perhaps, set: perhaps, load: fine},
	{name: "reset mid-reply", what: "Every connection is reset after three bytes of an answer.",
		on: networked, inflict: func(c *cell) { c.rig.proxy.ResetMidReply() }, heal: resume, get: outage, set: outage, load: fine},
	{name: "black hole", what: "Every packet is dropped, on open connections and on new ones.",
		on: networked, inflict: func(c *cell) { c.rig.proxy.Stall() }, heal: resume, get: outage, set: outage, load: fine},
	{name: "half-open", what: "The server has forgotten all open connections and the client is not told; new ones work.",
		on: networked, inflict: func(c *cell) { c.rig.proxy.HalfOpen() }, heal: resume, get: perhaps, set: perhaps, load: fine},
	{name: "slow DNS", what: "The resolver does not answer; open connections are reset.",
		on: networked, dns: true, inflict: func(c *cell) { c.dns.mute(true); c.rig.proxy.Cut() }, heal: func(c *cell) { c.dns.mute(false) }, get: outage, set: outage, load: fine},
	{name: "server paused", what: "The server's process stands still (SIGSTOP): its kernel goes on accepting connections and bytes.",
		on: hasServer, alone: true, unreached: true, inflict: func(c *cell) { c.rig.server.Pause() }, heal: func(c *cell) { c.rig.server.Resume() }, get: outage, set: outage, load: fine},
	{name: "server killed and restarted", what: "The server's process is killed (SIGKILL), and started again later on its port.",
		on: hasServer, alone: true, unreached: true, inflict: func(c *cell) { c.rig.server.Stop() }, heal: func(c *cell) { c.rig.server.Start() }, get: outage, set: outage, load: fine},
	{name: "failover", what: "Sentinel; the master is killed (SIGKILL) and the replica promoted, two seconds later at the earliest.",
		on: only("redis"), storage: sentinelRig, unreached: true, inflict: func(c *cell) { c.rig.server.Stop() }, heal: func(*cell) {}, get: outage, set: outage, load: fine},
	{name: "503 with Retry-After", what: "The service answers 503 and asks to wait a second.",
		on: isIO, unreached: true, inflict: injected(iotest.Fault{Kind: iotest.Answer, Status: http.StatusServiceUnavailable, RetryAfter: "1"}), heal: healIO, get: outage, set: outage, load: fine},
	{name: "half a body", what: "The service sends half of an answer's body and resets the request.",
		on: isIO, unreached: true, inflict: injected(iotest.Fault{Kind: iotest.Half}), heal: healIO, get: outage, set: perhaps, load: fine},
	{name: "garbage", what: "The service sends bytes that are no frame of HTTP/2.",
		on: isIO, unreached: true, inflict: injected(iotest.Fault{Kind: iotest.Garbage}), heal: healIO, get: outage, set: outage, load: fine},
}

func injected(f iotest.Fault) func(*cell) { return func(c *cell) { c.rig.io.Inject(f) } }

func healIO(c *cell) { c.rig.io.Heal() }
