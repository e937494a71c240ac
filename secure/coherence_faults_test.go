package secure_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cachekit-io/cachekit-go/backends/redisbackend"
	"github.com/cachekit-io/cachekit-go/internal/testenv"
	"github.com/cachekit-io/cachekit-go/secure"
)

// eventually sets until a Set succeeds.
func eventuallyPut(t *testing.T, c *secure.Cache, key, value string) {
	t.Helper()
	testenv.Poll(t, 40*time.Second, "a write to succeed", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return c.Set(ctx, key, value) == nil
	})
}

// stays checks that a copy that stands is what was written.
func stays(t *testing.T, c *secure.Cache, key, want string) {
	t.Helper()
	for range 20 {
		see(t, c, key, want)
	}
}

// After a master dies or hands over, no cache serves what the new one does not
// hold, and all go on by themselves.
func TestCoherentClusterFailover(t *testing.T) {
	cluster := testenv.RedisCluster(t, 3)
	a, b := coherentOver(t, cluster.URL()), coherentOver(t, cluster.URL())
	names := make([]string, 30) // on every master
	for i := range names {
		names[i] = fmt.Sprint("k", i)
	}
	for event, happen := range map[string]func(){"handed over": func() { cluster.Failover(0) }, "died": func() { cluster.Masters[1].Stop() }} {
		for _, k := range names {
			eventuallyPut(t, a, k, "before")
			becomes(t, b, k, "before")
		}
		happen()
		for _, k := range names {
			eventuallyPut(t, a, k, event)
		}
		reporting(t, b)
		for _, k := range names {
			becomes(t, b, k, event)
			stays(t, b, k, event)
		}
	}
	if s := b.Stats().Coherence; s.Outages == 0 {
		t.Errorf("no outage was noticed: %+v", s)
	}
}

// The Sentinels name another master, and the old one, which they cannot reach
// with that news, goes on as a master: its reports are no longer those that count.
func TestCoherentSentinelSwitch(t *testing.T) {
	s := testenv.RedisSentinel(t)
	addrs := s.Addrs()
	url := fmt.Sprintf("redis://%s?master_name=%s&addr=%s&addr=%s", addrs[0], s.Name, addrs[1], addrs[2])
	b := coherentOver(t, url)
	put(t, b, "k", "before")
	stays(t, b, "k", "before")
	old := s.Master()
	old.Do("ACL", "SETUSER", "default", "-replicaof", "-slaveof")
	s.Failover()
	after := coherentOver(t, url)
	eventuallyPut(t, after, "k", "after")
	becomes(t, b, "k", "after")
	if info := fmt.Sprint(old.Do("INFO", "replication")); !strings.Contains(info, "role:master\r\n") {
		t.Error("the old master has been told: this shows little")
	}
	reporting(t, b)
	eventuallyPut(t, b, "k", "own")
	becomes(t, after, "k", "own")
}

// A server that is killed takes all copies with it; what is written after its
// restart is seen.
func TestCoherentRestart(t *testing.T) {
	server := testenv.Redis(t, nil)
	a, b := coherentOver(t, server.URL()), coherentOver(t, server.URL())
	put(t, a, "k", "before")
	becomes(t, b, "k", "before")
	server.Stop()
	testenv.Poll(t, 20*time.Second, "the outage to be noticed", func() bool { return !b.Stats().Coherence.Up })
	if n := b.Stats().L1.Entries; n != 0 {
		t.Errorf("%d copies are left", n)
	}
	server.Start()
	becomes(t, b, "k", "")
	reporting(t, b)
	eventuallyPut(t, a, "k", "after")
	becomes(t, b, "k", "after")
}

// A server that drops the connection because too many changes wait on it (its
// client-output-buffer-limit) has lost reports: all copies go.
func TestCoherentOverflow(t *testing.T) {
	server := testenv.Redis(t, nil)
	b := coherentOver(t, server.URL())
	put(t, b, "k", "before")
	stays(t, b, "k", "before")
	server.Do("CONFIG", "SET", "client-output-buffer-limit", "normal 65536 0 0")
	// One turn of the event loop, one report of a megabyte.
	server.Do("EVAL", `redis.call("del", "users:k") for i = 1, 5000 do redis.call("set", "users:" .. string.rep("x", 200) .. i, "") end`, "0")
	becomes(t, b, "k", "")
	if s := b.Stats().Coherence; s.Outages == 0 {
		t.Errorf("the connection was not lost: %+v", s)
	}
	reporting(t, b)
	put(t, b, "k", "after")
	stays(t, b, "k", "after")
}

const writerURL = "CACHEKIT_TEST_WRITER_URL"

// TestWriterProcess is the other process of TestCoherentProcesses: it does what
// the lines of its input say.
func TestWriterProcess(t *testing.T) {
	url := os.Getenv(writerURL)
	if url == "" {
		return
	}
	backend, err := redisbackend.Open(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	c := coherent(t, backend, nil)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if value, set := strings.CutPrefix(lines.Text(), "set "); set {
			put(t, c, "k", value)
		} else if _, err := c.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		fmt.Println("done")
	}
}

// What another process of the operating system sets or deletes, this one sees.
func TestCoherentProcesses(t *testing.T) {
	server := testenv.Redis(t, nil)
	c := coherentOver(t, server.URL())
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWriterProcess$")
	cmd.Env = append(os.Environ(), writerURL+"="+server.URL())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewScanner(out)
	slowest := time.Duration(0)
	for i := range 30 {
		put(t, c, "k", "mine")
		see(t, c, "k", "mine")
		order, want := fmt.Sprint("set ", i), fmt.Sprint(i)
		if i%3 == 2 {
			order, want = "delete", ""
		}
		fmt.Fprintln(in, order)
		if !answers.Scan() || answers.Text() != "done" {
			t.Fatalf("the other process says %q", answers.Text())
		}
		start := time.Now()
		becomes(t, c, "k", want)
		slowest = max(slowest, time.Since(start))
	}
	t.Logf("the slowest of 30 changes was seen %v after the other process had its answer", slowest)
	_ = in.Close()
	for answers.Scan() {
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the other process: %v", err)
	}
}

// Writes of two processes that fall into one turn of the server's event loop
// leave no copy of the one that lost, whoever it was.
func TestCoherentSameTurn(t *testing.T) {
	server := testenv.Redis(t, nil)
	a, b := coherentOver(t, server.URL()), coherentOver(t, server.URL())
	plain, err := redisbackend.Open(t.Context(), server.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	bare, err := secure.NewMinimal(t.Context(), &secure.Options{Backend: plain, MasterKey: key(t, "1"), Namespace: "users", NoL1: true})
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	for i := range 30 {
		k := fmt.Sprint("k", i)
		server.Pause()
		done := make(chan error, 2)
		for n := range 2 {
			c := []*secure.Cache{a, b}[(i+n)%2]
			go func() { done <- c.Set(context.Background(), k, fmt.Sprint(n)) }()
			time.Sleep(10 * time.Millisecond) // to let it reach the server's socket; nothing tells
		}
		server.Resume()
		for range 2 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		var stored string
		if _, err := bare.Get(t.Context(), k, &stored); err != nil {
			t.Fatal(err)
		}
		becomes(t, a, k, stored)
		becomes(t, b, k, stored)
		stays(t, a, k, stored)
		stays(t, b, k, stored)
	}
	if a.Stats().L1.Hits == 0 {
		t.Error("no copy was ever kept: this shows nothing")
	}
}
