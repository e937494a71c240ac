package memcachedbackend

// Pick returns which of the servers of a list holds key.
func Pick(list, key string) (string, error) {
	names, err := parseServers(list)
	if err != nil {
		return "", err
	}
	r := new(ring)
	for _, name := range names {
		r.servers = append(r.servers, &server{name: name})
	}
	picked, err := r.PickServer(key)
	return picked.String(), err
}

// Follow feeds the chunks of an answer to a get through the bound that stands
// before gomemcache, and returns what passed.
func Follow(limit int, chunks ...[]byte) (passed []byte, done bool, err error) {
	a := answer{kind: oneValue, limit: limit}
	for _, chunk := range chunks {
		n, err := a.take(chunk)
		passed = append(passed, chunk[:n]...)
		if err != nil || a.done {
			return passed, a.done, err
		}
	}
	return passed, a.done, nil
}
