package testenv

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// Sentinel is a master and a replica, watched by three sentinels.
type Sentinel struct {
	t testing.TB
	// Name is the name of the master that clients ask for.
	Name string
	// Nodes are the master and the replica, in the order they were started.
	Nodes []*RedisServer
	// Sentinels agree with a quorum of two.
	Sentinels []*RedisServer
}

// downAfter is long enough that a busy machine is not taken for a dead master.
const downAfter = 2 * time.Second

// RedisSentinel starts a master, a replica and three sentinels, and waits until
// the sentinels know them and each other.
func RedisSentinel(t testing.TB) *Sentinel {
	t.Helper()
	s := &Sentinel{t: t, Name: "cache"}
	master := Redis(t, nil)
	replica := Redis(t, &RedisOptions{Config: []string{fmt.Sprintf("replicaof 127.0.0.1 %d", master.port)}})
	waitReplica(t, replica)
	s.Nodes = []*RedisServer{master, replica}
	for range 3 {
		watcher := newRedis(t, &RedisOptions{Config: []string{
			fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 2", s.Name, master.port),
			fmt.Sprintf("sentinel down-after-milliseconds %s %d", s.Name, downAfter.Milliseconds()),
			fmt.Sprintf("sentinel failover-timeout %s 10000", s.Name),
		}})
		watcher.sentinel = true
		watcher.launch()
		// SENTINEL DEBUG (Redis 7) shortens the periods, in milliseconds: the
		// default of 10 s and 2 s would make each failover that slow.
		watcher.Do("SENTINEL", "DEBUG", "INFO-PERIOD", 200, "PUBLISH-PERIOD", 200, "ASK-PERIOD", 200)
		s.Sentinels = append(s.Sentinels, watcher)
	}
	Poll(t, startLimit, "the sentinels to know each other", s.complete)
	return s
}

func (s *Sentinel) complete() bool {
	for _, w := range s.Sentinels {
		if len(s.list(w, "SENTINELS")) != len(s.Sentinels)-1 || len(s.list(w, "REPLICAS")) != 1 {
			return false
		}
	}
	return true
}

func (s *Sentinel) list(w *RedisServer, what string) []any {
	v, _ := w.try("SENTINEL", what, s.Name)
	list, _ := v.([]any)
	return list
}

// Addrs returns the addresses of the sentinels.
func (s *Sentinel) Addrs() []string { return addrs(s.Sentinels) }

// Master returns the node that the sentinels name as the master.
func (s *Sentinel) Master() *RedisServer {
	s.t.Helper()
	var found *RedisServer
	Poll(s.t, startLimit, "the sentinels to name a master", func() bool {
		found = s.named(s.Sentinels[0])
		return found != nil
	})
	return found
}

func (s *Sentinel) named(w *RedisServer) *RedisServer {
	v, _ := w.try("SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.Name)
	pair, _ := v.([]any)
	if len(pair) != 2 {
		return nil
	}
	addr := net.JoinHostPort(fmt.Sprint(pair[0]), fmt.Sprint(pair[1]))
	for _, n := range s.Nodes {
		if n.Addr() == addr {
			return n
		}
	}
	return nil
}

// Failover makes the sentinels promote the replica and waits until all of them
// name it and it says that it is the master.
func (s *Sentinel) Failover() {
	s.t.Helper()
	before := s.Master()
	Poll(s.t, startLimit, "the sentinels to accept a failover", func() bool {
		_, err := s.Sentinels[0].try("SENTINEL", "FAILOVER", s.Name)
		return err == nil
	})
	Poll(s.t, 2*startLimit, "the failover to end", func() bool {
		for _, w := range s.Sentinels {
			if n := s.named(w); n == nil || n == before {
				return false
			}
		}
		info, err := s.named(s.Sentinels[0]).try("INFO", "replication")
		return err == nil && strings.Contains(fmt.Sprint(info), "role:master\r\n")
	})
}
