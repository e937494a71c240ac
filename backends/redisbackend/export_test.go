package redisbackend

// Frames follows the chunks of a server's bytes with the bounds of a connection
// and returns how many elements are outstanding at their end.
func Frames(chunks ...[]byte) (outstanding int, err error) {
	var f frames
	for _, chunk := range chunks {
		if err := f.take(chunk); err != nil {
			return f.total, err
		}
	}
	return f.total, nil
}
