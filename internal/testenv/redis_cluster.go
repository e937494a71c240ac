package testenv

import (
	"fmt"
	"strings"
	"testing"
)

// slots is the number of hash slots of a Redis Cluster (Redis Cluster
// specification, "Key distribution model").
const slots = 16384

// Cluster is a Redis Cluster of three masters.
type Cluster struct {
	// Masters own the slots in equal, contiguous parts.
	Masters []*RedisServer
	// Replicas[i] follows Masters[i%3].
	Replicas []*RedisServer
}

// RedisCluster starts three masters and the given number of replicas, joins
// them and waits until every node says that the cluster is up.
func RedisCluster(t testing.TB, replicas int) *Cluster {
	t.Helper()
	const masters = 3
	nodes := make([]*RedisServer, masters+replicas)
	for i := range nodes {
		nodes[i] = Redis(t, &RedisOptions{Config: []string{
			"cluster-enabled yes",
			"cluster-port ${BUSPORT}",
			"cluster-node-timeout 5000",
		}})
	}
	c := &Cluster{Masters: nodes[:masters], Replicas: nodes[masters:]}
	for i, n := range nodes {
		n.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
		if i < masters {
			n.Do("CLUSTER", "ADDSLOTSRANGE", i*slots/masters, (i+1)*slots/masters-1)
		}
		if i > 0 {
			n.Do("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, nodes[0].busPort)
		}
	}
	formed := fmt.Sprintf("cluster_known_nodes:%d\r\n", len(nodes))
	all := func(facts ...string) func() bool {
		return func() bool { return everyNode(nodes, facts) }
	}
	Poll(t, startLimit, "the cluster nodes to meet", all(formed))
	for i, r := range c.Replicas {
		r.Do("CLUSTER", "REPLICATE", c.Masters[i%masters].Do("CLUSTER", "MYID"))
	}
	Poll(t, startLimit, "the cluster to be up", all(formed, "cluster_state:ok\r\n"))
	for _, r := range c.Replicas {
		waitReplica(t, r)
	}
	return c
}

func everyNode(nodes []*RedisServer, facts []string) bool {
	for _, n := range nodes {
		info, err := n.try("CLUSTER", "INFO")
		if err != nil {
			return false
		}
		for _, fact := range facts {
			if !strings.Contains(fmt.Sprint(info), fact) {
				return false
			}
		}
	}
	return true
}

func waitReplica(t testing.TB, r *RedisServer) {
	t.Helper()
	Poll(t, startLimit, "a replica to follow its master", func() bool {
		info, err := r.try("INFO", "replication")
		return err == nil && strings.Contains(fmt.Sprint(info), "master_link_status:up\r\n")
	})
}

// Addrs returns the addresses of the masters.
func (c *Cluster) Addrs() []string { return addrs(c.Masters) }

// URL returns a redis:// URL in go-redis's form: the first master is the host,
// the others are addr parameters.
func (c *Cluster) URL() string {
	a := c.Addrs()
	return "redis://" + a[0] + "?addr=" + strings.Join(a[1:], "&addr=")
}

func addrs(nodes []*RedisServer) []string {
	a := make([]string, len(nodes))
	for i, n := range nodes {
		a[i] = n.Addr()
	}
	return a
}
