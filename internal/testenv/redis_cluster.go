package testenv

import (
	"fmt"
	"strings"
	"testing"
	"time"
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
		return func() bool { return everyNode(nodes, "INFO", facts) }
	}
	Poll(t, startLimit, "the cluster nodes to meet", all(formed))
	var roles []string
	for i, r := range c.Replicas {
		master := c.Masters[i%masters].Do("CLUSTER", "MYID")
		r.Do("CLUSTER", "REPLICATE", master)
		roles = append(roles, fmt.Sprintf("slave %v ", master))
	}
	Poll(t, startLimit, "the cluster to be up", all(formed, "cluster_state:ok\r\n"))
	// A master that has not heard of a replica's role gives it no vote.
	Poll(t, startLimit, "every node to know the replicas", func() bool { return everyNode(nodes, "NODES", roles) })
	for _, r := range c.Replicas {
		waitReplica(t, r)
	}
	return c
}

// everyNode reports whether what each node answers to a subcommand of CLUSTER
// has all facts.
func everyNode(nodes []*RedisServer, subcommand string, facts []string) bool {
	for _, n := range nodes {
		info, err := n.try("CLUSTER", subcommand)
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

// Failover promotes Replicas[i] in agreement with its master (CLUSTER FAILOVER):
// Redis loses nothing then.
func (c *Cluster) Failover(i int) {
	r := c.Replicas[i]
	r.t.Helper()
	promoted := func() bool {
		info, err := r.try("INFO", "replication")
		return err == nil && strings.Contains(fmt.Sprint(info), "role:master\r\n")
	}
	for range 3 { // Redis gives an attempt up after 5 s
		r.Do("CLUSTER", "FAILOVER")
		if poll(6*time.Second, promoted) {
			return
		}
	}
	r.t.Fatalf("the replica does not take over; its log ends with:\n%s", r.Process().Log())
}
