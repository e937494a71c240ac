// Package peers runs the published SDKs of the CacheKit family for Python and
// Rust, so that tests and benchmarks of this module meet the real ones.
//
// Python and Rust install or build a peer below .cache in the module's root, once
// for each version, and start it as a child process. A test opens stores on it
// and sets, gets and deletes entries through the SDK's public interface:
//
//	py := peers.Python(t, "CACHEKIT_MASTER_KEY="+hex)
//	store, err := py.Open(peers.PythonStore{Redis: url})
//	err = store.Set(peers.Op("users", "get_user", 42), value, time.Minute)
//
// On CachekitIO they speak to a server of package iotest, which they reach by the
// variables SSL_CERT_FILE and HTTPS_PROXY, under the rules of their own for URLs.
//
// Requests and replies are lines of JSON on the child's standard input and output;
// python/peer.py and rust/src describe them. A peer ends with its standard input,
// so none outlives the test binary.
//
// What a machine lacks (python3, cargo, the network for the first install) skips
// the test with one line, and fails it where CI=true.
package peers
