package memorybackend

// Stored returns the value of key as it lies in the map.
func (b *Backend) Stored(key string) []byte {
	b.storage.mu.Lock()
	defer b.storage.mu.Unlock()
	return b.storage.entries[key].value
}
