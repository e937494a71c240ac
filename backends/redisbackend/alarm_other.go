//go:build !linux

package redisbackend

import "time"

// alarm rings some time after it was last set.
type alarm struct {
	rang <-chan time.Time
	t    *time.Timer
}

func newAlarm() (*alarm, error) {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &alarm{t.C, t}, nil
}

// set has the alarm ring after d, or never if that is 0.
func (a *alarm) set(d time.Duration) {
	if a.t.Stop(); d > 0 {
		a.t.Reset(d)
	}
}

// close silences the alarm for good.
func (a *alarm) close() { a.t.Stop() }
